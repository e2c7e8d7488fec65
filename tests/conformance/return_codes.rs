//! CONNACK (§3.2): every return code is reached by configuration, with session present 0 and the end
//! of the connection behind it.

use crate::harness::packets;
use crate::harness::{Broker, Connect, Publish, Setup, Wire};

/// [MQTT-3.2.2-4], [MQTT-3.2.2-5]: a refusal says so, claims no session, and ends the connection.
#[track_caller]
fn assert_refused(broker: &Broker, connect: &Connect, code: u8) {
    let mut refused = Wire::open(broker);
    refused.send(connect.bytes());
    refused.expect(packets::connack(false, code));
    refused.expect_closed();
    let addr = refused.local_addr().to_string();
    broker.log_line(|line| line.field("addr") == Some(&addr));
}

/// [MQTT-3.1.2-2]: a protocol level that is not spoken here.
#[test]
fn code_1_for_an_unknown_protocol_level() {
    let broker = Broker::start();
    for level in [0, 3] {
        assert_refused(&broker, &Connect::new("c").protocol("MQTT", level), 1);
    }
    // A client of a later version is told in the form of the latest.
    for level in [6, 255] {
        let mut refused = Wire::open(&broker);
        refused.send(Connect::new("c").protocol("MQTT", level).bytes());
        refused.expect([0x20, 3, 0, 0x84, 0]);
        refused.expect_closed();
    }
}

/// [MQTT-3.1.2-2]: MQTT 3.1, where it is turned off.
#[test]
fn code_1_for_mqtt_31_when_turned_off() {
    let broker = Broker::with_config("[mqtt]\nallow_mqtt31 = false");
    assert_refused(&broker, &Connect::new("c").protocol("MQIsdp", 3), 1);
    Wire::client(&broker, "c");
}

/// [MQTT-3.1.3-7], [MQTT-3.1.3-8]: no client id, and yet a session to keep.
#[test]
fn code_2_for_an_empty_client_id_with_a_session_to_keep() {
    assert_refused(&Broker::start(), &Connect::new("").persistent(), 2);
}

/// [MQTT-3.1.3-9]: a client id beyond `limits.client_id_bytes_max`.
#[test]
fn code_2_for_a_client_id_that_is_too_long() {
    let broker = Broker::with_config("[limits]\nclient_id_bytes_max = 30");
    assert_refused(&broker, &Connect::new("x".repeat(31)), 2);
    Wire::client(&broker, &"x".repeat(30));
}

/// [MQTT-3.1.3-9]: a client id that `auth.client_id_prefixes` does not allow.
#[test]
fn code_2_for_a_client_id_that_is_not_allowed() {
    let broker = Broker::with_config("[auth]\nclient_id_prefixes = [\"plant-\", \"lab-\"]");
    for id in ["other", "Plant-1", "xplant-1"] {
        assert_refused(&broker, &Connect::new(id), 2);
    }
    for id in ["plant-", "plant-1", "lab-1"] {
        Wire::client(&broker, id);
    }
}

/// §3.2.2.3, [MQTT-3.2.2-4], [MQTT-3.2.2-5]: more connections than `limits.connections_max`.
#[test]
fn code_3_over_the_bound_on_connections() {
    let broker = Broker::with_config("[limits]\nconnections_max = 2");
    let one = Wire::client(&broker, "one");
    let _two = Wire::client(&broker, "two");
    assert_refused(&broker, &Connect::new("three"), 3);
    one.disconnect();
    broker.log_line(|line| line.field("client") == Some("one") && line.message() == "disconnected");
    // The place is free a moment after the line is written: ask until it is.
    let free = (0..1000).any(|_| {
        let mut wire = Wire::open(&broker);
        wire.send(Connect::new("three").bytes());
        wire.receive() == packets::connack(false, 0)
    });
    assert!(free);
}

