//! What waits for a session, and what is in flight to it: the values of `queue` and `inflight`.

use super::fields::{Malformed, Reader, Writer};
use crate::delivery::{Place, Terms};
use bytes::Bytes;
use sealmq_protocol::packet::SubscriptionId;
use sealmq_protocol::{Qos, SubscriptionFilter};

const VERSION: u8 = 1;

const QOS: u8 = 0b0000_0011;
const RETAIN: u8 = 0b0000_0100;
const SHARED_BODY: u8 = 0b0000_1000;
const IDS: u8 = 0b0001_0000;
const GROUP: u8 = 0b0010_0000;

/// A message that waits for a session, as it stands in the session's queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// With which it is delivered.
    pub(crate) qos: Qos,
    /// RETAIN as the subscriber sees it.
    pub(crate) retain: bool,
    /// Of the subscriptions by which it comes.
    pub(crate) subscription_ids: Vec<SubscriptionId>,
    /// The subscription of the group that shares it.
    pub(crate) group: Option<SubscriptionFilter>,
    /// What bounds are counted in, bytes.
    pub(crate) size: u32,
    /// The message.
    pub(crate) body: Body,
}

/// Where the message of an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    /// In the entry.
    Inline(Bytes),
    /// In `message`, under the position of the entry: others have it too.
    Shared,
}

impl Entry {
    /// An entry's bytes, for these terms.
    pub(crate) fn encode(terms: &Terms, size: usize, body: Option<&[u8]>) -> Vec<u8> {
        let ids = terms.via.as_ref().map_or(&[][..], |via| &via.subscription_ids);
        let group = terms.group().map(|group| group.name());
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        write((terms.qos, terms.retain), ids, group, size, body)
    }

    /// Its bytes.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let body = match &self.body {
            Body::Inline(body) => Some(&body[..]),
            Body::Shared => None,
        };
        write((self.qos, self.retain), &self.subscription_ids, self.group.as_ref(), self.size, body)
    }

    /// The size that the entry of these bytes says, of its message.
    pub(crate) fn size_of(record: &[u8]) -> usize {
        let size = record.get(2..6).and_then(|size| size.try_into().ok()).map(u32::from_be_bytes);
        size.map_or(0, |size| usize::try_from(size).unwrap_or(usize::MAX))
    }

    /// The entry of these bytes, of which it keeps slices.
    pub(crate) fn decode(record: Bytes) -> Result<Self, Malformed> {
        let whole = record.len();
        let mut reader = Reader::new(record, VERSION)?;
        let flags = reader.u8()?;
        let has = |flag| flags & flag != 0;
        let size = reader.u32()?;
        let mut read = 6;
        let mut subscription_ids = Vec::new();
        if has(IDS) {
            let count = reader.u32()?;
            read += 4;
            for _ in 0..count {
                subscription_ids.push(SubscriptionId::new(reader.u32()?).ok_or(Malformed)?);
                read += 4;
            }
        }
        let mut group = None;
        if has(GROUP) {
            let name = reader.text()?;
            read += 4 + name.len();
            group = Some(SubscriptionFilter::try_from(&*name).map_err(|_| Malformed)?);
        }
        let body = if has(SHARED_BODY) {
            reader.end()?;
            Body::Shared
        } else {
            Body::Inline(reader.raw(whole - read)?)
        };
        let qos = Qos::from_bits(flags & QOS).ok_or(Malformed)?;
        Ok(Self { qos, retain: has(RETAIN), subscription_ids, group, size, body })
    }
}

fn write(
    (qos, retain): (Qos, bool),
    ids: &[SubscriptionId],
    group: Option<&SubscriptionFilter>,
    size: u32,
    body: Option<&[u8]>,
) -> Vec<u8> {
    let mut writer = Writer::new(VERSION, 16 + 4 * ids.len() + body.map_or(0, <[u8]>::len));
    let flag = |is_set, flag| if is_set { flag } else { 0 };
    writer.u8(qos.bits()
        | flag(retain, RETAIN)
        | flag(body.is_none(), SHARED_BODY)
        | flag(!ids.is_empty(), IDS)
        | flag(group.is_some(), GROUP));
    writer.u32(size);
    if !ids.is_empty() {
        writer.u32(u32::try_from(ids.len()).unwrap_or(u32::MAX));
        for id in ids {
            writer.u32(id.get());
        }
    }
    if let Some(group) = group {
        writer.bytes(group.to_string().as_bytes());
    }
    writer.raw(body.unwrap_or_default());
    writer.finish()
}

/// A message that was given a packet id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flight {
    /// Counts what the session was ever sent with a packet id; says the id.
    pub(crate) sequence: u64,
    /// Where it stands in the queue, or stood.
    pub(crate) place: Place,
    /// How far it is.
    pub(crate) state: FlightState,
}

/// How far a message in flight is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FlightState {
    /// PUBACK or PUBREC is awaited.
    Published,
    /// PUBREC has come, PUBCOMP is awaited.
    Released,
}

impl Flight {
    /// Its bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(VERSION, 17);
        writer.u64(self.sequence).u64(self.place.to_bits());
        writer.u8(match self.state {
            FlightState::Published => 0,
            FlightState::Released => 1,
        });
        writer.finish()
    }

    /// Of these bytes.
    pub(crate) fn decode(record: Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(record, VERSION)?;
        let (sequence, place) = (reader.u64()?, Place::from_bits(reader.u64()?).ok_or(Malformed)?);
        let state = match reader.u8()? {
            0 => FlightState::Published,
            1 => FlightState::Released,
            _ => return Err(Malformed),
        };
        reader.end()?;
        Ok(Self { sequence, place, state })
    }
}
