//! What all connections share: the broker as one value, without sockets or tasks.
//!
//! Owns registry, router, replay windows, store and counters; the rules in force, which a reload
//! replaces as a whole; and the count of connections, by which a shutdown knows that it is over.

use crate::audit::{Audit, Event, KeyChange};
use crate::enrolment::{Book, Effect, Happened, Listed, Name, Order, Refused};
use crate::failed_stamps::{FailedStamps, Standing};
use crate::identity::Stamps;
use crate::ingress::ahead::SetAside;
use crate::key_watch::KeyWatch;
use crate::log_limit::LogLimit;
use crate::mailbox::{Bounds, Command};
use crate::metrics::Metrics;
use crate::now::Clock;
use crate::registry::Registry;
use crate::retained::Retained;
use crate::router::Router;
use crate::rulebook::Rulebook;
use crate::session::connect;
use crate::store::{Change, Position, Recovered, Store};
use crate::verifier::Verifier;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use sealmq_config::Config;
use sealmq_config::limits::Limits;
use sealmq_crypto::{Mark, ReplayWindows, SenderWindow};
use sealmq_protocol::codec;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;
use tokio::sync::Notify;

/// What all connections share.
pub(crate) struct Broker {
    pub(crate) limits: Limits,
    pub(crate) codec_limits: codec::Limits,
    pub(crate) connect_rules: connect::Rules,
    pub(crate) registry: Registry,
    pub(crate) router: Arc<Router>,
    pub(crate) replay: Arc<ReplayWindows>,
    /// Marks that the store knows of before they are taken.
    pub(crate) set_aside: SetAside,
    pub(crate) verifier: Verifier,
    /// Messages of a client that wait for an envelope before them, at most.
    pub(crate) unchecked_max: usize,
    pub(crate) stamps: Stamps,
    pub(crate) store: Arc<Store>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) audit: Audit,
    pub(crate) failed_stamps: FailedStamps,
    /// Lines about wills of clients who are not there.
    pub(crate) will_lines: Mutex<LogLimit>,
    pub(crate) key_watch: KeyWatch,
    pub(crate) started: Instant,
    /// Who is enrolled; held while the rules that follow from it are put in force.
    book: Mutex<Book>,
    rulebook: RwLock<Arc<Rulebook>>,
    rulebooks: AtomicU64,
    connections: AtomicUsize,
    connections_moved: Notify,
    drained: AtomicUsize,
    stopping: AtomicBool,
}

impl Broker {
    /// A broker without connections, on a store and what it held.
    pub(crate) fn new(config: &Config, rulebook: &Rulebook, store: Arc<Store>, recovered: Recovered) -> Self {
        let limits = config.limits.clone();
        let metrics = Arc::new(Metrics::default());
        let retained = Retained::new(limits.retained_messages_max, limits.retained_bytes_max);
        let router = Arc::new(Router::new(retained, store.clone(), metrics.clone()));
        let bounds = Arc::new(Bounds::new(limits.clone(), &config.storage, metrics.clone()));
        let offer = Arc::new(config.mqtt.clone());
        let Recovered { sessions, retained, windows, stamps, keys_used, enrolled, half_ended, next_session } =
            recovered;
        for message in &retained {
            // What there is no room for any more, after the bounds were changed, is left out.
            let _ = router.retained().set(message);
        }
        let replay = Arc::new(recalled(config, windows, stamps));
        let mut book = Book::new(&limits, enrolled);
        let mut effect = book.configure(rulebook.configured.clone(), now_ms());
        book.recall(replay.sender_ids(), &mut effect);
        tell(&effect);
        effect.forgotten.iter().for_each(|sender| replay.forget(sender, None));
        store.append_lazily(&mut effect.changes);
        let audit = Audit::new(&config.audit);
        audit.record_all(gave_way(&effect.events, "start"));
        let rulebook = rulebook.with_keys_of(&book);
        let registry =
            Registry::new(limits.clone(), offer.clone(), bounds, router.clone(), store.clone(), next_session);
        registry.restore(sessions, half_ended, Instant::now());
        Self {
            codec_limits: codec::Limits {
                packet_bytes_max: config.mqtt.packet_bytes_max,
                topic_levels_max: limits.topic_levels_max,
                filters_max: limits.filters_per_packet_max,
            },
            connect_rules: connect::Rules {
                offer: offer.clone(),
                client_id_bytes_max: limits.client_id_bytes_max,
                client_id_prefixes: config.auth.client_id_prefixes.clone(),
                outbound_topic_aliases_max: limits.outbound_topic_aliases_max,
            },
            registry,
            set_aside: SetAside::default(),
            verifier: Verifier::new(replay.clone(), metrics.clone(), limits.examined_batch_bytes_max),
            unchecked_max: config.encryption.unchecked_max,
            replay,
            stamps: Stamps::new(),
            limits,
            router,
            store,
            metrics,
            audit,
            failed_stamps: FailedStamps::new(&config.limits),
            will_lines: Mutex::default(),
            key_watch: KeyWatch::new(keys_used, &book.topic_keys()),
            started: Instant::now(),
            book: Mutex::new(book),
            rulebook: RwLock::new(Arc::new(rulebook)),
            rulebooks: AtomicU64::new(0),
            connections: AtomicUsize::new(0),
            connections_moved: Notify::new(),
            drained: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
        }
    }

