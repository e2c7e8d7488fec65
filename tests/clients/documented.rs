//! The programs of `docs/clients/`: each publishes sealed readings, which a subscriber with TLS has to get as
//! plaintext, and opens envelopes of `sealmq seal`, passing over what is not to be believed.
//!
//! The broker has the configuration of that folder, and the keys that its README makes.

use super::mqttjs;
use super::python::interpreter;
use crate::encryption::sealed;
use crate::harness::broker::{binary, built};
use crate::harness::log::Log;
use crate::harness::{Broker, PATIENCE, Publish, Setup, Wire};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

/// Seconds after which a program that nobody ends is ended.
const GIVES_UP_S: &str = "60";
/// A symmetric key and an X25519 pair, as a sender has them; the broker's half of the pair is `plant-2`.
const TO_SEAL_WITH: [&str; 2] = ["plant-1", "plant-2.pub"];

/// A folder of `docs/clients`.
fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/clients").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(folder(name)).unwrap()
}

/// A broker as the README sets it up, on other ports and with the certificate of the tests. There is a stranger
/// too, with a key that is not enrolled.
fn start() -> Broker {
    let mut setup = Setup::new();
    let readme = read("README.md");
    let commands: Vec<&str> = readme.lines().filter(|line| line.starts_with("sealmq keys ")).collect();
    assert!(commands.len() >= 4, "{commands:?}");
    for command in commands.into_iter().chain(["sealmq keys sender stranger"]) {
        let args: Vec<&str> = command.split_whitespace().skip(1).collect();
        let output = setup.run(&args, "");
        assert!(output.status.success(), "{output:?}");
    }
    let mut config = read("sealmq.toml").replace("sealmq-data/tls/", "");
    for port in ["1883", "8883", "8083"] {
        let bind = format!("127.0.0.1:{port}");
        assert!(config.contains(&bind), "{config}");
        config = config.replace(&bind, "127.0.0.1:0");
    }
    // For a page that gets what is opened for it.
    config.push_str("[[listener]]\nbind = \"127.0.0.1:0\"\nwebsocket = true\n");
    config.push_str("[listener.tls]\ncert = \"server.pem\"\nkey = \"server.key\"\n");
    setup = setup.config(&config);
    setup.start()
}

/// A program in the broker's folder, where the keys are.
fn program(broker: &Broker, name: impl AsRef<Path>) -> Command {
    let mut command = Command::new("timeout");
    let path = std::env::var_os("PATH").unwrap();
    let with_ours = [binary().parent().unwrap().to_owned()].into_iter().chain(std::env::split_paths(&path));
    command.arg(GIVES_UP_S).arg(name.as_ref()).current_dir(broker.dir());
    command.env("PATH", std::env::join_paths(with_ours).unwrap()).stdin(Stdio::null());
    command
}

fn python(broker: &Broker, file: &str) -> Command {
    let mut command = program(broker, interpreter());
    // Leaves no compiled files beside the sources.
    command.arg("-B").arg(folder("python").join(file));
    command.args(["--host", &broker.addr().ip().to_string(), "--port", &broker.addr().port().to_string()]);
    command
}

fn node(broker: &Broker, file: &str) -> Command {
    let folder = folder("javascript");
    assert!(folder.join("node_modules/mqtt").exists(), "no MQTT.js; run `npm ci` in {}", folder.display());
    let mut command = program(broker, "node");
    command.arg(folder.join(file)).arg(mqttjs::url(broker, "mqtt"));
    command
}

fn rust(broker: &Broker, name: &str) -> Command {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let profile = BUILT.get_or_init(|| built("sealmq-client", &["--bins"])).as_ref().expect("it compiles");
    let mut command = program(broker, profile.join(name));
    command.args([broker.addr().ip().to_string(), broker.addr().port().to_string()]);
    command
}

/// Compiled as the README says, with warnings as errors and `flags`, into the broker's folder.
fn compiled(broker: &Broker, flags: &[&str]) -> PathBuf {
    let device = broker.dir().join("device");
    let mut compiler = Command::new("gcc");
    compiler.args(["-std=c11", "-Wall", "-Wextra", "-Werror"]).args(flags);
    let output = compiler.arg("-o").arg(&device).arg(folder("c/device.c")).arg("-lsodium").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    device
}

