//! Foreign clients: `mosquitto_pub` and `mosquitto_sub`, run for real and ended with the test.

use super::broker::Broker;
use super::log::Log;
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// Seconds after which a client that nobody ends gives up by itself.
const GIVES_UP_S: &str = "30";
/// What each received message is printed as: recognisable, and safe for any payload.
const FORMAT: &str = "message|%q|%r|%t|%x";

/// A message that a foreign subscriber printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Received {
    /// The QoS it came with.
    pub(crate) qos: u8,
    /// Its RETAIN flag.
    pub(crate) retain: bool,
    /// Its topic.
    pub(crate) topic: String,
    /// Its payload.
    pub(crate) payload: Vec<u8>,
}

impl Received {
    fn parse(line: &str) -> Self {
        let mut parts = line.splitn(5, '|').skip(1);
        let mut part = || parts.next().unwrap_or_else(|| panic!("no message: {line}"));
        let (qos, retain, topic, hex) = (part(), part(), part(), part());
        let payload = hex
            .as_bytes()
            .chunks(2)
            .map(|digits| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap());
        Self {
            qos: qos.parse().unwrap(),
            retain: retain == "1",
            topic: topic.to_owned(),
            payload: payload.collect(),
        }
    }

    /// The payload as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).unwrap()
    }
}

/// A running `mosquitto_sub`.
pub(crate) struct Subscriber {
    child: Child,
    output: Log,
}

impl Subscriber {
    /// Runs `mosquitto_sub` on the plaintext listener; it is subscribed when this returns.
    pub(crate) fn start(broker: &Broker, args: &[&str]) -> Self {
        Self::spawn(plain(broker), args).subscribed()
    }

    /// The same on the TLS listener.
    pub(crate) fn start_tls(broker: &Broker, args: &[&str]) -> Self {
        Self::spawn(tls(broker), args).subscribed()
    }

    /// Runs it without waiting, with where to connect to among `args`: for one that is refused.
    pub(crate) fn spawn(place: Vec<String>, args: &[&str]) -> Self {
        let mut command = Self::command();
        command.args(place).args(args);
        Self::begin(command)
    }

    fn command() -> Command {
        // Line by line: behind a pipe its output would come when a buffer is full.
        let mut command = Command::new("stdbuf");
        command.args(["-oL", "mosquitto_sub", "-d", "-F", FORMAT, "-W", GIVES_UP_S]);
        command
    }

    fn begin(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("mosquitto-clients are installed");
        let output = Log::default();
        output.follow(child.stdout.take().unwrap());
        output.follow(child.stderr.take().unwrap());
        Self { child, output }
    }

    /// Runs it with these arguments alone in the folder `dir`; it is subscribed when this returns.
    pub(crate) fn run(dir: &Path, args: &[impl AsRef<OsStr>]) -> Self {
        let mut command = Self::command();
        command.args(args).current_dir(dir);
        Self::begin(command).subscribed()
    }

    fn subscribed(self) -> Self {
        self.output.line(|line| line.contains("Subscribed (mid"));
        self
    }

    /// The next message after `n` others; waits for it.
    pub(crate) fn message(&self, n: usize) -> Received {
        Received::parse(&self.output.nth_line(n, |line| line.text.starts_with("message|")).text)
    }

    /// The first `n` messages; waits for them.
    pub(crate) fn messages(&self, n: usize) -> Vec<Received> {
        (0..n).map(|n| self.message(n)).collect()
    }

    /// All messages so far.
    pub(crate) fn messages_so_far(&self) -> Vec<Received> {
        let lines = self.output.lines(|line| line.text.starts_with("message|"));
        lines.iter().map(|line| Received::parse(&line.text)).collect()
    }

    /// Everything it printed, with what `-d` adds.
    pub(crate) fn output(&self) -> &Log {
        &self.output
    }

    /// Ends it by SIGTERM, on which it sends DISCONNECT, and waits for its end.
    pub(crate) fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
        self.child.wait().unwrap();
    }

    /// Waits until it has ended by itself, and returns its exit code.
    pub(crate) fn wait(mut self) -> i32 {
        assert!(self.output.await_end(super::PATIENCE), "it does not end:\n{}", self.output.text());
        self.child.wait().unwrap().code().unwrap()
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        // An error says that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- output of mosquitto_sub:\n{}---", self.output.text());
        }
    }
}

/// Runs `mosquitto_pub` on the plaintext listener, to its end.
pub(crate) fn publish(broker: &Broker, args: &[&str]) -> Output {
    run(plain(broker), args, b"")
}

/// The same on the TLS listener.
pub(crate) fn publish_tls(broker: &Broker, args: &[&str]) -> Output {
    run(tls(broker), args, b"")
}

/// `mosquitto_pub -s` on the plaintext listener: the payload is `stdin`.
pub(crate) fn publish_stdin(broker: &Broker, args: &[&str], stdin: &[u8]) -> Output {
    run(plain(broker), &[&["-s"], args].concat(), stdin)
}

/// `mosquitto_pub -l` on the plaintext listener: each line of `stdin` is a message.
pub(crate) fn publish_lines(broker: &Broker, args: &[&str], stdin: &[u8]) -> Output {
    run(plain(broker), &[&["-l"], args].concat(), stdin)
}

fn run(place: Vec<String>, args: &[&str], stdin: &[u8]) -> Output {
    use std::io::Write;
    let mut child = Command::new("timeout")
        .args([GIVES_UP_S, "mosquitto_pub"])
        .args(place)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("mosquitto-clients are installed");
    // A client that does not read its standard input may be gone already.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    child.wait_with_output().unwrap()
}

/// Options that lead to the plaintext listener.
pub(crate) fn plain(broker: &Broker) -> Vec<String> {
    let addr = broker.addr();
    ["-h", &addr.ip().to_string(), "-p", &addr.port().to_string()].map(str::to_owned).to_vec()
}

/// Options that lead to the TLS listener.
pub(crate) fn tls(broker: &Broker) -> Vec<String> {
    let port = broker.tls_addr().port().to_string();
    let ca = broker.ca_file().display().to_string();
    ["-h", "localhost", "-p", &port, "--cafile", &ca].map(str::to_owned).to_vec()
}