    /// The rules in force.
    pub(crate) fn rules(&self) -> Arc<Rulebook> {
        self.rulebook.read().clone()
    }

    /// Whether `known` is no longer in force.
    pub(crate) fn rules_changed(&self, known: &Rulebook) -> bool {
        known.edition != self.rulebooks.load(Ordering::Acquire)
    }

    /// Puts other rules in force, with whoever is enrolled at run time; each connection takes them up at once.
    /// What has happened to keys, for the audit.
    pub(crate) fn replace_rules(&self, rulebook: &Rulebook) -> Vec<Event> {
        let (mut events, gone) = {
            let mut book = self.book.lock();
            let mut effect = book.configure(rulebook.configured.clone(), now_ms());
            tell(&effect);
            let changes = rulebook.key_changes(&self.rules(), &book);
            self.put_in_force(rulebook, &book, &mut effect, |changes| self.store.append_lazily(changes));
            (changes, effect.events)
        };
        self.registry.tell_all(Command::Renew);
        events.extend(gave_way(&gone, "reload"));
        events
    }

    /// Enrols, disables or removes while it runs: done when this returns, and kept once the store has reached
    /// the position. The store has it before it is in force, so that nothing by which it shows is kept
    /// without it.
    pub(crate) fn change_enrolment(
        &self,
        order: &Order,
        tell: impl FnOnce(&Effect),
    ) -> Result<(Effect, Position), Refused> {
        let (effect, position) = {
            let mut book = self.book.lock();
            let mut effect = book.take(order, now_ms())?;
            if effect.changes.is_empty() {
                // What was asked for may be on its way to the disk still, by an order before this one.
                return Ok((effect, self.store.newest()));
            }
            let append = |changes: &mut Vec<Change>| self.store.append(changes).1;
            let position = self.put_in_force(&self.rules(), &book, &mut effect, append);
            // In the order in which it is in force.
            tell(&effect);
            (effect, position)
        };
        self.store.kick();
        self.registry.tell_all(Command::Renew);
        Ok((effect, position))
    }

    /// A page of those who are enrolled, and whether there are more.
    pub(crate) fn enrolled(&self, after: Option<&Name>, max: usize) -> (Vec<Listed>, bool) {
        self.book.lock().page(after, max)
    }

    /// Gives the store what follows from other rules or other people, and puts it in force. What the keys before
    /// have stamped takes no number any more in a window that begins anew, though it be verified already.
    fn put_in_force<T>(
        &self,
        rulebook: &Rulebook,
        book: &Book,
        effect: &mut Effect,
        append: impl FnOnce(&mut Vec<Change>) -> T,
    ) -> T {
        let mut rulebook = rulebook.with_keys_of(book);
        // Nobody else makes one: the book is held.
        rulebook.edition = self.rulebooks.load(Ordering::Relaxed) + 1;
        let (before, edition, now) = (self.rules(), rulebook.edition, Arc::new(rulebook));
        let Effect { changes, forgotten, .. } = effect;
        let replaced = |sender: &Bytes| {
            let [before, now] =
                [&before, &now].map(|rules| rules.keyring().sender(sender).map(|one| &one.key));
            before.filter(|_| before != now)
        };
        let replaced: Vec<_> = forgotten.iter().map(replaced).collect();
        self.set_aside.forget(forgotten, || {
            // Before the new keys can take anything; the one before is barred.
            for (sender, replaced) in forgotten.iter().zip(replaced) {
                self.replay.forget(sender, replaced);
            }
            let appended = append(changes);
            *self.rulebook.write() = now.clone();
            self.rulebooks.store(edition, Ordering::Release);
            appended
        })
    }

    /// A mark was taken, and the store is about to be told: its sender does not rest. Whoever writes its window as
    /// it is either has it in there or comes before.
    pub(crate) fn will_take(&self, taken: &Change) {
        if let Change::Taken { sender, .. } = taken {
            self.set_aside.touch(sender, Instant::now());
        }
    }

