//! Packets of MQTT 5 as bytes, written down here a second time, apart from the codec: builders for what
//! the tests send, [`Publish5`] and [`Answer`] for what they receive.
//!
//! What is built takes properties by [`With`]: `Connect5::new("c").with(SESSION_EXPIRY, 60)`.

pub(crate) use super::properties5::*;

use super::packets::{field, packet};

/// First byte of CONNACK.
pub(crate) const CONNACK: u8 = 0x20;
/// First byte of PUBACK.
pub(crate) const PUBACK: u8 = 0x40;
/// First byte of PUBREC.
pub(crate) const PUBREC: u8 = 0x50;
/// First byte of PUBREL.
pub(crate) const PUBREL: u8 = 0x62;
/// First byte of PUBCOMP.
pub(crate) const PUBCOMP: u8 = 0x70;
/// First byte of SUBACK.
pub(crate) const SUBACK: u8 = 0x90;
/// First byte of UNSUBACK.
pub(crate) const UNSUBACK: u8 = 0xB0;
/// First byte of DISCONNECT.
pub(crate) const DISCONNECT5: u8 = 0xE0;
/// First byte of AUTH.
pub(crate) const AUTH: u8 = 0xF0;

/// CONNECT (§3.1), to be built up: `Connect5::new("id").keep_session().keep_alive(5).bytes()`.
#[derive(Debug, Clone)]
pub(crate) struct Connect5 {
    id: Vec<u8>,
    level: u8,
    clean_start: bool,
    keep_alive_s: u16,
    properties: Properties,
    will: Option<Publish5>,
    user: Option<Vec<u8>>,
    password: Option<Vec<u8>>,
    flags: Option<u8>,
}

impl Connect5 {
    /// Clean start, no session expiry, no keep alive, no properties.
    pub(crate) fn new(id: impl AsRef<[u8]>) -> Self {
        Self {
            id: id.as_ref().to_vec(),
            level: 5,
            clean_start: true,
            keep_alive_s: 0,
            properties: Properties::default(),
            will: None,
            user: None,
            password: None,
            flags: None,
        }
    }

    /// Another protocol level.
    pub(crate) fn level(mut self, level: u8) -> Self {
        self.level = level;
        self
    }

    /// Clean start 0.
    pub(crate) fn keep_session(mut self) -> Self {
        self.clean_start = false;
        self
    }

    /// Clean start 0, and a session that outlives the connection by this many seconds.
    pub(crate) fn persistent(self, seconds: u32) -> Self {
        self.keep_session().with(SESSION_EXPIRY, seconds)
    }

    /// Keep alive, seconds.
    pub(crate) fn keep_alive(mut self, seconds: u16) -> Self {
        self.keep_alive_s = seconds;
        self
    }

    /// A will: topic, payload, QoS, RETAIN and properties of this message.
    pub(crate) fn will(mut self, will: Publish5) -> Self {
        self.will = Some(will);
        self
    }

    /// A user name; any bytes.
    pub(crate) fn user(mut self, user: impl AsRef<[u8]>) -> Self {
        self.user = Some(user.as_ref().to_vec());
        self
    }

    /// A password; any bytes.
    pub(crate) fn password(mut self, password: impl AsRef<[u8]>) -> Self {
        self.password = Some(password.as_ref().to_vec());
        self
    }

    /// These flags, whatever the fields say: for packets that are wrong.
    pub(crate) fn flags(mut self, flags: u8) -> Self {
        self.flags = Some(flags);
        self
    }

    /// What stands behind the fixed header.
    pub(crate) fn body(&self) -> Vec<u8> {
        let will_flags = |will: &Publish5| 0x04 | will.qos << 3 | u8::from(will.retain) << 5;
        let flags = u8::from(self.clean_start) << 1
            | self.will.as_ref().map_or(0, will_flags)
            | u8::from(self.user.is_some()) << 7
            | u8::from(self.password.is_some()) << 6;
        let mut body = field("MQTT");
        body.extend([self.level, self.flags.unwrap_or(flags)]);
        body.extend(self.keep_alive_s.to_be_bytes());
        body.extend(self.properties.bytes());
        body.extend(field(&self.id));
        if let Some(will) = &self.will {
            body.extend(will.properties.bytes());
            body.extend(field(&will.topic));
            body.extend(field(&will.payload));
        }
        body.extend(self.user.iter().chain(&self.password).flat_map(field));
        body
    }

