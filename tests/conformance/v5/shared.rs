//! Shared subscriptions (§4.8.2): who of a group gets a message, and what becomes of it when he leaves.
//! What a subscription of a group is, and how it goes with others, is in `groups`.

use super::steps::{numbers, taken, texts};
use crate::harness::packets5::{
    PUBACK, PUBCOMP, PUBREC, PUBREL, RECEIVE_MAXIMUM, SUBACK, SUBSCRIPTION_ID, UNSUBACK, With, ack5,
    subscribe5, unsubscribe5,
};
use crate::harness::{Broker, Connect5, Publish5, Wire};

const FILTER: &str = "$share/g/a";

/// A client of the group, with this QoS.
fn member(broker: &Broker, connect: &Connect5, qos: u8) -> Wire {
    let mut wire = Wire::connect5(broker, connect);
    wire.subscribe5(FILTER, qos);
    wire
}

/// A member whose session outlives its connection.
fn lasting(id: &str) -> Connect5 {
    Connect5::new(id).persistent(300)
}

/// Publishes each payload to `a`.
fn publish_all(sender: &mut Wire, qos: u8, payloads: &[String]) {
    for payload in payloads {
        sender.publish5(&Publish5::new("a", payload).qos(qos, 1));
    }
}

/// Both lists together are all of `payloads`, each once.
#[track_caller]
fn assert_shared_out(payloads: &[String], parts: &[&[Publish5]]) {
    let mut got: Vec<usize> =
        parts.iter().flat_map(|part| texts(part)).map(|text| text.parse().expect("a number")).collect();
    got.sort_unstable();
    assert_eq!(got, (0..payloads.len()).collect::<Vec<_>>());
}

/// Takes so many messages, waiting for each.
#[track_caller]
fn take_many(wire: &mut Wire, messages: usize) -> Vec<Publish5> {
    let take = |_| {
        let publish = wire.expect_publish5();
        wire.acknowledge5(&publish);
        publish
    };
    (0..messages).map(take).collect()
}

/// §4.8.2: each message goes to one member, and all members get their share.
#[test]
fn members_get_their_fair_share() {
    let broker = Broker::start();
    let mut sender = Wire::client5(&broker, "sender");
    let mut members = ["m1", "m2", "m3"].map(|id| member(&broker, &Connect5::new(id), 2));
    for qos in 0..=2 {
        let payloads = numbers(0..30);
        publish_all(&mut sender, qos, &payloads);
        let parts = members.each_mut().map(taken);
        assert_shared_out(&payloads, &parts.each_ref().map(Vec::as_slice));
        assert!(parts.iter().all(|part| part.len() == 10), "{parts:?}");
    }
}