    /// Has the windows of senders that rest written as they are, or of all at the end: nothing of theirs is set
    /// aside then.
    pub(crate) fn settle_windows(&self, now: Option<Instant>) {
        self.set_aside.settle(now, |sender| {
            if let Some(window) = self.replay.snapshot(sender) {
                let window = Box::new(window);
                self.store.append_lazily(&mut vec![Change::Settled { sender: sender.clone(), window }]);
            }
        });
    }

    /// Tells the store how much each topic key has opened, where that has changed.
    pub(crate) fn keep_keys_used(&self) {
        self.store.append_lazily(&mut self.key_watch.changes(&self.book.lock().topic_keys()));
    }

    /// Counts a stamp that came from an address and does not hold; says when the address is refused for it from
    /// now on.
    pub(crate) fn count_failed_stamp(&self, addr: IpAddr, now: Instant) -> Standing {
        let standing = self.failed_stamps.count(addr, now);
        if standing == Standing::JustOver {
            let refused_s = self.limits.failed_stamps_refuse_s;
            tracing::warn!(%addr, refused_s, "too many failed stamps: new connections are refused (limits.failed_stamps_per_address)");
            self.audit.record(Event::AddressRefused { addr, refused_s });
        }
        standing
    }

    /// Whether the server is shutting down.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// A connection has published its will and reads no more.
    pub(crate) fn drained(&self) {
        self.drained.fetch_add(1, Ordering::Release);
        self.connections_moved.notify_waiters();
    }

    /// Connections, with those that are still being greeted.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Acquire)
    }

    /// Counts a connection for as long as the result lives.
    pub(crate) fn count_connection(self: &Arc<Self>) -> Counted {
        let before = self.connections.fetch_add(1, Ordering::AcqRel);
        Counted { broker: self.clone(), number: before + 1 }
    }

    /// Ends every connection in order: wills first, while there are subscribers; then what is queued
    /// for writing; then the sockets. Whether all ended by `deadline`.
    pub(crate) async fn shut_down(&self, deadline: Instant) -> bool {
        self.stopping.store(true, Ordering::Release);
        tracing::info!(connections = self.connections(), "shutting down");
        let told = self.registry.tell_all(Command::Drain);
        let drained = || self.drained.load(Ordering::Acquire) >= told;
        // A connection that ends by itself meanwhile is never counted: half the time is enough.
        let half = Instant::now() + deadline.saturating_duration_since(Instant::now()) / 2;
        self.wait_until(half, || drained() || self.connections() == 0).await;
        for will in self.registry.take_wills() {
            self.publish_will(will);
            tokio::task::yield_now().await;
        }
        self.registry.tell_all(Command::Finish);
        self.wait_until(deadline, || self.connections() == 0).await
    }

    async fn wait_until(&self, deadline: Instant, done: impl Fn() -> bool) -> bool {
        let wait = async {
            loop {
                let mut moved = std::pin::pin!(self.connections_moved.notified());
                moved.as_mut().enable();
                if done() {
                    return;
                }
                moved.await;
            }
        };
        tokio::time::timeout_at(deadline.into(), wait).await.is_ok()
    }
}

fn now_ms() -> u64 {
    Clock::read().unix_ms(Instant::now())
}

/// The replay windows of an earlier run.
fn recalled(
    config: &Config,
    windows: Vec<(Bytes, SenderWindow)>,
    stamps: Vec<(Bytes, Mark)>,
) -> ReplayWindows {
    let replay = ReplayWindows::new(config.encryption.timed_stamps_max);
    for (sender, window) in windows {
        replay.restore(&sender, window.settled());
    }
    for (sender, mark) in stamps {
        replay.retake(&sender, mark);
    }
    replay
}

/// Of those who were enrolled at run time: the configuration brings another key under their name.
fn gave_way(events: &[Happened], by: &str) -> Vec<Event> {
    let why = "enrolled at run time, and the configuration has another key";
    let event = |(name, _): &Happened| {
        Event::key(KeyChange::Removed, name.kind.into(), &name.id, Some(by), Some(why))
    };
    events.iter().map(event).collect()
}

/// What an operator should know of a configuration, with what was said at run time.
fn tell(effect: &Effect) {
    for warning in &effect.warnings {
        tracing::warn!("{warning}");
    }
    if effect.more_warnings > 0 {
        tracing::warn!(more = effect.more_warnings, "there are more such warnings");
    }
}

/// One counted connection.
pub(crate) struct Counted {
    broker: Arc<Broker>,
    /// How many there were with this one.
    pub(crate) number: usize,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.broker.connections.fetch_sub(1, Ordering::AcqRel);
        self.broker.connections_moved.notify_waiters();
    }
}
