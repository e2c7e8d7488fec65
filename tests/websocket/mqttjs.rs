//! MQTT.js, which most web pages and node programs use: from node, and from a page in headless Chromium.
//! Its scripts are in `tests/clients/mqttjs/`; each sends payloads at every QoS, and prints what came back.

use super::setup;
use crate::clients::mqttjs::{self, url};
use crate::harness::{Broker, Publish, Wire};
use std::process::Output;

/// The versions of MQTT that are spoken, as MQTT.js counts them.
const VERSIONS: [u8; 2] = [4, 5];

/// Runs a script with URL, version and whatever else it takes.
fn exchange(script: &str, url: &str, version: u8, more: &[&str]) -> Output {
    mqttjs::run(script, &[&[url, &version.to_string()], more].concat())
}

/// The exchange from a page.
fn browser(broker: &Broker, scheme: &str, version: u8) -> Output {
    exchange("browser.mjs", &url(broker, scheme), version, &[broker.dir().to_str().unwrap()])
}

/// The lines that the script printed, if it succeeded.
#[track_caller]
fn lines(output: &Output) -> Vec<String> {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap().lines().map(str::to_owned).collect()
}

/// Each payload came back whole, at each QoS.
#[track_caller]
fn assert_exchanged(received: &[String]) {
    let all = ["empty", "long", "short"]
        .into_iter()
        .flat_map(|name| (0..3).map(move |qos| format!("exchange/{name} qos={qos} whole=true")));
    assert_eq!(received, all.collect::<Vec<_>>());
}

#[test]
fn mqttjs_works_from_node() {
    let broker = setup().start();
    let ca = broker.ca_file();
    for version in VERSIONS {
        assert_exchanged(&lines(&exchange("node.mjs", &url(&broker, "ws"), version, &[])));
        assert_exchanged(&lines(&exchange(
            "node.mjs",
            &url(&broker, "wss"),
            version,
            &[ca.to_str().unwrap()],
        )));
    }
}

#[test]
fn mqttjs_works_from_a_page_in_chromium() {
    let broker = setup().start();
    for version in VERSIONS {
        for scheme in ["ws", "wss"] {
            let lines = lines(&browser(&broker, scheme, version));
            assert_exchanged(&lines[1..]);
        }
    }
}

/// The page in `docs/operations.md`, told to look here instead, shows what was published.
#[test]
fn documented_page_works() {
    let broker = setup().start();
    let documents = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md");
    let document = std::fs::read_to_string(documents).unwrap();
    let page = document.split("```html\n").nth(1).unwrap().split("```").next().unwrap();
    let default = "ws://127.0.0.1:8083/mqtt";
    assert!(page.contains(default), "{page}");
    let watched = r#"<script>
        const messages = document.getElementById("messages");
        new MutationObserver(() => {
            fetch("result", { method: "POST", body: JSON.stringify({ received: [messages.textContent] }) });
        }).observe(messages, { childList: true });
    </script>"#;
    let file = broker.dir().join("page.html");
    std::fs::write(&file, page.replace(default, &url(&broker, "ws")) + watched).unwrap();
    Wire::client(&broker, "publisher").publish(&Publish::new("hello", "world").qos(1, 1).retain());
    let folder = broker.dir().to_str().unwrap();
    let output = exchange("browser.mjs", "", VERSIONS[0], &[folder, file.to_str().unwrap()]);
    assert_eq!(lines(&output)[1], "hello: world");
}

/// A browser says where its page comes from, whatever the page would like to say.
#[test]
fn page_of_another_origin_is_not_let_in() {
    let listener =
        "[[listener]]\nbind = \"127.0.0.1:0\"\nwebsocket = true\norigins = [\"https://a.example\"]";
    let broker = Broker::with_config(listener);
    let output = browser(&broker, "ws", VERSIONS[0]);
    assert!(!output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    let line = broker.log_line(|line| line.contains("WebSocket refused"));
    assert_eq!(format!("origin {}\n", line.field("origin").unwrap()), said);
    assert!(line.contains("listener.origins"), "{}", line.text);
}
