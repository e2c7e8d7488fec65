//! SUBACK (§3.9): a code for each filter, whatever becomes of it; the connection lives.

use crate::encryption;
use crate::harness::packets5::{
    Answer, MAXIMUM_PACKET_SIZE, MAXIMUM_QOS, REASON_STRING, REQUEST_PROBLEM, SUBACK, SUBSCRIPTION_ID, With,
    subscribe5,
};
use crate::harness::{Broker, Connect5, Publish5, Wire};

/// Everybody may read `open` and publish, no more.
const RULES: &str = r##"
[[acl]]
access = "subscribe"
topics = ["open/#"]
[[acl]]
access = "publish"
topics = ["#"]
"##;

/// Subscribes to these filters with QoS 1, and expects these codes.
#[track_caller]
fn assert_codes(client: &mut Wire, filters: &[(&str, u8)]) {
    let asked: Vec<_> = filters.iter().map(|(filter, _)| (filter, 1)).collect();
    client.send(subscribe5(7, &asked).bytes());
    let codes: Vec<u8> = filters.iter().map(|(_, code)| *code).collect();
    assert_eq!(client.await_answer(SUBACK, 7).codes, codes, "{filters:?}");
}

/// [MQTT-3.8.4-6], [MQTT-3.8.4-7], [MQTT-3.9.3-1], [MQTT-3.9.3-2]: one code for each filter, in their
/// order: the QoS granted, or why not.
#[test]
fn suback_has_a_code_for_each_filter_in_order() {
    let broker = Broker::start();
    let mut client = Wire::client5(&broker, "c");
    client.send(subscribe5(1, &[("a", 2), ("b", 0), ("bad#", 1), ("c", 1), ("", 0), ("a", 1)]).bytes());
    assert_eq!(client.await_answer(SUBACK, 1).codes, [2, 0, 0x8F, 1, 0x8F, 1]);
    client.publish5(&Publish5::new("c", "1").qos(1, 1));
    client.take5("1");
}

/// [MQTT-3.9.3-2]: 0x8F for what is no filter.
#[test]
fn bad_filters_are_refused_with_0x8f() {
    let broker = Broker::start();
    let mut client = Wire::client5(&broker, "c");
    for filter in ["", "a+", "+a", "a/b+", "#/a", "a#", "a/#b", "a/#/b", "##", "++", "+#", "#+"] {
        assert_codes(&mut client, &[(filter, 0x8F), ("good", 1)]);
    }
    client.publish5(&Publish5::new("good", "1").qos(1, 1));
    client.take5("1");
}

/// [MQTT-3.8.4-7], [MQTT-3.9.3-2]: 0x87 for what the client may not read, shared or not.
#[test]
fn subscribe_without_permission_is_refused_with_0x87() {
    let broker = Broker::with_config(RULES);
    let mut client = Wire::client5(&broker, "c");
    assert_codes(
        &mut client,
        &[("open/a", 1), ("closed", 0x87), ("#", 0x87), ("$share/g/open/b", 1), ("$share/g/closed", 0x87)],
    );
    for topic in ["closed", "open/a", "open/b"] {
        client.publish5(&Publish5::new(topic, topic).qos(1, 1));
    }
    client.take5("open/a");
    client.take5("open/b");
    client.expect_nothing_but_pong();
}

/// [MQTT-3.9.3-2]: 0x87 on a plaintext connection for what lies wholly under sealed topics.
#[test]
fn sealed_topics_are_refused_on_plaintext_with_0x87() {
    let broker = encryption::start();
    let filters = ["plant/#", "plant/7/level", "$share/g/plant/+", "#", "plain"];
    let mut plain = Wire::client5(&broker, "plain");
    assert_codes(&mut plain, &std::array::from_fn::<_, 5, _>(|n| (filters[n], [0x87, 0x87, 0x87, 1, 1][n])));
    let mut secure = Wire::open_tls(&broker);
    secure.send(Connect5::new("secure").bytes());
    secure.expect_connack(0);
    assert_codes(&mut secure, &filters.map(|filter| (filter, 1)));
}

/// [MQTT-3.9.3-2]: `limits.subscriptions_per_client_max`: 0x97 for one more; replacing one is none more.
#[test]
fn too_many_subscriptions_are_refused_with_0x97() {
    let broker = Broker::with_config("[limits]\nsubscriptions_per_client_max = 2");
    let mut client = Wire::client5(&broker, "c");
    assert_codes(&mut client, &[("a", 1), ("$share/g/b", 1), ("c", 0x97), ("$share/h/b", 0x97), ("a", 1)]);
    client.publish5(&Publish5::new("c", "1").qos(1, 1));
    client.expect_nothing_but_pong();
}

