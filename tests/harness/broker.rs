//! A real broker: the binary built from these sources, started with a configuration file in a folder of
//! its own, on ports that the system picks.
//!
//! It is there when [`Broker::start`] returns, since it has logged where it listens; it is gone when the
//! value is dropped. A test that panics prints the broker's log.

use super::PATIENCE;
use super::certificates::certificates;
use super::log::{Log, LogLine};
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, OnceLock};
use tempfile::TempDir;

/// What is written where a configuration names no listener: one plaintext, one TLS.
const LISTENERS: &str = r#"
[[listener]]
bind = "127.0.0.1:0"
[[listener]]
bind = "127.0.0.1:0"
[listener.tls]
cert = "server.pem"
key = "server.key"
"#;

/// A running broker.
pub(crate) struct Broker {
    child: Child,
    log: Log,
    dir: Arc<TempDir>,
    config: String,
    listeners: Vec<Listening>,
}

/// Where a broker listens.
#[derive(Debug, Clone, Copy)]
struct Listening {
    addr: SocketAddr,
    scheme: &'static str,
}

impl Broker {
    /// A broker with everything at its default.
    pub(crate) fn start() -> Self {
        Setup::new().start()
    }

    /// A broker with this in its configuration file; without a `[[listener]]` in it, it gets the
    /// default ones.
    pub(crate) fn with_config(toml: &str) -> Self {
        Setup::new().config(toml).start()
    }

    /// The first plaintext listener.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.listener("mqtt")
    }

    /// Where the `n`th listener of the configuration listens; waits until it does.
    pub(crate) fn await_listening(&self, n: usize) -> SocketAddr {
        self.listening(n).addr
    }

    /// The first TLS listener.
    pub(crate) fn tls_addr(&self) -> SocketAddr {
        self.listener("mqtts")
    }

    /// The first listener that serves URLs of this scheme: `mqtt`, `mqtts`, `ws` or `wss`.
    pub(crate) fn listener(&self, scheme: &str) -> SocketAddr {
        let found = self.listeners.iter().find(|listener| listener.scheme == scheme);
        found.expect("the configuration has such a listener").addr
    }

    /// The folder of its configuration: `sealmq.toml`, certificates, whatever [`Setup::file`] put there.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The certificate of the authority that signed the broker's, as a file for foreign clients.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.dir().join("ca.pem")
    }

    /// Its log.
    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// The first log line that fits; waits for it.
    pub(crate) fn log_line(&self, fits: impl Fn(&LogLine) -> bool) -> LogLine {
        self.log.line(fits)
    }

    /// The log line that says that the connection from `addr` was closed for breaking `clause`.
    pub(crate) fn closed_for(&self, addr: SocketAddr, clause: &str) -> LogLine {
        let addr = addr.to_string();
        let closed = |line: &LogLine| line.field("addr") == Some(&addr) && line.contains("closed");
        let line = self.log_line(closed);
        assert_eq!(line.field("clause"), Some(clause), "{}", line.text);
        line
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Puts another configuration in the place of the one that it was started with.
    pub(crate) fn rewrite_config(&self, toml: &str) {
        write_config(self.dir(), toml);
    }

    /// Sends SIGHUP: keys, policies, passwords and certificates are read again.
    pub(crate) fn reload(&self) {
        self.signal("HUP");
    }

    /// Sends SIGTERM, and waits for the end of the process.
    pub(crate) fn stop(mut self) -> (ExitStatus, Log) {
        self.terminate();
        (self.wait(), self.log.clone())
    }

    /// Waits for the end of the process.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        assert!(self.log.await_end(PATIENCE * 3), "the broker does not end:\n{}", self.log.text());
        self.child.wait().unwrap()
    }

    /// Its folder as it is now, for another broker; without configuration.
    pub(crate) fn into_setup(self) -> Setup {
        Setup { dir: self.dir.clone(), ..Setup::empty() }
    }

    /// Ends it with SIGKILL. Its folder and its configuration, for another start.
    pub(crate) fn kill(mut self) -> Setup {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.again()
    }

    /// Ends it with SIGTERM. Its folder and its configuration, for another start.
    pub(crate) fn end(mut self) -> Setup {
        self.terminate();
        let status = self.wait();
        assert!(status.success(), "{status}");
        self.again()
    }

    /// Its folder and its configuration, for another start once it has ended.
    pub(crate) fn again(&self) -> Setup {
        Setup { dir: self.dir.clone(), config: self.config.clone(), ..Setup::empty() }
    }

    /// Resident memory of the process, bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // An error says that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the broker's log:\n{}---", self.log.text());
        }
    }
}

/// A broker that is about to be started: its folder, its files, its configuration.
pub(crate) struct Setup {
    dir: Arc<TempDir>,
    config: String,
    env: Vec<(String, String)>,
    args: Vec<String>,
    runner: Vec<String>,
}

impl Setup {
    /// A folder with nothing in it.
    pub(crate) fn empty() -> Self {
        Self {
            dir: Arc::new(TempDir::new().unwrap()),
            config: String::new(),
            env: Vec::new(),
            args: Vec::new(),
            runner: Vec::new(),
        }
    }

    /// A folder with `ca.pem`, `server.pem` and `server.key`, and an empty configuration.
    pub(crate) fn new() -> Self {
        let made = certificates();
        let files =
            [("ca.pem", &made.ca), ("server.pem", &made.server.cert), ("server.key", &made.server.key)];
        files.into_iter().fold(Self::empty(), |setup, (name, text)| setup.file(name, text))
    }

