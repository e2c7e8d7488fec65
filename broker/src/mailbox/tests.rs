//! Bounds and answers of a mailbox, and that nobody is left asleep.

use super::*;
use crate::egress::Egress;
use bytes::Bytes;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll, Wake};

#[derive(Default)]
struct Woken(AtomicU64);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn mailbox(persistent: bool, change: impl FnOnce(&mut Limits)) -> Arc<Mailbox> {
    let mut limits = Limits::default();
    change(&mut limits);
    let storage = Storage { queued_bytes_max: 1 << 20, ..Storage::default() };
    let bounds = Arc::new(Bounds::new(limits, &storage, Arc::default()));
    let keeping = if persistent { Keeping::Memory } else { Keeping::Nothing };
    Mailbox::new(SessionId(1), "dev".into(), keeping, bounds)
}

fn push(mailbox: &Mailbox, qos: Qos, bytes: usize) -> Pushed {
    let message = Message::of_broker("t".parse().unwrap(), Bytes::from(vec![b'x'; bytes]));
    mailbox.push(&Arc::new(message), Terms::of(qos), &mut None)
}

fn waiting(mailbox: &Mailbox) -> usize {
    let mut taken = VecDeque::new();
    mailbox.take(&mut taken);
    taken.len()
}

#[test]
fn only_the_first_push_asks_for_a_wake() {
    let mailbox = mailbox(false, |_| {});
    mailbox.attach(Channel::Secure);
    assert_eq!(push(&mailbox, Qos::AtLeastOnce, 1), Pushed::Wake);
    assert_eq!(push(&mailbox, Qos::AtLeastOnce, 1), Pushed::Taken);
    assert_eq!(waiting(&mailbox), 2);
    assert_eq!(push(&mailbox, Qos::AtLeastOnce, 1), Pushed::Wake);
}

#[test]
fn an_empty_inbox_takes_a_message_of_any_size() {
    let mailbox = mailbox(false, |limits| limits.inbox_bytes_max = 1_024);
    mailbox.attach(Channel::Secure);
    assert_eq!(push(&mailbox, Qos::AtLeastOnce, 5_000), Pushed::Wake);
    assert_eq!(waiting(&mailbox), 1);
    assert_eq!(push(&mailbox, Qos::AtMostOnce, 5_000), Pushed::Wake);
}

#[test]
fn qos0_never_exceeds_the_bytes() {
    let mailbox = mailbox(false, |limits| limits.inbox_bytes_max = 10_000);
    mailbox.attach(Channel::Secure);
    for _ in 0..100 {
        push(&mailbox, Qos::AtMostOnce, 10);
    }
    for _ in 0..100 {
        push(&mailbox, Qos::AtMostOnce, 9_000);
        assert!(mailbox.inner.lock().queue.bytes() <= 10_000);
    }
    assert_eq!(waiting(&mailbox), 1, "the latest");
}

#[test]
fn a_receiver_twice_over_its_bound_is_disconnected_and_its_queue_goes_on() {
    let mailbox = mailbox(true, |limits| limits.inbox_messages_max = 4);
    mailbox.attach(Channel::Secure);
    let pushed: Vec<_> = (0..9).map(|_| push(&mailbox, Qos::AtLeastOnce, 1)).collect();
    assert_eq!(pushed[4..8], [Pushed::Pressed; 4]);
    assert_eq!(pushed[8], Pushed::Overrun);
    let mut cx = Context::from_waker(Waker::noop());
    assert_eq!(mailbox.poll(true, &mut cx), Poll::Ready(Some(Command::Overrun)));
    assert!(mailbox.poll(true, &mut cx).is_pending(), "nothing that it could take");
    mailbox.park(VecDeque::new(), |_| false);
    mailbox.attach(Channel::Secure);
    assert_eq!(waiting(&mailbox), 9);
}

#[test]
fn the_stop_of_the_server_does_not_hide_an_overrun() {
    let mailbox = mailbox(true, |limits| limits.inbox_messages_max = 1);
    mailbox.attach(Channel::Secure);
    while push(&mailbox, Qos::AtLeastOnce, 1) != Pushed::Overrun {}
    mailbox.tell(Command::Drain);
    let mut cx = Context::from_waker(Waker::noop());
    assert_eq!(mailbox.poll(true, &mut cx), Poll::Ready(Some(Command::Overrun)));
}

#[test]
fn confidential_messages_are_kept_from_plaintext_and_kept_for_the_absent() {
    let mailbox = mailbox(true, |_| {});
    let secret = Arc::new(Message::confidential_for_tests("s", "secret", Egress::Secure));
    mailbox.attach(Channel::Open);
    assert_eq!(mailbox.push(&secret, Terms::of(Qos::AtLeastOnce), &mut None), Pushed::Withheld);
    mailbox.park(VecDeque::new(), |_| false);
    assert_eq!(mailbox.push(&secret, Terms::of(Qos::AtLeastOnce), &mut None), Pushed::Queued);
    mailbox.attach(Channel::Secure);
    assert_eq!(mailbox.push(&secret, Terms::of(Qos::AtLeastOnce), &mut None), Pushed::Taken);
}

