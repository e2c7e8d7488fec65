//! UNSUBSCRIBE and UNSUBACK (§3.10, §3.11): a code for each filter, and what ends with them.

use super::assert_disconnected;
use super::steps::{taken, texts};
use crate::harness::packets::packet;
use crate::harness::packets5::{
    Answer, MAXIMUM_PACKET_SIZE, PUBACK, PUBCOMP, PUBREC, PUBREL, SUBACK, SUBSCRIPTION_ID, UNSUBACK, With,
    ack5, subscribe5, unsubscribe5,
};
use crate::harness::{Broker, Connect5, Publish5, Wire};

/// A broker, a client that has subscribed to these filters with QoS 2, and one that publishes.
fn subscribed(filters: &[&str]) -> (Broker, Wire, Wire) {
    let broker = Broker::start();
    let mut client = Wire::client5(&broker, "c");
    for filter in filters {
        client.subscribe5(filter, 2);
    }
    let sender = Wire::client5(&broker, "sender");
    (broker, client, sender)
}

/// Unsubscribes from these filters, and expects these codes.
#[track_caller]
fn assert_codes(client: &mut Wire, filters: &[(&str, u8)]) {
    let (filters, codes): (Vec<&str>, Vec<u8>) = filters.iter().copied().unzip();
    client.send(unsubscribe5(9, &filters).bytes());
    assert_eq!(client.await_answer(UNSUBACK, 9).codes, codes, "{filters:?}");
}

/// [MQTT-3.10.4-6], [MQTT-3.11.3-1], [MQTT-3.11.3-2]: one code for each filter, in their order: 0x00
/// where a subscription ended, 0x11 where there was none, 0x8F for what is no filter.
#[test]
fn unsuback_has_a_code_for_each_filter_in_order() {
    let (_broker, mut client, mut sender) = subscribed(&["a", "b/#", "c", "$share/g/a"]);
    assert_codes(
        &mut client,
        &[
            ("x", 0x11),
            ("a", 0x00),
            ("a#", 0x8F),
            ("b/#", 0x00),
            ("b/#", 0x11),
            ("", 0x8F),
            ("$share/g/a", 0x00),
            ("$share/g/", 0x8F),
        ],
    );
    for topic in ["a", "b/b", "c"] {
        sender.publish5(&Publish5::new(topic, topic).qos(1, 1));
    }
    client.take5("c");
    client.expect_nothing_but_pong();
}

/// [MQTT-3.10.4-4], [MQTT-3.10.4-5]: UNSUBACK with the id of the UNSUBSCRIBE, though nothing ended.
#[test]
fn unsuback_has_the_id_of_unsubscribe() {
    let (_broker, mut client, _) = subscribed(&[]);
    for id in [1, 0x0102, 65_535] {
        client.send(unsubscribe5(id, &["a"]).pair("name", "value").bytes());
        client.expect_reason(UNSUBACK, id, 0x11);
    }
}

/// [MQTT-3.10.4-1]: only the very same filter ends, byte by byte.
#[test]
fn only_the_very_same_filter_is_ended() {
    let (_broker, mut client, mut sender) = subscribed(&["a/b"]);
    let others = ["a/+", "#", "a/b/#", "A/b", "/a/b", "a/b/", "a", "+/b", "$share/g/a/b"];
    assert_codes(&mut client, &others.map(|filter| (filter, 0x11)));
    sender.publish5(&Publish5::new("a/b", "1").qos(1, 1));
    client.take5("1");
    assert_codes(&mut client, &[("a/b", 0)]);
    sender.publish5(&Publish5::new("a/b", "2").qos(1, 1));
    client.expect_nothing_but_pong();
}

/// [MQTT-3.10.4-1]: one of several that overlap ends alone, with its QoS and its identifier.
#[test]
fn overlapping_subscription_stays() {
    let (_broker, mut client, mut sender) = subscribed(&["a/+"]);
    client.send(subscribe5(1, &[("a/#", 1)]).with(SUBSCRIPTION_ID, 4).bytes());
    client.expect_reason(SUBACK, 1, 1);
    assert_codes(&mut client, &[("a/+", 0)]);
    sender.publish5(&Publish5::new("a/b", "1").qos(2, 1));
    let publish = client.take5("1");
    assert_eq!((publish.qos, publish.properties.subscription_ids()), (1, vec![4]));
    client.expect_nothing_but_pong();
}

/// [MQTT-3.10.4-2]: nothing new after UNSUBACK; other clients stay.
#[test]
fn unsubscribe_ends_the_subscription() {
    let (broker, mut client, mut sender) = subscribed(&["a"]);
    let mut other = Wire::client5(&broker, "other");
    other.subscribe5("a", 2);
    assert_codes(&mut client, &[("a", 0)]);
    for qos in 0..=2 {
        sender.publish5(&Publish5::new("a", "1").qos(qos, 1));
        other.take5("1");
    }
    client.expect_nothing_but_pong();
}

