//! One measurement: a broker, the honest senders at their pace, the subscriber, and the flooder or not.

use super::Flood;
use super::link::{self, Reader, is_timeout};
use super::site::{ABOVE, PLAINTEXT, Site, TLS};
use crate::broker::Broker;
use crate::message::{self, Publish};
use crate::packets::{PUBLISH, Version};
use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

/// How long what was sent may take to come once no more is sent.
const REST: Duration = Duration::from_secs(10);
/// Seconds of the broker without another bad stamp: it has seen all.
const QUIET: u32 = 3;
/// How long that may take.
const COUNTED: Duration = Duration::from_mins(1);

/// Which of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// The honest senders have the broker to themselves.
    Alone,
    /// They have not.
    Beside,
}

/// What came out.
pub(super) struct Figures {
    /// Half of the honest messages took no longer.
    pub(super) p50_us: f64,
    /// 99 of a hundred took no longer.
    pub(super) p99_us: f64,
    /// Honest messages that never came.
    pub(super) lost: usize,
    /// Bad stamps that were sent.
    pub(super) flood_sent: u64,
    /// Those of them that the broker says it has refused.
    pub(super) refused: u64,
}

/// What the threads have in common.
struct Shared<'a> {
    site: &'a Site,
    begin: Instant,
    /// When each honest message was sent, of one sender after the other; nanoseconds.
    sent_ns: Vec<AtomicU64>,
    /// Honest messages of one sender.
    messages: usize,
    /// The honest have sent all.
    is_sent: AtomicBool,
    /// The flood is to end.
    is_over: AtomicBool,
}

/// Starts a broker and measures.
pub(super) fn measure(flood: &Flood, site: &Site, turn: Turn) -> Result<Figures> {
    let broker = Broker::start_in(site.folder()?, &flood.broker)?;
    let (plaintext, tls) = (broker.listener(PLAINTEXT)?, broker.listener(TLS)?);
    let mut subscriber = link::subscribe_tls(tls, &site.tls, "subscriber", &[&format!("{ABOVE}/#")])?;
    let honest = (0..flood.senders).map(|n| link::connect(plaintext, &format!("honest-{n}")));
    let mut honest = honest.collect::<Result<Vec<_>>>()?;
    let flooder = match turn {
        Turn::Alone => None,
        Turn::Beside => Some(link::connect(plaintext, "flooder")?),
    };
    let messages = flood.messages() as usize;
    let all = honest.len() * messages;
    let shared = Shared {
        site,
        begin: Instant::now(),
        sent_ns: std::iter::repeat_with(AtomicU64::default).take(all).collect(),
        messages,
        is_sent: AtomicBool::new(false),
        is_over: AtomicBool::new(false),
    };
    let may_be_cut = flood.per_connection > 0 || flood.per_address > 0;
    let (mut delays, flood_sent) = std::thread::scope(|scope| {
        let shared = &shared;
        let flooding = flooder.map(|stream| scope.spawn(move || shared.flood(stream, may_be_cut)));
        let receiving = scope.spawn(|| shared.receive(&mut subscriber, flood.unmeasured() as usize));
        let paced = shared.pace(&mut honest, flood.pace, &receiving);
        shared.is_sent.store(true, Ordering::Release);
        let delays = joined(receiving);
        shared.is_over.store(true, Ordering::Release);
        let flood_sent = flooding.map_or(Ok(0), joined);
        paced?;
        anyhow::Ok((delays?, flood_sent?))
    })?;
    let measured = all - honest.len() * flood.unmeasured() as usize;
    let refused = if turn == Turn::Beside { refused(&broker)? } else { 0 };
    Ok(Figures {
        p50_us: percentile_us(&mut delays, 50),
        p99_us: percentile_us(&mut delays, 99),
        lost: measured.saturating_sub(delays.len()),
        flood_sent,
        refused,
    })
}

fn joined<T>(thread: ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|_| bail!("a thread has failed"))
}

