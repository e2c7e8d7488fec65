//! `sealmq keys rotate`: the next key after one that stands in the configuration.
//!
//! An id and a configuration come in; a new key of the same kind goes out, and what to write where, so that
//! old and new are valid at once for a while. Always holds: the configuration is the operator's and is not
//! touched; no file that is there is either.

use super::keys::{KeyFiles, made, quoted};
use super::{CommandError, ServeOptions};
use crate::keys;
use crate::now::Now;
use crate::secrets::Secrets;
use clap::Args;
use sealmq_config::Config;
use sealmq_config::encryption::{Sender, TopicKey};
use sealmq_crypto::SenderKey;
use sealmq_protocol::TopicFilter;
use std::fmt::Write;
use std::path::{Path, PathBuf};

const DAY_S: u64 = 86_400;
/// Nobody plans further.
const OVERLAP_MAX_S: u64 = 3_650 * DAY_S;

/// Makes the key that comes after one of the configuration, and says what to write where. The configuration
/// itself is not changed.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sealmq keys rotate plant-1 --config sealmq.toml
  sealmq keys rotate plant-1 --config sealmq.toml --overlap 7d --new-id plant-2027")]
pub(super) struct RotateArguments {
    /// The id of the topic key, master or sender
    id: String,
    /// The id of the new one; by default the next number
    #[arg(long, value_name = "ID")]
    new_id: Option<String>,
    /// How long both are valid: a number with s, m, h, d or w
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = parse_overlap)]
    overlap: u64,
    /// It is a sender, where a topic key has the same id
    #[arg(long)]
    sender: bool,
}

/// What is followed by a new one.
enum Old<'c> {
    Topic(&'c TopicKey),
    Sender(&'c Sender),
}

pub(super) fn run(
    arguments: &RotateArguments,
    options: &ServeOptions,
    config: Option<&Config>,
    secrets: &Secrets,
) -> Result<String, CommandError> {
    let (Some(config), Some(file)) = (config, &options.config_file) else {
        let advice = "which configuration has the key? name it with --config";
        return Err(CommandError::Plain(advice.to_owned()));
    };
    rotate(arguments, config, file, secrets, Now::read().unix_s)
}

fn rotate(
    arguments: &RotateArguments,
    config: &Config,
    config_file: &Path,
    secrets: &Secrets,
    now: u64,
) -> Result<String, CommandError> {
    let old = old(arguments, config)?;
    let folder = old.file().parent().unwrap_or(Path::new(""));
    let (new_id, files) = match &arguments.new_id {
        Some(id) if old.is_taken(config, id) => {
            let table = old.table();
            return Err(CommandError::Plain(format!(
                "the configuration has a {table} of the id {id:?} already"
            )));
        }
        Some(id) => (id.clone(), KeyFiles::new(secrets, id, folder, old.ending())?),
        None => next(&old, config, secrets, folder)?,
    };
    let mut text = match old {
        Old::Topic(entry) => make_topic_key(entry, &new_id, &files, secrets)?,
        Old::Sender(_) => make_sender(&new_id, &files, secrets)?,
    };
    text += "\n";
    let written = old.written(&new_id, old.configured(&files), config_file, now)?;
    let steps = [
        old.end(now, arguments.overlap)?,
        format!("Add the new one to {}:\n\n{written}", config_file.display()),
        format!(
            "Look it over, then have the broker read it. From then on it takes both:\n\n\
             sealmq check --config {}\nkill -HUP PID\n",
            config_file.display()
        ),
        old.handing_over(&new_id, &files, config_file),
        format!("When {} has ended, take its [[{}]] out and delete its file.\n", old.id(), old.table()),
    ];
    for (at, step) in steps.iter().enumerate() {
        let _ = writeln!(text, "{}. {step}", at + 1);
    }
    Ok(text)
}

/// The entry of that id.
fn old<'c>(arguments: &RotateArguments, config: &'c Config) -> Result<Old<'c>, CommandError> {
    let id = &arguments.id;
    let topic = config.topic_keys.iter().find(|entry| entry.id == *id).filter(|_| !arguments.sender);
    let sender = config.senders.iter().find(|entry| entry.id == *id);
    match (topic, sender) {
        (Some(topic), None) => Ok(Old::Topic(topic)),
        (None, Some(sender)) => Ok(Old::Sender(sender)),
        (Some(_), Some(_)) => {
            let both = format!("{id:?} is a topic_key and a sender; for the sender, there is --sender");
            Err(CommandError::Plain(both))
        }
        (None, None) => {
            let what = if arguments.sender { "sender" } else { "topic_key or sender" };
            Err(CommandError::Plain(format!("the configuration has no {what} of the id {id:?}")))
        }
    }
}

