//! What a peer can do wrong. A [`ProtocolError`] ends the connection ([MQTT-4.13.1-1]), with a reason
//! code for the peer, and for the log the statement of its version that was broken. [`TopicError`] and
//! [`FilterError`] say why bytes are no topic name or no topic filter; the second costs a
//! subscription, not the connection.

mod clause;

use crate::ReasonCode;

/// How the peer broke the standard, or left the bounds of this broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The remaining length takes more than four bytes.
    #[error("the remaining length is malformed")]
    RemainingLength,
    /// Longer than the bound on one packet.
    #[error("the packet is larger than allowed")]
    PacketTooLarge,
    /// Packet type 0 or 15.
    #[error("the packet type is reserved")]
    ReservedPacketType,
    /// A client sent what only a server may send.
    #[error("only a server may send this packet")]
    ServerPacket,
    /// A server sent what only a client may send.
    #[error("only a client may send this packet")]
    ClientPacket,
    /// Fixed-header flags of a packet whose flags have no clause of their own.
    #[error("the reserved flags of the fixed header are wrong")]
    Flags,
    /// Fixed-header flags of a PUBREL other than 0010.
    #[error("the reserved flags of PUBREL are not 0010")]
    PubRelFlags,
    /// Fixed-header flags of a SUBSCRIBE other than 0010.
    #[error("the reserved flags of SUBSCRIBE are not 0010")]
    SubscribeFlags,
    /// Fixed-header flags of an UNSUBSCRIBE other than 0010.
    #[error("the reserved flags of UNSUBSCRIBE are not 0010")]
    UnsubscribeFlags,
    /// Fixed-header flags of a DISCONNECT other than 0000.
    #[error("the reserved flags of DISCONNECT are not 0000")]
    DisconnectFlags,
    /// Fixed-header flags of an AUTH other than 0000.
    #[error("the reserved flags of AUTH are not 0000")]
    AuthFlags,
    /// A field is missing, or reaches past the end of its packet.
    #[error("the packet ends before its fields do")]
    Truncated,
    /// Bytes are left over after the last field of a packet.
    #[error("the packet goes on after its last field")]
    TrailingBytes,
    /// A string is not well-formed UTF-8.
    #[error("a string is not UTF-8")]
    IllFormedUtf8,
    /// A string holds U+0000.
    #[error("a string contains U+0000")]
    NulInString,
    /// A packet that needs an identifier has 0 there.
    #[error("the packet identifier is zero")]
    PacketIdZero,

    /// The first packet of a connection is no CONNECT.
    #[error("the first packet is not CONNECT")]
    FirstPacketNotConnect,
    /// A second CONNECT on one connection.
    #[error("a second CONNECT was sent")]
    SecondConnect,
    /// CONNECT: the protocol name is neither `MQTT` nor `MQIsdp`.
    #[error("the protocol name is unknown")]
    ProtocolName,
    /// CONNECT: MQTT at a level that is not spoken here. Answered with a CONNACK.
    #[error("protocol level {level} is not supported")]
    UnacceptableProtocolVersion {
        /// The level that was asked for.
        level: u8,
    },
    /// CONNECT: bit 0 of the flags is set.
    #[error("the reserved CONNECT flag is set")]
    ConnectReservedFlag,
    /// CONNECT: a will QoS but no will.
    #[error("a will QoS is set without a will")]
    WillQosWithoutWill,
    /// CONNECT: a will QoS of 3.
    #[error("the will QoS is 3")]
    WillQosThree,
    /// CONNECT: will retain but no will.
    #[error("will retain is set without a will")]
    WillRetainWithoutWill,
    /// CONNECT: the will topic is no topic name.
    #[error("bad will topic: {0}")]
    WillTopic(TopicError),
    /// CONNECT: a password but no user name.
    #[error("a password was sent without a user name")]
    PasswordWithoutUserName,
    /// Nothing came for one and a half times the keep alive.
    #[error("the keep alive has run out")]
    KeepAliveExpired,

    /// PUBLISH: DUP is set although the QoS is 0.
    #[error("DUP is set on a message of QoS 0")]
    DupWithoutQos,
    /// PUBLISH: both QoS bits are set.
    #[error("the QoS of a message is 3")]
    QosThree,
    /// PUBLISH: the topic is no topic name.
    #[error("bad topic: {0}")]
    PublishTopic(TopicError),
    /// PUBLISH or will: the topic is deeper than the bound.
    #[error("the topic has too many levels")]
    TooManyTopicLevels,
    /// SUBSCRIBE or UNSUBSCRIBE: more filters than the bound.
    #[error("too many filters in one packet")]
    TooManyFilters,
    /// More QoS 2 messages on their way in than the bound.
    #[error("too many messages of QoS 2 are unfinished")]
    ReceiveMaximumExceeded,

    /// PUBLISH: neither a topic nor an alias.
    #[error("a message has neither a topic nor a topic alias")]
    NoTopic,
    /// PUBLISH: the topic alias is 0, above the maximum, or stands for nothing.
    #[error("the topic alias is not valid")]
    TopicAlias,
    /// PUBLISH: an alias alone, which was never given a topic.
    #[error("the topic alias stands for no topic")]
    UnknownTopicAlias,
    /// PUBLISH: a QoS above the maximum that CONNACK stated.
    #[error("the QoS of a message is above the maximum")]
    QosNotSupported,
    /// PUBLISH or will: RETAIN although retained messages are turned off.
    #[error("retained messages are turned off")]
    RetainNotSupported,
    /// PUBLISH or will: the response topic is no topic name.
    #[error("bad response topic: {0}")]
    ResponseTopic(TopicError),
    /// PUBLISH of a client: a subscription identifier.
    #[error("a client sent a subscription identifier with a message")]
    SubscriptionIdFromClient,

    /// SUBSCRIBE: No Local for a shared subscription.
    #[error("no local is set for a shared subscription")]
    NoLocalShared,
    /// SUBSCRIBE: reserved bits of the options are set.
    #[error("reserved bits of the subscription options are set")]
    SubscriptionOptions,
    /// SUBSCRIBE: retain handling 3.
    #[error("the retain handling is 3")]
    RetainHandling,
    /// SUBSCRIBE without a filter.
    #[error("SUBSCRIBE holds no topic filter")]
    SubscribeEmpty,
    /// SUBSCRIBE: the byte of a requested QoS is none of 0, 1 and 2.
    #[error("a requested QoS is not 0, 1 or 2")]
    RequestedQos,
    /// UNSUBSCRIBE without a filter.
    #[error("UNSUBSCRIBE holds no topic filter")]
    UnsubscribeEmpty,

    /// DISCONNECT: a session that was to end with the connection is to be kept after all.
    #[error("DISCONNECT gives a session expiry to a session that had none")]
    SessionExpiryRaised,
    /// DISCONNECT of a server: a session expiry.
    #[error("a server sent a session expiry with DISCONNECT")]
    SessionExpiryFromServer,
    /// AUTH: the client did not ask for enhanced authentication, or not now.
    #[error("AUTH came unasked")]
    UnexpectedAuth,
    /// Something else than AUTH or DISCONNECT while an authentication is under way.
    #[error("another packet than AUTH came before the CONNACK")]
    UnexpectedPacket,
    /// AUTH: another method than that of the CONNECT.
    #[error("AUTH names another method than CONNECT")]
    AuthMethodChanged,

    /// A property that is not known.
    #[error("a property is not known")]
    UnknownProperty,
    /// A property that this packet does not have.
    #[error("a property does not belong into this packet")]
    MisplacedProperty,
    /// A property that may be there once only, twice.
    #[error("a property is there twice")]
    DuplicateProperty,
    /// A property with a value that it may not have.
    #[error("a property has a value that it may not have")]
    PropertyValue,
    /// Authentication data without a method.
    #[error("there is authentication data and no method")]
    AuthDataWithoutMethod,
    /// A reason code that the packet does not have.
    #[error("the reason code is not one of this packet")]
    ReasonCode,
    /// A number of variable length that takes more than four bytes, or more than it needs.
    #[error("a number of variable length is malformed")]
    VariableNumber,

    /// CONNACK: a reserved acknowledge flag is set.
    #[error("a reserved CONNACK flag is set")]
    ConnAckFlags,
    /// CONNACK: a reserved return code.
    #[error("the CONNACK return code is reserved")]
    ConnAckReturnCode,
    /// CONNACK: refused, and yet a session present.
    #[error("a refusing CONNACK claims a session")]
    SessionPresentWithRefusal,
    /// SUBACK: a reserved return code.
    #[error("a SUBACK return code is reserved")]
    SubAckReturnCode,
    /// SUBACK without a return code.
    #[error("SUBACK holds no return code")]
    SubAckEmpty,
    /// UNSUBACK without a reason code.
    #[error("UNSUBACK holds no reason code")]
    UnsubAckEmpty,
}

