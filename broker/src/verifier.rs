//! The threads that examine envelopes, so that no connection waits for the signatures of another.
//!
//! A connection brings what it has read as one [`Group`]; a thread takes all groups that wait, up to a batch,
//! has their stamps verified together (`ingress/inquiry.rs`), lays each group's answer on its connection's
//! [`Desk`] and wakes it once. As many threads as cores. Nothing waits for a batch to fill: while a thread
//! works, the next batch gathers by itself, so batches are as large as the load.
//!
//! Always holds: every group is answered, be the fault ours; then with what could not be examined refused.
//!
//! A connection has one group here at a time, so the number of groups is bounded by that of connections, and
//! a flood gets no more than its turn. A stamp that does not hold costs the batch it is in a search: groups
//! of a connection that had one lately wait in a lane of their own, which is served after each batch of the
//! others, a small group at a time, by one thread at a time.
//!
//! Lock order: the queue, or one desk; never both.

use crate::ingress::inquiry::{Examined, Inquiry, examine};
use crate::metrics::Metrics;
use crate::rulebook::Rulebook;
use parking_lot::{Condvar, Mutex};
use sealmq_crypto::{BATCH_STAMPS_MAX, ReplayWindows};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Envelopes in one group at most: what one connection gets done at a time.
pub(crate) const GROUP_MAX: usize = 64;
/// The same for a connection whose stamps were bad lately: so few that others hardly wait for them.
pub(crate) const SUSPECT_GROUP_MAX: usize = 2;

/// How many groups of many bytes a batch has room for: so much of it is a single connection's at most. What is
/// in memory at once is bounded by the batch; this only shares it out, so it is no setting of its own.
const BATCH_SHARES: usize = 4;

/// See the module's description.
pub(crate) struct Verifier {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Mutex<Queue>,
    /// There is something in the queue, or it is closed.
    work: Condvar,
    replay: Arc<ReplayWindows>,
    metrics: Arc<Metrics>,
    /// Bytes of messages in one batch, if it is more than one group: they are copied for the time of a check.
    batch_bytes_max: usize,
}

#[derive(Default)]
struct Queue {
    groups: VecDeque<Group>,
    suspects: VecDeque<Group>,
    /// Whether the lane of suspects is next.
    suspects_next: bool,
    /// Whether a thread is at work for that lane.
    suspects_busy: bool,
    threads: usize,
    idle: usize,
    closed: bool,
}

/// Envelopes of one connection, in their order.
pub(crate) struct Group {
    /// What is in force as they are brought.
    pub(crate) rules: Arc<Rulebook>,
    pub(crate) inquiries: Vec<Inquiry>,
    /// Whether bad stamps are to be expected.
    pub(crate) suspect: bool,
    /// Where the answer goes.
    pub(crate) desk: Arc<Desk>,
}

/// Where a connection finds what was examined for it.
#[derive(Default)]
pub(crate) struct Desk(Mutex<Answer>);

#[derive(Default)]
struct Answer {
    examined: Option<Vec<Examined>>,
    waker: Option<Waker>,
}

