//! What reading a configuration finds out: every problem with its place, and every key there is.
//!
//! The [`Report`] owns the problems until the end, knows which keys stand where in the file and which
//! came from the environment, and so names the place of each.

use crate::environment::variable;
use crate::error::{ConfigError, Problem};
use crate::source::{Flaw, Source};
use crate::unknown::suggestion;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// One key of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    /// Path without indices: `listener.tls.cert`.
    pub(crate) path: String,
    pub(crate) form: Form,
    /// As it would stand in the file, or `required`, or `none`.
    pub(crate) default: String,
    pub(crate) allowed: String,
    /// Whether it stands in a list of tables, where the environment cannot reach.
    pub(crate) in_list: bool,
}

/// What a key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Value,
    Table,
    List,
}

/// Problems so far, and what is needed to place them.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) keys: Vec<Key>,
    learning: bool,
    pub(crate) file: Option<Source>,
    /// Key path to the variable that set it.
    pub(crate) variables: BTreeMap<String, String>,
    /// With the line, for order; variables come last.
    problems: Vec<(usize, Problem)>,
}

impl Report {
    pub(crate) fn new(keys: Vec<Key>) -> Self {
        Self { keys, ..Self::default() }
    }

    /// One that collects keys and is asked for nothing else.
    pub(crate) fn learning() -> Self {
        Self { learning: true, ..Self::default() }
    }

    pub(crate) fn is_learning(&self) -> bool {
        self.learning
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    pub(crate) fn know(&mut self, path: &str, form: Form, default: &str, allowed: &str) {
        if !self.learning {
            return;
        }
        let in_list = self.keys.iter().any(|key| {
            key.form == Form::List && path.strip_prefix(&key.path).is_some_and(|rest| rest.starts_with('.'))
        });
        self.keys.push(Key {
            path: path.to_owned(),
            form,
            default: default.to_owned(),
            allowed: allowed.to_owned(),
            in_list,
        });
    }

    pub(crate) fn missing(&mut self, path: &str, allowed: &str) {
        self.add(path, "missing", &format!("allowed: {allowed}"));
    }

    pub(crate) fn wrong(&mut self, path: &str, found: &str, allowed: &str) {
        self.add(path, &format!("found {found}"), &format!("allowed: {allowed}"));
    }

    pub(crate) fn unknown(&mut self, path: &str) {
        let advice = suggestion(path, &self.keys);
        self.add(path, "unknown key", &advice);
    }

    /// Any problem of a key.
    pub(crate) fn add(&mut self, path: &str, found: &str, allowed: &str) {
        let (line, place) = self.place(path);
        self.push(line, place, Some(path), found, allowed);
    }

    /// A problem of a variable that sets no key.
    pub(crate) fn add_variable(&mut self, name: &str, found: &str, allowed: &str) {
        self.push(usize::MAX, format!("environment variable {name}"), None, found, allowed);
    }

    /// A problem that kept the file from being read.
    pub(crate) fn add_flaw(&mut self, file: &str, flaw: &Flaw) {
        let place = match (flaw.line, flaw.column) {
            (0, _) => file.to_owned(),
            (line, None) => format!("{file}:{line}"),
            (line, Some(column)) => format!("{file}:{line}:{column}"),
        };
        self.push(flaw.line, place, flaw.key.as_deref(), &flaw.found, &flaw.allowed);
    }

    fn push(&mut self, line: usize, place: String, path: Option<&str>, found: &str, allowed: &str) {
        let key = path.map(str::to_owned);
        self.problems
            .push((line, Problem { place, key, found: found.to_owned(), allowed: allowed.to_owned() }));
    }

    fn place(&self, path: &str) -> (usize, String) {
        if let Some(variable) = self.variables.get(path) {
            return (usize::MAX, format!("environment variable {variable}"));
        }
        match &self.file {
            Some(file) => {
                let line = file.line(path);
                (line, if line == 0 { file.name.clone() } else { format!("{}:{line}", file.name) })
            }
            None => (0, "defaults".to_owned()),
        }
    }

    /// Whether a key has a value of its own, from file or environment, and not its default.
    pub(crate) fn is_set(&self, path: &str) -> bool {
        self.variables.contains_key(path) || self.file.as_ref().is_some_and(|file| file.has(path))
    }

    /// A relative path from the file is relative to the file's folder; one from the environment, to the
    /// current folder.
    pub(crate) fn resolve(&self, key: &str, path: PathBuf) -> PathBuf {
        match &self.file {
            Some(file) if !self.variables.contains_key(key) => file.folder.join(path),
            _ => path,
        }
    }

    /// `value`, if nothing was wrong with it.
    pub(crate) fn into_result<T>(mut self, value: T) -> Result<T, ConfigError> {
        if self.problems.is_empty() {
            return Ok(value);
        }
        self.problems.sort_by_key(|(line, _)| *line);
        Err(ConfigError::new(self.problems.into_iter().map(|(_, problem)| problem).collect()))
    }
}

impl Key {
    /// The variable that sets it.
    pub(crate) fn variable(&self) -> Option<String> {
        (self.form == Form::Value && !self.in_list).then(|| variable(&self.path))
    }
}
