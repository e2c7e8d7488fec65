//! SCRAM-SHA-256 (RFC 7677) by AUTH (§4.12): log in without showing the password, and again later.

use super::PROTOCOL_ERROR;
use crate::harness::packets5::{
    AUTH, AUTH_DATA, AUTH_METHOD, Answer, CONNACK, DISCONNECT5, MAXIMUM_PACKET_SIZE, PUBACK, With, auth5,
    disconnect5,
};
use crate::harness::scram::Scram;
use crate::harness::websocket::WebSocket;
use crate::harness::wire::tls_config;
use crate::harness::{Broker, Connect5, Publish5, Setup, Wire};

const METHOD: &str = "SCRAM-SHA-256";

fn with_users() -> Broker {
    users().start()
}

/// Two users made by `sealmq passwd`; each may publish below its own name.
fn users() -> Setup {
    Setup::new().password("anna", "correct horse").password("b=e,rt", "battery staple").config(
        "[auth]\nallow_anonymous = false\npassword_file = \"passwd\"\n\
         [[acl]]\naccess = \"all\"\ntopics = [\"of/%u/#\"]",
    )
}

fn connect(first: impl AsRef<[u8]>) -> Vec<u8> {
    Connect5::new("c").with(AUTH_METHOD, METHOD).with(AUTH_DATA, first.as_ref()).bytes()
}

fn go_on(data: impl AsRef<[u8]>) -> Vec<u8> {
    auth5(0x18, METHOD).with(AUTH_DATA, data.as_ref()).bytes()
}

/// The server's first message, by an AUTH that says to go on.
#[track_caller]
fn expect_challenge(wire: &mut Wire) -> Vec<u8> {
    let auth = wire.await_answer(AUTH, 0);
    assert_eq!(auth.code(), 0x18);
    assert_eq!(auth.properties.text(AUTH_METHOD).as_deref(), Some(METHOD));
    assert!(auth.properties.ids().iter().all(|id| [AUTH_METHOD, AUTH_DATA].contains(id)), "{auth:?}");
    auth.properties.data(AUTH_DATA).unwrap()
}

/// Logs in on a new connection.
#[track_caller]
fn log_in(broker: &Broker, user: &str, password: &str) -> Wire {
    log_in_by(Wire::open(broker), user, password)
}

/// Logs in on a connection on which nothing was sent yet.
#[track_caller]
fn log_in_by(mut wire: Wire, user: &str, password: &str) -> Wire {
    let scram = Scram::new(user, password, "3rfcNHYJY1ZVvWVs7j");
    wire.send(connect(scram.first()));
    let proof = scram.prove(&expect_challenge(&mut wire));
    wire.send(go_on(&proof.answer));
    let connack = wire.expect_connack(0);
    assert_eq!(connack.properties.text(AUTH_METHOD).as_deref(), Some(METHOD));
    assert_eq!(connack.properties.text(AUTH_DATA), Some(proof.expected), "the server knows the password too");
    wire
}

/// [MQTT-4.12.0-2], [MQTT-4.12.0-5], [MQTT-3.15.2-1]: who knows the password is let in, and is who the name
/// says.
#[test]
fn password_lets_in_without_being_shown() {
    let broker = with_users();
    let mut anna = log_in(&broker, "anna", "correct horse");
    assert_eq!(anna.try_publish5(&Publish5::new("of/anna/a", "1").qos(1, 1)), 0x10);
    assert_eq!(anna.try_publish5(&Publish5::new("of/b=e,rt/a", "1").qos(1, 1)), 0x87);
    anna.disconnect5(0);
    // A name with the two characters that SCRAM writes otherwise.
    let mut bert = log_in(&broker, "b=e,rt", "battery staple");
    assert_eq!(bert.try_publish5(&Publish5::new("of/b=e,rt/a", "1").qos(1, 1)), 0x10);
    assert!(!broker.log().text().contains("correct horse"));
}

/// [MQTT-4.12.0-2]: over TLS just the same.
#[test]
fn password_lets_in_over_tls() {
    let broker = with_users();
    let mut anna = log_in_by(Wire::open_tls(&broker), "anna", "correct horse");
    assert_eq!(anna.try_publish5(&Publish5::new("of/anna/a", "1").qos(1, 1)), 0x10);
    assert_eq!(anna.try_publish5(&Publish5::new("of/b=e,rt/a", "1").qos(1, 1)), 0x87);
    let line = broker.log_line(|line| line.message() == "connected");
    assert_eq!(line.value("secure").and_then(serde_json::Value::as_bool), Some(true), "{}", line.text);
}

