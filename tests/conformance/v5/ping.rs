//! PINGREQ and PINGRESP (§3.12, §3.13).

use super::assert_disconnected;
use crate::harness::packets::{PINGREQ, PINGRESP, packet};
use crate::harness::packets5::{RECEIVE_MAXIMUM, With};
use crate::harness::{Broker, Connect5, Publish5, Wire};

/// [MQTT-3.12.4-1]: each PINGREQ is answered.
#[test]
fn pingreq_is_answered() {
    let broker = Broker::start();
    let mut client = Wire::client5(&broker, "c");
    client.send(PINGREQ.repeat(5));
    for _ in 0..5 {
        client.expect(PINGRESP);
    }
}

/// [MQTT-3.12.4-1], §4.9: also while nothing more may be sent to the client.
#[test]
fn pingreq_is_answered_while_the_window_is_full() {
    let broker = Broker::start();
    let mut client = Wire::connect5(&broker, &Connect5::new("c").with(RECEIVE_MAXIMUM, 1));
    client.subscribe5("a", 1);
    for payload in ["1", "2"] {
        client.publish5(&Publish5::new("a", payload).qos(1, 1));
    }
    assert_eq!(client.expect_publish5().text(), "1");
    client.expect_nothing_but_pong();
}

/// §3.12.1: PINGREQ has neither flags nor body.
#[test]
fn malformed_pingreq_closes() {
    let broker = Broker::start();
    for bytes in [packet(0xC1, []), packet(0xC8, []), packet(0xC0, [0])] {
        assert_disconnected(&broker, bytes, 0x81);
    }
}
