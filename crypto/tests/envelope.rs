//! Envelopes from outside: the vectors, what is sealed opens, and what was touched does not.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has found something")]

#[path = "vectors/runner.rs"]
mod runner;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use bytes::Bytes;
use proptest::prelude::*;
use sealmq_crypto::{
    ContentAlgorithm, ContentKey, Envelope, Freshness, Keyring, KeyringError, Mark, OpenError, Opened,
    OpenedCount, Opener, Policy, ReplayWindows, SealError, Sender, SenderKey, TopicKey, TopicKeyEntry,
    TopicPublicKey, Topics, Validity, payload_digest, seal, seal_with_random,
};

const NOW: u64 = 1_700_000_000;
const TOPIC: &str = "plant/1cee/temp";
const READING: &[u8] = br#"{"t":21.5,"h":40.25}"#;
const SKEW_S: u64 = 300;

/// All topics that begin like this.
#[derive(Debug)]
struct Under(&'static str);

impl Topics for Under {
    fn contains(&self, topic: &str) -> bool {
        topic.starts_with(self.0)
    }
}

fn device() -> SenderKey {
    SenderKey::from_secret("dev-50bf3c", &[7; 32])
}

fn gate() -> SenderKey {
    SenderKey::from_secret("gate-90014d", &[8; 32])
}

fn symmetric() -> TopicKey {
    TopicKey::from_symmetric("aes256-88cf", ContentAlgorithm::A256Gcm, &[1; 32]).unwrap()
}

fn pair() -> TopicKey {
    TopicKey::from_x25519("x25519-34a2", &[2; 32])
}

fn master() -> TopicKey {
    let master: Vec<u8> = (0..32).collect();
    TopicKey::from_master("master-1", ContentAlgorithm::A128Gcm, &master.try_into().unwrap())
}

fn sender(key: &SenderKey, validity: Validity) -> Sender {
    Sender { id: key.id().to_vec(), key: key.public(), topics: Arc::new(Under("plant/")), validity }
}

fn entry(key: TopicKey, validity: Validity) -> TopicKeyEntry {
    TopicKeyEntry {
        id: key.id().to_vec(),
        key,
        topics: Arc::new(Under("plant/1cee/")),
        validity,
        opened: OpenedCount::default(),
    }
}

fn opener() -> Opener {
    let always = Validity::default();
    let senders = [sender(&device(), always), sender(&gate(), always)];
    let pairs = TopicKey::from_x25519_master("master-2", &[3; 32]);
    let keys = [symmetric(), pair(), master(), pairs].map(|key| entry(key, always));
    Opener::new(Keyring::new(senders, keys).unwrap(), SKEW_S)
}

fn open(policy: Policy, payload: Vec<u8>) -> Result<Opened, OpenError> {
    opener().open(&ReplayWindows::new(10), policy, TOPIC, &Bytes::from(payload), NOW)
}

fn sealed_with(key: Option<ContentKey<'_>>, seq: u64) -> Vec<u8> {
    seal(&device(), key, TOPIC, READING, Freshness::Seq(seq)).unwrap()
}

/// A stamped envelope whose content is these bytes.
fn stamped(content: &[u8]) -> Vec<u8> {
    seal(&device(), None, TOPIC, content, Freshness::Seq(1)).unwrap()
}

#[test]
fn every_vector_holds() {
    let outcomes = runner::run(include_str!("vectors/envelope.json")).unwrap();
    let failed: Vec<String> =
        outcomes.iter().filter(|outcome| !outcome.passed()).map(ToString::to_string).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(outcomes.len() >= 49);
}

#[test]
fn another_implementation_makes_the_same_bytes() {
    let file: serde_json::Value = serde_json::from_str(include_str!("vectors/envelope.json")).unwrap();
    let unhex = |value: &serde_json::Value| -> Vec<u8> {
        let digits: Vec<u32> = value.as_str().unwrap().chars().map(|c| c.to_digit(16).unwrap()).collect();
        digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
    };
    let (senders, keys) = (&file["keyring"]["senders"], &file["keyring"]["topic_keys"]);
    let secret = unhex(&senders[0]["ed25519_secret_hex"]).try_into().unwrap();
    let sender = SenderKey::from_secret(unhex(&senders[0]["kid_hex"]), &secret);
    let algorithms =
        [ContentAlgorithm::A256Gcm, ContentAlgorithm::A128Gcm, ContentAlgorithm::ChaCha20Poly1305];
    for (index, algorithm) in algorithms.into_iter().enumerate() {
        let (vector, key) = (&file["vectors"][index], &keys[index]);
        let payload = unhex(&vector["payload_hex"]);
        let key =
            TopicKey::from_symmetric(unhex(&key["kid_hex"]), algorithm, &unhex(&key["secret_hex"])).unwrap();
        let content = Envelope::parse(&payload).unwrap().content().to_vec();
        // The IV stands between the label 5 with its head 0x4c and the ciphertext's head.
        let at = content.windows(3).position(|bytes| bytes == [0xa1, 0x05, 0x4c]).unwrap() + 3;
        let mut random = |buffer: &mut [u8]| {
            buffer.copy_from_slice(&content[at..at + 12]);
            Ok(())
        };
        let topic = vector["topic"].as_str().unwrap();
        let seq = Freshness::Seq(101 + index as u64);
        let ours = seal_with_random(&mut random, &sender, Some((&key).into()), topic, READING, seq);
        assert_eq!(ours.unwrap(), payload);
    }
}

#[test]
fn a_reading_of_20_bytes_becomes_169_and_220() {
    assert_eq!(READING.len(), 20);
    assert_eq!(sealed_with(Some((&symmetric()).into()), 101).len(), 169);
    assert_eq!(sealed_with(Some((&pair()).into()), 104).len(), 220);
}

#[test]
fn a_stamped_plaintext_is_a_slice_of_its_payload() {
    let payload = Bytes::from(stamped(READING));
    let opened = opener().open(&ReplayWindows::new(1), Policy::Stamped, TOPIC, &payload, NOW).unwrap();
    assert_eq!(opened.plaintext, READING);
    assert_eq!(opened.sender, device().id());
    assert_eq!(opened.mark, Mark::Seq(1));
    assert!(payload.as_ptr_range().contains(&opened.plaintext.as_ptr()));
}

#[test]
fn every_flipped_bit_is_refused() {
    let cases = [
        (Policy::Sealed, sealed_with(Some((&symmetric()).into()), 101)),
        (Policy::Sealed, sealed_with(Some((&pair()).into()), 101)),
        (Policy::Stamped, stamped(READING)),
        (Policy::EndToEnd, stamped(READING)),
    ];
    for (policy, payload) in cases {
        assert!(open(policy, payload.clone()).is_ok());
        for bit in 0..payload.len() * 8 {
            let mut touched = payload.clone();
            touched[bit / 8] ^= 1 << (bit % 8);
            assert!(open(policy, touched).is_err(), "{policy:?}, bit {bit}");
        }
    }
}

#[test]
fn every_flipped_bit_of_a_content_stamped_again_is_refused() {
    for key in [symmetric(), pair()] {
        let payload = sealed_with(Some((&key).into()), 101);
        let content = Envelope::parse(&payload).unwrap().content();
        assert!(open(Policy::Sealed, stamped(content)).is_ok());
        for bit in 0..content.len() * 8 {
            let mut touched = content.to_vec();
            touched[bit / 8] ^= 1 << (bit % 8);
            let refused = open(Policy::Sealed, stamped(&touched));
            // X25519 ignores the highest bit of a public key (RFC 7748 §5), so this one alone changes nothing.
            let ignored = key == pair() && bit == ephemeral_at(content) * 8 + 31 * 8 + 7;
            assert_eq!(refused.is_ok(), ignored, "bit {bit}");
        }
    }
}

fn ephemeral_at(content: &[u8]) -> usize {
    content.windows(3).position(|bytes| bytes == [0x21, 0x58, 0x20]).unwrap() + 3
}

#[test]
fn every_truncation_is_no_envelope() {
    let payload = sealed_with(Some((&symmetric()).into()), 101);
    for length in 0..payload.len() {
        assert_eq!(open(Policy::Sealed, payload[..length].to_vec()), Err(OpenError::NotAnEnvelope));
    }
}

#[test]
fn a_truncated_content_is_not_sealed() {
    for key in [symmetric(), pair()] {
        let payload = sealed_with(Some((&key).into()), 101);
        let content = Envelope::parse(&payload).unwrap().content();
        for length in 0..content.len() {
            assert_eq!(open(Policy::Sealed, stamped(&content[..length])), Err(OpenError::NotSealed));
        }
    }
}

#[test]
fn of_two_who_race_with_the_same_envelope_one_wins() {
    let opener = opener();
    let envelopes = [Freshness::Seq(9), Freshness::Time(NOW)]
        .map(|freshness| Bytes::from(seal(&device(), None, TOPIC, READING, freshness).unwrap()));
    for payload in envelopes {
        for _ in 0..20 {
            let (replay, start) = (ReplayWindows::new(10), Barrier::new(4));
            let won = AtomicUsize::new(0);
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        start.wait();
                        let result = opener.open(&replay, Policy::Stamped, TOPIC, &payload, NOW);
                        won.fetch_add(usize::from(result.is_ok()), Ordering::Relaxed);
                        assert!(result.is_ok() || result == Err(OpenError::Replayed));
                    });
                }
            });
            assert_eq!(won.into_inner(), 1);
        }
    }
}