    /// The packet.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        packet(0x10, self.body())
    }
}

impl With for Connect5 {
    fn properties_mut(&mut self) -> &mut Properties {
        &mut self.properties
    }
}

/// PUBLISH (§3.3): made with `Publish5::new("a", "1").qos(1, 7).retain()`, or read from the wire.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Publish5 {
    /// DUP.
    pub(crate) dup: bool,
    /// QoS; 3 may be put in.
    pub(crate) qos: u8,
    /// RETAIN.
    pub(crate) retain: bool,
    /// The topic; any bytes, or none where an alias stands for it.
    pub(crate) topic: Vec<u8>,
    /// The packet identifier; written and read where `qos` is above 0.
    pub(crate) id: u16,
    /// The properties.
    pub(crate) properties: Properties,
    /// The payload.
    pub(crate) payload: Vec<u8>,
}

impl Publish5 {
    /// QoS 0, nothing set, no properties.
    pub(crate) fn new(topic: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> Self {
        let (topic, payload) = (topic.as_ref().to_vec(), payload.as_ref().to_vec());
        let properties = Properties::default();
        Self { dup: false, qos: 0, retain: false, topic, id: 0, properties, payload }
    }

    /// QoS and packet identifier.
    pub(crate) fn qos(mut self, qos: u8, id: u16) -> Self {
        (self.qos, self.id) = (qos, id);
        self
    }

    /// Sets RETAIN.
    pub(crate) fn retain(mut self) -> Self {
        self.retain = true;
        self
    }

    /// Sets DUP.
    pub(crate) fn dup(mut self) -> Self {
        self.dup = true;
        self
    }

    /// The packet.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let first = 0x30 | u8::from(self.dup) << 3 | self.qos << 1 | u8::from(self.retain);
        let mut body = field(&self.topic);
        if self.qos > 0 {
            body.extend(self.id.to_be_bytes());
        }
        body.extend(self.properties.bytes());
        body.extend(&self.payload);
        packet(first, body)
    }

    /// Reads a whole packet; none if it is no PUBLISH.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let first = *bytes.first().filter(|first| *first >> 4 == 3)?;
        let (topic, mut rest) = take_field(body_of(bytes));
        let qos = first >> 1 & 3;
        let mut id = 0;
        if qos > 0 {
            id = u16::from_be_bytes([rest[0], rest[1]]);
            rest = &rest[2..];
        }
        let (properties, payload) = Properties::parse(rest);
        let (dup, retain) = (first & 8 != 0, first & 1 != 0);
        Some(Self { dup, qos, retain, topic, id, properties, payload: payload.to_vec() })
    }

    /// The payload as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).unwrap()
    }

    /// The topic as text.
    pub(crate) fn topic(&self) -> &str {
        std::str::from_utf8(&self.topic).unwrap()
    }
}

impl With for Publish5 {
    fn properties_mut(&mut self) -> &mut Properties {
        &mut self.properties
    }
}

impl std::fmt::Debug for Publish5 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).chars().take(80).collect::<String>();
        f.debug_struct("Publish5")
            .field("dup", &self.dup)
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("topic", &shown(&self.topic))
            .field("id", &self.id)
            .field("properties", &self.properties)
            .field("payload", &shown(&self.payload))
            .finish()
    }
}

/// Any other packet that has a fixed front, properties and something behind them: SUBSCRIBE,
/// UNSUBSCRIBE, acknowledgements, DISCONNECT, AUTH.
#[derive(Debug, Clone)]
pub(crate) struct Packet5 {
    first: u8,
    front: Vec<u8>,
    properties: Properties,
    behind: Vec<u8>,
}

impl Packet5 {
    /// With this first byte and these bytes in front of the properties.
    pub(crate) fn new(first: u8, front: impl AsRef<[u8]>) -> Self {
        let front = front.as_ref().to_vec();
        Self { first, front, properties: Properties::default(), behind: Vec::new() }
    }

    /// These bytes behind the properties.
    pub(crate) fn behind(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.behind.extend_from_slice(bytes.as_ref());
        self
    }

