//! Which connection owns a client id. Owns every session that no connection holds, and knows the
//! mailbox of every one that a connection does.
//!
//! A session has one owner at any time: a connection that has claimed it, or this registry, which
//! has it parked. A new connection tells the old one to let go and waits for that; meanwhile
//! messages go on into the mailbox, which is the same before and after. Each claim has a ticket, so
//! that of several connections that want the same client id the newest wins. What the store keeps of
//! sessions is written here (`kept.rs`), and read back at a start.

mod ending;
mod kept;
#[cfg(test)]
mod tests;

use crate::auth::Identity;
use crate::delivery::{Delivery, SessionId};
use crate::mailbox::{Bounds, Command, Keeping, Mailbox};
use crate::now::Clock;
use crate::router::{Among, Router, Takers, Turn};
use crate::session::Session;
use crate::store::{Change, Store};
use bytestring::ByteString;
use dashmap::{DashMap, Entry};
use ending::Endings;
use parking_lot::Mutex;
use sealmq_config::limits::Limits;
use sealmq_config::mqtt::Mqtt;
use sealmq_protocol::packet::Will;
use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// See the module's description.
pub(crate) struct Registry {
    owners: DashMap<ByteString, Owner>,
    tickets: AtomicU64,
    sessions: AtomicU64,
    /// Persistent sessions, parked or connected.
    persistent: AtomicUsize,
    /// When something is due of a parked session, its will or its end, soonest first.
    due: Mutex<BTreeSet<(Instant, ByteString)>>,
    due_moved: Notify,
    endings: Endings,
    limits: Limits,
    offer: Arc<Mqtt>,
    bounds: Arc<Bounds>,
    router: Arc<Router>,
    store: Arc<Store>,
    clock: Clock,
}

/// Who has the session of a client id.
struct Owner {
    mailbox: Arc<Mailbox>,
    /// The user name with which the session was begun.
    user: Option<ByteString>,
    /// The newest claim, of whoever holds the session or waits for it.
    ticket: u64,
    parked: Option<Parked>,
}

struct Parked {
    session: Box<Session>,
    since: Instant,
    expires: Option<Instant>,
    /// A delayed will.
    will: Option<DelayedWill>,
}

/// A will that waits for its client to come back.
pub(crate) struct DelayedWill {
    /// When it is to be published.
    pub(crate) due: Instant,
    /// As whom.
    pub(crate) identity: Identity,
    /// From where its client had come, if this process has seen it.
    pub(crate) addr: Option<SocketAddr>,
    /// What.
    pub(crate) will: Will,
}

impl Parked {
    /// When something is due of it next.
    fn due(&self) -> Option<Instant> {
        let will = self.will.as_ref().map(|will| will.due);
        [will, self.expires].into_iter().flatten().min()
    }
}

/// A will whose time has come while its client was away.
pub(crate) struct DueWill {
    /// Whose session it belongs to.
    pub(crate) session: SessionId,
    /// Whose it is.
    pub(crate) client_id: ByteString,
    /// As whom it is published.
    pub(crate) identity: Identity,
    /// From where its client had come, if this process has seen it.
    pub(crate) addr: Option<SocketAddr>,
    /// What to publish.
    pub(crate) will: Will,
    /// That the session has it no longer, where the store keeps that: kept together with what is published.
    pub(crate) change: Option<Change>,
}

/// A session that a connection has claimed.
pub(crate) struct Claimed {
    /// The session, new or as it was left.
    pub(crate) session: Box<Session>,
    /// Its mailbox.
    pub(crate) mailbox: Arc<Mailbox>,
    /// Whether it was kept from before ([MQTT-3.2.2-2]).
    pub(crate) present: bool,
    /// The will of a connection that is over: of a session that was ended for this one ([MQTT-3.1.3-9]), or
    /// one whose time had come before its client did. To be published first of all.
    pub(crate) due_will: Option<DueWill>,
}

/// What a client asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim<'a> {
    /// Whose session.
    pub(crate) client_id: &'a ByteString,
    /// For which user.
    pub(crate) user: Option<&'a ByteString>,
    /// Whether what was kept is discarded ([MQTT-3.1.2-4]).
    pub(crate) clean_start: bool,
    /// Whether a new session is to outlive its connection.
    pub(crate) persistent: bool,
}