#[test]
fn a_stamp_that_does_not_open_burns_no_number() {
    let (opener, replay) = (opener(), ReplayWindows::new(10));
    let open = |payload: Vec<u8>| opener.open(&replay, Policy::Sealed, TOPIC, &Bytes::from(payload), NOW);
    assert_eq!(open(sealed_with(None, 5)), Err(OpenError::NotSealed));
    assert!(open(sealed_with(Some((&symmetric()).into()), 5)).is_ok());
    assert_eq!(open(sealed_with(Some((&symmetric()).into()), 5)), Err(OpenError::Replayed));
}

#[test]
fn a_counter_does_not_excuse_a_stale_time() {
    let at = |time| {
        let both = Freshness::Both { seq: 1, time };
        open(Policy::Stamped, seal(&device(), None, TOPIC, READING, both).unwrap()).map(|opened| opened.mark)
    };
    for time in [NOW - SKEW_S, NOW, NOW + SKEW_S] {
        assert_eq!(at(time), Ok(Mark::Seq(1)));
    }
    for time in [0, NOW - SKEW_S - 1, NOW + SKEW_S + 1, u64::MAX] {
        assert_eq!(at(time), Err(OpenError::NotFresh));
    }
}

#[test]
fn windows_outlive_a_restart_and_a_keyring() {
    let opener = opener();
    let payloads = [Freshness::Seq(5), Freshness::Time(NOW)]
        .map(|freshness| Bytes::from(seal(&device(), None, TOPIC, READING, freshness).unwrap()));
    let (first, journaled, restored) =
        (ReplayWindows::new(10), ReplayWindows::new(10), ReplayWindows::new(10));
    for payload in &payloads {
        let Opened { sender, mark, .. } = opener.open(&first, Policy::Stamped, TOPIC, payload, NOW).unwrap();
        journaled.retake(&sender, mark);
    }
    for id in first.sender_ids() {
        restored.restore(&id, first.snapshot(&id).unwrap());
    }
    for replay in [&first, &journaled, &restored] {
        for payload in &payloads {
            let again = opener.open(replay, Policy::Stamped, TOPIC, payload, NOW);
            assert_eq!(again, Err(OpenError::Replayed));
        }
        replay.forget(device().id(), None);
        assert!(replay.sender_ids().is_empty());
    }
}

