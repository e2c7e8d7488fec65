//! A publisher with a session that lasts: sends within a window, and again what was not acknowledged.

use super::link::{self, Heard, Link, connect};
use super::model::{Model, payload};
use super::rng::Rng;
use bytes::Bytes;
use sealmq_protocol::packet::{Ack, PacketId, Publish, SubscriptionIds, Version};
use sealmq_protocol::{Packet, Qos};
use std::collections::VecDeque;
use tokio::io::DuplexStream;

struct Flight {
    id: PacketId,
    number: usize,
    /// PUBREC came, and PUBREL went.
    released: bool,
}

/// See the module's description.
pub(super) struct Publisher {
    pub(super) at: usize,
    pub(super) version: Version,
    pub(super) link: Option<Link>,
    /// A connection that it gave up may be greeted yet, and take the session over.
    pub(super) is_haunted: bool,
    pub(super) retains: bool,
    /// How many it has to send, and how many at once.
    pub(super) total: usize,
    pub(super) window: usize,
    /// Packet ids are used again as soon as they are free.
    pub(super) reuses: bool,
    flights: VecDeque<Flight>,
    last_id: u16,
    /// Whether the broker has said that it keeps the session.
    known: bool,
}

impl Publisher {
    /// One that has sent nothing.
    pub(super) fn new(at: usize, rng: &mut Rng, reuses: bool) -> Self {
        Self {
            at,
            version: if rng.one_in(2) { Version::V5 } else { Version::V311 },
            link: None,
            is_haunted: false,
            retains: false,
            total: 6 + rng.below(10),
            window: 1 + rng.below(6),
            reuses,
            flights: VecDeque::new(),
            last_id: 0,
            known: false,
        }
    }

    /// Whether all was sent and acknowledged.
    pub(super) fn is_done(&self, model: &Model) -> bool {
        model.count(self.at) == self.total && self.flights.is_empty()
    }

    /// Connects by this pipe.
    pub(super) fn dial(&mut self, pipe: DuplexStream, model: &Model) {
        let connect = connect(self.version, format!("p{}", self.at), true, None);
        self.link = Some(Link::new(pipe, connect, model.full_said));
    }

    /// Sends one more, where the window allows. Whether it did.
    pub(super) fn send(&mut self, model: &mut Model) -> bool {
        let number = model.count(self.at);
        let Some(link) = self.link.as_mut().filter(|link| link.greeted) else { return false };
        if number >= self.total || self.flights.len() >= self.window {
            return false;
        }
        let in_use = |id: u16| self.flights.iter().any(|flight| flight.id.get() == id);
        let first = if self.reuses { 1 } else { self.last_id + 1 };
        let id = (first..).find(|id| !in_use(*id)).and_then(PacketId::new).unwrap();
        self.last_id = id.get();
        self.flights.push_back(Flight { id, number, released: false });
        model.sends(self.at, number);
        link.send(&publish(self.at, (number, id), self.retains, model.sources[self.at].qos, false));
        true
    }

    /// Reads one packet. Whether there was one.
    pub(super) fn hear(&mut self, model: &mut Model) -> Result<bool, String> {
        let heard = match link::next(&mut self.link, self.is_haunted) {
            Ok(Heard::Nothing) => return Ok(false),
            Ok(Heard::Closed) => Ok(()),
            Ok(Heard::Packet(packet)) => self.take(packet, model),
            Err(why) => Err(why),
        };
        heard.map_err(|why| format!("publisher {}: {why}", self.at))?;
        Ok(true)
    }

    fn take(&mut self, packet: Packet, model: &mut Model) -> Result<(), String> {
        match packet {
            Packet::ConnAck(ack) if ack.reason.is_error() => link::refused(&mut self.link, ack.reason),
            Packet::ConnAck(ack) => self.greet(ack.session_present, model),
            Packet::PubAck(ack) => self.acknowledged(&ack, Qos::AtLeastOnce, model),
            Packet::PubRec(ack) => self.acknowledged(&ack, Qos::ExactlyOnce, model),
            Packet::PubComp(ack) => {
                let at = self.flight(&ack)?;
                let flight = self.flights.remove(at).filter(|flight| flight.released);
                flight.map(drop).ok_or_else(|| "PUBCOMP before PUBREL".into())
            }
            other => Err(format!("did not expect {other:?}")),
        }
    }

    fn flight(&self, ack: &Ack) -> Result<usize, String> {
        let found = self.flights.iter().position(|flight| flight.id == ack.packet_id);
        found.ok_or_else(|| format!("{ack:?} of nothing that was sent"))
    }

    fn acknowledged(&mut self, ack: &Ack, qos: Qos, model: &mut Model) -> Result<(), String> {
        let at = self.flight(ack)?;
        let flight = &mut self.flights[at];
        if qos != model.sources[self.at].qos || flight.released {
            return Err(format!("{ack:?} does not answer what was sent"));
        }
        if ack.reason.is_error() {
            model.refused(self.at, flight.number)?;
            self.flights.remove(at);
            return Ok(());
        }
        model.acknowledged(self.at, flight.number)?;
        if qos == Qos::AtLeastOnce {
            self.flights.remove(at);
        } else {
            flight.released = true;
            if let Some(link) = &mut self.link {
                link.send(&Packet::PubRel(Ack::success(ack.packet_id)));
            }
        }
        Ok(())
    }

    /// CONNACK: sends again what has no answer.
    fn greet(&mut self, present: bool, model: &mut Model) -> Result<(), String> {
        if self.known && !present {
            return Err("its session is gone".into());
        }
        self.known = true;
        let Some(link) = &mut self.link else { return Ok(()) };
        link.greeted = true;
        for flight in &self.flights {
            if flight.released {
                link.send(&Packet::PubRel(Ack::success(flight.id)));
            } else {
                model.sends(self.at, flight.number);
                let qos = model.sources[self.at].qos;
                link.send(&publish(self.at, (flight.number, flight.id), self.retains, qos, true));
            }
        }
        Ok(())
    }
}

/// Where a publisher publishes to.
pub(super) fn topic(source: usize) -> String {
    format!("t/{source}")
}

fn publish(source: usize, (number, id): (usize, PacketId), retain: bool, qos: Qos, dup: bool) -> Packet {
    Packet::Publish(Publish {
        dup,
        qos,
        retain,
        topic: Some(topic(source).as_str().try_into().unwrap()),
        packet_id: Some(id),
        topic_alias: None,
        message_expiry_s: None,
        subscription_ids: SubscriptionIds::default(),
        properties: None,
        payload: Bytes::clone(&payload(source, number)),
    })
}
