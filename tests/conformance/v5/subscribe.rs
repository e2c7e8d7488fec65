//! SUBSCRIBE (§3.8): its filters, and what of it is malformed. Options and identifiers have chapters of
//! their own.

use super::assert_disconnected;
use super::steps::numbers;
use crate::harness::packets::packet;
use crate::harness::packets5::{PUBACK, SUBACK, SUBSCRIPTION_ID, WILL_DELAY, With, subscribe5};
use crate::harness::{Broker, Publish5, Wire};

/// [MQTT-3.8.4-1], [MQTT-3.8.4-2]: SUBACK with the id of the SUBSCRIBE.
#[test]
fn suback_has_the_id_of_subscribe() {
    let broker = Broker::start();
    let mut client = Wire::client5(&broker, "c");
    for id in [1, 0x0102, 65_535] {
        client.send(subscribe5(id, &[("a", 0)]).pair("name", "value").bytes());
        client.expect_reason(SUBACK, id, 0);
    }
}

/// [MQTT-3.8.4-1]: a subscription holds from its SUBACK on, for all who publish after it.
#[test]
fn subscription_holds_from_its_suback_on() {
    let broker = Broker::start();
    let mut sender = Wire::client5(&broker, "sender");
    for n in 0..50 {
        let mut client = Wire::client5(&broker, &format!("c{n}"));
        client.subscribe5("a", 0);
        sender.publish5(&Publish5::new("a", "1"));
        client.take5("1");
    }
}

/// [MQTT-3.8.4-5]: many filters in one packet are like many packets.
#[test]
fn filters_of_one_packet_all_count() {
    let broker = Broker::start();
    let mut client = Wire::client5(&broker, "c");
    let filters: Vec<_> = (0..300).map(|n| format!("t/{n}")).zip([0, 1, 2].into_iter().cycle()).collect();
    client.send(subscribe5(1, &filters).bytes());
    let granted: Vec<u8> = filters.iter().map(|(_, qos)| *qos).collect();
    assert_eq!(client.await_answer(SUBACK, 1).codes, granted);
    let mut sender = Wire::client5(&broker, "sender");
    for (topic, qos) in filters.iter().step_by(37) {
        sender.publish5(&Publish5::new(topic, topic).qos(2, 1));
        assert_eq!(client.take5(topic).qos, *qos);
    }
}

/// [MQTT-3.8.4-3]: the same filter again replaces the subscription, with QoS, options and identifier.
#[test]
fn same_filter_again_replaces_the_subscription() {
    const RETAIN_AS_PUBLISHED: u8 = 0x08;
    let broker = Broker::start();
    let mut client = Wire::client5(&broker, "c");
    let mut sender = Wire::client5(&broker, "sender");
    for (qos, as_published, number) in
        [(0, false, None), (2, true, Some(7)), (1, true, Some(8)), (2, false, None), (0, true, None)]
    {
        // Retain handling 2: none of those that are kept.
        let options = qos | 0x20 | if as_published { RETAIN_AS_PUBLISHED } else { 0 };
        let subscribe = subscribe5(1, &[("a/+", options)]);
        let subscribe = number.map_or(subscribe.clone(), |n| subscribe.with(SUBSCRIPTION_ID, n));
        client.send(subscribe.bytes());
        client.expect_reason(SUBACK, 1, qos);
        sender.publish5(&Publish5::new("a/b", "1").qos(2, 1).retain());
        let publish = client.take5("1");
        assert_eq!((publish.qos, publish.retain), (qos, as_published));
        assert_eq!(publish.properties.subscription_ids(), Vec::from_iter(number));
        client.expect_nothing_but_pong();
    }
}

/// [MQTT-3.8.4-3]: no local is replaced as well.
#[test]
fn no_local_is_replaced_too() {
    let broker = Broker::start();
    let mut client = Wire::client5(&broker, "c");
    for (options, own) in [(1, true), (1 | 0x04, false), (1, true)] {
        client.subscribe5("a", options);
        client.publish5(&Publish5::new("a", "1").qos(1, 1));
        if own {
            client.take5("1");
        }
        client.expect_nothing_but_pong();
    }
}

