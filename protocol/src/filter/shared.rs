//! What a subscription asks for: a topic filter, alone or with the name of a group that shares it
//! (MQTT 5 §4.8.2). Owns [`SubscriptionFilter`]; the filter in it is what is matched, and what access
//! rules are about, while the whole names the subscription.

use super::TopicFilter;
use crate::error::FilterError;
use bytestring::ByteString;
use std::fmt;
use std::str::FromStr;

const SHARE: &str = "$share/";

/// The topic filter of a SUBSCRIBE or UNSUBSCRIBE: `filter`, or `$share/name/filter` ([MQTT-4.8.2-1]).
/// Clients of MQTT 3.1.1 may share as well.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionFilter {
    share_name: Option<ByteString>,
    filter: TopicFilter,
}

impl SubscriptionFilter {
    /// The group that shares the subscription, if it is shared.
    pub fn share_name(&self) -> Option<&ByteString> {
        self.share_name.as_ref()
    }

    /// What topics are matched with.
    pub fn filter(&self) -> &TopicFilter {
        &self.filter
    }

    /// The bytes of the whole as it stands on the wire.
    pub fn wire_bytes(&self) -> usize {
        let share = self.share_name.as_ref().map_or(0, |name| SHARE.len() + name.len() + 1);
        share + self.filter.as_str().len()
    }
}

impl From<TopicFilter> for SubscriptionFilter {
    fn from(filter: TopicFilter) -> Self {
        Self { share_name: None, filter }
    }
}

impl TryFrom<&str> for SubscriptionFilter {
    type Error = FilterError;

    fn try_from(text: &str) -> Result<Self, FilterError> {
        let Some(shared) = text.strip_prefix(SHARE) else {
            return Ok(Self { share_name: None, filter: text.try_into()? });
        };
        // One level without wildcard ([MQTT-4.8.2-2]), then a filter of its own.
        let (name, filter) = shared.split_once('/').ok_or(FilterError::Share)?;
        if name.is_empty() || name.contains(['+', '#']) || filter.is_empty() {
            return Err(FilterError::Share);
        }
        if name.contains('\0') {
            return Err(FilterError::Nul);
        }
        Ok(Self { share_name: Some(name.into()), filter: filter.try_into()? })
    }
}

impl FromStr for SubscriptionFilter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        Self::try_from(text)
    }
}

impl fmt::Display for SubscriptionFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.share_name {
            write!(f, "{SHARE}{name}/")?;
        }
        f.write_str(self.filter.as_str())
    }
}

impl fmt::Debug for SubscriptionFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_string(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_filter_is_taken_apart() {
        let shared: SubscriptionFilter = "$share/g/a/+/#".parse().unwrap();
        assert_eq!(shared.share_name().map(AsRef::as_ref), Some("g"));
        assert_eq!(shared.filter().as_str(), "a/+/#");
        assert_eq!(shared.to_string(), "$share/g/a/+/#");
        assert_eq!(shared.wire_bytes(), shared.to_string().len());
        let leading: SubscriptionFilter = "$share/g//a".parse().unwrap();
        assert_eq!(leading.filter().as_str(), "/a");
    }

    #[test]
    fn others_are_what_they_were() {
        for text in ["a/b", "#", "$SYS/#", "$share", "$shared/g/a", "/$share/g/a"] {
            let filter: SubscriptionFilter = text.parse().unwrap();
            assert_eq!((filter.share_name(), filter.filter().as_str()), (None, text));
            assert_eq!(filter.to_string(), text);
        }
    }

    #[test]
    fn a_share_name_is_one_level_without_wildcards() {
        // [MQTT-4.8.2-1], [MQTT-4.8.2-2]
        for text in
            ["$share/", "$share/g", "$share/g/", "$share//a", "$share/+/a", "$share/#/a", "$share/a+/b"]
        {
            assert_eq!(text.parse::<SubscriptionFilter>(), Err(FilterError::Share), "{text}");
        }
        assert_eq!("$share/g/a+".parse::<SubscriptionFilter>(), Err(FilterError::Plus));
        assert_eq!("$share/g\0/a".parse::<SubscriptionFilter>(), Err(FilterError::Nul));
    }
}