impl Shared<'_> {
    /// The honest senders take turns, each at its pace.
    fn pace<T>(
        &self,
        honest: &mut [TcpStream],
        pace: u32,
        receiving: &ScopedJoinHandle<'_, T>,
    ) -> Result<()> {
        // Nobody tells anything: a wait that ends in time.
        let (_told, ticks) = mpsc::channel::<()>();
        let gap = Duration::from_secs(1) / pace / u32::try_from(honest.len())?;
        let mut due = Instant::now();
        for number in 0..self.messages {
            for (n, stream) in honest.iter_mut().enumerate() {
                let wait = due.saturating_duration_since(Instant::now());
                if !wait.is_zero() {
                    let _ = ticks.recv_timeout(wait);
                }
                due += gap;
                self.sent_ns[n * self.messages + number].store(self.now_ns(), Ordering::Release);
                stream.write_all(&self.site.honest[n][number]).context("an honest sender is cut off")?;
                if receiving.is_finished() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Sends bad stamps as fast as the broker takes them, until it is over. How many.
    fn flood(&self, mut stream: TcpStream, may_be_cut: bool) -> Result<u64> {
        let (bad, mut written) = (&self.site.bad, 0_usize);
        while !self.is_over.load(Ordering::Acquire) {
            match stream.write(&bad[written % bad.len()..]) {
                Ok(n) => written += n,
                Err(error) if is_timeout(error.kind()) => {}
                // By its limits.
                Err(_) if may_be_cut => break,
                Err(error) => return Err(error).context("the flooder is cut off"),
            }
        }
        Ok((written / self.site.bad_bytes) as u64)
    }

    /// Reads what comes to the subscriber, until all has come or none comes any more. The delays in nanoseconds,
    /// without those of the first so many of each sender.
    fn receive(&self, subscriber: &mut Reader<impl Read>, unmeasured: usize) -> Result<Vec<u64>> {
        let (mut delays, mut come, mut last) = (Vec::with_capacity(self.sent_ns.len()), 0, Instant::now());
        loop {
            let before = come;
            subscriber.receive(|first, body| {
                if first >> 4 != PUBLISH {
                    bail!("the subscriber was sent {first:#04x}");
                }
                let now_ns = self.now_ns();
                let publish = Publish::read(Version::V5, first, body).context("a PUBLISH is broken")?;
                let number = publish.stamp.number as usize;
                let place = publish.stamp.publisher as usize * self.messages + number;
                let sent_ns = self.sent_ns.get(place).context("a message of nobody")?;
                come += 1;
                if number >= unmeasured {
                    delays.push(now_ns.saturating_sub(sent_ns.load(Ordering::Acquire)));
                }
                Ok(())
            })?;
            if come > before {
                last = Instant::now();
            }
            let is_late = self.is_sent.load(Ordering::Acquire) && last.elapsed() > REST;
            if come == self.sent_ns.len() || is_late {
                return Ok(delays);
            }
        }
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// How many bad stamps the broker says it has refused, once there are no more of them.
fn refused(broker: &Broker) -> Result<u64> {
    let (uptime, count) = ("$SYS/broker/uptime", "$SYS/broker/refused/bad-stamp");
    let mut reader = link::subscribe_plain(broker.listener(PLAINTEXT)?, "counter", &[uptime, count])?;
    let (begin, mut quiet, mut refused) = (Instant::now(), 0, 0);
    while quiet < QUIET {
        if begin.elapsed() > COUNTED {
            bail!("the broker does not come to the end of the flood");
        }
        reader.receive(|first, body| {
            let (topic, payload) =
                message::text_of(Version::V5, first, body).context("a PUBLISH is broken")?;
            if topic == uptime {
                quiet += 1;
            } else {
                (refused, quiet) = (payload.parse()?, 0);
            }
            Ok(())
        })?;
    }
    Ok(refused)
}

/// The delay that this share of them does not exceed, by nearest rank; `NaN` of none.
fn percentile_us(delays_ns: &mut [u64], percent: usize) -> f64 {
    delays_ns.sort_unstable();
    let rank = (delays_ns.len() * percent).div_ceil(100).max(1);
    let delay = delays_ns.get(rank - 1).copied().map(Duration::from_nanos);
    delay.map_or(f64::NAN, |delay| delay.as_secs_f64() * 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_delays_that_were_measured() {
        let mut delays: Vec<u64> = (1..=200).rev().map(|us| us * 1_000).collect();
        for (percent, us) in [(50, 100.0), (99, 198.0), (100, 200.0)] {
            assert!((percentile_us(&mut delays, percent) - us).abs() < 1e-6, "{percent}");
        }
        assert!(percentile_us(&mut [], 50).is_nan());
    }
}
