//! Frames of a connection that was upgraded: bounds, pings, and every way to end.

use super::setup;
use crate::harness::packets::{DISCONNECT, PINGREQ, PINGRESP, connack};
use crate::harness::websocket::{BINARY, CLOSE, FIN, PING, PONG, WebSocket};
use crate::harness::{Broker, Connect, Publish, Wire};

/// A client with a will, which the watcher sees if the connection ends without DISCONNECT.
fn connected(broker: &Broker) -> WebSocket {
    let mut websocket = WebSocket::open(broker.listener("ws"), None);
    websocket.send_frame(FIN | BINARY, Connect::new("c").will(Publish::new("will", "gone")).bytes());
    websocket.expect_frame(FIN | BINARY, connack(false, 0));
    websocket
}

fn watcher(broker: &Broker) -> Wire {
    let mut watcher = Wire::client(broker, "watcher");
    watcher.subscribe("will", 0);
    watcher
}

/// Refused at its head, whatever of it is sent.
#[test]
fn frame_beyond_the_bound_closes() {
    let broker = setup().config("[limits]\nwebsocket_frame_bytes_max = 2000").start();
    let mut watcher = watcher(&broker);
    let mut websocket = connected(&broker);
    let publish = Publish::new("a", [b'x'; 1_995]).bytes();
    assert_eq!(publish.len(), 2_001);
    // The packet fits, in two frames.
    websocket.send_frame(FIN | BINARY, &publish[..2_000]);
    websocket.send_frame(FIN | BINARY, &publish[2_000..]);
    websocket.send_frame(FIN | BINARY, PINGREQ);
    websocket.expect_frame(FIN | BINARY, PINGRESP);
    websocket.send_head(FIN | BINARY, 2_001);
    websocket.expect_close(1_009);
    let addr = websocket.local_addr().to_string();
    let line = broker.log_line(|line| line.field("addr") == Some(&addr) && line.value("bound").is_some());
    assert_eq!(line.field("bound"), Some("limits.websocket_frame_bytes_max"));
    watcher.take("gone");
}

#[test]
fn frames_against_the_rfc_close() {
    let broker = setup().start();
    let mut watcher = watcher(&broker);
    let unmasked = [FIN | BINARY, 2, 0xC0, 0];
    let reserved = [FIN | 0x40 | BINARY, 0x82, 0, 0, 0, 0, 0xC0, 0];
    let continues_nothing = [FIN, 0x82, 0, 0, 0, 0, 0xC0, 0];
    for bytes in [&unmasked[..], &reserved, &continues_nothing] {
        let mut websocket = connected(&broker);
        websocket.send_raw(bytes);
        websocket.expect_close(1_002);
        watcher.take("gone");
    }
}

/// While nothing is published and nobody writes.
#[test]
fn ping_is_answered() {
    let broker = setup().start();
    let mut websocket = connected(&broker);
    for payload in [&b""[..], &[7; 125]] {
        websocket.send_frame(PING, payload);
        websocket.expect_frame(PONG, payload);
    }
    // A pong that answers nothing is passed over.
    websocket.send_frame(PONG, "?");
    websocket.send_frame(FIN | BINARY, PINGREQ);
    websocket.expect_frame(FIN | BINARY, PINGRESP);
}

/// A ping is no packet of MQTT: it does not keep a client alive.
#[test]
fn pings_are_not_mqtt_keep_alive() {
    let broker = setup().start();
    let mut websocket = WebSocket::open(broker.listener("ws"), None);
    websocket.send_frame(FIN | BINARY, Connect::new("c").keep_alive(1).bytes());
    websocket.expect_frame(FIN | BINARY, connack(false, 0));
    let mut pongs = 0;
    let end = loop {
        websocket.send_frame(PING, "");
        match websocket.try_receive_frame().unwrap() {
            (PONG, _) => pongs += 1,
            other => break other,
        }
    };
    assert_eq!(end, (CLOSE, 1_000_u16.to_be_bytes().to_vec()));
    assert!(pongs > 0);
}

/// Close is the end of the connection, not a DISCONNECT.
#[test]
fn close_is_answered_and_the_will_goes_out() {
    let broker = setup().start();
    let mut watcher = watcher(&broker);
    let mut websocket = connected(&broker);
    websocket.send_frame(CLOSE, 1_001_u16.to_be_bytes());
    websocket.expect_frame(CLOSE, 1_001_u16.to_be_bytes());
    websocket.expect_end();
    watcher.take("gone");
}

#[test]
fn disconnect_is_followed_by_close() {
    let broker = setup().start();
    let mut watcher = watcher(&broker);
    let mut websocket = connected(&broker);
    websocket.send_frame(FIN | BINARY, DISCONNECT);
    websocket.expect_close(1_000);
    watcher.expect_nothing_but_pong();
}

#[test]
fn refused_client_gets_its_return_code_and_close() {
    let broker = setup().config("[auth]\nclient_id_prefixes = [\"dev-\"]").start();
    let mut websocket = WebSocket::open(broker.listener("ws"), None);
    websocket.send_frame(FIN | BINARY, Connect::new("other").bytes());
    websocket.expect_frame(FIN | BINARY, connack(false, 2));
    websocket.expect_close(1_000);
}

#[test]
fn shutdown_says_close() {
    let mut broker = setup().start();
    let mut websocket = connected(&broker);
    broker.terminate();
    websocket.expect_close(1_000);
    assert!(broker.wait().success());
}

/// Who takes nothing is not waited for, and costs no more than its bounds.
#[test]
fn client_that_does_not_read_is_closed() {
    let broker = setup().config("[limits]\nwrite_stall_s = 1").start();
    let mut websocket = WebSocket::open(broker.listener("ws"), None);
    websocket.send_frame(FIN | BINARY, Connect::new("c").will(Publish::new("will", "gone")).bytes());
    let mut slow = Wire::by(websocket);
    slow.expect(connack(false, 0));
    slow.subscribe("a", 0);
    let mut watcher = watcher(&broker);
    for _ in 0..30 {
        watcher.publish(&Publish::new("a", vec![b'x'; 1_000_000]));
    }
    broker.log_line(|line| line.field("client") == Some("c") && line.contains("limits.write_stall_s"));
    watcher.take("gone");
}
