//! `sealmq keys derive`: the key of one topic, for the devices that publish there.
//!
//! A topic and a master come in, a JWK goes out: the symmetric key, or the public half of the topic's pair.
//! Always holds: it is the key that the broker derives for that topic, under the same id.

use super::keys::{lined, write_secret};
use super::{CommandError, say};
use crate::files;
use crate::keys;
use crate::secrets::Secrets;
use clap::Args;
use sealmq_config::Config;
use sealmq_config::encryption::{self, KeySource};
use sealmq_crypto::{Derived, KeyError, TopicKey};
use sealmq_protocol::TopicName;
use std::path::{Path, PathBuf};

/// Where `sealmq keys master` puts what it makes.
const FOLDER: &str = "keys";

/// Prints the key of one topic as a JWK: a symmetric key, or the public half of an X25519 pair.
#[derive(Debug, Args)]
#[command(after_help = "\
The master is that of --master, or the one that the configuration has for the topic,
or the only one in the folder 'keys'.

Examples:
  sealmq keys derive --topic plant/7/temp --master keys/plant.master
  sealmq keys derive --topic plant/7/temp --config sealmq.toml --out dev-7.topic.jwk")]
pub(super) struct DeriveArguments {
    /// The topic
    #[arg(long)]
    topic: TopicName,
    /// The master
    #[arg(long, value_name = "FILE")]
    master: Option<PathBuf>,
    /// The id of the master in the broker's configuration, if it is not the one in the file
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// What the keys are for, if the master's file does not say so
    #[arg(long, value_name = "ALGORITHM", value_parser = parse_derived, requires = "master")]
    alg: Option<Derived>,
    /// The whole pair, its secret half with it
    #[arg(long)]
    private: bool,
    /// Write to this file, instead of stdout
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(
    arguments: &DeriveArguments,
    config: Option<&Config>,
    secrets: &Secrets,
) -> Result<(), CommandError> {
    let (text, is_secret) = derive(arguments, config, secrets)?;
    match &arguments.out {
        None => say(lined(&text).as_bytes()),
        Some(file) if is_secret => Ok(write_secret(secrets, file, &text)?),
        Some(file) => Ok(files::create(file, files::PUBLIC, lined(&text).as_bytes())?),
    }
}

/// The key as a JWK, and whether that is a secret.
fn derive(
    arguments: &DeriveArguments,
    config: Option<&Config>,
    secrets: &Secrets,
) -> Result<(zeroize::Zeroizing<String>, bool), CommandError> {
    let master = master(arguments, config, secrets)?;
    let topic = arguments.topic.as_str();
    match master.public(topic) {
        Some(public) if !arguments.private => Ok((public.to_jwk()?.into(), false)),
        None if arguments.private => {
            Err(CommandError::Plain("--private is for pairs; this master's keys are symmetric".to_owned()))
        }
        Some(_) | None => {
            let key = master.derived(topic).ok_or(CommandError::Key(KeyError::NoMaster))?;
            Ok((key.to_jwk()?, true))
        }
    }
}

fn master(
    arguments: &DeriveArguments,
    config: Option<&Config>,
    secrets: &Secrets,
) -> Result<TopicKey, CommandError> {
    let by_file = |file: &Path| {
        let master = keys::master(secrets, file, arguments.alg)?;
        Ok(match &arguments.id {
            Some(id) => master.with_id(id.as_bytes()),
            None => master,
        })
    };
    match (&arguments.master, config) {
        (Some(file), _) => by_file(file),
        (None, Some(config)) => {
            let entry = configured(arguments, config)?;
            Ok(keys::source(secrets, &entry.source)?.with_id(entry.id.as_bytes()))
        }
        (None, None) => by_file(&only_master(Path::new(FOLDER))?),
    }
}

/// The entry of the configuration whose master is for the topic, and of the id that was asked for.
fn configured<'c>(
    arguments: &DeriveArguments,
    config: &'c Config,
) -> Result<&'c encryption::TopicKey, CommandError> {
    let topic = &arguments.topic;
    let fits = |entry: &&encryption::TopicKey| {
        matches!(entry.source, KeySource::Master { .. })
            && entry.topics.iter().any(|filter| filter.matches(topic))
            && arguments.id.as_ref().is_none_or(|id| *id == entry.id)
    };
    let found: Vec<_> = config.topic_keys.iter().filter(fits).collect();
    match found.as_slice() {
        [one] => Ok(one),
        [] => {
            let id = arguments.id.as_ref().map_or(String::new(), |id| format!(" of the id {id:?}"));
            Err(CommandError::Plain(format!(
                "the configuration has no topic_key{id} with a master for {topic}"
            )))
        }
        several => {
            let ids: Vec<_> = several.iter().map(|entry| entry.id.as_str()).collect();
            let ids = ids.join(", ");
            Err(CommandError::Plain(format!("several masters are for {topic}: {ids}; say which with --id")))
        }
    }
}

/// The only master in a folder.
fn only_master(folder: &Path) -> Result<PathBuf, CommandError> {
    let is_master = |file: &PathBuf| {
        let name = file.file_name().map(|name| name.to_string_lossy());
        name.is_some_and(|name| name.ends_with(".master") || name.ends_with(".master.age"))
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries.map(|entry| entry.path()).filter(is_master).collect();
    match (found.pop(), found.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(_), false) => {
            let folder = folder.display();
            Err(CommandError::Plain(format!(
                "there are several masters in '{folder}'; say which with --master"
            )))
        }
        (None, _) => {
            let folder = folder.display();
            let advice = format!("there is no master in '{folder}'; name one with --master, or --config");
            Err(CommandError::Plain(advice))
        }
    }
}

