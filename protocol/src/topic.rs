//! Topic names.

use bytestring::ByteString;

/// The name of a topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(ByteString);
