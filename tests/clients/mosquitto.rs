//! Real `mosquitto_pub` and `mosquitto_sub` with MQTT 3.1.1.

use crate::harness::clients::{
    Received, Subscriber, plain, publish, publish_lines, publish_stdin, publish_tls,
};
use crate::harness::{Broker, Connect, Setup, Wire};
use std::process::Output;

#[track_caller]
fn assert_sent(output: &Output) {
    assert!(output.status.success(), "{output:?}");
}

fn send(broker: &Broker, args: &[&str]) {
    assert_sent(&publish(broker, args));
}

#[test]
fn every_qos_of_publish_and_subscription() {
    let broker = Broker::start();
    for granted in 0..=2_u8 {
        let subscriber = Subscriber::start(&broker, &["-t", "a/+", "-q", &granted.to_string()]);
        for qos in 0..=2_u8 {
            let text = format!("{qos} for {granted}");
            send(&broker, &["-t", "a/b", "-q", &qos.to_string(), "-m", &text]);
            let message = subscriber.message(usize::from(qos));
            let expected = Received {
                qos: qos.min(granted),
                retain: false,
                topic: "a/b".to_owned(),
                payload: text.into_bytes(),
            };
            assert_eq!(message, expected);
        }
    }
}

#[test]
fn retained_message_is_set_shown_and_cleared() {
    let broker = Broker::start();
    let early = Subscriber::start(&broker, &["-t", "a", "-q", "1"]);
    send(&broker, &["-t", "a", "-q", "1", "-r", "-m", "1"]);
    assert!(!early.message(0).retain);
    let late = Subscriber::start(&broker, &["-t", "a", "-q", "1"]);
    assert!(late.message(0).retain && late.message(0).text() == "1");
    send(&broker, &["-t", "a", "-q", "1", "-r", "-n"]);
    assert_eq!((late.message(1).retain, late.message(1).text()), (false, ""));
    let last = Subscriber::spawn(plain(&broker), &["-t", "a", "-E"]);
    let output = last.output().clone();
    assert_eq!(last.wait(), 0);
    assert!(output.lines(|line| line.text.starts_with("message|")).is_empty());
}

fn with_will(broker: &Broker) -> Subscriber {
    let will =
        ["--will-topic", "will", "--will-payload", "gone", "--will-qos", "1", "--will-retain", "-t", "x"];
    Subscriber::start(broker, &[&["-i", "mortal"], &will[..]].concat())
}

/// Ended by SIGKILL, a client says no goodbye.
#[test]
fn will_of_a_killed_client_is_published_and_kept() {
    let broker = Broker::start();
    let heir = Subscriber::start(&broker, &["-t", "will", "-q", "2"]);
    drop(with_will(&broker));
    let message = heir.message(0);
    assert_eq!((message.qos, message.retain, message.text()), (1, false, "gone"));
    let late = Subscriber::start(&broker, &["-t", "will", "-q", "2"]);
    assert!(late.message(0).retain);
}

/// Ended by SIGTERM, it sends DISCONNECT.
#[test]
fn will_of_a_client_that_says_goodbye_is_not_published() {
    let broker = Broker::start();
    let heir = Subscriber::start(&broker, &["-t", "#", "-q", "1"]);
    with_will(&broker).stop();
    send(&broker, &["-t", "fence", "-q", "1", "-m", "1"]);
    assert_eq!(heir.message(0).topic, "fence");
}

#[test]
fn persistent_session_gets_what_came_while_it_was_away() {
    let broker = Broker::start();
    let persistent = ["-i", "p", "-c", "-t", "a/#", "-q", "2"];
    let first = Subscriber::start(&broker, &persistent);
    send(&broker, &["-t", "a/0", "-q", "1", "-m", "live"]);
    assert_eq!(first.message(0).text(), "live");
    first.stop();
    broker.log_line(|line| line.message() == "disconnected" && line.field("client") == Some("p"));
    for n in 1..=50_u8 {
        let (topic, qos) = (format!("a/{n}"), (1 + n % 2).to_string());
        send(&broker, &["-t", &topic, "-q", &qos, "-m", &n.to_string()]);
    }
    send(&broker, &["-t", "a/0", "-q", "0", "-m", "lost"]);
    let second = Subscriber::start(&broker, &persistent);
    // QoS 2 is shown when its flow is over, so that QoS 1 sent after it may be shown before.
    let mut messages = second.messages(50);
    messages.sort_by_key(|message| message.text().parse::<u8>().unwrap());
    for (n, message) in (1..=50_u8).zip(messages) {
        assert_eq!((message.text(), message.qos), (&*n.to_string(), 1 + n % 2));
    }
    send(&broker, &["-t", "a/0", "-q", "1", "-m", "last"]);
    assert_eq!(second.message(50).text(), "last");
    // A clean session ends it.
    second.stop();
    Subscriber::start(&broker, &["-i", "p", "-t", "b"]).stop();
    Wire::connect(&broker, &Connect::new("p").persistent());
}

#[test]
fn tls_and_plaintext_meet() {
    let broker = Broker::start();
    let secure = Subscriber::start_tls(&broker, &["-t", "a", "-q", "2"]);
    let open = Subscriber::start(&broker, &["-t", "a", "-q", "2"]);
    send(&broker, &["-t", "a", "-q", "2", "-m", "from plaintext"]);
    assert_sent(&publish_tls(&broker, &["-t", "a", "-q", "2", "-m", "from TLS"]));
    for subscriber in [secure, open] {
        let messages = subscriber.messages(2);
        assert_eq!([messages[0].text(), messages[1].text()], ["from plaintext", "from TLS"]);
    }
}