/// The next id that is free, and its files.
fn next(
    old: &Old<'_>,
    config: &Config,
    secrets: &Secrets,
    folder: &Path,
) -> Result<(String, KeyFiles), CommandError> {
    let mut id = next_id(old.id());
    loop {
        let files = KeyFiles::new(secrets, &id, folder, old.ending())?;
        // As many as there are entries and files, so this comes to an end.
        if !old.is_taken(config, &id) && !files.are_there() {
            return Ok((id, files));
        }
        id = next_id(&id);
    }
}

/// The same with the next number: `plant-1`, `plant-2`; `plant`, `plant-2`; `k09`, `k10`.
fn next_id(id: &str) -> String {
    let stem = id.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = id.get(stem.len()..).unwrap_or_default();
    match digits.parse::<u64>().ok().and_then(|number| number.checked_add(1)) {
        Some(number) => format!("{stem}{number:0width$}", width = digits.len()),
        None => format!("{id}-2"),
    }
}

fn make_topic_key(
    entry: &TopicKey,
    new_id: &str,
    files: &KeyFiles,
    secrets: &Secrets,
) -> Result<String, CommandError> {
    let key = keys::source(secrets, &entry.source)?.successor(new_id)?;
    let public = match key.derives() {
        Some(_) => None,
        None => key.public(""),
    };
    let half = public.as_ref().map(sealmq_crypto::TopicPublicKey::to_jwk).transpose()?;
    files.write(secrets, &key.to_jwk()?, half.as_deref())?;
    let alone = key.derives().is_some() || public.is_some();
    let mut text = made(
        &files.secret,
        if alone { "secret: for the broker alone" } else { "secret: for the broker and the senders" },
    );
    if public.is_some() {
        text += &made(&files.public, "public: for the senders");
    }
    Ok(text)
}

fn make_sender(new_id: &str, files: &KeyFiles, secrets: &Secrets) -> Result<String, CommandError> {
    let key = SenderKey::generate(new_id)?;
    files.write(secrets, &key.to_jwk()?, Some(&key.public().to_jwk()?))?;
    Ok(made(&files.secret, "secret: for the sender alone") + &made(&files.public, "public: for the broker"))
}

