//! A sender or a topic key that is enrolled while the broker runs: its name, its key, and what else is kept
//! of it.
//!
//! In come the parts, as the store or the admin socket has them; out goes an entry of a keyring. Always holds:
//! a [`Name`] can stand in an envelope and in the configuration; nothing here prints a key.

use crate::auth::Fingerprint;
use bytestring::ByteString;
use sealmq_config::encryption::Bind;
use sealmq_crypto::{
    KeyError, Keyring, OpenedCount, Sender, SenderPublicKey, TopicKey, TopicKeyEntry, Topics, Validity,
};
use sealmq_protocol::{TopicFilter, TopicName};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// No id is longer, here and in the configuration.
const ID_BYTES_MAX: usize = 255;

/// What is enrolled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub(crate) enum Kind {
    /// Somebody who stamps.
    Sender = 1,
    /// A key that opens.
    TopicKey = 2,
}

impl Kind {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Sender, Self::TopicKey];

    /// Its name, in words.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::TopicKey => "topic key",
        }
    }
}

/// Which sender or topic key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name {
    /// Of what kind.
    pub(crate) kind: Kind,
    /// The id by which envelopes name it.
    pub(crate) id: ByteString,
}

impl Name {
    /// One that the configuration could have, too.
    pub(crate) fn new(kind: Kind, id: &str) -> Option<Self> {
        (!id.is_empty() && id.len() <= ID_BYTES_MAX).then(|| Self { kind, id: id.into() })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} \"{}\"", self.kind.name(), self.id.escape_debug())
    }
}

/// Bytes of a key, which are wiped and not shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct KeyBytes(pub(crate) Zeroizing<Vec<u8>>);

impl fmt::Debug for KeyBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyBytes")
    }
}

/// What is enrolled under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Of a sender the public half, as a `COSE_Key`; of a topic key what opens, as a JWK, which says of a master
    /// what its keys are for.
    pub(crate) key: KeyBytes,
    /// Of a sender: on whose connection its stamps count alone.
    pub(crate) bind: Option<Bind>,
    /// Where it holds; at least one.
    pub(crate) topics: Arc<[TopicFilter]>,
    /// And when.
    pub(crate) validity: Validity,
}

/// An entry as a keyring has it.
#[derive(Debug, Clone)]
pub(crate) enum Ready {
    /// A sender, and on whose connection its stamps count alone.
    Sender(Arc<Sender>, Option<Bind>),
    /// A topic key.
    TopicKey(Arc<TopicKeyEntry>),
}

impl Ready {
    /// What tells a sender's key from another; a topic key is not told apart.
    pub(crate) fn print(&self) -> Option<Fingerprint> {
        match self {
            // Without the id that its file may have given it: the same key in another file is the same.
            Self::Sender(sender, _) => Some(Fingerprint::of_key(&sender.key.clone().with_id([]))),
            Self::TopicKey(_) => None,
        }
    }

    /// Puts it into a keyring.
    pub(crate) fn put_into(&self, keyring: &mut Keyring) {
        match self {
            Self::Sender(sender, _) => drop(keyring.put_sender(sender.clone())),
            Self::TopicKey(entry) => drop(keyring.put_topic_key(entry.clone())),
        }
    }

    /// Whether both are of one key.
    pub(crate) fn is_same_key(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Sender(..), Self::Sender(..)) => self.print() == other.print(),
            (Self::TopicKey(one), Self::TopicKey(other)) => one.key == other.key,
            (Self::Sender(..), Self::TopicKey(_)) | (Self::TopicKey(_), Self::Sender(..)) => false,
        }
    }

    /// A sender's id and what he is bound to, if he is.
    pub(super) fn bind(&self) -> Option<(Vec<u8>, Bind)> {
        match self {
            Self::Sender(sender, bind) => Some((sender.id.clone(), (*bind)?)),
            Self::TopicKey(_) => None,
        }
    }

    /// Goes on counting what a key opens where its last entry was; another key begins anew.
    pub(crate) fn go_on_from(&self, before: Option<&Self>) {
        if let (Self::TopicKey(entry), Some(Self::TopicKey(before))) = (self, before)
            && entry.key == before.key
        {
            entry.go_on_from(before.opened().saturating_sub(entry.opened()));
        }
    }

    /// When it holds.
    pub(crate) fn validity(&self) -> Validity {
        match self {
            Self::Sender(sender, _) => sender.validity,
            Self::TopicKey(entry) => entry.validity,
        }
    }
}