/// §3.2.2.3, [MQTT-3.2.2-4], [MQTT-3.2.2-5]: more persistent sessions than `limits.sessions_max`.
#[test]
fn code_3_over_the_bound_on_sessions() {
    let broker = Broker::with_config("[limits]\nsessions_max = 1");
    Wire::connect(&broker, &Connect::new("one").persistent()).disconnect();
    assert_refused(&broker, &Connect::new("two").persistent(), 3);
    Wire::client(&broker, "two");
    Wire::resume(&broker, &Connect::new("one").persistent());
}

/// §3.2.2.3, [MQTT-3.2.2-4], [MQTT-3.2.2-5]: the server shuts down. A connection that has not said CONNECT yet holds it open.
#[test]
fn code_3_while_shutting_down() {
    let mut broker = Broker::start();
    let mut late = Wire::open(&broker);
    // By CONNACK to this one, the broker has accepted the one before.
    let mut first = Wire::client(&broker, "first");
    broker.terminate();
    first.expect_closed();
    late.send(Connect::new("late").bytes());
    late.expect(packets::connack(false, 3));
    late.expect_closed();
    assert!(broker.wait().success());
}

/// §3.2.2.3, [MQTT-3.2.2-4], [MQTT-3.2.2-5]: a wrong password, an unknown user name, a user name without password.
#[test]
fn code_4_for_a_wrong_user_name_or_password() {
    let broker = Setup::new()
        .password("anna", "correct horse")
        .password("bert", "battery staple")
        .config("[auth]\npassword_file = \"passwd\"")
        .start();
    let wrong = [
        Connect::new("c").user("anna").password("battery staple"),
        Connect::new("c").user("anna").password(""),
        Connect::new("c").user("anna").password([0xFF]),
        Connect::new("c").user("carl").password("correct horse"),
        Connect::new("c").user("").password("correct horse"),
        Connect::new("c").user("anna"),
    ];
    for connect in wrong {
        assert_refused(&broker, &connect, 4);
    }
    Wire::connect(&broker, &Connect::new("c").user("anna").password("correct horse"));
    Wire::connect(&broker, &Connect::new("d").user("bert").password("battery staple"));
}

/// §3.2.2.3, [MQTT-3.2.2-4], [MQTT-3.2.2-5]: no user name where `auth.allow_anonymous` is false.
#[test]
fn code_5_without_user_name_where_one_is_asked_for() {
    let broker = Setup::new()
        .password("anna", "secret")
        .config("[auth]\nallow_anonymous = false\npassword_file = \"passwd\"")
        .start();
    assert_refused(&broker, &Connect::new("c"), 5);
    Wire::connect(&broker, &Connect::new("c").user("anna").password("secret"));
}

/// [MQTT-3.1.4-5]: nothing that follows a refused CONNECT is processed.
#[test]
fn what_follows_a_refused_connect_is_not_processed() {
    let broker = Broker::with_config("[auth]\nclient_id_prefixes = [\"good-\"]");
    let mut watcher = Wire::client(&broker, "good-watcher");
    watcher.subscribe("#", 0);
    let mut refused = Wire::open(&broker);
    refused.send([Connect::new("bad").bytes(), Publish::new("a", "1").retain().bytes()].concat());
    refused.expect(packets::connack(false, 2));
    refused.expect_closed();
    watcher.expect_nothing_but_pong();
    watcher.subscribe("#", 0);
    watcher.expect_nothing_but_pong();
}

/// [MQTT-3.2.2-5]: a refused CONNECT leaves the session alone that it asked for, and its owner.
#[test]
fn refused_connect_does_not_disturb_the_session() {
    let broker = Setup::new().password("anna", "secret").config("[auth]\npassword_file = \"passwd\"").start();
    let connect = Connect::new("c").persistent().user("anna");
    let mut owner = Wire::connect(&broker, &connect.clone().password("secret"));
    owner.subscribe("a", 1);
    assert_refused(&broker, &connect.password("wrong"), 4);
    owner.publish(&Publish::new("a", "1").qos(1, 1));
    owner.take("1");
}
