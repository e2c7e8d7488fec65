//! Key files: what is written is read, and an error names the field and never the value.
#![allow(clippy::unwrap_used, reason = "a test that panics has found something")]

use proptest::prelude::*;
use sealmq_crypto::{
    ContentAlgorithm, Derived, KeyError, Keyring, OpenedCount, SenderKey, SenderPublicKey, TopicKey,
    TopicKeyEntry, TopicPublicKey, Topics, Validity,
};
use std::sync::Arc;

/// The key of RFC 8037, appendix A.1.
const ED25519: &str = r#"{"kty":"OKP","crv":"Ed25519","kid":"dev",
  "d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

const PUBLIC: &str =
    r#"{"kty":"OKP","crv":"Ed25519","kid":"dev","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

#[test]
fn the_key_of_rfc_8037_is_read() {
    let secret = SenderKey::from_bytes(ED25519.as_bytes()).unwrap();
    let public = SenderPublicKey::from_bytes(PUBLIC.as_bytes()).unwrap();
    assert_eq!(secret.public(), public);
    assert_eq!(SenderPublicKey::from_bytes(ED25519.as_bytes()).unwrap(), public);
    assert_eq!(secret.id(), b"dev");
    // Appendix A.3.
    assert_eq!(public.thumbprint(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

#[test]
fn every_key_comes_back_from_both_forms() {
    let sender = SenderKey::generate("dev-1").unwrap();
    assert_eq!(SenderKey::from_bytes(sender.to_jwk().unwrap().as_bytes()).unwrap(), sender);
    assert_eq!(SenderKey::from_bytes(&sender.to_cose_key()).unwrap(), sender);
    let public = sender.public();
    assert_eq!(SenderPublicKey::from_bytes(public.to_jwk().unwrap().as_bytes()).unwrap(), public);
    assert_eq!(SenderPublicKey::from_bytes(&public.to_cose_key()).unwrap(), public);
    let symmetric = ContentAlgorithm::ALL.map(|algorithm| TopicKey::generate("k", algorithm).unwrap());
    for key in symmetric.into_iter().chain([TopicKey::generate_x25519("k").unwrap()]) {
        assert_eq!(TopicKey::from_bytes(key.to_jwk().unwrap().as_bytes()).unwrap(), key);
        assert_eq!(TopicKey::from_bytes(&key.to_cose_key()).unwrap(), key);
        if let Some(public) = key.public("any") {
            assert_eq!(TopicPublicKey::from_bytes(public.to_jwk().unwrap().as_bytes()).unwrap(), public);
            assert_eq!(TopicPublicKey::from_bytes(&public.to_cose_key()).unwrap(), public);
            assert_eq!(TopicPublicKey::from_bytes(&key.to_cose_key()).unwrap(), public);
        }
    }
}

#[test]
fn an_algorithm_may_be_left_out_for_aes() {
    let read = |text: &str| TopicKey::from_bytes(text.as_bytes());
    let (short, long) = ("AAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    let jwk = |k: &str, alg: &str| format!(r#" {{"kty":"oct","kid":"k","k":"{k}"{alg}}}"#);
    let key = |algorithm: ContentAlgorithm| {
        TopicKey::from_symmetric("k", algorithm, [0; 32].get(..algorithm.key_bytes()).unwrap()).unwrap()
    };
    assert_eq!(read(&jwk(short, "")), Ok(key(ContentAlgorithm::A128Gcm)));
    assert_eq!(read(&jwk(long, "")), Ok(key(ContentAlgorithm::A256Gcm)));
    for name in ["ChaCha20/Poly1305", "C20P"] {
        let alg = format!(r#","alg":"{name}""#);
        assert_eq!(read(&jwk(long, &alg)), Ok(key(ContentAlgorithm::ChaCha20Poly1305)));
    }
    assert_eq!(read(&jwk(short, r#","alg":"A256GCM""#)), Err(KeyError::Length { field: "k", expected: 32 }));
    assert_eq!(read(&jwk(short, r#","alg":"HS256""#)), Err(KeyError::Unsupported("alg")));
}

#[test]
fn a_master_says_what_it_is_for() {
    for derived in Derived::ALL {
        let master = TopicKey::generate_master("m", derived).unwrap();
        let text = master.to_jwk().unwrap();
        assert!(text.contains(&format!("\"alg\":\"HKDF-SHA-256/{}\"", derived.name())), "an alg of its own");
        for asked in [None, Some(derived)] {
            assert_eq!(TopicKey::master_from_bytes(text.as_bytes(), asked).as_ref(), Ok(&master));
        }
        assert_eq!(TopicKey::from_bytes(text.as_bytes()), Err(KeyError::Master));
        let cose = master.to_cose_key();
        assert_eq!(TopicKey::master_from_bytes(&cose, Some(derived)).as_ref(), Ok(&master));
        assert_eq!(TopicKey::from_bytes(&cose), Err(KeyError::Master));
        for other in Derived::ALL.into_iter().filter(|other| *other != derived) {
            let read = TopicKey::master_from_bytes(text.as_bytes(), Some(other));
            assert_eq!(read, Err(KeyError::OtherDerived(derived.name())));
        }
    }
}

#[test]
fn a_key_is_no_master_unless_it_is_for_nothing_else() {
    let key = TopicKey::generate("k", ContentAlgorithm::A256Gcm).unwrap().to_jwk().unwrap();
    let pair = TopicKey::generate_x25519("k").unwrap().to_jwk().unwrap();
    for text in [&key, &pair] {
        assert_eq!(TopicKey::master_from_bytes(text.as_bytes(), None), Err(KeyError::NoMaster));
    }
    let k = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let bare = |k: &str| format!(r#"{{"kty":"oct","kid":"k","k":"{k}"}}"#);
    let master = TopicKey::master_from_bytes(bare(k).as_bytes(), None);
    assert_eq!(master, Ok(TopicKey::from_master("k", ContentAlgorithm::A256Gcm, &[0; 32])));
    let pairs = TopicKey::master_from_bytes(bare(k).as_bytes(), Some(Derived::X25519));
    assert_eq!(pairs, Ok(TopicKey::from_x25519_master("k", &[0; 32])));
    let short = TopicKey::master_from_bytes(bare("AAAAAAAAAAAAAAAAAAAAAA").as_bytes(), None);
    assert_eq!(short, Err(KeyError::Length { field: "k", expected: 32 }));
    let unknown = r#"{"kty":"oct","kid":"k","alg":"HKDF-SHA-256/RSA","k":"AAAA"}"#;
    assert_eq!(TopicKey::master_from_bytes(unknown.as_bytes(), None), Err(KeyError::Unsupported("alg")));
}

#[test]
fn a_derived_key_is_the_masters_on_its_topic_alone() {
    for derived in Derived::ALL {
        let master = TopicKey::generate_master("m", derived).unwrap();
        let key = master.derived("plant/7").unwrap();
        assert_eq!((key.id(), key.derives()), (&b"m"[..], None));
        assert_eq!(key.public("any"), master.public("plant/7"));
        assert_ne!(Some(key), master.derived("plant/8"));
    }
    let listed = TopicKey::generate("k", ContentAlgorithm::A256Gcm).unwrap();
    assert_eq!((listed.derives(), listed.derived("plant/7")), (None, None));
}

#[test]
fn an_error_names_the_field_and_never_the_value() {
    let d = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
    let cases = [
        (ED25519.replace(d, "nWGx"), "the field d must hold 32 bytes"),
        (ED25519.replace(d, "nWGxne=="), "the field d cannot be read"),
        (ED25519.replace("\"kid\"", "\"id\""), "the field kid is missing"),
        (ED25519.replace("\"d\"", "\"e\""), "the field d is missing"),
        (ED25519.replace("Ed25519", "Ed448"), "the field crv names something not supported"),
        (ED25519.replace("OKP", "RSA"), "the field kty names something not supported"),
        (ED25519.replace("Ed25519", "X25519"), "the key is not an Ed25519 key"),
        (ED25519.replace("nWG", "nWH"), "the public half does not belong to the secret half"),
        (ED25519.replace("\"d\":\"nWG", "\"d\":5,\"y\":\"nWG"), "not a JWK: see line 2, column 7"),
        (ED25519.replace("\"x\"", "\"d\""), "not a JWK: see line 2, column 55"),
        (d.to_owned(), "neither a JWK nor a COSE_Key"),
        (String::new(), "neither a JWK nor a COSE_Key"),
    ];
    for (text, expected) in cases {
        let error = SenderKey::from_bytes(text.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert!(!format!("{error:?}").contains("nWG"));
    }
}

#[test]
fn a_weak_public_key_is_refused() {
    let mut identity = [0; 32];
    for byte in identity.iter_mut().take(1) {
        *byte = 1;
    }
    assert_eq!(SenderPublicKey::from_public("weak", &identity), Err(KeyError::Weak));
}

#[test]
fn debug_shows_the_id_alone() {
    let sender = SenderKey::from_secret("dev-1", &[0xab; 32]);
    assert_eq!(format!("{sender:?}"), "SenderKey(dev-1)");
    assert_eq!(format!("{:?}", sender.public()), "SenderPublicKey(dev-1)");
    let key = TopicKey::from_x25519("line\nbreak", &[0xab; 32]);
    assert_eq!(format!("{key:?}"), "TopicKey(line\\nbreak)");
    assert_eq!(format!("{:?}", key.public("any")), "Some(TopicPublicKey(line\\nbreak))");
}

proptest! {
    #[test]
    fn any_bytes_make_a_key_or_an_error(bytes: Vec<u8>) {
        let _ = SenderKey::from_bytes(&bytes);
        let _ = TopicKey::from_bytes(&[b"{", &bytes[..]].concat());
    }
}

/// Topics that begin so.
#[derive(Debug)]
struct Below(&'static str);

impl Topics for Below {
    fn contains(&self, topic: &str) -> bool {
        topic.starts_with(self.0)
    }
}

fn entry(
    key: TopicKey,
    topics: &'static str,
    not_before: Option<u64>,
    not_after: Option<u64>,
) -> TopicKeyEntry {
    let validity = Validity { not_before, not_after };
    TopicKeyEntry {
        id: key.id().to_vec(),
        key,
        topics: Arc::new(Below(topics)),
        validity,
        opened: OpenedCount::default(),
    }
}

/// Of those that are valid, the one that became so last; else the one given last.
#[test]
fn the_current_public_key_of_a_topic() {
    let pair = |id: &str| TopicKey::generate_x25519(id).unwrap();
    let keyring = Keyring::new(
        [],
        [
            entry(pair("newer"), "a/", Some(20), None),
            entry(pair("old"), "a/", Some(10), Some(15)),
            entry(pair("first"), "a/", None, None),
            entry(pair("second"), "a/", None, None),
            entry(TopicKey::generate("symmetric", ContentAlgorithm::A256Gcm).unwrap(), "", Some(1), None),
            entry(TopicKey::from_x25519_master("master", &[7; 32]), "m/", None, None),
        ],
    );
    let keyring = keyring.unwrap();
    let current = |topic: &str, now| keyring.current_public(topic, now);
    let id = |topic: &str, now| current(topic, now).map(|key| String::from_utf8(key.id().to_vec()).unwrap());
    assert_eq!(id("a/x", 5).as_deref(), Some("second"));
    assert_eq!(id("a/x", 12).as_deref(), Some("old"));
    assert_eq!(id("a/x", 16).as_deref(), Some("second"));
    assert_eq!(id("a/x", 20).as_deref(), Some("newer"));
    assert_eq!(id("b/x", 20), None, "a symmetric key is nobody's to know");
    // At 10 and 20 one begins, and at 16 one is over.
    let turns: Vec<u64> = (1..30).filter(|now| keyring.turns_within(now - 1, *now)).collect();
    assert_eq!(turns, [10, 16, 20]);
    let master = TopicKey::from_x25519_master("master", &[7; 32]);
    assert_eq!(current("m/1", 5), master.public("m/1"));
    assert_ne!(current("m/1", 5), current("m/2", 5), "a master has a pair for each topic");
}
