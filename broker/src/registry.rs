//! Which connection owns a client id. Owns every session that no connection holds, and knows the
//! mailbox of every one that a connection does.
//!
//! A session has one owner at any time: a connection that has claimed it, or this registry, which
//! has it parked. A new connection tells the old one to let go and waits for that; meanwhile
//! messages go on into the mailbox, which is the same before and after. Each claim has a ticket, so
//! that of several connections that want the same client id the newest wins.

use crate::delivery::SessionId;
use crate::mailbox::{Bounds, Command, Mailbox};
use crate::router::Router;
use crate::session::Session;
use crate::store::{Change, Store};
use bytestring::ByteString;
use dashmap::{DashMap, Entry};
use parking_lot::Mutex;
use sealmq_config::limits::Limits;
use std::collections::{BTreeSet, VecDeque};
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
    /// When parked sessions expire, soonest first.
    expiring: Mutex<BTreeSet<(Instant, ByteString)>>,
    expiry_moved: Notify,
    session_expiry: Option<Duration>,
    limits: Limits,
    bounds: Arc<Bounds>,
    router: Arc<Router>,
    store: Arc<dyn Store>,
}

/// Who has the session of a client id.
struct Owner {
    mailbox: Arc<Mailbox>,
    /// The newest claim, of whoever holds the session or waits for it.
    ticket: u64,
    parked: Option<Parked>,
}

struct Parked {
    session: Box<Session>,
    expires: Option<Instant>,
}

/// A session that a connection has claimed.
pub(crate) struct Claimed {
    /// The session, new or as it was left.
    pub(crate) session: Box<Session>,
    /// Its mailbox.
    pub(crate) mailbox: Arc<Mailbox>,
    /// Whether it was kept from before ([MQTT-3.2.2-2]).
    pub(crate) present: bool,
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
    Claimed(Claimed, Option<Box<Session>>),
    Busy(Arc<Mailbox>),
}

impl Registry {
    /// Nobody is known yet.
    pub(crate) fn new(
        limits: Limits,
        session_expiry: Option<Duration>,
        bounds: Arc<Bounds>,
        router: Arc<Router>,
        store: Arc<dyn Store>,
    ) -> Self {
        Self {
            owners: DashMap::new(),
            tickets: AtomicU64::new(0),
            sessions: AtomicU64::new(0),
            persistent: AtomicUsize::new(0),
            expiring: Mutex::default(),
            expiry_moved: Notify::new(),
            session_expiry,
            limits,
            bounds,
            router,
            store,
        }
    }

    /// Takes the session of `client_id` for a new connection; whoever has it is disconnected
    /// ([MQTT-3.1.4-2]). With `clean` what was kept is discarded ([MQTT-3.1.2-6]).
    pub(crate) async fn claim(&self, client_id: &ByteString, clean: bool) -> Result<Claimed, ClaimError> {
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        loop {
            let busy = match self.try_claim(client_id, clean, ticket)? {
                Attempt::Claimed(claimed, discarded) => {
                    if let Some(session) = discarded {
                        self.discard(&session);
                    }
                    return Ok(claimed);
                }
                Attempt::Busy(mailbox) => mailbox,
            };
            // Listen first, then look again: it may have been released since.
            let mut released = pin!(busy.released.notified());
            released.as_mut().enable();
            if self
                .owners
                .get(client_id)
                .is_some_and(|owner| Arc::ptr_eq(&owner.mailbox, &busy) && owner.parked.is_none())
            {
                released.await;
            }
        }
    }