/// What is verified when its sender gets another key: it must not set the counter of the new one.
#[test]
fn nothing_of_a_key_that_was_replaced_is_taken_any_more() {
    let (opener, replay) = (opener(), ReplayWindows::new(10));
    let payload = Bytes::from(seal(&device(), None, TOPIC, READING, Freshness::Seq(900)).unwrap());
    let begun = |replay: &ReplayWindows| {
        let verified = opener.identify(TOPIC, &payload, NOW).unwrap().verify().unwrap();
        verified.unseal(replay, Policy::Stamped)
    };
    let on_its_way = begun(&replay).unwrap();
    replay.forget(device().id(), Some(&device().public()));
    assert_eq!(on_its_way.check(&replay), Err(OpenError::BadStamp));
    assert_eq!(on_its_way.take(&replay), Err(OpenError::BadStamp));
    assert_eq!(begun(&replay).map(drop), Err(OpenError::BadStamp));
    // Another key counts from the start.
    let other = SenderKey::generate(device().id()).unwrap();
    let payload = Bytes::from(seal(&other, None, TOPIC, READING, Freshness::Seq(1)).unwrap());
    let enrolled = Sender { key: other.public(), ..sender(&device(), Validity::default()) };
    let opener = Opener::new(Keyring::new([enrolled], []).unwrap(), SKEW_S);
    assert!(opener.open(&replay, Policy::Stamped, TOPIC, &payload, NOW).is_ok());
    // And the same key again, where it was only forgotten.
    replay.forget(device().id(), None);
    assert!(opener.open(&replay, Policy::Stamped, TOPIC, &payload, NOW).is_ok());
}

#[test]
fn only_whoever_stamps_well_gets_a_window() {
    let replay = ReplayWindows::new(10);
    let mut payload = stamped(READING);
    *payload.last_mut().unwrap() ^= 1;
    let refused = opener().open(&replay, Policy::Stamped, TOPIC, &payload.into(), NOW);
    assert_eq!(refused, Err(OpenError::BadStamp));
    assert!(replay.sender_ids().is_empty());
}

