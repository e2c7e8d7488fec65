//! CONNECT (§3.1): what it must look like, and what it is answered with when it is accepted. Refusals
//! with a return code are in `return_codes`.

use super::{assert_breach, assert_breach_at_once};
use crate::harness::packets::{self, PINGREQ, PINGRESP, packet};
use crate::harness::{Broker, Connect, Publish, Wire};

/// [MQTT-3.1.0-1]: the first packet is CONNECT.
#[test]
fn first_packet_other_than_connect_closes() {
    let broker = Broker::start();
    let others = [PINGREQ.to_vec(), Publish::new("a", "1").bytes(), packets::subscribe(1, &[("a", 0)])];
    for other in others {
        assert_breach_at_once(&broker, other, "MQTT-3.1.0-1");
    }
}

/// §3.1.4: a client that does not send CONNECT in reasonable time is disconnected.
#[test]
fn no_connect_within_the_timeout_closes() {
    let broker = Broker::with_config("[limits]\nconnect_timeout_s = 1");
    let mut silent = Wire::open(&broker);
    let mut slow = Wire::open(&broker);
    slow.send(&Connect::new("slow").bytes()[..10]);
    silent.expect_closed();
    slow.expect_closed();
    let addr = silent.local_addr().to_string();
    broker.log_line(|line| line.field("addr") == Some(&addr) && line.contains("limits.connect_timeout_s"));
}

/// [MQTT-3.1.0-2]: a second CONNECT is a violation.
#[test]
fn second_connect_closes() {
    let broker = Broker::start();
    assert_breach(&broker, Connect::new("culprit").bytes(), "MQTT-3.1.0-2");
}

/// [MQTT-3.1.2-1], [MQTT-3.1.4-1], [MQTT-3.2.2-6]: another protocol is not answered in this one.
#[test]
fn unknown_protocol_name_closes_without_connack() {
    let broker = Broker::start();
    for name in ["", "mqtt", "MQTTX", "HTTP"] {
        assert_breach_at_once(&broker, Connect::new("c").protocol(name, 4).bytes(), "MQTT-3.1.2-1");
    }
}

/// MQTT 3.1 is spoken too, as old devices send it.
#[test]
fn mqtt_31_is_accepted_by_default() {
    let broker = Broker::start();
    let mut old = Wire::connect(&broker, &Connect::new("old").protocol("MQIsdp", 3));
    old.subscribe("a", 1);
    old.publish(&Publish::new("a", "1").qos(1, 1));
    old.take("1");
}

/// [MQTT-3.1.2-3], [MQTT-3.1.4-1]: bit 0 of the flags is reserved.
#[test]
fn reserved_connect_flag_closes() {
    let broker = Broker::start();
    assert_breach_at_once(&broker, Connect::new("c").flags(0b0000_0011).bytes(), "MQTT-3.1.2-3");
}

/// [MQTT-3.1.2-11], [MQTT-3.1.2-13]: without the will flag there is no will QoS.
#[test]
fn will_qos_without_will_closes() {
    let broker = Broker::start();
    for qos in 1..=3 {
        let connect = Connect::new("c").flags(0b0000_0010 | qos << 3);
        assert_breach_at_once(&broker, connect.bytes(), "MQTT-3.1.2-13");
    }
}

/// [MQTT-3.1.2-14]: a will QoS is 0, 1 or 2.
#[test]
fn will_qos_3_closes() {
    let broker = Broker::start();
    let connect = Connect::new("c").will(Publish::new("w", "1").qos(3, 0));
    assert_breach_at_once(&broker, connect.bytes(), "MQTT-3.1.2-14");
}

/// [MQTT-3.1.2-11], [MQTT-3.1.2-15]: without the will flag there is no will retain.
#[test]
fn will_retain_without_will_closes() {
    let broker = Broker::start();
    assert_breach_at_once(&broker, Connect::new("c").flags(0b0010_0010).bytes(), "MQTT-3.1.2-15");
}

/// [MQTT-3.1.2-22]: no password without a user name.
#[test]
fn password_without_user_name_closes() {
    let broker = Broker::start();
    assert_breach_at_once(&broker, Connect::new("c").password("secret").bytes(), "MQTT-3.1.2-22");
}

/// [MQTT-3.1.2-9], [MQTT-3.1.2-19], [MQTT-3.1.2-21], [MQTT-3.1.3-3]: what the flags announce is there.
#[test]
fn announced_field_that_is_missing_closes() {
    let broker = Broker::start();
    let mut without_id = Connect::new("").body();
    without_id.truncate(10);
    assert_breach_at_once(&broker, packet(0x10, without_id), "§2.2.3");
    for flags in [0b0000_0110, 0b1000_0010, 0b1100_0010] {
        assert_breach_at_once(&broker, Connect::new("c").flags(flags).bytes(), "§2.2.3");
    }
}

/// [MQTT-3.1.2-11], [MQTT-3.1.2-18], [MQTT-3.1.2-20]: what the flags do not announce is not there.
#[test]
fn field_that_is_not_announced_closes() {
    let broker = Broker::start();
    let with_user = Connect::new("c").user("u").flags(0b0000_0010);
    assert_breach_at_once(&broker, with_user.bytes(), "§2.2.3");
    let with_password = Connect::new("c").user("u").password("p").flags(0b1000_0010);
    assert_breach_at_once(&broker, with_password.bytes(), "§2.2.3");
    let with_will = Connect::new("c").will(Publish::new("w", "1")).flags(0b0000_0010);
    assert_breach_at_once(&broker, with_will.bytes(), "§2.2.3");
}

