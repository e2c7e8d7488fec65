//! What an operator can do wrong: where it stands, what was found, what is allowed.
//!
//! A [`ConfigError`] holds every [`Problem`] of a configuration, so that one look mends them all. Values
//! are shown where they help; there are no secrets among them, for keys and passwords stand in files
//! of their own.

use std::fmt;

/// What is wrong with a configuration: one problem or more, in the order of the file. Prints one a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    /// Every problem; never empty.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    pub(crate) fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// File and line, such as `sealmq.toml:12`, or an environment variable.
    pub place: String,
    /// Path of the key, such as `listener[1].tls.cert`; lists count from 0. None: the whole file.
    pub key: Option<String>,
    /// What was found there: `found 0`, `missing`, `unknown key`.
    pub found: String,
    /// What would be right there: `allowed: 1 to 10`, `did you mean "x"?`. May be empty.
    pub allowed: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        f.write_str(&self.found)?;
        if !self.allowed.is_empty() {
            write!(f, "; {}", self.allowed)?;
        }
        Ok(())
    }
}
