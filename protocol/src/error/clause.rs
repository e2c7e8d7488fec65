//! Which normative statement an error breaks, such as `MQTT-3.8.1-1`; the section where it has no
//! number. The versions number theirs differently. A bound of this broker is named by the statement
//! that permits the close.

use super::{FilterError, ProtocolError, TopicError};
use crate::packet::Version;

impl ProtocolError {
    /// The statement that was broken, in the standard of this version. What one of the two cannot have
    /// is named by the other.
    pub const fn clause(self, version: Version) -> &'static str {
        match version {
            Version::V31 | Version::V311 => self.clause_of_v3(),
            Version::V5 => self.clause_of_v5(),
        }
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "what is not there is of MQTT 5 alone")]
    const fn clause_of_v3(self) -> &'static str {
        match self {
            Self::RemainingLength | Self::Truncated | Self::TrailingBytes => "§2.2.3",
            Self::PacketTooLarge
            | Self::TooManyTopicLevels
            | Self::TooManyFilters
            | Self::RetainNotSupported
            | Self::QosNotSupported
            | Self::ReceiveMaximumExceeded => "MQTT-4.8.0-2",
            Self::ReservedPacketType | Self::ServerPacket | Self::ClientPacket => "§2.2.1",
            Self::Flags => "MQTT-2.2.2-2",
            Self::IllFormedUtf8 => "MQTT-1.5.3-1",
            Self::NulInString => "MQTT-1.5.3-2",
            Self::PacketIdZero => "MQTT-2.3.1-1",
            Self::WillQosWithoutWill => "MQTT-3.1.2-13",
            Self::WillQosThree => "MQTT-3.1.2-14",
            Self::WillRetainWithoutWill => "MQTT-3.1.2-15",
            Self::KeepAliveExpired => "MQTT-3.1.2-24",
            Self::PublishTopic(TopicError::Wildcard) => "MQTT-3.3.2-2",
            Self::PublishTopic(error) | Self::WillTopic(error) => error.clause(Version::V311),
            Self::SubscribeEmpty => "MQTT-3.8.3-3",
            Self::RequestedQos => "MQTT-3.8.3-4",
            Self::ConnAckFlags => "§3.2.2.1",
            Self::ConnAckReturnCode => "§3.2.2.3",
            Self::SessionPresentWithRefusal => "MQTT-3.2.2-4",
            Self::SubAckEmpty => "MQTT-3.8.4-5",
            _ => self.clause_of_v5(),
        }
    }

    #[allow(clippy::too_many_lines, reason = "a table")]
    const fn clause_of_v5(self) -> &'static str {
        match self {
            Self::RemainingLength | Self::VariableNumber => "MQTT-1.5.5-1",
            Self::Truncated | Self::TrailingBytes => "§4.13.1",
            Self::PacketTooLarge => "MQTT-3.2.2-15",
            Self::ReservedPacketType | Self::ServerPacket | Self::ClientPacket => "§2.1.2",
            Self::Flags => "MQTT-2.1.3-1",
            Self::PubRelFlags => "MQTT-3.6.1-1",
            Self::SubscribeFlags => "MQTT-3.8.1-1",
            Self::UnsubscribeFlags => "MQTT-3.10.1-1",
            Self::DisconnectFlags => "MQTT-3.14.1-1",
            Self::AuthFlags => "MQTT-3.15.1-1",
            Self::IllFormedUtf8 => "MQTT-1.5.4-1",
            Self::NulInString => "MQTT-1.5.4-2",
            Self::PacketIdZero => "MQTT-2.2.1-3",
            Self::FirstPacketNotConnect => "MQTT-3.1.0-1",
            Self::SecondConnect => "MQTT-3.1.0-2",
            Self::ProtocolName => "MQTT-3.1.2-1",
            Self::UnacceptableProtocolVersion { .. } => "MQTT-3.1.2-2",
            Self::ConnectReservedFlag => "MQTT-3.1.2-3",
            Self::WillQosWithoutWill => "MQTT-3.1.2-11",
            Self::WillQosThree => "MQTT-3.1.2-12",
            Self::WillRetainWithoutWill => "MQTT-3.1.2-13",
            Self::PasswordWithoutUserName | Self::KeepAliveExpired => "MQTT-3.1.2-22",
            Self::DupWithoutQos => "MQTT-3.3.1-2",
            Self::QosThree => "MQTT-3.3.1-4",
            Self::PublishTopic(TopicError::Wildcard) => "MQTT-3.3.2-2",
            Self::ResponseTopic(TopicError::Wildcard) => "MQTT-3.3.2-14",
            Self::PublishTopic(error) | Self::WillTopic(error) | Self::ResponseTopic(error) => {
                error.clause(Version::V5)
            }
            Self::TooManyTopicLevels | Self::TooManyFilters => "MQTT-4.13.2-1",
            Self::ReceiveMaximumExceeded => "MQTT-3.3.4-7",
            Self::NoTopic => "§3.3.2.1",
            Self::TopicAlias => "MQTT-3.3.2-8",
            Self::UnknownTopicAlias => "§3.3.2.3.4",
            Self::QosNotSupported => "MQTT-3.2.2-11",
            Self::RetainNotSupported => "MQTT-3.2.2-14",
            Self::SubscriptionIdFromClient => "MQTT-3.3.4-6",
            Self::NoLocalShared => "MQTT-3.8.3-4",
            Self::SubscriptionOptions => "MQTT-3.8.3-5",
            Self::RetainHandling | Self::RequestedQos => "§3.8.3.1",
            Self::SubscribeEmpty => "MQTT-3.8.3-2",
            Self::UnsubscribeEmpty => "MQTT-3.10.3-2",
            Self::SessionExpiryRaised => "§3.14.2.2.2",
            Self::SessionExpiryFromServer => "MQTT-3.14.2-2",
            Self::UnexpectedAuth => "MQTT-4.12.0-7",
            Self::UnexpectedPacket => "MQTT-3.1.2-30",
            Self::AuthMethodChanged => "MQTT-4.12.0-5",
            Self::UnknownProperty
            | Self::MisplacedProperty
            | Self::DuplicateProperty
            | Self::PropertyValue => "§2.2.2.2",
            Self::AuthDataWithoutMethod => "§3.1.2.11.10",
            Self::ReasonCode => "§2.4",
            Self::ConnAckFlags => "MQTT-3.2.2-1",
            Self::ConnAckReturnCode => "MQTT-3.2.2-8",
            Self::SessionPresentWithRefusal => "MQTT-3.2.2-6",
            Self::SubAckReturnCode => "MQTT-3.9.3-2",
            Self::SubAckEmpty => "MQTT-3.8.4-6",
            Self::UnsubAckEmpty => "MQTT-3.11.3-1",
        }
    }
}

