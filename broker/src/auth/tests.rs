//! Who may connect: the three ways in, step by step, and who may stay after a reload.

use super::*;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use sealmq_crypto::challenge::{self, CHALLENGE_BYTES};
use sealmq_crypto::{Keyring, Sender, SenderKey, Topics, Validity};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::LazyLock;
use verifier::Verifier;

const NOW: u64 = 1_700_000_000;
const RANDOM: [u8; CHALLENGE_BYTES] = [0xc5; CHALLENGE_BYTES];
const BAD: Denied = Denied::BadUserNameOrPassword;
/// The hash is of the password `secret`.
static HASH: LazyLock<String> = LazyLock::new(|| password::cheap_hash(b"secret"));
static SCRAM: LazyLock<String> = LazyLock::new(|| verifier_text("secret", 4096));

fn config(allow_anonymous: bool, password_file: Option<PathBuf>) -> sealmq_config::auth::Auth {
    sealmq_config::auth::Auth { allow_anonymous, password_file, client_id_prefixes: Vec::new() }
}

fn verifier_text(password: &str, iterations: u32) -> String {
    let verifier = Verifier::of_password(password.as_bytes(), b"0123456789abcdef", iterations).unwrap();
    verifier.to_text().to_string()
}

fn auth(allow_anonymous: bool, file: Option<&str>) -> Auth {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("passwd");
    let path = file.map(|text| {
        std::fs::write(&path, text).unwrap();
        path
    });
    Auth::load(&config(allow_anonymous, path)).unwrap()
}

/// Ann and her verifier, and Bob with a hash alone.
fn ann_and_bob() -> Auth {
    auth(false, Some(&format!("ann:{}:{}\nbob:{}\n", *HASH, *SCRAM, *HASH)))
}

/// No topics.
#[derive(Debug)]
struct Nowhere;

impl Topics for Nowhere {
    fn contains(&self, _topic: &str) -> bool {
        false
    }
}

fn key(id: &[u8]) -> SenderKey {
    SenderKey::from_secret(id, &[7; 32])
}

fn keyring(keys: &[SenderKey]) -> Keyring {
    let sender = |key: &SenderKey| Sender {
        id: key.id().to_vec(),
        key: key.public(),
        topics: Arc::new(Nowhere),
        validity: Validity { not_before: None, not_after: Some(NOW) },
    };
    Keyring::new(keys.iter().map(sender), []).unwrap()
}

fn at(keyring: &Keyring, now: u64) -> Senders<'_> {
    Senders { keyring, now }
}

fn who<'a>(client_id: &'a str, user: Option<&'a str>) -> Who<'a> {
    Who { client_id, user }
}

#[track_caller]
fn continued(step: Step) -> (Exchange, Bytes) {
    match step {
        Step::Continue(exchange, data) => (exchange, data),
        other @ (Step::Done(..) | Step::Denied(_)) => panic!("{other:?}"),
    }
}

#[track_caller]
fn denied(step: Step) -> Denied {
    match step {
        Step::Denied(denied) => denied,
        other @ (Step::Continue(..) | Step::Done(..)) => panic!("{other:?}"),
    }
}

fn begin_scram(auth: &Auth, first: &str, user: Option<&str>) -> Step {
    let nobody = Keyring::default();
    auth.begin("SCRAM-SHA-256", Some(first.as_bytes()), who("c1", user), at(&nobody, NOW), &RANDOM)
}

fn answer_scram(exchange: Exchange, last: &str) -> Step {
    exchange.answer(Some(last.as_bytes()), at(&Keyring::default(), NOW))
}

/// What a client with this password sends last, after `n,,` and this bare message.
fn client_final(bare: &str, server_first: &[u8], password: &str) -> String {
    let server_first = std::str::from_utf8(server_first).unwrap();
    let mut parts = server_first.split(',').map(|part| part.split_once('=').unwrap().1);
    let (nonce, salt, rounds) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    let (salt, rounds) = (STANDARD.decode(salt).unwrap(), rounds.parse().unwrap());
    let salted = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password.as_bytes(), &salt, rounds);
    let client_key = verifier::hmac(&salted, &[b"Client Key"]);
    let unproven = format!("c=biws,r={nonce}");
    let message = format!("{bare},{server_first},{unproven}");
    let signature = verifier::hmac(&Sha256::digest(client_key).into(), &[message.as_bytes()]);
    let proof: Vec<u8> = client_key.iter().zip(signature).map(|(one, other)| one ^ other).collect();
    format!("{unproven},p={}", STANDARD.encode(proof))
}

