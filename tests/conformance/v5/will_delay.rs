//! Will Delay Interval (§3.1.3.2.2): the will waits, until the delay or the session is over, and is
//! forgotten where the client comes back before.

use super::await_one_and_a_half_seconds;
use crate::harness::packets5::{MESSAGE_EXPIRY, SESSION_EXPIRY, WILL_DELAY, With, disconnect5};
use crate::harness::{Broker, Connect5, Publish5, Wire};
use std::time::{Duration, Instant};

/// A broker and a client that watches `#`.
fn watched() -> (Broker, Wire) {
    let broker = Broker::start();
    let mut watcher = Wire::client5(&broker, "watcher");
    watcher.subscribe5("#", 1);
    (broker, watcher)
}

/// A client with a will that waits for `delay` seconds, and a session of `expiry` seconds.
fn mortal(delay: u32, expiry: u32) -> Connect5 {
    let will = Publish5::new("will", "1").qos(1, 0).with(WILL_DELAY, delay);
    Connect5::new("mortal").with(SESSION_EXPIRY, expiry).will(will)
}

/// The will comes about one second after `since`.
#[track_caller]
fn assert_one_second(watcher: &mut Wire, since: Instant) {
    watcher.take5("1");
    let waited = since.elapsed();
    assert!((Duration::from_millis(900)..Duration::from_secs(5)).contains(&waited), "{waited:?}");
}

/// [MQTT-3.1.2-8]: it is published when its delay is over, and not before.
#[test]
fn will_waits_for_its_delay() {
    let (broker, mut watcher) = watched();
    let client = Wire::connect5(&broker, &mortal(1, 60));
    let since = Instant::now();
    client.cut();
    assert_one_second(&mut watcher, since);
    watcher.expect_nothing_but_pong();
    // Its session is still there, and has no will any more.
    Wire::resume5(&broker, &Connect5::new("mortal").persistent(60)).cut();
    watcher.expect_nothing_but_pong();
}

/// [MQTT-3.1.2-8], §3.14.2.1: also where DISCONNECT asks for it.
#[test]
fn disconnect_with_will_waits_for_the_delay_too() {
    let (broker, mut watcher) = watched();
    let client = Wire::connect5(&broker, &mortal(1, 60));
    let since = Instant::now();
    client.disconnect5(0x04);
    assert_one_second(&mut watcher, since);
}

/// [MQTT-3.1.3-9], [MQTT-3.1.2-8]: it is not published where the client takes its session up again in time.
#[test]
fn will_is_forgotten_when_the_client_comes_back() {
    let (broker, mut watcher) = watched();
    Wire::connect5(&broker, &mortal(1, 60)).cut();
    let mut back = Wire::resume5(&broker, &Connect5::new("mortal").persistent(60));
    await_one_and_a_half_seconds(&broker);
    watcher.expect_nothing_but_pong();
    back.expect_nothing_but_pong();
    // The will of the new connection is another one; its delay begins when that is lost.
    back.disconnect5(0);
    await_one_and_a_half_seconds(&broker);
    watcher.expect_nothing_but_pong();
}

/// [MQTT-3.1.3-9]: taking the connection over is coming back.
#[test]
fn will_is_forgotten_at_take_over() {
    let (broker, mut watcher) = watched();
    let mut old = Wire::connect5(&broker, &mortal(1, 60));
    let _new = Wire::resume5(&broker, &Connect5::new("mortal").persistent(60));
    old.expect_disconnect(0x8E);
    await_one_and_a_half_seconds(&broker);
    watcher.expect_nothing_but_pong();
}

/// [MQTT-3.1.2-8]: without delay the take-over is an end like any other.
#[test]
fn will_without_delay_is_published_at_take_over() {
    let (broker, mut watcher) = watched();
    let mut old = Wire::connect5(&broker, &mortal(0, 60));
    let _new = Wire::resume5(&broker, &Connect5::new("mortal").persistent(60));
    old.expect_disconnect(0x8E);
    watcher.take5("1");
    watcher.expect_nothing_but_pong();
}

/// [MQTT-3.1.2-8], §3.1.4: clean start ends the session, and with it the delay, whether the client is away or
/// there; so does a take-over where the session was to end with the old connection.
#[test]
fn session_that_is_replaced_ends_the_delay() {
    let (broker, mut watcher) = watched();
    for (expiry, away) in [(60, true), (60, false), (0, false)] {
        let old = Wire::connect5(&broker, &mortal(60, expiry));
        let old = (!away).then_some(old);
        // Where the old session ended with its connection, there is none to resume.
        let new = Connect5::new("mortal");
        let new = Wire::connect5(&broker, &if expiry == 0 { new.keep_session() } else { new });
        watcher.take5("1");
        new.disconnect5(0);
        drop(old);
    }
    watcher.expect_nothing_but_pong();
}

/// [MQTT-3.1.2-8]: the end of the session ends the delay: at once without expiry, else when it has passed.
#[test]
fn end_of_the_session_ends_the_delay() {
    let (broker, mut watcher) = watched();
    Wire::connect5(&broker, &mortal(60, 0)).cut();
    watcher.take5("1");
    let client = Wire::connect5(&broker, &mortal(60, 1));
    let since = Instant::now();
    client.cut();
    assert_one_second(&mut watcher, since);
    // DISCONNECT may set the end of the session nearer.
    let mut client = Wire::connect5(&broker, &mortal(60, 60));
    client.send(disconnect5(0x04).with(SESSION_EXPIRY, 0).bytes());
    client.expect_closed();
    watcher.take5("1");
    watcher.expect_nothing_but_pong();
}

/// [MQTT-3.1.2-10], [MQTT-3.14.4-3]: DISCONNECT with code 0 leaves none behind.
#[test]
fn normal_disconnect_leaves_no_delayed_will() {
    let (broker, mut watcher) = watched();
    Wire::connect5(&broker, &mortal(1, 60)).disconnect5(0);
    await_one_and_a_half_seconds(&broker);
    watcher.expect_nothing_but_pong();
}

/// §3.1.3.2.4: its lifetime begins when it is published, not while it waits.
#[test]
fn delay_does_not_count_for_message_expiry() {
    let (broker, mut watcher) = watched();
    let will = Publish5::new("will", "1").with(WILL_DELAY, 2).with(MESSAGE_EXPIRY, 4);
    Wire::connect5(&broker, &Connect5::new("mortal").with(SESSION_EXPIRY, 60).will(will)).cut();
    let left = watcher.take5("1").properties.number(MESSAGE_EXPIRY);
    assert!(left >= Some(3), "{left:?}");
}
