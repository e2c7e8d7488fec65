//! The records of a mosquitto file, and how each is read from the body of its chunk: a C struct with its
//! padding, then the strings whose lengths it gives, then MQTT 5 properties as they stand in a PUBLISH.
//!
//! What comes out is checked as far as one record alone can be. That the message or client that it names is
//! in the file as well is for the reader of the whole to see.

use super::error::Flaw;
use super::fields::{Fields, Short, text};
use super::{Kind, Version};
use bytes::Bytes;
use bytestring::ByteString;
use sealmq_protocol::codec::decode_publish_properties;
use sealmq_protocol::packet::{
    MessageProperties, PacketId, RetainHandling, SubscriptionId, SubscriptionIds, SubscriptionOptions,
};
use sealmq_protocol::{Qos, SubscriptionFilter, TopicName};
use std::fmt;

/// The one size of store ids that there is.
const ID_BYTES: u8 = 8;

/// One chunk of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    /// The first one.
    Cfg(Cfg),
    /// A message, once for all who are owed it.
    MessageStore(MessageStore),
    /// A session.
    Client(Client),
    /// Stands behind its client, in the order of its queue.
    ClientMessage(ClientMessage),
    /// A subscription of a session.
    Subscription(Subscription),
    /// A message is the retained one of its topic.
    Retained(Retained),
}

/// The number that a message has in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StoreId(pub(crate) u64);

/// About the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cfg {
    /// The id that was given last.
    pub(crate) last_store_id: StoreId,
    /// Whether the broker wrote it as it stopped, and not in between.
    pub(crate) shutdown: bool,
}

/// A message. There is one for QoS 2 that was received and not released, too.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct MessageStore {
    /// Its number.
    pub(crate) store_id: StoreId,
    /// Where it went.
    pub(crate) topic: TopicName,
    /// What it says.
    pub(crate) payload: Bytes,
    /// Of MQTT 5, if there are any.
    pub(crate) properties: Option<Box<MessageProperties>>,
    /// As it was published.
    pub(crate) qos: Qos,
    /// As it was published.
    pub(crate) retain: bool,
    /// When it expires, in seconds since 1970.
    pub(crate) expiry_time_s: Option<i64>,
    /// Who published it; nobody, if the broker itself.
    pub(crate) source_client_id: Option<ByteString>,
    /// As whom.
    pub(crate) source_username: Option<ByteString>,
    /// The packet id of the PUBLISH; none with QoS 0.
    pub(crate) source_packet_id: Option<PacketId>,
    /// At which listener; 0 if unknown.
    pub(crate) source_port: u16,
}

impl fmt::Debug for MessageStore {
    /// Without the payload, which is in no log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageStore")
            .field("store_id", &self.store_id)
            .field("topic", &self.topic)
            .field("payload_bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}

/// A session that outlives its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_field_names,
    reason = "the standard calls it a client id, and so do the other records"
)]
pub(crate) struct Client {
    /// Whose.
    pub(crate) client_id: ByteString,
    /// As whom he was connected. **Not to be trusted**: mosquitto 2.0 (seen in 2.0.11) writes the name of
    /// the client before for one who has none, in full or followed by whatever lay in memory. The latter is
    /// told from a name, and is `None`; the former cannot be, and once mosquitto has read its own file both
    /// are names. In version 5 always `None`.
    pub(crate) username: Option<ByteString>,
    /// When the session ends, in seconds since 1970, unless he comes back. `None` if never; and in mosquitto
    /// 2.0 also while he is connected, when the interval has not begun.
    pub(crate) session_expiry_time_s: Option<i64>,
    /// Session Expiry Interval. A session of MQTT 3.1.1 has `u32::MAX`, which is for ever; one with 0 ends
    /// with its connection, and is in the file if he was connected.
    pub(crate) session_expiry_s: u32,
    /// The packet id that was given last.
    pub(crate) last_packet_id: u16,
    /// At which listener; 0 if unknown, as in version 5. As little to be trusted as the user name.
    pub(crate) listener_port: u16,
}

/// A message on its way to or from one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientMessage {
    /// Which client.
    pub(crate) client_id: ByteString,
    /// Which message; one that expired may be missing.
    pub(crate) store_id: StoreId,
    /// None with QoS 0.
    pub(crate) packet_id: Option<PacketId>,
    /// Of this delivery.
    pub(crate) qos: Qos,
    /// RETAIN of this delivery.
    pub(crate) retain: bool,
    /// Whether it was sent before.
    pub(crate) dup: bool,
    /// To or from.
    pub(crate) direction: Direction,
    /// How far it has come.
    pub(crate) state: MessageState,
    /// Of the subscription that led to it.
    pub(crate) subscription_ids: SubscriptionIds,
}

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the client: QoS 2 that is not released.
    In,
    /// To the client.
    Out,
}

