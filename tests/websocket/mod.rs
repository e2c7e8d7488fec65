//! MQTT by WebSocket, beyond what the standard says: who is let in, what ends a connection and how, and
//! foreign clients. What the standard says is in `conformance/websocket.rs`.

mod frames;
mod mqttjs;
mod upgrade;

use crate::harness::Setup;

/// Two WebSocket listeners for whatever page, plaintext and TLS, and an ordinary one.
const LISTENERS: &str = r#"
[[listener]]
bind = "127.0.0.1:0"
websocket = true
[[listener]]
bind = "127.0.0.1:0"
websocket = true
[listener.tls]
cert = "server.pem"
key = "server.key"
[[listener]]
bind = "127.0.0.1:0"
"#;

pub(crate) fn setup() -> Setup {
    Setup::new().config(LISTENERS)
}
