//! AUTH (§3.15) and enhanced authentication (§4.12) as far as they are the same for every method, and the
//! method `sealmq-ed25519`. SCRAM is next door, in `scram`.

use super::{MALFORMED, PROTOCOL_ERROR, assert_disconnected, assert_disconnected_as_wrong};
use crate::encryption;
use crate::harness::broker::run;
use crate::harness::packets5::{AUTH, AUTH_DATA, AUTH_METHOD, Answer, CONNACK, DISCONNECT5, With, auth5};
use crate::harness::scram::Scram;
use crate::harness::{Broker, Connect5, Publish5, Setup, Wire};

const SCRAM: &str = "SCRAM-SHA-256";
const ED25519: &str = "sealmq-ed25519";

/// A broker with a user, so that SCRAM is a method.
fn with_anna() -> Broker {
    Setup::new().password("anna", "secret").config("[auth]\npassword_file = \"passwd\"").start()
}

/// A client that was asked to go on.
fn begun(broker: &Broker) -> Wire {
    let scram = Scram::new("anna", "secret", "nonce");
    let mut wire = Wire::open(broker);
    let connect = Connect5::new("c").with(AUTH_METHOD, SCRAM).with(AUTH_DATA, scram.first());
    wire.send(connect.bytes());
    wire.expect_reason(AUTH, 0, 0x18);
    wire
}

/// [MQTT-4.12.0-6]: who named no method is sent none.
#[test]
fn connack_has_no_method_where_none_was_named() {
    let broker = with_anna();
    for connect in [Connect5::new("c"), Connect5::new("c").user("anna").password("secret")] {
        let (_wire, connack) = Wire::greet5(&broker, &connect);
        assert_eq!(connack.properties.text(AUTH_METHOD), None);
        assert_eq!(connack.properties.data(AUTH_DATA), None);
    }
}

/// [MQTT-4.12.0-7]: and sends no AUTH.
#[test]
fn auth_without_method_in_connect_is_a_protocol_error() {
    let broker = with_anna();
    let packets = [
        auth5(0x19, SCRAM).bytes(),
        auth5(0x18, SCRAM).with(AUTH_DATA, "data").bytes(),
        // Without reason code, and so without method.
        vec![0xF0, 0],
    ];
    for packet in packets {
        assert_disconnected(&broker, packet, PROTOCOL_ERROR);
    }
}

/// [MQTT-3.15.1-1]: reserved flags are 0.
#[test]
fn auth_with_flags_is_malformed() {
    let broker = Broker::start();
    for flags in [1, 2, 4, 8, 15] {
        assert_disconnected(&broker, [AUTH | flags, 0], MALFORMED);
    }
}

/// [MQTT-3.15.2-1]: a code that is none of AUTH.
#[test]
fn auth_with_another_code_is_refused() {
    let broker = Broker::start();
    for code in [0x01, 0x04, 0x1A, 0x80, 0x8C, 0xFF] {
        assert_disconnected_as_wrong(&broker, auth5(code, SCRAM).bytes());
    }
}

/// §3.1.2.11.9, §3.1.2.11.10: method and data come once.
#[test]
fn method_that_comes_twice_is_a_protocol_error() {
    let broker = with_anna();
    let twice = [
        Connect5::new("c").with(AUTH_METHOD, SCRAM).with(AUTH_METHOD, SCRAM),
        Connect5::new("c").with(AUTH_METHOD, SCRAM).with(AUTH_DATA, "a").with(AUTH_DATA, "a"),
    ];
    for connect in twice {
        Wire::refused5(&broker, connect.bytes(), PROTOCOL_ERROR);
    }
}

/// [MQTT-3.1.2-30], [MQTT-3.2.0-1]: between CONNECT and CONNACK there are AUTH and DISCONNECT, and nothing
/// else.
#[test]
fn other_packets_during_the_authentication_are_refused() {
    let broker = with_anna();
    let mut watcher = Wire::client5(&broker, "watcher");
    watcher.subscribe5("#", 0);
    for packet in [Publish5::new("a", "1").bytes(), vec![0xC0, 0], Connect5::new("c").bytes()] {
        let mut wire = begun(&broker);
        wire.send(packet);
        wire.expect_connack(PROTOCOL_ERROR);
        wire.expect_closed();
    }
    let mut wire = begun(&broker);
    wire.send([DISCONNECT5, 0]);
    wire.expect_closed();
    watcher.expect_nothing_but_pong();
}

