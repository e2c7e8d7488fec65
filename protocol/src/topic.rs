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
    #[inline]
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

/// Everything but the UTF-8. Looks at bytes, since what it looks for is ASCII; first for any that is as
/// low as what is refused, which few topics have, and without an early exit, so that the loop runs over
/// many bytes at a time.
fn check_bytes(bytes: &[u8]) -> Result<(), TopicError> {
    if bytes.is_empty() {
        return Err(TopicError::Empty);
    }
    if bytes.len() > STRING_BYTES_MAX {
        return Err(TopicError::TooLong);
    }
    let lowest = bytes.iter().fold(u8::MAX, |lowest, &byte| lowest.min(byte));
    if lowest > b'+' {
        Ok(())
    } else if bytes.contains(&0) {
        Err(TopicError::Nul)
    } else if bytes.iter().any(|byte| matches!(byte, b'+' | b'#')) {
        Err(TopicError::Wildcard)
    } else {
        Ok(())
    }
}

/// The number of levels of a topic name or filter. Two bytes hold the number of slashes, since
/// [`STRING_BYTES_MAX`] does; a narrow sum is counted many bytes at a time.
pub(crate) fn level_count(text: &str) -> usize {
    let slashes: u16 = text.bytes().map(|byte| u16::from(byte == b'/')).sum();
    1 + usize::from(slashes)
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

#[cfg(test)]
mod tests {
    use super::TopicName;
    use crate::error::TopicError;
    use bytes::Bytes;
    use bytestring::ByteString;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn refused(bytes: &'static [u8]) -> TopicError {
        TopicName::from_bytes(Bytes::from_static(bytes)).unwrap_err()
    }

    #[test]
    fn topic_name_holds_no_wildcard_no_nul_and_not_nothing() {
        // [MQTT-3.3.2-2], [MQTT-4.7.3-1], [MQTT-4.7.3-2]
        assert_eq!(refused(b""), TopicError::Empty);
        assert_eq!(refused(b"a/+"), TopicError::Wildcard);
        assert_eq!(refused(b"#"), TopicError::Wildcard);
        assert_eq!(refused(b"a\0"), TopicError::Nul);
        assert_eq!("a#".parse::<TopicName>(), Err(TopicError::Wildcard));
        assert_eq!(TopicName::try_from(ByteString::from("")), Err(TopicError::Empty));
    }

    #[test]
    fn topic_name_is_strict_utf8() {
        // [MQTT-1.5.3-1]: an overlong slash, a surrogate, a lone continuation, a cut character.
        for bytes in [&b"\xC0\xAF"[..], b"\xED\xA0\x80", b"\x80", b"a\xC3"] {
            assert_eq!(refused(bytes), TopicError::NotUtf8);
        }
        // [MQTT-1.5.3-3]: U+FEFF is a character like any other.
        assert!(TopicName::from_bytes(Bytes::from_static(b"\xEF\xBB\xBFa")).is_ok());
    }

    #[test]
    fn topic_name_has_at_most_65535_bytes() {
        // [MQTT-4.7.3-3]
        let longest = TopicName::from_bytes(vec![b'/'; 65_535].into()).unwrap();
        assert_eq!(longest.level_count(), 65_536);
        assert_eq!(TopicName::from_bytes(vec![b'a'; 65_536].into()), Err(TopicError::TooLong));
    }

    #[test]
    fn levels_are_counted_with_the_empty_ones() {
        let topic: TopicName = "/a//é".parse().unwrap();
        assert_eq!(topic.levels().collect::<Vec<_>>(), ["", "a", "", "é"]);
        assert_eq!(topic.level_count(), 4);
        assert!(!topic.is_dollar());
        assert!("$SYS".parse::<TopicName>().unwrap().is_dollar());
    }

    #[test]
    fn topic_name_shares_its_bytes_until_detached() {
        let buffer = Bytes::from(b"a/b and more".to_vec());
        let topic = TopicName::from_bytes(buffer.slice(..3)).unwrap();
        assert_eq!(topic.as_str().as_ptr(), buffer.as_ptr());
        let detached = topic.detached();
        assert_eq!(detached, topic);
        assert_ne!(detached.as_str().as_ptr(), buffer.as_ptr());
    }

    #[test]
    fn topic_name_is_found_by_its_text() {
        let set = HashSet::from(["a/b".parse::<TopicName>().unwrap()]);
        assert!(set.contains("a/b"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_topic_name_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let text = String::from_utf8(bytes.clone());
            let good = text.is_ok_and(|text| !text.is_empty() && !text.contains(['+', '#', '\0']));
            prop_assert_eq!(TopicName::from_bytes(bytes.into()).is_ok(), good);
        }
    }
}
