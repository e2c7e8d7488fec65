//! What a start and a reload do to keys: the keys before and after come in, what changed goes out.
//!
//! Of a key no more is told than its id, and whether it is another one; keys are compared in constant time.

use super::event::{Event, KeyChange, KeyKind};
use crate::egress::SubscriberKeys;
use crate::enrolment::{Book, Kind, Name};
use sealmq_config::Config;
use sealmq_config::encryption::{Sender, TopicKey};
use sealmq_crypto::{Keyring, SenderKey};
use std::collections::BTreeMap;

/// Who or what did it.
const BY: &str = "reload";
const BY_START: &str = "start";

/// What the configuration says of keys, beside what is in their files.
#[derive(Debug, Default)]
pub(crate) struct Declared {
    senders: BTreeMap<String, Sender>,
    topic_keys: BTreeMap<String, TopicKey>,
}

impl Declared {
    pub(crate) fn of(config: &Config) -> Self {
        let senders = config.senders.iter().map(|sender| (sender.id.clone(), sender.clone()));
        let topic_keys = config.topic_keys.iter().map(|key| (key.id.clone(), key.clone()));
        Self { senders: senders.collect(), topic_keys: topic_keys.collect() }
    }

    /// How many senders and topic keys.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.senders.len(), self.topic_keys.len())
    }
}

/// What changed from one configuration, with its keys, to another, and what else the book says of them.
pub(crate) fn changes(old: (&Declared, &Keyring), new: (&Declared, &Keyring), book: &Book) -> Vec<Event> {
    let ((old, old_keys), (new, new_keys)) = (old, new);
    let key = |keyring: &Keyring, id: &str| keyring.sender(id.as_bytes()).map(|sender| sender.key.clone());
    let same_sender = |id: &str| key(old_keys, id) == key(new_keys, id);
    let same_topic_key = |id: &str| {
        let [old, new] = [old_keys, new_keys].map(|keyring| keyring.topic_key(id.as_bytes()));
        old.map(|entry| &entry.key) == new.map(|entry| &entry.key)
    };
    let mut events = Vec::new();
    let more = |kind| move |change, id: &str| at_run_time(change, kind, id, book);
    compare(&old.senders, &new.senders, same_sender, more(Kind::Sender), KeyKind::Sender, &mut events);
    let more = more(Kind::TopicKey);
    compare(&old.topic_keys, &new.topic_keys, same_topic_key, more, KeyKind::TopicKey, &mut events);
    events
}

/// What was said at run time of a name whose key in the configuration has changed, and counts beside it.
fn at_run_time(change: KeyChange, kind: Kind, id: &str, book: &Book) -> Option<&'static str> {
    let name = Name { kind, id: id.into() };
    match (book.is_disabled(&name), book.is_at_run_time(&name)) {
        (true, _) => Some("disabled at run time"),
        (false, true) if change == KeyChange::Removed => Some("still enrolled at run time"),
        (false, true) => Some("enrolled at run time, too"),
        (false, false) => None,
    }
}

/// That the broker's own key is there now.
pub(crate) fn identity_made(key: &SenderKey) -> Event {
    let id = String::from_utf8_lossy(key.id());
    Event::key(KeyChange::Added, KeyKind::Identity, &id, Some(BY_START), None)
}

/// What became of the broker's own key.
pub(crate) fn identity_change(old: &SenderKey, new: &SenderKey) -> Option<Event> {
    if old == new {
        return None;
    }
    let id = String::from_utf8_lossy(new.id());
    let is_same_key = old.public().thumbprint() == new.public().thumbprint();
    let detail = if is_same_key { "the same key with another id" } else { "another key" };
    Some(Event::key(KeyChange::Changed, KeyKind::Identity, &id, Some(BY), Some(detail)))
}

