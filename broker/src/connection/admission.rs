//! PUBLISH packets between session and router while an envelope among them is examined: each connection's own
//! stay in the order in which they came, whatever is found first.
//!
//! A message without envelope passes at once when nobody is before it. Behind an envelope everything that is
//! published waits; so does every packet that asks for something of which the messages before it are a part
//! (SUBSCRIBE, DISCONNECT, ...). Always holds: no more than `encryption.unchecked_max` wait, and no more bytes of
//! messages than `limits.unchecked_bytes_max` and one besides, then nothing is read; one group at a time is with
//! the `verifier`; what passes, passes under the rules in force as it is routed.

use super::Connection;
use crate::ingress::inquiry::{Begun, Examined, Inquiry};
use crate::ingress::message::Submission;
use crate::ingress::{Admitted, Refused, Sorted};
use crate::now::Now;
use crate::session::{Ending, Outcome, Receipt};
use crate::store::{Change, Position};
use crate::verifier::{Desk, GROUP_MAX, Group, SUSPECT_GROUP_MAX};
use sealmq_protocol::packet::Version;
use sealmq_protocol::{Packet, ReasonCode};
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};

/// For so many groups after a bad stamp a connection is expected to send more of them.
const SUSPICION: u32 = 64;

/// What ingress says of a message.
type Settled = Result<Admitted, Refused>;

/// See the module's description. Nothing while nobody waits, as an idle connection is to be small.
#[derive(Default)]
pub(super) struct Admission(Option<Box<Line>>);

/// Those who wait.
#[derive(Default)]
struct Line {
    waiting: VecDeque<(Receipt, Waiting)>,
    /// Bytes of the messages that wait.
    bytes: usize,
    /// For the next group.
    gathered: VecDeque<Inquiry>,
    /// Of those at the front that wait for it, in their order.
    examined: VecDeque<Examined>,
    /// Whether a group is with the verifier.
    asked: bool,
    /// Whether other rules are in force since: what comes back is to be asked for again.
    stale: bool,
    desk: Arc<Desk>,
    suspicion: u32,
    /// What the store has to reach before the mark of the one at the front may be taken.
    covered_at: Option<Position>,
    /// A packet that has to wait for all of them.
    held_back: Option<Packet>,
    /// The session is another connection's as soon as they are done with.
    handed_over: bool,
    /// How this one ends then.
    ending: Option<Ending>,
}

/// What a message waits for.
enum Waiting {
    /// Its own envelope, of so many bytes.
    Envelope(usize),
    /// Those before it; whether it may be routed is asked then.
    Turn(Submission),
}

impl Waiting {
    fn size(&self) -> usize {
        match self {
            Self::Envelope(bytes) => *bytes,
            Self::Turn(submission) => submission.size(),
        }
    }
}

impl Admission {
    /// Whether nobody waits.
    pub(super) fn is_idle(&self) -> bool {
        self.len() == 0
    }

    fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |line| line.waiting.len())
    }

    fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |line| line.bytes)
    }

    /// Whether a packet may not be handled while somebody waits.
    pub(super) fn holds(&self, packet: &Packet) -> bool {
        let overtakes = matches!(
            packet,
            Packet::Publish(_)
                | Packet::PubAck(_)
                | Packet::PubRec(_)
                | Packet::PubRel(_)
                | Packet::PubComp(_)
                | Packet::PingReq
        );
        !overtakes && !self.is_idle()
    }

    /// The position of the store that the one at the front waits for.
    pub(super) fn waits_for(&self) -> Option<Position> {
        self.0.as_ref()?.covered_at
    }

    /// Keeps a packet until nobody waits.
    pub(super) fn hold_back(&mut self, packet: Packet) {
        self.0.get_or_insert_default().held_back = Some(packet);
    }

    fn holds_back(&self) -> bool {
        self.0.as_ref().is_some_and(|line| line.held_back.is_some())
    }

    /// The packet that was kept; to be asked for once nobody waits.
    pub(super) fn take_held_back(&mut self) -> Option<Packet> {
        self.0.as_mut()?.held_back.take()
    }

    /// The session is to go to another connection.
    pub(super) fn hand_over(&mut self) {
        self.0.get_or_insert_default().handed_over = true;
    }

    /// Whether it is.
    pub(super) fn is_handed_over(&self) -> bool {
        self.0.as_ref().is_some_and(|line| line.handed_over)
    }

    /// The connection ends; whether there is somebody to be waited for. Nobody is where a message was refused
    /// and the policy asks for the end, stamps have failed, or the client may not be here any more: of such a
    /// client nothing more counts.
    pub(super) fn end_with(&mut self, ending: Ending) -> bool {
        let is_sudden = matches!(ending, Ending::Refused(_) | Ending::FailedStamps | Ending::UserGone);
        match &mut self.0 {
            Some(line) if !line.waiting.is_empty() && !is_sudden => {
                line.ending = Some(ending);
                true
            }
            Some(_) | None => false,
        }
    }

    /// How the connection ends once nobody waits, if it does.
    pub(super) fn ending(&self) -> Option<Ending> {
        self.0.as_ref()?.ending
    }

    /// Gives its memory back once nobody waits and nothing has to be remembered.
    fn rest(&mut self) {
        let is_needed = |line: &Line| {
            let Line { waiting, held_back, handed_over, ending, suspicion, .. } = line;
            !waiting.is_empty() || held_back.is_some() || *handed_over || ending.is_some() || *suspicion > 0
        };
        if self.0.as_deref().is_some_and(|line| !is_needed(line)) {
            self.0 = None;
        }
    }
}

impl Line {
    fn wait(&mut self, receipt: Receipt, sorted: Sorted) {
        let waiting = match sorted {
            Sorted::Asked(inquiry) => {
                let bytes = inquiry.size();
                self.gathered.push_back(inquiry);
                Waiting::Envelope(bytes)
            }
            Sorted::Plain(submission) | Sorted::Refused(submission, _) => Waiting::Turn(submission),
        };
        self.bytes += waiting.size();
        self.waiting.push_back((receipt, waiting));
    }

    /// The next whose turn it is, if that is known.
    fn next(&mut self) -> Option<(Receipt, Ready)> {
        if self.stale {
            return None;
        }
        let (_, waiting) = self.waiting.front()?;
        let size = waiting.size();
        let examined = match waiting {
            Waiting::Envelope(_) => Some(self.examined.pop_front()?),
            Waiting::Turn(_) => None,
        };
        self.bytes = self.bytes.saturating_sub(size);
        let (receipt, waiting) = self.waiting.pop_front()?;
        match (waiting, examined) {
            (Waiting::Turn(submission), _) => Some((receipt, Ready::Turn(submission))),
            (Waiting::Envelope(_), examined) => Some((receipt, Ready::Examined(examined?, false))),
        }
    }

    /// Whether there is something for a group, and none is out.
    fn has_more(&self) -> bool {
        !self.asked && !self.gathered.is_empty()
    }

    /// Takes what the verifier has found, or sees to it that the task is woken for it.
    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.asked {
            return false;
        }
        let Poll::Ready(examined) = self.desk.poll(cx) else { return false };
        self.asked = false;
        let bad = examined.iter().any(Examined::has_bad_stamp);
        self.suspicion = if bad { SUSPICION } else { self.suspicion.saturating_sub(1) };
        self.examined.extend(examined);
        true
    }

    /// Sorts all of them again. None of them may be out.
    fn begin_again(&mut self, mut sort: impl FnMut(Submission) -> Sorted) {
        let Self { gathered, examined, .. } = self;
        let inquiries = examined.drain(..).map(Examined::into_inquiry).chain(gathered.drain(..));
        let mut inquiries = inquiries.collect::<Vec<_>>().into_iter();
        self.bytes = 0;
        for (receipt, waiting) in std::mem::take(&mut self.waiting) {
            let submission = match waiting {
                Waiting::Turn(submission) => Some(submission),
                // There is one for each.
                Waiting::Envelope(_) => inquiries.next().map(Inquiry::into_submission),
            };
            if let Some(submission) = submission {
                self.wait(receipt, sort(submission));
            }
        }
        (self.stale, self.covered_at) = (false, None);
    }

    /// The next group, if there is anything for one and none is out; of so many bytes, if it is more than one
    /// envelope.
    fn group(&mut self, bytes_max: usize) -> Option<(Vec<Inquiry>, bool)> {
        if !self.has_more() {
            return None;
        }
        let suspect = self.suspicion > 0;
        let most = if suspect { SUSPECT_GROUP_MAX } else { GROUP_MAX };
        self.asked = true;
        let (mut group, mut bytes) = (Vec::new(), 0);
        while let Some(next) = self.gathered.front()
            && group.len() < most
            && (group.is_empty() || bytes + next.size() <= bytes_max)
        {
            bytes += next.size();
            group.extend(self.gathered.pop_front());
        }
        Some((group, suspect))
    }
}