impl Old<'_> {
    fn id(&self) -> &str {
        match self {
            Self::Topic(entry) => &entry.id,
            Self::Sender(entry) => &entry.id,
        }
    }

    fn table(&self) -> &'static str {
        match self {
            Self::Topic(_) => "topic_key",
            Self::Sender(_) => "sender",
        }
    }

    fn file(&self) -> &Path {
        match self {
            Self::Topic(entry) => entry.source.file(),
            Self::Sender(entry) => &entry.key,
        }
    }

    /// With what the name of a file of its kind ends.
    fn ending(&self) -> &'static str {
        if self.setting() == "master" { ".master" } else { ".jwk" }
    }

    fn setting(&self) -> &'static str {
        match self {
            Self::Topic(entry) => entry.source.setting(),
            Self::Sender(_) => "key",
        }
    }

    fn topics(&self) -> &[TopicFilter] {
        match self {
            Self::Topic(entry) => &entry.topics,
            Self::Sender(entry) => &entry.topics,
        }
    }

    fn not_after(&self) -> Option<u64> {
        match self {
            Self::Topic(entry) => entry.not_after,
            Self::Sender(entry) => entry.not_after,
        }
    }

    fn is_taken(&self, config: &Config, id: &str) -> bool {
        match self {
            Self::Topic(_) => config.topic_keys.iter().any(|entry| entry.id == id),
            Self::Sender(_) => config.senders.iter().any(|entry| entry.id == id),
        }
    }

    /// The file of a new key that the configuration names.
    fn configured<'f>(&self, files: &'f KeyFiles) -> &'f Path {
        match self {
            Self::Topic(_) => &files.secret,
            Self::Sender(_) => &files.public,
        }
    }

    /// The new entry.
    fn written(
        &self,
        new_id: &str,
        file: &Path,
        config_file: &Path,
        now: u64,
    ) -> Result<String, CommandError> {
        let topics: Vec<_> = self.topics().iter().map(|topic| quoted(topic.as_str())).collect();
        let file = beside(file, config_file);
        let bind = match self {
            Self::Sender(Sender { bind: Some(bind), .. }) => format!("bind = \"{}\"\n", bind.name()),
            Self::Sender(_) | Self::Topic(_) => String::new(),
        };
        Ok(format!(
            "[[{}]]\nid = {}\n{} = {}\ntopics = [{}]\n{bind}not_before = {}\n",
            self.table(),
            quoted(new_id),
            self.setting(),
            quoted(&file.to_string_lossy()),
            topics.join(", "),
            date(now)?
        ))
    }

    /// What becomes of the old entry.
    fn end(&self, now: u64, overlap: u64) -> Result<String, CommandError> {
        let (id, end) = (self.id(), now.saturating_add(overlap));
        match self.not_after() {
            Some(ended) if ended < now => {
                Ok(format!("{id} has ended on {}: both are not valid at once.\n", date(ended)?))
            }
            Some(earlier) if earlier <= end => {
                Ok(format!("{id} ends on {} already: nothing to change there.\n", date(earlier)?))
            }
            Some(_) => Ok(format!(
                "Let {id} end earlier, in its [[{}]]:\n\nnot_after = {}\n",
                self.table(),
                date(end)?
            )),
            None => Ok(format!("Let {id} end, in its [[{}]]:\n\nnot_after = {}\n", self.table(), date(end)?)),
        }
    }

    /// Who needs what, until when.
    fn handing_over(&self, new_id: &str, files: &KeyFiles, config_file: &Path) -> String {
        let old = self.id();
        match self {
            Self::Topic(entry) if entry.source.setting() == "master" => format!(
                "Before {old} ends, give each device the key of its topic:\n\n\
                 sealmq keys derive --config {} --id {} --topic TOPIC\n",
                config_file.display(),
                quoted(new_id)
            ),
            Self::Topic(_) => {
                let file = if files.public.exists() { &files.public } else { &files.secret };
                format!("Before {old} ends, give the senders {}.\n", file.display())
            }
            Self::Sender(_) => format!(
                "Before {old} ends, give the sender {}, and delete it here. Its stamps name {new_id} from then \
                 on, and so does it as a user: see that access rules for {old} hold for {new_id} too.\n",
                files.secret.display()
            ),
        }
    }
}

/// A file as the configuration names it, whose paths begin at its own folder.
fn beside(file: &Path, config_file: &Path) -> PathBuf {
    let folder = config_file.parent().unwrap_or(Path::new(""));
    file.strip_prefix(folder).unwrap_or(file).to_owned()
}

/// A second as the configuration has it.
fn date(unix_s: u64) -> Result<String, CommandError> {
    let time = i64::try_from(unix_s).ok().and_then(|unix_s| jiff::Timestamp::from_second(unix_s).ok());
    let time = time.ok_or_else(|| CommandError::Plain("that time lies too far ahead".to_owned()))?;
    Ok(time.to_string())
}