impl ProtocolError {
    /// What DISCONNECT or CONNACK says of it (MQTT 5 §4.13): `MalformedPacket` for bytes that cannot be
    /// taken apart or that the standard calls malformed, `ProtocolError` for what was taken apart and
    /// is not allowed, unless the standard has a code for just that.
    #[allow(clippy::wildcard_enum_match_arm, reason = "what is not allowed is a protocol error as a rule")]
    pub const fn reason(self) -> ReasonCode {
        match self {
            Self::RemainingLength
            | Self::ReservedPacketType
            | Self::Flags
            | Self::PubRelFlags
            | Self::SubscribeFlags
            | Self::UnsubscribeFlags
            | Self::DisconnectFlags
            | Self::AuthFlags
            | Self::Truncated
            | Self::TrailingBytes
            | Self::IllFormedUtf8
            | Self::NulInString
            | Self::ConnectReservedFlag
            | Self::WillQosThree
            | Self::QosThree
            | Self::SubscriptionOptions
            | Self::UnknownProperty
            | Self::MisplacedProperty
            | Self::VariableNumber
            | Self::ConnAckFlags => ReasonCode::MalformedPacket,
            Self::WillTopic(error) | Self::PublishTopic(error) | Self::ResponseTopic(error) => error.reason(),
            Self::ProtocolName | Self::UnacceptableProtocolVersion { .. } => {
                ReasonCode::UnsupportedProtocolVersion
            }
            Self::KeepAliveExpired => ReasonCode::KeepAliveTimeout,
            Self::TooManyTopicLevels => ReasonCode::TopicNameInvalid,
            Self::ReceiveMaximumExceeded => ReasonCode::ReceiveMaximumExceeded,
            Self::TopicAlias => ReasonCode::TopicAliasInvalid,
            Self::PacketTooLarge => ReasonCode::PacketTooLarge,
            Self::TooManyFilters => ReasonCode::QuotaExceeded,
            Self::RetainNotSupported => ReasonCode::RetainNotSupported,
            Self::QosNotSupported => ReasonCode::QosNotSupported,
            _ => ReasonCode::ProtocolError,
        }
    }
}

