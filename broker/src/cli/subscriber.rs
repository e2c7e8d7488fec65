//! `sealmq keys subscriber`: the X25519 pair of somebody who opens envelopes himself, for want of TLS.

use super::CommandError;
use super::keys::{KeyFiles, made, quoted};
use crate::secrets::Secrets;
use clap::Args;
use sealmq_crypto::{KeyError, TopicKey};
use std::path::PathBuf;

/// Makes an X25519 pair for a subscriber without TLS: the broker seals for its public half.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  sealmq keys subscriber panel               keys/panel.jwk (secret) and keys/panel.pub.jwk")]
pub(super) struct SubscriberArguments {
    /// The client id of the subscriber; envelopes name the key by it
    id: String,
    /// Folder for the files; made if it is missing
    #[arg(long, value_name = "DIR", default_value = "keys")]
    out: PathBuf,
}

pub(super) fn make(arguments: &SubscriberArguments, secrets: &Secrets) -> Result<String, CommandError> {
    let SubscriberArguments { id, out } = arguments;
    let files = KeyFiles::new(secrets, id, out, ".jwk")?;
    let key = TopicKey::generate_x25519(id.as_str())?;
    let public = key.public("").ok_or(KeyError::WrongKind("an X25519 key"))?;
    files.write(secrets, &key.to_jwk()?, Some(&public.to_jwk()?))?;
    let mut text = made(&files.secret, "secret: for the subscriber alone");
    text += &made(&files.public, "public: for the broker");
    text += "\nFor the broker's configuration (paths count from its file):\n\n";
    text += "[[subscriber_key]]\nclient = ";
    text += &quoted(id);
    text += "\nkey = ";
    text += &quoted(&files.public.to_string_lossy());
    text += "\n\n[[policy]]\ntopics = [\"plant/#\"]\npayload = \"sealed\"\negress = \"secure-or-sealed\"\n";
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealmq_crypto::TopicPublicKey;

    #[test]
    fn the_two_halves_belong_together_and_are_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let arguments = SubscriberArguments { id: "panel".to_owned(), out: folder.path().join("keys") };
        let text = make(&arguments, &Secrets::in_plain()).unwrap();
        assert!(text.contains("[[subscriber_key]]\nclient = \"panel\"\n"), "{text}");
        let read = |name: &str| std::fs::read(arguments.out.join(name)).unwrap();
        let public = TopicPublicKey::from_bytes(&read("panel.pub.jwk")).unwrap();
        assert_eq!(TopicKey::from_bytes(&read("panel.jwk")).unwrap().public("any"), Some(public));
        assert!(
            make(&arguments, &Secrets::in_plain()).unwrap_err().to_string().contains("it is there already")
        );
    }
}
