//! One publisher: sends as fast as it may, keeps what is not acknowledged, and sends that again.
//!
//! It keeps no payloads: they follow from their numbers. Its messages have consecutive packet ids, so that
//! those on their way stand in a row, and an id says where.

use crate::client::Client;
use crate::ledger::Ledger;
use crate::ledger::breach::Kind;
use crate::packets::{self, CONNACK, PUBACK, PUBCOMP, PUBREC, PUBREL};
use crate::payload::{Payloads, Stamp};
use crate::wire::Publish;
use anyhow::{Result, bail};
use std::collections::VecDeque;
use std::time::Instant;

/// Messages on their way at once; far fewer than packet ids.
const WINDOW: usize = 500;
/// What is sent in one turn, so that all get theirs.
const TURN_BYTES: usize = 128 * 1024;

/// A publisher.
pub(crate) struct Publisher {
    /// Its connection.
    pub(crate) client: Client,
    /// Messages that it may still send; others give it.
    pub(crate) credit: u32,
    number: u32,
    topic: String,
    qos: u8,
    retain: bool,
    payloads: Payloads,
    on_their_way: VecDeque<OnItsWay>,
    /// The number of the next message.
    next: u32,
}

#[derive(Debug, Clone, Copy)]
struct OnItsWay {
    number: u32,
    stage: Stage,
    sent_at: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// PUBLISH is sent.
    Published,
    /// PUBREC has come, and PUBREL is sent.
    Released,
    /// Nothing is owed any more.
    Completed,
}

impl Publisher {
    /// One that has sent nothing yet; its number is that of its account in the ledger.
    pub(crate) fn new(client: Client, number: u32, topic: &str, qos: u8, payloads: Payloads) -> Self {
        let topic = topic.to_owned();
        let on_their_way = VecDeque::new();
        Self { client, credit: 0, number, topic, qos, retain: false, payloads, on_their_way, next: 0 }
    }

    /// The same with messages that are to be kept.
    pub(crate) fn retaining(self) -> Self {
        Self { retain: true, ..self }
    }

    /// The topic of all its messages.
    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    /// The stamp of the message that it sends next.
    pub(crate) fn next_stamp(&self) -> Stamp {
        self.stamp(self.next)
    }

    /// Whether all that it was to send is sent and acknowledged to the end.
    pub(crate) fn is_done(&self) -> bool {
        self.credit == 0 && self.on_their_way.is_empty()
    }

    /// Says which messages are not acknowledged to the end, as a broken promise.
    pub(crate) fn complain(&self, ledger: &mut Ledger) {
        for message in self.on_their_way.iter().filter(|message| message.stage != Stage::Completed) {
            let whom = format!("{}: {:?} is never answered", self.client.name, message.stage);
            ledger.breach(Kind::AcknowledgedWrongly, &whom, Some(message.number));
        }
    }

    /// Reads once, and takes what came.
    pub(crate) fn receive(&mut self, ledger: &mut Ledger, now: Instant) -> Result<()> {
        let Some(mut socket) = self.client.socket.take() else { return Ok(()) };
        let received = socket.receive(|first, body, out| self.take(first, body, out, ledger, now));
        self.client.socket = Some(socket);
        received
    }

    /// Sends what it may.
    pub(crate) fn publish(&mut self, ledger: &mut Ledger, now: Instant) -> Result<()> {
        self.client.flush()?;
        let window = WINDOW.min(self.client.receive_maximum as usize);
        // What the broker does not take yet is enough for now.
        let is_free = self.client.socket.as_ref().is_some_and(|socket| socket.out.is_empty());
        if !is_free || !self.client.is_accepted() {
            return Ok(());
        }
        let mut out = Vec::new();
        while self.credit > 0 && self.on_their_way.len() < window && out.len() < TURN_BYTES {
            let number = self.next;
            ledger.sent(self.stamp(number));
            out.extend(self.packet(number, false));
            self.on_their_way.push_back(OnItsWay { number, stage: Stage::Published, sent_at: now });
            self.next += 1;
            self.credit -= 1;
        }
        if let Some(socket) = &mut self.client.socket {
            socket.out.extend(out);
        }
        self.client.flush()
    }