/// [MQTT-3.10.4-3]: a message of QoS 1 or 2 that the client was sent is finished.
#[test]
fn message_in_flight_is_finished() {
    let (broker, _, mut sender) = subscribed(&[]);
    let persistent = Connect5::new("p").persistent(300);
    let mut client = Wire::connect5(&broker, &persistent);
    client.subscribe5("a", 2);
    for qos in [1, 2] {
        sender.publish5(&Publish5::new("a", "1").qos(qos, 1));
    }
    let sent = [client.expect_publish5(), client.expect_publish5()];
    assert_codes(&mut client, &[("a", 0)]);
    client.cut();
    let mut client = Wire::resume5(&broker, &persistent);
    for publish in &sent {
        assert_eq!(client.expect_publish5(), publish.clone().dup());
    }
    client.send(ack5(PUBACK, sent[0].id, 0).bytes());
    client.send(ack5(PUBREC, sent[1].id, 0).bytes());
    client.expect_reason(PUBREL, sent[1].id, 0);
    client.send(ack5(PUBCOMP, sent[1].id, 0).bytes());
    client.expect_nothing_but_pong();
}

/// [MQTT-3.10.4-6]: many filters are like many packets, with one UNSUBACK.
#[test]
fn many_filters_are_ended_with_one_unsuback() {
    let filters: Vec<String> = (0..100).map(|n| format!("t/{n}")).collect();
    let names: Vec<&str> = filters.iter().map(String::as_str).collect();
    let (_broker, mut client, mut sender) = subscribed(&names);
    let ended: Vec<_> = names.iter().step_by(2).map(|name| (*name, 0)).collect();
    assert_codes(&mut client, &ended);
    for name in &names {
        sender.publish5(&Publish5::new(name, name).qos(1, 1));
    }
    let left: Vec<&str> = names.iter().skip(1).step_by(2).copied().collect();
    assert_eq!(texts(&taken(&mut client)), left);
}

/// [MQTT-3.11.2-1], [MQTT-3.11.2-2]: reason string and user properties are left out where they would make
/// the packet larger than the client takes.
#[test]
fn unsuback_is_no_larger_than_the_client_takes() {
    const BYTES_MAX: usize = 20;
    let broker = Broker::start();
    let connect = Connect5::new("c").with(MAXIMUM_PACKET_SIZE, u32::try_from(BYTES_MAX).unwrap());
    let mut client = Wire::connect5(&broker, &connect);
    client.send(unsubscribe5(9, &["a", "bad#"]).bytes());
    let packet = client.receive();
    assert!(packet.len() <= BYTES_MAX, "{packet:02x?}");
    assert_eq!(Answer::parse(&packet).codes, [0x11, 0x8F]);
}

/// [MQTT-3.10.3-2]: an UNSUBSCRIBE has a filter.
#[test]
fn unsubscribe_without_filter_closes() {
    assert_disconnected(&Broker::start(), unsubscribe5::<&str>(1, &[]).bytes(), 0x82);
}

/// [MQTT-3.10.3-1]: filters are UTF-8, without U+0000.
#[test]
fn filter_that_is_not_utf8_closes() {
    let broker = Broker::start();
    for filter in [&b"a\xFF"[..], b"\xED\xBF\xBF", b"+/\xC3", b"a\0b"] {
        assert_disconnected(&broker, unsubscribe5(1, &[&b"good"[..], filter]).bytes(), 0x81);
    }
}

/// [MQTT-3.10.1-1]: UNSUBSCRIBE has the flags 0010.
#[test]
fn unsubscribe_with_other_flags_closes() {
    let broker = Broker::start();
    for flags in (0..16).filter(|flags| *flags != 2) {
        assert_disconnected(&broker, packet(0xA0 | flags, [0, 1, 0, 0, 1, b'a']), 0x81);
    }
}

/// §3.10.2, §3.10.3: id, properties and filters are whole, and each property is one of UNSUBSCRIBE.
#[test]
fn malformed_unsubscribe_closes() {
    let broker = Broker::start();
    for body in [&[][..], &[0], &[0, 1], &[0, 1, 4, 0x26, 0], &[0, 1, 0, 0], &[0, 1, 0, 0, 5, b'a']] {
        assert_disconnected(&broker, packet(0xA2, body), 0x81);
    }
    assert_disconnected(&broker, unsubscribe5(1, &["a"]).with(SUBSCRIPTION_ID, 1).bytes(), 0x81);
}
