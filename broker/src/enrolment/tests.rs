//! What orders and configurations come to, and what is kept of them.

use super::*;
use sealmq_crypto::{ContentAlgorithm, Derived, SenderKey, TopicKey};
use std::cell::Cell;

/// A book, and the store behind it.
struct Desk {
    book: Book,
    kept: BTreeMap<Name, Record>,
    now_ms: Cell<u64>,
}

impl Desk {
    fn new(senders_max: usize) -> Self {
        let limits =
            Limits { enrolled_senders_max: senders_max, enrolled_topic_keys_max: 2, ..Limits::default() };
        Self { book: Book::new(&limits, Vec::new()), kept: BTreeMap::new(), now_ms: Cell::new(1) }
    }

    /// Another process over what the store has.
    fn restarted(&self) -> Self {
        let limits = Limits {
            enrolled_senders_max: self.book.senders_max,
            enrolled_topic_keys_max: self.book.topic_keys_max,
            ..Limits::default()
        };
        let book = Book::new(&limits, self.kept.values().cloned().collect());
        Self { book, kept: self.kept.clone(), now_ms: Cell::new(self.now_ms.get()) }
    }

    fn keep(&mut self, effect: &Effect) {
        for change in &effect.changes {
            if let Change::Enrolled(record) = change {
                self.kept.insert(record.name.clone(), (**record).clone());
            } else if let Change::Disenrolled(name) = change {
                assert!(self.kept.remove(name).is_some(), "{name}");
            } else if let Change::WindowForgotten { sender } = change {
                assert!(effect.forgotten.contains(sender));
            } else {
                panic!("{change:?}");
            }
        }
        // Both have the same, always.
        let records: BTreeMap<_, _> =
            self.book.records.iter().map(|(name, noted)| (name.clone(), noted.record.clone())).collect();
        assert_eq!(records, self.kept);
    }

    fn order(&mut self, order: &Order) -> Result<Effect, Refused> {
        self.now_ms.set(self.now_ms.get() + 1);
        let before = self.kept.clone();
        let done = self.book.take(order, self.now_ms.get());
        match &done {
            Ok(effect) => self.keep(effect),
            Err(_) => assert_eq!(self.kept, before),
        }
        done
    }

    fn enrol(&mut self, entries: &[(&str, &SenderKey)]) -> Result<Effect, Refused> {
        self.order(&enrol(entries, false))
    }

    fn change(&mut self, what: What, ids: &[&str]) -> Result<Effect, Refused> {
        self.order(&Order::Change(what, ids.iter().map(|id| name(id)).collect()))
    }

    fn configure(&mut self, senders: &[(&str, &SenderKey)]) -> Effect {
        self.now_ms.set(self.now_ms.get() + 1);
        let mut configured = Configured::default();
        for (id, key) in senders {
            let ready = ready(&name(id), &entry(key));
            assert!(configured.add(Kind::Sender, id, ready, &["c/#".parse().unwrap()]));
        }
        let effect = self.book.configure(configured, self.now_ms.get());
        self.keep(&effect);
        effect
    }

    /// The ids of those who may stamp, with the topic that tells where from.
    fn may(&self, ids: &[&str]) -> Vec<bool> {
        let keyring = self.book.keyring();
        ids.iter().map(|id| keyring.sender(id.as_bytes()).is_some()).collect()
    }
}

fn name(id: &str) -> Name {
    Name::new(Kind::Sender, id).unwrap()
}

fn key() -> SenderKey {
    SenderKey::generate("").unwrap()
}

fn entry(key: &SenderKey) -> Entry {
    let (topics, validity) = ([("a/#").parse().unwrap()].into(), Validity::default());
    Entry::new(&name("x"), &key.public().to_cose_key(), None, (topics, validity)).unwrap().0
}

fn ready(name: &Name, entry: &Entry) -> Ready {
    Record { entry: Some(entry.clone()), ..Record::new(name.clone()) }.ready().unwrap().unwrap()
}

