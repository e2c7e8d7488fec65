//! DISCONNECT (§3.14): every code with which the server ends a connection, and what clients may send; errors
//! and the end of the connection (§4.13).

use super::{MALFORMED, PROTOCOL_ERROR, assert_disconnected, assert_disconnected_as_wrong};
use crate::harness::packets::packet;
use crate::harness::packets5::{
    Answer, DISCONNECT5, MAXIMUM_PACKET_SIZE, PUBACK, REASON_STRING, SESSION_EXPIRY, TOPIC_ALIAS, With,
    disconnect5,
};
use crate::harness::{Broker, Connect5, Publish5, Setup, Wire};

/// [MQTT-3.1.4-3], [MQTT-3.14.2-1]: the connection that has the client id is told that another took it.
#[test]
fn code_0x8e_at_take_over() {
    let broker = Broker::start();
    let mut old = Wire::connect5(&broker, &Connect5::new("c").with(SESSION_EXPIRY, 60));
    let mut new = Wire::resume5(&broker, &Connect5::new("c").persistent(60));
    old.expect_disconnect(0x8E);
    new.expect_nothing_but_pong();
    // By a client of 3.1.1 too; and one of 3.1.1 is told nothing.
    let mut older = Wire::client(&broker, "c");
    new.expect_disconnect(0x8E);
    let _new = Wire::client5(&broker, "c");
    older.expect_closed();
}

/// [MQTT-3.14.2-1]: the server shuts down.
#[test]
fn code_0x8b_at_shutdown() {
    let mut broker = Broker::start();
    let mut clients = ["a", "b"].map(|id| Wire::client5(&broker, id));
    let mut old = Wire::client(&broker, "old");
    broker.terminate();
    for client in &mut clients {
        client.expect_disconnect(0x8B);
    }
    old.expect_closed();
    assert!(broker.wait().success());
}

/// [MQTT-3.14.2-1], [MQTT-3.1.2-22]: the client was silent for too long.
#[test]
fn code_0x8d_after_the_keep_alive() {
    Wire::connect5(&Broker::start(), &Connect5::new("c").keep_alive(1)).expect_disconnect(0x8D);
}

/// [MQTT-3.14.2-1], [MQTT-4.13.1-1]: a packet that cannot be read.
#[test]
fn code_0x81_for_a_malformed_packet() {
    let broker = Broker::start();
    for bytes in
        [&[0x00, 0][..], &[0x30, 0], &[0x82, 2, 0, 1], &[0x40, 1, 0], &[0x36, 7, 0, 1, b'a', 0, 1, 0, b'1']]
    {
        eprintln!("{bytes:02x?}");
        assert_disconnected(&broker, bytes, MALFORMED);
    }
}

/// [MQTT-3.14.2-1], [MQTT-4.13.1-1], [MQTT-4.13.2-1]: a packet that does not belong here.
#[test]
fn code_0x82_for_a_protocol_error() {
    assert_disconnected(&Broker::start(), Connect5::new("c").bytes(), PROTOCOL_ERROR);
}

/// [MQTT-3.14.2-1]: more in flight than the server takes.
#[test]
fn code_0x93_beyond_the_receive_maximum() {
    let broker = Broker::with_config("[mqtt]\nreceive_maximum = 1");
    let two = [Publish5::new("a", "1").qos(2, 1).bytes(), Publish5::new("a", "1").qos(2, 2).bytes()].concat();
    let mut client = Wire::client5(&broker, "c");
    client.send(two);
    client.expect_reason(0x50, 1, 0x10);
    client.expect_disconnect(0x93);
}

/// [MQTT-3.14.2-1]: an alias that there is not.
#[test]
fn code_0x94_for_an_invalid_alias() {
    assert_disconnected(&Broker::start(), Publish5::new("a", "1").with(TOPIC_ALIAS, 0).bytes(), 0x94);
}

/// [MQTT-3.14.2-1]: a packet beyond the maximum packet size.
#[test]
fn code_0x95_for_a_packet_that_is_too_large() {
    let broker = Broker::with_config("[mqtt]\npacket_bytes_max = 200");
    assert_disconnected(&broker, Publish5::new("a", "x".repeat(200)).bytes(), 0x95);
}

