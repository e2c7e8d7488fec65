//! Answers to challenges: what was made passes, what was touched does not, and envelopes are something else.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has found something")]

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use sealmq_crypto::challenge::{CHALLENGE_BYTES, respond, verify};
use sealmq_crypto::{
    Freshness, Keyring, OpenError, Opener, Policy, ReplayWindows, Sender, SenderKey, Topics, Validity, seal,
};

const NOW: u64 = 1_700_000_000;
const CLIENT: &str = "c1";
const CHALLENGE: [u8; CHALLENGE_BYTES] = [0xc5; CHALLENGE_BYTES];

/// All topics, even one that MQTT cannot have.
#[derive(Debug)]
struct Everywhere;

impl Topics for Everywhere {
    fn contains(&self, _topic: &str) -> bool {
        true
    }
}

fn device() -> SenderKey {
    SenderKey::from_secret("dev-7", &[7; 32])
}

fn keyring(validity: Validity) -> Keyring {
    let sender =
        Sender { id: b"dev-7".to_vec(), key: device().public(), topics: Arc::new(Everywhere), validity };
    Keyring::new([sender], []).unwrap()
}

fn check(answer: &[u8]) -> Result<(), OpenError> {
    verify(&keyring(Validity::default()), CLIENT, &CHALLENGE, answer, NOW).map(drop)
}

/// What [`respond`] makes, with the signed text carried along.
fn carrying(answer: &[u8], text: &[u8]) -> Vec<u8> {
    let at = answer.len() - 64 - 3;
    assert_eq!(answer[at], 0xf6);
    [&answer[..at], &[0x58, u8::try_from(text.len()).unwrap()], text, &answer[at + 1..]].concat()
}

fn text() -> Vec<u8> {
    [b"sealmq auth 1".as_slice(), CLIENT.as_bytes(), &CHALLENGE].concat()
}

#[test]
fn an_answer_names_its_sender() {
    let keyring = keyring(Validity::default());
    let answer = respond(&device(), CLIENT, &CHALLENGE);
    let (id, sender) = verify(&keyring, CLIENT, &CHALLENGE, &answer, NOW).unwrap();
    assert_eq!(id, "dev-7");
    assert_eq!(sender.key, device().public());
}

#[test]
fn another_implementation_makes_the_same_bytes() {
    // Python's `cryptography`, over CBOR put together by hand.
    let expected = "d2844aa2012704456465762d37a0f65840a12697254f7ba0aa6f5e0e2d923b9fabc028ee0a1d02daeedc15\
        8040328b9bce0758b0e534c1ae65bccda8a71aad7962ae5fb91a34bf0325fcf28c919728b008";
    let digits = expected.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    let bytes: Vec<u8> = digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
    assert_eq!(respond(&device(), CLIENT, &CHALLENGE), bytes);
}

#[test]
fn what_was_signed_may_be_carried_along_and_is_compared() {
    let answer = respond(&device(), CLIENT, &CHALLENGE);
    assert_eq!(check(&carrying(&answer, &text())), Ok(()));
    let mut other = text();
    other[20] ^= 1;
    assert_eq!(check(&carrying(&answer, &other)), Err(OpenError::BadStamp));
}

#[test]
fn an_answer_is_for_its_challenge_and_client_id() {
    let keyring = keyring(Validity::default());
    let answer = respond(&device(), CLIENT, &CHALLENGE);
    let mut other = CHALLENGE;
    other[31] ^= 1;
    assert_eq!(verify(&keyring, CLIENT, &other, &answer, NOW).unwrap_err(), OpenError::BadStamp);
    assert_eq!(verify(&keyring, "c2", &CHALLENGE, &answer, NOW).unwrap_err(), OpenError::BadStamp);
    // A client id that ends like the challenge begins is another one all the same.
    let moved = respond(&device(), "c", &CHALLENGE);
    assert_eq!(check(&moved), Err(OpenError::BadStamp));
}

