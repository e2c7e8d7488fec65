//! The senders and topic keys of the configuration, as they were read at a start or a reload.

use super::{Kind, Name, Ready};
use sealmq_config::encryption::Bind;
use sealmq_crypto::Keyring;
use sealmq_protocol::TopicFilter;
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

/// Cheap to clone once it is put together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Configured {
    entries: Arc<BTreeMap<Name, ConfiguredEntry>>,
    /// Their names, as the configuration gives them.
    order: Arc<Vec<Name>>,
}

/// One of them.
#[derive(Debug, Clone)]
pub(crate) struct ConfiguredEntry {
    /// As a keyring has it.
    pub(crate) ready: Ready,
    /// Where it holds.
    pub(crate) topics: Arc<[TopicFilter]>,
}

impl Configured {
    /// Adds one; false if there is one of this name.
    pub(crate) fn add(&mut self, kind: Kind, id: &str, ready: Ready, topics: &[TopicFilter]) -> bool {
        let name = Name { kind, id: id.into() };
        let entry = ConfiguredEntry { ready, topics: topics.into() };
        let is_new = Arc::make_mut(&mut self.entries).insert(name.clone(), entry).is_none();
        if is_new {
            Arc::make_mut(&mut self.order).push(name);
        }
        is_new
    }

    /// The one of this name.
    pub(crate) fn entry(&self, name: &Name) -> Option<&ConfiguredEntry> {
        self.entries.get(name)
    }

    /// All, in the order of their names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Name, &ConfiguredEntry)> {
        self.entries.iter()
    }

    /// All, in the order of the configuration, in which a keyring gets them: of keys that are equally good,
    /// the last counts.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (&Name, &ConfiguredEntry)> {
        self.order.iter().filter_map(|name| Some((name, self.entries.get(name)?)))
    }

    /// Those behind a name.
    pub(super) fn behind(
        &self,
        after: Bound<&Name>,
    ) -> impl Iterator<Item = (&Name, &ConfiguredEntry)> + use<'_> {
        self.entries.range::<Name, _>((after, Bound::Unbounded))
    }

    /// Those of them that are bound to a client, by id.
    pub(crate) fn binds(&self) -> HashMap<Vec<u8>, Bind> {
        self.entries.values().filter_map(|entry| entry.ready.bind()).collect()
    }

    /// A keyring of them alone.
    pub(crate) fn keyring(&self) -> Keyring {
        let mut keyring = Keyring::default();
        self.in_order().for_each(|(_, entry)| entry.ready.put_into(&mut keyring));
        keyring
    }
}