impl Entry {
    /// An entry of a key in either form, whose bytes are then always the same for the same key.
    pub(crate) fn new(
        name: &Name,
        key: &[u8],
        bind: Option<Bind>,
        (topics, validity): (Arc<[TopicFilter]>, Validity),
    ) -> Result<(Self, Ready), KeyError> {
        let id = &*name.id;
        let key = match name.kind {
            Kind::Sender => Zeroizing::new(SenderPublicKey::from_bytes(key)?.with_id(id).to_cose_key()),
            Kind::TopicKey => {
                let key = TopicKey::any_from_bytes(key)?.with_id(id).to_jwk()?;
                Zeroizing::new(key.as_bytes().to_vec())
            }
        };
        let entry = Self { key: KeyBytes(key), bind, topics, validity };
        // What cannot be read again is not kept.
        let ready = entry.read(name)?;
        Ok((entry, ready))
    }

    /// Its bytes, about.
    pub(crate) fn size(&self) -> usize {
        self.key.0.len() + size_of(&self.topics)
    }

    /// Reads the key.
    fn read(&self, name: &Name) -> Result<Ready, KeyError> {
        let (id, topics) = (name.id.as_bytes().to_vec(), topics(self.topics.clone()));
        let validity = self.validity;
        match name.kind {
            Kind::Sender => {
                let key = SenderPublicKey::from_bytes(&self.key.0)?;
                Ok(Ready::Sender(Arc::new(Sender { id, key, topics, validity }), self.bind))
            }
            Kind::TopicKey => {
                let (key, opened) = (TopicKey::any_from_bytes(&self.key.0)?, OpenedCount::default());
                Ok(Ready::TopicKey(TopicKeyEntry { id, key, topics, validity, opened }.shared()))
            }
        }
    }
}

/// Bytes of topic filters in memory, about.
pub(super) fn size_of(topics: &[TopicFilter]) -> usize {
    topics.iter().map(|topic| 32 + topic.as_str().len()).sum()
}

/// Topic filters as a set of topics.
#[derive(Debug)]
struct Filters(Arc<[TopicFilter]>);

/// The topics that these filters match.
pub(crate) fn topics(filters: Arc<[TopicFilter]>) -> Arc<dyn Topics> {
    Arc::new(Filters(filters))
}

impl Topics for Filters {
    fn contains(&self, topic: &str) -> bool {
        TopicName::try_from(topic).is_ok_and(|topic| self.0.iter().any(|filter| filter.matches(&topic)))
    }
}

/// What is kept of a sender or a topic key beside the configuration. One that says nothing is not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// Of which.
    pub(crate) name: Name,
    /// Whether it was disabled, wherever it is from.
    pub(crate) is_disabled: bool,
    /// When this was last changed, milliseconds since 1970.
    pub(crate) changed_ms: u64,
    /// Of what was enrolled: how many were before it. Of keys that are equally good, the last counts.
    pub(crate) number: u64,
    /// What was enrolled at run time.
    pub(crate) entry: Option<Entry>,
    /// Of a sender that is not enrolled: the key that he had. What was taken of him is remembered for it.
    pub(crate) former: Option<Fingerprint>,
}

impl Record {
    /// One that says nothing yet.
    pub(crate) fn new(name: Name) -> Self {
        Self { name, is_disabled: false, changed_ms: 0, number: 0, entry: None, former: None }
    }

    /// Whether it says nothing.
    pub(crate) fn is_empty(&self) -> bool {
        !self.is_disabled && self.entry.is_none() && self.former.is_none()
    }

    /// Whether all that it says is what was there once.
    pub(crate) fn is_of_the_past(&self) -> bool {
        !self.is_disabled && self.entry.is_none()
    }

    /// Reads the key, if there is one.
    pub(crate) fn ready(&self) -> Result<Option<Ready>, KeyError> {
        self.entry.as_ref().map(|entry| entry.read(&self.name)).transpose()
    }

    /// Its bytes besides what every record has, about.
    pub(crate) fn size(&self) -> usize {
        self.name.id.len() + self.entry.as_ref().map_or(0, Entry::size)
    }
}
