//! Too much of everything: each bound holds, with the answer that the configuration's description gives
//! for it, and who did nothing wrong goes on undisturbed.

use crate::harness::log::LogLine;
use crate::harness::packets::{PINGREQ, PINGRESP, connack, puback};
use crate::harness::{Broker, Connect, PATIENCE, Publish, Wire};
use std::io::ErrorKind;
use std::time::Instant;

const MIB: usize = 1024 * 1024;

/// A payload that begins with its number.
fn numbered(n: usize, bytes: usize) -> Vec<u8> {
    let mut payload = format!("{n} ").into_bytes();
    payload.resize(bytes, b'x');
    payload
}

fn number(publish: &Publish) -> usize {
    publish.text().split(' ').next().unwrap().parse().unwrap()
}

fn closed<'a>(client: &'a str, part: &'a str) -> impl Fn(&LogLine) -> bool + 'a {
    move |line| line.field("client") == Some(client) && line.contains(part)
}

/// QoS 0 for a client that does not read: the oldest go, and nobody waits for it.
#[test]
fn slow_receiver_of_qos0_loses_the_oldest() {
    const MESSAGES: usize = 8_000;
    let broker = Broker::with_config("[limits]\ninbox_messages_max = 100");
    let mut slow = Wire::client(&broker, "slow");
    slow.subscribe("a", 0);
    let mut quick = Wire::client(&broker, "quick");
    quick.subscribe("b", 1);
    let mut publisher = Wire::client(&broker, "publisher");
    // More than all buffers on the way: 32 MiB.
    for n in 0..MESSAGES {
        publisher.send(Publish::new("a", numbered(n, 4_096)).bytes());
        if n % 100 == 0 {
            let asked = Instant::now();
            publisher.publish(&Publish::new("b", n.to_string()).qos(1, 1));
            quick.take(&n.to_string());
            assert!(asked.elapsed() < PATIENCE / 2, "the publisher waited {:?}", asked.elapsed());
        }
    }
    publisher.publish(&Publish::new("b", "end").qos(1, 1));
    let mut seen = vec![number(&slow.expect_publish())];
    while seen.last() != Some(&(MESSAGES - 1)) {
        seen.push(number(&slow.expect_publish()));
    }
    assert!(seen.is_sorted(), "out of order");
    assert!(seen.len() < MESSAGES, "nothing was dropped");
    slow.expect_nothing_but_pong();
}

/// QoS 1 for a client that does not acknowledge, and whose queue is on disk: it stays, its publisher is slowed
/// down, and its queue holds what `queue_messages_max` says.
#[test]
fn slow_receiver_of_qos1_has_its_queue_on_disk() {
    let limits = "inflight_messages_max = 10\ninbox_messages_max = 50\nslow_receiver_pause_ms = 1\n\
                  queue_messages_max = 120\nqueue_full = \"drop-newest\"";
    let broker = Broker::with_config(&format!("[limits]\n{limits}"));
    let mut slow = Wire::connect(&broker, &Connect::new("slow").persistent());
    slow.subscribe("a", 1);
    let mut publisher = Wire::client(&broker, "publisher");
    for n in 0..300 {
        publisher.publish(&Publish::new("a", format!("{n} ")).qos(1, 1));
    }
    // What was in flight, what the connection had taken, and what the queue may hold; then new ones.
    for n in 0..130 {
        slow.take(&format!("{n} "));
    }
    publisher.publish(&Publish::new("a", "300 ").qos(1, 1));
    let mut last = 129;
    while last < 300 {
        let publish = slow.expect_publish();
        slow.acknowledge(&publish);
        assert!(number(&publish) == last + 1 || number(&publish) == 300, "{publish:?} behind {last}");
        if number(&publish) == 300 {
            assert!(last < 299, "nothing was dropped");
        }
        last = number(&publish);
    }
}