/// Why a session cannot be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClaimError {
    /// `limits.sessions_max` is reached.
    Full,
    /// A newer connection has claimed the client id.
    Superseded,
}

enum Attempt {
    Claimed(Box<Claimed>, Option<(Box<Session>, VecDeque<Delivery>)>),
    Busy(Arc<Mailbox>),
}

impl Registry {
    /// Nobody is known yet.
    pub(crate) fn new(
        limits: Limits,
        offer: Arc<Mqtt>,
        bounds: Arc<Bounds>,
        router: Arc<Router>,
        store: Arc<Store>,
        next_session: u64,
    ) -> Self {
        Self {
            owners: DashMap::new(),
            tickets: AtomicU64::new(0),
            sessions: AtomicU64::new(next_session),
            persistent: AtomicUsize::new(0),
            due: Mutex::default(),
            due_moved: Notify::new(),
            endings: Endings::default(),
            limits,
            offer,
            bounds,
            router,
            store,
            clock: Clock::read(),
        }
    }

    /// Takes a client id's session for a new connection; whoever has it is disconnected
    /// ([MQTT-3.1.4-3]).
    ///
    /// A session belongs to the user who began it: another one gets a new session, and what was kept
    /// for the first is discarded.
    pub(crate) async fn claim(&self, claim: Claim<'_>) -> Result<Claimed, ClaimError> {
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        loop {
            let busy = match self.try_claim(claim, ticket)? {
                Attempt::Claimed(claimed, discarded) => {
                    if let Some((session, orphans)) = discarded {
                        self.discard(&session, orphans);
                    }
                    return Ok(*claimed);
                }
                Attempt::Busy(mailbox) => mailbox,
            };
            // Listen first, then look again: it may have been released since.
            let mut released = pin!(busy.released.notified());
            released.as_mut().enable();
            let still_busy = self.owners.get(claim.client_id).is_some_and(|owner| {
                Arc::ptr_eq(&owner.mailbox, &busy) && owner.parked.is_none() && owner.ticket == ticket
            });
            if still_busy {
                released.await;
            }
        }
    }

    fn try_claim(&self, claim: Claim<'_>, ticket: u64) -> Result<Attempt, ClaimError> {
        let Claim { client_id, user, clean_start, persistent } = claim;
        match self.owners.entry(client_id.clone()) {
            Entry::Vacant(vacant) => {
                if persistent {
                    self.count_persistent()?;
                }
                let claimed = self.begin(client_id, persistent);
                let mailbox = claimed.mailbox.clone();
                vacant.insert(Owner { mailbox, user: user.cloned(), ticket, parked: None });
                Ok(Attempt::Claimed(Box::new(claimed), None))
            }
            Entry::Occupied(mut occupied) => {
                let owner = occupied.get_mut();
                if ticket < owner.ticket {
                    return Err(ClaimError::Superseded);
                }
                owner.ticket = ticket;
                let Some(mut parked) = owner.parked.take() else {
                    // Told while nobody else can claim, so that the word reaches whom it is meant for.
                    owner.mailbox.tell(Command::TakenOver);
                    return Ok(Attempt::Busy(owner.mailbox.clone()));
                };
                // What the last connection was told too late is not meant for the next one.
                owner.mailbox.forget_command();
                if let Some(due) = parked.due() {
                    self.due.lock().remove(&(due, client_id.clone()));
                }
                // Its time may be over, and whoever ends it not come to it yet.
                let is_over = parked.expires.is_some_and(|expires| expires <= Instant::now());
                if !clean_start && !is_over && owner.user.as_ref() == user {
                    // Where its client is back in time, a delayed will goes with the old connection.
                    let late = parked.will.take_if(|will| will.due <= Instant::now());
                    let due_will = due_will(&parked.session, late);
                    let (session, mailbox) = (parked.session, owner.mailbox.clone());
                    let claimed = Claimed { session, mailbox, present: true, due_will };
                    return Ok(Attempt::Claimed(Box::new(claimed), None));
                }
                let orphans = owner.mailbox.close();
                let due_will = due_will(&parked.session, parked.will);
                // A new persistent session takes the place of the old one among those that may be.
                if !persistent {
                    self.persistent.fetch_sub(1, Ordering::Relaxed);
                }
                let claimed = Claimed { due_will, ..self.begin(client_id, persistent) };
                owner.mailbox = claimed.mailbox.clone();
                owner.user = user.cloned();
                Ok(Attempt::Claimed(Box::new(claimed), Some((parked.session, orphans))))
            }
        }
    }