/// Return codes 4 and 5 as a person sees them.
#[test]
fn user_and_password_are_asked_for() {
    let rules = "[auth]\nallow_anonymous = false\npassword_file = \"passwd\"";
    let broker = Setup::new().password("ann", "secret").config(rules).start();
    let subscriber = Subscriber::start(&broker, &["-t", "a", "-u", "ann", "-P", "secret"]);
    send(&broker, &["-t", "a", "-m", "1", "-u", "ann", "-P", "secret"]);
    assert_eq!(subscriber.message(0).text(), "1");
    let refused = |more: &[&str], code: i32, words: &str| {
        let output = publish(&broker, &[&["-t", "a", "-m", "2", "-q", "1"], more].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(words), "{said}");
        assert_eq!(output.status.code(), Some(code), "{said}");
    };
    refused(&["-u", "ann", "-P", "wrong"], 4, "bad user name or password");
    refused(&["-u", "bob", "-P", "secret"], 4, "bad user name or password");
    refused(&[], 5, "not authorised");
    assert_eq!(subscriber.messages_so_far().len(), 1);
}

/// Return codes 1, 2 and 3 as a person sees them.
#[test]
fn refused_connections_are_told_why() {
    let refused = |broker: &Broker, more: &[&str], words: &str| {
        let output = publish(broker, &[&["-t", "a", "-m", "2", "-q", "1"], more].concat());
        let said = String::from_utf8_lossy(&output.stderr).to_lowercase();
        assert!(said.contains(words), "{said}");
        assert!(!output.status.success(), "{said}");
    };
    let rules = "[mqtt]\nallow_mqtt31 = false\n[limits]\nclient_id_bytes_max = 30";
    let strict = Broker::with_config(rules);
    refused(&strict, &["-i", "a-client-id-of-more-than-thirty-bytes"], "identifier rejected");
    refused(&strict, &["-V", "mqttv31"], "protocol");
    // A broker of its own: those that were refused count until their sockets are closed.
    let small = Broker::with_config("[limits]\nconnections_max = 1");
    let _only = Subscriber::start(&small, &["-t", "a"]);
    refused(&small, &[], "broker unavailable");
}

#[test]
fn wildcards_match_as_the_standard_says() {
    let broker = Broker::start();
    let one = Subscriber::start(&broker, &["-t", "a/+/c", "-q", "1"]);
    let many = Subscriber::start(&broker, &["-t", "a/#", "-q", "1"]);
    let several = Subscriber::start(&broker, &["-t", "a", "-t", "+/b/+", "-t", "a/b/c", "-q", "1"]);
    for topic in ["a", "a/b", "a/b/c", "a//c", "b/b/b", "A/b/c", "$SYSTEM/a"] {
        send(&broker, &["-t", topic, "-q", "1", "-m", topic]);
    }
    send(&broker, &["-t", "a/end/c", "-q", "1", "-m", "end"]);
    let topics = |subscriber: &Subscriber, n: usize| -> Vec<String> {
        subscriber.messages(n).into_iter().map(|message| message.topic).collect()
    };
    assert_eq!(topics(&one, 3), ["a/b/c", "a//c", "a/end/c"]);
    assert_eq!(topics(&many, 5), ["a", "a/b", "a/b/c", "a//c", "a/end/c"]);
    // Overlapping subscriptions: once each.
    send(&broker, &["-t", "a", "-q", "1", "-m", "end"]);
    assert_eq!(topics(&several, 5), ["a", "a/b/c", "b/b/b", "A/b/c", "a"]);
}

#[test]
fn large_payload_comes_whole() {
    let broker = Broker::start();
    let payload: Vec<u8> = (0..1024 * 1024_u32).map(|n| (n % 251) as u8).collect();
    let subscriber = Subscriber::start(&broker, &["-t", "a", "-q", "2"]);
    let secure = Subscriber::start_tls(&broker, &["-t", "a", "-q", "2"]);
    for (n, qos) in ["0", "1", "2"].into_iter().enumerate() {
        assert_sent(&publish_stdin(&broker, &["-t", "a", "-q", qos], &payload));
        assert!(subscriber.message(n).payload == payload);
        assert!(secure.message(n).payload == payload);
    }
}

#[test]
fn many_messages_keep_their_order() {
    const LINES: usize = 1_000;
    let broker = Broker::start();
    let lines: Vec<_> = (0..LINES).map(|n| format!("line {n}")).collect();
    for qos in ["0", "1", "2"] {
        let subscriber = Subscriber::start(&broker, &["-t", "a", "-q", qos]);
        assert_sent(&publish_lines(&broker, &["-t", "a", "-q", qos], lines.join("\n").as_bytes()));
        subscriber.message(LINES - 1);
        for (n, message) in subscriber.messages_so_far().iter().enumerate() {
            assert_eq!((message.text(), &*message.qos.to_string()), (&*format!("line {n}"), qos));
        }
    }
}

/// The client id that a client takes from another one.
#[test]
fn take_over_ends_the_older_client() {
    let broker = Broker::start();
    let _old = Wire::client(&broker, "same");
    let new = Subscriber::start(&broker, &["-i", "same", "-t", "a"]);
    broker.log_line(|line| line.contains("taken over by a new connection"));
    send(&broker, &["-t", "a", "-m", "1"]);
    assert_eq!(new.message(0).text(), "1");
}
