//! Who is enrolled, and which key opens what: key ids in, keys out.
//!
//! Built whole and never changed; whoever enrols somebody builds another, of entries that both share. Several
//! keys of a topic are valid at once, so that a rotation needs no pause, since an envelope names its key.
//! Always holds: an id is one sender's, and one topic key's. Which topics a key is for is asked of
//! [`Topics`], since filters are MQTT's business.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::error::KeyringError;
use crate::key::{SenderPublicKey, TopicKey, TopicPublicKey};

/// A set of topic names.
pub trait Topics: Send + Sync + fmt::Debug {
    /// Whether the topic is one of them.
    fn contains(&self, topic: &str) -> bool;
}

/// When a key may be used, both ends included; an end that is missing is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Validity {
    /// The first second, since 1970.
    pub not_before: Option<u64>,
    /// The last second, since 1970.
    pub not_after: Option<u64>,
}

impl Validity {
    /// Whether this second is inside.
    pub fn contains(self, now: u64) -> bool {
        self.not_before.is_none_or(|first| first <= now) && self.not_after.is_none_or(|last| now <= last)
    }
}

/// Somebody who may stamp envelopes.
#[derive(Debug, Clone)]
pub struct Sender {
    /// The id by which envelopes name him; the key's own may differ and is not looked at.
    pub id: Vec<u8>,
    /// The key that verifies his stamps.
    pub key: SenderPublicKey,
    /// Where he may publish.
    pub topics: Arc<dyn Topics>,
    /// When he may publish.
    pub validity: Validity,
}

/// A key that opens contents.
#[derive(Debug)]
pub struct TopicKeyEntry {
    /// The id by which envelopes name it; the key is given this id, whatever its own was.
    pub id: Vec<u8>,
    /// The key.
    pub key: TopicKey,
    /// The topics it is for.
    pub topics: Arc<dyn Topics>,
    /// When it may be used.
    pub validity: Validity,
    /// How much it has opened; zero for a new one.
    pub opened: OpenedCount,
}

/// Counts what a key has opened: how much has been sealed with it, as far as can be seen from here.
#[derive(Debug, Default)]
pub struct OpenedCount(AtomicU64);

impl TopicKeyEntry {
    /// Counts a content that the key has opened.
    pub fn count_opened(&self) {
        self.opened.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many contents it has opened.
    pub fn opened(&self) -> u64 {
        self.opened.0.load(Ordering::Relaxed)
    }

    /// Adds what was counted before this entry was made.
    pub fn go_on_from(&self, opened: u64) {
        self.opened.0.fetch_add(opened, Ordering::Relaxed);
    }

    /// The entry in a form that several keyrings can share. Gives the key the entry's id.
    pub fn shared(mut self) -> Arc<Self> {
        self.key = self.key.with_id(self.id.clone());
        Arc::new(self)
    }
}

/// All senders and topic keys.
#[derive(Debug, Default)]
pub struct Keyring {
    senders: HashMap<Bytes, Arc<Sender>>,
    topic_keys: HashMap<Bytes, Arc<TopicKeyEntry>>,
    /// The ids of the topic keys, as they were given.
    order: Vec<Bytes>,
}

impl Keyring {
    /// Builds a keyring of ids that differ.
    pub fn new(
        senders: impl IntoIterator<Item = Sender>,
        topic_keys: impl IntoIterator<Item = TopicKeyEntry>,
    ) -> Result<Self, KeyringError> {
        let mut keyring = Self::default();
        for sender in senders {
            if let Some(other) = keyring.put_sender(Arc::new(sender)) {
                return Err(KeyringError::DuplicateSender(printable(&other.id)));
            }
        }
        for entry in topic_keys {
            if let Some(other) = keyring.put_topic_key(entry.shared()) {
                return Err(KeyringError::DuplicateTopicKey(printable(&other.id)));
            }
        }
        Ok(keyring)
    }

    /// Puts a sender in the place of the one that had his id, who comes back.
    pub fn put_sender(&mut self, sender: Arc<Sender>) -> Option<Arc<Sender>> {
        self.senders.insert(Bytes::copy_from_slice(&sender.id), sender)
    }

    /// The same with a topic key, to which [`TopicKeyEntry::shared`] has given its id: it is the last that was
    /// given now.
    pub fn put_topic_key(&mut self, entry: Arc<TopicKeyEntry>) -> Option<Arc<TopicKeyEntry>> {
        let id = Bytes::copy_from_slice(&entry.id);
        let before = self.topic_keys.insert(id.clone(), entry);
        if before.is_some() {
            self.order.retain(|other| *other != id);
        }
        self.order.push(id);
        before
    }

    /// The sender of this id, valid at present or not.
    pub fn sender(&self, id: &[u8]) -> Option<&Sender> {
        self.senders.get(id).map(Arc::as_ref)
    }

    /// Whether nobody is enrolled.
    pub fn has_no_senders(&self) -> bool {
        self.senders.is_empty()
    }

    /// The topic key of this id, valid at present or not.
    pub fn topic_key(&self, id: &[u8]) -> Option<&TopicKeyEntry> {
        self.topic_keys.get(id).map(Arc::as_ref)
    }

    /// The key with which to seal for a topic at present, where there is one that anybody may know: of the
    /// asymmetric ones that are valid, that which became so last; of several, the last that was given.
    pub fn current_public(&self, topic: &str, now: u64) -> Option<TopicPublicKey> {
        let entries = self.order.iter().filter_map(|id| self.topic_keys.get(id));
        let valid = entries.filter(|entry| {
            entry.key.is_asymmetric() && entry.validity.contains(now) && entry.topics.contains(topic)
        });
        valid.max_by_key(|entry| entry.validity.not_before)?.key.public(topic)
    }

    /// Whether a key that anybody may know has become valid, or invalid, after one second and until another.
    pub fn turns_within(&self, after: u64, until: u64) -> bool {
        let within = |second: u64| after < second && second <= until;
        let entries = self.order.iter().filter_map(|id| self.topic_keys.get(id));
        entries.filter(|entry| entry.key.is_asymmetric()).any(|entry| {
            let Validity { not_before, not_after } = entry.validity;
            not_before.is_some_and(within) || not_after.is_some_and(|last| within(last.saturating_add(1)))
        })
    }

    /// All senders, in no order, since there can be very many.
    pub fn senders(&self) -> impl Iterator<Item = &Sender> {
        self.senders.values().map(Arc::as_ref)
    }

    /// All topic keys, in the order of their ids.
    pub fn topic_keys(&self) -> Vec<&TopicKeyEntry> {
        let mut topic_keys: Vec<_> = self.topic_keys.values().map(Arc::as_ref).collect();
        topic_keys.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        topic_keys
    }

    /// The sender of this id, and the id in a form that is cheap to pass on.
    pub(crate) fn enrolled(&self, id: &[u8]) -> Option<(&Bytes, &Sender)> {
        self.senders.get_key_value(id).map(|(id, sender)| (id, sender.as_ref()))
    }
}

fn printable(id: &[u8]) -> String {
    String::from_utf8_lossy(id).into_owned()
}
