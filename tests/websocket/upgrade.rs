//! From a TCP or TLS connection to a WebSocket: paths, subprotocols, origins, bounds.

use super::setup;
use crate::harness::websocket::{CLOSE, WebSocket, assert_upgraded, request};
use crate::harness::wire::tls_config;
use crate::harness::{Broker, Connect, Publish, Wire};

/// The log line about a refused upgrade.
#[track_caller]
fn assert_refused(
    broker: &Broker,
    listener: &str,
    request: &str,
    status: u64,
) -> crate::harness::log::LogLine {
    let (mut websocket, answer) = WebSocket::ask(broker.listener(listener), None, request);
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    let addr = websocket.local_addr().to_string();
    let line =
        broker.log_line(|line| line.field("addr") == Some(&addr) && line.contains("WebSocket refused"));
    assert_eq!(
        (line.level(), line.value("status").and_then(serde_json::Value::as_u64)),
        ("INFO", Some(status))
    );
    websocket.skip_to_end();
    line
}

#[test]
fn both_paths_are_served_and_no_other() {
    let broker = setup().start();
    for path in ["/mqtt", "/", "/mqtt?from=here"] {
        let (websocket, answer) = WebSocket::ask(broker.listener("ws"), None, &request(path, "mqtt", ""));
        assert_upgraded(&answer, "mqtt");
        Wire::by(websocket).connected(&Connect::new("c"), false).disconnect();
    }
    for path in ["/mqtt/", "/other", "//", "/MQTT"] {
        assert_refused(&broker, "ws", &request(path, "mqtt", ""), 404);
    }
}

#[test]
fn old_devices_speak_mqtt_31() {
    let broker = setup().start();
    let (websocket, answer) =
        WebSocket::ask(broker.listener("ws"), None, &request("/", "mqttv3.1, mqtt", ""));
    assert_upgraded(&answer, "mqttv3.1");
    Wire::by(websocket).connected(&Connect::new("old").protocol("MQIsdp", 3), false).disconnect();
}

/// With TLS it is a secure connection: what was sealed would be shown to it.
#[test]
fn tls_below_makes_it_secure() {
    let broker = setup().start();
    let open = |scheme, tls| Wire::by(WebSocket::open(broker.listener(scheme), tls));
    let mut secure = open("wss", Some(tls_config(None))).connected(&Connect::new("secure"), false);
    let mut plain = open("ws", None).connected(&Connect::new("plain"), false);
    for (name, tls) in [("secure", true), ("plain", false)] {
        let line =
            broker.log_line(|line| line.message() == "connected" && line.field("client") == Some(name));
        assert_eq!(line.value("secure").and_then(serde_json::Value::as_bool), Some(tls), "{}", line.text);
    }
    secure.subscribe("a", 1);
    let payload = vec![b'x'; 1_000_000];
    plain.publish(&Publish::new("a", &payload).qos(1, 1));
    let publish = secure.expect_publish();
    assert!(publish.payload == payload);
    secure.acknowledge(&publish);
    secure.disconnect();
}

/// What is no browser sends no origin, and is let in.
#[test]
fn pages_are_let_in_by_their_origin() {
    let listeners =
        "[[listener]]\nbind = \"127.0.0.1:0\"\nwebsocket = true\norigins = [\"https://a.example\"]";
    let listed = Broker::with_config(listeners);
    let everywhere = Broker::with_config("[[listener]]\nbind = \"0.0.0.0:0\"\nwebsocket = true");
    let local = setup().start();
    let from = |origin: &str| request("/mqtt", "mqtt", &format!("Origin: {origin}\r\n"));
    let any = "https://any.example";
    for (broker, request) in [
        (&listed, from("https://a.example")),
        (&listed, request("/mqtt", "mqtt", "")),
        (&everywhere, request("/mqtt", "mqtt", "")),
        (&local, from(any)),
    ] {
        assert_upgraded(&WebSocket::ask(broker.listener("ws"), None, &request).1, "mqtt");
    }
    for (broker, origin) in [(&listed, any), (&listed, "null"), (&everywhere, any)] {
        let line = assert_refused(broker, "ws", &from(origin), 403);
        assert_eq!(line.field("origin"), Some(origin));
        assert!(line.contains("listener.origins"), "{}", line.text);
    }
}

#[test]
fn request_is_bounded_in_bytes() {
    let broker = setup().start();
    let mut websocket = WebSocket::connect(broker.listener("ws"), None);
    // Of the bound's length and no end in sight, so that all of it is read.
    let beginning = "GET /mqtt HTTP/1.1\r\nA: ";
    let request = format!("{beginning}{}", "a".repeat(8 * 1_024 - beginning.len()));
    websocket.send_raw(request.as_bytes());
    assert!(websocket.skip_to_end().starts_with("HTTP/1.1 431 "));
}

/// One deadline for the handshakes and CONNECT together.
#[test]
fn request_is_bounded_in_time() {
    let broker = setup().config("[limits]\nconnect_timeout_s = 1").start();
    let mut silent = WebSocket::connect(broker.listener("ws"), None);
    silent.expect_end();
    let addr = silent.local_addr().to_string();
    let line = broker.log_line(|line| line.field("addr") == Some(&addr));
    assert!(line.contains("no WebSocket handshake within limits.connect_timeout_s"), "{}", line.text);
    let mut slow = WebSocket::open(broker.listener("wss"), Some(tls_config(None)));
    assert_eq!(slow.try_receive_frame().unwrap().0, CLOSE);
    let addr = slow.local_addr().to_string();
    let line = broker.log_line(|line| line.field("addr") == Some(&addr));
    assert!(line.contains("not authenticated, within limits.connect_timeout_s"), "{}", line.text);
}

/// MQTT without WebSocket is told so at once, and WebSocket without one is closed.
#[test]
fn wrong_kind_of_listener_is_closed() {
    let broker = setup().start();
    let mut mqtt = WebSocket::connect(broker.listener("ws"), None);
    mqtt.send_raw(&Connect::new("c").bytes());
    assert!(mqtt.skip_to_end().starts_with("HTTP/1.1 400 "));
    let mut page = Wire::open(&broker);
    page.send(request("/mqtt", "mqtt", ""));
    page.expect_closed();
}
