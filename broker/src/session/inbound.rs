//! Step 3 of a PUBLISH's road: what the client sends. Takes a well-formed PUBLISH from `connection/`
//! (step 2), resolves its topic alias, stops the duplicate and what goes beyond the receive maximum, and
//! asks for the rest to be taken to `ingress/` (step 4); the acknowledgement is owed from the moment the
//! outcome is known, and never before.
//!
//! Owns the packet ids of QoS 2 messages that were received and not released (or are not known yet to have
//! been), and the fingerprints
//! of envelopes taken lately, by which a repetition of the protocol is told from an attack.

use super::{Action, Ending, Session};
use crate::ingress::message::{Extras, Submission};
use crate::ingress::{Fingerprint, Refusal, Refused};
use crate::store::Position;
use rustc_hash::FxHashMap;
use sealmq_protocol::packet::{Ack, Diagnostics, PacketId, Publish, Version};
use sealmq_protocol::{ProtocolError, Qos, ReasonCode};
use std::collections::VecDeque;
use std::time::Instant;

/// Envelopes of QoS 1 whose packet id and fingerprint are remembered.
const TAKEN_MAX: usize = 256;

/// What has to be known of a PUBLISH to acknowledge it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Receipt {
    dup: bool,
    qos: Qos,
    packet_id: Option<PacketId>,
}

impl Receipt {
    /// The packet id of a QoS 2 message.
    pub(crate) fn exactly_once(self) -> Option<PacketId> {
        self.packet_id.filter(|_| self.qos == Qos::ExactlyOnce)
    }

    /// Whether the publisher waits for an answer.
    pub(crate) fn is_awaited(self) -> bool {
        self.packet_id.is_some()
    }
}

/// The answer to a PUBLISH of QoS 1 or 2.
#[derive(Debug)]
pub(crate) enum Acknowledgement {
    /// PUBACK.
    Qos1(Ack),
    /// PUBREC.
    Qos2(Ack),
}

/// What became of a message that was taken to ingress and router.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Handed to whoever listens, and how that went; held once the store reaches the position. With the
    /// fingerprint of the envelope that it came in, if it did.
    Routed(Position, ReasonCode, Option<Fingerprint>),
    /// Not admitted.
    Refused(Refused),
}

struct Received {
    /// What its PUBREC had to wait for; none while ingress looks at it.
    position: Option<Position>,
    /// Whether it came on the connection at hand, and is among what is owed.
    counted: bool,
}

pub(super) struct Inbound {
    /// QoS 2 messages received and not released.
    received: FxHashMap<PacketId, Received>,
    received_max: usize,
    /// Messages of QoS 1 and 2 that may be unacknowledged on the connection at hand.
    owed_max: usize,
    /// Messages of QoS 1 and 2 that the client still waits to have acknowledged in full.
    owed: usize,
    taken: VecDeque<(PacketId, Fingerprint)>,
}

impl Inbound {
    pub(super) fn new() -> Self {
        let (received, taken) = (FxHashMap::default(), VecDeque::new());
        Self { received, received_max: 0, owed_max: 0, owed: 0, taken }
    }

    /// What the store had received, and its client had not released.
    pub(super) fn resume(&mut self, received: impl IntoIterator<Item = PacketId>) {
        let kept = || Received { position: Some(Position::START), counted: false };
        self.received.extend(received.into_iter().map(|packet_id| (packet_id, kept())));
    }

    /// A new connection, on which the client may have so many messages unacknowledged, and so many of QoS 2
    /// unreleased from whichever connection. It begins to count anew what it is owed (§4.9).
    pub(super) fn attach(&mut self, owed_max: usize, received_max: usize) {
        (self.owed_max, self.received_max) = (owed_max, received_max);
        self.owed = 0;
        self.received.retain(|_, received| received.position.is_some());
        self.received.values_mut().for_each(|received| received.counted = false);
    }

    /// PUBREL: the packet id is free again ([MQTT-4.3.3-11]). Whether it was in use.
    pub(super) fn release(&mut self, id: PacketId) -> bool {
        if self.received.get(&id).is_some_and(|received| received.position.is_none()) {
            return false;
        }
        let released = self.received.remove(&id);
        let counted = released.as_ref().is_some_and(|received| received.counted);
        self.owed = self.owed.saturating_sub(usize::from(counted));
        if self.received.is_empty() && self.received.capacity() > 64 {
            self.received.shrink_to_fit();
        }
        released.is_some()
    }

    /// One more, within the receive maximum; and of QoS 2 within what may be unfinished in all.
    fn count(&mut self, qos: Qos) -> Result<(), ProtocolError> {
        let unfinished = qos == Qos::ExactlyOnce && self.received.len() >= self.received_max;
        if qos > Qos::AtMostOnce {
            if unfinished || self.owed >= self.owed_max {
                return Err(ProtocolError::ReceiveMaximumExceeded); // [MQTT-3.3.4-7]
            }
            self.owed += 1;
        }
        Ok(())
    }

    fn remember(&mut self, id: PacketId, fingerprint: Fingerprint) {
        self.taken.retain(|(taken, _)| *taken != id);
        if self.taken.len() == TAKEN_MAX {
            self.taken.pop_front();
        }
        self.taken.push_back((id, fingerprint));
    }

