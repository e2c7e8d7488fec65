//! What `sealmq` says when it has begun: what listens where, and what to try next.
//!
//! A configuration and the addresses really taken come in, text for a terminal goes out. The commands in it
//! can be copied and run as they stand.

use super::layout::Layout;
use crate::listener::{Listening, development};
use sealmq_config::Config;
use sealmq_config::listener::Listener;
use sealmq_config::storage::Durability;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The greeting; `listening` are the configured listeners, in their order. Without a `source` the broker runs
/// without a file, and its TLS listeners on certificates of its own.
pub(crate) fn greeting(config: &Config, source: Option<&Path>, listening: &[Listening]) -> String {
    let addresses: Vec<_> = listening.iter().map(|listening| listening.addr).collect();
    // As it was called, so that the commands below find it too.
    let program = std::env::args_os().next().map_or_else(|| PathBuf::from("sealmq"), PathBuf::from);
    text(config, source, &addresses, &program)
}

fn text(config: &Config, source: Option<&Path>, addresses: &[SocketAddr], program: &Path) -> String {
    let mut layout = Layout::default();
    layout.line(&format!("sealmq {}, an MQTT broker that opens sealed payloads", env!("CARGO_PKG_VERSION")));
    layout.line("");
    let listeners: Vec<_> = config.listeners.iter().zip(addresses).collect();
    let rows: Vec<_> =
        listeners.iter().map(|(listener, addr)| [addr.to_string(), kind(listener).to_owned()]).collect();
    layout.section("listening", &rows);
    layout.section("data folder", &[[config.data_dir.display().to_string()]]);
    layout.section("durability", &[[durability(config.storage.durability).to_owned()]]);
    match source {
        Some(file) => layout.section("configured", &[[file.display().to_string()]]),
        None => layout.section("configured", &[["by default; --config FILE takes a file".to_owned()]]),
    }
    // Not by WebSocket, which the clients of the commands below do not speak.
    let first = |secure: bool| {
        let fits = |listener: &Listener| !listener.websocket && listener.tls.is_some() == secure;
        listeners.iter().find(|(listener, _)| fits(listener)).map(|(_, addr)| **addr)
    };
    let (secure, plain) = (first(true), first(false));
    let ca = (source.is_none() && secure.is_some()).then(|| development::ca_file(&config.data_dir));
    if let Some(ca) = &ca {
        layout.section("CA", &[[format!("{} (made for this machine, to try things out)", ca.display())]]);
    }
    let user = if config.auth.allow_anonymous { "" } else { " -u USER -P PASSWORD" };
    let subscribe = match (secure, &ca, plain) {
        (Some(addr), Some(ca), _) => {
            // The certificate is for this name, whatever the address.
            Some(format!("--cafile {} -h localhost -p {}", quoted(ca), addr.port()))
        }
        (_, _, Some(addr)) => Some(format!("-h {} -p {}", host(addr), addr.port())),
        (_, None, None) | (None, Some(_), None) => None,
    };
    let publish = plain.map(|addr| format!("-h {} -p {}", host(addr), addr.port())).or(subscribe.clone());
    if let (Some(subscribe), Some(publish)) = (subscribe, publish) {
        layout.line("");
        layout.line("Try it, each in a terminal of its own:");
        layout.line(&format!("  mosquitto_sub {subscribe}{user} -t '#' -v"));
        match config.senders.first().zip(config.topic_keys.first()).filter(|_| ca.is_some()) {
            Some((sender, topic_key)) => {
                let secret = sender.key.with_file_name(format!("{}.jwk", sender.id));
                layout.line(&format!("  printf 21.5 | {} seal --topic sealed/temp \\", quoted(program)));
                layout.line(&format!(
                    "      --sender-key {} --topic-key {} \\",
                    quoted(&secret),
                    quoted(topic_key.source.file())
                ));
                layout.line(&format!("      | mosquitto_pub {publish}{user} -t sealed/temp -s"));
            }
            None => layout.line(&format!("  mosquitto_pub {publish}{user} -t hello -m world")),
        }
    }
    layout.line("");
    if secure.is_some() {
        layout
            .line("What was sealed reaches TLS subscribers only; docs/encryption.md says more. Ctrl-C ends.");
    } else {
        layout.line("docs/configuration.md says what else there is. Ctrl-C ends.");
    }
    layout.finish()
}

