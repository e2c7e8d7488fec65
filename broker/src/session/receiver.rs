//! What the client at the other end takes: in whose form, how large, how secure, with which aliases. A
//! delivery that is for it becomes a [`Dispatch`]; one that is not is passed over, and counted.

use super::Action;
use super::alias::{self, Alias};
use super::sealing::{self, Sealing, round_an_envelope};
use crate::delivery::{Delivery, Terms, Via};
use crate::ingress::ENVELOPE_CONTENT_TYPE;
use crate::ingress::message::Message;
use bytes::Bytes;
use sealmq_protocol::packet::{MessageProperties, OutgoingPublish, PacketId, PublishHeader, Version};
use sealmq_protocol::{Qos, codec};
use std::sync::Arc;
use std::time::Instant;

/// What an alias adds to a packet at most: itself, and each of two lengths a byte longer.
const ALIAS_BYTES_MAX: usize = 5;
/// More than a packet has beside topic, payload, the application's properties and subscription ids: two
/// headers and lengths, a packet id, and what is fixed of six properties.
const PACKET_BYTES_BESIDE: usize = 64;
/// What a subscription id takes at most.
const SUBSCRIPTION_ID_BYTES_MAX: usize = 5;

/// What the connection at hand takes.
pub(super) struct Receiver {
    /// Whether confidential messages may be sent.
    pub(super) secure: bool,
    /// If not, how they may be sent in envelopes.
    pub(super) sealing: Option<Sealing>,
    /// Whether the audit may be shown.
    pub(super) is_auditor: bool,
    /// In whose form.
    pub(super) version: Version,
    /// Its receive maximum.
    pub(super) receive_maximum: u16,
    /// Its maximum packet size, bytes, or what MQTT can express.
    pub(super) packet_bytes_max: usize,
    /// The aliases that it takes.
    pub(super) aliases: alias::Outbound,
}

/// Messages that were owed and not sent, by why.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PassedOver {
    /// Confidential, on a connection that is not fit for it.
    pub(crate) withheld: u64,
    /// Too late.
    pub(crate) expired: u64,
    /// Larger than the client takes ([MQTT-3.1.2-24]).
    pub(crate) too_large: u64,
}

/// A PUBLISH to be written.
#[derive(Debug)]
pub(crate) struct Dispatch {
    pub(crate) message: Arc<Message>,
    pub(crate) header: PublishHeader,
    alias: Alias,
    message_expiry_s: Option<u32>,
    via: Option<Arc<Via>>,
    /// In the place of the message's own: an envelope round it, and what is said of that.
    pub(super) sealed: Option<Box<(Bytes, MessageProperties)>>,
}

impl Dispatch {
    /// As the codec takes it.
    pub(crate) fn as_packet(&self) -> OutgoingPublish<'_> {
        let (topic, topic_alias) = match self.alias {
            Alias::None => (self.message.topic().as_str(), None),
            Alias::Set(alias) => (self.message.topic().as_str(), Some(alias)),
            Alias::Use(alias) => ("", Some(alias)),
        };
        let (payload, properties) = match self.sealed.as_deref() {
            None => (self.message.payload(), self.message.properties()),
            Some((envelope, properties)) => (envelope, Some(properties)),
        };
        OutgoingPublish {
            header: self.header,
            topic,
            topic_alias,
            message_expiry_s: self.message_expiry_s,
            subscription_ids: self.via.as_ref().map_or(&[], |via| &via.subscription_ids),
            properties,
            payload,
        }
    }
}

impl Receiver {
    /// While there is no connection.
    pub(super) fn nobody() -> Self {
        Self {
            secure: false,
            is_auditor: false,
            sealing: None,
            version: Version::V311,
            receive_maximum: 0,
            packet_bytes_max: 0,
            aliases: alias::Outbound::default(),
        }
    }