/// The last step of an exchange in which a client with this name and password does everything right.
fn scram(auth: &Auth, name: &str, password: &str, user: Option<&str>) -> Step {
    let bare = format!("n={name},r=abc");
    match begin_scram(auth, &format!("n,,{bare}"), user) {
        Step::Continue(exchange, data) => answer_scram(exchange, &client_final(&bare, &data, password)),
        ended @ (Step::Done(..) | Step::Denied(_)) => ended,
    }
}

#[tokio::test]
async fn who_may_connect_depends_on_name_file_and_anonymous() {
    let file = format!("ann:{}\n", *HASH);
    let (bad, not) = (Err(BAD), Err(Denied::NotAuthorized));
    for (anonymous, with_file, user, word, expected) in [
        (true, false, None, None, Ok(None)),
        (false, false, None, None, not),
        (true, false, Some("ann"), Some("any"), Ok(Some("ann"))),
        (false, false, Some("ann"), Some("secret"), not),
        (true, true, None, None, Ok(None)),
        (false, true, None, None, not),
        (false, true, Some("ann"), Some("secret"), Ok(Some("ann"))),
        (true, true, Some("ann"), Some("Secret"), bad),
        (true, true, Some("ann"), Some(""), bad),
        (true, true, Some("ann"), None, bad),
        (true, true, Some("bob"), Some("secret"), bad),
        (true, true, Some(""), Some("secret"), bad),
    ] {
        let auth = auth(anonymous, with_file.then_some(&*file));
        let word = word.map(|word: &str| Bytes::copy_from_slice(word.as_bytes()));
        let answer = auth.check(user, word).await;
        let answer = answer.as_ref().map(|identity| identity.user().map(|user| &**user));
        assert_eq!(answer.map_err(|denied| *denied), expected, "{anonymous} {with_file} {user:?}");
    }
}

#[test]
fn each_denial_has_its_codes() {
    for (denied, three, five) in [
        (BAD, 4, 0x86),
        (Denied::NotAuthorized, 5, 0x87),
        (Denied::BadMethod, 4, 0x8c),
        (Denied::NotProven(Reason::UnknownUser), 5, 0x87),
        (Denied::NotProven(Reason::WrongProof), 5, 0x87),
    ] {
        let reason = denied.reason();
        assert_eq!((reason.connect_return_code(), reason.byte()), (three, five), "{denied}");
    }
}

#[test]
fn a_missing_password_file_is_named() {
    let error = Auth::load(&config(true, Some("nowhere/passwd".into()))).unwrap_err().to_string();
    assert_eq!(error, "auth.password_file: nowhere/passwd: cannot read it: there is no such file or folder");
}

#[test]
fn an_exchange_is_small_and_can_change_threads() {
    fn is_send<T: Send>() {}
    is_send::<Exchange>();
    assert!(size_of::<Exchange>() <= 96, "{}", size_of::<Exchange>());
}

#[test]
fn methods_that_nobody_can_use_are_no_methods() {
    let (nobody, somebody) = (Keyring::default(), keyring(&[key(b"dev-7")]));
    let without = auth(true, Some(&format!("bob:{}\n", *HASH)));
    for (auth, method, keyring) in [
        (&ann_and_bob(), "PLAIN", &somebody),
        (&ann_and_bob(), "scram-sha-256", &somebody),
        (&ann_and_bob(), "", &somebody),
        (&ann_and_bob(), "sealmq-ed25519", &nobody),
        (&without, "SCRAM-SHA-256", &somebody),
        (&auth(true, None), "SCRAM-SHA-256", &somebody),
    ] {
        let step = auth.begin(method, Some(b"n,,n=ann,r=x"), who("c1", None), at(keyring, NOW), &RANDOM);
        assert_eq!(denied(step), Denied::BadMethod, "{method}");
    }
}

#[test]
fn scram_lets_in_who_knows_the_password() {
    let auth = ann_and_bob();
    for user in [None, Some("ann")] {
        let Step::Done(identity, Some(data)) = scram(&auth, "ann", "secret", user) else { panic!() };
        assert_eq!(identity.user().unwrap(), "ann");
        assert!(data.starts_with(b"v=") && data.len() == 46);
    }
    assert_eq!(denied(scram(&auth, "ann", "Secret", None)), Reason::WrongProof.into());
}

