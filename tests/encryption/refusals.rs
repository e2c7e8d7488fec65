//! Every refusal of an envelope, by its name: acknowledged (or the connection closed, where the policy
//! says so), and neither delivered nor kept; logged and counted by its reason, without topic and payload.

use super::{Device, Plant, SECRET, await_report, topic_key};
use crate::harness::clients::publish_stdin;
use crate::harness::{Connect, Publish, Wire};
use sealmq_crypto::{ContentAlgorithm, Envelope, Freshness, OpenError, SenderKey, TopicKey};
use std::time::{SystemTime, UNIX_EPOCH};

const TOPIC: &str = "plant/7/level";

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The envelope with `from`, which stands in it once, replaced by `to`.
fn patched(mut envelope: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    let places: Vec<_> =
        envelope.windows(from.len()).enumerate().filter(|(_, part)| *part == from).map(|(n, _)| n).collect();
    assert_eq!(places.len(), 1, "{from:02x?} in {envelope:02x?}");
    envelope[places[0]..][..to.len()].copy_from_slice(to);
    envelope
}

/// A payload that is refused for this reason on `topic`, under `plant/7/` or `strict/7/`.
pub(crate) fn payload_for(plant: &Plant, reason: &str, topic: &str) -> Vec<u8> {
    let (device, broker) = (&plant.device, &plant.broker);
    let named = |name: &str| device.seal(&topic_key(broker, name), topic, SECRET);
    match reason {
        "not-an-envelope" => SECRET.into(),
        // ES256 instead of EdDSA in the stamp's header.
        "wrong-algorithm" => patched(plant.seal(topic, SECRET), &[1, 0x27, 4], &[1, 0x26, 4]),
        "unknown-sender" => Device::enrolled(broker, "dev-9").seal(&plant.key, topic, SECRET),
        "sender-not-allowed" => Device::enrolled(broker, "dev-8").seal(&plant.key, topic, SECRET),
        "bad-stamp" => {
            let mut envelope = plant.seal(topic, SECRET);
            *envelope.last_mut().unwrap() ^= 1;
            envelope
        }
        "not-fresh" => device.seal_as(Freshness::Time(now() - 1_000), &plant.key, topic, SECRET),
        "replayed" => {
            let envelope = plant.seal(topic, SECRET);
            Wire::client(broker, "first").publish(&Publish::new(topic, &envelope).qos(1, 1));
            envelope
        }
        "not-sealed" => device.stamp(topic, SECRET),
        "unknown-key" => named("elsewhere"),
        "key-expired" => named("expired"),
        "decrypt-failed" => {
            let other = TopicKey::generate("aes256", ContentAlgorithm::A256Gcm).unwrap();
            device.seal(&other, topic, SECRET)
        }
        other => panic!("no such reason: {other}"),
    }
}

fn assert_refused(reason: &str) {
    let mut plant = Plant::start();
    let payload = payload_for(&plant, reason, TOPIC);
    if reason == "replayed" {
        plant.watcher.take(SECRET);
    }
    assert_payload_refused(&mut plant, reason, &payload);
    // A foreign client is told no more than that it was acknowledged.
    let sent = publish_stdin(&plant.broker, &["-t", TOPIC, "-q", "1"], &payload);
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    let line = plant.broker.log().nth_line(3, |line| line.field("reason").is_some());
    assert_eq!(line.field("reason"), Some(reason), "{}", line.text);
    plant.watcher.expect_nothing_but_pong();
}

/// The payload is refused whatever its QoS, with RETAIN set.
#[track_caller]
fn assert_payload_refused(plant: &mut Plant, reason: &str, payload: &[u8]) {
    let Plant { broker, watcher, .. } = plant;
    let mut culprit = Wire::client(broker, "culprit");
    for qos in 0..=2 {
        culprit.publish(&Publish::new(TOPIC, payload).qos(qos, 1).retain());
    }
    watcher.expect_nothing_but_pong();
    let mut late = Wire::client_tls(broker, "late");
    late.subscribe("plant/#", 2);
    late.expect_nothing_but_pong();
    let addr = culprit.local_addr().to_string();
    for n in 0..3 {
        let line = broker.log().nth_line(n, |line| line.field("reason").is_some());
        assert_eq!(line.field("reason"), Some(reason), "{}", line.text);
        assert_eq!(line.field("client"), Some("culprit"), "{}", line.text);
        assert_eq!(line.field("addr"), Some(&*addr), "{}", line.text);
    }
    await_report(broker, &format!("refused/{reason}"), 3);
    let log = broker.log().text();
    assert!(!log.contains("plant/7") && !log.contains(SECRET), "{log}");
    // The connection lives.
    culprit.expect_nothing_but_pong();
}

