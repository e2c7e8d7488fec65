//! Wills (§3.1.2.5, §3.1.3.2 to §3.1.3.4): published on every end but DISCONNECT with code 0, once, as they
//! were given. Delays are next door, in `will_delay`.

use super::steps::{REPORTS, await_report};
use crate::harness::log::LogLine;
use crate::harness::packets5::{
    CONTENT_TYPE, CORRELATION_DATA, MESSAGE_EXPIRY, PAYLOAD_FORMAT, RESPONSE_TOPIC, WILL_DELAY, With,
    disconnect5,
};
use crate::harness::{Broker, Connect5, Publish5, Wire};

/// A broker and a client that watches `#` with QoS 2.
fn watched() -> (Broker, Wire) {
    let broker = Broker::start();
    let mut watcher = Wire::client5(&broker, "watcher");
    watcher.subscribe5("#", 2);
    (broker, watcher)
}

/// A client with a will of QoS 1 on `will`.
fn mortal(payload: &str) -> Connect5 {
    Connect5::new("mortal").will(Publish5::new("will", payload).qos(1, 0))
}

/// [MQTT-3.1.2-7], [MQTT-3.1.2-8]: the socket is lost, the client is silent, the protocol is broken, the
/// client says itself that something is wrong.
#[test]
fn will_is_published_on_every_end_but_a_normal_one() {
    let (broker, mut watcher) = watched();
    Wire::connect5(&broker, &mortal("cut")).cut();
    watcher.take5("cut");
    Wire::connect5(&broker, &mortal("silent").keep_alive(1)).expect_disconnect(0x8D);
    watcher.take5("silent");
    for (payload, breach, code) in [
        ("type 0", vec![0x00, 0], 0x81),
        ("second CONNECT", Connect5::new("mortal").bytes(), 0x82),
        ("DISCONNECT with flags", vec![0xE1, 0], 0x81),
    ] {
        let mut wire = Wire::connect5(&broker, &mortal(payload));
        wire.send(breach);
        wire.expect_disconnect(code);
        watcher.take5(payload);
    }
    for code in [0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x95, 0x97, 0x99] {
        Wire::connect5(&broker, &mortal("error")).disconnect5(code);
        watcher.take5("error");
    }
    watcher.expect_nothing_but_pong();
}

/// §3.14.2.1: DISCONNECT with 0x04 asks for the will.
#[test]
fn disconnect_may_ask_for_the_will() {
    let (broker, mut watcher) = watched();
    Wire::connect5(&broker, &mortal("1")).disconnect5(0x04);
    watcher.take5("1");
    watcher.expect_nothing_but_pong();
}

/// [MQTT-3.14.4-3], [MQTT-3.1.2-8], [MQTT-3.1.2-10]: not after DISCONNECT with code 0, which may be left out.
#[test]
fn will_is_discarded_by_a_normal_disconnect() {
    let (broker, mut watcher) = watched();
    for disconnect in
        [vec![0xE0, 0], vec![0xE0, 1, 0], vec![0xE0, 2, 0, 0], disconnect5(0).pair("n", "v").bytes()]
    {
        let mut client = Wire::connect5(&broker, &mortal("never").persistent(60));
        client.send(disconnect);
        client.expect_closed();
        // It belongs to the connection, not to the session.
        Wire::resume5(&broker, &Connect5::new("mortal").keep_session()).cut();
        watcher.expect_nothing_but_pong();
    }
}

/// [MQTT-3.1.2-10]: once published it is gone.
#[test]
fn will_is_published_once() {
    let (broker, mut watcher) = watched();
    Wire::connect5(&broker, &mortal("1").persistent(60)).cut();
    watcher.take5("1");
    Wire::resume5(&broker, &Connect5::new("mortal").persistent(60)).cut();
    Wire::resume5(&broker, &mortal("2").persistent(60)).cut();
    watcher.take5("2");
    watcher.expect_nothing_but_pong();
}

/// [MQTT-3.1.2-12], [MQTT-3.1.2-14], [MQTT-3.1.2-15]: it has the QoS that it was given, and is retained if it
/// says so, and else not.
#[test]
fn will_has_its_qos_and_its_retain() {
    let (broker, mut watcher) = watched();
    for qos in 0..=2 {
        for retain in [false, true] {
            let will = Publish5::new("will", "1").qos(qos, 0);
            let will = if retain { will.retain() } else { will };
            Wire::connect5(&broker, &Connect5::new("mortal").will(will)).cut();
            let got = watcher.take5("1");
            assert!(got.qos == qos && !got.retain && !got.dup, "{got:?}");
            let mut late = Wire::client5(&broker, "late");
            late.subscribe5("will", 2);
            if retain {
                assert!(late.take5("1").retain);
                late.publish5(&Publish5::new("will", "").retain());
                assert!(late.expect_publish5().payload.is_empty());
                assert!(watcher.expect_publish5().payload.is_empty());
            }
            late.expect_nothing_but_pong();
            late.disconnect5(0);
        }
    }
}

