//! Reason codes: the answers of either end, in numbers (MQTT 5 §2.4), with what MQTT 3.1.1 has in
//! their place. Chosen here and nowhere else: an error names its [`ReasonCode`], the codec writes it as
//! the version wants.

use crate::Qos;

/// A reason code (MQTT 5 §2.4). Below 0x80 all went well. Where the standard gives one number several
/// names by packet, the one variant stands for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ReasonCode {
    /// 0x00: success; normal disconnection; granted QoS 0.
    Success = 0x00,
    /// 0x01: granted QoS 1.
    GrantedQos1 = 0x01,
    /// 0x02: granted QoS 2.
    GrantedQos2 = 0x02,
    /// 0x04: the client leaves, and wants its will published.
    DisconnectWithWill = 0x04,
    /// 0x10: taken, and nobody listens.
    NoMatchingSubscribers = 0x10,
    /// 0x11: nothing was subscribed to.
    NoSubscriptionExisted = 0x11,
    /// 0x18: the authentication goes on.
    ContinueAuthentication = 0x18,
    /// 0x19: a client wants to authenticate anew.
    Reauthenticate = 0x19,
    /// 0x80: the sender does not say why.
    UnspecifiedError = 0x80,
    /// 0x81: bytes that are no packet.
    MalformedPacket = 0x81,
    /// 0x82: a packet that may not be, or not then.
    ProtocolError = 0x82,
    /// 0x83: valid, and not accepted here.
    ImplementationSpecificError = 0x83,
    /// 0x84: the protocol level is not spoken.
    UnsupportedProtocolVersion = 0x84,
    /// 0x85: the client identifier is not allowed.
    ClientIdentifierNotValid = 0x85,
    /// 0x86: the user name or the password is wrong.
    BadUserNameOrPassword = 0x86,
    /// 0x87: not allowed.
    NotAuthorized = 0x87,
    /// 0x88: the server takes nobody now.
    ServerUnavailable = 0x88,
    /// 0x89: the server has too much to do; try again later.
    ServerBusy = 0x89,
    /// 0x8A: this client is shut out.
    Banned = 0x8A,
    /// 0x8B: the server stops.
    ServerShuttingDown = 0x8B,
    /// 0x8C: the authentication method is not known, or not the one in use.
    BadAuthenticationMethod = 0x8C,
    /// 0x8D: nothing came for one and a half times the keep alive.
    KeepAliveTimeout = 0x8D,
    /// 0x8E: another connection took the client identifier.
    SessionTakenOver = 0x8E,
    /// 0x8F: the filter is not allowed.
    TopicFilterInvalid = 0x8F,
    /// 0x90: the topic is not allowed.
    TopicNameInvalid = 0x90,
    /// 0x91: the packet identifier is in use.
    PacketIdentifierInUse = 0x91,
    /// 0x92: the packet identifier is not known.
    PacketIdentifierNotFound = 0x92,
    /// 0x93: more unacknowledged messages than the receive maximum.
    ReceiveMaximumExceeded = 0x93,
    /// 0x94: a topic alias that is 0, too large, or stands for nothing.
    TopicAliasInvalid = 0x94,
    /// 0x95: larger than the maximum packet size.
    PacketTooLarge = 0x95,
    /// 0x96: too many messages in too short a time.
    MessageRateTooHigh = 0x96,
    /// 0x97: a bound is reached.
    QuotaExceeded = 0x97,
    /// 0x98: the operator wants it so.
    AdministrativeAction = 0x98,
    /// 0x99: the payload is not what it should be.
    PayloadFormatInvalid = 0x99,
    /// 0x9A: retained messages are turned off.
    RetainNotSupported = 0x9A,
    /// 0x9B: a QoS above the maximum.
    QosNotSupported = 0x9B,
    /// 0x9C: another server is to be used, for now.
    UseAnotherServer = 0x9C,
    /// 0x9D: another server is to be used, for good.
    ServerMoved = 0x9D,
    /// 0x9E: shared subscriptions are turned off.
    SharedSubscriptionsNotSupported = 0x9E,
    /// 0x9F: too many connections in too short a time.
    ConnectionRateExceeded = 0x9F,
    /// 0xA0: connected for as long as is allowed.
    MaximumConnectTime = 0xA0,
    /// 0xA1: subscription identifiers are turned off.
    SubscriptionIdentifiersNotSupported = 0xA1,
    /// 0xA2: wildcards are turned off.
    WildcardSubscriptionsNotSupported = 0xA2,
}

