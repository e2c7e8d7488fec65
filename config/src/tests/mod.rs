//! The configuration from outside: text and variables in, values or problems out.

mod defaults;
mod docs;
mod environment;
mod problems;
mod properties;
mod values;

use crate::{Config, ConfigError};
use std::path::PathBuf;

/// A folder with a configuration file in it; the folder goes with the value.
struct File {
    folder: tempfile::TempDir,
}

impl File {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("sealmq.toml"), text).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn load(&self, env: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::load(Some(&self.path("sealmq.toml")), variables(env))
    }
}

/// A file that is right but for what is added.
fn with_listener(text: &str) -> File {
    File::new(&format!("{text}\n[[listener]]\nbind = \"127.0.0.1:1883\"\n"))
}

fn load(text: &str) -> Result<Config, ConfigError> {
    with_listener(text).load(&[])
}

fn load_env(env: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::load(None, variables(env))
}

fn variables(env: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
    env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
}