/// [MQTT-4.12.0-3], [MQTT-4.12.0-5]: an answer has code 0x18 and the method of CONNECT.
#[test]
fn answer_with_another_code_or_method_is_refused() {
    let broker = with_anna();
    let codes = [PROTOCOL_ERROR].as_slice();
    // A method that is another one is bad as well as wrong: the standard does not say which.
    let methods = [PROTOCOL_ERROR, 0x8C].as_slice();
    for (code, method, answers) in
        [(0x19, SCRAM, codes), (0x00, SCRAM, codes), (0x18, ED25519, methods), (0x18, "", methods)]
    {
        let mut wire = begun(&broker);
        wire.send(auth5(code, method).with(AUTH_DATA, "data").bytes());
        let answer = Answer::parse(&wire.receive());
        assert!(answer.first == CONNACK && answers.contains(&answer.code()), "{answer:02x?}");
        wire.expect_closed();
    }
}

/// §4.12: a client that does not go on is not waited for.
#[test]
fn unfinished_authentication_is_closed() {
    let broker = Setup::new()
        .password("anna", "secret")
        .config("[auth]\npassword_file = \"passwd\"\n[limits]\nconnect_timeout_s = 1")
        .start();
    let mut wire = begun(&broker);
    // It may be told, or not.
    while let Ok(packet) = wire.try_receive() {
        assert!(packet[0] == 0x20 && packet[3] >= 0x80, "{packet:02x?}");
    }
    wire.expect_closed();
}

/// Who `dev-7` is to the rest of the configuration: its name as a sender.
const RULES: &str = r#"
[[acl]]
user = "dev-7"
access = "all"
topics = ["plain/#"]
[[acl]]
access = "subscribe"
topics = ["nothing"]
[[sender]]
id = "dev-7"
key = "keys/dev-7.pub.jwk"
topics = ["plain/#"]
"#;

/// What the device with this key answers to the challenge.
fn answer(broker: &Broker, device: &str, client: &str, challenge: &[u8]) -> Vec<u8> {
    let key = format!("keys/{device}.jwk");
    let output = run(broker.dir(), &["auth-answer", "--sender-key", &key, "--client-id", client], challenge);
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// Sends CONNECT as `client`; gives the challenge.
fn challenged(broker: &Broker, client: &str) -> (Wire, Vec<u8>) {
    let mut wire = Wire::open(broker);
    wire.send(Connect5::new(client).with(AUTH_METHOD, ED25519).bytes());
    let auth = wire.expect_reason(AUTH, 0, 0x18);
    assert_eq!(auth.properties.text(AUTH_METHOD).as_deref(), Some(ED25519));
    let challenge = auth.properties.data(AUTH_DATA).unwrap();
    assert_eq!(challenge.len(), 32);
    (wire, challenge)
}

fn signed(code: u8, answer: impl AsRef<[u8]>) -> Vec<u8> {
    auth5(code, ED25519).with(AUTH_DATA, answer.as_ref()).bytes()
}

/// [MQTT-4.12.0-2], [MQTT-4.12.0-5]: a sender is let in by the key that it has, and proves it again later.
#[test]
fn sender_key_lets_in() {
    let broker = encryption::setup().config(RULES).start();
    let (mut wire, first) = challenged(&broker, "c");
    wire.send(signed(0x18, answer(&broker, "dev-7", "c", &first)));
    let connack = wire.expect_connack(0);
    assert_eq!(connack.properties.text(AUTH_METHOD).as_deref(), Some(ED25519));
    assert_eq!(wire.try_publish5(&Publish5::new("plain/a", "1").qos(1, 1)), 0x10);
    assert_eq!(wire.try_publish5(&Publish5::new("other", "1").qos(1, 1)), 0x87);
    wire.send(auth5(0x19, ED25519).bytes());
    let second = wire.expect_reason(AUTH, 0, 0x18).properties.data(AUTH_DATA).unwrap();
    assert_ne!(first, second);
    wire.send(signed(0x18, answer(&broker, "dev-7", "c", &second)));
    wire.expect_reason(AUTH, 0, 0);
    wire.expect_nothing_but_pong();
}

/// [MQTT-4.12.0-4]: no other key, no other client id, no other challenge.
#[test]
fn wrong_answer_of_a_sender_is_refused() {
    let broker = encryption::setup().config(RULES).start();
    let (_other, foreign) = challenged(&broker, "other");
    for (device, client, of_another) in [("dev-8", "c", false), ("dev-7", "d", false), ("dev-7", "c", true)] {
        let (wire, challenge) = challenged(&broker, "c");
        let asked = if of_another { &foreign } else { &challenge };
        assert_refused(wire, answer(&broker, device, client, asked));
    }
    // Nor anything that is no answer.
    let (wire, challenge) = challenged(&broker, "c");
    assert_refused(wire, [answer(&broker, "dev-7", "c", &challenge), vec![0]].concat());
    let (wire, challenge) = challenged(&broker, "c");
    assert_refused(wire, challenge);
    assert_refused(challenged(&broker, "c").0, "");
}

#[track_caller]
fn assert_refused(mut wire: Wire, answer: impl AsRef<[u8]>) {
    wire.send(signed(0x18, answer));
    wire.expect_connack(0x87);
    wire.expect_closed();
}
