//! `sealmq keys identity`: the public half of the key by which devices know the broker.
//!
//! The configuration says where the key is; the public key goes to stdout, and nothing is made.

use super::{CommandError, ServeOptions, say};
use crate::identity;
use crate::secrets::Secrets;
use clap::Args;
use std::path::PathBuf;

/// Shows the public half of the broker's own key. Devices check with it what the broker stamps: topic keys
/// that it hands out, and what it seals again for subscribers.
#[derive(Debug, Args)]
#[command(after_help = "\
The broker makes the key at its first start, unless the configuration names one.

Examples:
  sealmq keys identity --config sealmq.toml > identity.pub.jwk
  sealmq open --topic '$sealmq/key/plant/7' --sender-key identity.pub.jwk < message")]
pub(super) struct IdentityArguments {
    /// The broker's folder, if it is not the one of the configuration
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Show the key's SHA-256 thumbprint (RFC 7638) instead, to compare by eye
    #[arg(long)]
    fingerprint: bool,
}

pub(super) fn run(
    arguments: &IdentityArguments,
    options: &ServeOptions,
    secrets: &Secrets,
) -> Result<(), CommandError> {
    say(text(arguments, options, secrets)?.as_bytes())
}

fn text(
    arguments: &IdentityArguments,
    options: &ServeOptions,
    secrets: &Secrets,
) -> Result<String, CommandError> {
    let own = ServeOptions { data_dir: arguments.data_dir.clone(), ..ServeOptions::default() };
    let key = identity::load(&own.or(options.clone()).load()?, secrets)?.public();
    let shown = if arguments.fingerprint { key.thumbprint() } else { key.to_jwk()? };
    Ok(shown + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealmq_config::Config;
    use sealmq_crypto::SenderPublicKey;

    #[test]
    fn only_the_public_half_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().to_owned();
        identity::ensure(&Config { data_dir: data_dir.clone(), ..Config::default() }).unwrap();
        let mut arguments = IdentityArguments { data_dir: Some(data_dir), fingerprint: false };
        let text = |arguments: &_| text(arguments, &ServeOptions::default(), &Secrets::in_plain());
        let shown = text(&arguments).unwrap();
        assert!(!shown.contains("\"d\""));
        let key = SenderPublicKey::from_bytes(shown.as_bytes()).unwrap();
        assert_eq!(key.id(), b"sealmq");
        arguments.fingerprint = true;
        assert_eq!(text(&arguments).unwrap(), key.thumbprint() + "\n");
        arguments.data_dir = Some(folder.path().join("elsewhere"));
        assert!(text(&arguments).unwrap_err().to_string().contains("the first start makes it"));
    }
}