/// The same in memory: beyond twice the inbox it is disconnected, and its queue holds what
/// `queue_messages_max` says, from where it stopped.
#[test]
fn slow_receiver_of_qos1_in_memory_is_disconnected_and_keeps_its_queue() {
    let limits = "inflight_messages_max = 10\ninbox_messages_max = 50\nslow_receiver_pause_ms = 1\n\
                  queue_messages_max = 120\nqueue_full = \"drop-newest\"";
    let broker = Broker::with_config(&format!("[storage]\ndurability = \"memory\"\n[limits]\n{limits}"));
    let connect = Connect::new("slow").persistent();
    let mut slow = Wire::connect(&broker, &connect);
    slow.subscribe("a", 1);
    let mut publisher = Wire::client(&broker, "publisher");
    for n in 0..300 {
        publisher.publish(&Publish::new("a", format!("{n} ")).qos(1, 1));
    }
    broker.log_line(closed("slow", "fell too far behind"));
    for n in 0..10 {
        assert_eq!(number(&slow.expect_publish()), n);
    }
    slow.expect_closed();
    let mut slow = Wire::resume(&broker, &connect);
    for n in 0..130 {
        let publish = slow.take(&format!("{n} "));
        assert_eq!(publish.dup, n < 10, "{publish:?}");
    }
    slow.expect_nothing_but_pong();
    // And it goes on as before.
    publisher.publish(&Publish::new("a", "next").qos(1, 1));
    slow.take("next");
}

/// Without a session to keep, it is gone.
#[test]
fn slow_receiver_with_a_clean_session_is_disconnected() {
    let limits = "inflight_messages_max = 10\ninbox_messages_max = 50\nslow_receiver_pause_ms = 1";
    let broker = Broker::with_config(&format!("[limits]\n{limits}"));
    let mut slow = Wire::client(&broker, "slow");
    slow.subscribe("a", 1);
    let mut publisher = Wire::client(&broker, "publisher");
    for n in 0..300 {
        publisher.publish(&Publish::new("a", format!("{n} ")).qos(1, 1));
    }
    broker.log_line(closed("slow", "fell too far behind"));
    let mut slow = Wire::client(&broker, "slow");
    publisher.publish(&Publish::new("a", "nobody").qos(1, 1));
    slow.expect_nothing_but_pong();
}

/// A client that floods: sends `messages` to `to` with 16 of them unacknowledged at a time, answers what
/// comes, and is done when all of its own are acknowledged and `awaited` have come. Whether it got so far
/// before it was disconnected.
fn flood(wire: &mut Wire, to: &str, messages: usize, awaited: usize) -> bool {
    let id = |n: usize| u16::try_from(n % 60_000 + 1).unwrap();
    let (mut sent, mut acknowledged, mut received) = (0, 0, 0);
    while acknowledged < messages || received < awaited {
        while sent < messages && sent - acknowledged < 16 {
            if wire.try_send(Publish::new(to, format!("{sent} ")).qos(1, id(sent)).bytes()).is_err() {
                return false;
            }
            sent += 1;
        }
        let packet = match wire.try_receive() {
            Ok(packet) => packet,
            Err(error) => {
                assert_ne!(error.kind(), ErrorKind::WouldBlock, "deadlock: {acknowledged} acknowledged");
                return false;
            }
        };
        if let Some(publish) = Publish::parse(&packet) {
            assert_eq!(number(&publish), received);
            if wire.try_send(puback(publish.id)).is_err() {
                return false;
            }
            received += 1;
        } else {
            assert_eq!(packet, puback(id(acknowledged)));
            acknowledged += 1;
        }
    }
    true
}

/// Two clients that flood each other, each with so many messages in flight at most.
fn flood_each_other(inflight: usize, awaited: usize) -> (Broker, [bool; 2]) {
    let limits = format!("inflight_messages_max = {inflight}\ninbox_messages_max = 16");
    let broker = Broker::with_config(&format!("[limits]\n{limits}\nslow_receiver_pause_ms = 20"));
    let [mut one, mut other] = ["one", "other"].map(|name| {
        let mut wire = Wire::client(&broker, name);
        wire.subscribe(name, 1);
        wire
    });
    let done = std::thread::scope(|scope| {
        let one = scope.spawn(|| flood(&mut one, "other", 2_000, awaited));
        let other = scope.spawn(|| flood(&mut other, "one", 2_000, awaited));
        [one.join().unwrap(), other.join().unwrap()]
    });
    (broker, done)
}