/// Why bytes are no topic name (§4.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// Empty.
    #[error("a topic name has at least one character")]
    Empty,
    /// Longer than 65,535 bytes.
    #[error("a topic name has at most 65535 bytes")]
    TooLong,
    /// Ill-formed UTF-8.
    #[error("a topic name is UTF-8")]
    NotUtf8,
    /// Holds U+0000.
    #[error("a topic name does not contain U+0000")]
    Nul,
    /// Holds `+` or `#`.
    #[error("a topic name does not contain + or #")]
    Wildcard,
}

impl TopicError {
    /// Topic Name Invalid is for a name that is correctly formed, and so for none of these (MQTT 5 §2.4).
    const fn reason(self) -> ReasonCode {
        match self {
            Self::TooLong | Self::NotUtf8 | Self::Nul => ReasonCode::MalformedPacket,
            Self::Empty | Self::Wildcard => ReasonCode::ProtocolError,
        }
    }
}

/// Why a string is no topic filter (§4.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Empty.
    #[error("a topic filter has at least one character")]
    Empty,
    /// Longer than 65,535 bytes.
    #[error("a topic filter has at most 65535 bytes")]
    TooLong,
    /// `$share/` without a name that is one level without wildcard, and a filter behind it.
    #[error("a shared subscription is $share/name/filter, the name without wildcard")]
    Share,
    /// Holds U+0000.
    #[error("a topic filter does not contain U+0000")]
    Nul,
    /// `#` beside other characters, or before the last level.
    #[error("# stands alone in the last level of a topic filter")]
    Hash,
    /// `+` beside other characters.
    #[error("+ stands alone in its level of a topic filter")]
    Plus,
    /// More levels than the bound.
    #[error("the topic filter has too many levels")]
    TooManyLevels,
}