/// A message whose turn it is.
enum Ready {
    /// It has waited for others.
    Turn(Submission),
    /// It has waited for nobody.
    Settled(Settled),
    /// And whether its mark is set aside in the store.
    Examined(Examined, bool),
    /// It cannot be kept.
    NoSpace,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// A message that the client published: to the router, or to wait.
    pub(super) fn begin(&mut self, submission: Submission, receipt: Receipt, now: Now) {
        let ingress = &self.rules.ingress;
        let sorted = if self.admission.is_idle() {
            match ingress.begin(submission, &self.permissions, now) {
                Begun::Asked(inquiry) => Sorted::Asked(inquiry),
                Begun::Settled(settled) => {
                    let has_space = !self.has_no_space_for(receipt);
                    let ready = if has_space { Ready::Settled(settled) } else { Ready::NoSpace };
                    self.settle(receipt, ready, now);
                    return;
                }
            }
        } else {
            ingress.sort(submission, &self.permissions, now)
        };
        self.admission.0.get_or_insert_default().wait(receipt, sorted);
    }

    /// Whether more of what the client sends may be handled: not too many of its messages wait, and no packet
    /// that has to wait for them.
    pub(super) fn may_take(&self) -> bool {
        self.admission.len() < self.broker.unchecked_max
            && self.admission.bytes() < self.broker.limits.unchecked_bytes_max
            && (self.admission.is_idle() || !self.admission.holds_back())
    }

    /// Gives the verifier what was gathered.
    pub(super) fn ask(&mut self) {
        if let Some(line) = &mut self.admission.0
            && let Some((inquiries, suspect)) = line.group(self.broker.verifier.group_bytes_max())
        {
            let (rules, desk) = (self.rules.clone(), line.desk.clone());
            self.broker.verifier.examine(Group { rules, inquiries, suspect, desk });
        }
    }

    /// Other rules are in force: nothing passes that waits and that they would refuse.
    pub(super) fn begin_again(&mut self, now: Now) {
        let Some(line) = &mut self.admission.0 else { return };
        if line.asked {
            line.stale = true;
        } else {
            line.begin_again(|submission| self.rules.ingress.sort(submission, &self.permissions, now));
        }
    }

    /// Routes those whose turn it is, until the turn is full or somebody has to be waited for. Whether there
    /// were any.
    pub(super) fn settle_waiting(&mut self, now: Now, cx: &mut Context<'_>) -> Result<bool, Ending> {
        if self.admission.0.is_none() {
            return Ok(false);
        }
        let moved = self.settle_ready(now, cx);
        self.admission.rest();
        // Also where the connection ends: receivers that have got something are to know it.
        self.end_turn();
        moved
    }

    fn settle_ready(&mut self, now: Now, cx: &mut Context<'_>) -> Result<bool, Ending> {
        let Some(line) = &mut self.admission.0 else { return Ok(false) };
        let mut moved = line.poll(cx);
        if line.stale {
            self.begin_again(now);
        }
        while self.paused.is_none() {
            self.renew_rules()?;
            let Some((receipt, ready)) = self.next_settled(now) else { break };
            moved = true;
            self.settle(receipt, ready, now);
            self.carry_out(now)?;
            if self.turn.is_full() {
                break;
            }
        }
        moved |= self.admission.0.as_ref().is_some_and(|line| line.has_more());
        Ok(moved)
    }