/// [MQTT-3.1.3-4], [MQTT-3.1.3-10], [MQTT-3.1.3-11], [MQTT-1.5.3-1]: strings are UTF-8.
#[test]
fn string_that_is_not_utf8_closes() {
    let broker = Broker::start();
    let surrogate = [0x61, 0xED, 0xA0, 0x80];
    let connects = [
        Connect::new(surrogate),
        Connect::new("c").will(Publish::new(surrogate, "1")),
        Connect::new("c").user(surrogate).password("p"),
    ];
    for connect in connects {
        assert_breach_at_once(&broker, connect.bytes(), "MQTT-1.5.3-1");
    }
}

/// [MQTT-1.5.3-2]: strings do not contain U+0000.
#[test]
fn nul_in_a_string_closes() {
    let broker = Broker::start();
    for connect in [Connect::new("a\0b"), Connect::new("c").user("u\0").password("p")] {
        assert_breach_at_once(&broker, connect.bytes(), "MQTT-1.5.3-2");
    }
}

/// [MQTT-3.1.3-1]: client id, will topic, will message, user name, password, in this order.
#[test]
fn fields_are_read_in_their_order() {
    let broker = Broker::start();
    let mut watcher = Wire::client(&broker, "watcher");
    watcher.subscribe("#", 0);
    let connect = Connect::new("all").user("anna").password([0xFF, 0x00, 0xFE]);
    let all = Wire::connect(&broker, &connect.will(Publish::new("topic", "message")));
    let line = broker.log_line(|line| line.field("client") == Some("all"));
    assert_eq!(line.field("user"), Some("anna"));
    all.cut();
    assert_eq!(watcher.take("message").topic(), "topic");
}

/// [MQTT-3.1.3-5]: 1 to 23 bytes of digits and letters are a client id; this broker allows more.
#[test]
fn client_ids_of_the_standard_and_others_are_accepted() {
    let broker = Broker::start();
    let longest = "x".repeat(1024);
    for id in
        ["0", "abcdefghijklmnopqrstuvw", "ABCDEFGHIJKLMNOPQRSTUVW", "0123456789xyzXYZ", "ä/+#", &longest]
    {
        Wire::client(&broker, id).disconnect();
    }
}

/// [MQTT-3.1.3-6]: who sends no client id gets a unique one.
#[test]
fn empty_client_ids_are_given_different_names() {
    let broker = Broker::start();
    let (mut one, mut two) = (Wire::client(&broker, ""), Wire::client(&broker, ""));
    one.expect_nothing_but_pong();
    two.expect_nothing_but_pong();
    let connected = [0, 1].map(|n| broker.log().nth_line(n, |line| line.message() == "connected"));
    let names = connected.each_ref().map(|line| line.field("client").unwrap());
    assert!(names[0] != names[1] && names.iter().all(|name| name.len() > 16), "{names:?}");
}

/// [MQTT-3.1.3-2]: the client id names the session; case counts, and so does every byte.
#[test]
fn client_ids_that_differ_are_different_clients() {
    let broker = Broker::start();
    let mut all: Vec<_> = ["c", "C", "c ", "ç"].iter().map(|id| Wire::client(&broker, id)).collect();
    all.iter_mut().for_each(Wire::expect_nothing_but_pong);
}

/// §3.1.4: a client need not wait for CONNACK before it goes on.
#[test]
fn packets_right_behind_connect_are_handled() {
    let broker = Broker::start();
    let mut hasty = Wire::open(&broker);
    let publish = Publish::new("a", "1").qos(1, 9);
    hasty.send([Connect::new("hasty").bytes(), packets::subscribe(1, &[("a", 0)]), publish.bytes()].concat());
    hasty.expect(packets::connack(false, 0));
    hasty.expect(packets::suback(1, &[0]));
    hasty.expect(packets::puback(9));
    hasty.take("1");
}

/// [MQTT-3.1.4-4], [MQTT-3.2.0-1]: the first that the server says is CONNACK, with return code 0.
#[test]
fn connack_comes_before_anything_that_is_owed() {
    let broker = Broker::start();
    let connect = Connect::new("away").persistent();
    let mut away = Wire::connect(&broker, &connect);
    away.subscribe("a", 1);
    away.disconnect();
    Wire::client(&broker, "publisher").publish(&Publish::new("a", "1").qos(1, 1));
    Wire::resume(&broker, &connect).take("1");
}

/// §3.1: bytes may come one by one.
#[test]
fn packets_may_come_in_pieces() {
    let broker = Broker::start();
    let mut slow = Wire::open(&broker);
    for byte in Connect::new("slow").bytes() {
        slow.send([byte]);
    }
    slow.expect(packets::connack(false, 0));
    for byte in [PINGREQ, &Publish::new("a", "1").qos(2, 7).bytes()].concat() {
        slow.send([byte]);
    }
    slow.expect(PINGRESP);
    slow.expect(packets::pubrec(7));
}

/// §3.1: the same over TLS.
#[test]
fn tls_listener_speaks_the_same() {
    let broker = Broker::start();
    let mut client = Wire::client_tls(&broker, "secure");
    client.subscribe("a", 2);
    client.publish(&Publish::new("a", "1").qos(2, 1));
    client.take("1");
    client.disconnect();
}