/// A number with a unit, in seconds.
fn parse_overlap(text: &str) -> Result<u64, String> {
    let unit = |last: char| match last {
        's' => Some(1),
        'm' => Some(60),
        'h' => Some(3_600),
        'd' => Some(DAY_S),
        'w' => Some(7 * DAY_S),
        _ => None,
    };
    let parsed = text.char_indices().next_back().and_then(|(at, last)| {
        let number: u64 = text.get(..at)?.parse().ok()?;
        number.checked_mul(unit(last)?).filter(|seconds| *seconds <= OVERLAP_MAX_S)
    });
    parsed.ok_or_else(|| "a number with s, m, h, d or w, up to 3650d; such as 30d".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files;
    use sealmq_config::encryption::{Bind, KeySource};
    use sealmq_crypto::{ContentAlgorithm, Derived, TopicKey as Key};

    const NOW: u64 = 1_800_000_000;

    /// A configuration in a folder: the topic key `plant-1` of this kind, and the senders `dev-7` and `plant-1`.
    fn config(folder: &Path, key: &Key) -> Config {
        let file = folder.join("keys/plant-1.jwk");
        files::create_folder(&folder.join("keys")).unwrap();
        files::replace(&file, files::PRIVATE, key.to_jwk().unwrap().as_bytes()).unwrap();
        let source = match key.derives() {
            Some(_) => KeySource::Master { file, algorithm: None },
            None => KeySource::Key(file),
        };
        let topics: Vec<TopicFilter> = vec!["plant/#".parse().unwrap(), "a \"b\"".parse().unwrap()];
        let sender = |id: &str| Sender {
            id: id.to_owned(),
            key: folder.join("keys/dev-7.pub.jwk"),
            topics: topics.clone(),
            not_before: None,
            not_after: Some(NOW + DAY_S),
            bind: Some(Bind::User),
        };
        let topic_key = TopicKey {
            id: "plant-1".to_owned(),
            source,
            topics: topics.clone(),
            not_before: None,
            not_after: None,
        };
        Config { topic_keys: vec![topic_key], senders: vec![sender("dev-7")], ..Config::default() }
    }

    fn arguments(id: &str) -> RotateArguments {
        RotateArguments { id: id.to_owned(), new_id: None, overlap: 30 * DAY_S, sender: false }
    }

    fn text(arguments: &RotateArguments, config: &Config, folder: &Path) -> Result<String, String> {
        rotate(arguments, config, &folder.join("sealmq.toml"), &Secrets::in_plain(), NOW)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_new_key_is_of_the_kind_of_the_old_one() {
        let derived = Derived::ALL.map(|derived| Key::generate_master("plant-1", derived).unwrap());
        let listed = ContentAlgorithm::ALL.map(|algorithm| Key::generate("plant-1", algorithm).unwrap());
        let pair = [Key::generate_x25519("plant-1").unwrap()];
        for old in derived.into_iter().chain(listed).chain(pair) {
            let folder = tempfile::tempdir().unwrap();
            let mut config = config(folder.path(), &old);
            let told = text(&arguments("plant-1"), &config, folder.path()).unwrap();
            let (setting, file) = match old.derives() {
                Some(_) => ("master", "keys/plant-2.master"),
                None => ("key", "keys/plant-2.jwk"),
            };
            let entry = format!(
                "[[topic_key]]\nid = \"plant-2\"\n{setting} = \"{file}\"\ntopics = [\"plant/#\", \"a \\\"b\\\"\"]\n\
                 not_before = 2027-01-15T08:00:00Z\n"
            );
            assert!(told.contains(&entry), "{told}");
            assert!(told.contains("[[topic_key]]:\n\nnot_after = 2027-02-14T08:00:00Z\n"), "{told}");
            let file = folder.path().join(file);
            let source = &mut config.topic_keys[0].source;
            *source = match old.derives() {
                Some(_) => KeySource::Master { file, algorithm: None },
                None => KeySource::Key(file),
            };
            let new = keys::source(&Secrets::in_plain(), source).unwrap();
            assert_eq!((new.id(), keys::kind(&new)), (&b"plant-2"[..], keys::kind(&old)));
            assert_eq!(new.symmetric_algorithm(), old.symmetric_algorithm());
            assert_ne!(new.with_id("plant-1"), old);
        }
    }

    #[test]
    fn an_id_that_is_free_is_taken() {
        for (id, next) in [("plant-1", "plant-2"), ("plant", "plant-2"), ("k09", "k10"), ("9", "10")] {
            assert_eq!(next_id(id), next);
        }
        assert_eq!(next_id("k18446744073709551615"), "k18446744073709551615-2");
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path(), &Key::generate("plant-1", ContentAlgorithm::A256Gcm).unwrap());
        std::fs::write(folder.path().join("keys/plant-2.jwk"), "mine").unwrap();
        let mut third = config.topic_keys[0].clone();
        third.id = "plant-3".to_owned();
        config.topic_keys.push(third);
        let told = text(&arguments("plant-1"), &config, folder.path()).unwrap();
        assert!(told.contains("id = \"plant-4\""), "{told}");
        let named = RotateArguments { new_id: Some("plant-3".to_owned()), ..arguments("plant-1") };
        assert!(text(&named, &config, folder.path()).unwrap_err().contains("of the id \"plant-3\" already"));
        let named = RotateArguments { new_id: Some("plant-2".to_owned()), ..arguments("plant-1") };
        assert!(text(&named, &config, folder.path()).unwrap_err().contains("it is there already"));
    }

    #[test]
    fn an_end_that_comes_sooner_stays() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), &Key::generate_x25519("plant-1").unwrap());
        let told = text(&arguments("dev-7"), &config, folder.path()).unwrap();
        assert!(told.contains("dev-7 ends on 2027-01-16T08:00:00Z already"), "{told}");
        assert!(told.contains("[[sender]]\nid = \"dev-8\"\nkey = \"keys/dev-8.pub.jwk\"\n"), "{told}");
        assert!(told.contains("\nbind = \"user\"\nnot_before = "), "{told}");
        let shorter = RotateArguments { overlap: 3_600, new_id: Some("x".to_owned()), ..arguments("dev-7") };
        let told = text(&shorter, &config, folder.path()).unwrap();
        assert!(
            told.contains("Let dev-7 end earlier, in its [[sender]]:\n\nnot_after = 2027-01-15T09:00:00Z")
        );
    }

    #[test]
    fn which_one_is_meant_has_to_be_clear() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path(), &Key::generate_x25519("plant-1").unwrap());
        config.senders[0].id = "plant-1".to_owned();
        let unclear = text(&arguments("plant-1"), &config, folder.path()).unwrap_err();
        assert!(unclear.contains("there is --sender"), "{unclear}");
        let sender = RotateArguments { sender: true, ..arguments("plant-1") };
        assert!(text(&sender, &config, folder.path()).unwrap().contains("[[sender]]\nid = \"plant-2\""));
        assert!(
            text(&arguments("nobody"), &config, folder.path())
                .unwrap_err()
                .contains("no topic_key or sender")
        );
    }

    #[test]
    fn an_overlap_has_a_unit() {
        for (text, seconds) in
            [("0s", 0), ("90m", 5_400), ("12h", 43_200), ("30d", 30 * DAY_S), ("2w", 14 * DAY_S)]
        {
            assert_eq!(parse_overlap(text), Ok(seconds));
        }
        for text in ["", "d", "30", "-1d", "1.5d", "3651d", "99999999999999999999d", "30é"] {
            assert!(parse_overlap(text).is_err(), "{text}");
        }
    }
}
