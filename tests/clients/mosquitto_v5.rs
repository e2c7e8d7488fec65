//! Real `mosquitto_pub` and `mosquitto_sub` with MQTT 5, alone and beside clients of 3.1.1.

use crate::harness::Broker;
use crate::harness::clients::{Subscriber, publish, publish_lines, publish_tls};
use std::collections::BTreeSet;
use std::process::Output;
use std::time::{Duration, Instant};

/// QoS, topic, payload, content type, response topic, correlation data, payload format, user properties.
const FORMAT: &str = "message|%q|%t|%p|%C|%R|%D|%F|%P";
/// What `mosquitto_pub` is told for all of them.
const PROPERTIES: [&str; 28] = [
    "-D",
    "publish",
    "content-type",
    "text/plain",
    "-D",
    "publish",
    "response-topic",
    "re/ply",
    "-D",
    "publish",
    "correlation-data",
    "0815",
    "-D",
    "publish",
    "payload-format-indicator",
    "1",
    "-D",
    "publish",
    "user-property",
    "b",
    "1",
    "-D",
    "publish",
    "user-property",
    "a",
    "2",
    "-D",
    "publish",
];
const LAST_PROPERTY: [&str; 3] = ["user-property", "b", "3"];
/// The same as `mosquitto_sub` prints it.
const PRINTED: &str = "text/plain|re/ply|0815|1|b:1 a:2 b:3";

fn subscribe(broker: &Broker, args: &[&str]) -> Subscriber {
    Subscriber::start(broker, &[&["-V", "5", "-F", FORMAT], args].concat())
}

fn send(broker: &Broker, args: &[&str]) -> Output {
    let output = publish(broker, &[&["-V", "5", "-d"], args].concat());
    assert!(output.status.success(), "{output:?}");
    output
}

/// The line of the message after `n` others; waits for it.
fn line(subscriber: &Subscriber, n: usize) -> String {
    subscriber.output().nth_line(n, |line| line.text.starts_with("message|")).text
}

fn payload(line: &str) -> &str {
    line.split('|').nth(3).unwrap()
}

#[test]
fn v5_every_qos_of_publish_and_subscription() {
    let broker = Broker::start();
    for granted in 0..=2_u8 {
        let subscriber = subscribe(&broker, &["-t", "a/+", "-q", &granted.to_string()]);
        for qos in 0..=2_u8 {
            let text = format!("{qos} for {granted}");
            send(&broker, &["-t", "a/b", "-q", &qos.to_string(), "-m", &text]);
            let expected = format!("message|{}|a/b|{text}|", qos.min(granted));
            assert!(line(&subscriber, usize::from(qos)).starts_with(&expected));
        }
    }
}

#[test]
fn v5_properties_come_as_they_were_sent() {
    let broker = Broker::start();
    let subscriber = subscribe(&broker, &["-t", "a", "-q", "2"]);
    for (n, qos) in ["0", "1", "2"].into_iter().enumerate() {
        let plain = ["-t", "a", "-m", "1", "-q", qos];
        send(&broker, &[&plain[..], &PROPERTIES, &LAST_PROPERTY].concat());
        assert_eq!(line(&subscriber, n), format!("message|{qos}|a|1|{PRINTED}"));
    }
}

/// Both versions on one topic: properties for those that know them, the message for all.
#[test]
fn versions_share_topics() {
    let broker = Broker::start();
    let new = subscribe(&broker, &["-t", "a", "-q", "1"]);
    let old = Subscriber::start(&broker, &["-V", "311", "-t", "a", "-q", "1", "-F", FORMAT]);
    let message = ["-t", "a", "-m", "1", "-q", "1"];
    send(&broker, &[&message[..], &PROPERTIES, &LAST_PROPERTY].concat());
    assert_eq!(line(&new, 0), format!("message|1|a|1|{PRINTED}"));
    assert_eq!(line(&old, 0), "message|1|a|1|||||");
    assert!(publish(&broker, &["-V", "311", "-t", "a", "-m", "2", "-q", "1"]).status.success());
    assert_eq!(line(&new, 1), "message|1|a|2|||||");
    assert_eq!(line(&old, 1), "message|1|a|2|||||");
}

