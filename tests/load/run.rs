//! One measurement: connects everybody, keeps them busy, counts.
//!
//! Each publisher sends whenever it may: it is never further ahead of the slowest of its subscribers
//! than the window, nor of the broker's acknowledgements than the broker allows. A turn reads what has
//! come, answers it, sends what there is room for, and waits for the next event. Every message is
//! checked to be the next of its publisher, so that a broker that loses some is not a fast one.

use crate::broker::Broker;
use crate::client::Client;
use crate::message::{Message, Publish, Stamp, Template};
use crate::packets::{self, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, Version};
use crate::{Filter, Shape};
use anyhow::{Context, Result, bail};
use mio::{Events, Interest, Poll, Token};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const WARM_UP: Duration = Duration::from_millis(500);
/// Without any event for so long, something is wrong.
const STALLED: Duration = Duration::from_secs(5);
/// What one publisher sends in one turn, so that all get theirs.
const TURN_BYTES: usize = 256 * 1024;
/// The alias of each publisher's only topic.
const ALIAS: u16 = 1;
/// Runs of this process so far.
static RUNS: AtomicU32 = AtomicU32::new(0);

/// What came out.
pub(crate) struct Figures {
    /// Messages delivered each second, to all subscribers together.
    pub(crate) per_second: f64,
    /// Half of the messages took no longer from publisher to subscriber.
    pub(crate) p50_us: f64,
    /// Messages that never came; QoS 0 alone may lose any.
    pub(crate) lost: u64,
    /// Processor time of the broker for a million deliveries, if its process is known.
    pub(crate) cpu_s_per_million: Option<f64>,
}

/// Loads the broker for half a second, and then measures for so many.
pub(crate) fn measure(shape: &Shape, version: Version, seconds: f64, broker: &Broker) -> Result<Figures> {
    let mut run = Run::connect(shape, version, broker)?;
    run.go_on(WARM_UP)?;
    run.tally = Tally::default();
    let (cpu, begin) = (broker.cpu_s()?, Instant::now());
    run.go_on(Duration::from_secs_f64(seconds))?;
    let (cpu_end, elapsed) = (broker.cpu_s()?, begin.elapsed());
    let delivered = f64::from(run.tally.delivered);
    let cpu_s = cpu.zip(cpu_end).map(|(begin, end)| end - begin);
    Ok(Figures {
        per_second: delivered / elapsed.as_secs_f64(),
        p50_us: run.tally.latency.median_us(),
        lost: run.tally.lost,
        cpu_s_per_million: cpu_s.map(|cpu| cpu / delivered * 1e6),
    })
}

#[derive(Default)]
struct Tally {
    delivered: u32,
    lost: u64,
    latency: Histogram,
}

struct Publisher {
    client: Client,
    /// With the topic, until the broker knows the alias; and without.
    first: Option<Template>,
    template: Template,
    /// Messages sent so far, which is the number of the next one.
    sent: u32,
    /// The packet id of the last one.
    id: u16,
    /// Of these, those that the broker has acknowledged to the end.
    acknowledged: u32,
    /// Who gets its messages.
    subscribers: Vec<usize>,
}

struct Subscriber {
    client: Client,
    /// For each publisher, the number of the message that should come next.
    next: Vec<u32>,
}

struct Run {
    version: Version,
    qos: u8,
    window: u32,
    poll: Poll,
    begin: Instant,
    publishers: Vec<Publisher>,
    subscribers: Vec<Subscriber>,
    tally: Tally,
}

