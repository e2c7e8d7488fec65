//! The confidential mark stays with a message wherever it is kept meanwhile. Each way is looked at by four
//! clients: one on plaintext, which sees nothing; one on TLS, which sees the plaintext; and one on plaintext
//! with a key, which gets an envelope where the policy lets one leave, and nothing where it does not.

use super::egress::{Reader, TOPIC, rules};
use super::{Plant, setup};
use crate::harness::packets::{puback, pubrec};
use crate::harness::{Broker, Connect, Publish, Wire};

/// Sealed too, and for secure connections alone.
const STRICT: &str = "strict/7/level";

fn start() -> Plant {
    Plant::of(setup().config(&rules()).start())
}

/// A sealed message that the broker has taken over.
fn publish(plant: &Plant, topic: &str, text: &str, qos: u8, retain: bool) {
    let publish = Publish { retain, ..Publish::new(topic, plant.seal(topic, text)).qos(qos, 1) };
    Wire::client(&plant.broker, "sender").publish(&publish);
}

/// Subscribes to everything that a client of each kind may, over TLS.
fn subscribed(broker: &Broker, name: &str) -> (Connect, Wire) {
    let connect = Connect::new(name).persistent();
    let mut wire = Wire::open_tls(broker).connected(&connect, false);
    wire.subscribe("#", 2);
    (connect, wire)
}

#[test]
fn retained() {
    let plant = start();
    publish(&plant, TOPIC, "kept", 1, true);
    publish(&plant, STRICT, "kept strictly", 1, true);
    let mut open = Wire::client(&plant.broker, "open");
    open.subscribe("#", 1);
    open.expect_nothing_but_pong();
    let mut panel = Wire::client(&plant.broker, "panel");
    panel.subscribe("#", 1);
    assert!(Reader::new(&plant.broker, "panel").take(&mut panel, "kept").retain);
    panel.expect_nothing_but_pong();
    let mut secure = Wire::client_tls(&plant.broker, "secure");
    secure.subscribe("#", 1);
    assert!(secure.take("kept").retain && secure.take("kept strictly").retain);
}

#[test]
fn queued() {
    let plant = start();
    let connects = ["open", "panel", "secure"].map(|name| {
        let (connect, wire) = subscribed(&plant.broker, name);
        wire.disconnect();
        connect
    });
    for (text, qos) in [("one", 1), ("two", 2)] {
        publish(&plant, TOPIC, text, qos, false);
        publish(&plant, STRICT, &format!("{text} strictly"), qos, false);
    }
    let [open, panel, secure] = connects;
    Wire::resume(&plant.broker, &open).expect_nothing_but_pong();
    let (mut panel, reader) = (Wire::resume(&plant.broker, &panel), Reader::new(&plant.broker, "panel"));
    for (text, qos) in [("one", 1), ("two", 2)] {
        assert_eq!(reader.take(&mut panel, text).qos, qos);
    }
    panel.expect_nothing_but_pong();
    let mut secure = Wire::open_tls(&plant.broker).connected(&secure, true);
    for text in ["one", "one strictly", "two", "two strictly"] {
        secure.take(text);
    }
}

#[test]
fn will() {
    let plant = start();
    let mut live = ["open", "panel"].map(|name| {
        let mut wire = Wire::client(&plant.broker, name);
        wire.subscribe("#", 1);
        wire
    });
    let mut secure = Wire::client_tls(&plant.broker, "secure");
    secure.subscribe("#", 1);
    for (topic, text) in [(STRICT, "gone strictly"), (TOPIC, "gone")] {
        let will = Publish::new(topic, plant.seal(topic, text)).qos(1, 0).retain();
        Wire::connect(&plant.broker, &Connect::new("mortal").will(will)).cut();
        secure.take(text);
    }
    let reader = Reader::new(&plant.broker, "panel");
    let [open, panel] = &mut live;
    open.expect_nothing_but_pong();
    reader.take(panel, "gone");
    panel.expect_nothing_but_pong();
    // It is retained with its mark.
    open.subscribe("#", 1);
    open.expect_nothing_but_pong();
    panel.subscribe("#", 1);
    assert!(reader.take(panel, "gone").retain);
    panel.expect_nothing_but_pong();
}

/// What was on its way on the old connection comes on the new one as that may have it, or not at all.
#[test]
fn take_over() {
    let plant = start();
    let [open, panel, secure] = ["open", "panel", "secure"].map(|name| subscribed(&plant.broker, name));
    for qos in 1..=2 {
        publish(&plant, TOPIC, "on its way", qos, false);
        publish(&plant, STRICT, "strictly", qos, false);
    }
    let texts = ["on its way", "strictly", "on its way", "strictly"];
    let in_flight = |(connect, mut wire): (Connect, Wire)| {
        let first = texts.map(|text| {
            let publish = wire.expect_publish();
            assert_eq!(publish.text(), text);
            publish
        });
        (connect, wire, first)
    };
    let (open, _open, _) = in_flight(open);
    Wire::resume(&plant.broker, &open).expect_nothing_but_pong();
    let (secure, _secure, first) = in_flight(secure);
    let mut again = Wire::open_tls(&plant.broker).connected(&secure, true);
    for first in first {
        assert_eq!(again.expect_publish(), first.dup());
    }
    let (panel, _panel, first) = in_flight(panel);
    let (mut again, reader) = (Wire::resume(&plant.broker, &panel), Reader::new(&plant.broker, "panel"));
    let resent = [&first[0], &first[2]].map(|first| {
        let publish = again.expect_publish();
        assert_eq!(reader.open(TOPIC, &publish.payload).as_deref(), Ok("on its way"));
        assert_eq!((publish.dup, publish.id, publish.qos), (true, first.id, first.qos));
        publish
    });
    again.expect_nothing_but_pong();
    // And back: over TLS the same exchange goes on in plain.
    let mut back = Wire::open_tls(&plant.broker).connected(&panel, true);
    for (resent, answer) in resent.iter().zip([puback, pubrec]) {
        let publish = back.expect_publish();
        assert_eq!((publish.text(), publish.id, publish.dup), ("on its way", resent.id, true));
        back.send(answer(publish.id));
    }
}