/// Each is slowed down by the other's full inbox; neither waits for ever, and nothing is lost.
#[test]
fn two_clients_that_flood_each_other_do_not_deadlock() {
    let (_broker, done) = flood_each_other(64, 2_000);
    assert_eq!(done, [true, true]);
}

/// Where a client may have less in flight than it sends itself, its acknowledgements lie behind its own
/// flood: it may fall too far behind and be disconnected for it, but neither waits for ever.
#[test]
fn two_clients_with_hardly_a_window_do_not_deadlock() {
    let (broker, done) = flood_each_other(2, 0);
    for (name, done) in ["one", "other"].into_iter().zip(done) {
        if !done {
            broker.log_line(closed(name, "fell too far behind"));
        }
    }
}

/// A client that gets what it sends itself cannot stop itself.
#[test]
fn client_that_floods_itself_does_not_deadlock() {
    let broker = Broker::with_config("[limits]\ninflight_messages_max = 64\ninbox_messages_max = 16");
    let mut wire = Wire::client(&broker, "one");
    wire.subscribe("one", 1);
    assert!(flood(&mut wire, "one", 2_000, 2_000));
}

/// `limits.connections_max`: one more gets code 3, until somebody leaves.
#[test]
fn connections_are_bounded() {
    let broker = Broker::with_config("[limits]\nconnections_max = 2");
    let first = Wire::client(&broker, "first");
    // A connection counts before it has said anything, and on whichever listener.
    let mut second = Wire::open_tls(&broker).connected(&Connect::new("second"), false);
    for mut third in [Wire::open(&broker), Wire::open_tls(&broker)] {
        third.send(Connect::new("third").bytes());
        third.expect(connack(false, 3));
        third.expect_closed();
    }
    broker.log_line(|line| line.contains("limits.connections_max"));
    second.expect_nothing_but_pong();
    first.disconnect();
    // The socket is closed a moment before it is counted out.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut third = Wire::open(&broker);
        third.send(Connect::new("third").bytes());
        if third.receive() == connack(false, 0) {
            break;
        }
        assert!(Instant::now() < deadline, "the place of a client that left is not given away");
    }
}

/// `mqtt.packet_bytes_max`: the claim alone closes; the bytes are not waited for.
#[test]
fn packet_that_is_too_large_closes() {
    let broker = Broker::with_config("[mqtt]\npacket_bytes_max = 1000");
    let mut fits = Wire::client(&broker, "fits");
    fits.subscribe("a", 1);
    // Fixed header 3, topic 3, packet id 2.
    fits.publish(&Publish::new("a", numbered(1, 1_000 - 8)).qos(1, 1));
    assert_eq!(fits.expect_publish().payload.len(), 992);
    let mut culprit = Wire::client(&broker, "culprit");
    culprit.send(&Publish::new("a", numbered(2, 1_000 - 7)).qos(1, 1).bytes()[..10]);
    culprit.expect_closed();
    let line = broker.log_line(closed("culprit", "the packet is larger than allowed"));
    assert_eq!(line.field("addr"), Some(&*culprit.local_addr().to_string()));
    fits.expect_nothing_but_pong();
}

/// `limits.write_stall_s`: a client that takes nothing of what is written is closed.
#[test]
fn client_that_takes_nothing_is_closed() {
    let broker = Broker::with_config("[limits]\nwrite_stall_s = 1");
    let mut deaf = Wire::client(&broker, "deaf");
    deaf.subscribe("a", 0);
    let mut publisher = Wire::client(&broker, "publisher");
    for n in 0..30 {
        publisher.publish(&Publish::new("a", numbered(n, MIB)));
    }
    broker.log_line(closed("deaf", "limits.write_stall_s"));
    publisher.expect_nothing_but_pong();
}

