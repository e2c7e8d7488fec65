//! SCRAM-SHA-256, the server's side (RFC 5802, RFC 7677), without channel binding.
//!
//! The client's two messages come in, and the server's two go out; the verifier is looked up by whoever
//! calls. Own code over `hmac` and `sha2`, for want of a crate that builds on the versions that are here
//! already, and no more. Always holds: nothing is taken that was not understood to its last byte, a message is
//! bounded, and the client's second message counts only with our nonce in it.
//!
//! Names are taken as they come, and are not prepared a second time: `sealmq passwd` gives a verifier only to
//! names that are in their prepared form.

use super::Reason;
use super::verifier::Verifier;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::sync::Arc;

/// A longer message is refused.
const MESSAGE_BYTES_MAX: usize = 4_096;

/// The client's first message.
#[derive(Debug)]
pub(super) struct ClientFirst<'a> {
    /// The user who is to be proven.
    pub(super) user: String,
    /// What it says of channel binding; it has to be repeated under the proof.
    gs2_header: &'a str,
    bare: &'a str,
    nonce: &'a str,
}

impl<'a> ClientFirst<'a> {
    /// Reads `n,[a=NAME],n=NAME,r=NONCE[,EXTENSIONS]`.
    pub(super) fn read(message: &'a [u8]) -> Result<Self, Reason> {
        let message = text(message)?;
        let (binding, rest) = message.split_once(',').ok_or(Reason::Malformed)?;
        let (acting_for, bare) = rest.split_once(',').ok_or(Reason::Malformed)?;
        // `y`: the client could bind to a channel and believes that we cannot, which is so.
        if !matches!(binding, "n" | "y") {
            return Err(Reason::ChannelBinding);
        }
        let gs2_header = message.get(..message.len() - bare.len()).ok_or(Reason::Malformed)?;
        let mut attributes = bare.split(',');
        let user = name(attribute(attributes.next(), "n=")?)?;
        let nonce = attribute(attributes.next(), "r=")?;
        if nonce.is_empty() || !nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Reason::Malformed);
        }
        attributes.try_for_each(extension)?;
        // Nobody acts for another here.
        if !acting_for.is_empty() && name(attribute(Some(acting_for), "a=")?)? != user {
            return Err(Reason::OtherUser);
        }
        Ok(Self { user, gs2_header, bare, nonce })
    }

    /// The answer to it, and what waits for the client's next message.
    pub(super) fn answer(self, verifier: Arc<Verifier>, server_nonce: &str) -> (ServerFirst, String) {
        let nonce = format!("{}{server_nonce}", self.nonce);
        let message = format!("r={nonce},s={},i={}", verifier.salt(), verifier.iterations());
        let waiting = ServerFirst {
            user: self.user,
            binding: STANDARD.encode(self.gs2_header),
            auth_message: format!("{},{message},", self.bare),
            nonce,
            verifier,
        };
        (waiting, message)
    }
}

/// Our first message was sent, the client's final one has to follow.
#[derive(Debug)]
pub(super) struct ServerFirst {
    pub(super) user: String,
    binding: String,
    nonce: String,
    /// What is signed, as far as it is known yet.
    auth_message: String,
    verifier: Arc<Verifier>,
}

impl ServerFirst {
    /// Reads `c=BINDING,r=NONCE[,EXTENSIONS],p=PROOF`; gives the server's last message if the proof holds.
    pub(super) fn finish(&self, message: &[u8]) -> Result<String, Reason> {
        let (unproven, proof) = text(message)?.rsplit_once(",p=").ok_or(Reason::Malformed)?;
        let mut attributes = unproven.split(',');
        if attribute(attributes.next(), "c=")? != self.binding {
            return Err(Reason::ChannelBinding);
        }
        if attribute(attributes.next(), "r=")? != self.nonce {
            return Err(Reason::OtherNonce);
        }
        attributes.try_for_each(extension)?;
        let proof = STANDARD.decode(proof).map_err(|_| Reason::Malformed)?;
        let proof = proof.as_slice().try_into().map_err(|_| Reason::Malformed)?;
        let auth_message = [&self.auth_message, unproven].concat();
        if !self.verifier.accepts(proof, auth_message.as_bytes()) {
            return Err(Reason::WrongProof);
        }
        Ok(format!("v={}", STANDARD.encode(self.verifier.server_signature(auth_message.as_bytes()))))
    }
}