    /// The packet.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        packet(self.first, [self.front.as_slice(), &self.properties.bytes(), &self.behind].concat())
    }
}

impl With for Packet5 {
    fn properties_mut(&mut self) -> &mut Properties {
        &mut self.properties
    }
}

/// SUBSCRIBE (§3.8): filters, each with its options (QoS 0x03, no local 0x04, retain as published
/// 0x08, retain handling 0x30).
pub(crate) fn subscribe5<F: AsRef<[u8]>>(id: u16, filters: &[(F, u8)]) -> Packet5 {
    let pair = |(filter, options): &(F, u8)| [field(filter), vec![*options]].concat();
    Packet5::new(0x82, id.to_be_bytes()).behind(filters.iter().flat_map(pair).collect::<Vec<u8>>())
}

/// UNSUBSCRIBE (§3.10).
pub(crate) fn unsubscribe5<F: AsRef<[u8]>>(id: u16, filters: &[F]) -> Packet5 {
    Packet5::new(0xA2, id.to_be_bytes()).behind(filters.iter().flat_map(field).collect::<Vec<u8>>())
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP (§3.4 to §3.7) by its first byte, with reason code and properties.
pub(crate) fn ack5(first: u8, id: u16, code: u8) -> Packet5 {
    let [high, low] = id.to_be_bytes();
    Packet5::new(first, [high, low, code])
}

/// DISCONNECT (§3.14) with reason code and properties.
pub(crate) fn disconnect5(code: u8) -> Packet5 {
    Packet5::new(DISCONNECT5, [code])
}

/// AUTH (§3.15) with reason code and method.
pub(crate) fn auth5(code: u8, method: &str) -> Packet5 {
    Packet5::new(AUTH, [code]).with(AUTH_METHOD, method)
}

/// What the broker answers with reason codes, read from the wire: CONNACK, PUBACK, PUBREC, PUBREL,
/// PUBCOMP, SUBACK, UNSUBACK, DISCONNECT, AUTH. What a short form leaves out is put in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The first byte of the packet.
    pub(crate) first: u8,
    /// Session present, of CONNACK.
    pub(crate) session_present: bool,
    /// The packet identifier; 0 for packets that have none.
    pub(crate) id: u16,
    /// One reason code, or one for each filter.
    pub(crate) codes: Vec<u8>,
    /// The properties.
    pub(crate) properties: Properties,
}

impl Answer {
    /// Reads a whole packet; fails where it is another, or malformed.
    #[track_caller]
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let (first, mut rest) = (bytes[0], body_of(bytes));
        let (mut session_present, mut id) = (false, 0);
        match first {
            CONNACK => {
                assert!(rest[0] <= 1, "reserved flags of CONNACK: {bytes:02x?}");
                session_present = rest[0] == 1;
                rest = &rest[1..];
            }
            PUBACK | PUBREC | PUBREL | PUBCOMP | SUBACK | UNSUBACK => {
                id = u16::from_be_bytes([rest[0], rest[1]]);
                rest = &rest[2..];
            }
            DISCONNECT5 | AUTH => {}
            _ => panic!("expected an answer, got {bytes:02x?}"),
        }
        if first == SUBACK || first == UNSUBACK {
            let (properties, codes) = Properties::parse(rest);
            return Self { first, session_present, id, codes: codes.to_vec(), properties };
        }
        let short = first != CONNACK;
        let code = rest.first().copied().or(short.then_some(0)).expect("a reason code");
        let (properties, rest) = match rest.get(1..).unwrap_or(&[]) {
            [] if short => (Properties::default(), [].as_slice()),
            rest => Properties::parse(rest),
        };
        assert!(rest.is_empty(), "bytes behind the properties: {bytes:02x?}");
        Self { first, session_present, id, codes: vec![code], properties }
    }

    /// The reason code of a packet that has one.
    #[track_caller]
    pub(crate) fn code(&self) -> u8 {
        assert_eq!(self.codes.len(), 1, "{self:?}");
        self.codes[0]
    }
}

/// What stands behind the fixed header.
fn body_of(bytes: &[u8]) -> &[u8] {
    let header = 1 + bytes[1..].iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    &bytes[header..]
}
