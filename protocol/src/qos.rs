//! Quality of service: how often a message may arrive (MQTT 3.1.1 §4.3).

/// Quality of service of a PUBLISH or a subscription (MQTT 3.1.1 §4.3). Ordered: the effective QoS
/// of a delivery is the smaller of the message's and the subscription's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum Qos {
    /// QoS 0: delivered once or not at all, never acknowledged.
    #[default]
    AtMostOnce = 0,
    /// QoS 1: delivered, and perhaps more than once; PUBACK.
    AtLeastOnce = 1,
    /// QoS 2: delivered once; PUBREC, PUBREL, PUBCOMP.
    ExactlyOnce = 2,
}

impl Qos {
    /// The QoS of two bits on the wire; `None` for 3, which is malformed ([MQTT-3.3.1-4], [MQTT-3.8.3-4]).
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }

    /// The number on the wire, 0 to 2.
    pub const fn bits(self) -> u8 {
        self as u8
    }
}
