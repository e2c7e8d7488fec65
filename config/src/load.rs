//! Lays the environment over the file, by the `config` crate, and reads the result.

use crate::environment::{self, PREFIX, SEPARATOR};
use crate::listener::Listener;
use crate::reader::{Reader, Table};
use crate::report::{Key, Report};
use crate::source::{Flaw, Source};
use crate::{Config, ConfigError, check};
use config::{Environment, File, FileFormat};
use std::path::Path;

impl Config {
    /// Reads the file at `path`, lays the variables in `env` that begin with `SEALMQ_` over it, and checks
    /// everything. Without a file, what the environment leaves open is as in [`Config::embedded`].
    ///
    /// # Errors
    ///
    /// All problems at once, except that a file which is no TOML hides what else is wrong in it.
    pub fn load(
        path: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut report = Report::new(keys());
        let overrides = environment::overrides(env, &mut report);
        if let Some(path) = path {
            let (source, flaws) = Source::read(path);
            for flaw in &flaws {
                report.add_flaw(&source.name, flaw);
            }
            report.file = Some(source);
            if !flaws.is_empty() {
                return report.into_result(Self::default());
            }
        }
        let Some(table) = merged(overrides, &mut report) else {
            return report.into_result(Self::default());
        };
        let mut root = Reader::new(table, String::new(), &mut report);
        let mut config = Self::read(&mut root);
        root.finish();
        if path.is_none() {
            config.listeners = Listener::development(&config.data_dir).into();
        }
        if report.is_clean() {
            check::check(&config, &mut report);
        }
        report.into_result(config)
    }
}

/// Every key there is: read once from nothing.
pub(crate) fn keys() -> Vec<Key> {
    let mut report = Report::learning();
    Config::read(&mut Reader::new(Table::new(), String::new(), &mut report));
    report.keys
}

/// File and environment as one table; `None` where the `config` crate found something that we did not.
fn merged(overrides: Vec<(String, String)>, report: &mut Report) -> Option<Table> {
    let text = report.file.as_ref().map_or("", |file| &file.text);
    let built = config::Config::builder()
        .add_source(File::from_str(text, FileFormat::Toml))
        .add_source(
            Environment::with_prefix(PREFIX)
                .prefix_separator("_")
                .separator(SEPARATOR)
                .source(Some(overrides.into_iter().collect())),
        )
        .build();
    match built.and_then(|built| built.cache.into_table()) {
        Ok(table) => Some(table.into_iter().collect()),
        Err(error) => {
            let file = report.file.as_ref().map_or("environment", |file| &file.name).to_owned();
            report.add_flaw(&file, &Flaw { found: error.to_string(), ..Flaw::default() });
            None
        }
    }
}