/// Every reason code, in rising order.
const ALL: [ReasonCode; 43] = {
    use ReasonCode as R;
    [
        R::Success,
        R::GrantedQos1,
        R::GrantedQos2,
        R::DisconnectWithWill,
        R::NoMatchingSubscribers,
        R::NoSubscriptionExisted,
        R::ContinueAuthentication,
        R::Reauthenticate,
        R::UnspecifiedError,
        R::MalformedPacket,
        R::ProtocolError,
        R::ImplementationSpecificError,
        R::UnsupportedProtocolVersion,
        R::ClientIdentifierNotValid,
        R::BadUserNameOrPassword,
        R::NotAuthorized,
        R::ServerUnavailable,
        R::ServerBusy,
        R::Banned,
        R::ServerShuttingDown,
        R::BadAuthenticationMethod,
        R::KeepAliveTimeout,
        R::SessionTakenOver,
        R::TopicFilterInvalid,
        R::TopicNameInvalid,
        R::PacketIdentifierInUse,
        R::PacketIdentifierNotFound,
        R::ReceiveMaximumExceeded,
        R::TopicAliasInvalid,
        R::PacketTooLarge,
        R::MessageRateTooHigh,
        R::QuotaExceeded,
        R::AdministrativeAction,
        R::PayloadFormatInvalid,
        R::RetainNotSupported,
        R::QosNotSupported,
        R::UseAnotherServer,
        R::ServerMoved,
        R::SharedSubscriptionsNotSupported,
        R::ConnectionRateExceeded,
        R::MaximumConnectTime,
        R::SubscriptionIdentifiersNotSupported,
        R::WildcardSubscriptionsNotSupported,
    ]
};

impl ReasonCode {
    /// The reason code of a byte; `None` for a number that the standard does not give out.
    pub fn from_byte(byte: u8) -> Option<Self> {
        ALL.into_iter().find(|code| *code as u8 == byte)
    }

    /// The number on the wire of MQTT 5.
    pub const fn byte(self) -> u8 {
        self as u8
    }

    /// Whether it says that something went wrong: 0x80 and above.
    pub const fn is_error(self) -> bool {
        self as u8 >= 0x80
    }