/// A flood of 64 MiB for a client that is away and may keep one: memory does not grow with the flood.
#[test]
fn memory_is_bounded_for_a_client_that_is_away() {
    let limits = "[limits]\nqueue_bytes_max = \"1 MiB\"\nqueue_full = \"drop-oldest\"\n\
                  [mqtt]\npacket_bytes_max = \"64 KiB\"";
    let broker = Broker::with_config(limits);
    let connect = Connect::new("away").persistent();
    let mut away = Wire::connect(&broker, &connect);
    away.subscribe("a", 1);
    away.disconnect();
    let mut publisher = Wire::client(&broker, "publisher");
    let mut flood = |messages: std::ops::Range<usize>| {
        for n in messages {
            publisher.publish(&Publish::new("a", numbered(n, 8 * 1024)).qos(1, 1));
        }
    };
    // What the store needs to write tables and to merge them it has by then, and keeps.
    flood(0..4_000);
    let before = broker.resident_bytes();
    flood(4_000..12_000);
    let grown = broker.resident_bytes().saturating_sub(before);
    assert!(grown < 32 * MIB as u64, "{grown} bytes more after 64 MiB for a queue of one");
    let mut away = Wire::resume(&broker, &connect);
    let first = number(&away.expect_publish());
    assert!(first > 12_000 - 130, "{first}");
}

/// The same for a client that is there and does not read: QoS 0, more than fits the sockets' buffers.
#[test]
fn memory_is_bounded_for_a_client_that_does_not_read() {
    let broker =
        Broker::with_config("[limits]\ninbox_bytes_max = \"1 MiB\"\n[mqtt]\npacket_bytes_max = \"64 KiB\"");
    let mut deaf = Wire::client(&broker, "deaf");
    deaf.subscribe("a", 0);
    let mut publisher = Wire::client(&broker, "publisher");
    let mut flood = |messages: usize| {
        for n in 0..messages {
            publisher.send(Publish::new("a", numbered(n, 8 * 1024)).bytes());
        }
        publisher.send(PINGREQ);
        publisher.expect(PINGRESP);
    };
    flood(2_000);
    let before = broker.resident_bytes();
    flood(8_000);
    let grown = broker.resident_bytes().saturating_sub(before);
    // The allocator keeps up to some 20 MiB that come and go, whatever the broker holds.
    assert!(grown < 32 * MIB as u64, "{grown} bytes more after 64 MiB for an inbox of one");
    deaf.expect_publish();
}

/// Retained messages have a bound too: what does not fit is delivered and not kept.
#[test]
fn retained_messages_are_bounded() {
    let broker = Broker::with_config("[limits]\nretained_messages_max = 10\n[telemetry]\nsys_interval_s = 0");
    let mut client = Wire::client(&broker, "client");
    client.subscribe("#", 0);
    for n in 0..20 {
        client.publish(&Publish::new(format!("a/{n:02}"), n.to_string()).qos(1, 1).retain());
        client.take(&n.to_string());
    }
    broker.log_line(|line| line.contains("limits.retained_messages_max"));
    let mut late = Wire::client(&broker, "late");
    late.subscribe("a/#", 0);
    let kept: Vec<_> = (0..10).map(|_| late.expect_publish().topic().to_owned()).collect();
    assert_eq!(kept, (0..10).map(|n| format!("a/{n:02}")).collect::<Vec<_>>());
    late.expect_nothing_but_pong();
}

/// A client whose connection breaks again and again and that is back at once: what its old connection is
/// told does not end the new one.
#[test]
fn client_that_comes_back_at_once_stays() {
    let broker = Broker::start();
    let connect = Connect::new("restless").persistent();
    let mut wire = Wire::connect(&broker, &connect);
    for _ in 0..1_000 {
        wire.cut();
        wire = Wire::resume(&broker, &connect);
        wire.expect_nothing_but_pong();
    }
}