fn of(name: Name, entry: Entry) -> (Name, Entry, Ready) {
    let ready = ready(&name, &entry);
    (name, entry, ready)
}

fn enrol(entries: &[(&str, &SenderKey)], replace: bool) -> Order {
    Order::Enrol { entries: entries.iter().map(|(id, key)| of(name(id), entry(key))).collect(), replace }
}

fn events(effect: &Effect) -> Vec<(&str, Event)> {
    effect.events.iter().map(|(name, event)| (&*name.id, *event)).collect()
}

#[test]
fn what_is_enrolled_may_until_it_is_disabled_or_removed() {
    let (mut desk, key) = (Desk::new(10), key());
    let done = desk.enrol(&[("a", &key), ("b", &key)]).unwrap();
    assert_eq!(events(&done), [("a", Event::Enrolled), ("b", Event::Enrolled)]);
    assert_eq!(desk.may(&["a", "b", "c"]), [true, true, false]);
    desk.change(What::Disable, &["a"]).unwrap();
    assert_eq!(desk.may(&["a", "b"]), [false, true]);
    assert_eq!(desk.restarted().may(&["a", "b"]), [false, true]);
    assert_eq!(desk.change(What::Disable, &["a"]).unwrap().unchanged, 1);
    desk.change(What::Enable, &["a"]).unwrap();
    desk.change(What::Remove, &["b"]).unwrap();
    assert_eq!(desk.may(&["a", "b"]), [true, false]);
    for what in [What::Disable, What::Enable, What::Remove] {
        assert_eq!(desk.change(what, &["b"]).unwrap_err(), Refused::Unknown(name("b")));
    }
}

#[test]
fn an_order_is_done_whole_or_not_at_all() {
    let (mut desk, key) = (Desk::new(10), key());
    desk.enrol(&[("a", &key)]).unwrap();
    desk.change(What::Disable, &["a", "b"]).unwrap_err();
    assert_eq!(desk.may(&["a"]), [true]);
    assert_eq!(desk.enrol(&[("b", &key), ("b", &key)]).unwrap_err(), Refused::Twice(name("b")));
    assert_eq!(desk.enrol(&[("b", &key), ("a", &self::key())]).unwrap_err(), Refused::Different(name("a")));
    assert_eq!(desk.may(&["b"]), [false]);
}

#[test]
fn the_same_again_changes_nothing_and_another_replaces_if_it_may() {
    let (mut desk, one, other) = (Desk::new(10), key(), key());
    desk.enrol(&[("a", &one)]).unwrap();
    let again = desk.enrol(&[("a", &one)]).unwrap();
    assert!(again.unchanged == 1 && again.changes.is_empty() && again.events.is_empty());
    let replaced = desk.order(&enrol(&[("a", &other)], true)).unwrap();
    assert_eq!(events(&replaced), [("a", Event::Replaced)]);
    assert_eq!(replaced.forgotten, ["a"], "another key counts for itself");
    desk.change(What::Disable, &["a"]).unwrap();
    let replaced = desk.order(&enrol(&[("a", &one)], true)).unwrap();
    assert!(desk.may(&["a"]) == [false] && replaced.warnings.len() == 1, "{replaced:?}");
}

#[test]
fn what_the_configuration_says_is_not_changed_and_can_be_disabled() {
    let (mut desk, key) = (Desk::new(10), key());
    desk.configure(&[("a", &key)]);
    for refused in [desk.enrol(&[("a", &key)]), desk.change(What::Remove, &["a"])] {
        assert_eq!(refused.unwrap_err(), Refused::Configured(name("a")));
    }
    desk.change(What::Disable, &["a"]).unwrap();
    assert_eq!(desk.may(&["a"]), [false]);
    let mut again = desk.restarted();
    let warned = again.configure(&[("a", &key)]);
    assert!(again.may(&["a"]) == [false] && warned.warnings.len() == 1, "{warned:?}");
    again.change(What::Enable, &["a"]).unwrap();
    assert!(again.kept.is_empty() && again.may(&["a"]) == [true]);
}

