//! `sealmq serve`: which configuration to serve with.

use super::{Command, complain};
use clap::Args;
use sealmq_config::listener::Listener;
use sealmq_config::{Config, ConfigError};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// What `sealmq serve` is told; `sealmq` alone takes the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct ServeOptions {
    /// Configuration file, TOML
    #[arg(long = "config", value_name = "FILE")]
    pub config_file: Option<PathBuf>,
    /// One plaintext listener at ADDRESS:PORT, and no other
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// Folder for all that the broker makes and keeps
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Go on with a store of which something is missing or damaged
    #[arg(long, hide_short_help = true)]
    pub accept_loss: bool,
}

impl ServeOptions {
    /// Reads the configuration and lays these options over it. Can be called again, for a reload.
    pub fn load(&self) -> Result<Config, ConfigError> {
        let mut config = Config::load(self.config_file.as_deref(), environment(std::env::vars_os()))?;
        if let Some(data_dir) = &self.data_dir {
            config.data_dir.clone_from(data_dir);
            if self.config_file.is_none() {
                config.set_development();
            }
        }
        if let Some(bind) = self.listen {
            if self.config_file.is_none() {
                // A plain broker: what is sealed could not be seen on its only listener.
                config = Config { senders: vec![], topic_keys: vec![], policies: vec![], ..config };
            }
            config.listeners = vec![Listener::plaintext(bind)];
        }
        Ok(config)
    }

    /// Whether the listeners are the broker's own four, whose certificates and keys it makes for itself:
    /// neither a file nor `--listen` names others.
    pub fn is_development(&self) -> bool {
        self.config_file.is_none() && self.listen.is_none()
    }

    /// These options, and the others where these say nothing.
    #[must_use]
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            config_file: self.config_file.or(other.config_file),
            listen: self.listen.or(other.listen),
            data_dir: self.data_dir.or(other.data_dir),
            accept_loss: self.accept_loss || other.accept_loss,
        }
    }

    /// Whether the command takes what stands before it.
    pub(super) fn fits(&self, command: &Command) -> bool {
        match command {
            Command::Serve(_)
            | Command::Check(_)
            | Command::Store(_)
            | Command::Audit(_)
            | Command::ImportMosquitto(_)
            | Command::Enrol(_) => true,
            Command::Keys(_) => Self { config_file: None, ..self.clone() } == Self::default(),
            Command::Seal(_)
            | Command::Open(_)
            | Command::Pub(_)
            | Command::Sub(_)
            | Command::Passwd(_)
            | Command::AuthAnswer(_) => *self == Self::default(),
        }
    }
}

/// Serves, and says why it ended if it had to.
pub(super) fn run(
    options: &ServeOptions,
    serve: impl FnOnce(&ServeOptions) -> anyhow::Result<()>,
) -> ExitCode {
    match serve(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// The environment's variables that are text; others cannot be of ours.
fn environment(all: impl Iterator<Item = (OsString, OsString)>) -> impl Iterator<Item = (String, String)> {
    all.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_go_before_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sealmq.toml");
        std::fs::write(&file, "data_dir = \"/from/file\"\n[[listener]]\nbind = \"0.0.0.0:1883\"\n").unwrap();
        let options = ServeOptions { config_file: Some(file), ..ServeOptions::default() };
        let config = options.load().unwrap();
        assert_eq!(config.data_dir, PathBuf::from("/from/file"));
        let bind = "127.0.0.1:1".parse().unwrap();
        let options = ServeOptions { listen: Some(bind), data_dir: Some("here".into()), ..options };
        let config = options.load().unwrap();
        assert_eq!(config.data_dir, PathBuf::from("here"));
        assert_eq!(config.listeners, [Listener::plaintext(bind)]);
        assert!(!options.is_development());
    }

    #[test]
    fn without_a_file_the_certificates_follow_the_data_folder() {
        let options = ServeOptions { data_dir: Some("here".into()), ..ServeOptions::default() };
        assert!(options.is_development());
        let config = options.load().unwrap();
        let tls = config.listeners.iter().find_map(|listener| listener.tls.clone()).unwrap();
        assert_eq!(tls.cert, PathBuf::from("here/tls/server.pem"));
    }
}
