//! What a mosquitto file means for our store: its records come in, and changes go out, as if the sessions
//! had been ours. The file is read to its end before anything is written.
//!
//! What mosquitto holds and the file does not say, or says wrongly, is not guessed: shared subscriptions are
//! not in it, and the names of users cannot be trusted ([`Users`] decides). What is left out is counted.

mod content;
mod queues;
#[cfg(test)]
mod tests;

use super::error::FileError;
use super::record::{Client, MessageStore};
use crate::delivery::{SessionId, Subscription};
use crate::egress::Egress;
use crate::ingress::message::{Kept, Message};
use crate::now::Clock;
use crate::store::layout;
use crate::store::offline::filling::{FillError, Happening};
use crate::store::{Change, EngineError, Held, SessionRecord};
use bytestring::ByteString;
use content::Content;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

/// The expiry interval that means never.
const NEVER: u32 = u32::MAX;
/// What the broker says of itself; ours says other things.
const SYS: &str = "$SYS/";

/// Whose a session is: another user gets a new one, and what waited is gone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Users {
    /// Of the client ids that are named here.
    pub(crate) by_client_id: BTreeMap<ByteString, ByteString>,
    /// Of all others.
    pub(crate) others: Others,
}

/// Whose the sessions are of which nobody says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Others {
    /// Of clients that connect without a user name.
    #[default]
    Nobody,
    /// Of the user whose name is the client id.
    ClientId,
    /// Of the user whom the file names, if it names one.
    Recorded,
}

impl Users {
    fn of(&self, client: &Client) -> Option<ByteString> {
        let named = self.by_client_id.get(&client.client_id).cloned();
        named.or_else(|| match self.others {
            Others::Nobody => None,
            Others::ClientId => Some(client.client_id.clone()),
            Others::Recorded => client.username.clone(),
        })
    }
}

/// How a file is taken.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// Whose the sessions are.
    pub(crate) users: Users,
    /// No session is kept for longer after its connection.
    pub(crate) expiry_max: Option<Duration>,
    /// Whether messages of QoS 0 in queues are taken.
    pub(crate) qos0: bool,
}

/// Why a file was not taken, or not to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MoveError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The store.
    #[error(transparent)]
    Fill(#[from] FillError),
}

impl From<EngineError> for MoveError {
    fn from(error: EngineError) -> Self {
        Self::Fill(error.into())
    }
}

/// What was taken, and what was left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Moved {
    pub(crate) sessions: u64,
    /// Of these, such as only clients without a user name can take up.
    pub(crate) sessions_of_nobody: u64,
    pub(crate) subscriptions: u64,
    /// Messages that wait for a session, once for each.
    pub(crate) queued: u64,
    /// Of these, such as were sent and not acknowledged.
    pub(crate) in_flight: u64,
    /// QoS 2 of which PUBREC came and PUBCOMP did not.
    pub(crate) released: u64,
    /// QoS 2 that was received and not released.
    pub(crate) inbound: u64,
    pub(crate) retained: u64,
    pub(crate) left: Left,
}

/// What was left out, by reason.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Left {
    /// Sessions whose time is over.
    pub(crate) sessions_expired: u64,
    /// Sessions that end with their connection.
    pub(crate) sessions_short: u64,
    /// What belongs to a session that was not taken, or is not in the file.
    pub(crate) of_no_session: u64,
    /// Messages whose time is over.
    pub(crate) expired: u64,
    /// Messages of mosquitto about itself.
    pub(crate) sys: u64,
    /// Messages of QoS 0 in queues.
    pub(crate) qos0: u64,
    /// Records that make no sense, and why the first of them do not.
    pub(crate) damaged: u64,
    pub(crate) flaws: Vec<String>,
}

/// A file on its way into a store.
struct Moving<'a> {
    content: Content,
    rules: &'a Rules,
    clock: Clock,
    now_ms: u64,
    to: Happening<'a>,
    /// Those that were taken.
    sessions: BTreeMap<ByteString, SessionId>,
    subscriptions: BTreeMap<SessionId, Vec<Subscription>>,
    moved: Moved,
}

/// Takes all of a file into an empty store. `now_ms` is the time at hand, milliseconds since 1970.
pub(crate) fn import(
    source: impl Read,
    engine: &dyn crate::store::Engine,
    rules: &Rules,
    (clock, now_ms): (Clock, u64),
    progress: &mut dyn FnMut(usize),
) -> Result<Moved, MoveError> {
    let mut moved = Moved::default();
    let content = Content::read(source, &mut moved.left, progress)?;
    let to = Happening::begin(engine, clock)?;
    let (sessions, subscriptions) = <_>::default();
    let mut moving = Moving { content, rules, clock, now_ms, to, sessions, subscriptions, moved };
    moving.take_sessions()?;
    moving.take_subscriptions()?;
    moving.take_retained()?;
    moving.take_queues()?;
    moving.take_inbound()?;
    moving.to.finish()?;
    Ok(moving.moved)
}

