//! Envelopes that are verified together have the verdict that each would have alone, and ciphers that are kept
//! for the next message open what they should and nothing else.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has found something")]

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use sealmq_crypto::{
    BATCH_STAMPS_MAX, ContentAlgorithm, ContentKey, Freshness, Keyring, OpenError, OpenedCount, Opener,
    Policy, ReplayWindows, Sender, SenderKey, TopicKey, TopicKeyEntry, Topics, Validity, seal,
    seal_with_random, verify_all,
};

const NOW: u64 = 1_700_000_000;

#[derive(Debug)]
struct Everything;

impl Topics for Everything {
    fn contains(&self, _topic: &str) -> bool {
        true
    }
}

fn device(number: u8) -> SenderKey {
    SenderKey::from_secret(format!("dev-{number}"), &[number + 1; 32])
}

fn opener(topic_keys: Vec<TopicKey>) -> Opener {
    let (topics, validity) = (Arc::new(Everything), Validity::default());
    let senders = (0..4).map(device).map(|key| Sender {
        id: key.id().to_vec(),
        key: key.public(),
        topics: topics.clone(),
        validity,
    });
    let topic_keys = topic_keys.into_iter().map(|key| TopicKeyEntry {
        id: key.id().to_vec(),
        key,
        topics: topics.clone(),
        validity,
        opened: OpenedCount::default(),
    });
    Opener::new(Keyring::new(senders, topic_keys).unwrap(), 300).keeping_derived(4)
}

/// What becomes of an envelope's stamp.
#[derive(Debug, Clone, Copy)]
enum Stamp {
    Good,
    /// One byte of it is another.
    Flipped(usize),
    /// Made for another topic.
    Moved,
    Short,
}

fn stamp() -> impl Strategy<Value = Stamp> {
    prop_oneof![
        6 => Just(Stamp::Good),
        1 => (0_usize..64).prop_map(Stamp::Flipped),
        1 => Just(Stamp::Moved),
        1 => Just(Stamp::Short),
    ]
}

fn stamped(sender: u8, seq: u64, stamp: Stamp) -> Bytes {
    let topic = if matches!(stamp, Stamp::Moved) { "b" } else { "a" };
    let mut envelope = seal(&device(sender), None, topic, b"21.5", Freshness::Seq(seq)).unwrap();
    let begin = envelope.len() - 64;
    match stamp {
        Stamp::Good | Stamp::Moved => {}
        Stamp::Flipped(at) => envelope[begin + at] ^= 1,
        Stamp::Short => {
            envelope.truncate(begin - 2);
            envelope.extend_from_slice(&[0x43, 1, 2, 3]);
        }
    }
    envelope.into()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_batch_has_the_verdicts_of_its_envelopes(
        envelopes in prop::collection::vec((0_u8..4, stamp()), 0..40)
    ) {
        let opener = opener(Vec::new());
        let payloads: Vec<Bytes> =
            envelopes.iter().zip(1..).map(|((sender, stamp), seq)| stamped(*sender, seq, *stamp)).collect();
        let identified = || payloads.iter().map(|payload| opener.identify("a", payload, NOW).unwrap());
        let alone: Vec<_> = identified().map(|one| one.verify().map(drop)).collect();
        let together: Vec<_> = verify_all(identified()).into_iter().map(|one| one.map(drop)).collect();
        let expected: Vec<_> = envelopes.iter().map(|(_, stamp)| match stamp {
            Stamp::Good => Ok(()),
            Stamp::Flipped(_) | Stamp::Moved | Stamp::Short => Err(OpenError::BadStamp),
        }).collect();
        prop_assert_eq!(&together, &expected);
        prop_assert_eq!(&alone, &expected);
    }
}

#[test]
fn more_than_a_batch_is_verified_whole() {
    let opener = opener(Vec::new());
    let bad = BATCH_STAMPS_MAX + 17;
    let payloads: Vec<Bytes> = (0..BATCH_STAMPS_MAX + 40)
        .map(|at| stamped(0, at as u64, if at == bad { Stamp::Flipped(40) } else { Stamp::Good }))
        .collect();
    let identified = payloads.iter().map(|payload| opener.identify("a", payload, NOW).unwrap());
    let refused: Vec<usize> =
        verify_all(identified).iter().enumerate().filter(|(_, one)| one.is_err()).map(|(at, _)| at).collect();
    assert_eq!(refused, [bad]);
}

#[test]
fn a_kept_cipher_is_for_its_own_ephemeral_key_topic_and_master() {
    let pair = TopicKey::from_x25519("pair", &[2; 32]);
    let master_pair = TopicKey::from_x25519_master("master-pair", &[3; 32]);
    let master = TopicKey::from_master("master", ContentAlgorithm::A128Gcm, &[4; 32]);
    let publics = [pair.public("a").unwrap(), master_pair.public("a").unwrap()];
    let master_at_device = TopicKey::from_master("master", ContentAlgorithm::A128Gcm, &[4; 32]);
    let keys = [ContentKey::from(&publics[0]), ContentKey::from(&publics[1]), (&master_at_device).into()];
    let opener = opener(vec![pair, master_pair, master]);
    let replay = ReplayWindows::new(8);
    for seq in 0..60 {
        // The same ephemeral key for a while, the IV another each time.
        let (mut iv, ephemeral) = (vec![0; 12], u8::try_from(seq / 20).unwrap());
        iv[0] = u8::try_from(seq).unwrap();
        let mut random = |buffer: &mut [u8]| {
            if buffer.len() == 12 {
                buffer.copy_from_slice(&iv);
            } else {
                buffer.fill(ephemeral + 1);
            }
            Ok(())
        };
        let key = keys[usize::try_from(seq % 3).unwrap()];
        let payload =
            seal_with_random(&mut random, &device(0), Some(key), "a", b"21.5", Freshness::Seq(seq)).unwrap();
        let payload = Bytes::from(payload);
        let taken = opener.open(&replay, Policy::Sealed, "a", &payload, NOW).unwrap();
        assert_eq!(taken.plaintext, &b"21.5"[..]);
    }
    // Of the master's key of another topic, a cipher kept for this one is none.
    let other = seal(&device(0), Some(keys[2]), "b", b"21.5", Freshness::Seq(100)).unwrap();
    assert_eq!(
        opener.open(&replay, Policy::Sealed, "b", &other.into(), NOW).unwrap().plaintext,
        &b"21.5"[..]
    );
}
