//! Topic names: where a message goes. Owns [`TopicName`], a checked string: bytes come in, and what
//! comes out cannot hold a wildcard, U+0000 or nothing, and fits the two-byte length of the wire.
//! Cloning shares the bytes; [`TopicName::detached`] is for those who keep one for long.

use crate::error::TopicError;
use bytes::Bytes;
use bytestring::ByteString;
use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

/// The most bytes of a string on the wire, topic names and filters among them ([MQTT-4.7.3-3]).
pub const STRING_BYTES_MAX: usize = u16::MAX as usize;

/// The name of a topic (§4.7): no wildcard ([MQTT-3.3.2-2]), no U+0000 ([MQTT-4.7.3-2]), one to
/// 65,535 bytes of UTF-8. Ordered bytewise; hashes and compares like the `str` it holds.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(ByteString);

impl TopicName {
    /// The topic name that these bytes are. They are shared, not copied.
    pub fn from_bytes(bytes: Bytes) -> Result<Self, TopicError> {
        check_bytes(&bytes)?;
        let text = ByteString::try_from(bytes).map_err(|_| TopicError::NotUtf8)?;
        Ok(Self(text))
    }

    /// The name as it stands on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The levels, at least one; any of them can be empty.
    pub fn levels(&self) -> std::str::Split<'_, char> {
        self.as_str().split('/')
    }

    /// How many [`levels`](Self::levels) there are.
    pub fn level_count(&self) -> usize {
        level_count(self.as_str())
    }

    /// Whether the name begins with `$`: no filter that begins with a wildcard matches it
    /// ([MQTT-4.7.2-1]).
    pub fn is_dollar(&self) -> bool {
        self.as_str().starts_with('$')
    }

    /// The same name in an allocation of its own. The name of a received PUBLISH is a slice of the
    /// read buffer and keeps all of it alive, so whoever keeps the name keeps this instead.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self(ByteString::from(self.as_str()))
    }
}

/// Everything but the UTF-8. Looks at bytes, since what it looks for is ASCII; without an early
/// exit, so that the loop runs over many bytes at a time: a topic is nearly always good.
fn check_bytes(bytes: &[u8]) -> Result<(), TopicError> {
    if bytes.is_empty() {
        return Err(TopicError::Empty);
    }
    if bytes.len() > STRING_BYTES_MAX {
        return Err(TopicError::TooLong);
    }
    let refused = bytes.iter().fold(false, |found, &byte| found | matches!(byte, b'+' | b'#' | 0));
    if !refused {
        Ok(())
    } else if bytes.contains(&0) {
        Err(TopicError::Nul)
    } else {
        Err(TopicError::Wildcard)
    }
}

/// The number of levels of a topic name or filter.
pub(crate) fn level_count(text: &str) -> usize {
    1 + text.bytes().filter(|&byte| byte == b'/').count()
}

impl TryFrom<ByteString> for TopicName {
    type Error = TopicError;

    fn try_from(text: ByteString) -> Result<Self, TopicError> {
        check_bytes(text.as_bytes())?;
        Ok(Self(text))
    }
}

impl TryFrom<&str> for TopicName {
    type Error = TopicError;

    fn try_from(text: &str) -> Result<Self, TopicError> {
        check_bytes(text.as_bytes())?;
        Ok(Self(ByteString::from(text)))
    }
}

impl FromStr for TopicName {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        Self::try_from(text)
    }
}

impl From<TopicName> for ByteString {
    fn from(topic: TopicName) -> Self {
        topic.0
    }
}

impl Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for TopicName {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}
