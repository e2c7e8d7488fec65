//! SIGTERM drains: nobody new is let in, wills go out, what was acknowledged is sent, and then it ends
//! within a bounded time, with status 0.

use crate::harness::packets::connack;
use crate::harness::{Broker, Connect, PATIENCE, Publish, Wire};
use std::time::{Duration, Instant};

/// Connections that were opened before SIGTERM and have sent nothing: they hold the drain up. The broker
/// has accepted them, since it accepts in order and has served a later one.
fn holding(broker: &Broker, n: usize) -> Vec<Wire> {
    let pending = (0..n).map(|_| Wire::open(broker)).collect();
    Wire::client(broker, "later").disconnect();
    pending
}

/// SIGTERM, and the wait until the broker is stopping: a client of it is gone.
fn stop(broker: &Broker) {
    let mut client = Wire::client(broker, "witness");
    broker.terminate();
    client.expect_closed();
}

/// [MQTT-3.2.2-4]: code 3 for those who come while the broker stops.
#[test]
fn who_comes_during_the_drain_gets_code_3() {
    let mut broker = Broker::start();
    let mut pending = holding(&broker, 2);
    stop(&broker);
    let mut new = Wire::open(&broker);
    new.send(Connect::new("new").bytes());
    new.expect(connack(false, 3));
    new.expect_closed();
    let mut early = pending.pop().unwrap();
    early.send(Connect::new("early").bytes());
    early.expect(connack(false, 3));
    early.expect_closed();
    broker.log_line(|line| line.contains("CONNECT refused: the server is shutting down"));
    drop(pending);
    assert!(broker.wait().success());
}

/// What was acknowledged to its publisher before reaches whoever listens, however slowly he reads.
#[test]
fn what_was_acknowledged_is_sent_before_the_end() {
    const MESSAGES: u32 = 3_000;
    let mut broker = Broker::start();
    let mut slow = Wire::client(&broker, "slow");
    slow.subscribe("a", 0);
    let mut publisher = Wire::client(&broker, "publisher");
    let rest = "x".repeat(4_000);
    for n in 0..MESSAGES {
        publisher.publish(&Publish::new("a", format!("{n} {rest}")).qos(1, 1));
    }
    broker.terminate();
    publisher.expect_closed();
    for n in 0..MESSAGES {
        let publish = slow.expect_publish();
        assert!(publish.text().starts_with(&format!("{n} ")), "{n}: {publish:?}");
    }
    slow.expect_closed();
    assert!(broker.wait().success());
}

/// [MQTT-3.1.2-8]: every will reaches every subscriber that is left.
#[test]
fn wills_reach_the_subscribers_that_are_left() {
    const CLIENTS: usize = 100;
    let mut broker = Broker::start();
    let mortal = |n: usize| {
        let will = Publish::new("will", n.to_string()).qos(1, 0);
        Wire::connect(&broker, &Connect::new(format!("mortal-{n}")).will(will))
    };
    let mut clients: Vec<Wire> = (0..CLIENTS).map(mortal).collect();
    for client in &mut clients {
        client.subscribe("will", 0);
    }
    broker.terminate();
    for (at, client) in clients.iter_mut().enumerate() {
        let mut seen: Vec<String> = Vec::new();
        while let Ok(packet) = client.try_receive() {
            seen.push(Publish::parse(&packet).unwrap().text().to_owned());
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), CLIENTS, "client {at} got {seen:?}");
    }
    assert!(broker.wait().success());
}

/// A persistent session's messages in flight do not hold the end up.
#[test]
fn unacknowledged_messages_do_not_hold_the_end_up() {
    let mut broker = Broker::with_config("[limits]\nshutdown_timeout_s = 3600\ninflight_messages_max = 2");
    let mut silent = Wire::connect(&broker, &Connect::new("silent").persistent());
    silent.subscribe("a", 1);
    let mut publisher = Wire::client(&broker, "publisher");
    for n in 0..10 {
        publisher.publish(&Publish::new("a", n.to_string()).qos(1, 1));
    }
    broker.terminate();
    assert!(broker.wait().success());
    for n in 0..2 {
        assert_eq!(silent.expect_publish().text(), n.to_string());
    }
    silent.expect_closed();
}

/// `limits.shutdown_timeout_s`: a client that never reads does not hold it up for longer.
#[test]
fn end_comes_in_time_though_a_client_does_not_read() {
    let mut broker = Broker::with_config("[limits]\nshutdown_timeout_s = 1");
    let mut deaf = Wire::client(&broker, "deaf");
    deaf.subscribe("a", 0);
    let mut publisher = Wire::client(&broker, "publisher");
    let payload = vec![b'x'; 1024 * 1024];
    for _ in 0..30 {
        publisher.publish(&Publish::new("a", &payload).qos(1, 1));
    }
    let pending = holding(&broker, 1);
    let asked = Instant::now();
    broker.terminate();
    assert!(broker.wait().success());
    // Far less than what a wait without bound would take, and room for a machine under load.
    assert!(asked.elapsed() < Duration::from_secs(1) + PATIENCE / 2, "{:?}", asked.elapsed());
    broker.log_line(|line| line.contains("limits.shutdown_timeout_s is over"));
    drop((pending, deaf));
}

#[test]
fn second_signal_ends_at_once() {
    let config = "[limits]\nshutdown_timeout_s = 3600\nconnect_timeout_s = 3600";
    let mut broker = Broker::with_config(config);
    let _pending = holding(&broker, 1);
    stop(&broker);
    assert!(broker.log().lines(|line| line.message() == "ended").is_empty());
    broker.terminate();
    assert_eq!(broker.wait().code(), Some(1));
    broker.log_line(|line| line.contains("ended by a second signal"));
}

/// Without anybody connected it ends at once, and says so.
#[test]
fn idle_broker_ends_at_once() {
    let (status, log) = Broker::start().stop();
    assert!(status.success());
    log.line(|line| line.message() == "ended");
}
