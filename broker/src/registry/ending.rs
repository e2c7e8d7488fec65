//! The end of sessions whose queue the store has. What waits there of shared subscriptions goes to others
//! (MQTT 5 §4.8.2), and for that has to be read: all of it, also what was given to the session a moment before.
//! So those that share are ended by a task of their own, one after the other, once the store shows everything.

use super::{Among, Registry};
use crate::delivery::{Delivery, Place, SessionId};
use crate::session::Session;
use crate::store::{Change, EngineError, InFlight, Position};
use bytestring::ByteString;
use parking_lot::Mutex;
use rustc_hash::FxHashSet;
use sealmq_protocol::Qos;
use std::collections::VecDeque;
use tokio::sync::Notify;

/// Sessions that nobody can have any more, and that are to be ended in the store. They are no more than there
/// were sessions.
#[derive(Default)]
pub(super) struct Endings {
    waiting: Mutex<VecDeque<(SessionId, ByteString)>>,
    moved: Notify,
}

impl Registry {
    /// A session ends whose queue the store has; nothing is routed to it any more.
    pub(super) fn discard_stored(&self, session: &Session, in_memory: VecDeque<Delivery>, shares: bool) {
        let (id, client_id) = (session.id(), session.client_id().clone());
        if shares {
            // What has no place is of QoS 0, and nowhere else.
            let unkept = in_memory.into_iter().filter(|delivery| delivery.place.is_none());
            self.hand_over(id, unkept.collect(), Among::OthersThan(id));
            self.end_later(id, client_id);
        } else {
            self.end_now(id, client_id);
        }
    }

    pub(super) fn end_later(&self, session: SessionId, client_id: ByteString) {
        self.endings.waiting.lock().push_back((session, client_id));
        self.endings.moved.notify_one();
    }

    fn end_now(&self, session: SessionId, client_id: ByteString) {
        self.store.append_lazily(&mut vec![Change::SessionEnded { session, client_id }]);
    }

    /// Ends sessions as they come.
    pub(crate) async fn end_sessions(&self) {
        loop {
            self.end_waiting_sessions().await;
            self.endings.moved.notified().await;
        }
    }

    /// Ends the sessions that wait for it. One that is broken off begins anew, and hands over what is left.
    pub(crate) async fn end_waiting_sessions(&self) {
        loop {
            let Some((session, client_id)) = self.endings.waiting.lock().front().cloned() else { return };
            self.store.applied(self.store.newest()).await;
            if let Err(error) = self.hand_over_stored(session).await {
                tracing::error!("what waited for a session that has ended was not handed over: {error}");
            }
            self.end_now(session, client_id);
            self.endings.waiting.lock().pop_front();
        }
    }

    /// Walks over the queue of a session that has ended, a page at a time: what it hands over is written before
    /// there is more, and others get their turn. A QoS 2 exchange that was begun ends with its session
    /// ([MQTT-4.8.2-4]).
    async fn hand_over_stored(&self, id: SessionId) -> Result<(), EngineError> {
        let begun = self.store.in_flight(id)?.into_iter().filter_map(|InFlight { flight, waiting }| {
            waiting.filter(|waiting| waiting.qos == Qos::ExactlyOnce).map(|_| flight.place)
        });
        let begun: FxHashSet<Place> = begun.collect();
        let mut from = Position(1);
        loop {
            self.store.room().await;
            tokio::task::yield_now().await;
            let page = self.store.page(id, from)?;
            let left = page.waiting.into_iter().filter(|waiting| !begun.contains(&waiting.place));
            let mut orphans: VecDeque<_> = left.map(|waiting| self.router.delivery(id, waiting)).collect();
            orphans.retain(|delivery| delivery.terms.group().is_some());
            self.hand_over(id, orphans, Among::OthersThan(id));
            if page.is_last {
                return Ok(());
            }
            from = Position(page.through.0 + 1);
        }
    }
}
