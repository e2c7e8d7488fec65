//! What is kept of a sender or a topic key beside the configuration: the values of `enrolled`. The secret of
//! a topic key is in it.

use super::fields::{Malformed, Reader, Writer};
use crate::auth::Fingerprint;
use crate::enrolment::{Entry, KeyBytes, Name, Record};
use bytes::Bytes;
use sealmq_config::encryption::Bind;
use sealmq_crypto::Validity;
use sealmq_protocol::TopicFilter;
use zeroize::Zeroizing;

const VERSION: u8 = 1;
/// What a record has, bit by bit.
const DISABLED: u8 = 1;
const ENTRY: u8 = 2;
const FORMER: u8 = 4;
/// Whether an entry has a first second, and a last one.
const NOT_BEFORE: u8 = 1;
const NOT_AFTER: u8 = 2;

/// What a sender may be bound to.
const BINDS: [Option<Bind>; 3] = [None, Some(Bind::ClientId), Some(Bind::User)];

const fn bind_number(bind: Option<Bind>) -> u8 {
    match bind {
        None => 0,
        Some(Bind::ClientId) => 1,
        Some(Bind::User) => 2,
    }
}

/// A record's bytes; its name is the key.
pub(crate) fn encode_enrolled(record: &Record) -> Vec<u8> {
    let Record { name: _, is_disabled, changed_ms, number, entry, former } = record;
    let mut writer = Writer::new(VERSION, 64 + record.size());
    let flag = |is_there: bool, flag: u8| if is_there { flag } else { 0 };
    let has = flag(*is_disabled, DISABLED) | flag(entry.is_some(), ENTRY) | flag(former.is_some(), FORMER);
    writer.u8(has).u64(*changed_ms).u64(*number);
    if let Some(Entry { key, bind, topics, validity: Validity { not_before, not_after } }) = entry {
        writer.u8(bind_number(*bind)).bytes(&key.0);
        writer.u8(flag(not_before.is_some(), NOT_BEFORE) | flag(not_after.is_some(), NOT_AFTER));
        writer.u64(not_before.unwrap_or(0)).u64(not_after.unwrap_or(0));
        // They came in one request, which is far shorter than this many topics.
        writer.u32(u32::try_from(topics.len()).unwrap_or(u32::MAX));
        for topic in topics.iter() {
            writer.bytes(topic.as_str().as_bytes());
        }
    }
    if let Some(former) = former {
        writer.raw(&former.to_bytes());
    }
    writer.finish()
}

/// The record of these bytes.
pub(crate) fn decode_enrolled(name: Name, record: Bytes) -> Result<Record, Malformed> {
    let mut reader = Reader::new(record, VERSION)?;
    let has = reader.u8()?;
    if has & !(DISABLED | ENTRY | FORMER) != 0 {
        return Err(Malformed);
    }
    let (changed_ms, number) = (reader.u64()?, reader.u64()?);
    let entry = if has & ENTRY == 0 { None } else { Some(decode_entry(&mut reader)?) };
    let former = if has & FORMER == 0 {
        None
    } else {
        Some(Fingerprint::from_bytes(reader.raw(32)?.as_ref().try_into().map_err(|_| Malformed)?))
    };
    reader.end()?;
    let record = Record { name, is_disabled: has & DISABLED != 0, changed_ms, number, entry, former };
    if record.is_empty() { Err(Malformed) } else { Ok(record) }
}

fn decode_entry(reader: &mut Reader) -> Result<Entry, Malformed> {
    let number = reader.u8()?;
    let bind = BINDS.into_iter().find(|bind| bind_number(*bind) == number).ok_or(Malformed)?;
    let key = KeyBytes(Zeroizing::new(reader.bytes()?.to_vec()));
    let ends = reader.u8()?;
    if ends & !(NOT_BEFORE | NOT_AFTER) != 0 {
        return Err(Malformed);
    }
    let mut end = |flag: u8| match (reader.u64()?, ends & flag) {
        (0, 0) => Ok(None),
        (_, 0) => Err(Malformed),
        (second, _) => Ok(Some(second)),
    };
    let validity = Validity { not_before: end(NOT_BEFORE)?, not_after: end(NOT_AFTER)? };
    let mut topics = Vec::new();
    for _ in 0..reader.u32()? {
        topics.push(reader.text()?.parse::<TopicFilter>().map_err(|_| Malformed)?);
    }
    if topics.is_empty() {
        return Err(Malformed);
    }
    Ok(Entry { key, bind, topics: topics.into(), validity })
}