    fn take(
        &mut self,
        first: u8,
        body: &[u8],
        out: &mut Vec<u8>,
        ledger: &mut Ledger,
        now: Instant,
    ) -> Result<()> {
        ledger.packets += 1;
        if first >> 4 == CONNACK {
            let is_present = self.client.accept(body, ledger)?;
            self.send_again(is_present, out, now);
            return Ok(());
        }
        if let Some(reason @ 0x80..) = body.get(2)
            // A packet id that the broker does not know: it had released it before, and forgotten.
            && (first >> 4, *reason) != (PUBCOMP, 0x92)
        {
            let whom = format!("{}: {first:#04x} with reason {reason:#04x}", self.client.name);
            ledger.breach(Kind::Refused, &whom, None);
        }
        let id = packets::leading_id(body)?;
        match (first >> 4, self.qos) {
            (PUBACK, 1) => self.acknowledge(id, Stage::Completed, ledger, now),
            (PUBREC, 2) => {
                self.acknowledge(id, Stage::Released, ledger, now);
                out.extend(packets::acknowledgement(PUBREL, id));
            }
            (PUBCOMP, 2) => match self.find(id) {
                Some(at) if self.on_their_way[at].stage == Stage::Released => {
                    self.on_their_way[at].stage = Stage::Completed;
                }
                _ => self.wrongly_acknowledged(id, ledger),
            },
            _ => bail!("a publisher was sent {first:#04x} {body:02x?}"),
        }
        while self.on_their_way.front().is_some_and(|message| message.stage == Stage::Completed) {
            self.on_their_way.pop_front();
        }
        Ok(())
    }

    /// PUBACK and PUBREC come in the order of the messages [MQTT-4.6.0-2], [MQTT-4.6.0-3].
    fn acknowledge(&mut self, id: u16, stage: Stage, ledger: &mut Ledger, now: Instant) {
        let Some(at) = self.find(id).filter(|at| self.on_their_way[*at].stage == Stage::Published) else {
            return self.wrongly_acknowledged(id, ledger);
        };
        let message = self.on_their_way[at];
        let before = self.on_their_way.iter().take(at);
        if before.clone().any(|other| other.stage == Stage::Published) {
            ledger.breach(Kind::AcknowledgedInDisorder, &self.client.name, Some(message.number));
        }
        self.on_their_way[at].stage = stage;
        ledger.acknowledged(self.stamp(message.number));
        if stage == Stage::Completed {
            let slowest = &mut ledger.figures.puback_slowest;
            *slowest = (*slowest).max(now.saturating_duration_since(message.sent_at));
        }
    }

    fn wrongly_acknowledged(&self, id: u16, ledger: &mut Ledger) {
        let whom = format!("{}: packet id {id}, not on its way", self.client.name);
        ledger.breach(Kind::AcknowledgedWrongly, &whom, None);
    }

    /// With the session there: PUBLISH and PUBREL again, in the order of the first time [MQTT-4.4.0-1],
    /// [MQTT-4.6.0-1]. Without, the broker's promises are broken already, and what it did not
    /// acknowledge is sent anew.
    fn send_again(&mut self, is_present: bool, out: &mut Vec<u8>, now: Instant) {
        for at in 0..self.on_their_way.len() {
            let OnItsWay { number, stage, .. } = self.on_their_way[at];
            self.on_their_way[at].sent_at = now;
            match stage {
                Stage::Published => out.extend(self.packet(number, is_present)),
                Stage::Released if is_present => {
                    out.extend(packets::acknowledgement(PUBREL, packet_id(number)));
                }
                Stage::Released | Stage::Completed => self.on_their_way[at].stage = Stage::Completed,
            }
        }
        self.on_their_way.retain(|message| is_present || message.stage != Stage::Completed);
    }

    fn packet(&self, number: u32, dup: bool) -> Vec<u8> {
        let payload = self.payloads.write(self.stamp(number));
        let (qos, retain, topic, id) = (self.qos, self.retain, &self.topic, packet_id(number));
        Publish { dup, qos, retain, topic, id, payload: &payload }.write(self.client.version)
    }

    /// Where in the row the message with this packet id stands.
    fn find(&self, id: u16) -> Option<usize> {
        let first = self.on_their_way.front()?.number;
        let ahead = (u32::from(id) + 65_535 - u32::from(packet_id(first))) % 65_535;
        let at = ahead as usize;
        (id > 0 && at < self.on_their_way.len()).then_some(at)
    }

    fn stamp(&self, number: u32) -> Stamp {
        Stamp { publisher: self.number, number }
    }
}

/// From 1 to 65,535 and round again.
fn packet_id(number: u32) -> u16 {
    u16::try_from(number % 65_535 + 1).unwrap_or(1)
}