impl TopicError {
    /// The statement that was broken, in the standard of this version.
    pub const fn clause(self, version: Version) -> &'static str {
        match (self, version) {
            (Self::Empty, _) => "MQTT-4.7.3-1",
            (Self::TooLong, _) => "MQTT-4.7.3-3",
            (Self::NotUtf8, Version::V5) => "MQTT-1.5.4-1",
            (Self::NotUtf8, _) => "MQTT-1.5.3-1",
            (Self::Nul, _) => "MQTT-4.7.3-2",
            (Self::Wildcard, Version::V5) => "MQTT-4.7.0-1",
            (Self::Wildcard, _) => "MQTT-4.7.1-1",
        }
    }
}

impl FilterError {
    /// The statement that was broken, in the standard of this version; for the bound on levels, the
    /// one that permits a refusal. Shared subscriptions are of MQTT 5 and may be had by all.
    pub const fn clause(self, version: Version) -> &'static str {
        match (self, version) {
            (Self::Empty, _) => "MQTT-4.7.3-1",
            (Self::TooLong, _) => "MQTT-4.7.3-3",
            (Self::Share, _) => "MQTT-4.8.2-1",
            (Self::Nul, _) => "MQTT-4.7.3-2",
            (Self::Hash, Version::V5) => "MQTT-4.7.1-1",
            (Self::Hash, _) | (Self::Plus, Version::V5) => "MQTT-4.7.1-2",
            (Self::Plus, _) => "MQTT-4.7.1-3",
            (Self::TooManyLevels, _) => "§3.9.3",
        }
    }
}
