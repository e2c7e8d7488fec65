//! The four policies, with real clients: `sealmq seal ... | mosquitto_pub -s` on the plaintext listener,
//! `mosquitto_sub` on TLS and on plaintext.

use super::{sealed, setup, start};
use crate::harness::Broker;
use crate::harness::broker::run;
use crate::harness::clients::{Received, Subscriber, plain, publish, publish_stdin};

const TOPIC: &str = "plant/7/level";

fn received(topic: &str, payload: impl AsRef<[u8]>) -> Received {
    Received { qos: 1, retain: false, topic: topic.to_owned(), payload: payload.as_ref().to_vec() }
}

fn send(broker: &Broker, topic: &str, envelope: &[u8]) {
    let sent = publish_stdin(broker, &["-t", topic, "-q", "1"], envelope);
    assert!(sent.status.success(), "{sent:?}");
}

/// A reading sealed with this key: the TLS subscriber gets it, the plaintext one nothing.
fn assert_opened_for_tls_alone(key: &str) {
    let broker = start();
    let secure = Subscriber::start_tls(&broker, &["-t", "#", "-q", "1"]);
    let open = Subscriber::start(&broker, &["-t", "#", "-q", "1"]);
    let envelope = sealed(&broker, "dev-7", Some(key), TOPIC, "21.5");
    assert!(!envelope.windows(4).any(|part| part == b"21.5"));
    send(&broker, TOPIC, &envelope);
    send(&broker, "elsewhere", b"for all");
    assert_eq!(secure.message(0), received(TOPIC, "21.5"));
    assert_eq!(open.message(0), received("elsewhere", "for all"));
    assert_eq!(secure.message(1), received("elsewhere", "for all"));
}

#[test]
fn sealed_with_aes128_gcm_is_opened() {
    assert_opened_for_tls_alone("aes128");
}

#[test]
fn sealed_with_aes256_gcm_is_opened() {
    assert_opened_for_tls_alone("aes256");
}

#[test]
fn sealed_with_chacha20_poly1305_is_opened() {
    assert_opened_for_tls_alone("chacha");
}

/// The device has the public half, which cannot open.
#[test]
fn sealed_for_a_pair_is_opened() {
    assert_opened_for_tls_alone("pair.pub");
}

#[test]
fn sealed_with_the_time_is_opened() {
    let broker = start();
    let secure = Subscriber::start_tls(&broker, &["-t", "plant/#", "-q", "1"]);
    for text in ["1", "2"] {
        let args = ["--sender-key", "keys/dev-7.jwk", "--topic-key", "keys/aes256.jwk", "--time"];
        let made = run(broker.dir(), &[&["seal", "--topic", TOPIC], &args[..]].concat(), text);
        send(&broker, TOPIC, &made.stdout);
    }
    assert_eq!(secure.messages(2), [received(TOPIC, "1"), received(TOPIC, "2")]);
}

/// The counter beside the key rises, so that whatever is sealed is new.
#[test]
fn sealed_one_after_the_other_is_opened_in_order() {
    let broker = start();
    let secure = Subscriber::start_tls(&broker, &["-t", "plant/#", "-q", "1"]);
    for n in 0..5 {
        send(&broker, TOPIC, &sealed(&broker, "dev-7", Some("aes256"), TOPIC, &n.to_string()));
    }
    let texts: Vec<_> = secure.messages(5).iter().map(|message| message.text().to_owned()).collect();
    assert_eq!(texts, ["0", "1", "2", "3", "4"]);
}

/// Stamped is not secret: everybody gets the plaintext, without the envelope.
#[test]
fn stamped_reaches_everybody_as_plaintext() {
    let broker = start();
    let secure = Subscriber::start_tls(&broker, &["-t", "signed/#", "-q", "1"]);
    let open = Subscriber::start(&broker, &["-t", "signed/#", "-q", "1"]);
    send(&broker, "signed/7/a", &sealed(&broker, "dev-7", None, "signed/7/a", "21.5"));
    assert_eq!(secure.message(0), received("signed/7/a", "21.5"));
    assert_eq!(open.message(0), received("signed/7/a", "21.5"));
}

/// The broker checks the stamp and passes the envelope on; who has the key opens it.
#[test]
fn end_to_end_passes_the_envelope_whole() {
    let broker = start();
    let secure = Subscriber::start_tls(&broker, &["-t", "private/#", "-q", "1"]);
    let open = Subscriber::start(&broker, &["-t", "private/#", "-q", "1"]);
    let topic = "private/7/a";
    // The broker does not know this key.
    let made = run(broker.dir(), &["keys", "topic", "our-own", "--asymmetric"], "");
    assert!(made.status.success(), "{made:?}");
    let envelope = sealed(&broker, "dev-7", Some("our-own.pub"), topic, "21.5");
    send(&broker, topic, &envelope);
    assert_eq!(secure.message(0), received(topic, &envelope));
    assert_eq!(open.message(0), received(topic, &envelope));
    let args =
        ["open", "--topic", topic, "--sender-key", "keys/dev-7.pub.jwk", "--topic-key", "keys/our-own.jwk"];
    let opened = run(broker.dir(), &args, open.message(0).payload);
    assert_eq!((opened.status.success(), &opened.stdout[..]), (true, &b"21.5"[..]), "{opened:?}");
}

/// Where no policy says anything, an envelope is a payload like any other.
#[test]
fn plain_passes_anything() {
    let broker = start();
    let open = Subscriber::start(&broker, &["-t", "#", "-q", "1"]);
    let envelope = sealed(&broker, "dev-7", Some("aes256"), TOPIC, "21.5");
    send(&broker, "elsewhere", &envelope);
    send(&broker, "elsewhere", &envelope);
    assert_eq!(open.messages(2), [received("elsewhere", &envelope), received("elsewhere", &envelope)]);
}

/// The first policy that matches counts.
#[test]
fn a_narrow_policy_goes_before_a_wide_one() {
    let narrow = "[[policy]]\ntopics = [\"plant/7/open\"]\npayload = \"plain\"\n";
    let broker = setup().config(narrow).config(super::RULES).start();
    let open = Subscriber::start(&broker, &["-t", "#", "-q", "1"]);
    send(&broker, "plant/7/closed", b"refused");
    send(&broker, "plant/7/open", b"21.5");
    assert_eq!(open.message(0), received("plant/7/open", "21.5"));
}

/// `mosquitto_sub` says so.
#[test]
fn plaintext_subscription_under_sealed_topics_is_denied() {
    let broker = start();
    let denied = Subscriber::spawn(plain(&broker), &["-t", "plant/#"]);
    denied.output().line(|line| line.contains("All subscription requests were denied"));
    let refused = publish(&broker, &["-t", TOPIC, "-m", "21.5", "-q", "1"]);
    assert!(refused.status.success(), "a refused message is acknowledged: {refused:?}");
}