/// The time that is left goes with the message; what has outlived it does not come.
#[test]
fn v5_message_expires_while_its_receiver_is_away() {
    let broker = Broker::start();
    let sleeper = ["-i", "s", "-c", "-x", "3600", "-t", "a", "-q", "1", "-F", "message|%p|%E|"];
    subscribe(&broker, &sleeper).stop();
    let expiry = |seconds| ["-t", "a", "-q", "1", "-D", "publish", "message-expiry-interval", seconds, "-m"];
    send(&broker, &[&expiry("1")[..], &["short"]].concat());
    send(&broker, &[&expiry("3600")[..], &["long"]].concat());
    // A will that is delayed for two seconds tells that these are over.
    let heir = subscribe(&broker, &["-t", "will"]);
    drop(with_delayed_will(&broker, "2"));
    line(&heir, 0);
    let awake = subscribe(&broker, &sleeper);
    let line = line(&awake, 0);
    let left = line.strip_prefix("message|long|").unwrap().trim_end_matches('|').parse::<u32>().unwrap();
    assert!((1..3600).contains(&left), "{left}");
}

fn with_delayed_will(broker: &Broker, seconds: &str) -> Subscriber {
    let will =
        ["--will-topic", "will", "--will-payload", "gone", "--will-qos", "1", "-t", "x", "-i", "mortal"];
    let delay = ["-c", "-x", "60", "-D", "will", "will-delay-interval", seconds];
    let property = ["-D", "will", "user-property", "why", "killed"];
    subscribe(broker, &[&will[..], &delay, &property].concat())
}

#[test]
fn v5_will_waits_for_its_delay() {
    let broker = Broker::start();
    let heir = subscribe(&broker, &["-t", "will", "-q", "1"]);
    let mortal = with_delayed_will(&broker, "1");
    let killed = Instant::now();
    drop(mortal);
    assert_eq!(line(&heir, 0), "message|1|will|gone|||||why:killed");
    assert!(killed.elapsed() >= Duration::from_secs(1), "{:?}", killed.elapsed());
}

#[test]
fn v5_client_that_is_back_in_time_keeps_its_will_to_itself() {
    let broker = Broker::start();
    let heir = subscribe(&broker, &["-t", "#", "-q", "1"]);
    drop(with_delayed_will(&broker, "1"));
    let _back = with_delayed_will(&broker, "1");
    // Another one's will with a delay twice as long comes, and none before it.
    let other = ["--will-topic", "other", "-t", "x", "-i", "other", "-x", "60"];
    drop(subscribe(&broker, &[&other[..], &["-D", "will", "will-delay-interval", "2"]].concat()));
    assert_eq!(line(&heir, 0).split('|').nth(2), Some("other"));
}

#[test]
fn v5_session_outlives_its_connection_as_long_as_it_asked_for() {
    let broker = Broker::start();
    let kept = ["-i", "k", "-c", "-x", "60", "-t", "a", "-q", "2"];
    let ended = ["-i", "e", "-c", "-x", "0", "-t", "a", "-q", "2"];
    subscribe(&broker, &kept).stop();
    subscribe(&broker, &ended).stop();
    for n in 0..20_u8 {
        send(&broker, &["-t", "a", "-q", &(1 + n % 2).to_string(), "-m", &n.to_string()]);
    }
    let kept = subscribe(&broker, &kept);
    let payloads: BTreeSet<u8> = (0..20).map(|n| payload(&line(&kept, n)).parse().unwrap()).collect();
    assert_eq!(payloads, (0..20).collect());
    let ended = subscribe(&broker, &ended);
    send(&broker, &["-t", "a", "-q", "1", "-m", "new"]);
    assert_eq!(payload(&line(&ended, 0)), "new");
}

#[test]
fn v5_shared_subscription_gives_each_message_to_one_member() {
    const LINES: usize = 200;
    let broker = Broker::start();
    let member = || subscribe(&broker, &["-t", "$share/group/a/#", "-t", "fence", "-q", "1"]);
    let members = [member(), member(), member()];
    let all = subscribe(&broker, &["-t", "a/b", "-q", "1"]);
    let lines: Vec<_> = (0..LINES).map(|n| n.to_string()).collect();
    let stdin = lines.join("\n");
    let output = publish_lines(&broker, &["-V", "5", "-t", "a/b", "-q", "1"], stdin.as_bytes());
    assert!(output.status.success(), "{output:?}");
    line(&all, LINES - 1);
    // Each member gets the fence behind its share.
    send(&broker, &["-t", "fence", "-q", "1", "-m", "fence"]);
    let shares = members.map(|member| {
        member.output().line(|line| line.text.starts_with("message|1|fence"));
        member.output().lines(|line| line.text.starts_with("message|1|a/b"))
    });
    let mut got: Vec<usize> =
        shares.iter().flatten().map(|line| payload(&line.text).parse().unwrap()).collect();
    got.sort_unstable();
    assert_eq!(got, (0..LINES).collect::<Vec<_>>());
    for share in shares {
        assert!(share.len() > LINES / 10, "one member got {}", share.len());
    }
}

