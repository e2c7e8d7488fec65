//! Many envelopes from one agreement: each opens for the owner of the key, on its topic, once.
#![allow(clippy::unwrap_used, reason = "a test that panics has found something")]

use bytes::Bytes;
use proptest::prelude::*;
use sealmq_crypto::{
    EnvelopeSize, Freshness, Keyring, OpenError, Opened, OpenedCount, Opener, Policy, ReplayWindows,
    Resealer, SealError, Sender, SenderKey, TopicKey, TopicKeyEntry, TopicPublicKey, Topics, Validity,
};
use std::collections::BTreeSet;
use std::sync::Arc;

const NOW: u64 = 1_700_000_000;

#[derive(Debug)]
struct Everywhere;

impl Topics for Everywhere {
    fn contains(&self, _: &str) -> bool {
        true
    }
}

/// A subscriber who knows the broker's identity and has a key of his own.
struct Subscriber {
    opener: Opener,
    windows: ReplayWindows,
}

impl Subscriber {
    fn new(broker: &SenderKey, key: TopicKey) -> Self {
        let (topics, validity) = (Arc::new(Everywhere), Validity::default());
        let id = broker.id().to_vec();
        let sender = Sender { id, key: broker.public(), topics: topics.clone(), validity };
        let key =
            TopicKeyEntry { id: key.id().to_vec(), key, topics, validity, opened: OpenedCount::default() };
        let opener = Opener::new(Keyring::new([sender], [key]).unwrap(), 300);
        Self { opener, windows: ReplayWindows::new(1) }
    }

    fn open(&self, topic: &str, envelope: &[u8]) -> Result<Opened, OpenError> {
        let envelope = Bytes::copy_from_slice(envelope);
        self.opener.open(&self.windows, Policy::Sealed, topic, &envelope, NOW)
    }
}

fn both(seq: u64) -> Freshness {
    Freshness::Both { seq, time: NOW }
}

#[test]
fn every_envelope_of_one_agreement_opens_once() {
    let broker = Arc::new(SenderKey::generate("sealmq").unwrap());
    let key = TopicKey::generate_x25519("mine").unwrap();
    let mut resealer = Resealer::new(broker.clone(), &key.public("").unwrap()).unwrap();
    let subscriber = Subscriber::new(&broker, key);
    let mut ivs = BTreeSet::new();
    for seq in 0..300 {
        let text = format!("reading {seq}");
        let envelope = resealer.seal("plant/7", text.as_bytes(), both(seq)).unwrap();
        assert_eq!(subscriber.open("plant/8", &envelope), Err(OpenError::BadStamp));
        assert_eq!(subscriber.open("plant/7", &envelope).unwrap().plaintext, text);
        assert_eq!(subscriber.open("plant/7", &envelope), Err(OpenError::Replayed));
        // Behind the label and the head of a byte string of 12.
        let at = envelope.windows(3).position(|bytes| bytes == [0xA1, 0x05, 0x4C]).unwrap() + 3;
        ivs.insert(envelope.get(at..at + 12).unwrap().to_vec());
    }
    assert_eq!((ivs.len(), resealer.sealed()), (300, 300), "no IV comes twice");
}

#[test]
fn two_agreements_share_nothing() {
    let broker = Arc::new(SenderKey::generate("sealmq").unwrap());
    let key = TopicKey::generate_x25519("mine").unwrap().public("").unwrap();
    let [one, other] =
        [(); 2].map(|()| Resealer::new(broker.clone(), &key).unwrap().seal("t", b"same", both(1)).unwrap());
    assert_ne!(one, other);
}

#[test]
fn a_key_of_small_order_is_refused() {
    let broker = Arc::new(SenderKey::generate("sealmq").unwrap());
    let weak = TopicPublicKey::from_public("weak", &[0; 32]);
    assert!(weak.is_weak() && !TopicKey::generate_x25519("k").unwrap().public("").unwrap().is_weak());
    assert_eq!(Resealer::new(broker, &weak).unwrap_err(), SealError::WeakKey);
}

proptest! {
    #[test]
    fn the_size_is_known_before(
        sender in "[a-z]{1,40}", key in "[a-z]{1,300}", bytes in prop_oneof![0_usize..300, 65_400_usize..65_600],
        seq: u64, time: u64,
    ) {
        let freshness = Freshness::Both { seq, time };
        let broker = Arc::new(SenderKey::generate(sender.as_str()).unwrap());
        let public = TopicKey::generate_x25519(key.as_str()).unwrap().public("").unwrap();
        let mut resealer = Resealer::new(broker, &public).unwrap();
        let envelope = resealer.seal("a/b", &vec![7; bytes], freshness).unwrap();
        let size = EnvelopeSize::new(sender.as_bytes(), key.as_bytes(), freshness);
        prop_assert_eq!(envelope.len(), size.of(bytes));
    }
}
