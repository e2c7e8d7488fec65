//! The queues of a mosquitto file: what is owed to each session in its order, what is in flight, and what
//! was received and not released.
//!
//! Mosquitto numbers messages as they come, and a queue mostly has them in that order. Then a message is
//! written once for all who are owed it; where a queue has another order, that queue's messages are written
//! for it alone.

use super::super::record::{ClientMessage, Direction, MessageState, StoreId};
use super::{Moving, SYS};
use crate::delivery::{Place, SessionId, Subscription, Terms, Via};
use crate::ingress::message::Message;
use crate::store::{Change, EngineError, Receivers, is_shared};
use sealmq_protocol::Qos;
use sealmq_protocol::packet::PacketId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Packet ids go from 1 to this, and begin again.
const IDS: u64 = 65_535;

/// A message that a session is owed.
struct Owed {
    store_id: StoreId,
    terms: Terms,
    /// Its packet id, if it was sent.
    sent: Option<PacketId>,
}

/// What a session has in flight, in the order in which it was sent: the packet id, and where the message
/// stands; none once PUBREC came.
type Flights = BTreeMap<SessionId, Vec<(PacketId, StoreId, bool)>>;

impl Moving<'_> {
    pub(super) fn take_queues(&mut self) -> Result<(), EngineError> {
        let mut flights = Flights::new();
        let mut by_message: BTreeMap<StoreId, Vec<(SessionId, Owed)>> = BTreeMap::new();
        let mut alone: Vec<(SessionId, Vec<Owed>)> = Vec::new();
        for (client_id, queue) in std::mem::take(&mut self.content.queues) {
            let Some(session) = self.sessions.get(&client_id).copied() else {
                self.moved.left.of_no_session += queue.len() as u64;
                continue;
            };
            let mut owed = Vec::new();
            for entry in queue {
                match entry.direction {
                    Direction::In => self.content.inbound.push((session, entry)),
                    Direction::Out => owed.extend(self.outbound(session, &entry, &mut flights)),
                }
            }
            if owed.is_sorted_by(|one, next| one.store_id < next.store_id) {
                for owed in owed {
                    by_message.entry(owed.store_id).or_default().push((session, owed));
                }
            } else {
                alone.push((session, owed));
            }
        }
        let mut places = BTreeMap::new();
        for (store_id, owed) in by_message {
            self.queue(store_id, owed, &mut places)?;
        }
        for (session, queue) in alone {
            for owed in queue {
                self.queue(owed.store_id, vec![(session, owed)], &mut places)?;
            }
        }
        self.take_flights(&flights, &places)
    }

    /// An entry of a queue, if something is owed.
    fn outbound(&mut self, session: SessionId, entry: &ClientMessage, flights: &mut Flights) -> Option<Owed> {
        let (id, store_id) = (entry.packet_id, entry.store_id);
        let is_sent = match entry.state {
            MessageState::ResendPubRel | MessageState::WaitForPubComp => {
                flights.entry(session).or_default().extend(id.map(|id| (id, store_id, true)));
                return None;
            }
            MessageState::WaitForPubAck | MessageState::WaitForPubRec => true,
            MessageState::PublishQos1 | MessageState::PublishQos2 => entry.dup,
            MessageState::PublishQos0 | MessageState::Queued => false,
            MessageState::Invalid
            | MessageState::WaitForPubRel
            | MessageState::ResendPubComp
            | MessageState::SendPubRec => {
                self.moved.left.damage("a message to a client has a state of one from a client");
                return None;
            }
        };
        if entry.qos == Qos::AtMostOnce && !self.rules.qos0 {
            self.moved.left.qos0 += 1;
            return None;
        }
        let sent = id.filter(|_| is_sent && entry.qos > Qos::AtMostOnce);
        let ids = entry.subscription_ids.as_slice().iter().copied();
        let terms = Terms { qos: entry.qos, retain: entry.retain, via: Via::own(ids) };
        if let Some(id) = sent {
            flights.entry(session).or_default().push((id, store_id, false));
        }
        Some(Owed { store_id, terms, sent })
    }

    /// A message, for all of these.
    fn queue(
        &mut self,
        store_id: StoreId,
        owed: Vec<(SessionId, Owed)>,
        places: &mut BTreeMap<(SessionId, PacketId), Place>,
    ) -> Result<(), EngineError> {
        let count = owed.len() as u64;
        // One that had expired when the file was written is not in it.
        let Some(store) = self.content.messages.get(&store_id) else {
            self.moved.left.expired += count;
            return Ok(());
        };
        if store.topic.as_str().starts_with(SYS) {
            self.moved.left.sys += count;
            return Ok(());
        }
        let Some(message) = self.message(store) else {
            self.moved.left.expired += count;
            return Ok(());
        };
        let position = self.to.next();
        let sent: Vec<(SessionId, PacketId)> =
            owed.iter().filter_map(|(session, owed)| Some((*session, owed.sent?))).collect();
        let to = receivers(owed.into_iter().map(|(session, owed)| (session, owed.terms)).collect());
        let Some(to) = to else { return Ok(()) };
        let place = Place::new(position, is_shared(&to, &message));
        places.extend(sent.into_iter().filter_map(|key| Some((key, place?))));
        self.to.take(Change::Queued { message, to })?;
        self.moved.queued += count;
        Ok(())
    }

    /// What was sent keeps its packet id. The store counts sendings, and the id says the rest.
    fn take_flights(
        &mut self,
        flights: &Flights,
        places: &BTreeMap<(SessionId, PacketId), Place>,
    ) -> Result<(), EngineError> {
        for (session, flights) in flights {
            let session = *session;
            let mut next = 0_u64;
            for (id, _, is_released) in flights {
                let ahead = (u64::from(id.get()) + IDS - 1 - next % IDS) % IDS;
                let sequence = next + ahead;
                next = sequence + 1;
                if *is_released {
                    // The message is gone, and its place is one where nothing ever stood.
                    let Some(place) = Place::new(self.to.next(), false) else { continue };
                    self.to.take(Change::Released { session, sequence, place })?;
                    self.moved.released += 1;
                } else if let Some(place) = places.get(&(session, *id)).copied() {
                    self.to.take(Change::Sent { session, sequence, place })?;
                    self.moved.in_flight += 1;
                }
            }
        }
        Ok(())
    }

    /// QoS 2 that was received and not released. Mosquitto hands it out at PUBREL, we do when it comes: so it
    /// is handed out now, and its packet id is kept for the PUBREL.
    pub(super) fn take_inbound(&mut self) -> Result<(), EngineError> {
        for (session, entry) in std::mem::take(&mut self.content.inbound) {
            let Some(packet_id) = entry.packet_id else { continue };
            self.to.take(Change::Received { session, packet_id })?;
            self.moved.inbound += 1;
            let Some(store) = self.content.messages.get(&entry.store_id) else { continue };
            let Some(message) = self.message(store) else {
                self.moved.left.expired += 1;
                continue;
            };
            if message.retain() {
                self.retain(message.clone())?;
            }
            let sender = entry.client_id.clone();
            let of = |other: SessionId| self.sessions.get(&sender) == Some(&other);
            let owed = self.subscriptions.iter().filter_map(|(session, subscriptions)| {
                Some((*session, terms(&message, subscriptions, of(*session))?))
            });
            if let Some(to) = receivers(owed.collect()) {
                self.moved.queued += to.iter().count() as u64;
                self.to.take(Change::Queued { message, to })?;
            }
        }
        Ok(())
    }
}

fn receivers(mut owed: Vec<(SessionId, Terms)>) -> Option<Receivers> {
    match owed.len() {
        0 | 1 => owed.pop().map(|(session, terms)| Receivers::One(session, terms)),
        _ => Some(Receivers::Several(owed.into())),
    }
}

/// On which terms a session gets a message by its subscriptions, if it does with a QoS that waits.
fn terms(message: &Arc<Message>, subscriptions: &[Subscription], is_own: bool) -> Option<Terms> {
    let matches = |subscription: &&Subscription| {
        subscription.filter.filter().matches(message.topic()) && !(is_own && subscription.options.no_local)
    };
    let matching: Vec<&Subscription> = subscriptions.iter().filter(matches).collect();
    let qos = matching.iter().map(|subscription| subscription.options.qos).max()?.min(message.qos());
    let retain =
        message.retain() && matching.iter().any(|subscription| subscription.options.retain_as_published);
    let via = Via::own(matching.iter().filter_map(|subscription| subscription.id));
    (qos > Qos::AtMostOnce).then_some(Terms { qos, retain, via })
}
