//! The broker's own key: made at the first start, shown by `sealmq keys identity`, the same after a restart,
//! another after a reload that names another.

use crate::harness::broker::run;
use crate::harness::{Broker, Setup};
use sealmq_crypto::{SenderKey, SenderPublicKey};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// What `sealmq keys identity` prints in `dir`.
fn shown(dir: &Path, args: &[&str]) -> String {
    let output = run(dir, &[&["keys", "identity"], args].concat(), "");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The fingerprint that the broker has logged for the `n`th time, from 0.
fn logged(broker: &Broker, n: usize) -> String {
    let line = broker.log().nth_line(n, |line| line.message() == "the broker's identity");
    line.field("fingerprint").unwrap().to_owned()
}

#[test]
fn first_start_makes_it_and_the_next_finds_it() {
    let broker = Broker::start();
    let file = broker.dir().join("data/keys/identity.jwk");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let config = ["--config", "sealmq.toml"];
    let public = shown(broker.dir(), &config);
    let key = SenderPublicKey::from_bytes(public.as_bytes()).unwrap();
    assert!(key.id() == b"sealmq" && !public.contains("\"d\""), "{public}");
    assert_eq!(shown(broker.dir(), &["--data-dir", "data"]), public);
    let fingerprint = key.thumbprint();
    assert_eq!(logged(&broker, 0), fingerprint);
    let args = [&config[..], &["--fingerprint"]].concat();
    assert_eq!(shown(broker.dir(), &args), fingerprint.clone() + "\n");
    let broker = broker.end().start();
    assert_eq!(logged(&broker, 0), fingerprint);
}

#[test]
fn start_without_a_file_makes_it_too() {
    let broker = Setup::empty().launch(["--listen", "127.0.0.1:0", "--data-dir", "own"]);
    broker.await_listening(0);
    let key = SenderPublicKey::from_bytes(shown(broker.dir(), &["--data-dir", "own"]).as_bytes()).unwrap();
    assert_eq!(logged(&broker, 0), key.thumbprint());
}

#[test]
fn reload_takes_another_key_and_name() {
    let other = SenderKey::generate("other").unwrap();
    let broker = Setup::new().file("other.jwk", other.to_jwk().unwrap().as_bytes()).start();
    let config = "[identity]\nid = \"plant\"\nkey = \"other.jwk\"\n";
    broker.rewrite_config(config);
    broker.reload();
    assert_eq!(logged(&broker, 1), other.public().thumbprint());
    let key = SenderPublicKey::from_bytes(shown(broker.dir(), &["--config", "sealmq.toml"]).as_bytes());
    assert_eq!(key.unwrap(), other.with_id("plant").public());
    // A file that is not there leaves the old one in force.
    broker.rewrite_config("[identity]\nkey = \"none.jwk\"\n");
    broker.reload();
    let line = broker.log_line(|line| line.contains("not reloaded, the old rules stay"));
    assert!(line.contains("identity.key") && line.contains("none.jwk"), "{}", line.text);
}

#[test]
fn named_file_that_is_missing_is_an_error() {
    let mut broker = Setup::new().config("[identity]\nkey = \"none.jwk\"\n").spawn();
    assert_eq!(broker.wait().code(), Some(1), "{}", broker.log().text());
    broker.log_line(|line| line.contains("identity.key") && line.contains("none.jwk: cannot read it"));
    assert!(!broker.dir().join("none.jwk").exists());
}

/// A look before the first start makes nothing and says what is to come.
#[test]
fn it_is_not_made_by_looking() {
    let setup = Setup::new();
    setup.write_config();
    let output = setup.run(&["keys", "identity", "--config", "sealmq.toml"], "");
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && error.contains("the first start makes it"), "{error}");
    let output = setup.run(&["check", "--config", "sealmq.toml"], "");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("data/keys/identity.jwk: will be made at the first start"), "{text}");
    assert!(!setup.dir().join("data").exists());
}
