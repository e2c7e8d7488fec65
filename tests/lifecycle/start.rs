//! The start: with a file, with options, and with nothing at all.

use crate::harness::clients::Subscriber;
use crate::harness::packets::connack;
use crate::harness::websocket::WebSocket;
use crate::harness::{Broker, Connect, Setup, Wire};
use crate::lifecycle::tls::trusting;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard};

/// The ports of a start without configuration; one test at a time may have them.
static FIXED_PORTS: Mutex<()> = Mutex::new(());
const PLAIN: &str = "127.0.0.1:1883";
const TLS: &str = "127.0.0.1:8883";
const WS: &str = "127.0.0.1:8083";
const WSS: &str = "127.0.0.1:8084";

/// The fixed ports, which have to be free.
fn fixed_ports() -> MutexGuard<'static, ()> {
    let guard = FIXED_PORTS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for addr in [PLAIN, TLS, WS, WSS] {
        let free = TcpListener::bind(addr);
        assert!(free.is_ok(), "{addr} is taken on this machine, and this test needs it: {free:?}");
    }
    guard
}

fn is_accepted(mut wire: Wire) {
    wire.send(Connect::new("c").bytes());
    wire.expect(connack(false, 0));
}

const NO_ARGUMENTS: [&str; 0] = [];