#[test]
fn validity_and_topics_of_sender_and_key_are_kept() {
    let during = Validity { not_before: Some(NOW - 10), not_after: Some(NOW + 10) };
    let always = Validity::default();
    let payload = Bytes::from(sealed_with(Some((&symmetric()).into()), 1));
    let open = |sender_validity, key_validity, now| {
        let keyring =
            Keyring::new([sender(&device(), sender_validity)], [entry(symmetric(), key_validity)]).unwrap();
        let replay = ReplayWindows::new(10);
        Opener::new(keyring, SKEW_S).open(&replay, Policy::Sealed, TOPIC, &payload, now).map(drop)
    };
    for now in [NOW - 10, NOW, NOW + 10] {
        assert_eq!(open(during, during, now), Ok(()));
    }
    for now in [NOW - 11, NOW + 11] {
        assert_eq!(open(during, always, now), Err(OpenError::UnknownSender));
        assert_eq!(open(always, during, now), Err(OpenError::KeyExpired));
    }
    let elsewhere = "plant/other";
    let payload =
        seal(&device(), Some((&symmetric()).into()), elsewhere, READING, Freshness::Seq(1)).unwrap();
    let replay = ReplayWindows::new(10);
    let refused = opener().open(&replay, Policy::Sealed, elsewhere, &payload.into(), NOW);
    assert_eq!(refused, Err(OpenError::UnknownKey));
}

#[test]
fn a_derived_key_is_for_one_topic_and_is_the_documented_derivation() {
    // HKDF-SHA-256 of 0x00..0x1f, computed apart from this program.
    let expected =
        [0x21, 0xcd, 0xf6, 0x82, 0x73, 0x77, 0xf2, 0x8a, 0x14, 0x98, 0x1c, 0xd1, 0xed, 0x80, 0xe9, 0x30];
    let listed = TopicKey::from_symmetric("master-1", ContentAlgorithm::A128Gcm, &expected).unwrap();
    let topic = "plant/1/temp";
    let mut zero = |buffer: &mut [u8]| {
        buffer.fill(0);
        Ok(())
    };
    let mut sealed = |key: &TopicKey, topic| {
        seal_with_random(&mut zero, &device(), Some(key.into()), topic, READING, Freshness::Seq(1)).unwrap()
    };
    assert_eq!(sealed(&master(), topic), sealed(&listed, topic));
    assert_ne!(sealed(&master(), "plant/2/temp"), sealed(&listed, "plant/2/temp"));
    let pairs = TopicKey::from_x25519_master("master-2", &[3; 32]);
    for key in [master(), pairs] {
        assert_eq!(open(Policy::Sealed, sealed_with(Some((&key).into()), 1)).unwrap().plaintext, READING);
    }
}

#[test]
fn a_key_does_the_work_of_its_own_algorithm_only() {
    let public = TopicPublicKey::from_public("aes256-88cf", &[9; 32]);
    let refused = open(Policy::Sealed, sealed_with(Some((&public).into()), 1));
    assert_eq!(refused, Err(OpenError::WrongAlgorithm));
    let symmetric = TopicKey::from_symmetric("x25519-34a2", ContentAlgorithm::A256Gcm, &[1; 32]).unwrap();
    let refused = open(Policy::Sealed, sealed_with(Some((&symmetric).into()), 1));
    assert_eq!(refused, Err(OpenError::WrongAlgorithm));
}

#[test]
fn an_agreement_with_a_key_of_small_order_is_refused() {
    let weak = TopicPublicKey::from_public("weak", &[0; 32]);
    let made = seal(&device(), Some((&weak).into()), TOPIC, READING, Freshness::Seq(1));
    assert_eq!(made, Err(SealError::WeakKey));
}

#[test]
fn ids_in_a_keyring_differ() {
    let always = Validity::default();
    let twice = Keyring::new([sender(&device(), always), sender(&device(), always)], []);
    assert_eq!(twice.unwrap_err(), KeyringError::DuplicateSender("dev-50bf3c".into()));
    let twice = Keyring::new([], [entry(symmetric(), always), entry(symmetric(), always)]);
    assert_eq!(twice.unwrap_err(), KeyringError::DuplicateTopicKey("aes256-88cf".into()));
}

