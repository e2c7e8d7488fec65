//! Wills (§3.1.2.5): published on every end but DISCONNECT, once, as they were given.

use crate::harness::packets::{DISCONNECT, packet};
use crate::harness::{Broker, Connect, Publish, Wire};

/// A broker and a client that watches `#` with QoS 2.
fn watched(config: &str) -> (Broker, Wire) {
    let broker = Broker::with_config(config);
    let mut watcher = Wire::client(&broker, "watcher");
    watcher.subscribe("#", 2);
    (broker, watcher)
}

/// A client with a will of QoS 1 on `will`.
fn mortal(payload: &str) -> Connect {
    Connect::new("mortal").will(Publish::new("will", payload).qos(1, 0))
}

/// [MQTT-3.1.2-8]: the socket is lost.
#[test]
fn will_is_published_when_the_socket_is_lost() {
    let (broker, mut watcher) = watched("");
    Wire::connect(&broker, &mortal("cut")).cut();
    watcher.take("cut");
    let mut half_open = Wire::connect(&broker, &mortal("half"));
    half_open.shut_down_sending();
    watcher.take("half");
    Wire::open_tls(&broker).connected(&mortal("tls"), false).cut();
    watcher.take("tls");
    watcher.expect_nothing_but_pong();
}

/// [MQTT-3.1.2-8]: the client is silent for longer than it said.
#[test]
fn will_is_published_when_the_keep_alive_is_over() {
    let (broker, mut watcher) = watched("");
    let mut silent = Wire::connect(&broker, &mortal("silent").keep_alive(1));
    watcher.take("silent");
    silent.expect_closed();
}

/// [MQTT-3.1.2-8]: the server closes since the client broke the protocol.
#[test]
fn will_is_published_after_a_breach_of_the_protocol() {
    let (broker, mut watcher) = watched("");
    let breaches = [
        ("reserved type", vec![0xF0, 0]),
        ("second CONNECT", Connect::new("mortal").bytes()),
        ("wildcard", Publish::new("#", "1").bytes()),
        ("DISCONNECT with flags", packet(0xE1, [])),
    ];
    for (payload, breach) in breaches {
        let mut wire = Wire::connect(&broker, &mortal(payload));
        wire.send(breach);
        wire.expect_closed();
        watcher.take(payload);
    }
    watcher.expect_nothing_but_pong();
}

/// [MQTT-3.1.2-8]: the server stops; the will goes out while there are subscribers.
#[test]
fn will_is_published_when_the_server_stops() {
    let (mut broker, mut watcher) = watched("");
    let _mortal = Wire::connect(&broker, &mortal("stop"));
    broker.terminate();
    watcher.take("stop");
    watcher.expect_closed();
    assert!(broker.wait().success());
}

/// [MQTT-3.14.4-3], [MQTT-3.1.2-10]: not after DISCONNECT.
#[test]
fn will_is_discarded_by_disconnect() {
    let (broker, mut watcher) = watched("");
    Wire::connect(&broker, &mortal("never")).disconnect();
    let persistent = mortal("never").persistent();
    Wire::connect(&broker, &persistent).disconnect();
    // Neither does what comes behind DISCONNECT bring it back.
    let mut chatty = Wire::resume(&broker, &persistent);
    chatty.send([DISCONNECT, &[0xFF, 0xFF], DISCONNECT].concat());
    chatty.expect_closed();
    watcher.expect_nothing_but_pong();
}

/// [MQTT-3.1.2-12]: no will, nothing published.
#[test]
fn nothing_is_published_without_a_will() {
    let (broker, mut watcher) = watched("");
    let connect = mortal("old").persistent();
    Wire::connect(&broker, &connect).disconnect();
    // The will belongs to the connection, not to the session.
    let without = Wire::resume(&broker, &Connect::new("mortal").persistent());
    let addr = without.local_addr().to_string();
    without.cut();
    broker.log_line(|line| line.message() == "connection lost" && line.field("addr") == Some(&addr));
    watcher.expect_nothing_but_pong();
}

/// [MQTT-3.1.2-10]: once published it is gone.
#[test]
fn will_is_published_once() {
    let (broker, mut watcher) = watched("");
    Wire::connect(&broker, &mortal("1").persistent()).cut();
    watcher.take("1");
    Wire::resume(&broker, &Connect::new("mortal").persistent()).cut();
    Wire::resume(&broker, &mortal("2").persistent()).cut();
    watcher.take("2");
    watcher.expect_nothing_but_pong();
}

/// [MQTT-3.1.2-9], [MQTT-3.1.2-14]: it has the QoS that it was given.
#[test]
fn will_has_its_qos() {
    let (broker, mut watcher) = watched("");
    for qos in 0..=2 {
        let connect = Connect::new("mortal").will(Publish::new("will", "1").qos(qos, 0));
        Wire::connect(&broker, &connect).cut();
        let publish = watcher.take("1");
        assert!(publish.qos == qos && !publish.retain && !publish.dup, "{publish:?}");
    }
}

/// [MQTT-3.1.2-16], [MQTT-3.1.2-17]: retained, if will retain says so, and else not.
#[test]
fn will_is_retained_if_it_says_so() {
    let (broker, mut watcher) = watched("");
    for (will, kept) in [(Publish::new("will", "1"), None), (Publish::new("will", "2").retain(), Some("2"))] {
        Wire::connect(&broker, &Connect::new("mortal").will(will.qos(1, 0))).cut();
        assert!(!watcher.expect_publish().retain);
        let mut late = Wire::client(&broker, "late");
        late.subscribe("will", 1);
        if let Some(payload) = kept {
            assert!(late.take(payload).retain);
        }
        late.expect_nothing_but_pong();
    }
}

/// [MQTT-3.1.2-9]: its payload is any bytes, none among them; empty and retained it clears.
#[test]
fn will_payload_is_any_bytes() {
    let (broker, mut watcher) = watched("");
    watcher.publish(&Publish::new("will", "kept").qos(1, 1).retain());
    watcher.take("kept");
    for payload in [vec![0, 0xFF, 0xC3], vec![b'x'; 65_535], vec![]] {
        let will = Publish::new("will", &payload).retain();
        Wire::connect(&broker, &Connect::new("mortal").will(will)).cut();
        assert_eq!(watcher.expect_publish().payload, payload);
    }
    let mut late = Wire::client(&broker, "late");
    late.subscribe("will", 1);
    late.expect_nothing_but_pong();
}

/// [MQTT-3.1.2-8]: it reaches absent clients too.
#[test]
fn will_waits_for_absent_clients() {
    let (broker, mut watcher) = watched("");
    let connect = Connect::new("absent").persistent();
    let mut absent = Wire::connect(&broker, &connect);
    absent.subscribe("will", 1);
    absent.disconnect();
    Wire::connect(&broker, &mortal("1")).cut();
    watcher.take("1");
    Wire::resume(&broker, &connect).take("1");
}

/// [MQTT-4.7.3-1], [MQTT-4.7.1-1], [MQTT-4.7.3-2]: a will topic is a topic name.
#[test]
fn bad_will_topic_closes() {
    let broker = Broker::start();
    for (topic, clause) in [("", "MQTT-4.7.3-1"), ("a/#", "MQTT-4.7.1-1"), ("a\0", "MQTT-4.7.3-2")] {
        let connect = Connect::new("c").will(Publish::new(topic, "1"));
        super::assert_breach_at_once(&broker, connect.bytes(), clause);
    }
}
