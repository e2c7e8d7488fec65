//! What a persistent session is, apart from its queue: the values of `session` and `subscription`.

use super::fields::{Malformed, Reader, Writer};
use super::message::{decode_properties, encode_properties};
use crate::auth::{Fingerprint, Identity};
use crate::delivery::{SessionId, Subscription};
use bytes::Bytes;
use bytestring::ByteString;
use sealmq_protocol::packet::{RetainHandling, SubscriptionId, SubscriptionOptions, Will};
use sealmq_protocol::{Qos, SubscriptionFilter, TopicName};
use std::time::Duration;

const VERSION: u8 = 1;
/// A session expiry that means never.
const NEVER: u64 = u64::MAX;

/// A persistent session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SessionRecord {
    /// Its number, never used twice.
    pub(crate) session: SessionId,
    /// Whose it is.
    pub(crate) client_id: ByteString,
    /// The user who began it.
    pub(crate) user: Option<ByteString>,
    /// How long it is kept after a connection; none: for ever.
    pub(crate) expiry: Option<Duration>,
    /// Whether a connection has it.
    pub(crate) held: Held,
    /// The will of the connection that has it, or one that is delayed.
    pub(crate) will: Option<KeptWill>,
}

/// Whether a connection has a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// One has.
    Connected,
    /// None, since this time, milliseconds since 1970.
    Parked {
        /// When its last connection ended.
        since_ms: u64,
    },
}

/// A will that must outlive the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeptWill {
    /// When it is to be published, milliseconds since 1970; none while the client is connected.
    pub(crate) due_ms: Option<u64>,
    /// As whom.
    pub(crate) identity: Identity,
    /// What.
    pub(crate) will: Will,
}

impl SessionRecord {
    /// What of it is as long as a client made it, bytes, about.
    pub(crate) fn bytes(&self) -> usize {
        let will = self.will.as_ref().map_or(0, |kept| {
            let properties = kept.will.properties.as_ref().map_or(0, |properties| properties.size());
            kept.will.topic.as_str().len() + kept.will.payload.len() + properties
        });
        self.client_id.len() + self.user.as_ref().map_or(0, |user| user.len()) + will
    }

    /// Its bytes; the client id is the key.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(VERSION, 64);
        writer.u64(self.session.0);
        optional_text(&mut writer, self.user.as_ref());
        writer.u64(self.expiry.map_or(NEVER, |expiry| expiry.as_secs()));
        match self.held {
            Held::Connected => writer.u8(0),
            Held::Parked { since_ms } => writer.u8(1).u64(since_ms),
        };
        match &self.will {
            None => {
                writer.u8(0);
            }
            Some(will) => {
                writer.u8(1);
                will.encode(&mut writer);
            }
        }
        writer.finish()
    }

    /// Of these bytes.
    pub(crate) fn decode(client_id: ByteString, record: Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(record, VERSION)?;
        let session = SessionId(reader.u64()?);
        let user = read_optional_text(&mut reader)?;
        let expiry = Some(reader.u64()?).filter(|expiry| *expiry != NEVER).map(Duration::from_secs);
        let held = match reader.u8()? {
            0 => Held::Connected,
            1 => Held::Parked { since_ms: reader.u64()? },
            _ => return Err(Malformed),
        };
        let will = is_there(&mut reader)?.then(|| KeptWill::decode(&mut reader)).transpose()?;
        reader.end()?;
        Ok(Self { session, client_id, user, expiry, held, will })
    }
}

impl KeptWill {
    fn encode(&self, writer: &mut Writer) {
        writer.u64(self.due_ms.unwrap_or(0));
        match &self.identity {
            Identity::Claimed(user) => {
                writer.u8(0);
                optional_text(writer, user.as_ref());
            }
            Identity::User(user, fingerprint) => {
                writer.u8(1).bytes(user.as_bytes()).raw(&fingerprint.to_bytes());
            }
            Identity::Sender(user, fingerprint) => {
                writer.u8(2).bytes(user.as_bytes()).raw(&fingerprint.to_bytes());
            }
        }
        let Will { topic, payload, qos, retain, delay_s, message_expiry_s, properties } = &self.will;
        writer.bytes(topic.as_str().as_bytes()).bytes(payload).u8(qos.bits()).u8((*retain).into());
        writer.u32(*delay_s).u8(message_expiry_s.is_some().into()).u32(message_expiry_s.unwrap_or(0));
        writer.u8(properties.is_some().into());
        if let Some(properties) = properties {
            encode_properties(writer, properties);
        }
    }

    fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let due_ms = Some(reader.u64()?).filter(|due| *due > 0);
        let kind = reader.u8()?;
        let identity = if kind == 0 {
            Identity::Claimed(read_optional_text(reader)?)
        } else {
            let user = reader.text()?;
            let fingerprint = reader.raw(32)?.as_ref().try_into().map_err(|_| Malformed)?;
            let fingerprint = Fingerprint::from_bytes(fingerprint);
            match kind {
                1 => Identity::User(user, fingerprint),
                2 => Identity::Sender(user, fingerprint),
                _ => return Err(Malformed),
            }
        };
        let topic = TopicName::from_bytes(reader.bytes()?).map_err(|_| Malformed)?;
        let payload = reader.bytes()?;
        let qos = Qos::from_bits(reader.u8()?).ok_or(Malformed)?;
        let retain = is_there(reader)?;
        let delay_s = reader.u32()?;
        let expires = is_there(reader)?;
        let message_expiry_s = Some(reader.u32()?).filter(|_| expires);
        let properties = is_there(reader)?.then(|| decode_properties(reader)).transpose()?.map(Box::new);
        let will = Will { topic, payload, qos, retain, delay_s, message_expiry_s, properties };
        Ok(Self { due_ms, identity, will })
    }
}

/// A subscription's bytes; session and filter are the key.
pub(crate) fn encode_subscription(subscription: &Subscription) -> Vec<u8> {
    let Subscription { filter: _, options, id, is_new: _ } = subscription;
    let mut writer = Writer::new(VERSION, 8);
    writer.u8(options.qos.bits()).u8(options.no_local.into()).u8(options.retain_as_published.into());
    writer.u8(options.retain_handling as u8).u32(id.map_or(0, SubscriptionId::get));
    writer.finish()
}

/// The subscription of these bytes.
pub(crate) fn decode_subscription(
    filter: SubscriptionFilter,
    record: Bytes,
) -> Result<Subscription, Malformed> {
    let mut reader = Reader::new(record, VERSION)?;
    let options = SubscriptionOptions {
        qos: Qos::from_bits(reader.u8()?).ok_or(Malformed)?,
        no_local: is_there(&mut reader)?,
        retain_as_published: is_there(&mut reader)?,
        retain_handling: match reader.u8()? {
            0 => RetainHandling::Send,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => return Err(Malformed),
        },
    };
    let id = SubscriptionId::new(reader.u32()?);
    reader.end()?;
    Ok(Subscription { filter, options, id, is_new: false })
}

fn is_there(reader: &mut Reader) -> Result<bool, Malformed> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Malformed),
    }
}

fn optional_text(writer: &mut Writer, text: Option<&ByteString>) {
    writer.u8(text.is_some().into());
    if let Some(text) = text {
        writer.bytes(text.as_bytes());
    }
}

fn read_optional_text(reader: &mut Reader) -> Result<Option<ByteString>, Malformed> {
    is_there(reader)?.then(|| reader.text()).transpose()
}
