//! One scenario: connects everybody, lets the devices send at a pace, then lets them send what they may.
//!
//! A turn waits for events, reads messages and acknowledgements, and says which devices may go on. Every
//! message is checked to be the next of its device, so that a broker that loses some is not a fast one.

use super::content::Maker;
use super::device::{Device, connect};
use super::link::{Link, Opening, SCRATCH_BYTES};
use super::site::{ABOVE, Clients, PLAINTEXT, TLS};
use crate::broker::Broker;
use crate::message::Publish;
use crate::packets::{self, CONNACK, PUBACK, PUBLISH, SUBACK, Version};
use crate::statistics::percentile;
use anyhow::{Context, Result, bail};
use mio::{Events, Interest, Poll, Token};
use std::time::{Duration, Instant};

/// Without any event for so long, something is wrong.
const STALLED: Duration = Duration::from_secs(20);
/// Messages of a whole fleet that may be on their way; each device has one at least.
const WINDOW: usize = 1_000;
/// Payloads made beforehand, of a whole fleet.
const READY_MAX: usize = 1_000_000;
/// Of each device at least, however long that takes.
const ROUNDS_MIN: usize = 10;
/// The subscriber; device n has the token n.
const SUBSCRIBER: Token = Token(usize::MAX >> 1);

/// What it took to connect one device.
#[derive(Debug, Clone, Copy)]
pub(super) struct Connecting {
    pub(super) bytes: f64,
    pub(super) cpu_ms: f64,
}

/// How long messages took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Delays {
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
}

/// What the first phase showed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paced {
    /// Since the reading was made.
    pub(super) latency: Delays,
    /// Since the message was written.
    pub(super) transit: Delays,
    pub(super) wire_bytes: f64,
}

/// What the second phase showed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Full {
    pub(super) per_s: f64,
    pub(super) cpu_s_per_million: f64,
}

/// How far it was at one moment.
struct Mark {
    at: Instant,
    cpu_s: f64,
    messages: u32,
}

/// A fleet that is connected, and its subscriber.
pub(super) struct Run<'a> {
    pub(super) connecting: Connecting,
    begin: Instant,
    poll: Poll,
    events: Events,
    scratch: Vec<u8>,
    subscriber: Link,
    devices: Vec<Device<'a>>,
    /// Devices that may go on since the last turn.
    woken: Vec<usize>,
    arrived: Arrived,
}

/// What has come to the subscriber.
#[derive(Default)]
struct Arrived {
    messages: u32,
    latency_ns: Vec<u64>,
    transit_ns: Vec<u64>,
}

impl<'a> Run<'a> {
    /// Connects the subscriber, then the devices one after the other.
    pub(super) fn connect(clients: &'a Clients, plaintext_bytes: usize, broker: &Broker) -> Result<Self> {
        let mut opening = Opening::new(broker.listener(TLS)?, Some(&clients.tls))?;
        opening.ask(&connect("subscriber"), CONNACK)?;
        let granted =
            opening.ask(&packets::subscribe(Version::V5, 1, &[&format!("{ABOVE}/#")], 1), SUBACK)?;
        if granted.last() != Some(&1) {
            bail!("the subscription is not granted: {granted:02x?}");
        }
        let subscriber = opening.open()?;
        let used_before = cpu_s(broker)?;
        let mut devices = Vec::new();
        for n in 0..clients.keys.len() {
            devices.push(device(clients, n, plaintext_bytes, broker)?);
        }
        let count = number(devices.len());
        let bytes: u64 = devices.iter().map(|device| device.link.bytes()).sum();
        let used = cpu_s(broker)? - used_before;
        let connecting = Connecting { bytes: float(bytes) / count, cpu_ms: used * 1e3 / count };
        let mut run = Self {
            connecting,
            begin: Instant::now(),
            poll: Poll::new()?,
            events: Events::with_capacity(1_024),
            scratch: vec![0; SCRATCH_BYTES],
            subscriber,
            devices,
            woken: Vec::new(),
            arrived: Arrived::default(),
        };
        run.register()?;
        Ok(run)
    }

