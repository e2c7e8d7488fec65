//! `sealmq check`: what a start would read, said in words, or everything that is wrong with it.

use crate::encryption::setup;
use crate::harness::Setup;

const GOOD: &str = r#"
[auth]
password_file = "passwd"
[[sender]]
id = "dev-7"
key = "keys/dev-7.pub.jwk"
topics = ["plant/7/#"]
[[topic_key]]
id = "aes256"
key = "keys/aes256.jwk"
topics = ["plant/#"]
[[policy]]
topics = ["plant/#"]
payload = "sealed"
[limits]
connections_max = 7
"#;

/// Exit code, stdout and stderr of `sealmq check --config sealmq.toml`.
fn check(setup: &Setup) -> (Option<i32>, String, String) {
    setup.write_config();
    let output = setup.run(&["check", "--config", "sealmq.toml"], "");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn good_file_is_summed_up() {
    let setup = setup().password("ann", "secret").config(GOOD);
    let (code, out, err) = check(&setup);
    assert_eq!((code, &*err), (Some(0), ""), "{out}");
    for part in ["sealmq.toml: everything is in order", "dev-7", "aes256", "plant/#", "1 user"] {
        assert!(out.contains(part), "{part} in {out}");
    }
    assert!(out.contains("limits.connections_max") && out.contains("sealed"), "{out}");
    // Looking makes nothing.
    assert!(!setup.dir().join("data").exists());
}

/// All that is wrong in the text is told at once, a line each.
#[test]
fn bad_file_is_told_with_all_its_errors() {
    let wrong = "[limits]\nconnections_max = 0\nconnection_max = 1\n[telemetry]\nlog = \"loud\"\n";
    let (code, out, err) = check(&Setup::new().config(wrong));
    assert_eq!((code, &*out), (Some(1), ""), "{err}");
    let lines: Vec<_> = err.lines().collect();
    assert!(lines.len() >= 3 && lines.iter().all(|line| line.starts_with("sealmq: ")), "{err}");
    for part in ["limits.connections_max", "did you mean", "telemetry.log"] {
        assert!(err.contains(part), "{part} in {err}");
    }
}

/// So is all that is wrong with the files that it names.
#[test]
fn bad_files_behind_it_are_told() {
    let setup = setup().config(GOOD).file("keys/aes256.jwk", "{}").file("server.pem", "nothing");
    let (code, _, err) = check(&setup);
    assert_eq!(code, Some(1), "{err}");
    for part in ["passwd", "topic_key[0].key", "aes256.jwk", "server.pem"] {
        assert!(err.contains(part), "{part} in {err}");
    }
}

#[test]
fn missing_file_is_told() {
    let output = Setup::new().run(&["check", "--config", "none.toml"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("none.toml"), "{output:?}");
}