    /// What the standard calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::GrantedQos1 => "granted QoS 1",
            Self::GrantedQos2 => "granted QoS 2",
            Self::DisconnectWithWill => "disconnect with will message",
            Self::NoMatchingSubscribers => "no matching subscribers",
            Self::NoSubscriptionExisted => "no subscription existed",
            Self::ContinueAuthentication => "continue authentication",
            Self::Reauthenticate => "re-authenticate",
            Self::UnspecifiedError => "unspecified error",
            Self::MalformedPacket => "malformed packet",
            Self::ProtocolError => "protocol error",
            Self::ImplementationSpecificError => "implementation specific error",
            Self::UnsupportedProtocolVersion => "unsupported protocol version",
            Self::ClientIdentifierNotValid => "client identifier not valid",
            Self::BadUserNameOrPassword => "bad user name or password",
            Self::NotAuthorized => "not authorized",
            Self::ServerUnavailable => "server unavailable",
            Self::ServerBusy => "server busy",
            Self::Banned => "banned",
            Self::ServerShuttingDown => "server shutting down",
            Self::BadAuthenticationMethod => "bad authentication method",
            Self::KeepAliveTimeout => "keep alive timeout",
            Self::SessionTakenOver => "session taken over",
            Self::TopicFilterInvalid => "topic filter invalid",
            Self::TopicNameInvalid => "topic name invalid",
            Self::PacketIdentifierInUse => "packet identifier in use",
            Self::PacketIdentifierNotFound => "packet identifier not found",
            Self::ReceiveMaximumExceeded => "receive maximum exceeded",
            Self::TopicAliasInvalid => "topic alias invalid",
            Self::PacketTooLarge => "packet too large",
            Self::MessageRateTooHigh => "message rate too high",
            Self::QuotaExceeded => "quota exceeded",
            Self::AdministrativeAction => "administrative action",
            Self::PayloadFormatInvalid => "payload format invalid",
            Self::RetainNotSupported => "retain not supported",
            Self::QosNotSupported => "QoS not supported",
            Self::UseAnotherServer => "use another server",
            Self::ServerMoved => "server moved",
            Self::SharedSubscriptionsNotSupported => "shared subscriptions not supported",
            Self::ConnectionRateExceeded => "connection rate exceeded",
            Self::MaximumConnectTime => "maximum connect time",
            Self::SubscriptionIdentifiersNotSupported => "subscription identifiers not supported",
            Self::WildcardSubscriptionsNotSupported => "wildcard subscriptions not supported",
        }
    }

    /// Subscribed, with this maximum QoS.
    pub const fn granted(qos: Qos) -> Self {
        match qos {
            Qos::AtMostOnce => Self::Success,
            Qos::AtLeastOnce => Self::GrantedQos1,
            Qos::ExactlyOnce => Self::GrantedQos2,
        }
    }

    /// The return code of a CONNACK of MQTT 3.1.1 (§3.2.2.3) that says the same, as far as it can.
    #[allow(clippy::wildcard_enum_match_arm, reason = "whatever else keeps a client out is for later")]
    pub const fn connect_return_code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::UnsupportedProtocolVersion => 1,
            Self::ClientIdentifierNotValid => 2,
            Self::BadUserNameOrPassword | Self::BadAuthenticationMethod => 4,
            Self::NotAuthorized | Self::Banned => 5,
            _ => 3,
        }
    }

    /// What a return code of a CONNACK of MQTT 3.1.1 says; `None` for one that is reserved.
    pub const fn from_connect_return_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Success,
            1 => Self::UnsupportedProtocolVersion,
            2 => Self::ClientIdentifierNotValid,
            3 => Self::ServerUnavailable,
            4 => Self::BadUserNameOrPassword,
            5 => Self::NotAuthorized,
            _ => return None,
        })
    }

    /// The return code of a SUBACK of MQTT 3.1.1 (§3.9.3): the QoS granted, or 0x80 for any failure.
    pub const fn subscribe_return_code(self) -> u8 {
        if self.is_error() { 0x80 } else { self as u8 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_reads_back_and_no_other_byte_does() {
        for byte in 0..=u8::MAX {
            let code = ReasonCode::from_byte(byte);
            assert_eq!(code.map_or(byte, ReasonCode::byte), byte);
        }
        assert_eq!((0..=u8::MAX).filter(|byte| ReasonCode::from_byte(*byte).is_some()).count(), ALL.len());
    }

    #[test]
    fn each_code_has_a_name_of_its_own() {
        let mut names = ALL.map(ReasonCode::name);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    }

    #[test]
    fn return_codes_of_3_1_1_read_back() {
        for code in 0..=5 {
            assert_eq!(ReasonCode::from_connect_return_code(code).unwrap().connect_return_code(), code);
        }
        assert_eq!(ReasonCode::from_connect_return_code(6), None);
        assert_eq!(ReasonCode::QuotaExceeded.subscribe_return_code(), 0x80);
        assert_eq!(ReasonCode::granted(Qos::ExactlyOnce).subscribe_return_code(), 2);
    }
}
