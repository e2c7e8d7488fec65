//! Topic filters: what a subscription asks for. Owns [`TopicFilter`], parsed and valid (§4.7), and
//! the three questions asked of it: does it match a topic, does it cover another filter, do two
//! filters overlap. What stands before it in a shared subscription is in `shared.rs`.

mod shared;
#[cfg(test)]
mod tests;

pub use shared::SubscriptionFilter;

use crate::TopicName;
use crate::error::FilterError;
use crate::topic::{STRING_BYTES_MAX, level_count};
use bytestring::ByteString;
use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

/// A topic filter (§4.7): `#` only alone in the last level ([MQTT-4.7.1-2]), `+` only alone in its
/// level ([MQTT-4.7.1-3]), no U+0000, one to 65,535 bytes. Ordered bytewise; hashes and compares
/// like the `str` it holds.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter(ByteString);

/// One level of a topic filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level<'a> {
    /// This level and no other; can be empty.
    Exact(&'a str),
    /// `+`: any one level.
    Plus,
    /// `#`: this level's parent and everything below it; always last.
    Hash,
}

impl TopicFilter {
    /// The filter as it stands on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The levels, at least one.
    pub fn levels(&self) -> impl Iterator<Item = Level<'_>> + Clone {
        levels(self.as_str())
    }

    /// How many [`levels`](Self::levels) there are, `#` among them.
    pub fn level_count(&self) -> usize {
        level_count(self.as_str())
    }

    /// Whether `+` or `#` stands anywhere; a filter without matches one topic only.
    pub fn has_wildcards(&self) -> bool {
        self.as_str().contains(['+', '#'])
    }

    /// Whether a message to `topic` is for this filter.
    pub fn matches(&self, topic: &TopicName) -> bool {
        if topic.is_dollar() && self.starts_with_wildcard() {
            return false; // [MQTT-4.7.2-1]
        }
        // Bytes rather than `levels`: asked for every message, and three times as fast.
        let mut names = topic.as_str().as_bytes().split(|&byte| byte == b'/');
        for level in self.as_str().as_bytes().split(|&byte| byte == b'/') {
            match (level, names.next()) {
                (b"#", _) => return true,
                (b"+", Some(_)) => {}
                (exact, Some(name)) if exact == name => {}
                _ => return false,
            }
        }
        names.next().is_none()
    }

    /// Whether every topic that `other` matches is matched by this filter too.
    pub fn covers(&self, other: &Self) -> bool {
        if self.starts_with_wildcard() && other.starts_with_dollar() {
            return false; // [MQTT-4.7.2-1]
        }
        let mut theirs = other.spelled_out();
        for level in self.levels() {
            match (level, theirs.next()) {
                (Level::Hash, _) => return true,
                (Level::Plus, Some(Level::Plus | Level::Exact(_))) => {}
                (Level::Exact(ours), Some(Level::Exact(exact))) if ours == exact => {}
                (Level::Plus | Level::Exact(_), _) => return false,
            }
        }
        theirs.next().is_none()
    }

    /// Whether some topic is matched by both filters.
    pub fn overlaps(&self, other: &Self) -> bool {
        if self.starts_with_wildcard() && other.starts_with_dollar()
            || other.starts_with_wildcard() && self.starts_with_dollar()
        {
            return false; // [MQTT-4.7.2-1]
        }
        let (mut ours, mut theirs) = (self.spelled_out(), other.spelled_out());
        loop {
            match (ours.next(), theirs.next()) {
                (Some(Level::Hash), _) | (_, Some(Level::Hash)) | (None, None) => return true,
                (Some(Level::Exact(a)), Some(Level::Exact(b))) if a == b => {}
                (Some(Level::Plus), Some(_)) | (Some(_), Some(Level::Plus)) => {}
                (Some(_), _) | (None, Some(_)) => return false,
            }
        }
    }

    /// The longest text that begins every topic which this filter matches: `a/b/#` gives `a/b`,
    /// since `a/b` itself is matched, and `a/+/c` gives `a/`; `/#` gives `/`, since no topic is empty.
    pub fn literal_prefix(&self) -> &str {
        let text = self.as_str();
        let parent = text.strip_suffix("/#").filter(|parent| !parent.is_empty()).unwrap_or(text);
        parent.split(['+', '#']).next().unwrap_or(parent)
    }

    /// The same filter in an allocation of its own, which keeps no read buffer alive.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self(ByteString::from(self.as_str()))
    }

    /// The levels, such that a `#` matches its parent as well. The parent of `#` and of `/#` would be
    /// the empty topic, which there is not ([MQTT-4.7.3-1]): they ask for one level more.
    fn spelled_out(&self) -> impl Iterator<Item = Level<'_>> {
        levels(match self.as_str() {
            "#" => "+/#",
            "/#" => "/+/#",
            text => text,
        })
    }

    fn starts_with_wildcard(&self) -> bool {
        self.as_str().starts_with(['+', '#'])
    }

    fn starts_with_dollar(&self) -> bool {
        self.as_str().starts_with('$')
    }
}

fn levels(filter: &str) -> impl Iterator<Item = Level<'_>> + Clone {
    filter.split('/').map(|level| match level {
        "#" => Level::Hash,
        "+" => Level::Plus,
        exact => Level::Exact(exact),
    })
}

fn check(text: &str) -> Result<(), FilterError> {
    if text.is_empty() {
        return Err(FilterError::Empty);
    }
    if text.len() > STRING_BYTES_MAX {
        return Err(FilterError::TooLong);
    }
    if text.contains('\0') {
        return Err(FilterError::Nul);
    }
    let mut levels = text.split('/').peekable();
    while let Some(level) = levels.next() {
        if level.contains('#') && (level != "#" || levels.peek().is_some()) {
            return Err(FilterError::Hash);
        }
        if level.contains('+') && level != "+" {
            return Err(FilterError::Plus);
        }
    }
    Ok(())
}

impl TryFrom<ByteString> for TopicFilter {
    type Error = FilterError;

    fn try_from(text: ByteString) -> Result<Self, FilterError> {
        check(&text)?;
        Ok(Self(text))
    }
}

impl TryFrom<&str> for TopicFilter {
    type Error = FilterError;

    fn try_from(text: &str) -> Result<Self, FilterError> {
        check(text)?;
        Ok(Self(ByteString::from(text)))
    }
}

impl FromStr for TopicFilter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        Self::try_from(text)
    }
}

impl From<TopicFilter> for ByteString {
    fn from(filter: TopicFilter) -> Self {
        filter.0
    }
}

impl Borrow<str> for TopicFilter {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for TopicFilter {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}