#[test]
fn scram_must_end_with_the_name_of_connect() {
    assert_eq!(denied(scram(&ann_and_bob(), "ann", "secret", Some("bob"))), Reason::OtherUser.into());
    assert_eq!(denied(scram(&ann_and_bob(), "ann", "secret", Some(""))), Reason::OtherUser.into());
}

#[test]
fn an_answer_of_an_earlier_exchange_is_refused() {
    let (auth, nobody) = (ann_and_bob(), Keyring::default());
    let bare = "n=ann,r=abc";
    let first = format!("n,,{bare}");
    let (exchange, data) = continued(begin_scram(&auth, &first, None));
    let last = client_final(bare, &data, "secret");
    assert!(matches!(answer_scram(exchange, &last), Step::Done(..)));
    let again = auth.begin(
        "SCRAM-SHA-256",
        Some(first.as_bytes()),
        who("c1", None),
        at(&nobody, NOW),
        &[0; CHALLENGE_BYTES],
    );
    assert_eq!(denied(answer_scram(continued(again).0, &last)), Reason::OtherNonce.into());
}

#[test]
fn an_unknown_user_looks_like_a_known_one() {
    let auth = ann_and_bob();
    let shape = |message: &[u8]| {
        let text = String::from_utf8(message.to_vec()).unwrap();
        let (head, rest) = text.split_once(",s=").unwrap();
        let (salt, rounds) = rest.split_once(',').unwrap();
        (head.to_owned(), STANDARD.decode(salt).unwrap().len(), rounds.to_owned())
    };
    let (_, known) = continued(begin_scram(&auth, "n,,n=ann,r=abc", None));
    // Bob is known, but not for SCRAM.
    for name in ["eve", "bob", "=2C"] {
        let first = format!("n,,n={name},r=abc");
        let (_, data) = continued(begin_scram(&auth, &first, None));
        assert_eq!(shape(&data), shape(&known));
        assert_ne!(data, known, "a salt of its own");
        assert_eq!(continued(begin_scram(&auth, &first, None)).1, data, "and the same each time");
        assert_eq!(continued(begin_scram(&ann_and_bob(), &first, None)).1, data, "after a reload, too");
        let failed = denied(scram(&auth, name, "secret", None));
        assert_eq!(failed, Reason::UnknownUser.into());
        assert_eq!(failed.reason(), Denied::NotProven(Reason::WrongProof).reason());
    }
}

#[test]
fn unknown_users_are_spread_over_what_known_ones_look_like() {
    let mut file = String::new();
    for (name, rounds) in [("ann", 4096), ("bob", 5000)] {
        writeln!(file, "{name}:{}:{}", *HASH, verifier_text("x", rounds)).unwrap();
    }
    let auth = auth(false, Some(&file));
    let mut found = [0; 2];
    for n in 0..64 {
        let (_, data) = continued(begin_scram(&auth, &format!("n,,n=u{n},r=abc"), None));
        found[usize::from(data.ends_with(b",i=5000"))] += 1;
    }
    // By chance, less than once in 2^30 runs.
    assert!(found.iter().all(|times| *times > 5), "{found:?}");
}

fn begin_ed25519(keyring: &Keyring, data: Option<&[u8]>, user: Option<&str>) -> Step {
    auth(false, None).begin("sealmq-ed25519", data, who("c1", user), at(keyring, NOW), &RANDOM)
}

#[test]
fn a_signed_challenge_lets_the_sender_in() {
    let keyring = keyring(&[key(b"dev-7")]);
    for (data, user) in [(None, None), (Some(b"".as_slice()), Some("dev-7"))] {
        let (exchange, challenge) = continued(begin_ed25519(&keyring, data, user));
        assert_eq!(*challenge, RANDOM);
        let answer = challenge::respond(&key(b"dev-7"), "c1", &RANDOM);
        let Step::Done(identity, None) = exchange.answer(Some(&answer), at(&keyring, NOW)) else { panic!() };
        assert_eq!(identity.user().unwrap(), "dev-7");
    }
}