/// [MQTT-3.8.4-4]: what flows is not interrupted when a subscription is replaced.
#[test]
fn replacing_a_subscription_loses_nothing() {
    let broker = Broker::start();
    let mut client = Wire::client5(&broker, "c");
    client.subscribe5("a", 1);
    let mut sender = Wire::client5(&broker, "sender");
    let payloads = numbers(0..200);
    for (id, payload) in (1..).zip(&payloads) {
        sender.send(Publish5::new("a", payload).qos(1, id).bytes());
        client.send(subscribe5(1, &[("a", 1)]).with(SUBSCRIPTION_ID, u32::from(id)).bytes());
        assert_eq!(client.await_answer(SUBACK, 1).codes, [1]);
        sender.expect_reason(PUBACK, id, 0);
    }
    for payload in &payloads {
        client.take5(payload);
    }
    client.expect_nothing_but_pong();
}

/// [MQTT-3.8.4-8]: the smaller of the QoS published and the QoS granted.
#[test]
fn delivery_has_the_smaller_qos() {
    let broker = Broker::start();
    let mut client = Wire::client5(&broker, "c");
    let mut sender = Wire::client5(&broker, "sender");
    for granted in 0..=2 {
        client.subscribe5("a", granted);
        for sent in 0..=2 {
            sender.publish5(&Publish5::new("a", "1").qos(sent, 1));
            assert_eq!(client.take5("1").qos, sent.min(granted));
        }
    }
}

/// [MQTT-3.8.3-2]: a SUBSCRIBE has a filter.
#[test]
fn subscribe_without_filter_closes() {
    let broker = Broker::start();
    assert_disconnected(&broker, subscribe5::<&str>(1, &[]).bytes(), 0x82);
}

/// §3.8.3.1: a QoS is 0, 1 or 2, and a retain handling too.
#[test]
fn options_without_meaning_close() {
    let broker = Broker::start();
    for options in [0x03, 0x30, 0x31, 0x33, 0x0F] {
        assert_disconnected(&broker, subscribe5(1, &[("a", 1), ("b", options)]).bytes(), 0x82);
    }
}

/// [MQTT-3.8.3-5]: the upper two bits of the options are reserved.
#[test]
fn reserved_option_bits_close() {
    let broker = Broker::start();
    for options in [0x40, 0x80, 0xC1, 0x42] {
        assert_disconnected(&broker, subscribe5(1, &[("a", 1), ("b", options)]).bytes(), 0x81);
    }
}

/// [MQTT-3.8.3-1]: filters are UTF-8, without U+0000.
#[test]
fn filter_that_is_not_utf8_closes() {
    let broker = Broker::start();
    for filter in [&b"a\xFF"[..], b"\xED\xBF\xBF", b"+/\xC3", b"a\0b"] {
        assert_disconnected(&broker, subscribe5(1, &[(&b"good"[..], 1), (filter, 1)]).bytes(), 0x81);
    }
}

/// [MQTT-3.8.1-1]: SUBSCRIBE has the flags 0010.
#[test]
fn subscribe_with_other_flags_closes() {
    let broker = Broker::start();
    for flags in (0..16).filter(|flags| *flags != 2) {
        assert_disconnected(&broker, packet(0x80 | flags, [0, 1, 0, 0, 1, b'a', 0]), 0x81);
    }
}

/// §3.8.2, §3.8.3: id, properties, filters and options are whole, and each property is one of SUBSCRIBE.
#[test]
fn malformed_subscribe_closes() {
    let broker = Broker::start();
    for body in [
        &[][..],
        &[0],
        &[0, 1],
        &[0, 1, 5, SUBSCRIPTION_ID, 1],
        &[0, 1, 1, SUBSCRIPTION_ID, 0, 1, b'a', 0],
        &[0, 1, 0, 0],
        &[0, 1, 0, 0, 5, b'a'],
        &[0, 1, 0, 0, 1, b'a'],
        &[0, 1, 0, 0, 1, b'a', 0, 0],
    ] {
        assert_disconnected(&broker, packet(0x82, body), 0x81);
    }
    assert_disconnected(&broker, subscribe5(1, &[("a", 0)]).with(WILL_DELAY, 1).bytes(), 0x81);
    assert_disconnected(&broker, subscribe5(1, &[("a", 0)]).raw([0x7E, 0]).bytes(), 0x81);
}
