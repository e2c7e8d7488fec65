//! A client of SCRAM-SHA-256 (RFC 5802, RFC 7677), written apart from the broker's, on another library: a
//! name and a password come in, the messages of the client and the proof that it expects of the server go
//! out.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2};
use std::num::NonZeroU32;

/// One exchange, from the client's side.
#[derive(Debug, Clone)]
pub(crate) struct Scram {
    password: String,
    /// The first message without the header of channel binding.
    bare: String,
    nonce: String,
}

/// What the client answers, and what has to come back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proof {
    /// client-final-message.
    pub(crate) answer: String,
    /// server-final-message, by which the server shows that it knows the password too.
    pub(crate) expected: String,
}

impl Scram {
    /// Begins with a nonce of its own.
    pub(crate) fn new(user: &str, password: &str, nonce: &str) -> Self {
        let user = user.replace('=', "=3D").replace(',', "=2C");
        Self { password: password.to_owned(), bare: format!("n={user},r={nonce}"), nonce: nonce.to_owned() }
    }

    /// client-first-message, without channel binding.
    pub(crate) fn first(&self) -> String {
        format!("n,,{}", self.bare)
    }

    /// Answers server-first-message; fails where that is none.
    #[track_caller]
    pub(crate) fn prove(&self, server_first: &[u8]) -> Proof {
        let first = std::str::from_utf8(server_first).unwrap();
        let mut fields = first.split(',');
        let mut field = |name: &str| fields.next().and_then(|field| field.strip_prefix(name)).expect(first);
        let (nonce, salt, rounds) = (field("r="), field("s="), field("i="));
        assert!(nonce.len() > self.nonce.len() && nonce.starts_with(&self.nonce), "{first}");
        let (salt, rounds) = (STANDARD.decode(salt).unwrap(), rounds.parse::<u32>().unwrap());
        assert!(rounds >= 4096 && salt.len() >= 8, "RFC 7677: {first}");
        let mut salted = [0; digest::SHA256_OUTPUT_LEN];
        let rounds = NonZeroU32::new(rounds).unwrap();
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, self.password.as_bytes(), &mut salted);
        let bare = format!("c={},r={nonce}", STANDARD.encode("n,,"));
        let text = format!("{},{first},{bare}", self.bare);
        let client_key = mac(&salted, "Client Key");
        let stored_key = digest::digest(&digest::SHA256, &client_key);
        let signature = mac(stored_key.as_ref(), &text);
        let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(key, mask)| key ^ mask).collect();
        let server = mac(&mac(&salted, "Server Key"), &text);
        Proof {
            answer: format!("{bare},p={}", STANDARD.encode(proof)),
            expected: format!("v={}", STANDARD.encode(server)),
        }
    }
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

/// The example of RFC 7677, §3.
#[test]
fn example_of_the_rfc_comes_out() {
    let scram = Scram::new("user", "pencil", "rOprNGfwEbeRWgbNEkqO");
    let proof = scram
        .prove(b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
    assert!(proof.answer.ends_with("p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="), "{proof:?}");
    assert_eq!(proof.expected, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
}
