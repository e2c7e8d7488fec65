//! Stamps that do not hold cost a verification each: a connection that goes on with them is closed, and an
//! address where many come from is refused for a while. Everybody else goes on.

use super::{Plant, RULES, await_report, payload_for, setup};
use crate::harness::log::LogLine;
use crate::harness::packets5::{SESSION_EXPIRY, WILL_DELAY, With};
use crate::harness::{Broker, Connect, Connect5, Publish, Publish5, Wire};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

const TOPIC: &str = "plant/7/level";

fn start(limits: &str) -> Plant {
    Plant::of(setup().config(RULES).config(&format!("[limits]\n{limits}")).start())
}

fn bad_stamp(plant: &Plant) -> Vec<u8> {
    payload_for(plant, "bad-stamp", TOPIC)
}

/// A sealed message comes through.
#[track_caller]
fn assert_passes(plant: &mut Plant, sender: &mut Wire) {
    let envelope = plant.seal(TOPIC, "21.5");
    sender.publish(&Publish::new(TOPIC, envelope).qos(1, 1));
    plant.watcher.take("21.5");
}

#[test]
fn a_connection_that_goes_on_is_closed() {
    let mut plant = start("failed_stamps_per_connection = 3");
    let mut honest = Wire::client(&plant.broker, "honest");
    let payload = bad_stamp(&plant);
    let mut culprit = Wire::client5(&plant.broker, "culprit");
    for id in 1..=4 {
        assert_eq!(culprit.try_publish5(&Publish5::new(TOPIC, &payload).qos(1, id)), 0x87);
    }
    culprit.expect_disconnect(0x97);
    culprit.expect_closed();
    plant.broker.log_line(|line| line.contains("limits.failed_stamps_per_connection"));
    let mut old = Wire::client(&plant.broker, "old");
    for id in 1..=4 {
        old.publish(&Publish::new(TOPIC, &payload).qos(1, id));
    }
    old.expect_closed();
    assert_passes(&mut plant, &mut honest);
    let mut new = Wire::client(&plant.broker, "new");
    assert_passes(&mut plant, &mut new);
}

#[test]
fn by_default_a_connection_may_fail_16_times() {
    let plant = Plant::start();
    let payload = bad_stamp(&plant);
    let mut culprit = Wire::client(&plant.broker, "culprit");
    for id in 1..=17 {
        culprit.publish(&Publish::new(TOPIC, &payload).qos(1, id));
    }
    culprit.expect_closed();
}

/// What is found out without a verification closes nothing.
#[test]
fn cheap_refusals_do_not_count() {
    let mut plant = start("failed_stamps_per_connection = 1\nfailed_stamps_per_address = 1");
    let mut sender = Wire::client(&plant.broker, "sender");
    for reason in ["not-an-envelope", "wrong-algorithm", "unknown-sender", "sender-not-allowed"] {
        let payload = payload_for(&plant, reason, TOPIC);
        for id in 1..=5 {
            sender.publish(&Publish::new(TOPIC, &payload).qos(1, id));
        }
    }
    assert_passes(&mut plant, &mut sender);
}

/// Waits for so many seconds, as the reports of the uptime go.
fn await_seconds(wire: &mut Wire, seconds: usize) {
    for _ in 0..=seconds {
        wire.expect_publish();
    }
}

/// Whether a new connection is closed before anything is heard of it.
fn is_refused(broker: &Broker) -> bool {
    is_refused_at(broker.addr())
}

/// The same at this address.
fn is_refused_at(addr: SocketAddr) -> bool {
    let mut wire = Wire::open_at(addr);
    // The broker may have closed it already.
    let _ = wire.try_send(Connect::new("late").bytes());
    wire.try_receive().is_err()
}

#[test]
fn an_address_is_refused_for_a_while() {
    let limits = "failed_stamps_per_address = 5\nfailed_stamps_refuse_s = 5\nfailed_stamps_window_s = 5";
    let mut plant = start(limits);
    let mut honest = Wire::client(&plant.broker, "honest");
    let mut clock = Wire::client(&plant.broker, "clock");
    clock.subscribe("$SYS/broker/uptime", 0);
    let payload = bad_stamp(&plant);
    let [mut one, mut two] = ["one", "two"].map(|id| Wire::client(&plant.broker, id));
    for id in 1..=3 {
        one.publish(&Publish::new(TOPIC, &payload).qos(1, id));
    }
    for id in 1..=2 {
        two.publish(&Publish::new(TOPIC, &payload).qos(1, id));
    }
    assert!(!is_refused(&plant.broker));
    two.publish(&Publish::new(TOPIC, &payload).qos(1, 3));
    two.expect_closed();
    let refused = |line: &LogLine| line.contains("new connections are refused");
    plant.broker.log_line(refused);
    assert!(is_refused(&plant.broker));
    // Who is there goes on, and is closed with his next failed stamp.
    assert_passes(&mut plant, &mut honest);
    one.publish(&Publish::new(TOPIC, &payload).qos(1, 4));
    one.expect_closed();
    await_seconds(&mut clock, 6);
    assert!(!is_refused(&plant.broker));
    assert_eq!(plant.broker.log().lines(refused).len(), 1);
}

