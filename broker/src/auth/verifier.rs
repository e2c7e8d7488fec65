//! What is kept of a password for SCRAM-SHA-256, in the form of RFC 5803.
//!
//! A password or a text such as `SCRAM-SHA-256$16384:SALT$STORED:SERVER` comes in, both keys as Base64; the
//! text goes out, and the two answers that an exchange needs. Always holds: the keys are wiped from memory
//! when dropped, are compared in constant time, and are in no error and no log.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// How often a password is hashed where nothing else is asked for. The client pays for it at every connect:
/// about a second on a small microcontroller. Whoever has the verifier, or has heard an exchange on an
/// unencrypted wire, pays for it at every guess.
pub(crate) const ITERATIONS_DEFAULT: u32 = 16_384;

/// The least that RFC 7677 §4 allows and clients accept, and the most that one waits for.
pub(crate) const ITERATIONS: RangeInclusive<u32> = 4_096..=10_000_000;

/// How many bytes of salt a new verifier gets.
pub(crate) const SALT_BYTES: usize = 16;
const SALT_BYTES_MAX: usize = 64;

const KEY_BYTES: usize = 32;
const SHA_256_BLOCK_BYTES: usize = 64;

/// A key, a hash or a signature.
type Key = [u8; KEY_BYTES];

/// What a server keeps of a password: enough to check a proof of it, not enough to make one.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct Verifier {
    salt: Vec<u8>,
    iterations: u32,
    stored_key: Key,
    server_key: Key,
}