#[test]
fn where_both_have_an_id_the_configuration_counts() {
    let (mut desk, own) = (Desk::new(10), key());
    desk.enrol(&[("a", &own)]).unwrap();
    let warned = desk.configure(&[("a", &own)]);
    assert!(warned.warnings.len() == 1 && warned.forgotten.is_empty(), "{warned:?}");
    let (list, more) = desk.book.page(None, 10);
    assert!(list.len() == 1 && list[0].is_configured && list[0].is_at_run_time && !more);
    let mut desk = desk.restarted();
    assert!(desk.configure(&[("a", &own)]).forgotten.is_empty());
    // Once it is gone from the file, the other counts again, and goes on counting.
    let back = desk.configure(&[]);
    assert!(back.forgotten.is_empty() && back.warnings.len() == 1, "{back:?}");
    assert_eq!(desk.may(&["a"]), [true]);
    desk.configure(&[("a", &own)]);
    desk.change(What::Remove, &["a"]).unwrap();
    assert!(desk.kept.is_empty() && desk.may(&["a"]) == [true]);
}

/// It would come back by itself, when nobody remembers what was taken of it.
#[test]
fn key_that_the_configuration_replaces_does_not_come_back() {
    let (own, theirs) = (key(), key());
    for is_start in [false, true] {
        let mut desk = Desk::new(10);
        desk.enrol(&[("a", &own)]).unwrap();
        if is_start {
            desk = desk.restarted();
        }
        let replaced = desk.configure(&[("a", &theirs)]);
        assert_eq!(
            (events(&replaced), &replaced.forgotten[..]),
            (vec![("a", Event::Removed)], &["a".into()][..])
        );
        assert!(replaced.warnings.len() == 1 && desk.kept.is_empty(), "{replaced:?}");
        assert!(desk.book.keyring().sender(b"a").unwrap().key == theirs.public().with_id("x"));
        desk.configure(&[]);
        assert_eq!(desk.may(&["a"]), [false]);
        assert_eq!(desk.enrol(&[("a", &own)]).unwrap().forgotten, ["a"], "another than was there last");
    }
}

#[test]
fn what_was_taken_of_strangers_is_bounded() {
    let (mut desk, key) = (Desk::new(2), key());
    desk.configure(&[("a", &key)]);
    let recalled = |desk: &Desk, ids: &[&'static str]| {
        let mut effect = Effect::default();
        desk.book.recall(ids.iter().map(|id| Bytes::from(*id)).collect(), &mut effect);
        effect.forgotten
    };
    assert!(recalled(&desk, &["a", "b", "c"]).is_empty());
    assert_eq!(recalled(&desk, &["a", "b", "c", "d"]), ["b"]);
}

#[test]
fn the_last_that_was_enrolled_counts_whatever_happened_to_the_others() {
    let mut desk = Desk::new(10);
    let [one, two] = [(); 2].map(|()| TopicKey::generate_x25519("file").unwrap());
    desk.order(&enrol_topic_key("z", &one)).unwrap();
    desk.order(&enrol_topic_key("a", &two)).unwrap();
    let current = |desk: &Desk| desk.book.keyring().current_public("a/b", 1).unwrap().id().to_vec();
    assert_eq!(current(&desk), b"a");
    for what in [What::Disable, What::Enable] {
        desk.order(&Order::Change(what, vec![topic_entry("z", &one).0])).unwrap();
    }
    assert_eq!((current(&desk), current(&desk.restarted())), (b"a".to_vec(), b"a".to_vec()));
}

#[test]
fn an_entry_may_not_be_too_large() {
    let mut desk = Desk::new(10);
    let mut long = entry(&key());
    long.topics = vec!["a".parse().unwrap(); 2_000].into();
    let order = Order::Enrol { entries: vec![of(name("a"), long)], replace: false };
    let refused = desk.order(&order).unwrap_err();
    assert!(matches!(refused, Refused::TooLarge { max: 65_536, .. }), "{refused}");
}