    /// Routes what waits though the connection ends. Whether nobody waits any more. Where the store has no
    /// space, what has to be kept before it is routed is given up: it was never acknowledged.
    pub(super) fn settle_last(&mut self, now: Now, cx: &mut Context<'_>) -> Result<bool, Ending> {
        loop {
            self.ask();
            // Nothing more is read, so that these few are all that a slow receiver gets.
            self.paused = None;
            if !self.settle_waiting(now, cx)? {
                let is_given_up = self.admission.waits_for().is_some() && self.broker.store.has_no_space();
                return Ok(is_given_up || self.admission.is_idle());
            }
        }
    }

    /// The next whose turn it is, if its mark may be taken: where the store will not keep it, it has to be set
    /// aside there before.
    fn next_settled(&mut self, now: Now) -> Option<(Receipt, Ready)> {
        let line = self.admission.0.as_mut()?;
        line.covered_at = None;
        let (receipt, ready) = line.next()?;
        if self.has_no_space_for(receipt) {
            return Some((receipt, Ready::NoSpace));
        }
        let position = match ready {
            Ready::Examined(ref examined, _) => self.cover(receipt, examined, now),
            Ready::Turn(_) | Ready::Settled(_) | Ready::NoSpace => None,
        };
        let line = self.admission.0.as_mut()?;
        line.covered_at = position.filter(|position| !self.broker.store.has_reached(*position));
        match ready {
            Ready::Examined(examined, _) if line.covered_at.is_some() => {
                let bytes = examined.size();
                line.bytes += bytes;
                line.examined.push_front(examined);
                line.waiting.push_front((receipt, Waiting::Envelope(bytes)));
                None
            }
            Ready::Examined(examined, _) => Some((receipt, Ready::Examined(examined, position.is_some()))),
            ready @ (Ready::Turn(_) | Ready::Settled(_) | Ready::NoSpace) => Some((receipt, ready)),
        }
    }

    /// Sets the mark of an envelope aside whose message the store will not keep. From when on it is.
    fn cover(&mut self, receipt: Receipt, examined: &Examined, now: Now) -> Option<Position> {
        let broker = &self.broker;
        let could_be_taken = || broker.store.keeps() && examined.could_be_taken(&broker.replay);
        let (sender, mark) = examined.mark().filter(|_| could_be_taken())?;
        let message = examined.submission();
        let is_kept = (receipt.exactly_once().is_some() && self.session.is_stored())
            || broker.router.will_keep(message, &mut self.turn);
        if is_kept {
            broker.set_aside.touch(sender, now.instant);
            return None;
        }
        Some(broker.set_aside.cover(sender, mark, now.instant, |ahead| {
            broker.store.append(&mut vec![Change::SetAside { sender: sender.clone(), ahead }]).1
        }))
    }

    /// Whether a message could not be kept and its client can be told so, instead of being left without an
    /// answer.
    fn has_no_space_for(&self, receipt: Receipt) -> bool {
        self.version == Version::V5 && receipt.is_awaited() && self.broker.store.has_no_space()
    }

    fn settle(&mut self, receipt: Receipt, ready: Ready, now: Now) {
        let settled = match ready {
            Ready::NoSpace => None,
            Ready::Turn(submission) => {
                let rules = &self.rules.ingress;
                Some(rules.admit(submission, &self.permissions, &self.broker.replay, now))
            }
            Ready::Settled(settled) => Some(settled),
            Ready::Examined(examined, is_set_aside) => {
                let settled = examined.finish(&self.broker.replay);
                Some(if is_set_aside { settled.map(Admitted::without_mark) } else { settled })
            }
        };
        let outcome = match settled {
            Some(settled) => self.route(settled, Some(receipt)),
            None => Outcome::Routed(Position::START, ReasonCode::QuotaExceeded, None),
        };
        if let Some((acknowledgement, position)) = self.session.handle_outcome(receipt, outcome) {
            self.owe(acknowledgement, position);
        }
    }
}
