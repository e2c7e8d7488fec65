//! The reason codes with which CONNECT is refused (§3.2.2.2), each reached from outside: session present 0
//! and the end of the connection behind it ([`Wire::refused5`]).

use super::assert_refused_as_wrong;
use crate::harness::packets5::{
    AUTH_METHOD, REASON_STRING, SERVER_REFERENCE, SESSION_EXPIRY, USER_PROPERTY, With,
};
use crate::harness::{Broker, Connect5, Publish5, Setup, Wire};

/// Where every client has to log in, and only `anna` can.
fn with_passwords() -> Broker {
    Setup::new()
        .password("anna", "correct horse")
        .config("[auth]\nallow_anonymous = false\npassword_file = \"passwd\"")
        .start()
}

/// [MQTT-3.2.2-6], [MQTT-3.2.2-7], [MQTT-3.2.2-8]: malformed.
#[test]
fn code_0x81_for_a_malformed_connect() {
    Wire::refused5(&Broker::start(), Connect5::new([0xFF]).bytes(), 0x81);
}

/// [MQTT-3.2.2-6], [MQTT-3.2.2-7], [MQTT-3.2.2-8]: against the protocol, here a property that comes twice.
#[test]
fn code_0x82_for_a_protocol_error() {
    let connect = Connect5::new("c").with(SESSION_EXPIRY, 1).with(SESSION_EXPIRY, 1);
    Wire::refused5(&Broker::start(), connect.bytes(), 0x82);
}

/// [MQTT-3.1.2-2], [MQTT-3.2.2-7], [MQTT-3.2.2-8]: a version that is not there yet.
#[test]
fn code_0x84_for_a_version_that_is_not_spoken() {
    Wire::refused5(&Broker::start(), Connect5::new("c").level(6).bytes(), 0x84);
}

/// [MQTT-3.1.3-8], [MQTT-3.2.2-7], [MQTT-3.2.2-8]: a client id that is too long, or not allowed.
#[test]
fn code_0x85_for_a_client_id_that_is_not_accepted() {
    let broker = Broker::with_config("[limits]\nclient_id_bytes_max = 30");
    Wire::refused5(&broker, Connect5::new("x".repeat(31)).bytes(), 0x85);
    Wire::client5(&broker, &"x".repeat(30));
    let broker = Broker::with_config("[auth]\nclient_id_prefixes = [\"plant-\"]");
    Wire::refused5(&broker, Connect5::new("other").bytes(), 0x85);
    Wire::client5(&broker, "plant-1");
}

/// [MQTT-3.1.4-2], [MQTT-3.2.2-7], [MQTT-3.2.2-8]: a wrong password, an unknown user, no password.
#[test]
fn code_0x86_for_a_wrong_user_name_or_password() {
    let broker = with_passwords();
    let wrong = [
        Connect5::new("c").user("anna").password("battery staple"),
        Connect5::new("c").user("anna").password([0xFF]),
        Connect5::new("c").user("anna"),
        Connect5::new("c").user("carl").password("correct horse"),
    ];
    for connect in wrong {
        Wire::refused5(&broker, connect.bytes(), 0x86);
    }
    Wire::connect5(&broker, &Connect5::new("c").user("anna").password("correct horse"));
}

/// [MQTT-3.1.4-2], [MQTT-3.2.2-7], [MQTT-3.2.2-8]: nobody without a name.
#[test]
fn code_0x87_without_user_name_where_one_is_asked_for() {
    Wire::refused5(&with_passwords(), Connect5::new("c").bytes(), 0x87);
}

/// [MQTT-3.2.2-7], [MQTT-3.2.2-8]: the server shuts down. A connection that has not said CONNECT yet holds
/// it open.
#[test]
fn code_0x88_while_shutting_down() {
    let mut broker = Broker::start();
    let mut late = Wire::open(&broker);
    // By CONNACK to this one, the broker has accepted the one before.
    let mut first = Wire::client5(&broker, "first");
    broker.terminate();
    first.expect_disconnect(0x8B);
    late.send(Connect5::new("late").bytes());
    late.expect_connack(0x88);
    late.expect_closed();
    assert!(broker.wait().success());
}

/// [MQTT-3.2.2-7], [MQTT-3.2.2-8]: more connections than `limits.connections_max`.
#[test]
fn code_0x89_over_the_bound_on_connections() {
    let broker = Broker::with_config("[limits]\nconnections_max = 1");
    let mut one = Wire::client5(&broker, "one");
    let connack = Wire::refused5(&broker, Connect5::new("two").bytes(), 0x89);
    assert_eq!(connack.properties.text(SERVER_REFERENCE), None);
    one.expect_nothing_but_pong();
}