    fn register(&mut self) -> Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(self.subscriber.stream(), SUBSCRIBER, interest)?;
        for (n, device) in self.devices.iter_mut().enumerate() {
            self.poll.registry().register(device.link.stream(), Token(n), interest)?;
        }
        Ok(())
    }

    /// The devices send in turns, all together at this pace, for this long.
    pub(super) fn paced(&mut self, time: Duration, per_s: f64) -> Result<Paced> {
        let gap = Duration::from_secs_f64(1.0 / per_s);
        let messages = (time.as_secs_f64() * per_s).max(1.0);
        let written_before = self.written_bytes();
        let (mut sent, mut due) = (0_u32, Instant::now());
        while f64::from(sent) < messages {
            while f64::from(sent) < messages && Instant::now() >= due {
                let n = sent as usize % self.devices.len();
                self.send_one(n)?;
                sent += 1;
                due += gap;
            }
            self.turn(due.saturating_duration_since(Instant::now()))?;
        }
        self.settle()?;
        let mut arrived = std::mem::take(&mut self.arrived);
        let wire_bytes = float(self.written_bytes() - written_before) / f64::from(sent);
        Ok(Paced {
            latency: Delays::of(&mut arrived.latency_ns),
            transit: Delays::of(&mut arrived.transit_ns),
            wire_bytes,
        })
    }

    /// A reading made now, on its way now.
    fn send_one(&mut self, n: usize) -> Result<()> {
        let begin = self.begin;
        let device = self.devices.get_mut(n).context("no such device")?;
        let payload = device.maker.make(nanoseconds(begin))?;
        device.send(&payload, nanoseconds(begin));
        device.link.flush()
    }

    /// All devices send what they may: a fifth to warm up, then for this long, or until one has nothing left
    /// that was made beforehand.
    pub(super) fn full(&mut self, time: Duration, broker: &Broker) -> Result<Full> {
        self.make_ready(time)?;
        let ready: usize = self.devices.iter().map(|device| device.ready.len()).sum();
        let warm = self.arrived.messages.saturating_add(u32::try_from(ready / 5)?);
        let share = u32::try_from((WINDOW / self.devices.len()).max(1))?;
        self.woken.extend(0..self.devices.len());
        let begin = self.mark(broker)?;
        let mut warmed_up = None;
        loop {
            let is_empty = self.send_all(share)?;
            let is_warm = begin.at.elapsed() >= time / 5 || (ready > 0 && self.arrived.messages >= warm);
            if warmed_up.is_none() && is_warm {
                warmed_up = Some(self.mark(broker)?);
            }
            if is_empty {
                // The rest is on its way, and counts.
                self.settle()?;
            }
            if is_empty || begin.at.elapsed() >= time * 6 / 5 {
                break;
            }
            self.turn(STALLED)?;
        }
        let (begin, end) = (warmed_up.unwrap_or(begin), self.mark(broker)?);
        let messages = f64::from(end.messages - begin.messages);
        self.settle()?;
        Ok(Full {
            per_s: messages / (end.at - begin.at).as_secs_f64(),
            cpu_s_per_million: (end.cpu_s - begin.cpu_s) / messages * 1e6,
        })
    }

    fn mark(&self, broker: &Broker) -> Result<Mark> {
        Ok(Mark { at: Instant::now(), cpu_s: cpu_s(broker)?, messages: self.arrived.messages })
    }

    /// Makes envelopes on all cores, since one thread is no match for the broker; twice the time of sending.
    fn make_ready(&mut self, time: Duration) -> Result<()> {
        if self.devices.iter().all(|device| device.maker.key.is_none()) {
            return Ok(());
        }
        let (begin, end) = (self.begin, Instant::now() + time * 2);
        let most = READY_MAX.div_ceil(self.devices.len());
        let cores = std::thread::available_parallelism()?.get();
        let share = self.devices.len().div_ceil(cores);
        std::thread::scope(|scope| {
            let made = self.devices.chunks_mut(share).map(|part| {
                scope.spawn(move || -> Result<()> {
                    for round in 0..most {
                        // Whole rounds, so that all devices have as many.
                        if round >= ROUNDS_MIN && Instant::now() >= end {
                            break;
                        }
                        for device in &mut *part {
                            let payload = device.maker.make(nanoseconds(begin))?;
                            device.ready.push_back(payload);
                        }
                    }
                    Ok(())
                })
            });
            let made: Vec<_> = made.collect();
            made.into_iter().try_for_each(|thread| match thread.join() {
                Ok(result) => result,
                Err(_) => bail!("a thread has failed"),
            })
        })
    }

    /// Lets those that were woken send what they may; whether one of them has nothing left to send.
    fn send_all(&mut self, share: u32) -> Result<bool> {
        let (begin, mut is_empty) = (self.begin, false);
        for n in self.woken.drain(..) {
            let Some(device) = self.devices.get_mut(n) else { continue };
            for _ in 0..device.room(share) {
                let payload = if device.maker.key.is_some() {
                    device.ready.pop_front()
                } else {
                    Some(device.maker.make(nanoseconds(begin))?)
                };
                let Some(payload) = payload else {
                    is_empty = true;
                    break;
                };
                device.send(&payload, nanoseconds(begin));
            }
            device.link.flush()?;
        }
        Ok(is_empty)
    }

    /// Waits until everything that was sent has come.
    fn settle(&mut self) -> Result<()> {
        while !self.devices.iter().all(Device::is_done) {
            self.turn(STALLED)?;
        }
        Ok(())
    }

    fn written_bytes(&self) -> u64 {
        self.devices.iter().map(|device| device.link.written_bytes()).sum()
    }

    /// Waits for events, this long at most, and reads what they announce.
    fn turn(&mut self, wait: Duration) -> Result<()> {
        let wait = if self.subscriber.readable { Duration::ZERO } else { wait };
        self.poll.poll(&mut self.events, Some(wait))?;
        if self.events.is_empty() && wait == STALLED {
            bail!("the broker has stopped to deliver");
        }
        for event in &self.events {
            if event.token() == SUBSCRIBER {
                self.subscriber.readable |= event.is_readable();
                continue;
            }
            let Token(n) = event.token();
            let device = self.devices.get_mut(n).context("an event of nobody")?;
            device.link.readable |= event.is_readable();
            while device.link.readable {
                device.receive(&mut self.scratch)?;
            }
            // It may be writable again, too.
            device.link.flush()?;
            self.woken.push(n);
        }
        self.listen()
    }

    /// Reads messages, and acknowledges them.
    fn listen(&mut self) -> Result<()> {
        let Self { devices, woken, arrived, .. } = self;
        let now_ns = nanoseconds(self.begin);
        self.subscriber.receive(&mut self.scratch, |first, body, out| {
            if first >> 4 != PUBLISH {
                bail!("the subscriber was sent {first:#04x}");
            }
            let publish = Publish::read(Version::V5, first, body).context("a PUBLISH is broken")?;
            out.extend(packets::acknowledgement(PUBACK, publish.id));
            let n = publish.stamp.publisher as usize;
            let device = devices.get_mut(n).context("a message of nobody")?;
            let written_ns = device.delivered(publish.stamp.number)?;
            arrived.messages += 1;
            arrived.latency_ns.push(now_ns.saturating_sub(publish.stamp.sent_ns));
            arrived.transit_ns.push(now_ns.saturating_sub(written_ns));
            woken.push(n);
            Ok(())
        })?;
        self.subscriber.flush()
    }
}