fn text(message: &[u8]) -> Result<&str, Reason> {
    let text = std::str::from_utf8(message).map_err(|_| Reason::Malformed)?;
    if text.len() > MESSAGE_BYTES_MAX || text.contains('\0') { Err(Reason::Malformed) } else { Ok(text) }
}

/// The value of the attribute that has to come next.
fn attribute<'a>(next: Option<&'a str>, key: &str) -> Result<&'a str, Reason> {
    next.and_then(|attribute| attribute.strip_prefix(key)).ok_or(Reason::Malformed)
}

/// Passes over an extension that is not known. Such a one may be left unheeded, except `m`, which says that
/// it may not.
fn extension(attribute: &str) -> Result<(), Reason> {
    match attribute.as_bytes() {
        [b'm', b'=', ..] => Err(Reason::Malformed),
        [key, b'=', _, ..] if key.is_ascii_alphabetic() => Ok(()),
        _ => Err(Reason::Malformed),
    }
}

/// A name in which `,` and `=` are written `=2C` and `=3D`.
fn name(escaped: &str) -> Result<String, Reason> {
    let mut parts = escaped.split('=');
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (letter, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            (None, None) => return Err(Reason::Malformed),
        };
        name.push(letter);
        name.push_str(rest);
    }
    if name.is_empty() { Err(Reason::Malformed) } else { Ok(name) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    // The exchange of RFC 7677 §3.
    const CLIENT_FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const SERVER_FIRST: &str =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    static PENCIL: LazyLock<Arc<Verifier>> = LazyLock::new(|| {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        Arc::new(Verifier::of_password(b"pencil", &salt, 4096).unwrap())
    });

    fn begun(first: &str, nonce: &str) -> (ServerFirst, String) {
        ClientFirst::read(first.as_bytes()).unwrap().answer(Arc::clone(&PENCIL), nonce)
    }

    #[test]
    fn the_exchange_of_rfc_7677_passes() {
        let (waiting, message) = begun(CLIENT_FIRST, SERVER_NONCE);
        assert_eq!(waiting.user, "user");
        assert_eq!(message, SERVER_FIRST);
        assert_eq!(waiting.finish(CLIENT_FINAL.as_bytes()).unwrap(), SERVER_FINAL);
    }

    #[test]
    fn a_final_message_counts_with_its_nonce_alone() {
        // Heard in one exchange, and sent in another.
        let (waiting, _) = begun(CLIENT_FIRST, "another");
        assert_eq!(waiting.finish(CLIENT_FINAL.as_bytes()), Err(Reason::OtherNonce));
        let renamed = CLIENT_FINAL.replace(SERVER_NONCE, "another");
        assert_eq!(waiting.finish(renamed.as_bytes()), Err(Reason::WrongProof));
        // Only the client's half of it.
        let half = CLIENT_FINAL.replace(SERVER_NONCE, "");
        assert_eq!(waiting.finish(half.as_bytes()), Err(Reason::OtherNonce));
    }

    #[test]
    fn a_final_message_that_was_touched_is_refused() {
        let (waiting, _) = begun(CLIENT_FIRST, SERVER_NONCE);
        for (touched, expected) in [
            (CLIENT_FINAL.replace("dHzb", "dHzc"), Reason::WrongProof),
            (CLIENT_FINAL.replace(",p=", ",x=1,p="), Reason::WrongProof),
            (CLIENT_FINAL.replace("biws", "eSws"), Reason::ChannelBinding),
            (CLIENT_FINAL.replace("ndVQ=", ""), Reason::Malformed),
            (CLIENT_FINAL.replace("ndVQ=", "ndVQ"), Reason::Malformed),
            (CLIENT_FINAL.to_owned() + ",x=1", Reason::Malformed),
            (CLIENT_FINAL.replace(",p=", ",m=1,p="), Reason::Malformed),
            (CLIENT_FINAL.replace(",p=", ",,p="), Reason::Malformed),
            (CLIENT_FIRST.to_owned(), Reason::Malformed),
            (String::new(), Reason::Malformed),
        ] {
            assert_eq!(waiting.finish(touched.as_bytes()), Err(expected), "{touched}");
        }
    }

    #[test]
    fn the_gs2_header_is_bound_to_the_proof() {
        let (waiting, _) = begun(&CLIENT_FIRST.replacen('n', "y", 1), SERVER_NONCE);
        assert_eq!(waiting.finish(CLIENT_FINAL.as_bytes()), Err(Reason::ChannelBinding));
        let right = CLIENT_FINAL.replace("biws", "eSws");
        assert_eq!(waiting.finish(right.as_bytes()), Err(Reason::WrongProof), "its proof is for the other");
    }

    #[test]
    fn first_messages_are_read_or_refused() {
        for (message, expected) in [
            ("n,,n=a,r=x", Ok("a")),
            ("y,,n=a,r=x", Ok("a")),
            ("n,a=a,n=a,r=x", Ok("a")),
            ("n,,n=a=2Cb=3Dc=2C,r=x", Ok("a,b=c,")),
            ("n,,n=ä,r=x,y=1,z=2", Ok("ä")),
            ("n,a=b,n=a,r=x", Err(Reason::OtherUser)),
            ("p=tls-exporter,,n=a,r=x", Err(Reason::ChannelBinding)),
            ("N,,n=a,r=x", Err(Reason::ChannelBinding)),
            ("", Err(Reason::Malformed)),
            ("n", Err(Reason::Malformed)),
            ("n,,", Err(Reason::Malformed)),
            ("n,,n=a", Err(Reason::Malformed)),
            ("n,,r=x,n=a", Err(Reason::Malformed)),
            ("n,,n=,r=x", Err(Reason::Malformed)),
            ("n,,n=a,r=", Err(Reason::Malformed)),
            ("n,,n=a,r=x y", Err(Reason::Malformed)),
            ("n,,n=a,r=ä", Err(Reason::Malformed)),
            ("n,,n=a=2c,r=x", Err(Reason::Malformed)),
            ("n,,n=a=,r=x", Err(Reason::Malformed)),
            ("n,,n=a\0,r=x", Err(Reason::Malformed)),
            ("n,a,n=a,r=x", Err(Reason::Malformed)),
            ("n,,m=1,n=a,r=x", Err(Reason::Malformed)),
            ("n,,n=a,r=x,m=1", Err(Reason::Malformed)),
            ("n,,n=a,r=x,", Err(Reason::Malformed)),
            ("n,,n=a,r=x,1=2", Err(Reason::Malformed)),
        ] {
            let read = ClientFirst::read(message.as_bytes()).map(|first| first.user);
            assert_eq!(read.as_deref().map_err(|reason| *reason), expected, "{message:?}");
        }
        assert!(ClientFirst::read(b"n,,n=\xff,r=x").is_err());
        let long = format!("n,,n={},r=x", "a".repeat(MESSAGE_BYTES_MAX - 9));
        assert!(ClientFirst::read(long.as_bytes()).is_ok());
        assert!(ClientFirst::read((long + "x").as_bytes()).is_err());
    }

    #[test]
    fn a_message_cut_off_anywhere_is_refused() {
        for end in 0..CLIENT_FIRST.len() {
            let cut = ClientFirst::read(&CLIENT_FIRST.as_bytes()[..end]);
            // A shorter nonce is a nonce.
            assert_eq!(cut.is_ok(), end > "n,,n=user,r=".len(), "{end}");
        }
        let (waiting, _) = begun(CLIENT_FIRST, SERVER_NONCE);
        for end in 0..CLIENT_FINAL.len() {
            assert!(waiting.finish(&CLIENT_FINAL.as_bytes()[..end]).is_err(), "{end}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = ClientFirst::read(&bytes);
            let (waiting, _) = begun(CLIENT_FIRST, SERVER_NONCE);
            prop_assert!(waiting.finish(&bytes).is_err());
        }

        #[test]
        fn any_text_in_the_form_is_read_or_refused(
            first in "[ny],(a=[a=2C]{0,9})?,n=[a=23CD,]{0,9},r=.{0,9}",
            last in "c=[biws]{0,5},r=.{0,9},p=[A-Za-z0-9+/]{0,43}=",
        ) {
            if let Ok(first) = ClientFirst::read(first.as_bytes()) {
                let (waiting, _) = first.answer(Arc::clone(&PENCIL), "nonce");
                prop_assert!(waiting.finish(last.as_bytes()).is_err());
            }
        }
    }
}