    /// One persistent session more, within the bound.
    fn count_persistent(&self) -> Result<(), ClaimError> {
        if self.persistent.fetch_add(1, Ordering::Relaxed) >= self.limits.sessions_max {
            self.persistent.fetch_sub(1, Ordering::Relaxed);
            return Err(ClaimError::Full);
        }
        Ok(())
    }

    /// A new session, with its mailbox.
    fn begin(&self, client_id: &ByteString, persistent: bool) -> Claimed {
        let id = SessionId(self.sessions.fetch_add(1, Ordering::Relaxed));
        let keeping = match persistent {
            false => Keeping::Nothing,
            true if self.store.keeps() => Keeping::Store,
            true => Keeping::Memory,
        };
        let (session, mailbox) = self.make(id, client_id, keeping);
        Claimed { session, mailbox, present: false, due_will: None }
    }

    fn make(&self, id: SessionId, client_id: &ByteString, keeping: Keeping) -> (Box<Session>, Arc<Mailbox>) {
        let offer = self.offer.clone();
        let session = Box::new(Session::new(id, client_id.clone(), keeping, &self.limits, offer));
        (session, Mailbox::new(id, client_id.clone(), keeping, self.bounds.clone()))
    }

    /// A connection lets go of its session: one that is to be kept is parked, with a will for later;
    /// another ends here.
    pub(crate) fn release(
        &self,
        mut session: Box<Session>,
        mailbox: &Arc<Mailbox>,
        will: Option<DelayedWill>,
        now: Instant,
    ) {
        let parked = session.detach();
        let (id, client_id) = (session.id(), mailbox.client_id().clone());
        let is_kept = session.persistent() && session.expiry() != Some(Duration::ZERO);
        if is_kept {
            let among = Among::ConnectedOtherThan(id);
            let mut takers = Takers::among(among);
            if session.is_stored() {
                let orphans = mailbox.park_stored(parked, |delivery| takers.has(delivery));
                self.keep_changes(&mut session);
                let (messages, bytes) = in_store(&orphans);
                // What nobody takes stays where it is.
                let left = in_store(&self.hand_over(id, orphans, among));
                mailbox.removed(messages - left.0, bytes - left.1);
            } else {
                let orphans = mailbox.park(parked.unsent, |delivery| takers.has(delivery));
                let left = self.hand_over(id, orphans, among);
                mailbox.take_back(left);
            }
            self.park(Parked { expires: expires(&session, now), session, since: now, will }, true);
        } else {
            let waiting = mailbox.close();
            let orphans = parked.unsent.into_iter().chain(waiting).collect();
            if session.persistent() {
                self.persistent.fetch_sub(1, Ordering::Relaxed);
            }
            self.keep_changes(&mut session);
            self.owners.remove(&client_id);
            self.discard(&session, orphans);
        }
        mailbox.released.notify_waiters();
    }

    /// Nobody has a session any more; whether the store is to be told.
    fn park(&self, parked: Parked, is_news: bool) {
        let (due, client_id) = (parked.due(), parked.session.client_id().clone());
        if let Some(mut owner) = self.owners.get_mut(&client_id) {
            if is_news {
                self.keep_parked(&parked, owner.user.clone());
            }
            owner.parked = Some(parked);
        }
        if let Some(due) = due {
            self.due.lock().insert((due, client_id));
            self.due_moved.notify_one();
        }
    }

    /// What was kept for a session is kept no longer; what it had of shared subscriptions goes to others.
    fn discard(&self, session: &Session, orphans: VecDeque<Delivery>) {
        let filters: Vec<_> = session.filters().cloned().collect();
        self.router.unsubscribe(session.id(), &filters);
        if session.is_stored() {
            let shares = filters.iter().any(|filter| filter.share_name().is_some());
            self.discard_stored(session, orphans, shares);
        } else {
            let orphans = session.unacknowledged_shared().cloned().chain(orphans).collect();
            self.hand_over(session.id(), orphans, Among::OthersThan(session.id()));
        }
    }

