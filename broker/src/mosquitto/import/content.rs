//! All of a mosquitto file in memory, as mosquitto has it: messages by their number, and who has which.

use super::super::Reader;
use super::super::error::FileError;
use super::super::record::{Client, ClientMessage, MessageStore, Record, StoreId, Subscription};
use super::Left;
use crate::delivery::SessionId;
use bytestring::ByteString;
use std::collections::BTreeMap;
use std::io::Read;

/// See the module's description.
#[derive(Default)]
pub(super) struct Content {
    pub(super) messages: BTreeMap<StoreId, MessageStore>,
    pub(super) clients: Vec<Client>,
    /// Each client's queue, in its order; both ways.
    pub(super) queues: BTreeMap<ByteString, Vec<ClientMessage>>,
    /// What was received of a session that is taken, and not released.
    pub(super) inbound: Vec<(SessionId, ClientMessage)>,
    pub(super) subscriptions: Vec<Subscription>,
    pub(super) retained: Vec<StoreId>,
}

impl Content {
    /// Reads a file to its end. A record that makes no sense is left out; a file that does not, is an error.
    pub(super) fn read(
        source: impl Read,
        left: &mut Left,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Self, FileError> {
        let mut content = Self::default();
        for record in Reader::new(source)? {
            match record {
                Ok(record) => {
                    let bytes =
                        if let Record::MessageStore(message) = &record { message.payload.len() } else { 0 };
                    progress(bytes);
                    content.take(record);
                }
                Err(error @ FileError::Record { .. }) => left.damage(&error.to_string()),
                Err(error) => return Err(error),
            }
        }
        Ok(content)
    }

    fn take(&mut self, record: Record) {
        match record {
            Record::Cfg(_) => {}
            Record::MessageStore(message) => {
                self.messages.insert(message.store_id, message);
            }
            Record::Client(client) => self.clients.push(client),
            Record::ClientMessage(message) => {
                self.queues.entry(message.client_id.clone()).or_default().push(message);
            }
            Record::Subscription(subscription) => self.subscriptions.push(subscription),
            Record::Retained(retained) => self.retained.push(retained.store_id),
        }
    }
}