impl Moving<'_> {
    fn take_sessions(&mut self) -> Result<(), EngineError> {
        for client in std::mem::take(&mut self.content.clients) {
            if self.sessions.contains_key(&client.client_id) {
                self.moved.left.damage("a client is in the file twice");
                continue;
            }
            let Some((expiry, since_ms)) = self.lifetime(&client) else { continue };
            let user = self.rules.users.of(&client);
            self.moved.sessions += 1;
            self.moved.sessions_of_nobody += u64::from(user.is_none());
            let (session, client_id) = (SessionId(self.moved.sessions), client.client_id.clone());
            let held = Held::Parked { since_ms };
            let record = SessionRecord { session, client_id, user, expiry, held, will: None };
            self.to.take(Change::Session(Box::new(record)))?;
            self.sessions.insert(client.client_id, session);
        }
        Ok(())
    }

    /// For how long a session is kept, and since when; none if it is over.
    fn lifetime(&mut self, client: &Client) -> Option<(Option<Duration>, u64)> {
        let left = &mut self.moved.left;
        let kept = match client.session_expiry_s {
            0 => {
                left.sessions_short += 1;
                return None;
            }
            NEVER => None,
            seconds => Some(Duration::from_secs(seconds.into())),
        };
        let now_ms = self.now_ms;
        let since_ms = match (kept, client.session_expiry_time_s) {
            (Some(kept), Some(end_s)) => {
                let until_ms = u64::try_from(end_s).unwrap_or(0).saturating_mul(1_000);
                if until_ms <= now_ms {
                    left.sessions_expired += 1;
                    return None;
                }
                until_ms.saturating_sub(kept.as_secs().saturating_mul(1_000)).min(now_ms)
            }
            // It was connected when the file was written, or never ends: nobody knows since when.
            _ => now_ms,
        };
        let expiry = match (kept, self.rules.expiry_max) {
            (Some(kept), Some(max)) => Some(kept.min(max)),
            (kept, max) => kept.or(max),
        };
        Some((expiry, since_ms))
    }

    fn take_subscriptions(&mut self) -> Result<(), EngineError> {
        let mut seen = BTreeSet::new();
        for subscription in std::mem::take(&mut self.content.subscriptions) {
            let Some(session) = self.sessions.get(&subscription.client_id).copied() else {
                self.moved.left.of_no_session += 1;
                continue;
            };
            if !seen.insert((session, subscription.filter.to_string())) {
                self.moved.left.damage("a subscription is in the file twice");
                continue;
            }
            if !layout::has_key(&subscription.filter) {
                self.moved.left.damage("the filter of a subscription is too long to be kept");
                continue;
            }
            let (filter, options, id) = (subscription.filter, subscription.options, subscription.id);
            let subscription = Subscription { filter, options, id, is_new: false };
            self.subscriptions.entry(session).or_default().push(subscription.clone());
            self.to.take(Change::Subscribed { session, subscription: Box::new(subscription) })?;
            self.moved.subscriptions += 1;
        }
        Ok(())
    }

    fn take_retained(&mut self) -> Result<(), EngineError> {
        for store_id in std::mem::take(&mut self.content.retained) {
            // One that had expired when the file was written is not in it.
            let Some(store) = self.content.messages.get(&store_id) else {
                self.moved.left.expired += 1;
                continue;
            };
            if store.topic.as_str().starts_with(SYS) {
                self.moved.left.sys += 1;
            } else if let Some(message) = self.message(store) {
                self.retain(message)?;
            } else {
                self.moved.left.expired += 1;
            }
        }
        Ok(())
    }

    fn retain(&mut self, message: Arc<Message>) -> Result<(), EngineError> {
        let topic = message.topic().clone();
        self.moved.retained += 1;
        // MQTT: an empty one clears the topic ([MQTT-3.3.1-6]).
        let message = Some(message).filter(|message| !message.payload().is_empty());
        self.to.take(Change::Retained { topic, message })
    }

    /// A message as ours; none if its time is over.
    fn message(&self, store: &MessageStore) -> Option<Arc<Message>> {
        let expires_ms = store.expiry_time_s.map(|at| u64::try_from(at).unwrap_or(0).saturating_mul(1_000));
        if expires_ms.is_some_and(|at| at <= self.now_ms) {
            return None;
        }
        Some(Arc::new(Message::of_store(Kept {
            topic: store.topic.clone(),
            payload: store.payload.clone(),
            qos: store.qos,
            retain: store.retain,
            egress: Egress::Any,
            expires: expires_ms.map(|at| self.clock.instant(at)),
            properties: store.properties.clone(),
            publisher: store.source_client_id.clone().filter(|_| store.retain),
        })))
    }
}

impl Left {
    /// Flaws that are told.
    const TOLD: usize = 5;

    fn damage(&mut self, flaw: &str) {
        self.damaged += 1;
        if self.flaws.len() < Self::TOLD {
            self.flaws.push(flaw.to_owned());
        }
    }
}