fn device(broker: &Broker, verb: &str) -> Command {
    let mut command = program(broker, compiled(broker, &["-g", "-fsanitize=address,undefined"]));
    command.env("UBSAN_OPTIONS", "halt_on_error=1");
    command.args([verb, &broker.addr().ip().to_string(), &broker.addr().port().to_string()]);
    command
}

fn shell(broker: &Broker, file: &str) -> Command {
    program(broker, folder("shell").join(file))
}

fn key(name: &str) -> String {
    format!("keys/{name}.jwk")
}

#[track_caller]
fn succeeded(output: &Output) {
    assert!(output.status.success(), "{output:?}");
}

/// Runs a program that publishes, once for each topic key: the subscriber with TLS gets the plaintext.
#[track_caller]
fn publishes(topic_keys: &[&str], publish: impl Fn(&Broker, &str, &str, &str) -> Command) {
    let broker = start();
    let mut watcher = Wire::client_tls(&broker, "watcher");
    watcher.subscribe("plant/#", 1);
    for (n, topic_key) in topic_keys.iter().enumerate() {
        let reading = format!("{n}.5 °C");
        let topic = format!("plant/7/temp/{n}");
        succeeded(&publish(&broker, &topic, &reading, &key(topic_key)).output().unwrap());
        let message = watcher.expect_publish();
        assert_eq!((message.topic(), message.text()), (topic.as_str(), reading.as_str()), "{topic_key}");
    }
}

/// A program that listens; its stdout and stderr are one log.
struct Listener {
    child: Child,
    output: Log,
}