/// [MQTT-3.14.2-1]: the operator has taken the user away; it is said at the user's next packet.
#[test]
fn code_0x98_for_a_user_who_is_gone() {
    let broker = Setup::new()
        .password("anna", "one")
        .password("bert", "two")
        .config("[auth]\nallow_anonymous = false\npassword_file = \"passwd\"")
        .start();
    let login = |user: &str, password: &str| {
        Wire::connect5(&broker, &Connect5::new(user).user(user).password(password))
    };
    let (mut anna, mut bert) = (login("anna", "one"), login("bert", "two"));
    let file = broker.dir().join("passwd");
    let all = std::fs::read_to_string(&file).unwrap();
    let left: Vec<&str> = all.lines().filter(|line| !line.starts_with("anna:")).collect();
    std::fs::write(&file, left.join("\n") + "\n").unwrap();
    broker.reload();
    broker.log_line(|line| line.message().starts_with("reloaded"));
    anna.send(Publish5::new("a", "1").qos(1, 1).bytes());
    let answer = Answer::parse(&anna.receive());
    assert!(answer.first == DISCONNECT5 && answer.code() == 0x98, "{answer:02x?}");
    anna.expect_closed();
    bert.expect_nothing_but_pong();
}

/// [MQTT-3.14.0-1]: before CONNACK with success, no DISCONNECT: a refusal is a CONNACK ([`Wire::refused5`]
/// fails on anything else), and what is no CONNECT gets nothing.
#[test]
fn no_disconnect_comes_before_connack() {
    let broker = Broker::with_config("[auth]\nclient_id_prefixes = [\"good-\"]");
    Wire::refused5(&broker, Connect5::new("bad").bytes(), 0x85);
    Wire::refused5(&broker, Connect5::new([0xFF]).bytes(), MALFORMED);
    let mut wire = Wire::open(&broker);
    wire.send(disconnect5(0).bytes());
    wire.expect_closed();
}

/// [MQTT-3.14.1-1]: reserved flags are 0.
#[test]
fn disconnect_with_flags_is_malformed() {
    let broker = Broker::start();
    for flags in 1..16 {
        assert_disconnected(&broker, [DISCONNECT5 | flags, 0], MALFORMED);
    }
}

/// §3.14.2.1: reason code and properties may be left out; the server closes and says nothing more.
#[test]
fn disconnect_of_any_length_closes() {
    let broker = Broker::start();
    let with_properties = disconnect5(0).with(REASON_STRING, "done").pair("n", "v").with(SESSION_EXPIRY, 0);
    for bytes in
        [vec![0xE0, 0], vec![0xE0, 1, 0], vec![0xE0, 1, 4], vec![0xE0, 2, 0, 0], with_properties.bytes()]
    {
        let mut client = Wire::client5(&broker, "c");
        client.send(bytes);
        client.expect_closed();
    }
}

/// §3.14.2.1: every code that the standard gives to clients is understood, and ends the connection without a
/// word.
#[test]
fn every_code_of_a_client_closes() {
    let broker = Broker::start();
    for code in [0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x99] {
        Wire::client5(&broker, "c").disconnect5(code);
    }
}

/// [MQTT-3.14.2-1]: one that is no code of DISCONNECT is refused.
#[test]
fn code_that_is_none_is_refused() {
    let broker = Broker::start();
    for code in [0x01, 0x05, 0x10, 0x11, 0x18, 0x19, 0x7F, 0xA3, 0xFF] {
        eprintln!("{code:#04x}");
        assert_disconnected_as_wrong(&broker, disconnect5(code).bytes());
    }
}

/// §3.14.2.2, §2.2.2.2: properties that come twice, are cut off, or do not belong here.
#[test]
fn disconnect_with_wrong_properties_is_refused() {
    let broker = Broker::start();
    let twice = disconnect5(0).with(SESSION_EXPIRY, 0).with(SESSION_EXPIRY, 0);
    assert_disconnected(&broker, twice.bytes(), PROTOCOL_ERROR);
    let twice = disconnect5(0).with(REASON_STRING, "a").with(REASON_STRING, "a");
    assert_disconnected(&broker, twice.bytes(), PROTOCOL_ERROR);
    for property in [&[0x21, 0, 1][..], &[0x01, 1], &[0x04, 0], &[0x11, 0, 0], &[0x1F, 0, 9, b'a']] {
        assert_disconnected(&broker, disconnect5(0).raw(property).bytes(), MALFORMED);
    }
    assert_disconnected(&broker, packet(0xE0, [0, 0, 0]), MALFORMED);
}