#[test]
fn what_the_standards_let_through_is_read() {
    // Unknown claims, unknown labels, and heads in a longer form than needed.
    let read: [&[u8]; 3] = [
        b"\xd2\x84\x4d\xa3\x01\x27\x04\x41\x61\x0f\xa2\x06\x01\x01\x61\x78\xa0\x40\x40",
        b"\xd2\x84\x4b\xa3\x01\x27\x04\x41\x61\x61\x78\x82\xf6\xf5\xa0\x40\x40",
        b"\xd8\x12\x98\x04\x58\x06\xa2\x01\x27\x04\x41\x61\xa0\x59\x00\x00\x40",
    ];
    for bytes in read {
        assert_eq!(Envelope::parse(bytes).map(|envelope| envelope.sender()), Ok(&b"a"[..]), "{bytes:02x?}");
    }
}

#[test]
fn what_the_format_forbids_is_no_envelope() {
    let refused: [&[u8]; 9] = [
        b"\xd2\x9f\x46\xa2\x01\x27\x04\x41\x61\xa0\x40\x40\xff", // an array of indefinite length
        b"\xd2\x85\x46\xa2\x01\x27\x04\x41\x61\xa0\x40\x40\x40", // five elements
        b"\xd2\x84\xa2\x01\x27\x04\x41\x61\xa0\x40\x40",         // a header not wrapped
        b"\xd2\x84\x47\xa2\x01\x27\x04\x41\x61\x00\xa0\x40\x40", // a byte after the header's map
        b"\xd2\x84\x43\xa1\x01\x27\xa0\x40\x40",                 // no sender
        b"\xd2\x84\x44\xa1\x04\x41\x61\xa0\x40\x40",             // no algorithm
        b"\xd2\x84\x40\xa0\x40\x40",                             // no header at all
        b"\xd2\x84\x4a\xa3\x01\x27\x04\x41\x61\x0f\xa1\x06\x20\xa0\x40\x40", // a time below zero
        b"\xd2\x84\x48\xa3\x01\x27\x04\x41\x61\x40\x00\xa0\x40\x40", // a label of another type
    ];
    for bytes in refused {
        assert_eq!(Envelope::parse(bytes), Err(OpenError::NotAnEnvelope), "{bytes:02x?}");
    }
}

#[test]
fn names_are_as_documented_and_differ() {
    let names: Vec<&str> = OpenError::ALL.iter().map(|error| error.name()).collect();
    let mut unique = names.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), names.len());
    assert_eq!(payload_digest(b"abc")[..4], [0xba, 0x78, 0x16, 0xbf]);
}

fn any_key() -> impl Strategy<Value = Option<usize>> {
    prop::option::of(0_usize..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_sealed_opens(key in any_key(), plaintext: Vec<u8>, seq: u64) {
        let keys = [symmetric(), pair(), master(), TopicKey::from_x25519_master("master-2", &[3; 32])];
        let content_key = key.map(|index| ContentKey::from(&keys[index]));
        let policy = if key.is_some() { Policy::Sealed } else { Policy::Stamped };
        let payload = seal(&device(), content_key, TOPIC, &plaintext, Freshness::Seq(seq)).unwrap();
        let opened = open(policy, payload.clone()).unwrap();
        prop_assert_eq!(&opened.plaintext, &plaintext);
        prop_assert_eq!(open(Policy::EndToEnd, payload.clone()).unwrap().plaintext, payload);
    }

    #[test]
    fn every_algorithm_may_follow_an_agreement(index in 0_usize..3, plaintext: Vec<u8>) {
        let public = pair().public(TOPIC).unwrap();
        let key = ContentKey::Public(&public, ContentAlgorithm::ALL[index]);
        let payload = seal(&device(), Some(key), TOPIC, &plaintext, Freshness::Time(NOW)).unwrap();
        prop_assert_eq!(open(Policy::Sealed, payload).unwrap().plaintext, plaintext);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_refused(bytes: Vec<u8>) {
        prop_assert_eq!(open(Policy::Sealed, bytes), Err(OpenError::NotAnEnvelope));
    }

    #[test]
    fn any_content_is_refused(tag in prop_oneof![Just(0xd0_u8), Just(0xd8)], bytes: Vec<u8>) {
        let content = [&[tag], &bytes[..]].concat();
        prop_assert!(open(Policy::Sealed, stamped(&content)).is_err());
    }

    #[test]
    fn an_envelope_with_bytes_replaced_is_refused(
        at in 0_usize..220, with in prop::collection::vec(any::<u8>(), 1..20), asymmetric: bool,
    ) {
        let key = if asymmetric { pair() } else { symmetric() };
        let payload = sealed_with(Some((&key).into()), 101);
        let start = at.min(payload.len() - 1);
        let end = (start + with.len()).min(payload.len());
        let mut touched = payload.clone();
        touched.splice(start..end, with);
        prop_assert!(touched == payload || open(Policy::Sealed, touched).is_err());
    }
}
