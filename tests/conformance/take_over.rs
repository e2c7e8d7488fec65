//! Take-over of a client id ([MQTT-3.1.4-2]): the old connection goes, and a session that moves under
//! load loses nothing and doubles nothing.

use crate::harness::packets::{self, DISCONNECT, PINGREQ, PINGRESP, puback, pubcomp, pubrec, pubrel};
use crate::harness::{Broker, Connect, Publish, Wire};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// [MQTT-3.1.4-2]: the connection that has the client id is closed.
#[test]
fn new_connection_takes_the_client_id_over() {
    let broker = Broker::start();
    let mut old = Wire::client(&broker, "c");
    let mut new = Wire::client(&broker, "c");
    old.expect_closed();
    broker.closed_for(old.local_addr(), "MQTT-3.1.4-2");
    new.expect_nothing_but_pong();
}

/// [MQTT-3.1.4-2]: also from one listener to another, with the subscriptions of a persistent session.
#[test]
fn session_moves_between_listeners() {
    let broker = Broker::start();
    let connect = Connect::new("c").persistent();
    let mut old = Wire::connect(&broker, &connect);
    old.subscribe("a", 1);
    let mut new = Wire::open_tls(&broker).connected(&connect, true);
    old.expect_closed();
    new.publish(&Publish::new("a", "1").qos(1, 1));
    new.take("1");
}

/// [MQTT-3.1.2-6]: a clean session does not inherit from the connection that it replaces.
#[test]
fn clean_session_taken_over_is_gone() {
    let broker = Broker::start();
    for connect in [Connect::new("c"), Connect::new("c").persistent()] {
        let mut old = Wire::connect(&broker, &Connect::new("c"));
        old.subscribe("a", 1);
        let mut new = Wire::connect(&broker, &connect);
        old.expect_closed();
        new.publish(&Publish::new("a", "1").qos(1, 1));
        new.expect_nothing_but_pong();
        new.disconnect();
    }
}

/// [MQTT-3.1.2-8]: the will of the old connection is published.
#[test]
fn will_of_the_old_connection_is_published() {
    let broker = Broker::start();
    let mut watcher = Wire::client(&broker, "watcher");
    watcher.subscribe("will", 1);
    for (n, connect) in [Connect::new("c"), Connect::new("c").persistent()].iter().enumerate() {
        let payload = n.to_string();
        let old = Wire::connect(&broker, &connect.clone().will(Publish::new("will", &payload).qos(1, 0)));
        let _new = Wire::open(&broker).connected(connect, n == 1);
        watcher.take(&payload);
        drop(old);
    }
    watcher.expect_nothing_but_pong();
}

/// [MQTT-3.14.4-3]: what a client sent before it came back counts, DISCONNECT most of all: its will is
/// discarded, though the new connection is served before the old one was read to its end.
#[test]
fn what_was_sent_before_the_take_over_counts() {
    let broker = Broker::start();
    let mut watcher = Wire::client(&broker, "watcher");
    watcher.subscribe("#", 0);
    let connect = Connect::new("c").will(Publish::new("will", "never"));
    let mut wire = Wire::connect(&broker, &connect);
    for n in 0..200 {
        wire.send([&Publish::new("a", n.to_string()).bytes(), DISCONNECT].concat());
        wire = Wire::connect(&broker, &connect);
        watcher.take(&n.to_string());
    }
    watcher.expect_nothing_but_pong();
}

/// [MQTT-3.1.4-2]: of many that come at once, one stays.
#[test]
fn of_many_claims_at_once_one_wins() {
    let broker = Broker::start();
    let connect = Connect::new("c").persistent().bytes();
    let mut wires: Vec<Wire> = (0..40).map(|_| Wire::open(&broker)).collect();
    for wire in &mut wires {
        wire.send(&connect);
    }
    let alive = wires.iter_mut().filter_map(|wire| {
        // Those that lose may be closed before CONNACK, before the answer, or at once.
        wire.try_receive().ok().filter(|packet| packet[0] == 0x20)?;
        wire.try_send(PINGREQ).ok()?;
        wire.try_receive().ok().filter(|packet| packet == PINGRESP)
    });
    assert!(alive.count() >= 1);
    let mut last = Wire::resume(&broker, &Connect::new("c").persistent());
    for wire in &mut wires {
        wire.expect_closed();
    }
    last.expect_nothing_but_pong();
}