impl Listener {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = Log::default();
        output.follow(child.stdout.take().unwrap());
        output.follow(child.stderr.take().unwrap());
        let listener = Self { child, output };
        listener.output.line(|line| line.text == "subscribed");
        listener
    }

    /// Waits until it has ended well: its lines.
    #[track_caller]
    fn lines(mut self) -> Vec<String> {
        assert!(self.output.await_end(PATIENCE * 3), "it does not end:\n{}", self.output.text());
        assert!(self.child.wait().unwrap().success(), "{}", self.output.text());
        self.output.lines(|_| true).into_iter().skip(1).map(|line| line.text).collect()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // An error says that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program that opens: envelopes of an end-to-end topic; then on a topic where everybody may publish, so
/// that it has to tell by itself what is not to be believed. `open` is told the topic and how many there will be.
#[track_caller]
fn opens(topic_keys: &[&str], open: impl Fn(&Broker, &str, usize) -> Command) {
    let broker = start();
    let mut wire = Wire::client(&broker, "publisher");
    let (topic, count) = ("private/7/temp", topic_keys.len());
    let listener = Listener::start(open(&broker, topic, count));
    for (n, topic_key) in (1..).zip(topic_keys) {
        let envelope = sealed(&broker, "dev-7", Some(topic_key), topic, &format!("{n}.5 °C"));
        wire.publish(&Publish::new(topic, envelope).qos(1, n));
    }
    let expected: Vec<String> = (1..=count).map(|n| format!("{topic} {n}.5 °C")).collect();
    assert_eq!(listener.lines(), expected);

    let topic = "open/7/temp";
    let listener = Listener::start(open(&broker, topic, count));
    let seal =
        |sender: &str, topic: &str, text: &str| sealed(&broker, sender, Some(topic_keys[0]), topic, text);
    let good = seal("dev-7", topic, "1");
    let mut flipped = seal("dev-7", topic, "flipped");
    *flipped.last_mut().unwrap() ^= 1;
    let bad =
        [seal("stranger", topic, "forged"), seal("dev-7", "open/7/door", "moved"), flipped, b"bare".to_vec()];
    for envelope in &bad {
        wire.publish(&Publish::new(topic, envelope.clone()).qos(1, 1));
    }
    wire.publish(&Publish::new(topic, good.clone()).qos(1, 1));
    if count > 1 {
        wire.publish(&Publish::new(topic, good).qos(1, 1));
        wire.publish(&Publish::new(topic, seal("dev-7", topic, "2")).qos(1, 1));
    }
    let lines = listener.lines();
    let (shown, refused): (Vec<_>, Vec<_>) = lines.into_iter().partition(|line| !line.contains(": "));
    assert_eq!(shown, (1..=count).map(|n| format!("{topic} {n}")).collect::<Vec<_>>());
    assert_eq!(refused.len(), bad.len() + count - 1, "{refused:?}");
}

fn python_publisher(broker: &Broker, topic: &str, reading: &str, topic_key: &str) -> Command {
    let mut command = python(broker, "publish.py");
    command.args(["--sender-key", &key("dev-7"), "--topic-key", topic_key, topic, reading]);
    command
}

#[test]
fn python_publishes_sealed_readings() {
    publishes(&TO_SEAL_WITH, python_publisher);
}

#[test]
fn python_opens_envelopes() {
    opens(&["plant-1", "plant-2"], |broker, topic, count| {
        let mut command = python(broker, "subscribe.py");
        command.args(["--sender-key", &key("dev-7.pub"), "--count", &count.to_string()]);
        command.args(["--topic-key", &key("plant-1"), "--topic-key", &key("plant-2"), topic]);
        command
    });
}

fn node_publisher(broker: &Broker, topic: &str, reading: &str, topic_key: &str) -> Command {
    let mut command = node(broker, "publish.mjs");
    command.args([topic, reading, &key("dev-7"), topic_key]);
    command
}

#[test]
fn javascript_publishes_sealed_readings_from_node() {
    publishes(&TO_SEAL_WITH, node_publisher);
}

#[test]
fn javascript_opens_envelopes_in_node() {
    opens(&["plant-1", "plant-2"], |broker, topic, count| {
        let mut command = node(broker, "subscribe.mjs");
        command.args([topic, &count.to_string(), &key("dev-7.pub"), &key("plant-1"), &key("plant-2")]);
        command
    });
}

/// By WebSocket to an end-to-end topic, from which it opens its own envelope; then by TLS to one that the broker
/// opens, where it finds no envelope any more.
#[test]
fn javascript_publishes_and_opens_in_a_page_in_chromium() {
    let broker = start();
    let mut watcher = Wire::client_tls(&broker, "watcher");
    watcher.subscribe("plant/#", 1);
    let file = |name: &str| std::fs::read_to_string(broker.dir().join(key(name))).unwrap();
    let fields = serde_json::json!({
        "url": mqttjs::url(&broker, "ws"), "sender": file("dev-7"), "key": file("plant-1"), "reading": "21.5 °C",
    });
    let second = serde_json::json!({ "url": mqttjs::url(&broker, "wss"), "topic": "plant/7/temp" });
    let driver = format!(
        r#"<script type="module">
        const form = document.getElementById("form");
        const messages = document.getElementById("messages");
        const submit = (fields) => {{
            Object.entries(fields).forEach(([name, value]) => (form.elements[name].value = value));
            form.requestSubmit();
        }};
        new MutationObserver(() => {{
            const lines = messages.textContent.trim().split("\n");
            if (lines.length === 1) {{
                submit({second});
            }} else {{
                fetch("result", {{ method: "POST", body: JSON.stringify({{ received: lines }}) }});
            }}
        }}).observe(messages, {{ childList: true }});
        submit({fields});
        </script>"#
    );
    let page = broker.dir().join("page.html");
    std::fs::write(&page, read("javascript/page.html") + &driver).unwrap();
    let output =
        mqttjs::run("browser.mjs", &["", "5", broker.dir().to_str().unwrap(), page.to_str().unwrap()]);
    succeeded(&output);
    let said = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = said.lines().skip(1).collect();
    assert_eq!(lines[0], "private/7/temp 21.5 °C");
    assert!(lines[1].starts_with("plant/7/temp: not an envelope"), "{lines:?}");
    assert_eq!(watcher.expect_publish().text(), "21.5 °C");
}

fn rust_publisher(broker: &Broker, topic: &str, reading: &str, topic_key: &str) -> Command {
    let mut command = rust(broker, "publish");
    command.args([topic, reading, &key("dev-7"), topic_key]);
    command
}

#[test]
fn rust_publishes_sealed_readings() {
    publishes(&TO_SEAL_WITH, rust_publisher);
}

#[test]
fn rust_opens_envelopes() {
    opens(&["plant-1", "plant-2"], |broker, topic, count| {
        let mut command = rust(broker, "subscribe");
        command.args([topic, &count.to_string(), &key("dev-7.pub"), &key("plant-1"), &key("plant-2")]);
        command
    });
}

fn c_publisher(broker: &Broker, topic: &str, reading: &str, topic_key: &str) -> Command {
    let mut command = device(broker, "publish");
    command.args([topic, &key("dev-7"), topic_key, reading]);
    command
}

#[test]
fn c_publishes_sealed_readings() {
    publishes(&["plant-3", "plant-3"], c_publisher);
}

#[test]
fn c_opens_envelopes() {
    opens(&["plant-3"], |broker, topic, _| {
        let mut command = device(broker, "open");
        command.args([topic, &key("dev-7.pub"), &key("plant-3")]);
        command
    });
}

/// The sender may not publish there; MQTT 5 lets the broker say so.
#[test]
fn publishers_end_badly_when_they_are_refused() {
    let broker = start();
    for publisher in [python_publisher, node_publisher, rust_publisher] {
        let output = publisher(&broker, "plant/8/temp", "21.5", &key("plant-1")).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(!output.stderr.is_empty(), "{output:?}");
    }
}

/// Of a topic, a reading and the file of a topic key.
type Publisher = fn(&Broker, &str, &str, &str) -> Command;

/// Writes key files that are not what a program needs: the same key with these changes in its text.
fn spoil(broker: &Broker, name: &str, changes: &[(&str, &str, &str)]) {
    let file = |name: &str| broker.dir().join(key(name));
    let text = std::fs::read_to_string(file(name)).unwrap();
    for (spoiled, from, to) in changes {
        assert!(text.contains(from), "{name}: {from}");
        // A copy keeps the file for its owner alone.
        std::fs::copy(file(name), file(spoiled)).unwrap();
        std::fs::write(file(spoiled), text.replace(from, to)).unwrap();
    }
}

#[track_caller]
fn refuses_its_keys(mut command: Command) {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{command:?}: {output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.is_empty() && !said.contains("Sanitizer") && !said.contains("subscribed"), "{said}");
}

/// On a topic where everybody may publish, so that whatever is sent is seen.
#[test]
fn with_a_wrong_key_file_nothing_is_sent() {
    let (broker, topic) = (start(), "open/7/temp");
    let mut watcher = Wire::client(&broker, "watcher");
    watcher.subscribe("open/#", 1);
    let k = "\"k\":\"";
    for (name, as_master) in
        [("plant-1", "HKDF-SHA-256/A256GCM"), ("plant-3", "HKDF-SHA-256/ChaCha20/Poly1305")]
    {
        let alg = as_master.trim_start_matches("HKDF-SHA-256/");
        let names = ["none", "short", "master", "other"].map(|what| format!("{name}.{what}"));
        let [none, short, master, other] = &names;
        let changes = [
            (none, k, "\"y\":\""),
            (short, k, "\"k\":\"AAAA\",\"y\":\""),
            (master, alg, as_master),
            (other, alg, "A512GCM"),
        ];
        spoil(&broker, name, &changes.map(|(spoiled, from, to)| (spoiled.as_str(), from, to)));
    }
    let no_topic_keys = ["dev-7", "dev-7.pub", "sealed"];
    std::fs::write(broker.dir().join(key("sealed")), "age-encryption.org/v1\n").unwrap();
    let spoiled = ["none", "short", "other"];
    for (publisher, good, others) in [
        (c_publisher as Publisher, "plant-3", &["plant-1", "plant-2", "plant-2.pub", "plant-3.master"][..]),
        (python_publisher, "plant-1", &["plant-1.master"]),
        (node_publisher, "plant-1", &["plant-3", "plant-1.master"]),
        (rust_publisher, "plant-1", &["plant-1.master"]),
        (shell_publisher, "plant-1", &[]),
    ] {
        let spoiled = spoiled.map(|what| format!("{good}.{what}"));
        let wrong = no_topic_keys.iter().chain(others).copied().chain(spoiled.iter().map(String::as_str));
        for wrong in wrong {
            refuses_its_keys(publisher(&broker, topic, "21.5", &key(wrong)));
        }
        let (own, aside) = (broker.dir().join(key("dev-7")), broker.dir().join("aside"));
        std::fs::rename(&own, &aside).unwrap();
        for wrong in ["dev-7.pub", "plant-1", "plant-2"] {
            std::fs::copy(broker.dir().join(key(wrong)), &own).unwrap();
            refuses_its_keys(publisher(&broker, topic, "21.5", &key(good)));
        }
        std::fs::rename(&aside, &own).unwrap();
    }
    Wire::client(&broker, "publisher").publish(&Publish::new("open/end", "end").qos(1, 1));
    assert_eq!(watcher.expect_publish().topic(), "open/end");
}

#[test]
fn with_a_wrong_key_file_nothing_is_opened() {
    let (broker, topic) = (start(), "open/7/temp");
    for (sender, topic_key) in [
        ("plant-3", "plant-3"),
        ("plant-2.pub", "plant-3"),
        ("dev-7.pub", "dev-7"),
        ("dev-7.pub", "dev-7.pub"),
    ] {
        let (sender, topic_key) = (key(sender), key(topic_key));
        let mut c = device(&broker, "open");
        c.args([topic, &sender, &topic_key]);
        let mut by_python = python(&broker, "subscribe.py");
        by_python.args(["--sender-key", &sender, "--topic-key", &topic_key, topic]);
        let mut by_node = node(&broker, "subscribe.mjs");
        by_node.args([topic, "0", &sender, &topic_key]);
        let mut by_rust = rust(&broker, "subscribe");
        by_rust.args([topic, "0", &sender, &topic_key]);
        [c, by_python, by_node, by_rust].into_iter().for_each(refuses_its_keys);
    }
}

/// What is said of it to those who have little memory. What libc does within (`fopen`, `getaddrinfo`) is not seen here.
#[test]
fn c_program_is_short_and_its_own_buffers_are_static() {
    let lines = read("c/device.c").lines().count();
    assert!(lines < 300, "{lines} lines");
    let broker = start();
    let symbols = Command::new("nm").arg("-u").arg(compiled(&broker, &["-O2"])).output().unwrap();
    succeeded(&symbols);
    let symbols = String::from_utf8(symbols.stdout).unwrap();
    assert!(symbols.contains("crypto_sign_detached"), "{symbols}");
    assert!(!symbols.contains("alloc"), "{symbols}");
}

fn shell_publisher(broker: &Broker, topic: &str, reading: &str, topic_key: &str) -> Command {
    let file = broker.dir().join("reading");
    std::fs::write(&file, reading).unwrap();
    let mut command = shell(broker, "publish.sh");
    command.args([topic, &key("dev-7"), topic_key]).args(crate::harness::clients::plain(broker));
    command.stdin(std::fs::File::open(file).unwrap());
    command
}

#[test]
fn shell_publishes_sealed_readings() {
    publishes(&TO_SEAL_WITH, shell_publisher);
}

#[test]
fn shell_opens_an_envelope() {
    let broker = start();
    let mut wire = Wire::client(&broker, "publisher");
    let topic = "private/7/temp";
    // Retained, so that it does not matter who is first.
    wire.publish(
        &Publish::new(topic, sealed(&broker, "dev-7", Some("plant-2"), topic, "21.5 °C")).qos(1, 1).retain(),
    );
    let open = |sender: &str| {
        let mut command = shell(&broker, "open.sh");
        let args = [topic, &key(sender), &key("plant-2")];
        command.args(args).args(crate::harness::clients::plain(&broker)).output().unwrap()
    };
    let output = open("dev-7.pub");
    succeeded(&output);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "21.5 °C");
    let output = open("stranger.pub");
    assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
}

/// The vectors that another implementation made, opened by the modules of these programs.
#[test]
fn vectors_hold_for_python_and_javascript() {
    let vectors =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("crypto/tests/vectors/envelope.json");
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
    let mut python = Command::new(interpreter());
    python.arg("-B").arg(own.join("vectors.py")).env("PYTHONPATH", folder("python"));
    let mut node = Command::new("node");
    node.arg(own.join("vectors.mjs"));
    for mut command in [python, node] {
        let output = command.arg(&vectors).output().unwrap();
        succeeded(&output);
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.lines().count() > 30, "{said}");
    }
}