    fn try_claim(&self, client_id: &ByteString, clean: bool, ticket: u64) -> Result<Attempt, ClaimError> {
        match self.owners.entry(client_id.clone()) {
            Entry::Vacant(vacant) => {
                let claimed = self.begin(client_id, !clean)?;
                let mailbox = claimed.mailbox.clone();
                vacant.insert(Owner { mailbox, ticket, parked: None });
                Ok(Attempt::Claimed(claimed, None))
            }
            Entry::Occupied(mut occupied) => {
                let owner = occupied.get_mut();
                if ticket < owner.ticket {
                    return Err(ClaimError::Superseded);
                }
                owner.ticket = ticket;
                let Some(parked) = owner.parked.take() else {
                    return Ok(Attempt::Busy(owner.mailbox.clone()));
                };
                if let Some(expires) = parked.expires {
                    self.expiring.lock().remove(&(expires, client_id.clone()));
                }
                let session = parked.session;
                if !clean {
                    let mailbox = owner.mailbox.clone();
                    return Ok(Attempt::Claimed(Claimed { session, mailbox, present: true }, None));
                }
                owner.mailbox.close();
                self.persistent.fetch_sub(1, Ordering::Relaxed);
                let claimed = self.begin(client_id, false)?;
                owner.mailbox = claimed.mailbox.clone();
                Ok(Attempt::Claimed(claimed, Some(session)))
            }
        }
    }

    /// A new session, with its mailbox.
    fn begin(&self, client_id: &ByteString, persistent: bool) -> Result<Claimed, ClaimError> {
        if persistent && self.persistent.fetch_add(1, Ordering::Relaxed) >= self.limits.sessions_max {
            self.persistent.fetch_sub(1, Ordering::Relaxed);
            return Err(ClaimError::Full);
        }
        let id = SessionId(self.sessions.fetch_add(1, Ordering::Relaxed));
        if persistent && self.store.keeps() {
            let client_id = client_id.clone();
            self.store.append(&mut vec![Change::SessionBegun { session: id, client_id }]);
        }
        let session = Box::new(Session::new(id, client_id.clone(), persistent, &self.limits));
        let mailbox = Mailbox::new(id, client_id.clone(), persistent, self.bounds.clone());
        Ok(Claimed { session, mailbox, present: false })
    }

    /// A connection lets go of its session: a persistent one is parked, another ends here.
    pub(crate) fn release(&self, mut session: Box<Session>, mailbox: &Arc<Mailbox>, now: Instant) {
        let unsent: VecDeque<_> = session.detach();
        let client_id = mailbox.client_id().clone();
        if session.persistent() {
            mailbox.park(unsent);
            let expires = self.session_expiry.and_then(|expiry| now.checked_add(expiry));
            if let Some(mut owner) = self.owners.get_mut(&client_id) {
                owner.parked = Some(Parked { session, expires });
            }
            if let Some(expires) = expires {
                self.expiring.lock().insert((expires, client_id));
                self.expiry_moved.notify_one();
            }
        } else {
            mailbox.close();
            self.owners.remove(&client_id);
            self.discard(&session);
        }
        mailbox.released.notify_waiters();
    }

    /// What was kept for a session is kept no longer.
    fn discard(&self, session: &Session) {
        self.router.unsubscribe(session.id(), session.filters());
        if session.persistent() && self.store.keeps() {
            self.store.append(&mut vec![Change::SessionEnded { session: session.id() }]);
        }
    }

    /// Ends parked sessions when their time is over; runs as long as the broker.
    pub(crate) async fn expire_sessions(&self) {
        loop {
            let soonest = self.expiring.lock().first().map(|(at, _)| *at);
            match soonest {
                None => self.expiry_moved.notified().await,
                Some(at) if at > Instant::now() => {
                    let moved = self.expiry_moved.notified();
                    // Either way the question is asked anew.
                    let _ = tokio::time::timeout_at(at.into(), moved).await;
                }
                Some(at) => self.expire(at),
            }
        }
    }

    fn expire(&self, until: Instant) {
        let due = {
            let mut expiring = self.expiring.lock();
            match expiring.first() {
                Some((at, _)) if *at <= until => expiring.pop_first(),
                Some(_) | None => None,
            }
        };
        let Some((at, client_id)) = due else { return };
        let is_due = |_: &ByteString, owner: &Owner| {
            owner.parked.as_ref().is_some_and(|parked| parked.expires == Some(at))
        };
        if let Some((_, owner)) = self.owners.remove_if(&client_id, is_due) {
            owner.mailbox.close();
            self.persistent.fetch_sub(1, Ordering::Relaxed);
            if let Some(parked) = owner.parked {
                self.discard(&parked.session);
            }
            tracing::info!(client = %client_id.escape_debug(), "session expired (mqtt.session_expiry_s)");
        }
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