impl Run {
    fn connect(shape: &Shape, version: Version, broker: &Broker) -> Result<Self> {
        let aliases = shape.topic_alias && version == Version::V5;
        // Topics of its own: a broker may still be at work on the last messages of the run before.
        let above = format!("{}.{}", std::process::id(), RUNS.fetch_add(1, Ordering::Relaxed));
        let topic = |n| format!("{above}/{n}");
        let mut subscribers = Vec::new();
        for n in 0..shape.subs {
            let filter = match shape.filter {
                Filter::PerTopic => topic(n % shape.pubs),
                Filter::Wildcard => format!("{above}/#"),
            };
            // A topic alias maximum of 65,535.
            let mut properties = if aliases { vec![0x22, 0xFF, 0xFF] } else { Vec::new() };
            if shape.persistent && version == Version::V5 {
                // A session expiry of never.
                properties.extend([0x11, 0xFF, 0xFF, 0xFF, 0xFF]);
            }
            let id = format!("subscriber-{above}-{n}");
            let connect = packets::connect(version, &id, !shape.persistent, &properties);
            let client = Client::connect(broker.listener(0)?, version, &connect, Some((&filter, shape.qos)))?;
            subscribers.push(Subscriber { client, next: vec![0; shape.pubs] });
        }
        let mut publishers = Vec::new();
        for n in 0..shape.pubs {
            let connect = packets::connect(version, &format!("publisher-{n}"), true, &[]);
            let client = Client::connect(broker.listener(0)?, version, &connect, None)?;
            let message = Message {
                topic: &topic(n),
                alias: aliases.then_some(ALIAS),
                user_properties: shape.user_properties,
                qos: shape.qos,
                payload: shape.payload,
            };
            let full = Template::new(version, message);
            let (first, template) = if aliases {
                (Some(full), Template::new(version, Message { topic: "", ..message }))
            } else {
                (None, full)
            };
            let gets = |other: &usize| shape.filter == Filter::Wildcard || other % shape.pubs == n;
            let subscribers = (0..shape.subs).filter(gets).collect();
            publishers.push(Publisher {
                client,
                first,
                template,
                sent: 0,
                id: 0,
                acknowledged: 0,
                subscribers,
            });
        }
        let poll = Poll::new()?;
        let clients = publishers.iter_mut().map(|publisher| &mut publisher.client);
        let clients = clients.chain(subscribers.iter_mut().map(|subscriber| &mut subscriber.client));
        for (n, client) in clients.enumerate() {
            poll.registry().register(
                client.socket.stream(),
                Token(n),
                Interest::READABLE | Interest::WRITABLE,
            )?;
        }
        let (qos, window) = (shape.qos, shape.window);
        let (begin, tally) = (Instant::now(), Tally::default());
        Ok(Self { version, qos, window, poll, begin, publishers, subscribers, tally })
    }

    /// Takes turns until the time is over.
    fn go_on(&mut self, time: Duration) -> Result<()> {
        let mut events = Events::with_capacity(1024);
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.turn()?;
            let busy = self.clients().any(|client| client.socket.readable);
            self.poll.poll(&mut events, Some(if busy { Duration::ZERO } else { STALLED }))?;
            if !busy && events.is_empty() {
                bail!("the broker has stopped to deliver");
            }
            for event in events.iter().filter(|event| event.is_readable()) {
                let Token(n) = event.token();
                let client = self.clients().nth(n).context("an event of nobody")?;
                client.socket.readable = true;
            }
        }
        Ok(())
    }

    fn clients(&mut self) -> impl Iterator<Item = &mut Client> {
        let publishers = self.publishers.iter_mut().map(|publisher| &mut publisher.client);
        publishers.chain(self.subscribers.iter_mut().map(|subscriber| &mut subscriber.client))
    }

    fn turn(&mut self) -> Result<()> {
        for subscriber in &mut self.subscribers {
            subscriber.turn(self.version, self.begin, &mut self.tally)?;
        }
        for publisher in &mut self.publishers {
            publisher.receive()?;
        }
        for n in 0..self.publishers.len() {
            self.publish(n)?;
        }
        Ok(())
    }

    /// Lets publisher `n` send what it may.
    fn publish(&mut self, n: usize) -> Result<()> {
        let publisher = &mut self.publishers[n];
        publisher.client.socket.flush()?;
        if !publisher.client.socket.out.is_empty() {
            return Ok(());
        }
        let taken = publisher.subscribers.iter().map(|other| self.subscribers[*other].next[n]).min();
        // With nobody to take it, the broker's acknowledgement is the only bound.
        let ahead = taken.map_or(0, |taken| publisher.sent - taken);
        let mut room = self.window.saturating_sub(ahead);
        if self.qos > 0 {
            let open = publisher.sent - publisher.acknowledged;
            room = room.min(publisher.client.receive_maximum.saturating_sub(open));
        }
        let mut stamp = Stamp { sent_ns: nanoseconds(self.begin), publisher: u32::try_from(n)?, number: 0 };
        let most = (TURN_BYTES / publisher.template.size()).max(1);
        for _ in 0..most.min(room as usize) {
            stamp.number = publisher.sent;
            publisher.sent += 1;
            // From 1 to 65,535 and round again: the oldest are acknowledged long since.
            publisher.id = publisher.id.checked_add(1).unwrap_or(1);
            let first = publisher.first.take();
            let template = first.as_ref().unwrap_or(&publisher.template);
            template.write(&mut publisher.client.socket.out, publisher.id, stamp);
        }
        publisher.client.socket.flush()
    }
}

