//! Topic filters.

use bytestring::ByteString;

/// A topic filter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter(ByteString);
