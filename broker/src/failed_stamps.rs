//! A limit on stamps that do not hold: each costs the broker a verification, and whoever sends them nothing.
//!
//! Owns how many came from each address lately, and which addresses are refused for a while; what one
//! connection sent is counted by a [`Window`] of its own. Failures come in, with the time; out comes what is to
//! be done. Always holds: the table has no more addresses than it may, and forgets each after its time. The
//! lock is held for one address; while none is refused, accepting a connection takes no lock.

use parking_lot::Mutex;
use sealmq_config::limits::Limits;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Counts what happens in a while; the next begins with what happens after it.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Window {
    since: Option<Instant>,
    count: usize,
}

impl Window {
    /// One more. How many there are in the while at hand.
    pub(crate) fn count(&mut self, lasts: Duration, now: Instant) -> usize {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= lasts) {
            *self = Self { since: Some(now), count: 0 };
        }
        self.count += 1;
        self.count
    }
}

/// How an address stands after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Within its limit.
    Within,
    /// Over it since just now: from here on it is refused.
    JustOver,
    /// Over it still.
    Over,
}

/// See the module's description.
pub(crate) struct FailedStamps {
    /// None: no address has a limit.
    per_address_max: Option<usize>,
    window: Duration,
    refuse: Duration,
    addresses_max: usize,
    addresses: Mutex<Addresses>,
    /// Whether some address may be refused, and it has to be looked up.
    any_refused: AtomicBool,
}

#[derive(Default)]
struct Addresses {
    known: BTreeMap<IpAddr, Failures>,
    /// The same, by when they are forgotten.
    by_end: BTreeSet<(Instant, IpAddr)>,
    /// How many of them are or were refused.
    refused: usize,
}

/// What came from one address.
struct Failures {
    window: Window,
    refused_until: Option<Instant>,
    /// When all of this is forgotten.
    end: Instant,
}

impl FailedStamps {
    /// None yet.
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            per_address_max: Some(limits.failed_stamps_per_address).filter(|max| *max > 0),
            window: Duration::from_secs(limits.failed_stamps_window_s),
            refuse: Duration::from_secs(limits.failed_stamps_refuse_s),
            addresses_max: limits.failed_stamp_addresses_max,
            addresses: Mutex::default(),
            any_refused: AtomicBool::new(false),
        }
    }

    /// A stamp that came from an address does not hold.
    pub(crate) fn count(&self, from: IpAddr, now: Instant) -> Standing {
        let Some(max) = self.per_address_max else { return Standing::Within };
        let from = subscriber(from);
        let mut addresses = self.addresses.lock();
        addresses.forget(now);
        let none = || Failures { window: Window::default(), refused_until: None, end: now };
        let mut failures = addresses.remove(from).unwrap_or_else(none);
        let was_refused = failures.is_refused(now);
        let is_over = failures.window.count(self.window, now) > max || was_refused;
        failures.end = now + self.window;
        if is_over {
            let until = now + self.refuse;
            failures.refused_until = Some(until);
            failures.end = failures.end.max(until);
        }
        addresses.insert(from, failures, self.addresses_max);
        self.any_refused.store(addresses.refused > 0, Ordering::Release);
        match (is_over, was_refused) {
            (false, _) => Standing::Within,
            (true, false) => Standing::JustOver,
            (true, true) => Standing::Over,
        }
    }

    /// Whether a new connection from an address is refused.
    pub(crate) fn refuses(&self, from: IpAddr, now: Instant) -> bool {
        if !self.any_refused.load(Ordering::Acquire) {
            return false;
        }
        let mut addresses = self.addresses.lock();
        addresses.forget(now);
        self.any_refused.store(addresses.refused > 0, Ordering::Release);
        addresses.known.get(&subscriber(from)).is_some_and(|failures| failures.is_refused(now))
    }
}

impl Failures {
    fn is_refused(&self, now: Instant) -> bool {
        self.refused_until.is_some_and(|until| now < until)
    }
}

impl Addresses {
    /// Forgets those whose time is over.
    fn forget(&mut self, now: Instant) {
        while let Some((end, from)) = self.by_end.first().copied().filter(|(end, _)| *end <= now) {
            self.by_end.remove(&(end, from));
            self.remove(from);
        }
    }

    fn remove(&mut self, from: IpAddr) -> Option<Failures> {
        let failures = self.known.remove(&from)?;
        self.by_end.remove(&(failures.end, from));
        self.refused -= usize::from(failures.refused_until.is_some());
        Some(failures)
    }