#[test]
fn not_an_envelope() {
    assert_refused("not-an-envelope");
}

#[test]
fn cut_off_or_too_long_is_not_an_envelope() {
    let mut plant = Plant::start();
    let mut envelope = plant.seal(TOPIC, SECRET);
    envelope.push(0);
    let mut culprit = Wire::client(&plant.broker, "culprit");
    for length in [0, 1, 10, 100, envelope.len() - 2, envelope.len()] {
        culprit.publish(&Publish::new(TOPIC, &envelope[..length]).qos(1, 1).retain());
    }
    plant.watcher.expect_nothing_but_pong();
    await_report(&plant.broker, "refused/not-an-envelope", 6);
    // Without the byte too many it was never taken.
    envelope.pop();
    culprit.publish(&Publish::new(TOPIC, &envelope).qos(1, 1));
    plant.watcher.take(SECRET);
}

#[test]
fn wrong_algorithm_of_the_stamp() {
    assert_refused("wrong-algorithm");
}

/// A key is for one algorithm, whatever the envelope says.
#[test]
fn wrong_algorithm_of_the_content() {
    let mut plant = Plant::start();
    let key = TopicKey::generate("aes256", ContentAlgorithm::ChaCha20Poly1305).unwrap();
    let payload = plant.device.seal(&key, TOPIC, SECRET);
    assert_payload_refused(&mut plant, "wrong-algorithm", &payload);
}

/// A symmetric key is none to agree with, and the reverse.
#[test]
fn wrong_kind_of_key() {
    let mut plant = Plant::start();
    let key = TopicKey::generate_x25519("aes256").unwrap();
    let payload = plant.device.seal(&key, TOPIC, SECRET);
    assert_payload_refused(&mut plant, "wrong-algorithm", &payload);
}

#[test]
fn unknown_sender() {
    assert_refused("unknown-sender");
}

#[test]
fn sender_whose_time_is_over_is_unknown() {
    let mut plant = Plant::start();
    let payload = Device::enrolled(&plant.broker, "retired").seal(&plant.key, TOPIC, SECRET);
    assert_payload_refused(&mut plant, "unknown-sender", &payload);
}

#[test]
fn sender_not_allowed() {
    assert_refused("sender-not-allowed");
}

#[test]
fn bad_stamp() {
    assert_refused("bad-stamp");
}

/// The stamp covers the topic: what was sealed for one does not pass on another of the same sender.
#[test]
fn moved_to_another_topic_is_a_bad_stamp() {
    let mut plant = Plant::start();
    let payload = plant.seal("plant/7/other", SECRET);
    assert_payload_refused(&mut plant, "bad-stamp", &payload);
    Wire::client(&plant.broker, "right").publish(&Publish::new("plant/7/other", &payload).qos(1, 1));
    plant.watcher.take(SECRET);
}

/// Somebody else's key under an enrolled name.
#[test]
fn forged_name_is_a_bad_stamp() {
    let mut plant = Plant::start();
    let forger = Device::of(SenderKey::generate("dev-7").unwrap());
    let payload = forger.seal(&plant.key, TOPIC, SECRET);
    assert_payload_refused(&mut plant, "bad-stamp", &payload);
}

#[test]
fn not_fresh() {
    assert_refused("not-fresh");
}

/// A time too far ahead does not pass either, not even beside a counter.
#[test]
fn from_the_future_is_not_fresh() {
    let mut plant = Plant::start();
    let freshness = Freshness::Both { seq: 1, time: now() + 1_000 };
    let payload = plant.device.seal_as(freshness, &plant.key, TOPIC, SECRET);
    assert_payload_refused(&mut plant, "not-fresh", &payload);
}

#[test]
fn replayed() {
    assert_refused("replayed");
}

#[test]
fn replayed_by_its_time() {
    let mut plant = Plant::start();
    let payload = plant.device.seal_as(Freshness::Time(now()), &plant.key, TOPIC, SECRET);
    Wire::client(&plant.broker, "first").publish(&Publish::new(TOPIC, &payload).qos(1, 1));
    plant.watcher.take(SECRET);
    assert_payload_refused(&mut plant, "replayed", &payload);
}

/// Far behind the highest number nobody knows what was taken: refused, even if new.
#[test]
fn below_the_window_is_replayed() {
    let mut plant = Plant::start();
    let old = plant.seal(TOPIC, SECRET);
    let high = plant.device.seal_as(Freshness::Seq(5_000), &plant.key, TOPIC, "high");
    Wire::client(&plant.broker, "first").publish(&Publish::new(TOPIC, &high).qos(1, 1));
    plant.watcher.take("high");
    assert_payload_refused(&mut plant, "replayed", &old);
}

