//! Shared subscriptions as sessions come and go: registry, router, mailboxes and sessions together, without
//! sockets.

use super::*;
use crate::broker::Broker;
use crate::egress::{Channel, Egress};
use crate::mailbox::Command;
use crate::registry::{Claim, Claimed};
use crate::rulebook::Rulebook;
use crate::session::Action;
use crate::session::connect::Terms as Link;
use crate::store::layout::Keyspace;
use crate::store::simulated::SimulatedDisk;
use crate::store::{Committer, Durability, Recovered};
use sealmq_config::Config;
use sealmq_protocol::packet::{PacketId, Subscribe, UserProperties, Version};
use std::collections::VecDeque;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

fn broker() -> Broker {
    let config = Config::default();
    let rulebook = Rulebook::for_tests(&config);
    Broker::new(&config, &rulebook, Arc::new(Store::memory()), Recovered::default())
}

/// A broker with a store that writes when its committer is told to, and of which so much may be pending.
fn stored(pending: usize, change: impl FnOnce(&mut Config)) -> (Broker, Arc<SimulatedDisk>, Committer) {
    let mut config = Config::default();
    change(&mut config);
    let disk = Arc::new(SimulatedDisk::default());
    let (store, recovered, committer) = Store::over(disk.clone(), Durability::Sync, pending).unwrap();
    let rulebook = Rulebook::for_tests(&config);
    (Broker::new(&config, &rulebook, Arc::new(store), recovered), disk, committer)
}

/// As [`member`], and has read that nothing waits for it.
async fn shallow_member(broker: &Broker, name: &str) -> Claimed {
    let member = member(broker, name, true, true).await;
    member.mailbox.turn_page(broker.store.written(), true, (0, 0));
    member
}

/// Connects, with a session that is kept for a while, and shares a subscription to `t`.
async fn member(broker: &Broker, name: &str, clean_start: bool, secure: bool) -> Claimed {
    let claim = Claim { client_id: &name.into(), user: None, clean_start, persistent: true };
    let mut claimed = broker.registry.claim(claim).await.unwrap();
    let link = Link {
        version: Version::V5,
        will: None,
        keep_alive_s: 0,
        session_expiry_s: 100,
        receive_maximum: u16::MAX,
        packet_bytes_max: None,
        aliases_to_client: 0,
        problem_information: true,
        authentication_method: None,
    };
    claimed.session.attach(link, secure, Instant::now());
    claimed.mailbox.attach(Channel::of(secure, false));
    let filters = vec![("$share/g/t".parse(), SubscriptionOptions::of(Qos::ExactlyOnce))];
    let (packet_id, user_properties) = (PacketId::MIN, UserProperties::default());
    let subscribe = Subscribe { packet_id, filters, subscription_id: None, user_properties };
    claimed.session.handle_permitted(subscribe, &[true]);
    while let Some(action) = claimed.session.poll_action() {
        if let Action::Subscribe(subscriptions) = action {
            broker.router.subscribe(&claimed.mailbox, &subscriptions);
        }
    }
    claimed
}

fn leave(broker: &Broker, member: Claimed) {
    broker.registry.release(member.session, &member.mailbox, None, Instant::now());
}

fn publish(broker: &Broker, messages: usize) {
    let mut turn = Turn::default();
    for _ in 0..messages {
        let message = Message::expiring_for_tests("t", "x", 100, Instant::now());
        broker.router.route(&Arc::new(message), &mut turn);
    }
}

fn waiting(member: &Claimed) -> usize {
    let mut queue = VecDeque::new();
    member.mailbox.take(&mut queue);
    queue.len()
}

#[tokio::test]
async fn turns_go_round_among_those_that_are_connected() {
    let broker = broker();
    let members = [
        member(&broker, "a", true, true).await,
        member(&broker, "away", true, true).await,
        member(&broker, "b", true, true).await,
    ];
    let [a, away, b] = members;
    leave(&broker, away);
    publish(&broker, 10);
    assert_eq!((waiting(&a), waiting(&b)), (5, 5));
}

#[tokio::test]
async fn a_confidential_message_goes_past_a_plaintext_member() {
    let broker = broker();
    let plaintext = member(&broker, "plaintext", true, false).await;
    let away = member(&broker, "away", true, true).await;
    leave(&broker, away);
    for _ in 0..4 {
        let message = Message::confidential_for_tests("t", "x", Egress::Secure);
        broker.router.route(&Arc::new(message), &mut Turn::default());
    }
    assert_eq!(waiting(&plaintext), 0);
    assert_eq!(waiting(&member(&broker, "away", false, true).await), 4);
}

#[tokio::test]
async fn a_member_that_is_just_leaving_gets_nothing() {
    let broker = broker();
    let gone = member(&broker, "gone", true, true).await;
    let away = member(&broker, "away", true, true).await;
    leave(&broker, away);
    // Its mailbox is closed, and it is in the group still.
    gone.mailbox.close();
    publish(&broker, 4);
    assert_eq!(waiting(&member(&broker, "away", false, true).await), 4);
}