    /// Puts an address in, in the place of the one that would be forgotten next if there are too many.
    fn insert(&mut self, from: IpAddr, failures: Failures, max: usize) {
        if self.known.len() >= max
            && let Some((_, next)) = self.by_end.first().copied()
        {
            self.remove(next);
        }
        self.refused += usize::from(failures.refused_until.is_some());
        self.by_end.insert((failures.end, from));
        self.known.insert(from, failures);
    }
}

/// What somebody has an address of: of IPv6 the first half, since the other is his to choose.
fn subscriber(addr: IpAddr) -> IpAddr {
    match addr.to_canonical() {
        IpAddr::V4(addr) => IpAddr::V4(addr),
        IpAddr::V6(addr) => IpAddr::V6(Ipv6Addr::from_bits(addr.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limit(per_address: usize, addresses_max: usize) -> FailedStamps {
        FailedStamps::new(&Limits {
            failed_stamps_per_address: per_address,
            failed_stamps_window_s: 60,
            failed_stamps_refuse_s: 30,
            failed_stamp_addresses_max: addresses_max,
            ..Limits::default()
        })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_over_its_limit_is_refused_for_a_while() {
        let (limit, start, from) = (limit(2, 10), Instant::now(), ip("192.0.2.1"));
        let count = |at| limit.count(from, start + SECOND * at);
        assert_eq!([count(0), count(1)], [Standing::Within; 2]);
        assert!(!limit.refuses(from, start + SECOND));
        assert_eq!([count(2), count(3)], [Standing::JustOver, Standing::Over]);
        // The last failure began the while anew.
        assert!(limit.refuses(from, start + SECOND * 32) && !limit.refuses(from, start + SECOND * 33));
        assert!(!limit.refuses(ip("192.0.2.2"), start + SECOND * 4), "others are let in");
    }

    #[test]
    fn failures_of_long_ago_do_not_count() {
        let (limit, start, from) = (limit(2, 10), Instant::now(), ip("192.0.2.1"));
        for n in 0..100 {
            assert_eq!(limit.count(from, start + SECOND * 31 * n), Standing::Within, "{n}");
        }
        let mut window = Window::default();
        let counted = [0, 59, 60, 61].map(|at| window.count(SECOND * 60, start + SECOND * at));
        assert_eq!(counted, [1, 2, 1, 2]);
    }

    #[test]
    fn everything_is_forgotten_in_time() {
        let (limit, start) = (limit(1, 10), Instant::now());
        for last in 0..5 {
            limit.count(IpAddr::from([192, 0, 2, last]), start);
            limit.count(IpAddr::from([192, 0, 2, last]), start);
        }
        assert!(!limit.refuses(ip("192.0.2.0"), start + SECOND * 30));
        assert_eq!(limit.addresses.lock().known.len(), 5);
        limit.count(ip("198.51.100.1"), start + SECOND * 61);
        let addresses = limit.addresses.lock();
        assert_eq!((addresses.known.len(), addresses.by_end.len(), addresses.refused), (1, 1, 0));
        assert!(!limit.any_refused.load(Ordering::Acquire));
    }

    #[test]
    fn the_table_is_bounded() {
        let (limit, start) = (limit(1, 10), Instant::now());
        for n in 0..1_000_u32 {
            for _ in 0..2 {
                limit.count(IpAddr::from(n.to_be_bytes()), start + Duration::from_millis(n.into()));
            }
        }
        let addresses = limit.addresses.lock();
        assert_eq!((addresses.known.len(), addresses.by_end.len(), addresses.refused), (10, 10, 10));
        assert!(addresses.known.contains_key(&IpAddr::from(999_u32.to_be_bytes())));
    }

    #[test]
    fn a_subscriber_of_ipv6_is_one_address() {
        assert_eq!(subscriber(ip("2001:db8:1:2:3:4:5:6")), ip("2001:db8:1:2::"));
        assert_eq!(subscriber(ip("::ffff:192.0.2.1")), ip("192.0.2.1"));
    }

    #[test]
    fn failures_of_a_subscriber_of_ipv6_add_up() {
        let (limit, start) = (limit(2, 10), Instant::now());
        let one_of = |host: &str| ip(&format!("2001:db8:1:2:{host}::1"));
        let counted = ["a", "b", "c"].map(|host| limit.count(one_of(host), start));
        assert_eq!(counted, [Standing::Within, Standing::Within, Standing::JustOver]);
        assert!(limit.refuses(one_of("d"), start), "whichever of his addresses he takes");
        assert!(!limit.refuses(ip("2001:db8:1:3:a::1"), start), "his neighbour is let in");
        assert_eq!(limit.addresses.lock().known.len(), 1);
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let (limit, start) = (limit(0, 10), Instant::now());
        for _ in 0..100 {
            assert_eq!(limit.count(ip("192.0.2.1"), start), Standing::Within);
        }
        assert!(limit.addresses.lock().known.is_empty());
    }
}
