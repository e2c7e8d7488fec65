//! WebSocket as a transport (§6): binary frames, packets that do not begin and end with them, and the
//! subprotocol.

use crate::harness::packets::{PINGREQ, PINGRESP, connack, suback, subscribe};
use crate::harness::websocket::{
    BINARY, CONTINUATION, FIN, PING, PONG, TEXT, WebSocket, assert_upgraded, request,
};
use crate::harness::{Broker, Connect, Publish, Wire};

fn start() -> Broker {
    Broker::with_config(
        "[[listener]]\nbind = \"127.0.0.1:0\"\nwebsocket = true\n[[listener]]\nbind = \"127.0.0.1:0\"",
    )
}

fn open(broker: &Broker) -> WebSocket {
    WebSocket::open(broker.listener("ws"), None)
}

/// [MQTT-6.0.0-1] Whatever the broker sends is in binary frames, small and large.
#[test]
fn packets_go_out_in_binary_frames() {
    let broker = start();
    // Reading such a stream refuses other frames.
    let mut wire = Wire::by(open(&broker)).connected(&Connect::new("c"), false);
    wire.subscribe("a", 2);
    for (id, payload) in [vec![], vec![b'x'; 200], vec![b'y'; 1_000_000]].into_iter().enumerate() {
        let id = u16::try_from(id).unwrap() + 1;
        wire.publish(&Publish::new("a", &payload).qos(2, id));
        let publish = wire.expect_publish();
        assert!(publish.payload == payload);
        wire.acknowledge(&publish);
    }
    wire.disconnect();
}

/// [MQTT-6.0.0-1] A text frame closes the connection, even one that holds nothing or a packet; the will
/// goes out, and nothing that follows counts.
#[test]
fn text_frame_closes() {
    let broker = start();
    let mut watcher = Wire::client(&broker, "watcher");
    watcher.subscribe("#", 0);
    for payload in [&b""[..], PINGREQ] {
        let mut websocket = open(&broker);
        websocket.send_frame(FIN | BINARY, Connect::new("c").will(Publish::new("will", "gone")).bytes());
        websocket.expect_frame(FIN | BINARY, connack(false, 0));
        websocket.send_frame(FIN | TEXT, payload);
        websocket.expect_close(1_003);
        let line = broker.closed_for(websocket.local_addr(), "MQTT-6.0.0-1");
        assert_eq!(line.value("code").and_then(serde_json::Value::as_u64), Some(1_003), "{}", line.text);
        watcher.take("gone");
    }
    let mut websocket = open(&broker);
    websocket.send_frame(FIN | TEXT, Connect::new("c").bytes());
    websocket.expect_close(1_003);
    watcher.expect_nothing_but_pong();
}

/// [MQTT-6.0.0-2] Many packets in one frame.
#[test]
fn one_frame_holds_many_packets() {
    let broker = start();
    let mut websocket = open(&broker);
    let mut bytes = Connect::new("c").bytes();
    bytes.extend(subscribe(1, &[("a", 0)]));
    bytes.extend((0..100).flat_map(|n| Publish::new("a", n.to_string()).bytes()));
    websocket.send_frame(FIN | BINARY, bytes);
    let mut wire = Wire::by(websocket);
    wire.expect(connack(false, 0));
    wire.expect(suback(1, &[0]));
    for n in 0..100 {
        wire.take(&n.to_string());
    }
}

/// [MQTT-6.0.0-2] One packet in many frames, which hold a byte or none, begin and end anywhere in the
/// packet, belong to one message or to several, and have pings between them.
#[test]
fn one_packet_spans_many_frames() {
    let broker = start();
    let mut websocket = open(&broker);
    for byte in Connect::new("c").bytes() {
        websocket.send_frame(FIN | BINARY, [byte]);
        websocket.send_frame(FIN | BINARY, []);
    }
    websocket.expect_frame(FIN | BINARY, connack(false, 0));
    // The end of one packet and the beginning of the next, in one message of three frames.
    let bytes = [subscribe(1, &[("a", 0)]), Publish::new("a", "x").bytes(), PINGREQ.to_vec()].concat();
    websocket.send_frame(BINARY, &bytes[..3]);
    websocket.send_frame(PING, "still there?");
    websocket.expect_frame(PONG, "still there?");
    websocket.send_frame(CONTINUATION, &bytes[3..bytes.len() - 1]);
    websocket.send_frame(FIN | CONTINUATION, &bytes[bytes.len() - 1..]);
    let mut wire = Wire::by(websocket);
    wire.expect(suback(1, &[0]));
    wire.expect_answer(PINGRESP);
    wire.take("x");
}

/// [MQTT-6.0.0-4] Of what the client offers, `mqtt` is selected.
#[test]
fn subprotocol_mqtt_is_selected() {
    let broker = start();
    for offers in ["mqtt", "chat, mqtt", "mqtt,mqttv3.1"] {
        let (websocket, answer) = WebSocket::ask(broker.listener("ws"), None, &request("/mqtt", offers, ""));
        assert_upgraded(&answer, "mqtt");
        Wire::by(websocket).connected(&Connect::new("c"), false).disconnect();
    }
}

/// [MQTT-6.0.0-3] A client that does not offer `mqtt` is not let in.
#[test]
fn client_that_offers_no_mqtt_is_refused() {
    let broker = start();
    for offers in ["", "chat", "MQTT", "mqtt2"] {
        let (mut websocket, answer) =
            WebSocket::ask(broker.listener("ws"), None, &request("/mqtt", offers, ""));
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        let addr = websocket.local_addr().to_string();
        let line = broker.log_line(|line| line.field("addr") == Some(&addr) && line.contains("refused"));
        assert!(line.contains("MQTT-6.0.0-3"), "{}", line.text);
        websocket.skip_to_end();
    }
}
