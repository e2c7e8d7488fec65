//! CONNECT (§3.1) but for its properties: protocol, flags, the fields of the payload.

use super::{MALFORMED, PROTOCOL_ERROR, assert_refused_as_wrong};
use crate::harness::packets::{PINGREQ, connack, field, packet};
use crate::harness::packets5::{
    ASSIGNED_CLIENT_ID, SESSION_EXPIRY, With, auth5, disconnect5, subscribe5, unsubscribe5,
};
use crate::harness::{Broker, Connect5, Publish5, Setup, Wire};

/// [MQTT-3.1.0-1]: the first packet is CONNECT; to anything else nothing is said.
#[test]
fn first_packet_other_than_connect_closes() {
    let broker = Broker::start();
    let packets = [
        PINGREQ.to_vec(),
        Publish5::new("a", "1").bytes(),
        subscribe5(1, &[("a", 0)]).bytes(),
        unsubscribe5(1, &["a"]).bytes(),
        disconnect5(0).bytes(),
        auth5(0x18, "SCRAM-SHA-256").bytes(),
    ];
    for packet in packets {
        let mut wire = Wire::open(&broker);
        wire.send(packet);
        wire.expect_closed();
    }
}

/// [MQTT-3.1.0-2]: a second CONNECT is against the protocol.
#[test]
fn second_connect_is_a_protocol_error() {
    let broker = Broker::start();
    let mut wire = Wire::client5(&broker, "c");
    wire.send(Connect5::new("c").bytes());
    wire.expect_disconnect(PROTOCOL_ERROR);
}

/// [MQTT-3.1.2-1]: another protocol name closes; we do not say who we are.
#[test]
fn unknown_protocol_name_closes() {
    let broker = Broker::start();
    for name in ["", "MQT", "mqtt", "MQTT5"] {
        let body = [field(name), vec![5, 2, 0, 0, 0], field("c")].concat();
        let mut wire = Wire::open(&broker);
        wire.send(packet(0x10, body));
        wire.expect_closed();
    }
}

/// [MQTT-3.1.2-2]: a version above 5 is answered in the form of version 5.
#[test]
fn protocol_version_above_5_is_not_supported() {
    let broker = Broker::start();
    for level in [6, 127, 255] {
        Wire::refused5(&broker, Connect5::new("c").level(level).bytes(), 0x84);
    }
}

/// [MQTT-3.1.2-2]: one below 3 is answered as it would have been before there was a version 5.
#[test]
fn protocol_version_below_3_gets_the_answer_of_old() {
    let broker = Broker::start();
    for level in [0, 1, 2] {
        let mut wire = Wire::open(&broker);
        wire.send(Connect5::new("c").level(level).bytes());
        wire.expect(connack(false, 1));
        wire.expect_closed();
    }
}

/// [MQTT-3.1.2-3], [MQTT-3.1.4-1]: the reserved flag is 0.
#[test]
fn reserved_flag_is_malformed() {
    let broker = Broker::start();
    for flags in [0x01, 0x03] {
        Wire::refused5(&broker, Connect5::new("c").flags(flags).bytes(), MALFORMED);
    }
}

/// [MQTT-3.1.2-11], [MQTT-3.1.2-13]: without will, no QoS and no retain of one.
#[test]
fn will_flags_without_will_are_refused() {
    let broker = Broker::start();
    for flags in [0x08, 0x10, 0x18, 0x20, 0x28] {
        assert_refused_as_wrong(&broker, Connect5::new("c").flags(0x02 | flags).bytes());
    }
}

/// [MQTT-3.1.2-12]: the QoS of a will is 0, 1 or 2.
#[test]
fn will_qos_3_is_malformed() {
    let broker = Broker::start();
    let connect = Connect5::new("c").will(Publish5::new("will", "1").qos(3, 0));
    Wire::refused5(&broker, connect.bytes(), MALFORMED);
    for qos in 0..=2 {
        Wire::connect5(&broker, &Connect5::new("c").will(Publish5::new("will", "1").qos(qos, 0)))
            .disconnect5(0);
    }
}

/// [MQTT-3.1.2-9], [MQTT-3.1.2-17], [MQTT-3.1.2-19], [MQTT-3.1.3-3], [MQTT-3.1.4-1]: what the flags
/// announce is there, as is the client id.
#[test]
fn announced_field_that_is_missing_is_malformed() {
    let broker = Broker::start();
    let nothing = [field("MQTT"), vec![5, 2, 0, 0, 0]].concat();
    Wire::refused5(&broker, packet(0x10, nothing), MALFORMED);
    for flags in [0x04, 0x40, 0x80, 0xC0, 0xC4] {
        Wire::refused5(&broker, Connect5::new("c").flags(0x02 | flags).bytes(), MALFORMED);
    }
    // Cut off anywhere, it is no CONNECT.
    let whole =
        Connect5::new("c").will(Publish5::new("w", "1").pair("n", "v")).user("u").password("p").body();
    for length in 10..whole.len() {
        Wire::refused5(&broker, packet(0x10, &whole[..length]), MALFORMED);
    }
}