impl Publisher {
    /// Reads acknowledgements, and goes on with QoS 2.
    fn receive(&mut self) -> Result<()> {
        if !self.client.socket.readable {
            return Ok(());
        }
        let acknowledged = &mut self.acknowledged;
        self.client.socket.receive(|first, body, out| {
            match first >> 4 {
                PUBACK | PUBCOMP => *acknowledged += 1,
                PUBREC => out.extend(packets::acknowledgement(PUBREL, packets::leading_id(body)?)),
                _ => bail!("a publisher was sent {first:#04x} {body:02x?}"),
            }
            // Reason codes from 0x80 on refuse.
            match body.get(2) {
                Some(reason @ 0x80..) => bail!("the broker refuses a message: {reason:#04x}"),
                _ => Ok(()),
            }
        })
    }
}

impl Subscriber {
    /// Reads messages, and answers them.
    fn turn(&mut self, version: Version, begin: Instant, tally: &mut Tally) -> Result<()> {
        if self.client.socket.readable {
            let (now_ns, next) = (nanoseconds(begin), &mut self.next);
            self.client.socket.receive(|first, body, out| {
                match first >> 4 {
                    PUBLISH => {
                        let publish = Publish::read(version, first, body).context("a PUBLISH is broken")?;
                        note(next, tally, publish.stamp, now_ns)?;
                        match publish.qos {
                            0 => {}
                            1 => out.extend(packets::acknowledgement(PUBACK, publish.id)),
                            _ => out.extend(packets::acknowledgement(PUBREC, publish.id)),
                        }
                    }
                    PUBREL => out.extend(packets::acknowledgement(PUBCOMP, packets::leading_id(body)?)),
                    _ => bail!("a subscriber was sent {first:#04x} {body:02x?}"),
                }
                Ok(())
            })?;
        }
        self.client.socket.flush()
    }
}

/// Counts one message that came.
fn note(next: &mut [u32], tally: &mut Tally, stamp: Stamp, now_ns: u64) -> Result<()> {
    let expected = next.get_mut(stamp.publisher as usize).context("a message of nobody")?;
    let gap = stamp.number.checked_sub(*expected).context("a message came twice, or too late")?;
    *expected = stamp.number + 1;
    tally.lost += u64::from(gap);
    tally.delivered += 1;
    tally.latency.add(now_ns.saturating_sub(stamp.sent_ns));
    Ok(())
}

fn nanoseconds(begin: Instant) -> u64 {
    u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Counts by size: sixteen steps for each power of two, so that a median is right within 7 %.
struct Histogram {
    counts: Box<[u64; 64 * 16]>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: Box::new([0; 64 * 16]) }
    }
}

impl Histogram {
    fn add(&mut self, ns: u64) {
        let ns = ns.max(16);
        let power = ns.ilog2();
        let step = (ns >> (power - 4)) & 15;
        self.counts[power as usize * 16 + step as usize] += 1;
    }

    fn median_us(&self) -> f64 {
        let half = self.counts.iter().sum::<u64>() / 2;
        let mut seen = 0;
        let median = self.counts.iter().zip(0_u64..).find_map(|(count, at)| {
            seen += count;
            (seen > half).then(|| (16 + at % 16) << (at / 16 - 4))
        });
        median.map_or(f64::NAN, |ns| Duration::from_nanos(ns).as_secs_f64() * 1e6)
    }
}
