//! paho-mqtt and gmqtt: each test runs one check of `paho_client.py` or `gmqtt_client.py` beside this
//! file, in the virtual environment that `tests/run` has made. What they print is shown on failure.

use crate::harness::Broker;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Seconds after which a program that nobody ends is ended; each of its waits is shorter.
const GIVES_UP_S: &str = "60";
const SMALL_WINDOW: &str = "[mqtt]\nreceive_maximum = 5";
const DENIED: &str = "[[acl]]\naccess = \"all\"\npermission = \"deny\"\ntopics = [\"no/#\"]\n\
    [[acl]]\naccess = \"all\"\ntopics = [\"#\"]";

/// <target>/<profile>/deps/integration-<hash> is this program; <target>/python is theirs.
pub(super) fn interpreter() -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    let python = exe.ancestors().nth(3).unwrap().join("python/bin/python");
    assert!(python.exists(), "{} is missing: tests/run makes it", python.display());
    python
}

#[track_caller]
fn check(program: &str, name: &str, addr: SocketAddr, ca_file: Option<&Path>) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(program);
    let output = Command::new("timeout")
        .arg(GIVES_UP_S)
        .arg(interpreter())
        // Leaves no compiled files beside the sources.
        .arg("-B")
        .arg(file)
        .args([&addr.ip().to_string(), &addr.port().to_string(), name])
        .args(ca_file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {name}: {}\n{said}{complained}", output.status);
    assert!(!said.is_empty(), "{program} {name} does not say what it has checked");
}

#[track_caller]
fn paho(config: &str, name: &str) {
    let broker = Broker::with_config(config);
    check("paho_client.py", name, broker.addr(), None);
}

#[track_caller]
fn gmqtt(config: &str, name: &str) {
    let broker = Broker::with_config(config);
    check("gmqtt_client.py", name, broker.addr(), None);
}

/// A test for each: its name, what is run, the configuration, and the check of the program.
macro_rules! checks {
    ($($test:ident: $run:ident($config:expr, $name:literal);)*) => {
        $(#[test]
        fn $test() {
            $run($config, $name);
        })*
    };
}

checks! {
    paho_every_qos_of_publish_and_subscription: paho("", "every_qos");
    paho_gets_properties_as_they_were_sent: paho("", "properties_as_sent");
    paho_versions_share_topics: paho("", "versions_meet");
    paho_is_told_what_became_of_its_requests: paho(DENIED, "reason_codes");
    paho_is_told_that_it_was_taken_over: paho("", "take_over_is_told");
    paho_gets_all_subscription_identifiers: paho("", "subscription_identifiers");
    paho_subscription_options_are_kept: paho("", "subscription_options");
    paho_shares_a_subscription: paho("", "shared_subscription");
    paho_takes_over_what_a_member_has_left: paho("", "shared_work_is_handed_on");
    paho_will_waits_for_its_delay: paho("", "will_delay");
    paho_uses_topic_aliases: paho("", "topic_alias");
    paho_is_sent_no_more_than_it_takes: paho(SMALL_WINDOW, "receive_maximum");
    paho_session_lives_as_long_as_it_asked_for: paho("", "session_expiry");
    paho_is_spared_what_is_too_large_for_it: paho("", "maximum_packet_size");
    gmqtt_every_qos_of_publish_and_subscription: gmqtt("", "every_qos");
    gmqtt_gets_properties_as_they_were_sent: gmqtt("", "properties_as_sent");
    gmqtt_understands_the_brokers_topic_aliases: gmqtt("", "broker_uses_topic_aliases");
    gmqtt_shares_a_subscription: gmqtt("", "shared_subscription");
    gmqtt_session_is_resumed: gmqtt("", "session_is_resumed");
    gmqtt_will_waits_for_its_delay: gmqtt("", "will_is_delayed");
    gmqtt_keeps_to_both_windows: gmqtt(SMALL_WINDOW, "flow_control");
}

#[test]
fn python_clients_speak_tls() {
    let broker = Broker::start();
    let ca_file = broker.ca_file();
    for program in ["paho_client.py", "gmqtt_client.py"] {
        check(program, "every_qos", broker.tls_addr(), Some(&ca_file));
        check(program, "properties_as_sent", broker.tls_addr(), Some(&ca_file));
    }
}