    /// Whether a message is not for this receiver, or not any more; if so it is counted. Without a time
    /// nothing has expired.
    #[inline]
    pub(super) fn passes_over(
        &self,
        delivery: &Delivery,
        now: Option<Instant>,
        passed_over: &mut PassedOver,
    ) -> bool {
        let message = &delivery.message;
        // Nearly always there is nothing to look for.
        let is_ordinary = !message.egress().is_confidential()
            && message.expires().is_none()
            && delivery.terms.via.is_none()
            && message.size() + PACKET_BYTES_BESIDE <= self.packet_bytes_max;
        !is_ordinary && self.passes_over_some(delivery, now, passed_over)
    }

    fn passes_over_some(
        &self,
        delivery: &Delivery,
        now: Option<Instant>,
        passed_over: &mut PassedOver,
    ) -> bool {
        let message = &delivery.message;
        if message.is_audit() && !self.is_auditor {
            return true;
        }
        let count = if message.egress().is_confidential() && !self.secure && self.sealing(message).is_none() {
            &mut passed_over.withheld
        } else if now.is_some_and(|now| message.is_expired(now)) {
            &mut passed_over.expired
        } else if !self.has_room_for(delivery, 0) {
            &mut passed_over.too_large
        } else {
            return false;
        };
        *count += 1;
        true
    }

    /// How a message leaves in an envelope, if it does.
    fn sealing(&self, message: &Message) -> Option<&Sealing> {
        self.sealing.as_ref().filter(|sealing| !self.secure && sealing.permits(message))
    }

    /// Whether the packet, with its topic's name and so many bytes more, is within the client's maximum.
    fn has_room_for(&self, delivery: &Delivery, more: usize) -> bool {
        let message = &delivery.message;
        let ids = delivery.terms.via.as_ref().map_or(&[][..], |via| &via.subscription_ids);
        let plain = message.payload().len();
        let sealing = self.sealing(message);
        let payload = sealing.map_or(plain, |sealing| sealing.size.of(plain));
        // Mostly so by far that nothing has to be counted.
        let beside = PACKET_BYTES_BESIDE + ENVELOPE_CONTENT_TYPE.len() * usize::from(sealing.is_some());
        let at_most =
            message.size() - plain + payload + beside + SUBSCRIPTION_ID_BYTES_MAX * ids.len() + more;
        if at_most <= self.packet_bytes_max {
            return true;
        }
        let said = sealing.map(|_| round_an_envelope(message.properties()));
        let packet_id = if delivery.terms.qos > Qos::AtMostOnce { Some(PacketId::MIN) } else { None };
        let packet = OutgoingPublish {
            header: header(&delivery.terms, packet_id, false),
            topic: message.topic().as_str(),
            topic_alias: None,
            message_expiry_s: message.expires().map(|_| 0),
            subscription_ids: ids,
            properties: said.as_ref().or(message.properties()),
            payload: message.payload(),
        };
        let bytes = codec::publish_bytes(&packet, payload, self.version);
        // Zero is for what has no form at all.
        bytes > 0 && bytes + more <= self.packet_bytes_max
    }

    /// The PUBLISH that a delivery becomes.
    #[inline]
    pub(super) fn dispatch(
        &mut self,
        delivery: Delivery,
        packet_id: Option<PacketId>,
        dup: bool,
        now: Instant,
    ) -> Action {
        // What fits only just goes without introducing an alias.
        let may_introduce = self.aliases.wanted() && self.has_room_for(&delivery, ALIAS_BYTES_MAX);
        let Delivery { message, terms, place: _ } = delivery;
        // Whatever was asked before: on a plaintext connection it leaves in an envelope or not at all.
        let is_sealed = message.egress().is_confidential() && !self.secure;
        let dispatch = Dispatch {
            header: header(&terms, packet_id, dup),
            alias: self.aliases.assign(message.topic(), may_introduce),
            message_expiry_s: message.expires_in_s(now),
            via: terms.via,
            sealed: None,
            message,
        };
        sealing::deliver(dispatch, is_sealed)
    }
}

fn header(terms: &Terms, packet_id: Option<PacketId>, dup: bool) -> PublishHeader {
    PublishHeader { dup, qos: terms.qos, retain: terms.retain, packet_id }
}