impl Verifier {
    /// The verifier of a password (RFC 5802 §3), which is first brought into the form that clients bring it
    /// into as well (`SASLprep`, RFC 4013).
    pub(crate) fn of_password(password: &[u8], salt: &[u8], iterations: u32) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(password).map_err(|_| "it is not UTF-8")?;
        let mut prepared = stringprep::saslprep(text)
            .map_err(|_| "it has control or other characters that SASLprep (RFC 4013) does not allow")?;
        if prepared.is_empty() {
            return Err("nothing of it remains after SASLprep (RFC 4013)");
        }
        let mut salted = Zeroizing::new([0; KEY_BYTES]);
        pbkdf2::pbkdf2_hmac::<Sha256>(prepared.as_bytes(), salt, iterations, &mut *salted);
        if let Cow::Owned(text) = &mut prepared {
            text.zeroize();
        }
        let client_key = Zeroizing::new(hmac(&salted, &[b"Client Key"]));
        Ok(Self {
            salt: salt.to_vec(),
            iterations,
            stored_key: Sha256::digest(*client_key).into(),
            server_key: hmac(&salted, &[b"Server Key"]),
        })
    }

    /// Reads the text of RFC 5803.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let malformed = "after the hash there is no SCRAM-SHA-256 verifier as `sealmq passwd` makes them";
        let (scheme, rest) = text.split_once('$').ok_or(malformed)?;
        if scheme != super::SCRAM_SHA_256 {
            return Err(malformed);
        }
        let (info, keys) = rest.split_once('$').ok_or(malformed)?;
        let (iterations, salt) = info.split_once(':').ok_or(malformed)?;
        let (stored, server) = keys.split_once(':').ok_or(malformed)?;
        let iterations: u32 = iterations.parse().map_err(|_| malformed)?;
        if !ITERATIONS.contains(&iterations) {
            return Err("the SCRAM-SHA-256 verifier has not 4,096 to 10,000,000 iterations");
        }
        let salt = STANDARD.decode(salt).map_err(|_| malformed)?;
        if salt.is_empty() || salt.len() > SALT_BYTES_MAX {
            return Err("the SCRAM-SHA-256 verifier has not 1 to 64 bytes of salt");
        }
        let key =
            |text: &str| Zeroizing::new(STANDARD.decode(text).unwrap_or_default()).as_slice().try_into();
        let stored_key = key(stored).map_err(|_| malformed)?;
        let server_key = key(server).map_err(|_| malformed)?;
        Ok(Self { salt, iterations, stored_key, server_key })
    }

    /// The text of RFC 5803.
    pub(crate) fn to_text(&self) -> Zeroizing<String> {
        let Self { salt, iterations, stored_key, server_key } = self;
        let [salt, stored, server] =
            [salt.as_slice(), stored_key, server_key].map(|bytes| Zeroizing::new(STANDARD.encode(bytes)));
        let scheme = super::SCRAM_SHA_256;
        let (salt, stored, server) = (salt.as_str(), stored.as_str(), server.as_str());
        Zeroizing::new(format!("{scheme}${iterations}:{salt}${stored}:{server}"))
    }

    /// The verifier of a user that is not known: it looks like this one, is the same for every question by
    /// this name, and no password fits it.
    pub(crate) fn disguised_as(&self, name: &str, secret: &Key) -> Self {
        let part = |label: &[u8]| hmac(secret, &[label, name.as_bytes()]);
        let salt = [part(b"salt 0 "), part(b"salt 1 ")].concat();
        Self {
            salt: salt.into_iter().take(self.salt.len()).collect(),
            iterations: self.iterations,
            stored_key: part(b"stored "),
            server_key: part(b"server "),
        }
    }

    /// The salt, as Base64.
    pub(super) fn salt(&self) -> String {
        STANDARD.encode(&self.salt)
    }

    pub(super) fn iterations(&self) -> u32 {
        self.iterations
    }

    /// Whether the proof shows knowledge of the password (RFC 5802 §3).
    pub(super) fn accepts(&self, proof: &Key, auth_message: &[u8]) -> bool {
        let mut client_key = Zeroizing::new(hmac(&self.stored_key, &[auth_message]));
        for (byte, proof) in client_key.iter_mut().zip(proof) {
            *byte ^= proof;
        }
        Sha256::digest(*client_key).as_slice().ct_eq(&self.stored_key).into()
    }

    /// What shows a client that we have the verifier.
    pub(super) fn server_signature(&self, auth_message: &[u8]) -> Key {
        hmac(&self.server_key, &[auth_message])
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

/// HMAC-SHA-256 over the parts, one after the other.
pub(super) fn hmac(key: &Key, parts: &[&[u8]]) -> Key {
    // HMAC itself fills a short key up with zeros (RFC 2104 §2); done here, no length is left to go wrong.
    let mut block = Zeroizing::new([0; SHA_256_BLOCK_BYTES]);
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    let mut mac = Hmac::<Sha256>::new((&*block).into());
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The password and salt of the exchange in RFC 7677 §3.
    fn pencil() -> Verifier {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        Verifier::of_password(b"pencil", &salt, 4096).unwrap()
    }

    #[test]
    fn a_text_comes_back_as_it_was() {
        let text = pencil().to_text();
        let expected = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
        assert_eq!(*text, expected);
        assert_eq!(*Verifier::parse(&text).unwrap().to_text(), *text);
    }

    #[test]
    fn what_is_no_verifier_is_refused() {
        let text = pencil().to_text();
        let rounds = |n: &str| text.replace("4096", n);
        for bad in [
            String::new(),
            text.replace("256", "1"),
            text.replace('$', ""),
            text.replace(':', ""),
            text.replace("W22Z", "W2*Z"),
            text.replace("W22ZaJ0SNY7soEsUEjb6gQ==", ""),
            text.replace("W22ZaJ0SNY7soEsUEjb6gQ==", &STANDARD.encode([0; 65])),
            text.replace("tbsT4qY=", ""),
            text.replace("wDl2dU=", ""),
            text.to_string() + ":",
            rounds("4095"),
            rounds("10000001"),
            rounds("99999999999"),
            rounds("-5000"),
        ] {
            assert!(Verifier::parse(&bad).is_err(), "{bad}");
        }
        assert!(Verifier::parse(&rounds("10000000")).is_ok());
    }

    #[test]
    fn passwords_are_prepared_as_clients_prepare_them() {
        let text =
            |password: &str| Verifier::of_password(password.as_bytes(), b"salt", 4096).unwrap().to_text();
        // The examples of RFC 4013 §3.
        assert_eq!(text("I\u{ad}X"), text("IX"));
        assert_eq!(text("\u{aa}"), text("a"));
        assert_eq!(text("\u{2168}"), text("IX"));
        assert_ne!(text("USER"), text("user"));
        for bad in [b"\x07".as_slice(), "\u{627}1".as_bytes(), b"\xff", "\u{ad}".as_bytes()] {
            assert!(Verifier::of_password(bad, b"salt", 4096).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_disguise_is_stable_and_another_for_each_name() {
        let known = pencil();
        let [one, again, other] = ["eve", "eve", "adam"].map(|name| known.disguised_as(name, &[1; 32]));
        assert_eq!(*one.to_text(), *again.to_text());
        assert_ne!(one.salt, other.salt);
        assert_ne!(one.salt, known.disguised_as("eve", &[2; 32]).salt);
        assert_eq!((one.salt.len(), one.iterations), (known.salt.len(), known.iterations));
    }

    #[test]
    fn hmac_is_that_of_rfc_4231() {
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let mac = hmac(&key, &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(mac[..4], [0x5b, 0xdc, 0xc1, 0x46]);
        assert_eq!(mac[28..], [0x64, 0xec, 0x38, 0x43]);
    }

    #[test]
    fn debug_shows_no_key_and_no_salt() {
        assert_eq!(format!("{:?}", pencil()), "Verifier { iterations: 4096, .. }");
    }
}