#[test]
fn a_signed_challenge_is_looked_at_from_all_sides() {
    let keyring = keyring(&[key(b"dev-7"), key(b"\xff")]);
    let right = challenge::respond(&key(b"dev-7"), "c1", &RANDOM);
    for (user, answer, now, expected) in [
        (Some("dev-8"), right.clone(), NOW, Reason::OtherUser),
        (Some(""), right.clone(), NOW, Reason::OtherUser),
        (None, right.clone(), NOW + 1, Reason::UnknownUser),
        (None, challenge::respond(&key(b"dev-8"), "c1", &RANDOM), NOW, Reason::UnknownUser),
        (None, challenge::respond(&key(b"\xff"), "c1", &RANDOM), NOW, Reason::UnknownUser),
        (None, challenge::respond(&key(b"dev-7"), "c2", &RANDOM), NOW, Reason::WrongProof),
        (None, challenge::respond(&key(b"dev-7"), "c1", &[0; 32]), NOW, Reason::WrongProof),
        (None, right[1..].to_vec(), NOW, Reason::Malformed),
        (None, Vec::new(), NOW, Reason::Malformed),
    ] {
        let (exchange, _) = continued(begin_ed25519(&keyring, None, user));
        assert_eq!(denied(exchange.answer(Some(&answer), at(&keyring, now))), expected.into());
    }
    let (exchange, _) = continued(begin_ed25519(&keyring, None, None));
    assert_eq!(denied(exchange.answer(None, at(&keyring, NOW))), Reason::Malformed.into());
    assert_eq!(denied(begin_ed25519(&keyring, Some(b"x"), None)), Reason::Malformed.into());
}

#[tokio::test]
async fn a_user_stays_as_long_as_his_line_is_the_same() {
    let nobody = Keyring::default();
    let before = ann_and_bob();
    let by_password = before.check(Some("ann"), Some(Bytes::from_static(b"secret"))).await.unwrap();
    let Step::Done(by_scram, _) = scram(&before, "ann", "secret", None) else { panic!() };
    let other_line = format!("ann:{}:{}\n", password::cheap_hash(b"secret"), *SCRAM);
    for (anonymous, file, stays) in [
        (false, Some(format!("# moved\neve:{}\nann:{}:{}\n", *HASH, *HASH, *SCRAM)), true),
        (false, Some(other_line), false),
        (true, Some(format!("eve:{}\n", *HASH)), false),
        (true, None, false),
    ] {
        let after = auth(anonymous, file.as_deref());
        for identity in [&by_password, &by_scram] {
            assert_eq!(after.still_admits(identity, at(&nobody, NOW)), stays, "{file:?}");
        }
    }
}

#[test]
fn who_only_claimed_a_name_stays_as_long_as_that_is_enough() {
    let nobody = Keyring::default();
    let file = format!("ann:{}\n", *HASH);
    for (anonymous, file, user, stays) in [
        (true, None, None, true),
        (true, None, Some("ann"), true),
        (true, Some(&*file), None, true),
        (true, Some(&*file), Some("ann"), false),
        (false, Some(&*file), None, false),
        (false, None, Some("ann"), false),
    ] {
        let identity = Identity::Claimed(user.map(Into::into));
        assert_eq!(auth(anonymous, file).still_admits(&identity, at(&nobody, NOW)), stays);
    }
}

#[test]
fn a_sender_stays_as_long_as_his_key_is_enrolled_and_valid() {
    let ring = keyring(&[key(b"dev-7")]);
    let (exchange, _) = continued(begin_ed25519(&ring, None, None));
    let answer = challenge::respond(&key(b"dev-7"), "c1", &RANDOM);
    let Step::Done(identity, _) = exchange.answer(Some(&answer), at(&ring, NOW)) else { panic!() };
    let auth = auth(false, None);
    assert!(auth.still_admits(&identity, at(&ring, NOW)));
    assert!(!auth.still_admits(&identity, at(&ring, NOW + 1)));
    assert!(!auth.still_admits(&identity, at(&Keyring::default(), NOW)));
    let replaced = keyring(&[SenderKey::from_secret("dev-7", &[8; 32])]);
    assert!(!auth.still_admits(&identity, at(&replaced, NOW)));
}

proptest! {
    #[test]
    fn any_data_is_answered(method in "(SCRAM-SHA-256|sealmq-ed25519|.*)", first: Vec<u8>, last: Vec<u8>) {
        static AUTH: LazyLock<Auth> = LazyLock::new(ann_and_bob);
        let keyring = keyring(&[key(b"dev-7")]);
        let (senders, who) = (at(&keyring, NOW), who("c1", None));
        for first in [None, Some(first.as_slice()), Some(b"n,,n=ann,r=abc")] {
            if let Step::Continue(exchange, _) = AUTH.begin(&method, first, who, senders, &RANDOM) {
                prop_assert!(matches!(exchange.answer(Some(&last), senders), Step::Denied(_)));
            }
        }
    }
}
