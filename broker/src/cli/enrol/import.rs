//! `sealmq enrol import`: a whole fleet, a JSON object in each line.
//!
//! Always holds: every line is read, with its key, before anything is asked for; what goes in one request is
//! enrolled whole or not at all; and a file can be imported again, since what is enrolled so already stays.

use super::super::derive::parse_derived;
use super::super::numbers::{counted, grouped};
use super::super::progress::Progress;
use super::{CommandError, ask, connect, line, time};
use crate::admin::client::{ClientError, entry_bytes};
use crate::admin::protocol::{Ask, EntryLine, Kept, KeyText};
use crate::cli::say;
use crate::enrolment::Kind;
use crate::error::StartError;
use crate::secrets::Secrets;
use clap::Args;
use sealmq_config::Config;
use sealmq_crypto::{KeyError, SenderPublicKey, TopicKey};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use zeroize::{Zeroize, Zeroizing};

/// The longest line; a key and many topics fit in.
const LINE_BYTES_MAX: usize = 256 << 10;

/// Enrols many senders and topic keys at once.
#[derive(Debug, Args)]
#[command(after_help = "\
Each line is a JSON object. 'key' is a JWK, or a file that is named as seen from
the import's folder; times are as in the configuration:
  {\"kind\":\"sender\",\"id\":\"dev-7\",\"key\":\"keys/dev-7.pub.jwk\",\"topics\":[\"plant/7/#\"]}
  {\"kind\":\"topic-key\",\"id\":\"plant-1\",\"key\":{\"kty\":\"oct\",...},\"topics\":[\"plant/#\"],
   \"not_before\":\"2030-01-01T00:00:00Z\",\"not_after\":\"2031-01-01T00:00:00Z\"}
Instead of 'key' a topic key may have 'master', with 'algorithm' as in the configuration,
and a sender 'bind'.")]
pub(super) struct ImportArguments {
    /// The lines; '-': stdin
    #[arg(value_name = "FILE|-")]
    file: PathBuf,
    /// Put them in the place of what is enrolled at run time by the same ids
    #[arg(long)]
    replace: bool,
}

/// A line as it is written. Keys are not copied out of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    kind: Kind,
    id: String,
    #[serde(borrow)]
    key: Option<&'a RawValue>,
    #[serde(borrow)]
    master: Option<&'a RawValue>,
    algorithm: Option<String>,
    bind: Option<String>,
    topics: Vec<String>,
    not_before: Option<String>,
    not_after: Option<String>,
}

/// What goes in one request: its lines by their numbers.
struct Request {
    lines: RangeInclusive<u64>,
    entries: Vec<EntryLine>,
}

pub(super) fn run(arguments: &ImportArguments, config: &Config) -> Result<(), CommandError> {
    let ImportArguments { file, replace } = arguments;
    let is_stdin = file == Path::new("-");
    let name = if is_stdin { "stdin".to_owned() } else { file.display().to_string() };
    let source: Box<dyn BufRead> = if is_stdin {
        Box::new(BufReader::new(io::stdin()))
    } else {
        Box::new(BufReader::new(File::open(file).map_err(|why| StartError::io(file, "read it", why))?))
    };
    let folder = if is_stdin { Path::new("") } else { file.parent().unwrap_or(Path::new("")) };
    let limits = &config.limits;
    let entries_max = limits.enrolled_senders_max.saturating_add(limits.enrolled_topic_keys_max);
    let bounds = Bounds { request_bytes_max: limits.admin_request_bytes_max, entries_max };
    let keys = KeysOf { folder, secrets: &Secrets::of(config)? };
    let requests = read(source, keys, bounds).map_err(|why| CommandError::Plain(format!("{name}:{why}")))?;
    let mut client = connect(config)?;
    let mut progress = Progress::new("enrolled");
    let (mut changed, mut unchanged, mut kept) = (0, 0, Kept::Yes);
    for Request { lines, entries } in requests {
        let (sizes, first): (Vec<usize>, u64) = (entries.iter().map(entry_bytes).collect(), *lines.start());
        let done = ask(&mut client, Ask::Enrol { entries, replace: *replace }).map_err(|why| {
            let before = match first {
                1 => String::new(),
                _ => format!("; the lines before {first} are enrolled"),
            };
            let last = lines.end();
            CommandError::Plain(match why {
                ClientError::Refused(_) => {
                    format!("{name}: nothing of lines {first} to {last} is enrolled: {why}{before}")
                }
                ClientError::Broken(_) | ClientError::Unexpected => {
                    format!(
                        "{name}: whether lines {first} to {last} are enrolled is not known: {why}{before}"
                    )
                }
            })
        })?;
        for bytes in sizes {
            progress.add(bytes);
        }
        (changed, unchanged) = (changed + done.changed, unchanged + done.unchanged);
        // Whoever keeps the last keeps all before it.
        kept = done.kept;
    }
    drop(progress);
    say(text(&name, changed as u64, unchanged as u64).as_bytes())?;
    super::Done { changed, unchanged, kept }.end()
}

fn text(name: &str, changed: u64, unchanged: u64) -> String {
    let already = match unchanged {
        0 => String::new(),
        _ => format!(", {} enrolled so already", grouped(unchanged)),
    };
    format!("{name}: {} enrolled{already}\n", counted(changed, "line"))
}

/// Where keys are that are named by their files, and what opens these.
#[derive(Clone, Copy)]
struct KeysOf<'a> {
    folder: &'a Path,
    secrets: &'a Secrets,
}

