//! What is said of a configuration that is right, of one that is wrong, and of what is to come.

use super::*;
use crate::files;
use sealmq_config::limits::QueueFull;
use sealmq_crypto::{ContentAlgorithm, SenderKey, TopicKey};
use std::fs;

const FILE: &str = r#"
data_dir = "data"
[[listener]]
bind = "0.0.0.0:1883"
[[listener]]
bind = "0.0.0.0:8083"
websocket = true
origins = ["https://a.example"]
[auth]
password_file = "passwd"
[[sender]]
id = "dev-7"
key = "dev.jwk"
topics = ["plant/7/#"]
bind = "user"
[[topic_key]]
id = "plant-1"
key = "topic.jwk"
topics = ["plant/#"]
not_after = 2030-01-01T00:00:00Z
[[subscriber_key]]
user = "ann"
key = "ann.jwk"
[[policy]]
topics = ["plant/open/#"]
payload = "sealed"
egress = "secure-or-sealed"
[[policy]]
topics = ["plant/#"]
payload = "sealed"
[limits]
connections_max = 7
queue_bytes_max = "32 MiB"
[audit]
users = ["ann"]
"#;

fn load(folder: &Path) -> Config {
    let file = folder.join("sealmq.toml");
    fs::write(&file, FILE).unwrap();
    ServeOptions { config_file: Some(file), ..ServeOptions::default() }.load().unwrap()
}

#[test]
fn the_summary_says_what_was_understood() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        files::replace(&folder.path().join(name), files::PRIVATE, text.as_bytes()).unwrap();
    };
    write("passwd", "# nobody yet\n");
    write("dev.jwk", &SenderKey::generate("x").unwrap().public().to_jwk().unwrap());
    write("topic.jwk", &TopicKey::generate("x", ContentAlgorithm::A256Gcm).unwrap().to_jwk().unwrap());
    write("ann.jwk", &TopicKey::generate_x25519("x").unwrap().public("").unwrap().to_jwk().unwrap());
    let config = load(folder.path());
    let text = summary(&config, Some(Path::new("f.toml")), &findings(&config, false).ok().unwrap());
    let text = text.replace(&format!("{}/", folder.path().display()), "");
    for line in [
        "f.toml: everything is in order",
        "listeners     0.0.0.0:1883   plaintext",
        "              0.0.0.0:8083   plaintext, WebSocket (ws)   web pages of https://a.example",
        "              0 users in passwd, 0 for SCRAM-SHA-256",
        "identity      sealmq   data/keys/identity.jwk",
        "senders       dev-7   plant/7/#   dev.jwk   bind user",
        "topic keys    plant-1   plant/#   symmetric   topic.jwk   until 2030-01-01T00:00:00Z",
        "subscribers   user ann   ann.jwk",
        "policies      plant/open/#   sealed, and sealed again   else dropped",
        "              plant/#        sealed                     else dropped",
        "              all others     plain",
        "changed       limits.connections_max   7        (by default 100000)",
        "              limits.queue_bytes_max   32 MiB   (by default 64 MiB)",
        "audit         data/audit   8 files of 64 MiB   shown to ann",
        "note: audit.users: no listener has TLS; nobody can see the audit as messages",
        "note: data/keys/identity.jwk: will be made at the first start",
        "note: topic_key[0].key: topic.jwk is of the id \"x\", and here it is \"plant-1\": envelopes must name \
         \"plant-1\"",
        "note: policy[1]: no listener has TLS; nobody can receive what is sealed on plant/#",
    ] {
        assert!(text.lines().any(|own| own == line), "{line}\nis not in\n{text}");
    }
}

#[test]
fn all_errors_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let config = load(folder.path());
    let errors = findings(&config, false).err().unwrap();
    let text: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(text.len(), 4, "{text:?}");
    let keys = ["auth.password_file: ", "sender[0].key: ", "topic_key[0].key: ", "subscriber_key[0].key: "];
    for (error, beginning) in text.iter().zip(keys) {
        assert!(error.starts_with(beginning), "{error}");
    }
}

#[test]
fn nothing_is_made_by_looking() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let options = ServeOptions { data_dir: Some(data_dir.clone()), ..ServeOptions::default() };
    let found = findings(&options.load().unwrap(), true).ok().unwrap();
    assert!(matches!(found.notes.as_slice(), [note] if note.contains("will be made")), "{:?}", found.notes);
    assert!(!data_dir.exists());
}

#[test]
fn a_name_that_nobody_can_prove_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = load(folder.path());
    let passwd = folder.path().join("passwd");
    fs::write(&passwd, format!("ann:{}\n", crate::auth::password::cheap_hash(b"x"))).unwrap();
    let auth = Auth::load(&config.auth).unwrap();
    config.listeners = Listener::development(folder.path()).into();
    config.audit.users = ["ann", "dev-7", "eve"].map(str::to_owned).into();
    let expected = "audit.users[2]: \"eve\" has no password and is no sender; nobody can prove that name";
    assert_eq!(unseen_audit(&config, Some(&auth)), [expected]);
    config.audit.enabled = false;
    assert!(unseen_audit(&config, Some(&auth)).is_empty());
}

#[test]
fn values_are_shown_as_the_file_has_them() {
    assert_eq!(shown("session_expiry_max_s", "Some(60)"), "60");
    assert_eq!(shown("session_expiry_max_s", "None"), "none");
    assert_eq!(shown("queue_full", &format!("{:?}", QueueFull::DropOldest)), "drop-oldest");
    assert_eq!(shown("packet_bytes_max", "1048576"), "1 MiB");
}
