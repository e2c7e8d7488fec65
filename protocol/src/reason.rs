//! Return codes: the server's answers, in numbers. Chosen here and nowhere else.

/// The return code of a CONNACK (MQTT 3.1.1 §3.2.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ConnectReturnCode {
    /// 0: accepted.
    Accepted = 0,
    /// 1: the server does not speak this protocol level.
    UnacceptableProtocolVersion = 1,
    /// 2: the client identifier is not allowed.
    IdentifierRejected = 2,
    /// 3: the server takes no session now.
    ServerUnavailable = 3,
    /// 4: the user name or the password is wrong.
    BadUserNameOrPassword = 4,
    /// 5: the client may not connect.
    NotAuthorized = 5,
}

/// One answer in a SUBACK (MQTT 3.1.1 §3.9.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SubscribeReturnCode {
    /// 0x00 to 0x02: subscribed, with this maximum QoS.
    Granted(crate::Qos),
    /// 0x80: refused.
    Failure,
}
