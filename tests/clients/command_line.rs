//! `sealmq pub` and `sealmq sub`: as people use them, against a broker, and against one that does not answer.

use crate::encryption;
use crate::harness::broker::{binary, run};
use crate::harness::log::Log;
use crate::harness::{Broker, PATIENCE, Setup};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

fn plain(broker: &Broker) -> Vec<String> {
    let addr = broker.addr();
    ["-h", &addr.ip().to_string(), "-p", &addr.port().to_string()].map(str::to_owned).to_vec()
}

fn tls(broker: &Broker) -> Vec<String> {
    ["-h", "localhost", "-p", &broker.tls_addr().port().to_string(), "--cafile", "ca.pem"]
        .map(str::to_owned)
        .to_vec()
}

/// Runs `sealmq pub` to its end.
fn publish(broker: &Broker, args: &[&str], stdin: &str) -> Output {
    let place = plain(broker);
    let place = place.iter().map(String::as_str);
    let args: Vec<&str> = ["pub"].into_iter().chain(place).chain(args.iter().copied()).collect();
    run(broker.dir(), &args, stdin)
}

#[track_caller]
fn published(broker: &Broker, args: &[&str], stdin: &str) {
    let output = publish(broker, args, stdin);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

/// What was said on stderr by a command that failed with exit code 1.
#[track_caller]
fn refusal(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    said.trim_end().to_owned()
}

/// A running `sealmq sub`; its stdout and stderr are one log.
struct Sub {
    child: Child,
    output: Log,
}

impl Sub {
    fn spawn(dir: &Path, place: &[String], args: &[&str]) -> Self {
        let mut child = Command::new(binary())
            .args(["sub", "-d"])
            .args(place)
            .args(args)
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = Log::default();
        output.follow(child.stdout.take().unwrap());
        output.follow(child.stderr.take().unwrap());
        Self { child, output }
    }

    /// One that is subscribed when this returns.
    fn start(broker: &Broker, place: &[String], args: &[&str]) -> Self {
        let sub = Self::spawn(broker.dir(), place, args);
        sub.await_line("subscribed to");
        sub
    }

    fn await_line(&self, part: &str) -> String {
        self.output.line(|line| line.contains(part)).text
    }

    /// The lines of stdout so far.
    fn shown(&self) -> Vec<String> {
        self.output
            .lines(|line| !line.text.starts_with("sealmq: "))
            .into_iter()
            .map(|line| line.text)
            .collect()
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Waits until it has ended by itself: exit code, and the lines of stdout.
    fn end(&mut self) -> (Option<i32>, Vec<String>) {
        assert!(self.output.await_end(PATIENCE), "it does not end:\n{}", self.output.text());
        (self.child.wait().unwrap().code(), self.shown())
    }
}

impl Drop for Sub {
    fn drop(&mut self) {
        // An error says that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- output of sealmq sub:\n{}---", self.output.text());
        }
    }
}

#[test]
fn every_qos_and_both_versions_go_through() {
    let broker = Broker::start();
    for version in ["5", "311"] {
        let args = ["-V", version, "-t", "a/+", "-t", "b", "-q", "2", "-C", "4", "-F", "%t %q %r %p"];
        let mut sub = Sub::start(&broker, &plain(&broker), &args);
        for qos in ["0", "1", "2"] {
            published(&broker, &["-V", version, "-t", "a/b", "-q", qos, "-m", qos], "");
        }
        published(&broker, &["-V", version, "-t", "b", "-q", "1"], "from stdin");
        let expected = ["a/b 0 0 0", "a/b 1 0 1", "a/b 2 0 2", "b 1 0 from stdin"];
        assert_eq!(sub.end(), (Some(0), expected.map(str::to_owned).to_vec()), "{version}");
    }
}

#[test]
fn lines_arrive_all_and_in_order() {
    let broker = Broker::with_config("[mqtt]\nreceive_maximum = 7");
    let mut sub = Sub::start(&broker, &plain(&broker), &["-t", "a", "-q", "2", "-C", "300"]);
    let lines: Vec<String> = (0..300).map(|n| format!("line {n}")).collect();
    published(&broker, &["-t", "a", "-q", "2", "-l"], &(lines.join("\n\n") + "\n"));
    assert_eq!(sub.end(), (Some(0), lines));
}

#[test]
fn what_is_sealed_reaches_those_with_tls_as_plaintext() {
    let broker = encryption::start();
    let open = Sub::start(&broker, &plain(&broker), &["-t", "plant/#", "-t", "fence"]);
    let args = ["-t", "plant/#", "-q", "1", "-C", "4", "-v"];
    let mut sub = Sub::start(&broker, &tls(&broker), &args);
    let sealed = ["-t", "plant/7/temp", "-q", "1", "--sender-key", "keys/dev-7.jwk", "--topic-key"];
    let with = |more: &[&'static str]| [&sealed[..], more].concat();
    published(&broker, &with(&["keys/aes256.jwk"]), "1");
    published(&broker, &with(&["keys/pair.pub.jwk", "--time"]), "2");
    published(&broker, &with(&["keys/chacha.jwk", "-V", "311", "-l"]), "3\n4\n");
    let expected = ["1", "2", "3", "4"].map(|text| format!("plant/7/temp {text}"));
    assert_eq!(sub.end(), (Some(0), expected.to_vec()));
    let counter = std::fs::read_to_string(broker.dir().join("keys/dev-7.jwk.seq")).unwrap();
    assert_eq!(counter, "00000000000000000003\n", "one for each line, none for a time");
    published(&broker, &["-t", "fence", "-m", "fence"], "");
    open.output.line(|line| line.text == "fence");
    assert_eq!(open.shown(), ["fence"]);
}

#[test]
fn end_to_end_opens_with_the_keys_of_the_command_line() {
    let broker = encryption::start();
    let keys = [
        "--sender-key",
        "keys/dev-7.pub.jwk",
        "--topic-key",
        "keys/aes256.jwk",
        "--topic-key",
        "keys/pair.jwk",
    ];
    let args = [&["-t", "private/#", "-q", "1", "-C", "2", "-F", "%t %s %p"], &keys[..]].concat();
    let mut sub = Sub::start(&broker, &plain(&broker), &args);
    let seal = |more: &[&str]| {
        let args = ["-t", "private/7/x", "-q", "1", "--sender-key", "keys/dev-7.jwk"];
        published(&broker, &[&args, more].concat(), encryption::SECRET);
    };
    seal(&["--topic-key", "keys/chacha.jwk"]);
    sub.await_line("private/7/x: unknown-key: ");
    seal(&[]);
    sub.await_line("private/7/x: not-sealed: ");
    seal(&["--topic-key", "keys/aes256.jwk"]);
    seal(&["--topic-key", "keys/pair.pub.jwk"]);
    let line = format!("private/7/x dev-7 {}", encryption::SECRET);
    assert_eq!(sub.end(), (Some(0), vec![line.clone(), line]));
}

#[test]
fn an_envelope_that_comes_twice_is_shown_once() {
    let broker = encryption::start();
    let args = ["-t", "plain", "-q", "1", "--sender-key", "keys/dev-9.pub.jwk"];
    let sub = Sub::start(&broker, &plain(&broker), &args);
    let stamp = ["-t", "plain", "-q", "1", "-m", "once", "--sender-key", "keys/dev-9.jwk", "--seq", "5"];
    published(&broker, &stamp, "");
    published(&broker, &stamp, "");
    sub.await_line("plain: replayed: ");
    published(&broker, &["-t", "plain", "-q", "1", "-m", "bare"], "");
    sub.await_line("plain: not-an-envelope: ");
    assert_eq!(sub.shown(), ["once"]);
}

#[test]
fn refusals_are_told_by_their_names() {
    let rules = format!(
        "{}[[acl]]\naccess = \"all\"\npermission = \"deny\"\ntopics = [\"no/#\"]\n\
         [[acl]]\naccess = \"all\"\ntopics = [\"#\"]",
        encryption::RULES
    );
    let broker = encryption::setup().config(&rules).start();
    let at = broker.addr();
    let said = refusal(&publish(&broker, &["-t", "no/a", "-q", "1", "-m", "x"], ""));
    assert!(said.starts_with(&format!("sealmq: no/a: refused by {at}: not authorized (0x87)")), "{said}");
    let said = refusal(&publish(&broker, &["-t", "plant/7/a", "-q", "2", "-m", "x"], ""));
    assert!(said.contains("payload format invalid (0x99)") && said.contains("--topic-key"), "{said}");
    // QoS 0 has no acknowledgement; a broker that closes says why.
    let said = refusal(&publish(&broker, &["-t", "strict/7/a", "-m", "x"], ""));
    let expected = format!("sealmq: {at} ends the connection: payload format invalid (0x99)");
    assert!(said.starts_with(&expected), "{said}");
    let mut sub = Sub::spawn(broker.dir(), &plain(&broker), &["-t", "no/#"]);
    assert_eq!(sub.end(), (Some(1), vec![]));
    sub.await_line("no/#: refused by ");
}

#[test]
fn passwords_are_read_from_a_file_and_wrong_ones_refused() {
    let auth = "[auth]\nallow_anonymous = false\npassword_file = \"passwd\"";
    let setup = Setup::new().password("ann", "geheim").file("right", "geheim\n").file("wrong", "geheim2\n");
    let broker = setup.config(auth).start();
    published(&broker, &["-t", "a", "-q", "1", "-m", "x", "-u", "ann", "--password-file", "right"], "");
    published(&broker, &["-t", "a", "-q", "1", "-m", "x", "-u", "ann", "-P", "geheim"], "");
    let wrong = ["-t", "a", "-m", "x", "-u", "ann", "--password-file", "wrong"];
    let said = refusal(&publish(&broker, &wrong, ""));
    let at = broker.addr();
    assert!(said.starts_with(&format!("sealmq: {at} refuses the connection: ")), "{said}");
    assert!(said.contains("(0x86)") || said.contains("(0x87)"), "{said}");
    let old = refusal(&publish(&broker, &[&wrong[..], &["-V", "311"]].concat(), ""));
    assert!(old.starts_with(&format!("sealmq: {at} refuses the connection: ")), "{old}");
}

#[test]
fn a_broker_that_is_not_there_or_not_trusted_is_told() {
    let broker = Broker::start();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = nobody.local_addr().unwrap().port().to_string();
    drop(nobody);
    let output = run(broker.dir(), &["pub", "-h", "127.0.0.1", "-p", &port, "-t", "a", "-m", "x"], "");
    assert_eq!(refusal(&output), format!("sealmq: cannot connect to 127.0.0.1:{port}: connection refused"));
    let other = crate::harness::certificates::Certificates::make();
    std::fs::write(broker.dir().join("other.pem"), other.ca).unwrap();
    let port = broker.tls_addr().port().to_string();
    let args = ["pub", "-p", &port, "--cafile", "other.pem", "-t", "a", "-m", "x"];
    let said = refusal(&run(broker.dir(), &args, ""));
    assert!(
        said.starts_with(&format!("sealmq: cannot connect to localhost:{port}: invalid peer cert")),
        "{said}"
    );
}

#[test]
fn a_sub_ends_well_by_a_signal_and_badly_with_the_broker() {
    let broker = Broker::start();
    for signal in ["INT", "TERM"] {
        let mut sub = Sub::start(&broker, &plain(&broker), &["-t", "a", "-i", signal]);
        sub.signal(signal);
        assert_eq!(sub.end(), (Some(0), vec![]));
        let ends = |line: &crate::harness::log::LogLine| {
            line.field("client") == Some(signal) && line.message().starts_with("disconnected")
        };
        broker.log_line(ends);
    }
    let mut sub = Sub::start(&broker, &plain(&broker), &["-t", "a"]);
    let place = broker.addr();
    drop(broker);
    assert_eq!(sub.end().0, Some(1));
    sub.await_line(&format!("sealmq: the connection to {place} is lost"));
}

#[test]
fn retained_messages_and_kept_sessions_as_asked_for() {
    let broker = Broker::start();
    published(&broker, &["-t", "a", "-q", "1", "-r", "-m", "kept"], "");
    let mut sub = Sub::spawn(broker.dir(), &plain(&broker), &["-t", "a", "-C", "1", "-F", "%r %p"]);
    assert_eq!(sub.end(), (Some(0), vec!["1 kept".to_owned()]));
    for version in ["5", "311"] {
        let mut sub = Sub::spawn(
            broker.dir(),
            &plain(&broker),
            &["-V", version, "-t", "a", "-R", "-C", "1", "-W", "1"],
        );
        assert_eq!(sub.end(), (Some(1), vec![]));
        sub.await_line("sealmq: fewer than 1 messages within 1 s");
    }
    let again = ["-t", "a", "-R", "-q", "1", "-i", "away", "-x", "600"];
    let mut sub = Sub::start(&broker, &plain(&broker), &again);
    sub.signal("INT");
    assert_eq!(sub.end(), (Some(0), vec![]));
    published(&broker, &["-t", "a", "-q", "1", "-m", "meanwhile"], "");
    let mut sub = Sub::spawn(broker.dir(), &plain(&broker), &[&again[..], &["-C", "1"]].concat());
    assert_eq!(sub.end(), (Some(0), vec!["meanwhile".to_owned()]));
    sub.await_line("to a session that was kept");
}

/// The broker would close after one and a half times the keep alive without a packet.
#[test]
fn a_sub_that_hears_nothing_stays_connected() {
    let broker = Broker::start();
    let mut sub = Sub::spawn(broker.dir(), &plain(&broker), &["-t", "a", "-k", "1", "-W", "3"]);
    assert_eq!(sub.end(), (Some(0), vec![]));
}

#[test]
fn a_broker_that_does_not_answer_a_ping_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let place = ["-h", "127.0.0.1", "-p", &addr.port().to_string()].map(str::to_owned);
    let folder = Setup::empty();
    let mut sub = Sub::spawn(folder.dir(), &place, &["-t", "a", "-k", "1"]);
    let (mut socket, _) = listener.accept().unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(socket.read(&mut [0; 256]).unwrap() > 0, "a CONNECT");
    socket.write_all(&[0x20, 3, 0, 0, 0]).unwrap();
    assert_eq!(sub.end().0, Some(1));
    sub.await_line(&format!("sealmq: {addr} does not answer within 1 s"));
}

#[test]
fn what_is_no_mqtt_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let place = ["-h", "127.0.0.1", "-p", &addr.port().to_string()].map(str::to_owned);
    let folder = Setup::empty();
    let mut sub = Sub::spawn(folder.dir(), &place, &["-t", "a"]);
    let (mut socket, _) = listener.accept().unwrap();
    // Long enough for what it would be as a packet.
    let page = format!("HTTP/1.1 400 Bad Request\r\nContent-Length: 100\r\n\r\n{}", " ".repeat(100));
    socket.write_all(page.as_bytes()).unwrap();
    assert_eq!(sub.end().0, Some(1));
    sub.await_line(&format!("sealmq: {addr} sends what is not MQTT: "));
}