/// [MQTT-4.12.0-1], [MQTT-3.2.2-7], [MQTT-3.2.2-8]: a method that is not known here.
#[test]
fn code_0x8c_for_an_unknown_method() {
    let broker = Broker::start();
    for method in ["GS2-KRB5", "scram-sha-256", "PLAIN"] {
        Wire::refused5(&broker, Connect5::new("c").with(AUTH_METHOD, method).bytes(), 0x8C);
    }
}

/// [MQTT-3.2.2-7], [MQTT-3.2.2-8]: a will topic that is one, but for its depth; what is none is wrong.
#[test]
fn code_0x90_for_a_will_topic_that_is_not_accepted() {
    let broker = Broker::with_config("[limits]\ntopic_levels_max = 4");
    let connect = |topic| Connect5::new("c").will(Publish5::new(topic, "1")).bytes();
    Wire::refused5(&broker, connect("1/2/3/4/5"), 0x90);
    for topic in ["", "a/#", "+/a"] {
        assert_refused_as_wrong(&broker, connect(topic));
    }
}

/// [MQTT-3.2.2-7], [MQTT-3.2.2-8]: a CONNECT beyond `mqtt.packet_bytes_max`.
#[test]
fn code_0x95_for_a_connect_that_is_too_large() {
    let broker = Broker::with_config("[mqtt]\npacket_bytes_max = 200");
    Wire::refused5(&broker, Connect5::new("c").pair("n", "v".repeat(200)).bytes(), 0x95);
    Wire::connect5(&broker, &Connect5::new("c").pair("n", "v".repeat(100)));
}

/// [MQTT-3.2.2-7], [MQTT-3.2.2-8]: more sessions than `limits.sessions_max`.
#[test]
fn code_0x97_over_the_bound_on_sessions() {
    let broker = Broker::with_config("[limits]\nsessions_max = 1");
    Wire::connect5(&broker, &Connect5::new("one").persistent(60)).disconnect5(0);
    Wire::refused5(&broker, Connect5::new("two").persistent(60).bytes(), 0x97);
    Wire::client5(&broker, "two");
    Wire::resume5(&broker, &Connect5::new("one").persistent(60));
}

/// [MQTT-3.2.2-13], [MQTT-3.2.2-7], [MQTT-3.2.2-8]: a will to be retained, where nothing is.
#[test]
fn code_0x9a_for_a_will_to_be_retained_where_that_is_turned_off() {
    let broker = Broker::with_config("[mqtt]\nretain_available = false");
    let will = Publish5::new("will", "1");
    Wire::refused5(&broker, Connect5::new("c").will(will.clone().retain()).bytes(), 0x9A);
    Wire::connect5(&broker, &Connect5::new("c").will(will));
}

/// [MQTT-3.2.2-12], [MQTT-3.2.2-7], [MQTT-3.2.2-8]: a will with a QoS above the maximum.
#[test]
fn code_0x9b_for_a_will_above_the_maximum_qos() {
    let broker = Broker::with_config("[mqtt]\nqos_max = 1");
    let connect = |qos| Connect5::new("c").will(Publish5::new("will", "1").qos(qos, 0));
    Wire::refused5(&broker, connect(2).bytes(), 0x9B);
    Wire::connect5(&broker, &connect(1));
}

/// [MQTT-3.2.2-7], [MQTT-3.2.2-8]: where there is another server to go to, a full one names it.
#[test]
fn code_0x9c_and_a_reference_where_there_is_another_server() {
    let reference = "[mqtt]\nserver_reference = \"other.example:1883\"\n";
    let broker = Broker::with_config(&format!("{reference}[limits]\nconnections_max = 1"));
    let _one = Wire::client5(&broker, "one");
    let connack = Wire::refused5(&broker, Connect5::new("two").bytes(), 0x9C);
    assert_eq!(connack.properties.text(SERVER_REFERENCE).as_deref(), Some("other.example:1883"));
    let broker = Broker::with_config(&format!("{reference}[limits]\nsessions_max = 1"));
    Wire::connect5(&broker, &Connect5::new("one").persistent(60)).disconnect5(0);
    let connack = Wire::refused5(&broker, Connect5::new("two").persistent(60).bytes(), 0x9C);
    assert_eq!(connack.properties.text(SERVER_REFERENCE).as_deref(), Some("other.example:1883"));
}

/// §3.2.2.3: a refusal says nothing of what an accepted client would be offered.
#[test]
fn refusal_has_reasons_alone() {
    let connack = Wire::refused5(&with_passwords(), Connect5::new("c").user("anna").bytes(), 0x86);
    let allowed = [REASON_STRING, USER_PROPERTY];
    assert!(connack.properties.ids().iter().all(|id| allowed.contains(id)), "{connack:?}");
}