#[derive(Clone, Copy)]
struct Bounds {
    request_bytes_max: usize,
    entries_max: usize,
}

/// Reads all lines. An error begins with the number of its line.
fn read(mut source: impl BufRead, keys: KeysOf<'_>, bounds: Bounds) -> Result<Vec<Request>, String> {
    let mut requests: Vec<Request> = Vec::new();
    let (mut number, mut count, mut bytes) = (0, 0, 0);
    let mut line = Zeroizing::new(Vec::with_capacity(LINE_BYTES_MAX + 1));
    loop {
        line.zeroize();
        number += 1;
        let max = LINE_BYTES_MAX as u64 + 1;
        let read = source.by_ref().take(max).read_until(b'\n', &mut line);
        if read.map_err(|why| format!("{number}: cannot read on: {why}"))? == 0 {
            return Ok(requests);
        }
        if line.len() > LINE_BYTES_MAX {
            return Err(format!("{number}: the line is longer than 256 KiB"));
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let entry = entry(line.trim_ascii(), keys).map_err(|why| format!("{number}: {why}"))?;
        count += 1;
        if count > bounds.entries_max {
            let why = "there are more lines than may be enrolled";
            return Err(format!(
                "{number}: {why} (limits.enrolled_senders_max, limits.enrolled_topic_keys_max)"
            ));
        }
        bytes += entry_bytes(&entry);
        // Whatever else stands in a request is as little as an entry without its texts.
        let fits = bytes + entry_bytes(&entry) <= bounds.request_bytes_max;
        match requests.last_mut() {
            Some(request) if fits => {
                request.entries.push(entry);
                request.lines = *request.lines.start()..=number;
            }
            _ => {
                bytes = entry_bytes(&entry);
                requests.push(Request { lines: number..=number, entries: vec![entry] });
            }
        }
    }
}

fn entry(line: &[u8], keys: KeysOf<'_>) -> Result<EntryLine, String> {
    let Line { kind, id, key, master, algorithm, bind, topics, not_before, not_after } =
        serde_json::from_slice(line).map_err(|why| {
            // What serde says can repeat what it has read, and that can be a key.
            let what = if why.is_data() { "it is no sender and no topic key" } else { "it is no JSON" };
            format!("{what} (column {})", why.column())
        })?;
    let key = match (kind, key, master, algorithm) {
        (Kind::Sender, Some(key), None, None) => sender_key(&id, key, keys)?,
        (Kind::TopicKey, Some(key), None, None) => topic_key(&id, key, keys)?,
        (Kind::TopicKey, None, Some(key), algorithm) => master_key(&id, key, algorithm, keys)?,
        (Kind::TopicKey, ..) => {
            return Err("a topic key has either 'key', or 'master' with 'algorithm'".to_owned());
        }
        (Kind::Sender, ..) => {
            return Err("a sender has 'key', and neither 'master' nor 'algorithm'".to_owned());
        }
    };
    let second = |text: Option<String>| text.map(|text| time(&text)).transpose();
    let (not_before, not_after) = (second(not_before)?, second(not_after)?);
    Ok(EntryLine { kind, id, key, bind, topics, not_before, not_after })
}

/// The file that is named in the place of a key, if it is not the key itself.
fn file_of(raw: &RawValue, folder: &Path) -> Result<Option<PathBuf>, String> {
    if !raw.get().starts_with('"') {
        return Ok(None);
    }
    let file: PathBuf = serde_json::from_str(raw.get()).map_err(|_| "the key's file has no name")?;
    Ok(Some(folder.join(file)))
}

fn sender_key(id: &str, raw: &RawValue, keys: KeysOf<'_>) -> Result<KeyText, String> {
    if let Some(file) = file_of(raw, keys.folder)? {
        return line::sender_key(keys.secrets, id, &file).map_err(|why| why.to_string());
    }
    let key = SenderPublicKey::from_bytes(raw.get().as_bytes());
    key.map(|key| line::of_sender(id, key)).map_err(|why| told(&why))
}

fn topic_key(id: &str, raw: &RawValue, keys: KeysOf<'_>) -> Result<KeyText, String> {
    if let Some(file) = file_of(raw, keys.folder)? {
        return line::topic_key(keys.secrets, id, &file).map_err(|why| why.to_string());
    }
    let key = TopicKey::from_bytes(raw.get().as_bytes());
    key.and_then(|key| line::of_topic(id, key)).map_err(|why| told(&why))
}

fn master_key(
    id: &str,
    raw: &RawValue,
    algorithm: Option<String>,
    keys: KeysOf<'_>,
) -> Result<KeyText, String> {
    let derived = algorithm.map(|name| parse_derived(&name)).transpose()?;
    if let Some(file) = file_of(raw, keys.folder)? {
        return line::master(keys.secrets, id, &file, derived).map_err(|why| why.to_string());
    }
    let key = TopicKey::master_from_bytes(raw.get().as_bytes(), derived);
    key.and_then(|key| line::of_topic(id, key)).map_err(|why| told(&why))
}

fn told(why: &KeyError) -> String {
    let half = if *why == KeyError::Missing("d") { "; to open, the private half is needed" } else { "" };
    format!("its key: {why}{half}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files;
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use sealmq_crypto::{ContentAlgorithm, Derived, SenderKey};

    const WIDE: Bounds = Bounds { request_bytes_max: 1 << 20, entries_max: 100 };

    fn sender(id: &str) -> String {
        let key = SenderKey::generate(id).unwrap().public().to_jwk().unwrap();
        format!("{{\"kind\":\"sender\",\"id\":\"{id}\",\"key\":{key},\"topics\":[\"a/#\"]}}\n")
    }

    fn read_all(text: &str, bounds: Bounds) -> Result<Vec<Request>, String> {
        let keys = KeysOf { folder: Path::new(""), secrets: &Secrets::in_plain() };
        read(text.as_bytes(), keys, bounds)
    }

    #[test]
    fn lines_become_requests_that_are_not_too_long() {
        let text: String = (0..40).map(|n| sender(&format!("dev-{n}"))).collect();
        let requests = read_all(&text, WIDE).unwrap();
        assert_eq!((requests.len(), requests[0].lines.clone()), (1, 1..=40));
        let size = entry_bytes(&requests[0].entries[0]);
        let bounds = Bounds { request_bytes_max: 11 * size, ..WIDE };
        let requests = read_all(&text, bounds).unwrap();
        assert!(requests.len() >= 4);
        assert_eq!(requests.iter().map(|request| request.entries.len()).sum::<usize>(), 40);
        for request in requests {
            assert!(request.entries.iter().map(entry_bytes).sum::<usize>() <= bounds.request_bytes_max);
        }
    }

    #[test]
    fn keys_may_stand_in_files_and_be_masters() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            files::replace(&folder.path().join(name), files::PRIVATE, text.as_bytes()).unwrap();
        };
        let key = TopicKey::generate("k", ContentAlgorithm::A256Gcm).unwrap();
        let master = TopicKey::generate_master("m", Derived::X25519).unwrap();
        write("k.jwk", &key.to_jwk().unwrap());
        write("m.master", &master.to_jwk().unwrap());
        let keys = KeysOf { folder: folder.path(), secrets: &Secrets::in_plain() };
        let entry = |line: &str| {
            let mut requests = read(line.as_bytes(), keys, WIDE)?;
            Ok::<_, String>(requests.pop().unwrap().entries.pop().unwrap())
        };
        let key_of = |entry: &EntryLine| {
            let bytes = BASE64_STANDARD.decode(entry.key.0.as_bytes()).unwrap();
            TopicKey::any_from_bytes(&bytes).unwrap()
        };
        let line = r#"{"kind":"topic-key","id":"k","key":"k.jwk","topics":["a"],"not_after":"1970-01-01T00:00:09Z"}"#;
        let read = entry(line).unwrap();
        assert!(key_of(&read) == key && read.not_after == Some(9));
        let line = r#"{"kind":"topic-key","id":"m","master":"m.master","topics":["a"]}"#;
        assert!(key_of(&entry(line).unwrap()) == master);
        let other = line.replace("\"topics\"", "\"algorithm\":\"A128GCM\",\"topics\"");
        assert!(entry(&other).unwrap_err().ends_with("the master is for keys of X25519"));
        let mistaken = line.replace("\"master\"", "\"key\"");
        assert!(entry(&mistaken).unwrap_err().contains("this is a master"));
    }

    #[test]
    fn errors_name_the_line_and_not_the_key() {
        let good = sender("dev-1");
        let wrong = good.replace("OKP", "EC");
        for (line, said) in [
            ("{", "2: it is no JSON (column 1)"),
            ("{\"kind\":\"sender\"}", "2: it is no sender and no topic key"),
            (wrong.as_str(), "2: its key: "),
            (
                r#"{"kind":"sender","id":"a","topics":["a"]}"#,
                "2: a sender has 'key', and neither 'master' nor 'algorithm'",
            ),
            (
                r#"{"kind":"topic-key","id":"a","algorithm":"X25519","topics":["a"]}"#,
                "2: a topic key has either 'key', or 'master' with 'algorithm'",
            ),
        ] {
            let error = read_all(&format!("{good}{line}\n"), WIDE).map(drop).unwrap_err();
            assert!(error.starts_with(said), "{error}");
        }
        let error = read_all(&good.repeat(3), Bounds { entries_max: 2, ..WIDE }).map(drop).unwrap_err();
        assert!(error.starts_with("3: there are more lines than may be enrolled"), "{error}");
    }
}
