//! A subscriber with a session that lasts: comes and goes, acknowledges late, and keeps its own half of QoS 2.

use super::link::{self, Heard, Link, connect};
use super::model::{Model, Promise};
use super::rng::Rng;
use sealmq_protocol::packet::{
    Ack, Disconnect, PacketId, Publish, Subscribe, SubscriptionOptions, UserProperties, Version,
};
use sealmq_protocol::{Packet, Qos, ReasonCode};
use std::collections::{BTreeMap, VecDeque};
use tokio::io::DuplexStream;

/// See the module's description.
pub(super) struct Subscriber {
    pub(super) at: usize,
    pub(super) version: Version,
    pub(super) link: Option<Link>,
    /// A connection that it gave up may be greeted yet, and take the session over.
    pub(super) is_haunted: bool,
    /// Its receive maximum, if it has one.
    window: Option<u16>,
    qos: Qos,
    /// Received with QoS 2, and not released.
    received: BTreeMap<PacketId, (usize, usize)>,
    /// Acknowledgements that it has not sent yet.
    pub(super) owed: VecDeque<Packet>,
    /// Messages of this connection that it has not acknowledged in full.
    open: usize,
    known: bool,
    asked: bool,
}

impl Subscriber {
    /// One that was never there.
    pub(super) fn new(at: usize, qos: Qos, rng: &mut Rng) -> Self {
        let version = if rng.one_in(2) { Version::V5 } else { Version::V311 };
        let window = (version == Version::V5).then(|| u16::try_from(1 + rng.below(6)).unwrap());
        Self {
            at,
            version,
            link: None,
            is_haunted: false,
            window,
            qos,
            received: BTreeMap::new(),
            owed: VecDeque::new(),
            open: 0,
            known: false,
            asked: false,
        }
    }

    /// Whether nothing is begun and not finished.
    pub(super) fn is_done(&self, model: &Model) -> bool {
        // A broker that forgot what was not synced never releases it.
        let is_released = self.received.is_empty() || model.promise == Promise::Async;
        let rests = self.owed.is_empty() && is_released;
        rests && model.subscribed[self.at] && self.link.as_ref().is_some_and(|link| link.greeted)
    }

    /// What it waits for, in words.
    pub(super) fn state(&self, model: &Model) -> String {
        let greeted = self.link.as_ref().is_some_and(|link| link.greeted);
        let (owed, received) = (self.owed.len(), self.received.len());
        let subscribed = model.subscribed[self.at];
        format!(
            "{:?}, greeted {greeted}, subscribed {subscribed}, {owed} owed, {received} unreleased",
            model.promise
        )
    }

    /// Connects by this pipe.
    pub(super) fn dial(&mut self, pipe: DuplexStream, model: &Model) {
        let connect = connect(self.version, format!("s{}", self.at), true, self.window);
        self.link = Some(Link::new(pipe, connect, model.full_said));
        self.owed.clear();
        self.open = 0;
        self.asked = false;
    }

    /// Sends the oldest acknowledgement. Whether there was one.
    pub(super) fn acknowledge(&mut self) -> bool {
        let Some(link) = self.link.as_mut().filter(|link| link.greeted) else { return false };
        let Some(packet) = self.owed.pop_front() else { return false };
        link.send(&packet);
        let last = matches!(packet, Packet::PubAck(_) | Packet::PubComp(_));
        self.open = self.open.saturating_sub(usize::from(last));
        true
    }

    /// Disconnects in good order.
    pub(super) fn leave(&mut self) {
        if let Some(mut link) = self.link.take() {
            link.send(&Packet::Disconnect(Box::new(Disconnect::of(ReasonCode::Success))));
        }
    }

    /// Asks for its subscription, if it is not known to have it.
    pub(super) fn subscribe(&mut self, model: &Model) -> bool {
        let Some(link) = self.link.as_mut().filter(|link| link.greeted) else { return false };
        if self.asked || model.subscribed[self.at] {
            return false;
        }
        self.asked = true;
        link.send(&subscribe("t/#", self.qos));
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
        heard.map_err(|why| format!("subscriber {}: {why}", self.at))?;
        Ok(true)
    }

    fn take(&mut self, packet: Packet, model: &mut Model) -> Result<(), String> {
        match packet {
            Packet::ConnAck(ack) if ack.reason.is_error() => link::refused(&mut self.link, ack.reason),
            Packet::ConnAck(ack) => {
                if self.known && !ack.session_present {
                    return Err("its session is gone".into());
                }
                self.known = true;
                self.link.iter_mut().for_each(|link| link.greeted = true);
                Ok(())
            }
            Packet::SubAck(ack) if ack.reasons.iter().any(|reason| reason.is_error()) => {
                if model.full {
                    Ok(())
                } else {
                    Err(format!("refused with {:?}", ack.reasons))
                }
            }
            Packet::SubAck(_) => {
                model.subscribed[self.at] = true;
                Ok(())
            }
            Packet::Publish(publish) => self.take_publish(&publish, model),
            Packet::PubRel(ack) => {
                self.received.remove(&ack.packet_id);
                self.owed.push_back(Packet::PubComp(Ack::success(ack.packet_id)));
                Ok(())
            }
            other => Err(format!("did not expect {other:?}")),
        }
    }

    fn take_publish(&mut self, publish: &Publish, model: &mut Model) -> Result<(), String> {
        let message = model.find(&publish.payload)?;
        let Some(id) = publish.packet_id else { return Err("a message of QoS 0".into()) };
        self.open += 1;
        if self.window.is_some_and(|window| self.open > usize::from(window)) {
            return Err(format!("{} messages are more than its receive maximum", self.open));
        }
        if publish.qos != self.qos.min(model.sources[message.0].qos) {
            return Err(format!("{publish:?} has another QoS than was granted"));
        }
        let lossy = model.promise == Promise::Async && model.life > 0;
        let mut is_new = true;
        if publish.qos == Qos::ExactlyOnce {
            match self.received.insert(id, message) {
                Some(before) if before == message => is_new = false,
                Some(before) if !lossy => {
                    return Err(format!("packet id {id} is {before:?}, and now {message:?}"));
                }
                Some(_) | None => {}
            }
            self.owed.push_back(Packet::PubRec(Ack::success(id)));
        } else {
            self.owed.push_back(Packet::PubAck(Ack::success(id)));
        }
        // What comes for a new subscription alone counts for nothing.
        if is_new && !publish.retain { model.arrived(self.at, message) } else { Ok(()) }
    }
}

/// A SUBSCRIBE to one filter.
pub(super) fn subscribe(filter: &str, qos: Qos) -> Packet {
    let filters = vec![(filter.parse(), SubscriptionOptions::of(qos))];
    let packet_id = PacketId::MIN;
    Packet::Subscribe(Subscribe {
        packet_id,
        filters,
        subscription_id: None,
        user_properties: UserProperties::default(),
    })
}