    /// The folder; relative paths in the configuration start here.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Puts a file into the folder, readable by its owner alone.
    pub(crate) fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.dir().join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        self
    }

    /// Adds to the configuration file. Keys outside of sections are not possible here.
    pub(crate) fn config(mut self, toml: &str) -> Self {
        self.config.push_str(toml);
        self.config.push('\n');
        self
    }

    /// Puts another configuration in the place of the one so far.
    pub(crate) fn config_instead(self, toml: &str) -> Self {
        Self { config: String::new(), ..self }.config(toml)
    }

    /// Sets a variable of the broker's environment.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// One more argument for the broker.
    pub(crate) fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// A program, with its arguments, that becomes the broker.
    pub(crate) fn runner(mut self, program: &[String]) -> Self {
        self.runner = program.to_vec();
        self
    }

    /// Runs `sealmq` with other arguments in the folder, to its end: `passwd`, `keys`, `seal`, ...
    pub(crate) fn run(&self, args: &[&str], stdin: impl AsRef<[u8]>) -> Output {
        run(self.dir(), args, stdin)
    }

    /// Adds a user to the password file `passwd`.
    pub(crate) fn password(self, user: &str, password: &str) -> Self {
        let output = self.run(&["passwd", "passwd", user], format!("{password}\n"));
        assert!(output.status.success(), "{output:?}");
        self
    }

    /// Starts the broker, and waits until it listens.
    pub(crate) fn start(self) -> Broker {
        let mut broker = self.spawn();
        // The last listener of the file is logged last, but how many there are the file alone says.
        let text = std::fs::read_to_string(broker.dir().join("sealmq.toml")).unwrap();
        let listeners = text.lines().filter(|line| line.trim() == "[[listener]]").count();
        broker.listeners = (0..listeners).map(|n| broker.listening(n)).collect();
        broker
    }

    /// Starts the broker without waiting: for tests in which it does not get as far as to listen.
    pub(crate) fn spawn(self) -> Broker {
        self.write_config();
        let file = self.dir().join("sealmq.toml");
        let args = ["--config".into(), file.into_os_string()];
        let more: Vec<OsString> = self.args.iter().map(Into::into).collect();
        self.launch(args.into_iter().chain(more))
    }

    /// Writes `sealmq.toml` into the folder: for a broker that is about to read it, again maybe.
    pub(crate) fn write_config(&self) {
        write_config(self.dir(), &self.config);
    }

    /// Starts `sealmq` with these arguments in the folder, without waiting.
    pub(crate) fn launch(self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Broker {
        let mut runner = self.runner.iter().map(OsStr::new).chain([binary().as_os_str()]);
        let mut child = Command::new(runner.next().unwrap())
            .args(runner)
            .args(args)
            .current_dir(self.dir())
            .env("SEALMQ_TELEMETRY__LOG_JSON", "true")
            .envs(self.env)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Log::default();
        log.follow(child.stdout.take().unwrap());
        log.follow(child.stderr.take().unwrap());
        Broker { child, log, dir: self.dir, config: self.config, listeners: Vec::new() }
    }
}

impl Broker {
    fn listening(&self, n: usize) -> Listening {
        let line = self.log.nth_line(n, |line| line.message() == "listening");
        let addr = line.field("addr").expect("the log line has an address").parse().unwrap();
        let own = line.field("scheme").expect("it says what is spoken there");
        let scheme = ["mqtt", "mqtts", "ws", "wss"].into_iter().find(|scheme| *scheme == own);
        Listening { addr, scheme: scheme.expect("a scheme that is known") }
    }
}

/// Writes `sealmq.toml`, with the default listeners where the text names none.
fn write_config(dir: &Path, toml: &str) {
    let listeners = if toml.contains("[[listener]]") { "" } else { LISTENERS };
    std::fs::write(dir.join("sealmq.toml"), format!("data_dir = \"data\"\n{toml}{listeners}")).unwrap();
}

/// Runs `sealmq` in the folder `dir`, to its end.
pub(crate) fn run(dir: &Path, args: &[&str], stdin: impl AsRef<[u8]>) -> Output {
    let mut child = Command::new("timeout")
        .arg(PATIENCE.as_secs().to_string())
        .arg(binary())
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that reads nothing may be gone already.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_ref());
    child.wait_with_output().unwrap()
}

/// The binary, built from the sources as they are now, once for each run of the tests.
pub(crate) fn binary() -> &'static Path {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let build = || built("sealmq", &["--bin", "sealmq"]).map(|profile| profile.join("sealmq"));
    BUILT.get_or_init(build).as_deref().expect("the broker compiles")
}

/// Builds these targets of a package; the folder that they are in then.
pub(crate) fn built(package: &str, targets: &[&str]) -> Option<PathBuf> {
    // <target>/<profile>/deps/integration-<hash>
    let exe = std::env::current_exe().unwrap();
    let profile = exe.ancestors().nth(2)?;
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--package", package]).args(targets);
    cargo.arg("--target-dir").arg(profile.parent()?);
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    // What cargo says of this package would make it build others anew.
    for (name, _) in std::env::vars() {
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_"].iter().any(|own| name.starts_with(own)) {
            cargo.env_remove(name);
        }
    }
    let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap();
    built.success().then(|| profile.to_owned())
}
