//! A sync that fails: what was not acknowledged is not promised, and the broker ends, since what the system has
//! in its cache is not to be trusted any more.

use super::preload::{Library, preloaded};
use crate::harness::packets::puback;
use crate::harness::{Connect, Publish, Setup, Wire};

#[test]
fn failed_sync_ends_the_broker_and_loses_nothing_acknowledged() {
    let setup = Setup::new().config("[storage]\ndurability = \"sync\"\n");
    let mut broker = preloaded(setup, Library::Fail, "TEST_FAIL_AT", "40").start();
    let connect = Connect::new("away").persistent();
    let mut away = Wire::connect(&broker, &connect);
    away.subscribe("a", 1);
    away.disconnect();
    let mut publisher = Wire::client(&broker, "publisher");
    let mut acknowledged = 0;
    loop {
        publisher.send(Publish::new("a", format!("{acknowledged} ")).qos(1, 1).bytes());
        if publisher.try_receive().ok().as_deref() != Some(&puback(1)) {
            break;
        }
        acknowledged += 1;
    }
    assert!((1..60).contains(&acknowledged), "{acknowledged} before the sync that fails");
    broker.log_line(|line| line.contains("the store has failed"));
    assert_eq!(broker.wait().code(), Some(74));
    let broker = broker.again().env("TEST_FAIL_AT", "0").start();
    let mut away = Wire::resume(&broker, &connect);
    for n in 0..acknowledged {
        away.take(&format!("{n} "));
    }
}
