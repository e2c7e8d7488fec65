//! Who was enrolled at run time, as a line of an export: the key is in it, a topic key's secret, too.

use super::super::super::layout;
use super::super::super::record::{decode_enrolled, encode_enrolled};
use super::Pair;
use super::fields::Base64;
use crate::auth::Fingerprint;
use crate::enrolment::{Entry, KeyBytes, Kind, Name, Record};
use bytes::Bytes;
use sealmq_config::encryption::Bind;
use sealmq_crypto::Validity;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// What is kept of a sender or a topic key.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EnrolledLine {
    kind: Kind,
    id: String,
    disabled: bool,
    changed_ms: u64,
    number: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    entry: Option<EntryFields>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    former_key: Option<Base64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryFields {
    /// A `COSE_Key`, or a topic key's JWK.
    key: Base64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bind: Option<String>,
    topics: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_before: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_after: Option<u64>,
}

impl EnrolledLine {
    pub(super) fn of(key: &[u8], value: Bytes) -> Option<Self> {
        let name = layout::parse_enrolled_key(key)?;
        let Record { name, is_disabled, changed_ms, number, entry, former } =
            decode_enrolled(name, value).ok()?;
        Some(Self {
            kind: name.kind,
            id: name.id.into(),
            disabled: is_disabled,
            changed_ms,
            number,
            entry: entry.as_ref().map(EntryFields::of),
            former_key: former.map(|former| Base64::from(&former.to_bytes()[..])),
        })
    }

    pub(super) fn encode(&self) -> Option<Pair> {
        let former = match &self.former_key {
            Some(former) => Some(Fingerprint::from_bytes(former.0.as_ref().try_into().ok()?)),
            None => None,
        };
        let record = Record {
            name: Name::new(self.kind, &self.id)?,
            is_disabled: self.disabled,
            changed_ms: self.changed_ms,
            number: self.number,
            entry: match &self.entry {
                Some(entry) => Some(entry.parsed()?),
                None => None,
            },
            former,
        };
        Some((layout::enrolled_key(&record.name), encode_enrolled(&record)))
    }
}

impl EntryFields {
    fn of(entry: &Entry) -> Self {
        Self {
            key: Base64::from(entry.key.0.as_slice()),
            bind: entry.bind.map(|bind| bind.name().to_owned()),
            topics: entry.topics.iter().map(|topic| topic.as_str().to_owned()).collect(),
            not_before: entry.validity.not_before,
            not_after: entry.validity.not_after,
        }
    }

    fn parsed(&self) -> Option<Entry> {
        let topics: Option<Vec<_>> = self.topics.iter().map(|topic| topic.parse().ok()).collect();
        Some(Entry {
            key: KeyBytes(Zeroizing::new(self.key.0.to_vec())),
            bind: match &self.bind {
                Some(name) => Some(Bind::from_name(name)?),
                None => None,
            },
            topics: topics?.into(),
            validity: Validity { not_before: self.not_before, not_after: self.not_after },
        })
    }
}
