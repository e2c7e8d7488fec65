//! What was promised and what came: each message, who is owed it, who has it, and the rules that tie these.

use bytes::Bytes;
use sealmq_protocol::Qos;

/// Clients of a kind at most; they are bits of a mask.
const SUBSCRIBERS_MAX: usize = 4;

/// What acknowledgements are held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Promise {
    /// Nothing acknowledged is lost.
    Sync,
    /// Nothing that was synced is.
    Async,
}

/// A message that was sent.
#[derive(Debug, Clone, Default)]
struct Message {
    /// How often.
    sent: usize,
    acknowledged: bool,
    refused: bool,
    /// Written since it was acknowledged, and synced since.
    written: bool,
    synced: bool,
    /// A crash came before it was on disk, with a promise that allows for that.
    excused: bool,
    /// How many times the disk had been full when it was sent first.
    times_full: usize,
    /// It was on its way when the store said that there is no room.
    refusable: bool,
    /// Who was subscribed when it was sent first.
    owed: [bool; SUBSCRIBERS_MAX],
    /// How often each got it, and in which life of the broker last.
    arrived: [usize; SUBSCRIBERS_MAX],
    arrived_in: [usize; SUBSCRIBERS_MAX],
}

/// A publisher, as its receivers see it.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) qos: Qos,
    messages: Vec<Message>,
    /// The newest that each receiver got, counted from 1.
    newest: [usize; SUBSCRIBERS_MAX],
}

/// See the module's description.
pub(super) struct Model {
    pub(super) promise: Promise,
    /// Lives of the broker.
    pub(super) life: usize,
    /// The disk is full at the moment.
    pub(super) full: bool,
    /// And how often it was.
    pub(super) times_full: usize,
    /// And the store has said so.
    pub(super) full_said: bool,
    pub(super) sources: Vec<Source>,
    /// Who is subscribed.
    pub(super) subscribed: [bool; SUBSCRIBERS_MAX],
    /// With which QoS.
    pub(super) granted: Vec<Qos>,
}

/// The payload of a message; every other one is too long to lie in a queue's entry.
pub(super) fn payload(source: usize, number: usize) -> Bytes {
    let mut text = format!("{source}:{number}:");
    let length = if number.is_multiple_of(2) { 12 } else { 90 };
    while text.len() < length {
        text.push('.');
    }
    Bytes::from(text)
}

fn parse(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut parts = std::str::from_utf8(bytes).ok()?.split(':');
    let found = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    (payload(found.0, found.1) == bytes).then_some(found)
}

impl Model {
    /// Nothing was sent yet.
    pub(super) fn new(promise: Promise, sources: &[Qos], granted: &[Qos]) -> Self {
        let source = |qos: &Qos| Source { qos: *qos, messages: Vec::new(), newest: [0; SUBSCRIBERS_MAX] };
        Self {
            promise,
            life: 0,
            full: false,
            times_full: 0,
            full_said: false,
            sources: sources.iter().map(source).collect(),
            subscribed: [false; SUBSCRIBERS_MAX],
            granted: granted.to_vec(),
        }
    }

    /// What a source has sent so far.
    pub(super) fn count(&self, source: usize) -> usize {
        self.sources[source].messages.len()
    }

    /// A message goes out: a new one, or one again.
    pub(super) fn sends(&mut self, source: usize, number: usize) {
        let (subscribed, times_full) = (self.subscribed, self.times_full * usize::from(self.full));
        let messages = &mut self.sources[source].messages;
        if number == messages.len() {
            messages.push(Message { times_full, owed: subscribed, ..Message::default() });
        }
        messages[number].sent += 1;
        messages[number].refusable |= self.full_said;
    }

    /// PUBACK or PUBREC came, without an error.
    pub(super) fn acknowledged(&mut self, source: usize, number: usize) -> Result<(), String> {
        let message = &mut self.sources[source].messages[number];
        // Where everybody has it there is nothing left to keep.
        let is_kept = message.owed.iter().zip(message.arrived).any(|(owed, arrived)| *owed && arrived == 0);
        let is_full = self.full && message.times_full == self.times_full;
        if is_full && is_kept && self.promise == Promise::Sync {
            return Err(format!("{source}:{number} was acknowledged while the disk was full"));
        }
        message.acknowledged = true;
        Ok(())
    }

