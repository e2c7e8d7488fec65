//! WebSocket as a transport (§6): binary frames, packets that do not begin and end with them, and the
//! subprotocol, which is the same for both versions.

use crate::harness::packets::{PINGREQ, PINGRESP};
use crate::harness::packets5::{Answer, CONNACK, CONTENT_TYPE, PUBACK, SUBACK, With, subscribe5};
use crate::harness::websocket::{
    BINARY, CONTINUATION, FIN, PING, PONG, TEXT, WebSocket, assert_upgraded, request,
};
use crate::harness::{Broker, Connect5, Publish5, Wire};

fn start() -> Broker {
    Broker::with_config(
        "[[listener]]\nbind = \"127.0.0.1:0\"\nwebsocket = true\n[[listener]]\nbind = \"127.0.0.1:0\"",
    )
}

fn open(broker: &Broker) -> WebSocket {
    WebSocket::open(broker.listener("ws"), None)
}

/// The next frame is binary and holds a CONNACK with code 0, whole.
#[track_caller]
fn expect_connack(websocket: &mut WebSocket) {
    let (first, payload) = websocket.try_receive_frame().expect("a frame comes");
    assert_eq!(first, FIN | BINARY);
    let connack = Answer::parse(&payload);
    assert!(connack.first == CONNACK && connack.code() == 0, "{connack:?}");
}

/// [MQTT-6.0.0-1]: whatever the broker sends is in binary frames, small and large, to the DISCONNECT.
#[test]
fn packets_go_out_in_binary_frames() {
    let broker = start();
    // Reading such a stream refuses other frames.
    let mut wire = Wire::by(open(&broker));
    wire.send(Connect5::new("c").bytes());
    wire.expect_connack(0);
    wire.subscribe5("a", 2);
    for payload in [vec![], vec![b'x'; 200], vec![b'y'; 1_000_000]] {
        wire.publish5(&Publish5::new("a", &payload).qos(2, 1).with(CONTENT_TYPE, "text/plain"));
        let publish = wire.expect_publish5();
        assert!(publish.payload == payload);
        assert_eq!(publish.properties.text(CONTENT_TYPE).as_deref(), Some("text/plain"));
        wire.acknowledge5(&publish);
    }
    let _other = Wire::client5(&broker, "c");
    wire.expect_disconnect(0x8E);
}

/// [MQTT-6.0.0-1]: a text frame closes the connection, even one that holds nothing or a packet; the will
/// goes out, and nothing that follows counts.
#[test]
fn text_frame_closes() {
    let broker = start();
    let mut watcher = Wire::client5(&broker, "watcher");
    watcher.subscribe5("#", 0);
    for payload in [&b""[..], PINGREQ] {
        let mut websocket = open(&broker);
        let connect = Connect5::new("c").will(Publish5::new("will", "gone"));
        websocket.send_frame(FIN | BINARY, connect.bytes());
        expect_connack(&mut websocket);
        websocket.send_frame(FIN | TEXT, payload);
        websocket.expect_close(1_003);
        broker.closed_for(websocket.local_addr(), "MQTT-6.0.0-1");
        watcher.take5("gone");
    }
    let mut websocket = open(&broker);
    websocket.send_frame(FIN | TEXT, Connect5::new("c").bytes());
    websocket.expect_close(1_003);
    watcher.expect_nothing_but_pong();
}

/// [MQTT-6.0.0-2]: many packets in one frame.
#[test]
fn one_frame_holds_many_packets() {
    let broker = start();
    let mut websocket = open(&broker);
    let mut bytes = Connect5::new("c").bytes();
    bytes.extend(subscribe5(1, &[("a", 1)]).bytes());
    bytes.extend((0..100).flat_map(|n| Publish5::new("a", n.to_string()).pair("n", n.to_string()).bytes()));
    websocket.send_frame(FIN | BINARY, bytes);
    let mut wire = Wire::by(websocket);
    wire.expect_connack(0);
    wire.expect_reason(SUBACK, 1, 1);
    for n in 0..100 {
        let publish = wire.take5(&n.to_string());
        assert_eq!(publish.properties.pairs(), [("n".to_owned(), n.to_string())]);
    }
}

/// [MQTT-6.0.0-2]: one packet in many frames, which hold a byte or none, begin and end anywhere in the
/// packet, belong to one message or to several, and have pings between them.
#[test]
fn one_packet_spans_many_frames() {
    let broker = start();
    let mut websocket = open(&broker);
    for byte in Connect5::new("c").pair("n", "v").bytes() {
        websocket.send_frame(FIN | BINARY, [byte]);
        websocket.send_frame(FIN | BINARY, []);
    }
    expect_connack(&mut websocket);
    // The end of one packet and the beginning of the next, in one message of three frames.
    let publish = Publish5::new("a", "x").qos(1, 2).pair("n", "v");
    let bytes = [subscribe5(1, &[("a", 1)]).bytes(), publish.bytes(), PINGREQ.to_vec()].concat();
    websocket.send_frame(BINARY, &bytes[..3]);
    websocket.send_frame(PING, "still there?");
    websocket.expect_frame(PONG, "still there?");
    websocket.send_frame(CONTINUATION, &bytes[3..bytes.len() - 1]);
    websocket.send_frame(FIN | CONTINUATION, &bytes[bytes.len() - 1..]);
    let mut wire = Wire::by(websocket);
    wire.expect_reason(SUBACK, 1, 1);
    assert_eq!(wire.await_answer(PUBACK, 2).code(), 0);
    wire.expect_answer(PINGRESP);
    assert_eq!(wire.take5("x").properties, publish.properties);
}

/// [MQTT-6.0.0-4]: of what the client offers, `mqtt` is selected.
#[test]
fn subprotocol_mqtt_is_selected() {
    let broker = start();
    for offers in ["mqtt", "chat, mqtt", "mqtt,mqttv3.1"] {
        let (websocket, answer) = WebSocket::ask(broker.listener("ws"), None, &request("/mqtt", offers, ""));
        assert_upgraded(&answer, "mqtt");
        let mut wire = Wire::by(websocket);
        wire.send(Connect5::new("c").bytes());
        wire.expect_connack(0);
        wire.disconnect5(0);
    }
}

/// [MQTT-6.0.0-3]: a client that does not offer `mqtt` is not let in, and its CONNECT not read.
#[test]
fn client_that_offers_no_mqtt_is_refused() {
    let broker = start();
    let mut resident = Wire::client5(&broker, "c");
    for offers in ["", "chat", "MQTT", "mqttv5"] {
        let (mut websocket, answer) =
            WebSocket::ask(broker.listener("ws"), None, &request("/mqtt", offers, ""));
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        // The broker may be gone already.
        let _ = std::io::Write::write(&mut websocket, &Connect5::new("c").bytes());
        let addr = websocket.local_addr().to_string();
        let line = broker.log_line(|line| line.field("addr") == Some(&addr) && line.contains("refused"));
        assert!(line.contains("MQTT-6.0.0-3"), "{}", line.text);
        resident.expect_nothing_but_pong();
    }
}