/// What became of the keys of subscribers; each by whom it is of.
pub(crate) fn subscriber_key_changes(old: &SubscriberKeys, new: &SubscriberKeys) -> Vec<Event> {
    let [old, new] = [old, new].map(SubscriberKeys::by_name);
    let is_same = |id: &str| old.get(id) == new.get(id);
    let mut events = Vec::new();
    compare(&old, &new, is_same, |_, _| None, KeyKind::SubscriberKey, &mut events);
    events
}

fn compare<T: PartialEq>(
    old: &BTreeMap<String, T>,
    new: &BTreeMap<String, T>,
    is_same_key: impl Fn(&str) -> bool,
    more: impl Fn(KeyChange, &str) -> Option<&'static str>,
    kind: KeyKind,
    events: &mut Vec<Event>,
) {
    let tell = |change, id: &str, detail: Option<&str>| {
        let more = more(change, id);
        let both = detail.zip(more).map(|(detail, more)| format!("{detail}; {more}"));
        Event::key(change, kind, id, Some(BY), both.as_deref().or(detail).or(more))
    };
    let gone = old.keys().filter(|id| !new.contains_key(*id));
    events.extend(gone.map(|id| tell(KeyChange::Removed, id, None)));
    events.extend(new.iter().filter_map(|(id, entry)| {
        let Some(before) = old.get(id) else { return Some(tell(KeyChange::Added, id, None)) };
        if !is_same_key(id) {
            Some(tell(KeyChange::Changed, id, Some("another key")))
        } else if before != entry {
            Some(tell(KeyChange::Changed, id, Some("the same key with other settings")))
        } else {
            None
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrolment::{Order, What};
    use crate::files;
    use crate::secrets::Secrets;
    use sealmq_config::egress::{Holder, SubscriberKey};
    use sealmq_config::encryption::KeySource;
    use sealmq_config::limits::Limits;
    use sealmq_crypto::{ContentAlgorithm, SenderKey};
    use std::path::Path;

    /// A configuration with these senders and topic keys; of each the id, the name of its file, and a topic.
    fn config(folder: &Path, senders: &[[&str; 3]], topic_keys: &[[&str; 3]]) -> Config {
        let topics = |topic: &str| vec![topic.parse().unwrap()];
        let sender = |[id, file, topic]: &[&str; 3]| Sender {
            id: (*id).to_owned(),
            key: folder.join(file),
            topics: topics(topic),
            not_before: None,
            not_after: None,
            bind: None,
        };
        let topic_key = |[id, file, topic]: &[&str; 3]| TopicKey {
            id: (*id).to_owned(),
            source: KeySource::Key(folder.join(file)),
            topics: topics(topic),
            not_before: None,
            not_after: None,
        };
        Config {
            senders: senders.iter().map(sender).collect(),
            topic_keys: topic_keys.iter().map(topic_key).collect(),
            ..Config::default()
        }
    }

    fn told(old: &Config, new: &Config) -> Vec<Event> {
        let [old, new] =
            [old, new].map(|config| (Declared::of(config), crate::keys::opener(config).unwrap()));
        changes(
            (&old.0, old.1.keyring()),
            (&new.0, new.1.keyring()),
            &Book::new(&Limits::default(), Vec::new()),
        )
    }

    #[test]
    fn what_a_reload_did_to_the_brokers_own_key_is_told() {
        let key = SenderKey::from_secret("sealmq", &[7; 32]);
        let told = |new: &SenderKey| identity_change(&key, new);
        let event =
            |id, detail| Event::key(KeyChange::Changed, KeyKind::Identity, id, Some("reload"), Some(detail));
        assert_eq!(told(&SenderKey::from_secret("sealmq", &[7; 32])), None);
        let renamed = SenderKey::from_secret("plant", &[7; 32]);
        assert_eq!(told(&renamed), Some(event("plant", "the same key with another id")));
        let other = SenderKey::generate("sealmq").unwrap();
        assert_eq!(told(&other), Some(event("sealmq", "another key")));
    }

    #[test]
    fn what_a_reload_did_to_keys_of_subscribers_is_told() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["1", "2"] {
            let key = sealmq_crypto::TopicKey::generate_x25519("x").unwrap().public("").unwrap();
            files::replace(&folder.path().join(name), files::PRIVATE, key.to_jwk().unwrap().as_bytes())
                .unwrap();
        }
        let keys = |entries: &[(Holder, &str)]| {
            let entries = entries.iter().map(|(holder, file)| SubscriberKey {
                holder: holder.clone(),
                key: folder.path().join(file),
            });
            let config = Config { subscriber_keys: entries.collect(), ..Config::default() };
            SubscriberKeys::load(&config, &Secrets::in_plain()).unwrap()
        };
        let [client, user] = [Holder::Client, Holder::User].map(|holder| holder("ann".to_owned()));
        let other = Holder::Client("panel".to_owned());
        let old = keys(&[(client.clone(), "1"), (user.clone(), "1")]);
        let new = keys(&[(user, "2"), (other, "1")]);
        let event =
            |change, id, detail| Event::key(change, KeyKind::SubscriberKey, id, Some("reload"), detail);
        assert_eq!(
            subscriber_key_changes(&old, &new),
            [
                event(KeyChange::Removed, "client ann", None),
                event(KeyChange::Added, "client panel", None),
                event(KeyChange::Changed, "user ann", Some("another key")),
            ]
        );
        assert!(subscriber_key_changes(&new, &new).is_empty());
    }

    #[test]
    fn what_a_reload_did_to_keys_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            files::replace(&folder.path().join(name), files::PRIVATE, text.as_bytes()).unwrap();
        };
        for name in ["s1", "s2"] {
            write(name, &SenderKey::generate("x").unwrap().public().to_jwk().unwrap());
        }
        for name in ["t1", "t2"] {
            let key = sealmq_crypto::TopicKey::generate("x", ContentAlgorithm::A256Gcm).unwrap();
            write(name, &key.to_jwk().unwrap());
        }
        let all = |senders, keys| config(folder.path(), senders, keys);
        let old = all(&[["gone", "s1", "a"], ["kept", "s1", "a"], ["moved", "s1", "a"]], &[["k", "t1", "a"]]);
        let new = all(&[["kept", "s1", "a"], ["moved", "s1", "b"], ["new", "s2", "a"]], &[["k", "t2", "a"]]);
        let event = |change, kind, id, detail| Event::key(change, kind, id, Some("reload"), detail);
        let (sender, settings) = (KeyKind::Sender, Some("the same key with other settings"));
        assert_eq!(
            told(&old, &new),
            [
                event(KeyChange::Removed, sender, "gone", None),
                event(KeyChange::Changed, sender, "moved", settings),
                event(KeyChange::Added, sender, "new", None),
                event(KeyChange::Changed, KeyKind::TopicKey, "k", Some("another key")),
            ]
        );
        assert!(told(&new, &new).is_empty());
        // Another key in the same file.
        let before = crate::keys::opener(&new).unwrap();
        write("s2", &SenderKey::generate("x").unwrap().public().to_jwk().unwrap());
        let after = crate::keys::opener(&new).unwrap();
        let declared = Declared::of(&new);
        let mut book = Book::new(&Limits::default(), Vec::new());
        let told = |book: &Book| changes((&declared, before.keyring()), (&declared, after.keyring()), book);
        assert_eq!(told(&book), [event(KeyChange::Changed, sender, "new", Some("another key"))]);
        // What was said of it at run time counts on.
        book.configure(crate::keys::configured(&new).unwrap(), 1);
        let name = Name::new(Kind::Sender, "new").unwrap();
        book.take(&Order::Change(What::Disable, vec![name]), 2).unwrap();
        let both = Some("another key; disabled at run time");
        assert_eq!(told(&book), [event(KeyChange::Changed, sender, "new", both)]);
    }
}