#[tokio::test]
async fn what_waits_for_a_member_that_leaves_goes_to_the_others() {
    let broker = broker();
    let (a, b) = (member(&broker, "a", true, true).await, member(&broker, "b", true, true).await);
    publish(&broker, 10);
    leave(&broker, a);
    assert_eq!(waiting(&b), 10);
    assert_eq!(waiting(&member(&broker, "a", false, true).await), 0);
}

#[tokio::test]
async fn what_a_member_leaves_behind_does_not_overrun_another() {
    let broker = broker();
    let (a, b) = (member(&broker, "a", true, true).await, member(&broker, "b", true, true).await);
    // Each is over its bound of 32,768, and not twice.
    publish(&broker, 2 * 40_000);
    leave(&broker, a);
    let told = b.mailbox.poll(false, &mut Context::from_waker(Waker::noop()));
    assert!(told.is_pending(), "{told:?}");
    // Nobody else could take it, so it waits for who left.
    let back = member(&broker, "a", false, true).await;
    assert_eq!((waiting(&back), waiting(&b)), (40_000, 40_000));
    assert_ne!(
        back.mailbox.poll(false, &mut Context::from_waker(Waker::noop())),
        Poll::Ready(Some(Command::Overrun))
    );
}

#[tokio::test]
async fn the_last_member_takes_the_group_along() {
    let broker = broker();
    let filter = ["$share/g/t".parse().unwrap()];
    let (a, b) = (member(&broker, "a", true, true).await, member(&broker, "b", true, true).await);
    broker.router.unsubscribe(a.session.id(), &filter);
    assert!(!broker.router.tree.read().is_empty());
    broker.router.unsubscribe(b.session.id(), &filter);
    assert!(broker.router.tree.read().is_empty());
}

#[tokio::test]
async fn what_another_member_has_no_room_for_stays_where_it_is_kept() {
    // Ten messages of two bytes.
    let (broker, disk, mut committer) = stored(1 << 20, |config| config.storage.queued_bytes_max = 20);
    let (a, b) = (shallow_member(&broker, "a").await, shallow_member(&broker, "b").await);
    let id = a.session.id();
    publish(&broker, 10);
    leave(&broker, a);
    committer.step().unwrap();
    assert_eq!(broker.store.page(id, Position(1)).unwrap().waiting.len(), 5);
    assert_eq!((disk.count(Keyspace::Queue), waiting(&b)), (10, 5));
    assert_eq!(broker.metrics.publish_dropped.value(), 0);
}

#[tokio::test]
async fn what_one_member_has_no_room_for_goes_to_the_next() {
    let (broker, disk, mut committer) = stored(1 << 20, |config| config.limits.queue_messages_max = 5);
    let (a, b) = (shallow_member(&broker, "a").await, shallow_member(&broker, "b").await);
    let c = shallow_member(&broker, "c").await;
    publish(&broker, 15);
    assert_eq!(waiting(&c), 5);
    leave(&broker, a);
    committer.step().unwrap();
    assert_eq!((waiting(&b), waiting(&c)), (5, 5));
    assert_eq!((disk.count(Keyspace::Queue), broker.metrics.publish_dropped.value()), (15, 0));
}

#[tokio::test]
async fn what_another_member_takes_counts_no_longer_for_who_left() {
    // Twenty messages of two bytes.
    let (broker, _, mut committer) = stored(1 << 20, |config| config.storage.queued_bytes_max = 40);
    let (a, b) = (shallow_member(&broker, "a").await, shallow_member(&broker, "b").await);
    publish(&broker, 10);
    leave(&broker, a);
    committer.step().unwrap();
    assert_eq!(waiting(&b), 10);
    publish(&broker, 20);
    assert_eq!(waiting(&b), 20);
    assert_eq!(broker.metrics.publish_dropped.value(), 0);
}

#[tokio::test]
async fn what_a_long_queue_hands_over_is_written_before_there_is_more() {
    const MESSAGES: usize = 2_000;
    const PENDING_MAX: usize = 20_000;
    let (broker, disk, mut committer) = stored(PENDING_MAX, |_| {});
    let a = member(&broker, "a", true, true).await;
    publish(&broker, MESSAGES);
    leave(&broker, a);
    committer.step().unwrap();
    let b = shallow_member(&broker, "b").await;
    // The client comes back, and wants to know nothing of what was.
    let claim = Claim { client_id: &"a".into(), user: None, clean_start: true, persistent: false };
    let _a = broker.registry.claim(claim).await.unwrap();
    let mut ending = pin!(broker.registry.end_waiting_sessions());
    let (mut most, mut is_over) = (0, false);
    while !is_over {
        // More often than there are pages.
        for _ in 0..MESSAGES {
            is_over = is_over || ending.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        }
        most = most.max(broker.store.pending_bytes());
        committer.step().unwrap();
    }
    assert!(most < PENDING_MAX + 64 * 300, "a page more than may be: {most}");
    assert_eq!(disk.count(Keyspace::Queue), MESSAGES);
    assert_eq!(broker.store.page(b.session.id(), Position(1)).unwrap().waiting.len(), 64);
}
