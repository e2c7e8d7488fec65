//! The window of what is sent and unacknowledged (§4.9), beyond what `flow` holds of receive maximum.

use crate::harness::packets5::{PUBACK, PUBCOMP, RECEIVE_MAXIMUM, With, ack5};
use crate::harness::{Broker, Connect5, Publish5, Wire};

/// §4.9: an acknowledgement of nothing makes no room.
#[test]
fn strange_acknowledgements_make_no_room() {
    let broker = Broker::start();
    let mut receiver = Wire::connect5(&broker, &Connect5::new("c").with(RECEIVE_MAXIMUM, 1));
    receiver.subscribe5("a", 1);
    for payload in ["1", "2"] {
        receiver.publish5(&Publish5::new("a", payload).qos(1, 1));
    }
    let id = receiver.expect_publish5().id;
    let other = id.wrapping_add(1).max(1);
    for packet in [ack5(PUBACK, other, 0), ack5(PUBCOMP, other, 0), ack5(PUBCOMP, other, 0x92)] {
        receiver.send(packet.bytes());
    }
    receiver.expect_nothing_but_pong();
    receiver.send(ack5(PUBACK, id, 0).bytes());
    receiver.take5("2");
}

/// `limits.inflight_messages_max` bounds the window of clients that say more, or nothing.
#[test]
fn window_of_the_server_bounds_the_clients() {
    let broker = Broker::with_config("[limits]\ninflight_messages_max = 2");
    for receive_maximum in [None, Some(65_535), Some(3)] {
        let connect = Connect5::new("c");
        let connect = receive_maximum.map_or(connect.clone(), |n| connect.with(RECEIVE_MAXIMUM, n));
        let mut client = Wire::connect5(&broker, &connect);
        client.subscribe5("a", 1);
        for payload in ["1", "2", "3"] {
            client.publish5(&Publish5::new("a", payload).qos(1, 1));
        }
        let first = client.expect_publish5();
        let second = client.expect_publish5();
        client.expect_nothing_but_pong();
        client.acknowledge5(&first);
        client.take5("3");
        client.acknowledge5(&second);
        client.disconnect5(0);
    }
}