impl Desk {
    /// Takes the answer, or leaves word whom to wake.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Vec<Examined>> {
        let mut answer = self.0.lock();
        if let Some(examined) = answer.examined.take() {
            return Poll::Ready(examined);
        }
        if !answer.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            answer.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn lay(&self, examined: Vec<Examined>) {
        let waker = {
            let mut answer = self.0.lock();
            answer.examined = Some(examined);
            answer.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Verifier {
    /// Without threads yet: until [`Verifier::start`] whoever brings a group examines it himself.
    pub(crate) fn new(replay: Arc<ReplayWindows>, metrics: Arc<Metrics>, batch_bytes_max: usize) -> Self {
        let (queue, work) = (Mutex::default(), Condvar::new());
        Self { shared: Arc::new(Shared { queue, work, replay, metrics, batch_bytes_max }) }
    }

    /// Bytes of messages in one group, if it is more than one envelope.
    pub(crate) fn group_bytes_max(&self) -> usize {
        self.shared.batch_bytes_max / BATCH_SHARES
    }

    /// Starts the threads. They end with the value.
    pub(crate) fn start(&self) -> io::Result<()> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..cores {
            let shared = self.shared.clone();
            self.shared.queue.lock().threads += 1;
            let spawned = std::thread::Builder::new().name("verifier".into()).spawn(move || shared.work());
            if let Err(error) = spawned {
                self.shared.queue.lock().threads -= 1;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Has a group examined. Its desk has no other in the meantime.
    pub(crate) fn examine(&self, group: Group) {
        let mut queue = self.shared.queue.lock();
        if queue.threads == 0 {
            drop(queue);
            self.shared.answer(vec![group]);
            return;
        }
        if group.suspect {
            queue.suspects.push_back(group);
        } else {
            queue.groups.push_back(group);
        }
        let idle = queue.idle > 0;
        drop(queue);
        if idle {
            self.shared.work.notify_one();
        }
    }
}

impl Drop for Verifier {
    fn drop(&mut self) {
        self.shared.queue.lock().closed = true;
        self.shared.work.notify_all();
    }
}

impl Shared {
    /// What a thread does.
    fn work(&self) {
        while let Some(groups) = self.next() {
            let suspects = groups.iter().any(|group| group.suspect);
            self.answer(groups);
            if suspects {
                self.end_suspects();
            }
        }
    }

    /// Waits for groups; none once the queue is closed.
    fn next(&self) -> Option<Vec<Group>> {
        let mut queue = self.queue.lock();
        loop {
            let batch = queue.take_batch(self.batch_bytes_max);
            if !batch.is_empty() {
                return Some(batch);
            }
            if queue.closed {
                return None;
            }
            queue.idle += 1;
            self.work.wait(&mut queue);
            queue.idle -= 1;
        }
    }

    /// The lane of suspects is free for the next thread.
    fn end_suspects(&self) {
        let mut queue = self.queue.lock();
        queue.suspects_busy = false;
        let wanted = queue.idle > 0 && !queue.suspects.is_empty();
        drop(queue);
        if wanted {
            self.work.notify_one();
        }
    }

    /// Examines groups together and answers each.
    fn answer(&self, groups: Vec<Group>) {
        let mut inquiries = Vec::new();
        let mut desks = Vec::with_capacity(groups.len());
        for Group { rules, inquiries: own, desk, .. } in groups {
            desks.push((desk, own.len()));
            inquiries.extend(own.into_iter().map(|inquiry| (rules.clone(), inquiry)));
        }
        self.metrics.envelopes_examined.add(inquiries.len() as u64);
        self.metrics.envelope_batches.add(1);
        let (rules, inquiries): (Vec<_>, Vec<_>) = inquiries.into_iter().unzip();
        let cases = rules.iter().map(|rules| &rules.ingress).zip(inquiries);
        let mut examined = examine(cases, &self.replay).into_iter();
        for (desk, count) in desks {
            desk.lay(examined.by_ref().take(count).collect());
        }
    }
}

impl Queue {
    /// All groups that wait, up to a batch; or one of the suspects, in turns with the others.
    fn take_batch(&mut self, bytes_max: usize) -> Vec<Group> {
        let suspects = !self.suspects_busy && (self.suspects_next || self.groups.is_empty());
        if suspects && let Some(group) = self.suspects.pop_front() {
            (self.suspects_next, self.suspects_busy) = (false, true);
            return vec![group];
        }
        self.suspects_next = true;
        let (mut batch, mut stamps, mut bytes) = (Vec::new(), 0, 0);
        while let Some(group) = self.groups.front() {
            stamps += group.inquiries.len();
            bytes += group.inquiries.iter().map(Inquiry::size).sum::<usize>();
            if (stamps > BATCH_STAMPS_MAX || bytes > bytes_max) && !batch.is_empty() {
                break;
            }
            batch.extend(self.groups.pop_front());
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::acl::Permissions;
    use crate::ingress::inquiry::{Begun, PANICS};
    use crate::ingress::message::Submission;
    use crate::now::Now;
    use sealmq_config::Config;
    use sealmq_config::encryption::Policy;

    const MIB: usize = 1 << 20;

    fn rules() -> Arc<Rulebook> {
        let config = Config { policies: vec![Policy::development()], ..Config::default() };
        Arc::new(Rulebook::for_tests(&config))
    }

    fn group(rules: &Arc<Rulebook>, payloads: &[&'static [u8]], suspect: bool) -> Group {
        let everybody = Permissions::of(&[], "dev", None);
        let inquiries = payloads.iter().map(|payload| {
            let submission = Submission::for_tests("sealed/a", payload, None);
            match rules.ingress.begin(submission, &everybody, Now::read()) {
                Begun::Asked(inquiry) => inquiry,
                Begun::Settled(settled) => panic!("{settled:?}"),
            }
        });
        Group { rules: rules.clone(), inquiries: inquiries.collect(), suspect, desk: Arc::default() }
    }

    fn verifier() -> Verifier {
        Verifier::new(Arc::new(ReplayWindows::new(1)), Arc::default(), MIB)
    }

    async fn answer(desk: Arc<Desk>) -> Vec<Vec<u8>> {
        let examined = std::future::poll_fn(|cx| desk.poll(cx)).await;
        examined.iter().map(|examined| examined.submission().payload().to_vec()).collect()
    }

    #[tokio::test]
    async fn every_group_is_answered_at_its_own_desk_in_its_order() {
        let (rules, verifier) = (rules(), verifier());
        let early = group(&rules, &[b"a", b"b"], false);
        let desk = early.desk.clone();
        verifier.examine(early);
        assert_eq!(answer(desk).await, [b"a", b"b"], "without threads, whoever asks does it himself");
        verifier.start().unwrap();
        let payloads: [&[&[u8]]; 3] = [&[b"a", b"b", b"c"], &[b"d"], &[b"e", b"f"]];
        let mut desks = Vec::new();
        for n in 0..300 {
            let payloads = payloads[n % 3];
            let group = group(&rules, payloads, n % 7 == 0);
            desks.push((group.desk.clone(), payloads));
            verifier.examine(group);
        }
        for (desk, payloads) in desks {
            assert_eq!(answer(desk).await, payloads);
        }
    }

    #[test]
    fn suspects_are_served_between_batches_and_alone() {
        let rules = rules();
        let mut queue = Queue::default();
        let batch: Vec<&[u8]> = vec![b"x"; GROUP_MAX];
        for _ in 0..10 {
            queue.groups.push_back(group(&rules, &batch, false));
        }
        for _ in 0..3 {
            queue.suspects.push_back(group(&rules, &[b"y"], true));
        }
        let mut next = |is_busy| {
            queue.suspects_busy = is_busy;
            Some(queue.take_batch(MIB)).filter(|batch| !batch.is_empty())
        };
        let taken = std::iter::from_fn(|| next(false));
        let taken: Vec<(usize, bool)> = taken.map(|batch| (batch.len(), batch[0].suspect)).collect();
        let all = BATCH_STAMPS_MAX / GROUP_MAX;
        assert_eq!(taken, [(all, false), (1, true), (all, false), (1, true), (2, false), (1, true)]);
    }

    #[test]
    fn suspects_occupy_one_thread_alone() {
        let rules = rules();
        let mut queue = Queue::default();
        for _ in 0..2 {
            queue.suspects.push_back(group(&rules, &[b"y"], true));
        }
        assert_eq!(queue.take_batch(MIB).len(), 1);
        assert!(queue.take_batch(MIB).is_empty(), "while another thread has one of them");
        queue.groups.push_back(group(&rules, &[b"x"], false));
        assert!(queue.take_batch(MIB).iter().all(|group| !group.suspect));
        queue.suspects_busy = false;
        assert_eq!(queue.take_batch(MIB).len(), 1);
    }

    #[test]
    fn a_batch_has_no_more_bytes_than_it_may_but_one_group_always() {
        let rules = rules();
        let mut queue = Queue::default();
        for payload in [&b"0123456789"[..], b"0123456789", b"01234567890123456789", b"0"] {
            queue.groups.push_back(group(&rules, &[payload], false));
        }
        let topic = "sealed/a".len();
        let taken = std::iter::from_fn(|| Some(queue.take_batch(20 + 2 * topic)));
        let taken = taken.take_while(|batch| !batch.is_empty()).map(|batch| batch.len());
        assert_eq!(taken.collect::<Vec<_>>(), [2, 1, 1]);
        let verifier = Verifier::new(Arc::new(ReplayWindows::new(1)), Arc::default(), MIB);
        assert_eq!(verifier.group_bytes_max(), MIB / 4);
    }

    /// More often than there are threads: none of them ends.
    #[tokio::test]
    async fn a_fault_of_ours_costs_one_message_and_no_thread() {
        let (rules, verifier) = (rules(), verifier());
        let answers = async |desk: Arc<Desk>| -> Vec<&'static str> {
            let examined = std::future::poll_fn(|cx| desk.poll(cx)).await;
            let replay = ReplayWindows::new(1);
            let refused = examined.into_iter().map(|examined| examined.finish(&replay).unwrap_err());
            refused.map(|refused| refused.refusal.name()).collect()
        };
        let expected = ["not-an-envelope", "internal-error", "not-an-envelope"];
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        for threads in [false, true] {
            if threads {
                verifier.start().unwrap();
            }
            for _ in 0..=2 * cores {
                let group = group(&rules, &[b"a", PANICS, b"b"], false);
                let desk = group.desk.clone();
                verifier.examine(group);
                assert_eq!(answers(desk).await, expected);
            }
        }
        assert_eq!(verifier.shared.queue.lock().threads, cores);
    }
}
