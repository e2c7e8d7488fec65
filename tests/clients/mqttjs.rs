//! MQTT.js with MQTT 5, from node, over TCP and over WebSocket: each test runs one check of
//! `mqttjs/features.mjs` beside this file over each of them. Its exchange at every QoS, and the page in a
//! browser, are in `websocket/mqttjs.rs`, which runs its scripts by what is here.

use crate::harness::{Broker, Setup};
use crate::websocket;
use std::path::Path;
use std::process::{Command, Output};

/// A browser takes its time to start where much else runs.
const PATIENCE_S: &str = "60";

/// Runs a script of `tests/clients/mqttjs/`.
pub(crate) fn run(script: &str, args: &[&str]) -> Output {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/mqttjs");
    assert!(folder.join("node_modules/mqtt").exists(), "no MQTT.js; run `npm ci` in {}", folder.display());
    let mut command = Command::new("timeout");
    command.args([PATIENCE_S, "node", script]).args(args);
    command.current_dir(folder).output().expect("node is installed")
}

/// Where the broker's first listener for URLs of this scheme is.
pub(crate) fn url(broker: &Broker, scheme: &str) -> String {
    format!("{scheme}://localhost:{}/mqtt", broker.listener(scheme).port())
}

#[track_caller]
fn check(setup: impl Fn(Setup) -> Setup, name: &str) {
    for scheme in ["mqtt", "ws"] {
        let broker = setup(websocket::setup()).start();
        let output = run("features.mjs", &[&url(&broker, scheme), name]);
        assert!(output.status.success(), "{name} by {scheme}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.stdout, format!("checked: {name}\n").as_bytes(), "{output:?}");
    }
}

/// A test for each check that needs nothing of the configuration.
macro_rules! checks {
    ($($test:ident: $name:literal;)*) => {
        $(#[test]
        fn $test() {
            check(|setup| setup, $name);
        })*
    };
}

checks! {
    mqttjs_gets_properties_as_they_were_sent: "properties";
    mqttjs_shares_a_subscription: "shared_subscription";
    mqttjs_will_waits_for_its_delay: "will_delay";
    mqttjs_and_the_broker_use_topic_aliases: "topic_alias";
    mqttjs_is_sent_no_more_than_it_takes: "receive_maximum";
    mqttjs_session_is_resumed_until_it_ends: "session";
    mqttjs_is_told_that_nobody_subscribed: "nobody_subscribed";
}

#[test]
fn mqttjs_logs_in_by_scram() {
    let passwords = "[auth]\nallow_anonymous = false\npassword_file = \"passwd\"";
    check(|setup| setup.password("anna", "secret").config(passwords), "authentication");
}