/// What a listener speaks.
pub(super) fn kind(listener: &Listener) -> &'static str {
    match (listener.websocket, listener.tls.is_some()) {
        (false, false) => "plaintext",
        (false, true) => "TLS",
        (true, false) => "plaintext, WebSocket (ws)",
        (true, true) => "TLS, WebSocket (wss)",
    }
}

/// What an acknowledgement promises.
pub(super) fn durability(durability: Durability) -> &'static str {
    match durability {
        Durability::Memory => "memory: a restart forgets sessions, queues and retained messages",
        Durability::Async => "async: on disk a moment after the acknowledgement",
        Durability::Sync => "sync: on disk before the acknowledgement",
    }
}

/// The name under which this machine reaches the address.
fn host(addr: SocketAddr) -> String {
    let ip = addr.ip();
    if ip.is_loopback() || ip.is_unspecified() { "localhost".to_owned() } else { ip.to_string() }
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let harmless = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%".contains(c);
    if !text.is_empty() && text.chars().all(harmless) {
        return text.into_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(config: &Config) -> Vec<SocketAddr> {
        config.listeners.iter().map(|listener| listener.bind).collect()
    }

    #[test]
    fn without_a_file_everything_to_try_it_is_said() {
        let config = Config::embedded();
        let text = super::text(&config, None, &addresses(&config), Path::new("sealmq"));
        for line in [
            "listening     127.0.0.1:1883   plaintext",
            "              127.0.0.1:8883   TLS",
            "              127.0.0.1:8083   plaintext, WebSocket (ws)",
            "              127.0.0.1:8084   TLS, WebSocket (wss)",
            "  mosquitto_sub --cafile sealmq-data/tls/ca.pem -h localhost -p 8883 -t '#' -v",
            "  printf 21.5 | sealmq seal --topic sealed/temp \\",
            "      --sender-key sealmq-data/keys/device-1.jwk --topic-key sealmq-data/keys/sealed-1.jwk \\",
            "      | mosquitto_pub -h localhost -p 1883 -t sealed/temp -s",
        ] {
            assert!(text.lines().any(|own| own == line), "{line}\nis not in\n{text}");
        }
        assert!(text.lines().count() <= 20 && text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }

    #[test]
    fn with_a_file_no_authority_is_made_up() {
        let config = Config::embedded();
        let text =
            super::text(&config, Some(Path::new("sealmq.toml")), &addresses(&config), Path::new("sealmq"));
        assert!(!text.contains("ca.pem"), "{text}");
        assert!(text.contains("configured    sealmq.toml\n"), "{text}");
    }

    #[test]
    fn one_plaintext_listener_serves_both_commands() {
        let bind = "0.0.0.0:0".parse().unwrap();
        let mut config = Config { listeners: vec![Listener::plaintext(bind)], ..Config::default() };
        config.auth.allow_anonymous = false;
        let text = super::text(&config, None, &["0.0.0.0:4711".parse().unwrap()], Path::new("sealmq"));
        assert!(text.contains("mosquitto_sub -h localhost -p 4711 -u USER -P PASSWORD -t"), "{text}");
        assert!(text.contains("mosquitto_pub -h localhost -p 4711 -u USER -P PASSWORD -t"), "{text}");
    }

    #[test]
    fn paths_can_be_pasted_into_a_shell() {
        assert_eq!(quoted(Path::new("a/b.pem")), "a/b.pem");
        assert_eq!(quoted(Path::new("a b/it's")), r"'a b/it'\''s'");
    }
}