#[test]
fn v5_topic_alias_stands_for_the_topic() {
    let broker = Broker::start();
    let subscriber = subscribe(&broker, &["-t", "a/#", "-q", "1"]);
    // mosquitto_pub sends the topic once, and the alias alone from then on.
    let alias = ["-D", "publish", "topic-alias", "3"];
    let repeat = ["-t", "a/long/topic", "-q", "1", "-m", "1", "--repeat", "20"];
    send(&broker, &[&repeat[..], &alias].concat());
    for n in 0..20 {
        assert!(line(&subscriber, n).starts_with("message|1|a/long/topic|1|"));
    }
}

#[test]
fn v5_receive_maximum_of_one_lets_all_through_in_order() {
    let broker = Broker::with_config("[mqtt]\nreceive_maximum = 2");
    for qos in ["1", "2"] {
        let window = ["-t", "a", "-q", qos, "-D", "connect", "receive-maximum", "1"];
        let subscriber = subscribe(&broker, &window);
        let lines: Vec<_> = (0..300).map(|n| n.to_string()).collect();
        let args = ["-V", "5", "-t", "a", "-q", qos];
        let output = publish_lines(&broker, &args, lines.join("\n").as_bytes());
        assert!(output.status.success(), "{output:?}");
        for (n, text) in lines.iter().enumerate() {
            assert_eq!(payload(&line(&subscriber, n)), text);
        }
    }
}

#[test]
fn v5_subscription_identifier_comes_with_the_message() {
    let broker = Broker::start();
    let id = ["-D", "subscribe", "subscription-identifier", "1234567", "-F", "message|%S|"];
    let subscriber = subscribe(&broker, &[&["-t", "a/#"], &id[..]].concat());
    send(&broker, &["-t", "a/b", "-m", "1"]);
    assert_eq!(line(&subscriber, 0), "message|1234567|");
}

/// 0x10 where nobody is subscribed, 0x87 where the client may not publish.
#[test]
fn v5_publisher_is_told_what_became_of_its_message() {
    let rules = "[[acl]]\naccess = \"all\"\npermission = \"deny\"\ntopics = [\"no/#\"]\n\
        [[acl]]\naccess = \"all\"\ntopics = [\"#\"]";
    let broker = Broker::with_config(rules);
    let said = |args: &[&str]| {
        let output = publish(&broker, &[&["-V", "5", "-d", "-m", "1"], args].concat());
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    for (topic, qos, answer) in [
        ("a", "1", "PUBACK (Mid: 1, RC:16)"),
        ("a", "2", "PUBREC (Mid: 1)"),
        ("no/a", "1", "PUBACK (Mid: 1, RC:135)"),
        ("no/a", "2", "PUBREC (Mid: 1)"),
    ] {
        let said = said(&["-t", topic, "-q", qos]);
        assert!(said.contains(answer), "{said}");
        assert_eq!(said.contains("Not authorized"), topic == "no/a", "{said}");
    }
    let _taker = subscribe(&broker, &["-t", "a"]);
    let said = said(&["-t", "a", "-q", "1"]);
    assert!(said.contains("PUBACK (Mid: 1, RC:0)"), "{said}");
}

#[test]
fn v5_over_tls() {
    let broker = Broker::start();
    let args = ["-V", "5", "-F", FORMAT, "-t", "a", "-q", "2"];
    let secure = Subscriber::start_tls(&broker, &args);
    let open = Subscriber::start(&broker, &args);
    let message = ["-V", "5", "-t", "a", "-q", "2", "-m", "1"];
    for publish in [publish, publish_tls] {
        let output = publish(&broker, &[&message[..], &PROPERTIES, &LAST_PROPERTY].concat());
        assert!(output.status.success(), "{output:?}");
    }
    for subscriber in [&secure, &open] {
        for n in 0..2 {
            assert_eq!(line(subscriber, n), format!("message|2|a|1|{PRINTED}"));
        }
    }
}
