//! What an operator can do wrong: file, key, what was found, what is allowed.

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A placeholder for the real list.
    #[error("wrong")]
    Wrong,
}