/// How far a message has come, in mosquitto's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MessageState {
    /// Should not be.
    Invalid,
    /// To be sent.
    PublishQos0,
    /// To be sent.
    PublishQos1,
    /// Sent.
    WaitForPubAck,
    /// To be sent.
    PublishQos2,
    /// Sent.
    WaitForPubRec,
    /// PUBREL is to be sent again.
    ResendPubRel,
    /// Received, not released.
    WaitForPubRel,
    /// PUBCOMP is to be sent again.
    ResendPubComp,
    /// PUBREL is sent.
    WaitForPubComp,
    /// PUBREC is to be sent.
    SendPubRec,
    /// The window is full, or nobody is there: to be sent later.
    Queued,
}

/// A subscription. **Mosquitto writes none that is shared** (seen in 2.0.11): such are lost, though not what
/// is queued by them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscription {
    /// Whose.
    pub(crate) client_id: ByteString,
    /// To what.
    pub(crate) filter: SubscriptionFilter,
    /// How. Only mosquitto 2.1 writes the retain handling.
    pub(crate) options: SubscriptionOptions,
    /// Subscription Identifier.
    pub(crate) id: Option<SubscriptionId>,
}

/// A retained message. It says no more than which one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Retained {
    /// Which message; one that expired may be missing.
    pub(crate) store_id: StoreId,
}

/// Why a chunk is no record.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// The parts do not add up to the whole.
    Length,
    /// Ids of another size.
    IdBytes(u8),
    /// A value is wrong.
    Flaw(Flaw),
}

impl From<Short> for Unreadable {
    fn from(_: Short) -> Self {
        Self::Length
    }
}

impl From<Flaw> for Unreadable {
    fn from(flaw: Flaw) -> Self {
        Self::Flaw(flaw)
    }
}

/// The record that the body of a chunk is.
pub(super) fn parse(kind: Kind, version: Version, body: Bytes) -> Result<Record, Unreadable> {
    let mut fields = Fields::new(body);
    let record = match kind {
        Kind::Cfg => Record::Cfg(cfg(&mut fields)?),
        Kind::MessageStore => Record::MessageStore(message_store(&mut fields)?),
        Kind::ClientMessage => Record::ClientMessage(client_message(&mut fields)?),
        Kind::Retained => Record::Retained(Retained { store_id: StoreId(fields.id()?) }),
        Kind::Subscription => Record::Subscription(subscription(&mut fields)?),
        Kind::Client => Record::Client(client(&mut fields, version)?),
    };
    if fields.is_empty() { Ok(record) } else { Err(Unreadable::Length) }
}

fn cfg(fields: &mut Fields) -> Result<Cfg, Unreadable> {
    let last_store_id = StoreId(fields.id()?);
    let shutdown = fields.byte()? != 0;
    let id_bytes = fields.byte()?;
    fields.padding(6)?;
    if id_bytes != ID_BYTES {
        return Err(Unreadable::IdBytes(id_bytes));
    }
    Ok(Cfg { last_store_id, shutdown })
}

fn message_store(fields: &mut Fields) -> Result<MessageStore, Unreadable> {
    let store_id = StoreId(fields.id()?);
    let expiry_time_s = fields.time()?;
    let payload_bytes = fields.long_number()?;
    let source_packet_id = PacketId::new(fields.number()?);
    let source_client_id_bytes = fields.number()?;
    let source_username_bytes = fields.number()?;
    let topic_bytes = fields.number()?;
    let source_port = fields.number()?;
    let qos = fields.byte()?;
    let retain = fields.byte()? != 0;

    let source_client_id = text(&fields.bytes(source_client_id_bytes.into())?);
    let source_username = text(&fields.bytes(source_username_bytes.into())?);
    let topic = fields.bytes(topic_bytes.into())?;
    let payload = fields.bytes(usize::try_from(payload_bytes).map_err(|_| Unreadable::Length)?)?;
    let (properties, _) = properties(&fields.rest())?;
    Ok(MessageStore {
        store_id,
        topic: TopicName::from_bytes(topic).map_err(Flaw::Topic)?,
        payload,
        properties,
        qos: qos_of(qos)?,
        retain,
        expiry_time_s,
        source_client_id,
        source_username,
        source_packet_id,
        source_port,
    })
}