    /// PUBACK or PUBREC came, and says that it was not taken.
    pub(super) fn refused(&mut self, source: usize, number: usize) -> Result<(), String> {
        let message = &mut self.sources[source].messages[number];
        message.refused = true;
        if message.refusable { Ok(()) } else { Err("refused with room on the disk".into()) }
    }

    /// The store says that there is no room.
    pub(super) fn says_full(&mut self) {
        self.full_said = true;
        self.messages().for_each(|message| message.refusable |= !message.acknowledged);
    }

    fn messages(&mut self) -> impl Iterator<Item = &mut Message> {
        self.sources.iter_mut().flat_map(|source| &mut source.messages)
    }

    /// All that was pending is written.
    pub(super) fn written(&mut self) {
        self.full_said = false;
        self.messages().for_each(|message| message.written = message.acknowledged);
    }

    /// All that was written is synced.
    pub(super) fn synced(&mut self) {
        self.messages().for_each(|message| message.synced |= message.written);
    }

    /// The broker's life ends.
    pub(super) fn crashed(&mut self) {
        self.life += 1;
        self.full_said = false;
        if self.promise == Promise::Async {
            self.messages().for_each(|message| message.excused |= message.acknowledged && !message.synced);
        }
    }

    /// The message of such a payload, if it was ever sent.
    pub(super) fn find(&self, payload: &[u8]) -> Result<(usize, usize), String> {
        let found = parse(payload).filter(|(source, number)| {
            self.sources.get(*source).is_some_and(|source| *number < source.messages.len())
        });
        found.ok_or_else(|| format!("nobody sent {}", payload.escape_ascii()))
    }

    /// A subscriber got a message, as one that it had not seen under this packet id.
    pub(super) fn arrived(&mut self, at: usize, (from, number): (usize, usize)) -> Result<(), String> {
        let life = self.life;
        let source = &mut self.sources[from];
        let message = &mut source.messages[number];
        let what = || format!("{from}:{number} at subscriber {at}");
        if message.refused && message.sent == 1 {
            return Err(format!("{} was refused, and came", what()));
        }
        let once = source.qos == Qos::ExactlyOnce && self.granted[at] == Qos::ExactlyOnce;
        message.arrived[at] += 1;
        if message.arrived[at] > 1 {
            let excused = self.promise == Promise::Async && message.arrived_in[at] < life;
            if once && !excused {
                return Err(format!("{} came more than once", what()));
            }
        } else {
            // Either its refusal was lost on the way, while what was sent after it was taken; or it came
            // first before the subscription.
            let again = (message.refusable && message.sent > 1) || !message.owed[at];
            if number < source.newest[at] && !again {
                return Err(format!("{} came after {from}:{}", what(), source.newest[at] - 1));
            }
            source.newest[at] = source.newest[at].max(number + 1);
        }
        message.arrived_in[at] = life;
        Ok(())
    }

    /// Holds a retained value that was read against what was acknowledged.
    pub(super) fn retained(&self, source: usize, payload: Option<&[u8]>) -> Result<(), String> {
        let messages = &self.sources[source].messages;
        let least = messages.iter().rposition(|message| message.acknowledged && !message.excused);
        match (payload.map(|payload| self.find(payload)).transpose()?, least) {
            (Some((from, _)), _) if from != source => Err("a retained message of somebody else".into()),
            // Sent again, since its refusal was lost on the way.
            (Some((_, number)), _) if messages[number].refusable && messages[number].sent > 1 => Ok(()),
            (Some((_, number)), Some(least)) if number < least => {
                Err(format!("{number} is retained, and {least} was acknowledged"))
            }
            (None, Some(least)) => Err(format!("nothing is retained, and {least} was acknowledged")),
            _ => Ok(()),
        }
    }

    /// Everything was handed out: what is missing?
    pub(super) fn complete(&self) -> Result<(), String> {
        for (from, source) in self.sources.iter().enumerate() {
            for (number, message) in source.messages.iter().enumerate() {
                if !message.acknowledged && !message.refused {
                    return Err(format!("{from}:{number} was never answered"));
                }
                for at in 0..self.granted.len() {
                    let owed = message.acknowledged && message.owed[at] && !message.excused;
                    if owed && message.arrived[at] == 0 {
                        return Err(format!("{from}:{number} was acknowledged, and not seen by {at}"));
                    }
                }
            }
        }
        Ok(())
    }

    /// How many were refused, and how many an asynchronous store lost without breaking its word.
    pub(super) fn refusals(&self) -> usize {
        self.sources.iter().flat_map(|source| &source.messages).filter(|message| message.refused).count()
    }
}