/// [MQTT-3.1.2-9]: its payload is any bytes, none among them.
#[test]
fn will_payload_is_any_bytes() {
    let (broker, mut watcher) = watched();
    for payload in [vec![], vec![0, 0xFF, 0xC3], vec![b'x'; 65_535]] {
        Wire::connect5(&broker, &Connect5::new("mortal").will(Publish5::new("will", &payload))).cut();
        assert_eq!(watcher.expect_publish5().payload, payload);
    }
}

/// [MQTT-3.1.3-10], [MQTT-3.3.2-18]: its properties come with it, user properties in their order, but for
/// the delay.
#[test]
fn will_has_its_properties() {
    let (broker, mut watcher) = watched();
    let will = Publish5::new("will", "text")
        .qos(1, 0)
        .pair("z", "1")
        .with(PAYLOAD_FORMAT, 1)
        .pair("a", "2")
        .with(MESSAGE_EXPIRY, 1000)
        .with(CONTENT_TYPE, "text/plain")
        .with(WILL_DELAY, 0)
        .with(RESPONSE_TOPIC, "answers")
        .pair("z", "1")
        .with(CORRELATION_DATA, [0, 0xFF]);
    Wire::connect5(&broker, &Connect5::new("mortal").will(will)).cut();
    let got = watcher.take5("text").properties;
    let pairs = [("z", "1"), ("a", "2"), ("z", "1")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(got.pairs(), pairs);
    assert_eq!(got.number(PAYLOAD_FORMAT), Some(1));
    assert!((990..=1000).contains(&got.number(MESSAGE_EXPIRY).unwrap()), "{got:?}");
    assert_eq!(got.text(CONTENT_TYPE).as_deref(), Some("text/plain"));
    assert_eq!(got.text(RESPONSE_TOPIC).as_deref(), Some("answers"));
    assert_eq!(got.data(CORRELATION_DATA), Some(vec![0, 0xFF]));
    assert_eq!(got.ids().len(), 8, "{got:?}");
}

/// §3.1.2.5, §3.3.5: one that its client may not publish is dropped when it is due.
#[test]
fn will_without_permission_is_dropped() {
    let broker = Broker::with_config(
        "[[acl]]\nclient = \"watcher\"\naccess = \"all\"\ntopics = [\"#\"]\n\
         [[acl]]\naccess = \"publish\"\ntopics = [\"open\"]\n",
    );
    let mut watcher = Wire::client5(&broker, "watcher");
    watcher.subscribe5("#", 1);
    Wire::connect5(&broker, &mortal("never")).cut();
    Wire::connect5(&broker, &Connect5::new("mortal").will(Publish5::new("open", "1"))).cut();
    watcher.take5("1");
    watcher.expect_nothing_but_pong();
}

/// §3.1.3.2.3: one that says that its payload is UTF-8 when it is not is dropped when it is due, with a word
/// in the log, and counted.
#[test]
fn will_of_another_format_is_dropped() {
    let broker = Broker::with_config(REPORTS);
    let mut watcher = Wire::client5(&broker, "watcher");
    watcher.subscribe5("#", 1);
    for (n, delay) in [0, 1].into_iter().enumerate() {
        let will = Publish5::new("will", [0xFF]).with(PAYLOAD_FORMAT, 1).with(WILL_DELAY, delay).retain();
        Wire::connect5(&broker, &Connect5::new("mortal").persistent(60).will(will)).cut();
        let refused = |line: &LogLine| line.field("reason") == Some("payload-format");
        let line = broker.log().nth_line(n, refused);
        assert_eq!((line.level(), line.field("client")), ("WARN", Some("mortal")), "{}", line.text);
        Wire::resume5(&broker, &Connect5::new("mortal").keep_session()).disconnect5(0);
    }
    await_report(&broker, "refused/payload-format", 2);
    watcher.expect_nothing_but_pong();
    let mut late = Wire::client5(&broker, "late");
    late.subscribe5("#", 1);
    late.expect_nothing_but_pong();
}