/// What comes up to CONNACK, packet by packet, whole. The client takes packets of up to so many bytes, and
/// answers as it should.
#[track_caller]
fn sent_to(broker: &Broker, bytes_max: u32) -> Vec<Vec<u8>> {
    let scram = Scram::new("anna", "correct horse", "3rfcNHYJY1ZVvWVs7j");
    let mut wire = Wire::open(broker);
    let connect = Connect5::new("c").with(AUTH_METHOD, METHOD).with(AUTH_DATA, scram.first());
    wire.send(connect.with(MAXIMUM_PACKET_SIZE, bytes_max).bytes());
    let mut packets = vec![wire.receive()];
    let answer = Answer::parse(&packets[0]);
    if answer.first == AUTH {
        wire.send(go_on(scram.prove(&answer.properties.data(AUTH_DATA).unwrap()).answer));
        packets.push(wire.receive());
    } else {
        wire.expect_closed();
    }
    packets
}

/// [MQTT-3.1.2-24], [MQTT-3.15.2-2], [MQTT-3.15.2-3]: AUTH that is larger than the client takes is not sent,
/// with or without explanation; without it there is no going on, and that is said in as few bytes. One of
/// just that size is sent.
#[test]
fn auth_is_no_larger_than_the_client_takes() {
    let broker = with_users();
    let sizes = |packets: &[Vec<u8>]| packets.iter().map(Vec::len).collect::<Vec<_>>();
    let all = sizes(&sent_to(&broker, 1_000));
    let [auth, connack] = all[..] else { panic!("{all:?}") };
    assert!(connack < auth, "so that it is AUTH that is too large");
    let largest = u32::try_from(auth).unwrap();
    assert_eq!(sizes(&sent_to(&broker, largest)), all);
    for bytes_max in [10, largest - 1] {
        let packets = sent_to(&broker, bytes_max);
        assert!(packets[0].len() <= bytes_max as usize, "{packets:02x?}");
        let answer = Answer::parse(&packets[0]);
        assert!(packets.len() == 1 && answer.first == CONNACK && answer.code() == 0x95, "{answer:02x?}");
    }
}

/// [MQTT-4.12.0-4]: who does not know it is refused, and learns not whether there is such a user.
#[test]
fn wrong_password_is_refused() {
    let broker = with_users();
    let mut answers = Vec::new();
    for (user, password) in
        [("anna", "battery staple"), ("anna", ""), ("carl", "correct horse"), ("carl", "")]
    {
        let scram = Scram::new(user, password, "nonce");
        let mut wire = Wire::open(&broker);
        wire.send(connect(scram.first()));
        let proof = scram.prove(&expect_challenge(&mut wire));
        wire.send(go_on(proof.answer));
        let answer = Answer::parse(&wire.receive());
        assert!(answer.first == CONNACK && matches!(answer.code(), 0x86 | 0x87), "{answer:?}");
        wire.expect_closed();
        answers.push(answer);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "all refusals look alike");
}

/// RFC 5802, §5.1: the salt of a user who is not there is as constant as that of one who is.
#[test]
fn unknown_user_looks_like_a_known_one() {
    let broker = with_users();
    let salt = |user: &str| {
        let mut wire = Wire::open(&broker);
        wire.send(connect(Scram::new(user, "", "nonce").first()));
        let first = String::from_utf8(expect_challenge(&mut wire)).unwrap();
        first.split_once(",s=").unwrap().1.to_owned()
    };
    for user in ["anna", "carl"] {
        assert_eq!(salt(user), salt(user));
    }
    assert_ne!(salt("carl"), salt("dora"));
    assert_eq!(salt("carl").len(), salt("anna").len());
}

/// [MQTT-4.12.0-4], RFC 5802: messages that are none, channel binding that there is not.
#[test]
fn wrong_first_message_is_refused() {
    let broker = with_users();
    let wrong =
        ["", "n", "n,,", "n,,n=anna", "p=tls-exporter,,n=anna,r=nonce", "n,,m=x,n=anna,r=nonce", "\u{1}"];
    for first in wrong {
        let mut wire = Wire::open(&broker);
        wire.send(connect(first));
        let answer = Answer::parse(&wire.receive());
        assert!(answer.first == CONNACK && answer.code() >= 0x80, "{first}: {answer:?}");
        wire.expect_closed();
    }
}

