//! Step 3 of a PUBLISH's road: what the client sends. Takes a well-formed PUBLISH from `connection/`
//! (step 2), stops the duplicate, and asks for the rest to be taken to `ingress/` (step 4); the
//! acknowledgement is owed from the moment the outcome is known, and never before.
//!
//! Owns the packet ids of QoS 2 messages that were received and not released, and the fingerprints
//! of envelopes taken lately, by which a repetition of the protocol is told from an attack.

use super::{Action, Ending, Session};
use crate::ingress::{Fingerprint, Refusal};
use crate::store::Position;
use rustc_hash::FxHashMap;
use sealmq_protocol::packet::{PacketId, Publish};
use sealmq_protocol::{Packet, ProtocolError, Qos};
use std::collections::VecDeque;

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
    /// The receipt for a PUBLISH.
    pub(crate) fn of(publish: &Publish) -> Self {
        Self { dup: publish.dup, qos: publish.qos, packet_id: publish.packet_id }
    }
}

/// What became of a message that was taken to ingress and router.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Handed to everybody who listens; held once the store reaches the position. With the
    /// fingerprint of the envelope that it came in, if it did.
    Routed(Position, Option<Fingerprint>),
    /// Not admitted; with the fingerprint of what was refused, if it was an envelope.
    Refused(Refusal, Option<Fingerprint>),
}

pub(super) struct Inbound {
    /// QoS 2 messages received and not released, with what their PUBREC had to wait for.
    received: FxHashMap<PacketId, Position>,
    received_max: usize,
    taken: VecDeque<(PacketId, Fingerprint)>,
}

impl Inbound {
    pub(super) fn new(received_max: usize) -> Self {
        Self { received: FxHashMap::default(), received_max, taken: VecDeque::new() }
    }

    /// PUBREL: the packet id is free again ([MQTT-4.3.3-2]).
    pub(super) fn release(&mut self, id: PacketId) {
        self.received.remove(&id);
        if self.received.is_empty() && self.received.capacity() > 64 {
            self.received.shrink_to_fit();
        }
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
}

impl Session {
    pub(super) fn handle_publish(&mut self, publish: Publish) {
        if let (Qos::ExactlyOnce, Some(id)) = (publish.qos, publish.packet_id) {
            if let Some(position) = self.inbound.received.get(&id) {
                // Received and not released: the same message, whatever its DUP says ([MQTT-4.3.3-2]).
                self.actions.push_back(Action::Acknowledge(Packet::PubRec(id), *position));
                return;
            }
            if self.inbound.received.len() >= self.inbound.received_max {
                self.close(Ending::Protocol(ProtocolError::ReceiveMaximumExceeded));
                return;
            }
        }
        self.actions.push_back(Action::Route(publish));
    }

    /// What became of the message that [`Action::Route`] gave out.
    pub(crate) fn handle_outcome(&mut self, receipt: Receipt, outcome: &Outcome) {
        match *outcome {
            Outcome::Routed(position, fingerprint) => {
                if let (Some(id), Some(fingerprint)) = (receipt.packet_id, fingerprint) {
                    self.inbound.remember(id, fingerprint);
                }
                self.acknowledge(receipt, position);
            }
            Outcome::Refused(refusal, fingerprint) => {
                let repeated = receipt.dup
                    && refusal.is_replay()
                    && receipt
                        .packet_id
                        .zip(fingerprint)
                        .is_some_and(|(id, f)| self.inbound.was_taken(id, f));
                let refusal = if repeated { Refusal::Repeated } else { refusal };
                let disconnects = refusal.disconnects();
                self.actions.push_back(Action::Report(refusal));
                if disconnects {
                    self.close(Ending::Refused);
                } else {
                    // A device that is not acknowledged would send the same packet for ever.
                    self.acknowledge(receipt, Position::START);
                }
            }
        }
    }

    fn acknowledge(&mut self, receipt: Receipt, position: Position) {
        let Some(id) = receipt.packet_id else { return };
        let packet = match receipt.qos {
            Qos::AtMostOnce => return,
            Qos::AtLeastOnce => Packet::PubAck(id),
            Qos::ExactlyOnce => {
                self.inbound.received.insert(id, position);
                Packet::PubRec(id)
            }
        };
        self.actions.push_back(Action::Acknowledge(packet, position));
    }
}