#[test]
fn what_may_be_sealed_again_is_for_those_who_have_a_key() {
    let mailbox = mailbox(true, |_| {});
    let push = |egress| {
        let secret = Arc::new(Message::confidential_for_tests("s", "secret", egress));
        mailbox.push(&secret, Terms::of(Qos::AtLeastOnce), &mut None)
    };
    mailbox.attach(Channel::Sealing);
    assert_eq!(push(Egress::Secure), Pushed::Withheld);
    assert_eq!(push(Egress::SecureOrSealed), Pushed::Wake);
    mailbox.set_channel(Channel::Open);
    assert_eq!(push(Egress::SecureOrSealed), Pushed::Withheld);
    mailbox.park(VecDeque::new(), |_| false);
    mailbox.set_channel(Channel::Sealing);
    assert_eq!(push(Egress::Secure), Pushed::Queued, "who is away may come back by TLS");
}

#[test]
fn full_queues_drop_what_the_configuration_says() {
    for (full, last, kept) in
        [(QueueFull::DropNewest, Pushed::Dropped, [1, 2]), (QueueFull::DropOldest, Pushed::Displaced, [2, 3])]
    {
        let mailbox = mailbox(true, |limits| (limits.queue_messages_max, limits.queue_full) = (2, full));
        mailbox.park(VecDeque::new(), |_| false);
        let pushed: Vec<_> = (1..=3).map(|n| push(&mailbox, Qos::AtLeastOnce, n)).collect();
        assert_eq!(pushed, [Pushed::Queued, Pushed::Queued, last]);
        mailbox.attach(Channel::Secure);
        let mut taken = VecDeque::new();
        mailbox.take(&mut taken);
        let sizes: Vec<_> = taken.iter().map(|delivery| delivery.message.payload().len()).collect();
        assert_eq!(sizes, kept);
    }
}

#[test]
fn what_is_queued_in_all_comes_back_to_nothing() {
    let mailbox = mailbox(true, |limits| limits.inbox_messages_max = 2);
    let queued = || mailbox.bounds.queued_bytes.load(Ordering::SeqCst);
    mailbox.park(VecDeque::new(), |_| false);
    push(&mailbox, Qos::AtLeastOnce, 10);
    assert_eq!(queued(), 11);
    mailbox.attach(Channel::Secure);
    assert_eq!(queued(), 0);
    while push(&mailbox, Qos::AtLeastOnce, 1) != Pushed::Overrun {}
    assert!(queued() > 0);
    mailbox.park(VecDeque::new(), |_| false);
    assert!(queued() > 0);
    mailbox.close();
    assert_eq!(queued(), 0);
}

#[test]
fn a_pressed_publisher_is_woken_when_the_inbox_is_taken() {
    let mailbox = mailbox(false, |limits| limits.inbox_messages_max = 1);
    mailbox.attach(Channel::Secure);
    push(&mailbox, Qos::AtLeastOnce, 1);
    assert_eq!(push(&mailbox, Qos::AtLeastOnce, 1), Pushed::Pressed);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let mut cx = Context::from_waker(&waker);
    assert!(mailbox.poll_relieved(&mut cx).is_pending());
    assert_eq!(waiting(&mailbox), 2);
    assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    assert!(mailbox.poll_relieved(&mut cx).is_ready());
}

#[test]
fn a_full_queue_makes_room_by_what_has_expired() {
    let mailbox = mailbox(true, |limits| limits.queue_messages_max = 2);
    mailbox.park(VecDeque::new(), |_| false);
    let long_ago = Instant::now().checked_sub(std::time::Duration::from_mins(1)).unwrap();
    let late = Arc::new(Message::expiring_for_tests("t", "late", 30, long_ago));
    let lasting = Arc::new(Message::expiring_for_tests("t", "lasting", 600, long_ago));
    for message in [&lasting, &late] {
        assert_eq!(mailbox.push(message, Terms::of(Qos::AtLeastOnce), &mut None), Pushed::Queued);
    }
    assert_eq!(push(&mailbox, Qos::AtLeastOnce, 1), Pushed::Queued);
    assert_eq!(push(&mailbox, Qos::AtLeastOnce, 1), Pushed::Dropped);
    mailbox.attach(Channel::Secure);
    let mut taken = VecDeque::new();
    mailbox.take(&mut taken);
    let payloads: Vec<_> = taken.iter().map(|delivery| delivery.message.payload().clone()).collect();
    assert_eq!(payloads, ["lasting", "x"]);
    assert_eq!(mailbox.bounds.queued_bytes.load(Ordering::SeqCst), 0);
}