/// Of IPv6 an address counts as of IPv4, each for itself; and one of IPv4 is the same on a listener for both.
#[test]
fn an_address_of_ipv6_is_refused_as_well() {
    let listeners = "[[listener]]\nbind = \"[::]:0\"\n[[listener]]\nbind = \"127.0.0.1:0\"\n[[listener]]\n\
        bind = \"127.0.0.1:0\"\ntls = { cert = \"server.pem\", key = \"server.key\" }\n";
    let limits = "[limits]\nfailed_stamps_per_address = 3\n";
    let mut plant = Plant::of(setup().config(RULES).config(limits).config(listeners).start());
    let port = plant.broker.addr().port();
    let [six, mapped] = [Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()]
        .map(|ip: std::net::IpAddr| SocketAddr::from((ip, port)));
    let four = plant.broker.await_listening(1);
    let payload = bad_stamp(&plant);
    let fail = |addr: SocketAddr, times: u16| {
        let mut wire = Wire::open_at(addr).connected(&Connect::new(addr.to_string()), false);
        for id in 1..=times {
            wire.publish(&Publish::new(TOPIC, &payload).qos(1, id));
        }
        wire
    };
    fail(six, 2).disconnect();
    let mut honest = Wire::open_at(six).connected(&Connect::new("honest"), false);
    fail(six, 2).expect_closed();
    assert!(is_refused_at(six) && !is_refused_at(mapped) && !is_refused_at(four));
    plant.broker.log_line(|line| {
        line.contains("new connections are refused") && line.field("addr") == Some(&six.ip().to_string())
    });
    assert_passes(&mut plant, &mut honest);
    fail(four, 2).disconnect();
    fail(mapped, 2).expect_closed();
    assert!(is_refused_at(mapped) && is_refused_at(four));
}

#[test]
fn limits_can_be_lifted() {
    let mut plant = start("failed_stamps_per_connection = 0\nfailed_stamps_per_address = 0");
    let payload = bad_stamp(&plant);
    let mut sender = Wire::client(&plant.broker, "sender");
    for id in 1..=100 {
        sender.publish(&Publish::new(TOPIC, &payload).qos(1, id));
    }
    assert_passes(&mut plant, &mut sender);
}

/// Leaves so many wills with this payload that wait for a second.
fn leave_wills(broker: &Broker, payload: &[u8], count: usize) {
    for n in 0..count {
        let will = Publish5::new(TOPIC, payload).qos(1, 0).with(WILL_DELAY, 1);
        let connect = Connect5::new(format!("mortal-{n}")).with(SESSION_EXPIRY, 60).will(will);
        Wire::connect5(broker, &connect).cut();
    }
}

/// A will that was delayed counts for the address of the client that is gone.
#[test]
fn delayed_wills_count_for_their_address() {
    let mut plant = start("failed_stamps_per_address = 3");
    let mut honest = Wire::client(&plant.broker, "honest");
    let payload = bad_stamp(&plant);
    leave_wills(&plant.broker, &payload, 4);
    let line = plant.broker.log_line(|line| line.contains("new connections are refused"));
    assert_eq!(line.field("addr"), Some("127.0.0.1"), "{}", line.text);
    assert!(is_refused(&plant.broker));
    assert_passes(&mut plant, &mut honest);
    let refused = plant.broker.log().lines(|line| line.message() == "will refused");
    assert_eq!(refused.len(), 4);
    assert!(refused.iter().all(|line| line.field("addr").unwrap().starts_with("127.0.0.1:")), "{refused:?}");
    let setup = plant.into_broker().end();
    let audit = std::fs::read_to_string(setup.dir().join("data/audit/audit.jsonl")).unwrap();
    let of = |event: &str| audit.lines().filter(|line| line.contains(event)).collect::<Vec<_>>();
    let wills = of("\"reason\":\"bad-stamp\",\"client\":\"mortal-");
    assert_eq!(wills.len(), 4, "{audit}");
    assert!(wills.iter().all(|line| line.contains("\"addr\":\"127.0.0.1:")), "{wills:?}");
    assert_eq!(of("\"event\":\"address-refused\"").len(), 1, "{audit}");
}

/// Each has a connection of its own, and still they are no flood of lines.
#[test]
fn delayed_wills_do_not_flood_the_log() {
    const WILLS: usize = 130;
    let mut plant = start("failed_stamps_per_address = 0");
    let payload = bad_stamp(&plant);
    leave_wills(&plant.broker, &payload, WILLS);
    await_report(&plant.broker, "refused/bad-stamp", WILLS as u64);
    let lines = plant.broker.log().lines(|line| line.message() == "will refused").len();
    assert!((1..WILLS).contains(&lines), "{lines}");
    let mut honest = Wire::client(&plant.broker, "honest");
    assert_passes(&mut plant, &mut honest);
}
