//! Packets of MQTT 3.1.1 as bytes, written down here a second time: what the tests send and expect
//! must not come from the codec that they test.

/// PINGREQ (§3.12).
pub(crate) const PINGREQ: &[u8] = &[0xC0, 0x00];
/// PINGRESP (§3.13).
pub(crate) const PINGRESP: &[u8] = &[0xD0, 0x00];
/// DISCONNECT (§3.14).
pub(crate) const DISCONNECT: &[u8] = &[0xE0, 0x00];

/// A packet with this first byte, its remaining length, and this body.
pub(crate) fn packet(first: u8, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut bytes = vec![first];
    let mut left = body.len();
    loop {
        let low = u8::try_from(left % 128).unwrap();
        left /= 128;
        bytes.push(if left > 0 { low | 0x80 } else { low });
        if left == 0 {
            break;
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

/// A string or binary field: its length in two bytes, then itself (§1.5.3). Any bytes may be put in.
pub(crate) fn field(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    let length = u16::try_from(bytes.len()).unwrap();
    [&length.to_be_bytes(), bytes].concat()
}

fn with_id(first: u8, id: u16) -> Vec<u8> {
    packet(first, id.to_be_bytes())
}

/// CONNACK (§3.2).
pub(crate) fn connack(session_present: bool, code: u8) -> Vec<u8> {
    vec![0x20, 2, u8::from(session_present), code]
}

/// PUBACK (§3.4).
pub(crate) fn puback(id: u16) -> Vec<u8> {
    with_id(0x40, id)
}

/// PUBREC (§3.5).
pub(crate) fn pubrec(id: u16) -> Vec<u8> {
    with_id(0x50, id)
}

/// PUBREL (§3.6).
pub(crate) fn pubrel(id: u16) -> Vec<u8> {
    with_id(0x62, id)
}

/// PUBCOMP (§3.7).
pub(crate) fn pubcomp(id: u16) -> Vec<u8> {
    with_id(0x70, id)
}

/// SUBSCRIBE (§3.8): filters, each with the byte of its requested QoS.
pub(crate) fn subscribe<F: AsRef<[u8]>>(id: u16, filters: &[(F, u8)]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    for (filter, qos) in filters {
        body.extend(field(filter));
        body.push(*qos);
    }
    packet(0x82, body)
}

/// SUBACK (§3.9).
pub(crate) fn suback(id: u16, codes: &[u8]) -> Vec<u8> {
    packet(0x90, [&id.to_be_bytes(), codes].concat())
}

/// UNSUBSCRIBE (§3.10).
pub(crate) fn unsubscribe<F: AsRef<[u8]>>(id: u16, filters: &[F]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    body.extend(filters.iter().flat_map(field));
    packet(0xA2, body)
}

/// UNSUBACK (§3.11).
pub(crate) fn unsuback(id: u16) -> Vec<u8> {
    with_id(0xB0, id)
}

/// CONNECT (§3.1), to be built up: `Connect::new("id").persistent().keep_alive(5).bytes()`.
#[derive(Debug, Clone)]
pub(crate) struct Connect {
    name: Vec<u8>,
    level: u8,
    id: Vec<u8>,
    clean: bool,
    keep_alive_s: u16,
    will: Option<(Publish, u8)>,
    user: Option<Vec<u8>>,
    password: Option<Vec<u8>>,
    flags: Option<u8>,
}

impl Connect {
    /// MQTT 3.1.1, a clean session, no keep alive, nothing else.
    pub(crate) fn new(id: impl AsRef<[u8]>) -> Self {
        Self {
            name: b"MQTT".to_vec(),
            level: 4,
            id: id.as_ref().to_vec(),
            clean: true,
            keep_alive_s: 0,
            will: None,
            user: None,
            password: None,
            flags: None,
        }
    }

    /// Another protocol name and level.
    pub(crate) fn protocol(mut self, name: impl AsRef<[u8]>, level: u8) -> Self {
        (self.name, self.level) = (name.as_ref().to_vec(), level);
        self
    }

    /// Clean session 0.
    pub(crate) fn persistent(mut self) -> Self {
        self.clean = false;
        self
    }

    /// Keep alive, seconds.
    pub(crate) fn keep_alive(mut self, seconds: u16) -> Self {
        self.keep_alive_s = seconds;
        self
    }

    /// A will: topic, payload, QoS and RETAIN of this message.
    pub(crate) fn will(mut self, will: Publish) -> Self {
        let flags = 0x04 | will.qos << 3 | u8::from(will.retain) << 5;
        self.will = Some((will, flags));
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
        let flags = u8::from(self.clean) << 1
            | self.will.as_ref().map_or(0, |(_, flags)| *flags)
            | u8::from(self.user.is_some()) << 7
            | u8::from(self.password.is_some()) << 6;
        let mut body = field(&self.name);
        body.extend([self.level, self.flags.unwrap_or(flags)]);
        body.extend(self.keep_alive_s.to_be_bytes());
        body.extend(field(&self.id));
        if let Some((will, _)) = &self.will {
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

/// PUBLISH (§3.3): made with `Publish::new("a", "1").qos(1, 7).retain()`, or read from the wire.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Publish {
    /// DUP.
    pub(crate) dup: bool,
    /// QoS; 3 may be put in.
    pub(crate) qos: u8,
    /// RETAIN.
    pub(crate) retain: bool,
    /// The topic; any bytes.
    pub(crate) topic: Vec<u8>,
    /// The packet identifier; written and read where `qos` is above 0.
    pub(crate) id: u16,
    /// The payload.
    pub(crate) payload: Vec<u8>,
}

impl Publish {
    /// QoS 0, nothing set.
    pub(crate) fn new(topic: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> Self {
        let (topic, payload) = (topic.as_ref().to_vec(), payload.as_ref().to_vec());
        Self { dup: false, qos: 0, retain: false, topic, id: 0, payload }
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
        body.extend(&self.payload);
        packet(first, body)
    }

    /// Reads a whole packet; none if it is no PUBLISH.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let first = *bytes.first().filter(|first| *first >> 4 == 3)?;
        let header = 1 + bytes[1..].iter().position(|byte| byte & 0x80 == 0)? + 1;
        let body = &bytes[header..];
        let topic_end = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
        let qos = first >> 1 & 3;
        let id_end = if qos > 0 { topic_end + 2 } else { topic_end };
        let id = if qos > 0 { u16::from_be_bytes([body[topic_end], body[topic_end + 1]]) } else { 0 };
        Some(Self {
            dup: first & 8 != 0,
            qos,
            retain: first & 1 != 0,
            topic: body[2..topic_end].to_vec(),
            id,
            payload: body[id_end..].to_vec(),
        })
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

impl std::fmt::Debug for Publish {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let topic = String::from_utf8_lossy(&self.topic);
        let payload = String::from_utf8_lossy(&self.payload);
        let short = |text: &str| text.chars().take(80).collect::<String>();
        f.debug_struct("Publish")
            .field("dup", &self.dup)
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("topic", &short(&topic))
            .field("id", &self.id)
            .field("payload", &short(&payload))
            .finish()
    }
}