pub(super) fn parse_derived(name: &str) -> Result<Derived, String> {
    Derived::from_name(name).ok_or_else(|| {
        let names: Vec<_> = Derived::ALL.into_iter().map(Derived::name).collect();
        format!("one of {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealmq_config::encryption::DerivedAlgorithm;

    const TOPIC: &str = "plant/7/temp";

    fn arguments() -> DeriveArguments {
        let topic = TOPIC.parse().unwrap();
        DeriveArguments { topic, master: None, id: None, alg: None, private: false, out: None }
    }

    fn put(folder: &Path, name: &str, master: &TopicKey) -> PathBuf {
        let file = folder.join(name);
        files::create(&file, files::PRIVATE, master.to_jwk().unwrap().as_bytes()).unwrap();
        file
    }

    fn entry(id: &str, file: &Path, topics: &str) -> encryption::TopicKey {
        let source = KeySource::Master { file: file.to_owned(), algorithm: None };
        let topics = vec![topics.parse().unwrap()];
        encryption::TopicKey { id: id.to_owned(), source, topics, not_before: None, not_after: None }
    }

    fn text(arguments: &DeriveArguments, config: Option<&Config>) -> Result<(String, bool), String> {
        derive(arguments, config, &Secrets::in_plain())
            .map(|(text, is_secret)| (text.to_string(), is_secret))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn of_pairs_the_public_half_is_printed_unless_asked_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        let pairs = TopicKey::generate_master("m", Derived::X25519).unwrap();
        let master = Some(put(folder.path(), "m.master", &pairs));
        let public = pairs.public(TOPIC).unwrap().to_jwk().unwrap();
        assert_eq!(
            text(&DeriveArguments { master: master.clone(), ..arguments() }, None),
            Ok((public, false))
        );
        let private = DeriveArguments { master, private: true, ..arguments() };
        let pair = pairs.derived(TOPIC).unwrap().to_jwk().unwrap().to_string();
        assert_eq!(text(&private, None), Ok((pair, true)));
        let symmetric = TopicKey::generate_master("s", Derived::ALL[0]).unwrap();
        let master = Some(put(folder.path(), "s.master", &symmetric));
        assert!(text(&DeriveArguments { master, ..private }, None).unwrap_err().contains("for pairs"));
    }

    #[test]
    fn the_configured_id_counts_and_with_a_file_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let master = TopicKey::generate_master("own", Derived::ALL[1]).unwrap();
        let file = put(folder.path(), "m.master", &master);
        let key = |id: &str| {
            let master = TopicKey::master_from_bytes(master.to_jwk().unwrap().as_bytes(), None).unwrap();
            master.with_id(id).derived(TOPIC).unwrap().to_jwk().unwrap().to_string()
        };
        let by_file = DeriveArguments { master: Some(file.clone()), ..arguments() };
        assert_eq!(text(&by_file, None), Ok((key("own"), true)));
        let renamed = DeriveArguments { id: Some("plant".into()), ..by_file };
        assert_eq!(text(&renamed, None), Ok((key("plant"), true)));
        let mut config = Config { topic_keys: vec![entry("plant", &file, "plant/#")], ..Config::default() };
        assert_eq!(text(&arguments(), Some(&config)), Ok((key("plant"), true)));
        config.topic_keys.push(entry("plant-2", &file, "plant/+/temp"));
        config.topic_keys.push(entry("office", &file, "office/#"));
        assert!(
            text(&arguments(), Some(&config)).unwrap_err().contains("plant, plant-2; say which with --id")
        );
        let second = DeriveArguments { id: Some("plant-2".into()), ..arguments() };
        assert_eq!(text(&second, Some(&config)), Ok((key("plant-2"), true)));
        let none = DeriveArguments { id: Some("office".into()), ..arguments() };
        assert!(text(&none, Some(&config)).unwrap_err().contains("no topic_key of the id \"office\""));
    }

    #[test]
    fn the_only_master_of_a_folder_is_found() {
        let folder = tempfile::tempdir().unwrap();
        assert!(only_master(folder.path()).unwrap_err().to_string().contains("name one with --master"));
        let master = TopicKey::generate_master("m", Derived::X25519).unwrap();
        put(folder.path(), "key.jwk", &master);
        let file = put(folder.path(), "m.master.age", &master);
        assert_eq!(only_master(folder.path()).unwrap(), file);
        put(folder.path(), "n.master", &master);
        assert!(only_master(folder.path()).unwrap_err().to_string().contains("several masters"));
    }

    #[test]
    fn the_names_are_those_of_the_configuration() {
        for algorithm in [
            DerivedAlgorithm::A128Gcm,
            DerivedAlgorithm::A256Gcm,
            DerivedAlgorithm::ChaCha20Poly1305,
            DerivedAlgorithm::X25519,
        ] {
            assert_eq!(parse_derived(algorithm.name()).map(Derived::name), Ok(algorithm.name()));
        }
        assert!(parse_derived("AES").is_err());
    }
}