/// A persistent client under take-over, as the standard has it: it remembers QoS 2 ids from one
/// connection to the next.
#[derive(Default)]
struct Receiver {
    unreleased: BTreeSet<u16>,
    /// For each topic, the numbers in the order in which each first came.
    received: BTreeMap<String, Vec<u32>>,
    doubled: u32,
}

impl Receiver {
    /// Handles one packet, and answers it on `wire` if there is one that still reads.
    fn handle(&mut self, packet: &[u8], wire: Option<&mut Wire>) {
        let answer = match packet[0] >> 4 {
            3 => self.handle_publish(&Publish::parse(packet).unwrap()),
            6 => {
                let id = u16::from_be_bytes([packet[2], packet[3]]);
                self.unreleased.remove(&id);
                pubcomp(id)
            }
            _ => panic!("unexpected {packet:02x?}"),
        };
        // The broker may have closed this connection already: then it sends all of it again.
        let _ = wire.map(|wire| wire.try_send(&answer));
    }

    fn handle_publish(&mut self, publish: &Publish) -> Vec<u8> {
        let number: u32 = publish.text().parse().unwrap();
        let list = self.received.entry(publish.topic().to_owned()).or_default();
        if publish.qos == 2 {
            if self.unreleased.insert(publish.id) {
                assert!(
                    list.last().is_none_or(|last| *last < number),
                    "doubled or out of order: {publish:?}"
                );
                list.push(number);
            } else {
                assert!(publish.dup, "an id in flight was given to another message: {publish:?}");
            }
            return pubrec(publish.id);
        }
        if list.last().is_none_or(|last| *last < number) {
            list.push(number);
        } else {
            assert!(publish.dup, "sent again without DUP: {publish:?}");
            assert!(list.binary_search(&number).is_ok(), "out of order: {publish:?}");
            self.doubled += 1;
        }
        puback(publish.id)
    }

    fn count(&self, topic: &str) -> usize {
        self.received.get(topic).map_or(0, Vec::len)
    }
}

/// Publishes numbers to `load/1` (QoS 1) and `load/2` (QoS 2), a few at a time, until told to stop.
/// Returns how many of each.
fn publish_numbers(mut wire: Wire, stop: &AtomicBool) -> u32 {
    const AT_ONCE: usize = 32;
    let mut next = 0;
    let mut waiting: VecDeque<Vec<u8>> = VecDeque::new();
    while !stop.load(Ordering::Relaxed) || !waiting.is_empty() {
        if waiting.len() < AT_ONCE && !stop.load(Ordering::Relaxed) {
            let id = u16::try_from(next % 30_000).unwrap() * 2 + 1;
            let number = next.to_string();
            wire.send(Publish::new("load/1", &number).qos(1, id).bytes());
            wire.send(Publish::new("load/2", &number).qos(2, id + 1).bytes());
            waiting.extend([puback(id), pubrec(id + 1)]);
            next += 1;
            continue;
        }
        let packet = wire.receive();
        let expected = waiting.pop_front().unwrap();
        assert_eq!(packet, expected);
        if packet[0] == 0x50 {
            let id = u16::from_be_bytes([packet[2], packet[3]]);
            wire.send(pubrel(id));
            waiting.push_back(pubcomp(id));
        }
    }
    wire.send(DISCONNECT);
    next
}