#[test]
fn a_window_is_kept_for_a_key_that_may_come_back() {
    let (mut desk, one, other) = (Desk::new(10), key(), key());
    desk.enrol(&[("a", &one)]).unwrap();
    desk.change(What::Remove, &["a"]).unwrap();
    let mut desk = desk.restarted();
    assert!(desk.book.remembers(b"a") && !desk.book.remembers(b"b"));
    assert!(desk.enrol(&[("a", &one.with_id("of another file"))]).unwrap().forgotten.is_empty());
    desk.change(What::Remove, &["a"]).unwrap();
    assert_eq!(desk.enrol(&[("a", &other)]).unwrap().forgotten, ["a"]);
    assert_eq!(desk.change(What::Reset, &["a"]).unwrap().forgotten, ["a"]);
    assert_eq!(desk.change(What::Reset, &["b"]).unwrap_err(), Refused::Unknown(name("b")));
}

#[test]
fn a_sender_that_leaves_the_configuration_is_remembered_as_well() {
    let (mut desk, one, other) = (Desk::new(10), key(), key());
    desk.configure(&[("a", &one), ("b", &one)]);
    desk.configure(&[]);
    assert!(desk.book.remembers(b"a") && desk.may(&["a"]) == [false]);
    assert!(desk.book.page(None, 10).0.is_empty(), "he is not enrolled");
    let mut desk = desk.restarted();
    desk.configure(&[]);
    assert!(desk.enrol(&[("a", &one)]).unwrap().forgotten.is_empty());
    assert_eq!(desk.configure(&[("b", &other)]).forgotten, ["b"]);
    assert_eq!(desk.kept.len(), 1);
}

#[test]
fn bounds_hold_and_the_oldest_who_was_removed_is_forgotten() {
    let (mut desk, key) = (Desk::new(2), key());
    desk.enrol(&[("a", &key), ("b", &key)]).unwrap();
    let full = desk.enrol(&[("c", &key)]).unwrap_err();
    assert!(matches!(full, Refused::Full { there: 3, max: 2, .. }), "{full}");
    desk.configure(&[("d", &key)]);
    assert!(desk.change(What::Disable, &["d"]).is_err(), "that is kept as well");
    desk.change(What::Disable, &["a"]).unwrap();
    for (n, id) in ["a", "b", "c"].into_iter().enumerate() {
        desk.enrol(&[(id, &key)]).unwrap();
        let removed = desk.change(What::Remove, &[id]).unwrap();
        assert_eq!(
            removed.forgotten.len(),
            usize::from(n == 2),
            "the first of three, for two are remembered"
        );
    }
    assert!(!desk.book.remembers(b"a") && desk.book.remembers(b"b") && desk.book.remembers(b"c"));
}

#[test]
fn pages_hold_both_in_order_and_each_once() {
    let (mut desk, key) = (Desk::new(10), key());
    desk.configure(&[("b", &key), ("d", &key)]);
    desk.enrol(&[("a", &key), ("c", &key), ("e", &key)]).unwrap();
    desk.change(What::Disable, &["b"]).unwrap();
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let (page, more) = desk.book.page(after.as_ref(), 2);
        assert!(page.len() == 2 || !more);
        after = page.last().map(|last| last.name.clone());
        found.extend(page.into_iter().map(|listed| listed.name.id.to_string()));
        if !more {
            break;
        }
    }
    assert_eq!(found, ["a", "b", "c", "d", "e"]);
}

fn topic_entry(id: &str, key: &TopicKey) -> (Name, Entry) {
    let name = Name::new(Kind::TopicKey, id).unwrap();
    let terms = (["a/#".parse().unwrap()].into(), Validity::default());
    let (entry, _) = Entry::new(&name, key.to_jwk().unwrap().as_bytes(), None, terms).unwrap();
    (name, entry)
}