/// [MQTT-3.8.4-7]: `mqtt.qos_max`: no more is granted, and no more is sent.
#[test]
fn granted_qos_is_no_more_than_the_server_has() {
    for qos_max in 0..=2 {
        let broker = Broker::with_config(&format!("[mqtt]\nqos_max = {qos_max}"));
        let (mut client, connack) = Wire::greet5(&broker, &Connect5::new("c"));
        let said = (qos_max < 2).then_some(u32::from(qos_max));
        assert_eq!(connack.properties.number(MAXIMUM_QOS), said, "{connack:?}");
        client.send(subscribe5(1, &[("a", 0), ("b", 1), ("c", 2), ("$share/g/d", 2)]).bytes());
        let granted = [0, 1.min(qos_max), qos_max, qos_max];
        assert_eq!(client.await_answer(SUBACK, 1).codes, granted);
        client.publish5(&Publish5::new("c", "1").qos(qos_max, 1));
        assert_eq!(client.take5("1").qos, qos_max);
    }
}

/// Subscribes: the filter is refused with `code` in its place, which SUBACK has for it (§3.9.3), and the
/// connection lives.
#[track_caller]
fn assert_not_supported(config: &str, subscribe: &[u8], code: u8) {
    let broker = Broker::with_config(&format!("[mqtt]\n{config}"));
    let mut client = Wire::client5(&broker, "c");
    client.subscribe5("a", 1);
    client.send(subscribe);
    let answer = Answer::parse(&client.receive());
    assert_eq!((answer.first, answer.id, answer.code()), (SUBACK, 7, code), "{answer:02x?}");
    client.publish5(&Publish5::new("a", "1").qos(1, 1));
    client.take5("1");
    client.expect_nothing_but_pong();
}

/// [MQTT-3.9.3-2], §3.2.2.3.13: `mqtt.shared_subscriptions = false`: 0x9E.
#[test]
fn shared_subscriptions_can_be_turned_off() {
    assert_not_supported("shared_subscriptions = false", &subscribe5(7, &[("$share/g/a", 1)]).bytes(), 0x9E);
}

/// [MQTT-3.9.3-2], §3.2.2.3.12: `mqtt.subscription_identifiers = false`: 0xA1.
#[test]
fn subscription_identifiers_can_be_turned_off() {
    let subscribe = subscribe5(7, &[("b", 1)]).with(SUBSCRIPTION_ID, 1);
    assert_not_supported("subscription_identifiers = false", &subscribe.bytes(), 0xA1);
}

/// [MQTT-3.9.3-2], §3.2.2.3.11: `mqtt.wildcard_subscriptions = false`: 0xA2.
#[test]
fn wildcard_subscriptions_can_be_turned_off() {
    for filter in ["#", "+", "a/+", "b/#", "$share/g/a/#"] {
        let subscribe = subscribe5(7, &[(filter, 1)]).bytes();
        assert_not_supported("wildcard_subscriptions = false", &subscribe, 0xA2);
    }
}

/// [MQTT-3.9.2-1], [MQTT-3.9.2-2]: a SUBACK is no larger than the client takes, with or without reason
/// string and user properties; and it has none for a client that asked for no problem information.
#[test]
fn suback_is_no_larger_than_the_client_takes() {
    const BYTES_MAX: usize = 20;
    let broker = Broker::with_config(RULES);
    let connect = Connect5::new("c").with(MAXIMUM_PACKET_SIZE, u32::try_from(BYTES_MAX).unwrap());
    let mut client = Wire::connect5(&broker, &connect);
    client.send(subscribe5(7, &[("closed", 1), ("bad#", 1), ("open", 1)]).bytes());
    let packet = client.receive();
    assert!(packet.len() <= BYTES_MAX, "{packet:02x?}");
    assert_eq!(Answer::parse(&packet).codes, [0x87, 0x8F, 1]);
    let mut client = Wire::connect5(&broker, &Connect5::new("d").with(REQUEST_PROBLEM, 0));
    client.send(subscribe5(7, &[("closed", 1)]).bytes());
    assert_eq!(client.expect_reason(SUBACK, 7, 0x87).properties.text(REASON_STRING), None);
}