/// [MQTT-3.1.4-2], [MQTT-4.3.2-1], [MQTT-4.3.3-1], [MQTT-4.4.0-1], [MQTT-4.6.0-6]: a session that is
/// taken over again and again, while messages for it are routed, loses none, gets those of QoS 2 once
/// and those of QoS 1 twice only with DUP, all in order.
#[test]
fn session_that_moves_under_load_loses_and_doubles_nothing() {
    const MOVES: usize = 80;
    let broker = Broker::start();
    let connect = Connect::new("mover").persistent();
    let mut wire = Wire::connect(&broker, &connect);
    wire.subscribe("load/+", 2);
    let stop = Arc::new(AtomicBool::new(false));
    let publisher = {
        let (wire, stop) = (Wire::client(&broker, "publisher"), stop.clone());
        std::thread::spawn(move || publish_numbers(wire, &stop))
    };
    let mut receiver = Receiver::default();
    for n in 0..MOVES {
        for _ in 0..n * 7 % 60 {
            let packet = wire.receive();
            receiver.handle(&packet, Some(&mut wire));
        }
        let mut new = if n % 3 == 2 { Wire::open_tls(&broker) } else { Wire::open(&broker) };
        new.send(connect.bytes());
        if n % 2 == 0 {
            // All that the old connection was sent counts, unanswered or not.
            while let Ok(packet) = wire.try_receive() {
                receiver.handle(&packet, None);
            }
        }
        new.expect(packets::connack(true, 0));
        wire = new;
    }
    stop.store(true, Ordering::Relaxed);
    let sent = publisher.join().unwrap() as usize;
    while receiver.count("load/1") < sent
        || receiver.count("load/2") < sent
        || !receiver.unreleased.is_empty()
    {
        let packet = wire.receive();
        receiver.handle(&packet, Some(&mut wire));
    }
    wire.expect_nothing_but_pong();
    let all: Vec<u32> = (0..u32::try_from(sent).unwrap()).collect();
    assert!(sent > MOVES && receiver.received["load/1"] == all && receiver.received["load/2"] == all);
    assert!(receiver.doubled > 0, "the test moved no session with messages in flight");
}

/// [MQTT-4.3.3-2], [MQTT-4.4.0-1]: a publisher that is taken over again and again, and sends again what
/// was not answered, is heard once for each message of QoS 2, and in order.
#[test]
fn publisher_that_moves_is_heard_once() {
    const MOVES: u16 = 60;
    const BATCH: u16 = 5;
    let broker = Broker::start();
    let mut receiver = Wire::client(&broker, "receiver");
    receiver.subscribe("a", 2);
    let connect = Connect::new("mover").persistent();
    let mut wire = Wire::connect(&broker, &connect);
    // Ids of messages without PUBREC, and of those without PUBCOMP, each in order; id and number are one.
    let (mut unreceived, mut unreleased) = (VecDeque::new(), VecDeque::new());
    let publish = |id: u16| Publish::new("a", id.to_string()).qos(2, id);
    for n in 0..=MOVES {
        let new = n * BATCH + 1..=n * BATCH + BATCH;
        wire.send(new.clone().flat_map(|id| publish(id).bytes()).collect::<Vec<_>>());
        unreceived.extend(new);
        let answers = if n == MOVES { usize::MAX } else { usize::from(n * 3 % 11) };
        for _ in 0..answers {
            if unreceived.is_empty() && unreleased.is_empty() {
                break;
            }
            let packet = wire.receive();
            if packet[0] == 0x50 {
                let id: u16 = unreceived.pop_front().unwrap();
                assert_eq!(packet, pubrec(id));
                wire.send(pubrel(id));
                unreleased.push_back(id);
            } else {
                assert_eq!(packet, pubcomp(unreleased.pop_front().unwrap()));
            }
        }
        if n < MOVES {
            wire = Wire::resume(&broker, &connect);
            wire.send(unreleased.iter().flat_map(|id| pubrel(*id)).collect::<Vec<_>>());
            wire.send(unreceived.iter().flat_map(|id| publish(*id).dup().bytes()).collect::<Vec<_>>());
        }
    }
    for number in 1..=(MOVES + 1) * BATCH {
        receiver.take(&number.to_string());
    }
    receiver.expect_nothing_but_pong();
}