fn enrol_topic_key(id: &str, key: &TopicKey) -> Order {
    let (name, entry) = topic_entry(id, key);
    Order::Enrol { entries: vec![of(name, entry)], replace: true }
}

#[test]
fn topic_keys_and_masters_are_enrolled_and_kept() {
    let mut desk = Desk::new(10);
    let key = TopicKey::generate("file", ContentAlgorithm::A256Gcm).unwrap();
    let master = TopicKey::generate_master("file", Derived::X25519).unwrap();
    for (id, key) in [("k", &key), ("m", &master)] {
        desk.order(&enrol_topic_key(id, key)).unwrap();
        let keyring = desk.restarted().book.keyring();
        let kept = &keyring.topic_key(id.as_bytes()).unwrap().key;
        assert_eq!((kept.id(), kept.derives()), (id.as_bytes(), key.derives()));
        let reset = desk.order(&Order::Change(What::Reset, vec![topic_entry(id, key).0]));
        assert!(matches!(reset.unwrap_err(), Refused::NoSender(_)));
    }
    assert!(matches!(desk.order(&enrol_topic_key("p", &key)), Err(Refused::Full { max: 2, .. })));
    desk.order(&Order::Change(What::Remove, vec![topic_entry("k", &key).0])).unwrap();
    assert_eq!(desk.kept.len(), 1, "of a topic key nothing is remembered");
}

#[test]
fn what_a_key_has_opened_is_counted_over_all_that_happens_to_it() {
    let mut desk = Desk::new(10);
    let [key, other] = [(); 2].map(|()| TopicKey::generate("file", ContentAlgorithm::A256Gcm).unwrap());
    let opened =
        |desk: &Desk| -> Vec<u64> { desk.book.topic_keys().iter().map(|key| key.opened()).collect() };
    desk.order(&enrol_topic_key("k", &key)).unwrap();
    desk.book.keyring().topic_key(b"k").unwrap().count_opened();
    let (name, entry) = topic_entry("k", &key);
    desk.order(&Order::Change(What::Disable, vec![name.clone()])).unwrap();
    assert!(desk.book.keyring().topic_key(b"k").is_none());
    assert_eq!(opened(&desk), [1], "it may come back");
    desk.order(&Order::Change(What::Enable, vec![name.clone()])).unwrap();
    // Into the configuration, read anew, and out of it.
    for _ in 0..2 {
        let mut configured = Configured::default();
        assert!(configured.add(Kind::TopicKey, "k", ready(&name, &entry), &[]));
        let effect = desk.book.configure(configured, 1);
        desk.keep(&effect);
        desk.book.keyring().topic_key(b"k").unwrap().count_opened();
    }
    desk.configure(&[]);
    assert_eq!(opened(&desk), [3]);
    desk.order(&enrol_topic_key("k", &other)).unwrap();
    assert_eq!(opened(&desk), [0], "another key");
}

#[test]
fn senders_are_bound_by_whatever_counts_of_them() {
    let (mut desk, key) = (Desk::new(10), key());
    let bound = |id: &str, bind| {
        let mut entry = entry(&key);
        entry.bind = Some(bind);
        Order::Enrol { entries: vec![of(name(id), entry)], replace: false }
    };
    desk.order(&bound("a", Bind::ClientId)).unwrap();
    desk.order(&bound("b", Bind::User)).unwrap();
    let binds = |desk: &Desk, id: &str| desk.book.binds().get(id.as_bytes()).copied();
    let again = desk.restarted();
    assert_eq!(["a", "b"].map(|id| binds(&again, id)), [Some(Bind::ClientId), Some(Bind::User)]);
    desk.change(What::Disable, &["b"]).unwrap();
    assert_eq!(binds(&desk, "b"), None);
    desk.configure(&[("a", &key)]);
    assert_eq!(binds(&desk, "a"), None, "the configuration counts, and has none");
}
