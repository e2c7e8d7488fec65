//! SUBSCRIBE and SUBACK (§3.8, §3.9).

use super::assert_breach;
use crate::harness::packets::{packet, suback, subscribe};
use crate::harness::{Broker, Publish, Wire};

/// [MQTT-3.8.4-1], [MQTT-3.8.4-2], [MQTT-2.3.1-7]: SUBACK with the id of the SUBSCRIBE.
#[test]
fn suback_has_the_id_of_subscribe() {
    let broker = Broker::start();
    let mut client = Wire::client(&broker, "c");
    for id in [1, 0x0102, 65_535] {
        client.send(subscribe(id, &[("a", 0)]));
        client.expect(suback(id, &[0]));
    }
}

/// [MQTT-3.8.4-4], [MQTT-3.8.4-5], [MQTT-3.9.3-1], [MQTT-3.9.3-2]: one code for each filter, in order.
#[test]
fn suback_has_a_code_for_each_filter_in_order() {
    let broker = Broker::start();
    let mut client = Wire::client(&broker, "c");
    client.send(subscribe(1, &[("a", 2), ("b", 0), ("bad#", 1), ("c", 1), ("", 0), ("a", 1)]));
    client.expect(suback(1, &[2, 0, 0x80, 1, 0x80, 1]));
}

/// [MQTT-3.8.4-4]: many filters in one packet are like many packets.
#[test]
fn thousand_filters_in_one_packet_all_count() {
    let broker = Broker::start();
    let mut client = Wire::client(&broker, "c");
    let filters: Vec<_> = (0..1000).map(|n| format!("t/{n}")).zip([0, 1, 2].into_iter().cycle()).collect();
    client.send(subscribe(1, &filters));
    client.expect(suback(1, &filters.iter().map(|(_, qos)| *qos).collect::<Vec<_>>()));
    let mut sender = Wire::client(&broker, "sender");
    for (n, (topic, qos)) in filters.iter().enumerate().step_by(97) {
        sender.publish(&Publish::new(topic, n.to_string()).qos(2, 1));
        assert_eq!(client.take(&n.to_string()).qos, *qos);
    }
}

/// §3.9.3: 0x80 for what is no filter; the connection and the other filters live on.
#[test]
fn bad_filters_are_refused_with_0x80() {
    let broker = Broker::start();
    let mut client = Wire::client(&broker, "c");
    let too_deep = "/".repeat(128);
    for filter in ["", "a+", "+a", "a/b+", "#/a", "a#", "a/#b", "a/#/b", "##", "++", "+#", "#+", &too_deep] {
        client.send(subscribe(1, &[(filter, 1), ("good", 1)]));
        client.expect(suback(1, &[0x80, 1]));
    }
    client.publish(&Publish::new("good", "1").qos(1, 1));
    client.take("1");
}

/// `limits.subscriptions_per_client_max`: one more is refused with 0x80, replacing one is not.
#[test]
fn too_many_subscriptions_are_refused_with_0x80() {
    let broker = Broker::with_config("[limits]\nsubscriptions_per_client_max = 2");
    let mut client = Wire::client(&broker, "c");
    client.send(subscribe(1, &[("a", 1), ("b", 1), ("c", 1), ("a", 2)]));
    client.expect(suback(1, &[1, 1, 0x80, 2]));
    client.publish(&Publish::new("c", "1").qos(1, 1));
    client.expect_nothing_but_pong();
}

/// [MQTT-3.8.4-3]: the same filter again replaces the subscription.
#[test]
fn same_filter_again_replaces_the_subscription() {
    let broker = Broker::start();
    let mut client = Wire::client(&broker, "c");
    let mut sender = Wire::client(&broker, "sender");
    for qos in [0, 2, 1, 0] {
        client.subscribe("a/+", qos);
        sender.publish(&Publish::new("a/b", "1").qos(2, 1));
        assert_eq!(client.take("1").qos, qos);
        client.expect_nothing_but_pong();
    }
}

/// [MQTT-3.8.4-3]: what flows is not interrupted when a subscription is replaced.
#[test]
fn replacing_a_subscription_interrupts_nothing() {
    let broker = Broker::start();
    let mut client = Wire::client(&broker, "c");
    client.subscribe("a", 1);
    let mut sender = Wire::client(&broker, "sender");
    for n in 0..200 {
        sender.send(Publish::new("a", n.to_string()).qos(1, 1 + n).bytes());
        client.send(subscribe(1, &[("a", 1)]));
        client.expect_answer(suback(1, &[1]));
    }
    for n in 0..200 {
        client.take(&n.to_string());
    }
}

/// [MQTT-3.3.5-1]: overlapping subscriptions give one delivery, at the highest QoS.
#[test]
fn overlapping_subscriptions_deliver_once_at_the_highest_qos() {
    let broker = Broker::start();
    let mut client = Wire::client(&broker, "c");
    for (filter, qos) in [("#", 0), ("a/+", 2), ("a/b", 1), ("+/b/#", 0)] {
        client.subscribe(filter, qos);
    }
    let mut sender = Wire::client(&broker, "sender");
    for (topic, sent, delivered) in
        [("a/b", 2, 2), ("a/b", 1, 1), ("x/b", 2, 0), ("a/c", 2, 2), ("a/b", 0, 0)]
    {
        sender.publish(&Publish::new(topic, "1").qos(sent, 1));
        assert_eq!(client.take("1").qos, delivered, "{topic} at {sent}");
        client.expect_nothing_but_pong();
    }
}

/// [MQTT-3.8.3-3]: a SUBSCRIBE has a filter.
#[test]
fn subscribe_without_filter_closes() {
    assert_breach(&Broker::start(), subscribe::<&str>(1, &[]), "MQTT-3.8.3-3");
}

/// [MQTT-3.8.3-4]: a requested QoS is 0, 1 or 2, and its other bits are 0.
#[test]
fn requested_qos_that_is_none_closes() {
    let broker = Broker::start();
    for qos in [3, 4, 0x10, 0x80, 0x81] {
        assert_breach(&broker, subscribe(1, &[("a", 1), ("b", qos)]), "MQTT-3.8.3-4");
    }
}

/// [MQTT-3.8.3-1], [MQTT-1.5.3-1]: filters are UTF-8.
#[test]
fn filter_that_is_not_utf8_closes() {
    let broker = Broker::start();
    for filter in [&b"a\xFF"[..], b"\xED\xBF\xBF", b"+/\xC3"] {
        assert_breach(&broker, subscribe(1, &[(filter, 1)]), "MQTT-1.5.3-1");
    }
}

/// [MQTT-2.3.1-1]: the packet id is not 0.
#[test]
fn subscribe_with_id_0_closes() {
    assert_breach(&Broker::start(), subscribe(0, &[("a", 0)]), "MQTT-2.3.1-1");
}

/// §3.8.3: filters and their QoS are whole.
#[test]
fn subscribe_cut_short_closes() {
    let broker = Broker::start();
    for body in [&[][..], &[0], &[0, 1, 0], &[0, 1, 0, 5, b'a'], &[0, 1, 0, 1, b'a']] {
        assert_breach(&broker, packet(0x82, body), "§2.2.3");
    }
}

/// [MQTT-3.8.4-1]: a subscription holds from its SUBACK on, for all who publish after it.
#[test]
fn subscription_holds_from_its_suback_on() {
    let broker = Broker::start();
    let mut sender = Wire::client(&broker, "sender");
    for n in 0..50 {
        let mut client = Wire::client(&broker, &format!("c{n}"));
        client.subscribe("a", 0);
        sender.publish(&Publish::new("a", "1"));
        client.take("1");
    }
}