/// [MQTT-3.14.2-2]: the server says nothing of session expiry.
#[test]
fn disconnect_of_the_server_has_no_session_expiry() {
    let broker = Broker::start();
    let mut old = Wire::connect5(&broker, &Connect5::new("c").with(SESSION_EXPIRY, 60));
    let mut new = Wire::resume5(&broker, &Connect5::new("c").persistent(60));
    let mut answers = vec![old.expect_disconnect(0x8E)];
    new.send([0x00, 0]);
    answers.push(new.expect_disconnect(MALFORMED));
    answers.push(Wire::connect5(&broker, &Connect5::new("c").keep_alive(1)).expect_disconnect(0x8D));
    for answer in answers {
        assert_eq!(answer.properties.number(SESSION_EXPIRY), None);
    }
}

/// [MQTT-3.14.2-3], [MQTT-3.14.2-4]: what explains the end does not make it larger than the client takes.
#[test]
fn reason_does_not_exceed_the_maximum_packet_size() {
    let broker = Broker::start();
    // CONNACK with what must be told fits in the smallest of these.
    for maximum in 20..40 {
        let mut client = Wire::connect5(&broker, &Connect5::new("c").with(MAXIMUM_PACKET_SIZE, maximum));
        client.send(Connect5::new("c").bytes());
        let bytes = client.receive();
        assert!(bytes.len() <= maximum as usize, "{maximum}: {bytes:02x?}");
        assert_eq!(Answer::parse(&bytes).code(), PROTOCOL_ERROR);
        client.expect_closed();
    }
}

/// [MQTT-3.14.4-1], [MQTT-3.14.4-2], [MQTT-4.13.2-1]: after its DISCONNECT the server sends nothing more and
/// closes, whatever waits to be sent or read.
#[test]
fn nothing_follows_disconnect() {
    let broker = Broker::start();
    let mut client = Wire::client5(&broker, "c");
    client.subscribe5("a", 1);
    let publish = |n: u16| Publish5::new("a", "1").qos(1, n).bytes();
    let before = [publish(1), publish(2)].concat();
    client.send([before, Connect5::new("c").bytes(), publish(3), publish(4), vec![0xC0, 0]].concat());
    client.await_answer(PUBACK, 1);
    client.await_answer(PUBACK, 2);
    client.expect_disconnect(PROTOCOL_ERROR);
}

/// §3.14.4: nothing that a client sends after its DISCONNECT is processed.
#[test]
fn nothing_after_disconnect_of_the_client_is_processed() {
    let broker = Broker::start();
    let mut watcher = Wire::client5(&broker, "watcher");
    watcher.subscribe5("#", 0);
    let mut client = Wire::client5(&broker, "c");
    client.send([disconnect5(0).bytes(), Publish5::new("a", "1").bytes(), vec![0xFF, 0xFF]].concat());
    client.expect_closed();
    watcher.expect_nothing_but_pong();
}

/// [MQTT-4.13.1-1]: an error of one client ends its connection, and nothing else.
#[test]
fn error_of_one_client_is_no_error_of_others() {
    let broker = Broker::start();
    let mut bystander = Wire::client5(&broker, "bystander");
    bystander.subscribe5("a", 1);
    for bytes in [
        vec![0x00, 0],
        Publish5::new("a/#", "1").bytes(),
        Connect5::new("c").bytes(),
        vec![0x30, 0xFF, 0xFF, 0xFF, 0xFF],
    ] {
        let mut culprit = Wire::client5(&broker, "culprit");
        culprit.send(bytes);
        assert!(Answer::parse(&culprit.receive()).code() >= 0x80);
        culprit.expect_closed();
    }
    bystander.publish5(&Publish5::new("a", "1").qos(1, 1));
    bystander.take5("1");
}