/// [MQTT-3.1.2-16], [MQTT-3.1.2-18]: what they do not announce is not there.
#[test]
fn field_that_is_not_announced_is_malformed() {
    let broker = Broker::start();
    let with_all = Connect5::new("c").user("anna").password("secret");
    for flags in [0x02, 0x42, 0x82] {
        Wire::refused5(&broker, with_all.clone().flags(flags).bytes(), MALFORMED);
    }
}

/// §3.1.2.9: a password may come without user name, other than in 3.1.1.
#[test]
fn password_without_user_name_is_allowed() {
    Wire::connect5(&Broker::start(), &Connect5::new("c").password("token"));
}

/// [MQTT-3.1.3-1], [MQTT-3.1.2-17], [MQTT-3.1.2-19]: client id, will properties, will topic, will payload,
/// user name, password, in this order.
#[test]
fn fields_are_read_in_their_order() {
    let broker = Setup::new()
        .password("anna", "secret")
        .config("[auth]\nallow_anonymous = false\npassword_file = \"passwd\"")
        .start();
    let login = |id| Connect5::new(id).user("anna").password("secret");
    let mut watcher = Wire::connect5(&broker, &login("watcher"));
    watcher.subscribe5("#", 1);
    let will = Publish5::new("topic", "payload").qos(1, 0).pair("n", "v");
    Wire::connect5(&broker, &login("id").pair("other", "property").will(will)).cut();
    let got = watcher.take5("payload");
    assert_eq!((got.topic(), got.properties.pairs().len()), ("topic", 1), "{got:?}");
}

/// [MQTT-3.1.3-2]: the client id names the session.
#[test]
fn client_ids_that_differ_are_different_clients() {
    let broker = Broker::start();
    for id in ["a", "A", "a ", "\u{E9}", "e\u{301}"] {
        Wire::connect5(&broker, &Connect5::new(id).persistent(60)).disconnect5(0);
    }
    Wire::resume5(&broker, &Connect5::new("a").persistent(60));
}

/// [MQTT-3.1.3-5]: 1 to 23 bytes of digits and letters are allowed.
#[test]
fn client_ids_of_the_standard_are_allowed() {
    let broker = Broker::start();
    let all = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for start in [0, 23, 39] {
        Wire::client5(&broker, &all[start..start + 23]);
    }
    Wire::client5(&broker, "0");
}

/// [MQTT-3.1.3-6], [MQTT-3.1.3-7], [MQTT-3.2.2-16]: a client without client id is given one of its own,
/// and is told.
#[test]
fn empty_client_id_is_assigned() {
    let broker = Broker::start();
    let assign = |connect: &Connect5| {
        let (wire, connack) = Wire::greet5(&broker, connect);
        let id = connack.properties.text(ASSIGNED_CLIENT_ID).expect("an assigned client id");
        assert!(!id.is_empty() && !connack.session_present, "{connack:?}");
        (wire, id)
    };
    let (first, one) = assign(&Connect5::new(""));
    let (_second, two) = assign(&Connect5::new(""));
    assert_ne!(one, two);
    drop(first);
    // Other than in 3.1.1 it may ask for a session to keep, and comes back by the name that it was given.
    let (mut kept, id) = assign(&Connect5::new("").persistent(60));
    kept.subscribe5("a", 1);
    kept.disconnect5(0);
    let (mut back, connack) = Wire::greet5(&broker, &Connect5::new(&id).persistent(60));
    assert!(connack.session_present && connack.properties.text(ASSIGNED_CLIENT_ID).is_none(), "{connack:?}");
    back.publish5(&Publish5::new("a", "1").qos(1, 1));
    back.take5("1");
}

/// [MQTT-3.1.4-6]: nothing that follows a refused CONNECT is processed.
#[test]
fn what_follows_a_refused_connect_is_not_processed() {
    let broker = Broker::with_config("[auth]\nclient_id_prefixes = [\"good-\"]");
    let mut watcher = Wire::client5(&broker, "good-watcher");
    watcher.subscribe5("#", 0);
    let publish = Publish5::new("a", "1").retain().bytes();
    Wire::refused5(&broker, [Connect5::new("bad").bytes(), publish].concat(), 0x85);
    watcher.expect_nothing_but_pong();
    watcher.subscribe5("#", 0);
    watcher.expect_nothing_but_pong();
}

/// [MQTT-3.1.4-2]: a refused CONNECT leaves the session alone that it asked for, and its owner.
#[test]
fn refused_connect_does_not_disturb_the_session() {
    let broker = Setup::new().password("anna", "secret").config("[auth]\npassword_file = \"passwd\"").start();
    let connect = Connect5::new("c").with(SESSION_EXPIRY, 60).user("anna");
    let mut owner = Wire::connect5(&broker, &connect.clone().password("secret"));
    owner.subscribe5("a", 1);
    Wire::refused5(&broker, connect.password("wrong").bytes(), 0x86);
    owner.publish5(&Publish5::new("a", "1").qos(1, 1));
    owner.take5("1");
}