fn client(fields: &mut Fields, version: Version) -> Result<Client, Unreadable> {
    let session_expiry_time_s = fields.time()?;
    let session_expiry_s = fields.long_number()?;
    let last_packet_id = fields.number()?;
    let client_id_bytes = fields.number()?;
    let (listener_port, username_bytes) = match version {
        Version::Five => (0, 0),
        Version::Six => {
            let ends = (fields.number()?, fields.number()?);
            fields.padding(4)?;
            ends
        }
    };
    let client_id = fields.bytes(client_id_bytes.into())?;
    let username = text(&fields.bytes(username_bytes.into())?);
    Ok(Client {
        client_id: client_id_of(&client_id)?,
        username,
        session_expiry_time_s,
        session_expiry_s,
        last_packet_id,
        listener_port,
    })
}

fn client_message(fields: &mut Fields) -> Result<ClientMessage, Unreadable> {
    let store_id = StoreId(fields.id()?);
    let packet_id = PacketId::new(fields.number()?);
    let client_id_bytes = fields.number()?;
    let qos = fields.byte()?;
    let state = fields.byte()?;
    let retain_dup = fields.byte()?;
    let direction = fields.byte()?;
    let client_id = fields.bytes(client_id_bytes.into())?;
    let (_, subscription_ids) = properties(&fields.rest())?;
    Ok(ClientMessage {
        client_id: client_id_of(&client_id)?,
        store_id,
        packet_id,
        qos: qos_of(qos)?,
        retain: retain_dup & 0xF0 != 0,
        dup: retain_dup & 0x0F != 0,
        direction: match direction {
            0 => Direction::In,
            1 => Direction::Out,
            other => return Err(Flaw::Direction(other).into()),
        },
        state: state_of(state).ok_or(Flaw::State(state))?,
        subscription_ids,
    })
}

fn state_of(number: u8) -> Option<MessageState> {
    Some(match number {
        0 => MessageState::Invalid,
        1 => MessageState::PublishQos0,
        2 => MessageState::PublishQos1,
        3 => MessageState::WaitForPubAck,
        4 => MessageState::PublishQos2,
        5 => MessageState::WaitForPubRec,
        6 => MessageState::ResendPubRel,
        7 => MessageState::WaitForPubRel,
        8 => MessageState::ResendPubComp,
        9 => MessageState::WaitForPubComp,
        10 => MessageState::SendPubRec,
        11 => MessageState::Queued,
        _ => return None,
    })
}

fn subscription(fields: &mut Fields) -> Result<Subscription, Unreadable> {
    let id = fields.long_number()?;
    let client_id_bytes = fields.number()?;
    let filter_bytes = fields.number()?;
    let qos = fields.byte()?;
    let options = fields.byte()?;
    fields.padding(2)?;
    let client_id = fields.bytes(client_id_bytes.into())?;
    let filter = fields.bytes(filter_bytes.into())?;
    let filter = std::str::from_utf8(&filter).map_err(|_| Flaw::FilterText)?;
    Ok(Subscription {
        client_id: client_id_of(&client_id)?,
        filter: filter.try_into().map_err(Flaw::Filter)?,
        options: options_of(qos_of(qos)?, options)?,
        id: match id {
            0 => None,
            id => Some(SubscriptionId::new(id).ok_or(Flaw::SubscriptionId(id))?),
        },
    })
}

/// The bits stand as in a SUBSCRIBE of MQTT 5 (§3.8.3.1), those of the QoS apart.
fn options_of(qos: Qos, bits: u8) -> Result<SubscriptionOptions, Flaw> {
    let retain_handling = match bits >> 4 {
        0 => RetainHandling::Send,
        1 => RetainHandling::SendIfNew,
        2 => RetainHandling::DoNotSend,
        _ => return Err(Flaw::Options(bits)),
    };
    if bits & 0b11 != 0 {
        return Err(Flaw::Options(bits));
    }
    let (no_local, retain_as_published) = (bits & 0b100 != 0, bits & 0b1000 != 0);
    Ok(SubscriptionOptions { qos, no_local, retain_as_published, retain_handling })
}

fn qos_of(number: u8) -> Result<Qos, Flaw> {
    Qos::from_bits(number).ok_or(Flaw::Qos(number))
}

fn client_id_of(bytes: &[u8]) -> Result<ByteString, Flaw> {
    text(bytes).ok_or(Flaw::ClientId)
}

/// A section of properties, where there is one.
fn properties(section: &Bytes) -> Result<(Option<Box<MessageProperties>>, SubscriptionIds), Flaw> {
    if section.is_empty() {
        return Ok(<_>::default());
    }
    decode_publish_properties(section).map_err(Flaw::Properties)
}
