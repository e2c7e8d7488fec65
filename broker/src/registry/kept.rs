//! What the store keeps of sessions: that they are there, who has them, their wills; and what it gives back
//! at a start.

use super::{Claimed, DelayedWill, Owner, Parked, Registry, expires, will_gone};
use crate::auth::Identity;
use crate::delivery::SessionId;
use crate::mailbox::{Keeping, Mailbox};
use crate::session::{Resumed, Session};
use crate::store::{
    Change, EngineError, FlightState, Held, InFlight, KeptWill, Position, RecoveredSession, SessionRecord,
};
use bytestring::ByteString;
use sealmq_config::limits::QueueFull;
use sealmq_protocol::packet::Will;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

impl Registry {
    /// A connection has a session that the store keeps: with its will, and for how long it is kept after it.
    /// The position that a CONNACK has to wait for.
    pub(crate) fn keep_connected(
        &self,
        claimed: &Claimed,
        expiry: Option<Duration>,
        will: Option<(Identity, Will)>,
    ) -> Position {
        let session = &claimed.session;
        if !session.is_stored() {
            return Position::START;
        }
        let client_id = session.client_id().clone();
        let user = self.owners.get(&client_id).and_then(|owner| owner.user.clone());
        let will = will.map(|(identity, will)| KeptWill { due_ms: None, identity, will });
        let record =
            SessionRecord { session: session.id(), client_id, user, expiry, held: Held::Connected, will };
        self.store.append(&mut vec![Change::Session(Box::new(record))]).1
    }

    /// A claimed session, as the store has it.
    pub(crate) fn resume(&self, session: &mut Session) -> Result<(), EngineError> {
        let id = session.id();
        let in_flight = self.store.in_flight(id)?;
        // A message that was dropped meanwhile for newer ones is in flight no longer.
        let is_there =
            |flown: &InFlight| flown.flight.state == FlightState::Released || flown.waiting.is_some();
        let (there, dropped): (Vec<_>, Vec<_>) = in_flight.into_iter().partition(is_there);
        session.resume(there.into_iter().map(|InFlight { flight, waiting }| Resumed {
            sequence: flight.sequence,
            entry: waiting.map(|waiting| self.router.delivery(id, waiting)),
        }));
        session.kept_mut().finish_all(dropped.into_iter().map(|flown| flown.flight.sequence));
        Ok(())
    }

    /// What a session has to tell the store, and nobody waits for.
    pub(super) fn keep_changes(&self, session: &mut Session) {
        let (changes, _) = session.kept_mut().changes();
        self.store.append_lazily(changes);
    }

    /// No connection has a session any more.
    pub(super) fn keep_parked(&self, parked: &Parked, user: Option<ByteString>) {
        let session = &parked.session;
        if !session.is_stored() {
            return;
        }
        let record = SessionRecord {
            session: session.id(),
            client_id: session.client_id().clone(),
            user,
            expiry: session.expiry(),
            held: Held::Parked { since_ms: self.clock.unix_ms(parked.since) },
            will: parked.will.as_ref().map(|delayed| KeptWill {
                due_ms: Some(self.clock.unix_ms(delayed.due)),
                identity: delayed.identity.clone(),
                will: delayed.will.clone(),
            }),
        };
        self.store.append_lazily(&mut vec![Change::Session(Box::new(record))]);
    }

    /// A client has taken its will back: written now, so that no crash brings it out again. The position from
    /// which on none does.
    pub(crate) fn keep_will_gone(&self, session: &Session) -> Position {
        let position = self.store.append(&mut will_gone(session).into_iter().collect()).1;
        self.store.kick();
        position
    }

    /// The sessions that the store kept, at a start: nobody is connected.
    pub(crate) fn restore(&self, sessions: Vec<RecoveredSession>, half_ended: Vec<SessionId>, now: Instant) {
        for session in half_ended {
            self.end_later(session, ByteString::new());
        }
        for RecoveredSession { record, subscriptions, received } in sessions {
            let SessionRecord { session: id, client_id, user, expiry, held, will } = record;
            let (mut session, mailbox) = self.make(id, &client_id, Keeping::Store);
            session.resume_received(received);
            session.resume_expiry(expiry);
            session
                .resume_subscriptions(subscriptions.iter().map(|subscription| subscription.filter.clone()));
            self.router.subscribe(&mailbox, &subscriptions);
            // A connection that this process knows nothing of ended when the last one did; nobody knows when.
            let since = match held {
                Held::Connected => now,
                Held::Parked { since_ms } => self.clock.instant(since_ms),
            };
            let will = will.and_then(|kept| self.restored_will(kept, expiry, since));
            let parked = Parked { expires: expires(&session, since), session, since, will };
            self.persistent.fetch_add(1, Ordering::Relaxed);
            let owner = Owner { mailbox, user, ticket: 0, parked: None };
            self.owners.insert(client_id, owner);
            self.park(parked, held == Held::Connected);
        }
    }

    /// A will is due when it was; one of a connection that was there to the end, when its delay is over.
    fn restored_will(&self, kept: KeptWill, expiry: Option<Duration>, since: Instant) -> Option<DelayedWill> {
        let KeptWill { due_ms, identity, will } = kept;
        let delay = Duration::from_secs(will.delay_s.into());
        let delay = expiry.map_or(delay, |expiry| delay.min(expiry));
        let due = due_ms.map(|due_ms| self.clock.instant(due_ms)).or_else(|| since.checked_add(delay))?;
        Some(DelayedWill { due, identity, addr: None, will })
    }

    /// The mailboxes of all sessions that nobody has and of which the oldest messages are to be dropped.
    pub(crate) fn overdue(&self) -> Vec<Arc<Mailbox>> {
        if self.limits.queue_full != QueueFull::DropOldest {
            return Vec::new();
        }
        let owners = self.owners.iter().filter(|owner| owner.parked.is_some() && owner.mailbox.owes());
        owners.map(|owner| owner.mailbox.clone()).collect()
    }

    /// The mailboxes of all sessions.
    pub(crate) fn mailboxes(&self) -> Vec<(SessionId, Arc<Mailbox>)> {
        self.owners.iter().map(|owner| (owner.mailbox.session(), owner.mailbox.clone())).collect()
    }
}