#[test]
fn not_sealed() {
    assert_refused("not-sealed");
}

/// A key that is for other topics is as unknown as one that nobody has.
#[test]
fn unknown_key() {
    assert_refused("unknown-key");
}

#[test]
fn key_that_nobody_has_is_unknown() {
    let mut plant = Plant::start();
    let key = TopicKey::generate("nobody's", ContentAlgorithm::A256Gcm).unwrap();
    let payload = plant.device.seal(&key, TOPIC, SECRET);
    assert_payload_refused(&mut plant, "unknown-key", &payload);
}

#[test]
fn key_expired() {
    assert_refused("key-expired");
}

#[test]
fn decrypt_failed() {
    assert_refused("decrypt-failed");
}

/// The stamp is the thief's own, but the content is bound to its first sender.
#[test]
fn stolen_content_does_not_decrypt() {
    let mut plant = Plant::start();
    let envelope = plant.seal(TOPIC, SECRET);
    let content = Envelope::parse(&envelope).unwrap().content();
    let thief = Device::enrolled(&plant.broker, "dev-8");
    let stolen = sealmq_crypto::seal(&thief.key, None, "plant/8/a", content, Freshness::Seq(1)).unwrap();
    Wire::client(&plant.broker, "culprit").publish(&Publish::new("plant/8/a", &stolen).qos(1, 1));
    plant.watcher.expect_nothing_but_pong();
    await_report(&plant.broker, "refused/decrypt-failed", 1);
}

#[test]
fn decrypt_failed_for_a_pair() {
    let mut plant = Plant::start();
    let payload = plant.device.seal(&TopicKey::generate_x25519("pair").unwrap(), TOPIC, SECRET);
    assert_payload_refused(&mut plant, "decrypt-failed", &payload);
}

/// `on_refusal = "disconnect"`: whatever the reason, the connection is closed without acknowledgement.
#[test]
fn every_refusal_closes_where_the_policy_says_so() {
    let mut plant = Plant::start();
    let topic = "strict/7/level";
    for error in OpenError::ALL {
        let payload = payload_for(&plant, error.name(), topic);
        if error == OpenError::Replayed {
            plant.watcher.take(SECRET);
        }
        for qos in 0..=2 {
            let will = Publish::new("will", "gone");
            let mut culprit = Wire::connect(&plant.broker, &Connect::new("culprit").will(will));
            culprit.send(Publish::new(topic, &payload).qos(qos, 1).retain().bytes());
            culprit.expect_closed();
            let addr = culprit.local_addr().to_string();
            let of_culprit = |part: &str| {
                plant.broker.log_line(|line| line.field("addr") == Some(&addr) && line.contains(part))
            };
            assert_eq!(of_culprit("message refused").field("reason"), Some(error.name()));
            of_culprit("closed: a message was refused");
            plant.watcher.take("gone");
        }
    }
    plant.watcher.expect_nothing_but_pong();
}

/// What is refused burns no number: the true envelope of the same number passes afterwards.
#[test]
fn refused_content_burns_no_number() {
    let mut plant = Plant::start();
    let other = TopicKey::generate("aes256", ContentAlgorithm::A256Gcm).unwrap();
    let wrong = plant.device.seal_as(Freshness::Seq(1), &other, TOPIC, SECRET);
    let right = plant.device.seal_as(Freshness::Seq(1), &plant.key, TOPIC, SECRET);
    let mut sender = Wire::client(&plant.broker, "sender");
    sender.publish(&Publish::new(TOPIC, wrong).qos(1, 1));
    sender.publish(&Publish::new(TOPIC, right).qos(1, 2));
    plant.watcher.take(SECRET);
}

/// The stamp of a stamped and of an end-to-end topic is checked in the same way.
#[test]
fn stamps_are_checked_under_every_policy() {
    let mut plant = Plant::start();
    for topic in ["signed/7/a", "private/7/a"] {
        let good = plant.device.stamp(topic, "good");
        let mut bad = plant.device.stamp(topic, SECRET);
        *bad.last_mut().unwrap() ^= 1;
        let mut sender = Wire::client(&plant.broker, "sender");
        for payload in [&b"no envelope"[..], &bad, &good, &good] {
            sender.publish(&Publish::new(topic, payload).qos(1, 1).retain());
        }
        let expected = if topic == "signed/7/a" { b"good".to_vec() } else { good };
        let publish = plant.watcher.expect_publish();
        plant.watcher.acknowledge(&publish);
        assert_eq!(publish.payload, expected);
    }
    for reason in ["not-an-envelope", "bad-stamp", "replayed"] {
        await_report(&plant.broker, &format!("refused/{reason}"), 2);
    }
}