    fn was_taken(&self, id: PacketId, fingerprint: Fingerprint) -> bool {
        self.taken.contains(&(id, fingerprint))
    }

    /// What a refusal comes to where a packet is sent again: nothing, if its first copy is remembered. If not,
    /// it is answered and never ends the connection for what time made of it: its client has to send it until
    /// it is answered ([MQTT-4.4.0-1]) and can make it no newer, so would come back with it for ever.
    fn judge(&self, receipt: Receipt, refused: &Refused) -> Refusal {
        let refusal = refused.refusal;
        let Some(id) = receipt.packet_id.filter(|_| receipt.dup && refusal.is_stale()) else {
            return refusal;
        };
        let known = refused.fingerprint.is_some_and(|fingerprint| self.was_taken(id, fingerprint));
        if known && refusal.is_replay() { Refusal::Repeated } else { refusal.and_go_on() }
    }
}

impl Session {
    pub(super) fn handle_publish(&mut self, publish: Publish, now: Instant) {
        if let Err(error) = self.take_publish(publish, now) {
            self.close(Ending::Protocol(error));
        }
    }

    #[inline]
    fn take_publish(&mut self, publish: Publish, now: Instant) -> Result<(), ProtocolError> {
        let Publish { dup, qos, retain, packet_id, .. } = publish;
        if qos.bits() > self.offer.qos_max {
            return Err(ProtocolError::QosNotSupported); // [MQTT-3.2.2-11]
        }
        if retain && !self.offer.retain_available {
            return Err(ProtocolError::RetainNotSupported); // [MQTT-3.2.2-14]
        }
        // Before anything else looks at the packet, and of a duplicate too: it may set an alias.
        let topic = match (publish.topic, publish.topic_alias) {
            (Some(topic), None) => topic,
            (topic, alias) => self.link.aliases.resolve(topic, alias)?,
        };
        if let (Qos::ExactlyOnce, Some(id)) = (qos, packet_id)
            && let Some(Received { position, .. }) = self.inbound.received.get(&id)
        {
            // Received and not released: the same message, whatever its DUP says ([MQTT-4.3.3-10]).
            // Before the first is answered, that answer is for both.
            if let Some(position) = *position {
                let again = Acknowledgement::Qos2(Ack::success(id));
                self.actions.push_back(Action::Acknowledge(again, position));
            }
            return Ok(());
        }
        self.inbound.count(qos)?;
        let extras = Extras::of(publish.message_expiry_s, publish.properties, now);
        let submission = Submission::new(topic, publish.payload, (qos, retain), extras, &self.client_id);
        if let (Qos::ExactlyOnce, Some(id)) = (qos, packet_id) {
            self.inbound.received.insert(id, Received { position: None, counted: false });
        }
        self.actions.push_back(Action::Route(submission, Receipt { dup, qos, packet_id }));
        Ok(())
    }

    /// What became of the message that [`Action::Route`] gave out. Gives what is owed for it at once, with
    /// the position that the store has to reach before; then as with [`Action::Acknowledge`].
    #[inline]
    pub(crate) fn handle_outcome(
        &mut self,
        receipt: Receipt,
        outcome: Outcome,
    ) -> Option<(Acknowledgement, Position)> {
        if let Some(id) = receipt.exactly_once() {
            self.inbound.received.remove(&id);
        }
        let (reason, diagnostics, position) = match outcome {
            Outcome::Routed(position, reason, fingerprint) => {
                if let (Some(id), Some(fingerprint)) = (receipt.packet_id, fingerprint) {
                    self.inbound.remember(id, fingerprint);
                }
                (reason, None, position)
            }
            Outcome::Refused(mut refused) => {
                refused.refusal = self.inbound.judge(receipt, &refused);
                let refusal = refused.refusal;
                self.actions.push_back(Action::Report(refused));
                if refusal.disconnects() {
                    self.close(Ending::Refused(refusal.reason()));
                    return None;
                }
                // A device that is not acknowledged would send the same packet for ever.
                let said = refusal.explanation().filter(|_| self.link.problem_information);
                (refusal.reason(), said.map(Diagnostics::of), Position::START)
            }
        };
        let packet_id = receipt.packet_id?;
        let ack = Ack { packet_id, reason, diagnostics };
        let acknowledgement = match receipt.qos {
            Qos::AtMostOnce => return None,
            Qos::AtLeastOnce => Acknowledgement::Qos1(ack),
            Qos::ExactlyOnce => {
                // To a client of MQTT 5 an error ends the exchange (§4.3.3); others go on to PUBREL.
                if !reason.is_error() || self.link.version < Version::V5 {
                    self.inbound
                        .received
                        .insert(packet_id, Received { position: Some(position), counted: true });
                }
                Acknowledgement::Qos2(ack)
            }
        };
        Some((acknowledgement, position))
    }

    /// An acknowledgement has left: the client may send one message more, if that was the last word on
    /// this one.
    pub(crate) fn handle_acknowledged(&mut self, acknowledgement: &Acknowledgement) {
        let last = match acknowledgement {
            Acknowledgement::Qos1(_) => true,
            Acknowledgement::Qos2(ack) => ack.reason.is_error() && self.link.version == Version::V5,
        };
        if last {
            self.inbound.owed = self.inbound.owed.saturating_sub(1);
        }
    }
}
