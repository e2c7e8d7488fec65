//! Shared subscriptions: who is a member, and what waits for each.

use crate::durability::{Way, await_interval, every_way};
use crate::harness::{Broker, Connect5, Publish5, Wire};
use std::collections::BTreeSet;

const FILTER: &str = "$share/group/work/#";
const MEMBERS: [&str; 3] = ["one", "two", "three"];

fn connect(name: &str) -> Connect5 {
    Connect5::new(name).persistent(u32::MAX)
}

fn publish(broker: &Broker, work: std::ops::Range<usize>) {
    let mut publisher = Wire::client5(broker, "publisher");
    for n in work {
        publisher.publish5(&Publish5::new("work/1", format!("{n} {}", "x".repeat(100))).qos(1, 1));
    }
}

/// All that comes for a client, up to a message that is for it alone.
fn take_all(broker: &Broker, wire: &mut Wire, name: &str) -> Vec<usize> {
    wire.subscribe5(format!("end/{name}"), 1);
    Wire::client5(broker, "publisher").publish5(&Publish5::new(format!("end/{name}"), "end").qos(1, 1));
    let mut taken = Vec::new();
    loop {
        let publish = wire.expect_publish5();
        wire.acknowledge5(&publish);
        if publish.text() == "end" {
            return taken;
        }
        taken.push(publish.text().split(' ').next().unwrap().parse().unwrap());
    }
}

/// A broker whose group is away, with 60 messages for it.
fn with_messages_for_all(way: Way) -> Broker {
    let broker = way.start();
    for name in MEMBERS {
        let mut member = Wire::connect5(&broker, &connect(name));
        member.subscribe5(FILTER, 1);
        member.disconnect5(0);
    }
    publish(&broker, 0..60);
    broker
}

/// Two members end their sessions, one directly after the other: what the first left to the second goes on.
#[test]
fn what_waits_for_members_that_end_in_a_row_goes_to_who_is_left() {
    every_way(|way| {
        let broker = with_messages_for_all(way);
        let [one, two, three] = MEMBERS;
        let ended = [one, two].map(|name| Wire::connect5(&broker, &Connect5::new(name)));
        let mut last = Wire::resume5(&broker, &connect(three));
        let mut all = BTreeSet::new();
        while all.len() < 60 {
            let publish = last.expect_publish5();
            last.acknowledge5(&publish);
            assert!(all.insert(publish.text().split(' ').next().unwrap().parse::<usize>().unwrap()));
        }
        last.expect_nothing_but_pong();
        drop(ended);
        let broker = way.restart(broker);
        Wire::resume5(&broker, &connect(three)).expect_nothing_but_pong();
    });
}

#[test]
fn group_has_its_members_and_each_what_waits_for_it() {
    every_way(|way| {
        let broker = with_messages_for_all(way);
        let broker = way.restart(broker);
        let mut members = MEMBERS.map(|name| Wire::resume5(&broker, &connect(name)));
        publish(&broker, 60..120);
        let mut all = BTreeSet::new();
        for (name, member) in MEMBERS.into_iter().zip(&mut members) {
            let taken = take_all(&broker, member, name);
            assert!(taken.is_sorted() && !taken.is_empty(), "{name}: {taken:?}");
            for n in taken {
                assert!(all.insert(n), "{n} came twice");
            }
        }
        assert_eq!(all, (0..120).collect());
    });
}

/// A member ends its session after the restart: what waited for it goes to the others.
#[test]
fn what_waits_for_a_member_that_ends_goes_to_others() {
    every_way(|way| {
        let broker = with_messages_for_all(way);
        let broker = way.restart(broker);
        Wire::connect5(&broker, &Connect5::new("one")).disconnect5(0);
        // It is ended behind the answers; a kill before that finds it there, and all that waits for it.
        await_interval(&broker);
        let broker = way.restart(broker);
        let mut all = BTreeSet::new();
        for name in ["two", "three"] {
            let mut member = Wire::resume5(&broker, &connect(name));
            for n in take_all(&broker, &mut member, name) {
                assert!(all.insert(n), "{n} came twice");
            }
        }
        assert_eq!(all, (0..60).collect());
    });
}