#[test]
fn only_enrolled_senders_pass_and_only_in_their_time() {
    let stranger = SenderKey::from_secret("dev-8", &[7; 32]);
    assert_eq!(check(&respond(&stranger, CLIENT, &CHALLENGE)), Err(OpenError::UnknownSender));
    let thief = SenderKey::from_secret("dev-7", &[8; 32]);
    assert_eq!(check(&respond(&thief, CLIENT, &CHALLENGE)), Err(OpenError::BadStamp));
    let answer = respond(&device(), CLIENT, &CHALLENGE);
    let keyring = keyring(Validity { not_before: Some(NOW), not_after: Some(NOW + 1) });
    for (now, expected) in [
        (NOW - 1, Err(OpenError::UnknownSender)),
        (NOW, Ok(())),
        (NOW + 1, Ok(())),
        (NOW + 2, Err(OpenError::UnknownSender)),
    ] {
        assert_eq!(verify(&keyring, CLIENT, &CHALLENGE, &answer, now).map(drop), expected, "{now}");
    }
}

#[test]
fn an_answer_never_passes_for_an_envelope() {
    for answer in
        [respond(&device(), CLIENT, &CHALLENGE), carrying(&respond(&device(), CLIENT, &CHALLENGE), &text())]
    {
        // Even on the topic that would have its signed bytes, if there could be such a topic.
        for topic in ["", "sealmq auth 1", CLIENT] {
            let opener = Opener::new(keyring(Validity::default()), 300);
            let payload = Bytes::from(answer.clone());
            for policy in [Policy::Stamped, Policy::EndToEnd] {
                opener.open(&ReplayWindows::new(1), policy, topic, &payload, NOW).unwrap_err();
            }
        }
    }
}

#[test]
fn an_envelope_never_passes_for_an_answer() {
    let fresh = [Freshness::Seq(1), Freshness::Time(NOW), Freshness::Both { seq: 1, time: NOW }];
    for freshness in fresh {
        for topic in ["", "plant/7"] {
            let envelope = seal(&device(), None, topic, &text(), freshness).unwrap();
            assert_eq!(check(&envelope), Err(OpenError::NotAnEnvelope));
        }
    }
}

#[test]
fn a_stamp_over_a_topic_does_not_hold_without_it() {
    // The header of an answer, signed as on a topic: the topic alone keeps the two apart.
    let made = cbor_sign1(b"plant/7", &text());
    assert_eq!(check(&made), Err(OpenError::BadStamp));
    assert_eq!(check(&cbor_sign1(b"", &text())), Ok(()));
}

/// An answer put together by hand, with this `external_aad`.
fn cbor_sign1(external: &[u8], text: &[u8]) -> Vec<u8> {
    use ed25519_dalek::Signer;
    let short = |bytes: &[u8]| [&[0x40 + u8::try_from(bytes.len()).unwrap()], bytes].concat();
    let long = [&[0x58, u8::try_from(text.len()).unwrap()], text].concat();
    let protected = short(b"\xa2\x01\x27\x04\x45dev-7");
    let signed = [b"\x84\x6aSignature1".as_slice(), &protected, &short(external), &long].concat();
    let stamp = ed25519_dalek::SigningKey::from_bytes(&[7; 32]).sign(&signed).to_bytes();
    [b"\xd2\x84".as_slice(), &protected, b"\xa0", &long, b"\x58\x40", &stamp].concat()
}

#[test]
fn the_form_is_strict() {
    let answer = respond(&device(), CLIENT, &CHALLENGE);
    for bytes in [
        Vec::new(),
        answer[1..].to_vec(),          // without its tag
        [&answer[..], b"\0"].concat(), // a byte after it
        answer[..answer.len() - 1].to_vec(),
    ] {
        assert_eq!(check(&bytes), Err(OpenError::NotAnEnvelope), "{bytes:02x?}");
    }
    let mut floating = answer.clone();
    let at = answer.len() - 64 - 3;
    floating.splice(at..=at, [0xf9, 0x00, 0x16]);
    assert_eq!(check(&floating), Err(OpenError::NotAnEnvelope), "a float in the place of nil");
}

#[test]
fn every_flipped_bit_is_noticed() {
    let answer = carrying(&respond(&device(), CLIENT, &CHALLENGE), &text());
    for bit in 0..answer.len() * 8 {
        let mut touched = answer.clone();
        touched[bit / 8] ^= 1 << (bit % 8);
        assert!(check(&touched).is_err(), "bit {bit}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_refused(bytes: Vec<u8>) {
        prop_assert!(check(&bytes).is_err());
    }
}