/// [MQTT-4.12.0-4]: a proof counts for one exchange, and is not mended.
#[test]
fn wrong_proof_is_refused() {
    let broker = with_users();
    let scram = Scram::new("anna", "correct horse", "nonce");
    let mut first = Wire::open(&broker);
    first.send(connect(scram.first()));
    let overheard = scram.prove(&expect_challenge(&mut first)).answer;
    for change in [
        &(|_: String| overheard.clone()) as &dyn Fn(String) -> String,
        &|answer| answer.replace("c=biws", "c=eSws"),
        &|answer| answer.replace(",r=nonce", ",r=other"),
        &|answer| answer.split(",p=").next().unwrap().to_owned(),
        &|answer| answer + "A",
        &|_| String::new(),
    ] {
        let mut wire = Wire::open(&broker);
        wire.send(connect(scram.first()));
        let proof = scram.prove(&expect_challenge(&mut wire));
        wire.send(go_on(change(proof.answer)));
        let answer = Answer::parse(&wire.receive());
        assert!(answer.first == CONNACK && answer.code() >= 0x80, "{answer:?}");
        wire.expect_closed();
    }
}

/// Begins anew on a connection that is there.
fn again(scram: &Scram) -> Vec<u8> {
    auth5(0x19, METHOD).with(AUTH_DATA, scram.first()).bytes()
}

/// [MQTT-4.12.1-1], [MQTT-3.15.2-1]: a connected client proves itself again; everything else goes on
/// meanwhile.
#[test]
fn client_authenticates_again() {
    let broker = with_users();
    prove_again(log_in(&broker, "anna", "correct horse"));
}

/// [MQTT-4.12.1-1]: over a WebSocket on TLS just the same.
#[test]
fn client_authenticates_again_over_websocket() {
    let listener = "[[listener]]\nbind = \"127.0.0.1:0\"\nwebsocket = true\n\
        [listener.tls]\ncert = \"server.pem\"\nkey = \"server.key\"";
    let broker = users().config(listener).start();
    let websocket = WebSocket::open(broker.listener("wss"), Some(tls_config(None)));
    prove_again(log_in_by(Wire::by(websocket), "anna", "correct horse"));
}

/// Twice, with messages in the middle.
#[track_caller]
fn prove_again(mut anna: Wire) {
    anna.subscribe5("of/anna/#", 1);
    for nonce in ["second", "third"] {
        let scram = Scram::new("anna", "correct horse", nonce);
        anna.send(again(&scram));
        let proof = scram.prove(&expect_challenge(&mut anna));
        anna.send(Publish5::new("of/anna/a", nonce).qos(1, 9).bytes());
        assert_eq!(anna.await_answer(PUBACK, 9).code(), 0);
        anna.take5(nonce);
        anna.send(go_on(&proof.answer));
        let auth = anna.expect_reason(AUTH, 0, 0x00);
        assert_eq!(auth.properties.text(AUTH_METHOD).as_deref(), Some(METHOD));
        assert_eq!(auth.properties.text(AUTH_DATA), Some(proof.expected));
        anna.expect_nothing_but_pong();
    }
}

/// [MQTT-4.12.1-2]: who fails to is disconnected, be it with a wrong password, as an unknown user, or as
/// another one.
#[test]
fn wrong_answer_of_a_connected_client_ends_the_connection() {
    let broker = with_users();
    for (user, password) in [("anna", "wrong"), ("carl", "x"), ("b=e,rt", "battery staple")] {
        let mut anna = log_in(&broker, "anna", "correct horse");
        let scram = Scram::new(user, password, "second");
        anna.send(again(&scram));
        // Another user may be refused before the proof or after it.
        let mut answer = Answer::parse(&anna.receive());
        if answer.first == AUTH {
            anna.send(go_on(scram.prove(&answer.properties.data(AUTH_DATA).unwrap()).answer));
            answer = Answer::parse(&anna.receive());
        }
        assert!(answer.first == DISCONNECT5 && answer.code() == 0x87, "{user}: {answer:02x?}");
        anna.expect_closed();
    }
}

/// [MQTT-4.12.1-1]: the method stays the one of CONNECT.
#[test]
fn another_method_is_a_protocol_error() {
    let broker = with_users();
    for method in ["sealmq-ed25519", "GS2-KRB5", ""] {
        let mut anna = log_in(&broker, "anna", "correct horse");
        anna.send(auth5(0x19, method).with(AUTH_DATA, "data").bytes());
        anna.expect_disconnect(PROTOCOL_ERROR);
    }
}

/// §4.12.1: there is no going on with what was not begun; a client may leave in the middle.
#[test]
fn continuation_of_nothing_is_a_protocol_error() {
    let broker = with_users();
    let mut anna = log_in(&broker, "anna", "correct horse");
    anna.send(go_on("c=biws,r=nonce,p=AAAA"));
    anna.expect_disconnect(PROTOCOL_ERROR);
    let mut anna = log_in(&broker, "anna", "correct horse");
    anna.send(again(&Scram::new("anna", "correct horse", "second")));
    expect_challenge(&mut anna);
    anna.send(disconnect5(0).bytes());
    anna.expect_closed();
}