/// In an empty folder: certificates are made, all ports are open, and the greeting's commands work.
/// The second start finds what the first one made.
#[test]
fn start_with_nothing_serves_this_machine() {
    let _ports = fixed_ports();
    let mut broker = Setup::empty().launch(NO_ARGUMENTS);
    let dir = broker.dir().join("sealmq-data/tls");
    let listening = [0, 1, 2, 3].map(|n| broker.await_listening(n));
    assert_eq!(listening, [PLAIN, TLS, WS, WSS].map(parsed));
    let authority = std::fs::read_to_string(dir.join("ca.pem")).unwrap();
    let mode = std::fs::metadata(dir.join("server.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    is_accepted(Wire::open_at(parsed(PLAIN)));
    is_accepted(Wire::open_tls_at(parsed(TLS), trusting(&authority)));
    is_accepted(Wire::by(WebSocket::open(parsed(WS), None)));
    is_accepted(Wire::by(WebSocket::open(parsed(WSS), Some(trusting(&authority)))));
    // What it greets with can be typed in as it stands.
    let subscriber = Subscriber::run(broker.dir(), &words(&broker, "mosquitto_sub "));
    let sent = shell(&broker, "printf ");
    assert!(sent.status.success(), "{sent:?}");
    let message = subscriber.message(0);
    assert_eq!((&*message.topic, message.text()), ("sealed/temp", "21.5"));
    drop(subscriber);
    broker.terminate();
    assert!(broker.wait().success());

    let again = broker.into_setup().launch(NO_ARGUMENTS);
    again.await_listening(3);
    is_accepted(Wire::open_tls_at(parsed(TLS), trusting(&authority)));
}

/// The words of the command in the greeting that begins so.
fn words(broker: &Broker, program: &str) -> Vec<String> {
    let line = broker.log_line(|line| line.text.trim_start().starts_with(program));
    line.text.split_whitespace().skip(1).map(|word| word.trim_matches('\'').to_owned()).collect()
}

/// Runs the command in the greeting that begins so, with the lines that continue it.
fn shell(broker: &Broker, program: &str) -> Output {
    let first = broker.log_line(|line| line.text.trim_start().starts_with(program)).text;
    // What comes after it ends the greeting.
    broker.log_line(|line| line.contains("Ctrl-C"));
    // Lines of the log, which are JSON, come on another stream and may stand between those of the greeting.
    let greeting = broker.log().lines(|line| !line.text.starts_with('{'));
    let lines: Vec<_> = greeting.into_iter().map(|line| line.text).collect();
    let at = lines.iter().position(|line| *line == first).unwrap();
    let length = lines[at..].iter().position(|line| !line.ends_with('\\')).unwrap() + 1;
    let command = lines[at..at + length].join("\n");
    Command::new("sh").args(["-c", &command]).current_dir(broker.dir()).output().unwrap()
}

fn parsed(addr: &str) -> SocketAddr {
    addr.parse().unwrap()
}

/// `--data-dir` moves what is made.
#[test]
fn data_dir_option_moves_the_folder() {
    let _ports = fixed_ports();
    let broker = Setup::empty().launch(["--data-dir", "elsewhere/deep"]);
    broker.await_listening(3);
    assert!(broker.dir().join("elsewhere/deep/tls/ca.pem").exists());
    assert!(!broker.dir().join("sealmq-data").exists());
}

/// `--listen` is one plaintext listener and no other; no certificates are made.
#[test]
fn listen_option_is_the_only_listener() {
    for command in [&[][..], &["serve"]] {
        let args = [command, &["--listen", "127.0.0.1:0", "--data-dir", "data"]].concat();
        let broker = Setup::empty().launch(args);
        is_accepted(Wire::open_at(broker.await_listening(0)));
        assert_eq!(broker.log().lines(|line| line.message() == "listening").len(), 1);
        assert!(broker.dir().join("data").exists() && !broker.dir().join("data/tls").exists());
    }
}

/// The options go before the file.
#[test]
fn options_go_before_the_file() {
    let setup = Setup::new().config("[limits]\nconnections_max = 1");
    setup.write_config();
    let broker = setup.launch(["--config", "sealmq.toml", "--listen", "127.0.0.1:0", "--data-dir", "other"]);
    let addr = broker.await_listening(0);
    assert_eq!(broker.log().lines(|line| line.message() == "listening").len(), 1);
    assert!(broker.dir().join("other").exists() && !broker.dir().join("data").exists());
    // The rest of the file holds.
    let _first = Wire::open_at(addr).connected(&Connect::new("first"), false);
    let mut second = Wire::open_at(addr);
    second.send(Connect::new("second").bytes());
    second.expect(connack(false, 3));
}

/// The environment goes before the file too.
#[test]
fn environment_goes_before_the_file() {
    let setup = Setup::new().env("SEALMQ_LIMITS__CONNECTIONS_MAX", "1");
    let broker = setup.config("[limits]\nconnections_max = 2").start();
    let _first = Wire::client(&broker, "first");
    let mut second = Wire::open(&broker);
    second.send(Connect::new("second").bytes());
    second.expect(connack(false, 3));
}

/// Starts a broker that cannot: it ends with code 1, and the line on stderr that contains `what` begins
/// with its name.
fn assert_does_not_start(setup: Setup, what: &str) {
    assert_ends(setup.spawn(), what);
}

fn assert_ends(mut broker: Broker, what: &str) {
    assert_eq!(broker.wait().code(), Some(1), "{}", broker.log().text());
    let line = broker.log_line(|line| line.contains(what));
    assert!(line.text.starts_with("sealmq: "), "{}", line.text);
    assert!(broker.log().lines(|line| line.message() == "listening").is_empty());
}

#[test]
fn unknown_key_is_an_error_that_names_the_nearest() {
    let setup = Setup::new().config("[limits]\nconnection_max = 1");
    assert_does_not_start(setup, "limits.connection_max: unknown key; did you mean limits.connections_max?");
    let setup = Setup::new().env("SEALMQ_LIMITS__CONNECTION_MAX", "1");
    assert_does_not_start(setup, "did you mean SEALMQ_LIMITS__CONNECTIONS_MAX?");
}

#[test]
fn missing_files_are_errors_that_name_them() {
    let sender = "[[sender]]\nid = \"a\"\nkey = \"keys/a.pub.jwk\"\ntopics = [\"a\"]";
    assert_does_not_start(Setup::new().config(sender), "keys/a.pub.jwk");
    let passwords = "[auth]\npassword_file = \"passwd\"";
    assert_does_not_start(Setup::new().config(passwords), "auth.password_file");
    let listener =
        "[[listener]]\nbind = \"127.0.0.1:0\"\n[listener.tls]\ncert = \"a.pem\"\nkey = \"server.key\"";
    assert_does_not_start(Setup::new().config(listener), "a.pem");
    assert_ends(Setup::new().launch(["--config", "none.toml"]), "none.toml");
}

/// Somebody else has the port: an error that says which, instead of half a broker.
#[test]
fn taken_address_is_an_error_that_names_it() {
    let first = Broker::start();
    let taken = first.addr().to_string();
    assert_ends(Setup::empty().launch(["--listen", &taken, "--data-dir", "data"]), &taken);
}

/// Nothing is open before everything is in order.
#[test]
fn nothing_listens_if_one_listener_cannot() {
    let first = Broker::start();
    let config = format!("[[listener]]\nbind = \"127.0.0.1:0\"\n[[listener]]\nbind = \"{}\"", first.addr());
    assert_does_not_start(Setup::new().config(&config), &first.addr().to_string());
}
