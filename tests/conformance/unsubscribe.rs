//! UNSUBSCRIBE and UNSUBACK (§3.10, §3.11).

use super::assert_breach;
use crate::harness::packets::{packet, unsuback, unsubscribe};
use crate::harness::{Broker, Publish, Wire};

/// [MQTT-3.10.4-2], [MQTT-3.10.4-4], [MQTT-2.3.1-7]: nothing comes after UNSUBACK, which has its id.
#[test]
fn unsubscribe_ends_the_subscription() {
    let broker = Broker::start();
    let mut client = Wire::client(&broker, "c");
    for id in [1, 0x0102, 65_535] {
        client.subscribe("a/+", 1);
        client.publish(&Publish::new("a/b", "1").qos(1, 1));
        client.take("1");
        client.send(unsubscribe(id, &["a/+"]));
        client.expect(unsuback(id));
        client.publish(&Publish::new("a/b", "2").qos(1, 1));
        client.expect_nothing_but_pong();
    }
}

/// [MQTT-3.10.4-1]: filters are compared byte by byte; what merely matches stays.
#[test]
fn only_the_very_same_filter_is_ended() {
    let broker = Broker::start();
    let mut client = Wire::client(&broker, "c");
    client.subscribe("a/+", 1);
    for other in ["a/b", "#", "a/#", "A/+", "a/+/", "+/+"] {
        client.send(unsubscribe(1, &[other]));
        client.expect(unsuback(1));
    }
    client.publish(&Publish::new("a/b", "1").qos(1, 1));
    client.take("1");
}

/// [MQTT-3.10.4-5]: UNSUBACK also where nothing was subscribed to, or what is given is no filter.
#[test]
fn unsuback_comes_though_nothing_was_subscribed() {
    let broker = Broker::start();
    let mut client = Wire::client(&broker, "c");
    for filter in ["never", "bad#", ""] {
        client.send(unsubscribe(9, &[filter]));
        client.expect(unsuback(9));
    }
}

/// [MQTT-3.10.4-6]: many filters are like many packets, with one UNSUBACK.
#[test]
fn many_filters_are_ended_with_one_unsuback() {
    let broker = Broker::start();
    let mut client = Wire::client(&broker, "c");
    for filter in ["a", "b", "c"] {
        client.subscribe(filter, 1);
    }
    client.send(unsubscribe(1, &["a", "never", "c", "a"]));
    client.expect(unsuback(1));
    for topic in ["a", "b", "c"] {
        client.publish(&Publish::new(topic, topic).qos(1, 1));
    }
    client.take("b");
    client.expect_nothing_but_pong();
}

/// [MQTT-3.10.4-1]: one of overlapping subscriptions goes, the other stays with its own QoS.
#[test]
fn overlapping_subscription_stays() {
    let broker = Broker::start();
    let mut client = Wire::client(&broker, "c");
    client.subscribe("a/b", 2);
    client.subscribe("a/#", 1);
    client.send(unsubscribe(1, &["a/b"]));
    client.expect(unsuback(1));
    client.publish(&Publish::new("a/b", "1").qos(2, 1));
    assert_eq!(client.take("1").qos, 1);
}

/// [MQTT-3.10.4-3]: what was sent with QoS 1 or 2 is finished.
#[test]
fn message_in_flight_is_finished() {
    let broker = Broker::start();
    let mut client = Wire::client(&broker, "c");
    client.subscribe("a", 2);
    client.publish(&Publish::new("a", "1").qos(2, 1));
    let publish = client.expect_publish();
    client.send(unsubscribe(1, &["a"]));
    client.expect(unsuback(1));
    client.acknowledge(&publish);
    client.expect_nothing_but_pong();
}

/// [MQTT-3.10.4-2]: others who subscribed to the same go on.
#[test]
fn other_subscribers_stay() {
    let broker = Broker::start();
    let (mut one, mut two) = (Wire::client(&broker, "one"), Wire::client(&broker, "two"));
    one.subscribe("a", 1);
    two.subscribe("a", 1);
    one.send(unsubscribe(1, &["a"]));
    one.expect(unsuback(1));
    one.publish(&Publish::new("a", "1").qos(1, 1));
    two.take("1");
    one.expect_nothing_but_pong();
}

/// [MQTT-3.10.3-2]: an UNSUBSCRIBE has a filter.
#[test]
fn unsubscribe_without_filter_closes() {
    assert_breach(&Broker::start(), unsubscribe::<&str>(1, &[]), "MQTT-3.10.3-2");
}

/// [MQTT-3.10.3-1], [MQTT-1.5.3-1]: filters are UTF-8.
#[test]
fn filter_that_is_not_utf8_closes() {
    assert_breach(&Broker::start(), unsubscribe(1, &[b"a\xFF"]), "MQTT-1.5.3-1");
}

/// [MQTT-2.3.1-1]: the packet id is not 0.
#[test]
fn unsubscribe_with_id_0_closes() {
    assert_breach(&Broker::start(), unsubscribe(0, &["a"]), "MQTT-2.3.1-1");
}

/// §3.10.3: filters are whole.
#[test]
fn unsubscribe_cut_short_closes() {
    let broker = Broker::start();
    for body in [&[][..], &[0], &[0, 1, 0], &[0, 1, 0, 5, b'a']] {
        assert_breach(&broker, packet(0xA2, body), "§2.2.3");
    }
}