/// §4.8.2: all members get their share, too, where several clients publish and members join.
#[test]
fn share_is_fair_with_many_publishers() {
    let broker = Broker::start();
    let mut members = vec![member(&broker, &Connect5::new("m1"), 1)];
    let mut senders = ["s1", "s2", "s3"].map(|id| Wire::client5(&broker, id));
    for n in 2..5 {
        members.push(member(&broker, &Connect5::new(format!("m{n}")), 1));
        let payloads = numbers(0..60);
        for (sender, part) in senders.iter_mut().zip(payloads.chunks(20)) {
            publish_all(sender, 1, part);
        }
        let parts: Vec<_> = members.iter_mut().map(taken).collect();
        assert_shared_out(&payloads, &parts.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let fair = payloads.len() / members.len();
        assert!(parts.iter().all(|part| part.len() >= fair / 2), "{parts:?}");
    }
}

/// [MQTT-4.8.2-3]: each member gets messages with no more than the QoS that it was granted.
#[test]
fn each_member_keeps_its_granted_qos() {
    let broker = Broker::start();
    let mut sender = Wire::client5(&broker, "sender");
    let mut members = [0, 1, 2].map(|qos| (member(&broker, &Connect5::new(format!("m{qos}")), qos), qos));
    for sent in 0..=2 {
        publish_all(&mut sender, sent, &numbers(0..9));
        for (member, granted) in &mut members {
            let part = taken(member);
            assert_eq!(part.len(), 3);
            assert!(part.iter().all(|publish| publish.qos == sent.min(*granted)), "{part:?}");
        }
    }
}

/// §4.8.2: what a member was sent with QoS 1 and did not acknowledge goes to another once it is gone,
/// and so does what still waited for it; there it comes for the first time.
#[test]
fn qos1_messages_of_a_member_that_leaves_go_to_another() {
    for (connect, window) in [(Connect5::new("m1"), 100), (lasting("m1"), 100), (lasting("m1"), 1)] {
        let broker = Broker::start();
        let mut sender = Wire::client5(&broker, "sender");
        let mut leaves = member(&broker, &connect.clone().with(RECEIVE_MAXIMUM, window), 1);
        let mut stays = member(&broker, &Connect5::new("m2"), 1);
        let payloads = numbers(0..6);
        publish_all(&mut sender, 1, &payloads);
        let mut got = take_many(&mut stays, 3);
        assert_eq!(leaves.expect_publish5().qos, 1);
        leaves.cut();
        got.extend(take_many(&mut stays, 3));
        assert_shared_out(&payloads, &[&got]);
        assert!(got.iter().all(|publish| publish.qos == 1 && !publish.dup), "{got:?}");
        // The one that comes back has nothing left of them.
        let (mut back, _) = Wire::greet5(&broker, &connect);
        back.expect_nothing_but_pong();
        stays.expect_nothing_but_pong();
    }
}

/// §4.8.2: when a member leaves, what it had acknowledged goes to nobody else.
#[test]
fn acknowledged_messages_go_to_nobody_else() {
    let broker = Broker::start();
    let mut sender = Wire::client5(&broker, "sender");
    let mut leaves = member(&broker, &lasting("m1"), 1);
    let mut stays = member(&broker, &Connect5::new("m2"), 1);
    publish_all(&mut sender, 1, &numbers(0..4));
    let sent = [leaves.expect_publish5(), leaves.expect_publish5()];
    take_many(&mut stays, 2);
    leaves.send(ack5(PUBACK, sent[0].id, 0).bytes());
    leaves.expect_nothing_but_pong();
    leaves.cut();
    assert_eq!(stays.take5(sent[1].text()).qos, 1);
    stays.expect_nothing_but_pong();
}

/// [MQTT-4.4.0-1]: without another member they wait for the one that was chosen, and are sent again.
#[test]
fn qos1_messages_wait_where_there_is_no_other_member() {
    let broker = Broker::start();
    let mut sender = Wire::client5(&broker, "sender");
    let mut only = member(&broker, &lasting("m1"), 1);
    publish_all(&mut sender, 1, &numbers(0..1));
    let sent = only.expect_publish5();
    only.cut();
    let mut only = Wire::resume5(&broker, &lasting("m1"));
    assert_eq!(only.expect_publish5(), sent.clone().dup());
    only.acknowledge5(&sent);
    only.expect_nothing_but_pong();
}

/// [MQTT-4.8.2-4]: a message of QoS 2 is finished with the member that it was begun with.
#[test]
fn qos2_message_in_flight_stays_with_its_session() {
    let broker = Broker::start();
    let mut sender = Wire::client5(&broker, "sender");
    let mut chosen = member(&broker, &lasting("m1"), 2);
    publish_all(&mut sender, 2, &numbers(0..2));
    let sent = [chosen.expect_publish5(), chosen.expect_publish5()];
    let mut other = member(&broker, &Connect5::new("m2"), 2);
    chosen.send(ack5(PUBREC, sent[1].id, 0).bytes());
    chosen.expect_reason(PUBREL, sent[1].id, 0);
    chosen.cut();
    let mut back = Wire::resume5(&broker, &lasting("m1"));
    assert_eq!(back.expect_publish5(), sent[0].clone().dup());
    back.expect_reason(PUBREL, sent[1].id, 0);
    back.send(ack5(PUBCOMP, sent[1].id, 0).bytes());
    back.acknowledge5(&sent[0]);
    back.expect_nothing_but_pong();
    other.expect_nothing_but_pong();
}

/// [MQTT-4.8.2-5]: when that session ends it goes to nobody else.
#[test]
fn qos2_message_in_flight_ends_with_its_session() {
    for connect in [Connect5::new("m1"), lasting("m1")] {
        let broker = Broker::start();
        let mut sender = Wire::client5(&broker, "sender");
        let mut chosen = member(&broker, &connect, 2);
        publish_all(&mut sender, 2, &numbers(0..1));
        chosen.expect_publish5();
        let mut other = member(&broker, &Connect5::new("m2"), 2);
        chosen.cut();
        // A clean start ends what is left of the session.
        Wire::connect5(&broker, &Connect5::new("m1")).expect_nothing_but_pong();
        other.expect_nothing_but_pong();
    }
}

/// [MQTT-4.8.2-6]: what a member refuses is offered to nobody else, not even when it leaves.
#[test]
fn refused_message_goes_to_nobody_else() {
    for (qos, refusal) in [(1, PUBACK), (2, PUBREC)] {
        for code in [0x80, 0x83, 0x97, 0x99] {
            let broker = Broker::start();
            let mut sender = Wire::client5(&broker, "sender");
            let mut refuses = member(&broker, &Connect5::new("m1"), 2);
            publish_all(&mut sender, qos, &numbers(0..1));
            let id = refuses.expect_publish5().id;
            let mut other = member(&broker, &Connect5::new("m2"), 2);
            refuses.send(ack5(refusal, id, code).bytes());
            refuses.expect_nothing_but_pong();
            refuses.disconnect5(0);
            Wire::connect5(&broker, &Connect5::new("m1")).expect_nothing_but_pong();
            other.expect_nothing_but_pong();
        }
    }
}

/// §4.8.2: members that are there are preferred to those that are away.
#[test]
fn connected_members_are_preferred() {
    let broker = Broker::start();
    let mut sender = Wire::client5(&broker, "sender");
    member(&broker, &lasting("away"), 1).disconnect5(0);
    let mut there = member(&broker, &Connect5::new("there"), 1);
    // The session is parked a moment after its socket was closed.
    Wire::resume5(&broker, &lasting("away")).disconnect5(0);
    broker.log().nth_line(1, |line| line.field("client") == Some("away") && line.message() == "disconnected");
    let payloads = numbers(0..20);
    publish_all(&mut sender, 1, &payloads);
    assert_shared_out(&payloads, &[&take_many(&mut there, 20)]);
    Wire::resume5(&broker, &lasting("away")).expect_nothing_but_pong();
}

/// §4.8.2: where no member is there, one that is away takes the message into its queue.
#[test]
fn message_waits_where_all_members_are_away() {
    let broker = Broker::start();
    let mut sender = Wire::client5(&broker, "sender");
    for id in ["m1", "m2"] {
        member(&broker, &lasting(id), 1).disconnect5(0);
        Wire::resume5(&broker, &lasting(id)).disconnect5(0);
    }
    let payloads = numbers(0..10);
    for payload in &payloads {
        assert_eq!(sender.try_publish5(&Publish5::new("a", payload).qos(1, 1)), 0);
    }
    let parts = ["m1", "m2"].map(|id| taken(&mut Wire::resume5(&broker, &lasting(id))));
    assert_shared_out(&payloads, &parts.each_ref().map(Vec::as_slice));
}

/// §4.8.2: a member that unsubscribes leaves the group to the others; the last one ends it.
#[test]
fn unsubscribing_leaves_the_group_to_the_others() {
    let broker = Broker::start();
    let mut sender = Wire::client5(&broker, "sender");
    let mut members = ["m1", "m2", "m3"].map(|id| member(&broker, &Connect5::new(id), 1));
    let payloads = numbers(0..12);
    for left in (0..3).rev() {
        members[left].send(unsubscribe5(1, &[FILTER]).bytes());
        members[left].expect_reason(UNSUBACK, 1, 0);
        for payload in &payloads {
            let code = sender.try_publish5(&Publish5::new("a", payload).qos(1, 1));
            assert_eq!(code, if left == 0 { 0x10 } else { 0 });
        }
        let parts: Vec<_> = members.iter_mut().map(taken).collect();
        assert!(parts[left..].iter().all(Vec::is_empty), "{parts:?}");
        if left > 0 {
            assert_shared_out(&payloads, &parts.iter().map(Vec::as_slice).collect::<Vec<_>>());
        }
    }
}

/// §4.8.2: when a member's session ends, what it had not acknowledged of QoS 1, and what still waited for
/// it, goes to another, were it one that is away.
#[test]
fn qos1_messages_of_a_session_that_ends_go_to_another() {
    for connect in [Connect5::new("m1"), lasting("m1")] {
        let broker = Broker::start();
        let mut sender = Wire::client5(&broker, "sender");
        member(&broker, &lasting("away"), 1).disconnect5(0);
        broker.log_line(|line| line.field("client") == Some("away") && line.message() == "disconnected");
        let mut ends = member(&broker, &connect.with(RECEIVE_MAXIMUM, 1), 1);
        let payloads = numbers(0..3);
        publish_all(&mut sender, 1, &payloads);
        ends.expect_publish5();
        ends.cut();
        // A clean start ends what is left of the session.
        Wire::connect5(&broker, &Connect5::new("m1")).expect_nothing_but_pong();
        let mut back = Wire::resume5(&broker, &lasting("away"));
        assert_shared_out(&payloads, &[&take_many(&mut back, 3)]);
    }
}

/// [MQTT-4.8.2-3]: what goes to another member goes with that one's QoS and identifier.
#[test]
fn message_that_goes_to_another_has_the_terms_of_that_one() {
    let broker = Broker::start();
    let mut sender = Wire::client5(&broker, "sender");
    let mut leaves = member(&broker, &lasting("m1"), 1);
    publish_all(&mut sender, 1, &numbers(0..1));
    leaves.expect_publish5();
    let mut next = Wire::client5(&broker, "m2");
    next.send(subscribe5(1, &[(FILTER, 0)]).with(SUBSCRIPTION_ID, 2).bytes());
    next.expect_reason(SUBACK, 1, 0);
    leaves.cut();
    let publish = next.take5("0");
    assert_eq!((publish.qos, publish.properties.subscription_ids()), (0, vec![2]));
    next.expect_nothing_but_pong();
}

/// §4.8.2, [MQTT-3.10.4-3]: a member that unsubscribes finishes what it was sent.
#[test]
fn member_that_unsubscribes_finishes_what_it_was_sent() {
    let broker = Broker::start();
    let mut sender = Wire::client5(&broker, "sender");
    let mut leaves = member(&broker, &lasting("m1"), 2);
    for qos in [1, 2] {
        publish_all(&mut sender, qos, &numbers(0..1));
    }
    let sent = [leaves.expect_publish5(), leaves.expect_publish5()];
    let mut other = member(&broker, &Connect5::new("m2"), 2);
    leaves.send(unsubscribe5(1, &[FILTER]).bytes());
    leaves.expect_reason(UNSUBACK, 1, 0);
    for publish in &sent {
        leaves.acknowledge5(publish);
    }
    leaves.disconnect5(0);
    Wire::resume5(&broker, &lasting("m1")).expect_nothing_but_pong();
    other.expect_nothing_but_pong();
}