/// Connects device `n`.
fn device<'a>(clients: &'a Clients, n: usize, plaintext_bytes: usize, broker: &Broker) -> Result<Device<'a>> {
    let (listener, tls) = if clients.devices_on_tls { (TLS, Some(&clients.tls)) } else { (PLAINTEXT, None) };
    let mut opening = Opening::new(broker.listener(listener)?, tls)?;
    let connack = opening.ask(&connect(&format!("dev-{n:04}")), CONNACK)?;
    let receive_maximum = packets::receive_maximum(Version::V5, &connack)?;
    let maker = Maker {
        device: u32::try_from(n)?,
        topic: format!("{ABOVE}/{n}"),
        key: clients.keys.get(n).and_then(Option::as_ref),
        content: &clients.content,
        plaintext_bytes,
        made: 0,
    };
    Ok(Device::new(opening.open()?, maker, receive_maximum))
}

impl Delays {
    fn of(delays_ns: &mut [u64]) -> Self {
        let mut sorted: Vec<f64> = delays_ns.iter().map(|ns| float(*ns) / 1e3).collect();
        Self { p50_us: percentile(&mut sorted, 50), p99_us: percentile(&mut sorted, 99) }
    }
}

fn cpu_s(broker: &Broker) -> Result<f64> {
    broker.cpu_s()?.context("a broker without a process")
}

fn nanoseconds(begin: Instant) -> u64 {
    u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

#[allow(clippy::cast_precision_loss, reason = "bytes and nanoseconds of one run are far below 2^53")]
fn float(value: u64) -> f64 {
    value as f64
}

fn number(count: usize) -> f64 {
    float(count as u64)
}