    fn hand_over(&self, from: SessionId, orphans: VecDeque<Delivery>, among: Among) -> VecDeque<Delivery> {
        if orphans.is_empty() {
            return orphans;
        }
        let mut turn = Turn::default();
        let left = self.router.hand_over(from, orphans, among, &mut turn);
        self.router.end_turn(&mut turn);
        left
    }

    /// Ends parked sessions when their time is over. Returns with the next delayed will that is due.
    pub(crate) async fn next_due_will(&self) -> DueWill {
        loop {
            let soonest = self.due.lock().first().map(|(at, _)| *at);
            match soonest {
                None => self.due_moved.notified().await,
                Some(at) if at > Instant::now() => {
                    let moved = self.due_moved.notified();
                    // Either way the question is asked anew.
                    let _ = tokio::time::timeout_at(at.into(), moved).await;
                }
                Some(at) => {
                    if let Some(will) = self.take_due(at) {
                        return will;
                    }
                    // Very many can be due at once.
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// Does what is due of one parked session: its end, or its will alone.
    fn take_due(&self, until: Instant) -> Option<DueWill> {
        let (at, client_id) = {
            let mut due = self.due.lock();
            due.first().filter(|(at, _)| *at <= until)?;
            due.pop_first()?
        };
        let is_over = |_: &ByteString, owner: &Owner| {
            owner.parked.as_ref().is_some_and(|parked| parked.expires.is_some_and(|expires| expires <= at))
        };
        if let Some((_, Owner { mailbox, parked, .. })) = self.owners.remove_if(&client_id, is_over) {
            let orphans = mailbox.close();
            self.persistent.fetch_sub(1, Ordering::Relaxed);
            tracing::info!(client = %client_id.escape_debug(), "session expired");
            let Parked { session, will, .. } = parked?;
            self.discard(&session, orphans);
            return due_will(&session, will);
        }
        let mut owner = self.owners.get_mut(&client_id)?;
        let parked = owner.parked.as_mut()?;
        // Somebody else's time may have come meanwhile: the session was claimed and parked again.
        let will = parked.will.take_if(|will| will.due <= at)?;
        if let Some(due) = parked.due() {
            self.due.lock().insert((due, client_id.clone()));
        }
        due_will(&parked.session, Some(will))
    }

    /// Takes every delayed will of a session that ends with this process: the server stops.
    pub(crate) fn take_wills(&self) -> Vec<DueWill> {
        let mut wills = Vec::new();
        for mut owner in self.owners.iter_mut() {
            if let Some(parked) = &mut owner.parked
                && !parked.session.is_stored()
            {
                let will = parked.will.take();
                wills.extend(due_will(&parked.session, will));
            }
        }
        wills
    }

    /// Tells every connection something. Returns how many were told.
    pub(crate) fn tell_all(&self, command: Command) -> usize {
        let connected = self.owners.iter().filter(|owner| owner.parked.is_none());
        connected.map(|owner| owner.mailbox.tell(command)).count()
    }

    /// Persistent sessions kept, parked or connected.
    pub(crate) fn persistent_sessions(&self) -> usize {
        self.persistent.load(Ordering::Relaxed)
    }
}

fn due_will(session: &Session, will: Option<DelayedWill>) -> Option<DueWill> {
    let DelayedWill { identity, addr, will, due: _ } = will?;
    let change = will_gone(session);
    let (session, client_id) = (session.id(), session.client_id().clone());
    Some(DueWill { session, client_id, identity, addr, will, change })
}

/// What the store is told of a will that was published or taken back, where it keeps the session.
pub(crate) fn will_gone(session: &Session) -> Option<Change> {
    let gone = || Change::WillGone { session: session.id(), client_id: session.client_id().clone() };
    session.is_stored().then(gone)
}

/// What stands in the store, of these: messages and bytes.
fn in_store(deliveries: &VecDeque<Delivery>) -> (usize, usize) {
    let stored = deliveries.iter().filter(|delivery| delivery.place.is_some());
    stored.fold((0, 0), |(messages, bytes), delivery| (messages + 1, bytes + delivery.message.size()))
}

/// When a session ends that is parked now.
fn expires(session: &Session, now: Instant) -> Option<Instant> {
    session.expiry().and_then(|expiry| now.checked_add(expiry))
}
