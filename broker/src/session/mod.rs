//! The rules of MQTT for one client: a value that is given packets and the time, and says what is to
//! be done. No I/O, no clock, no lock; `connection/` carries its [`Action`]s out and decides nothing.
//!
//! Owns the subscriptions, both directions' packet ids and what is owed to the client. A persistent
//! session outlives its connections: between two of them it is parked in `registry.rs`.
//!
//! Four verbs: [`Session::handle_packet`], [`Session::handle_timeout`], [`Session::poll_action`]
//! (with [`Session::poll_transmit`] for what waits for room to write), [`Session::poll_timeout`].

mod alias;
pub(crate) mod connect;
mod ending;
mod inbound;
mod kept;
mod outbound;
mod receiver;
mod scans;
mod sealing;
mod subscribe;
#[cfg(test)]
mod tests;
mod will;

pub(crate) use ending::Ending;
pub(crate) use inbound::{Acknowledgement, Outcome, Receipt};
pub(crate) use kept::{Kept, Resumed};
pub(crate) use receiver::{Dispatch, PassedOver};
pub(crate) use sealing::{Sealing, Unsealed};
pub(crate) use will::WillAtEnd;

use crate::delivery::{Delivery, SessionId, Subscription};
use crate::ingress::Refused;
use crate::ingress::message::Submission;
use crate::mailbox::{Keeping, Parked};
use crate::retained::{Order, Page};
use crate::store::{Change, Position};
use bytestring::ByteString;
use connect::Terms;
use inbound::Inbound;
use outbound::Outbound;
use receiver::Receiver;
use sealmq_config::limits::Limits;
use sealmq_config::mqtt::{Mqtt, PACKET_BYTES};
use sealmq_protocol::packet::{Ack, Auth, Disconnect, PacketId, Subscribe, Version, Will};
use sealmq_protocol::{Packet, ProtocolError, ReasonCode, SubscriptionFilter, TopicFilter, TopicName};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What `connection/` is to do, in this order.
#[derive(Debug)]
pub(crate) enum Action {
    /// Send a packet.
    Send(Packet),
    /// Send a packet once the store has what the session has told it, and what was subscribed to.
    SendKept(Packet),
    /// Send PUBACK or PUBREC, once the store has reached a position; then say so by
    /// [`Session::handle_acknowledged`].
    Acknowledge(Acknowledgement, Position),
    /// Send a message as PUBLISH.
    Deliver(Dispatch),
    /// The same, but in an envelope for the client.
    DeliverSealed(Unsealed),
    /// Take a message to ingress and router; the outcome comes back by [`Session::handle_outcome`].
    Route(Submission, Receipt),
    /// A message was refused, or is a repetition of the protocol: count it and say so.
    Report(Refused),
    /// Ask which of the filters the client may subscribe to; answered by [`Session::handle_permitted`].
    Permit(Subscribe),
    /// Add subscriptions to the router; answered by [`Session::handle_subscribed`].
    Subscribe(Vec<Subscription>),
    /// Remove subscriptions from the router.
    Unsubscribe(Vec<SubscriptionFilter>),
    /// Read a page of retained messages; answered by [`Session::handle_page`].
    ReadRetained {
        /// Which topics.
        filter: TopicFilter,
        /// Set no later than this.
        until: Order,
        /// Behind this topic.
        after: Option<TopicName>,
    },
    /// Take a step of the authentication (§4.12.1).
    Authenticate(Box<Auth>),
    /// Close the connection.
    Close(Ending),
}

/// See the module's description.
pub(crate) struct Session {
    id: SessionId,
    client_id: ByteString,
    keeping: Keeping,
    offer: Arc<Mqtt>,
    subscriptions: BTreeSet<SubscriptionFilter>,
    subscriptions_max: usize,
    /// What the subscriptions cost the broker, and may cost.
    subscription_bytes: usize,
    subscription_bytes_max: usize,
    inbound: Inbound,
    inbound_qos2_max: usize,
    outbound: Outbound,
    link: Link,
    actions: VecDeque<Action>,
}

/// What belongs to the connection that holds the session now.
struct Link {
    version: Version,
    will: Option<Will>,
    took_will_back: bool,
    /// How long the session is kept after the connection; none: for ever.
    session_expiry: Option<Duration>,
    keep_alive: Option<Duration>,
    heard: Option<Instant>,
    /// Whether the client wants to hear more than reason codes ([MQTT-3.1.2-29]).
    problem_information: bool,
    authentication_method: Option<ByteString>,
    aliases: alias::Inbound,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            version: Version::V311,
            will: None,
            took_will_back: false,
            session_expiry: None,
            keep_alive: None,
            heard: None,
            problem_information: false,
            authentication_method: None,
            aliases: alias::Inbound::default(),
        }
    }
}

impl Session {
    /// A new session, to be connected by [`Session::attach`].
    pub(crate) fn new(
        id: SessionId,
        client_id: ByteString,
        keeping: Keeping,
        limits: &Limits,
        offer: Arc<Mqtt>,
    ) -> Self {
        let stored = (keeping == Keeping::Store).then_some(id);
        Self {
            id,
            client_id,
            keeping,
            offer,
            subscriptions: BTreeSet::new(),
            subscriptions_max: limits.subscriptions_per_client_max,
            subscription_bytes: 0,
            subscription_bytes_max: limits.subscription_bytes_per_client_max,
            inbound: Inbound::new(),
            inbound_qos2_max: limits.inbound_qos2_max,
            outbound: Outbound::new(limits.inflight_messages_max, limits.inflight_bytes_max, stored),
            link: Link::default(),
            actions: VecDeque::new(),
        }
    }

    /// Names the session.
    pub(crate) fn id(&self) -> SessionId {
        self.id
    }

    /// Whose it is.
    pub(crate) fn client_id(&self) -> &ByteString {
        &self.client_id
    }

    /// Whether it was begun to outlive its connection, so that its messages are kept.
    pub(crate) fn persistent(&self) -> bool {
        self.keeping != Keeping::Nothing
    }

    /// Whether the store keeps it.
    pub(crate) fn is_stored(&self) -> bool {
        self.keeping == Keeping::Store
    }

    /// How long it is kept after the connection at hand; none: for ever.
    pub(crate) fn expiry(&self) -> Option<Duration> {
        self.link.session_expiry
    }

    /// All filters subscribed to.
    pub(crate) fn filters(&self) -> impl Iterator<Item = &SubscriptionFilter> {
        self.subscriptions.iter()
    }

    /// A connection takes the session up, on its own terms. What was sent and not acknowledged is sent
    /// again, in order ([MQTT-4.4.0-1]); `secure` says whether confidential messages may be.
    pub(crate) fn attach(&mut self, terms: Terms, secure: bool, now: Instant) {
        // One and a half times the keep alive ([MQTT-3.1.2-22]); zero turns it off.
        let keep_alive =
            (terms.keep_alive_s > 0).then(|| Duration::from_millis(u64::from(terms.keep_alive_s) * 1_500));
        let is_v5 = terms.version == Version::V5;
        let aliases = if is_v5 { self.offer.topic_alias_maximum } else { 0 };
        let session_expiry = terms.session_expiry();
        self.link = Link {
            version: terms.version,
            will: terms.will,
            took_will_back: false,
            session_expiry,
            keep_alive,
            heard: Some(now),
            problem_information: terms.problem_information,
            authentication_method: terms.authentication_method,
            aliases: alias::Inbound::new(aliases),
        };
        self.actions.clear();
        // The receive maximum binds clients that were told of it; others have a bound on what costs memory.
        // (Packet ids bound that for everybody.)
        if is_v5 {
            self.inbound.attach(self.offer.receive_maximum.into(), usize::MAX);
        } else {
            self.inbound.attach(usize::MAX, self.inbound_qos2_max);
        }
        self.outbound.attach(Receiver {
            secure,
            is_auditor: false,
            sealing: None,
            version: terms.version,
            receive_maximum: terms.receive_maximum,
            packet_bytes_max: terms.packet_bytes_max.unwrap_or(PACKET_BYTES).min(PACKET_BYTES),
            aliases: alias::Outbound::new(terms.aliases_to_client),
        });
    }

    /// Whether the connection at hand may be shown the audit; a new one may not, until it is said.
    pub(crate) fn show_audit(&mut self, may: bool) {
        self.outbound.show_audit(may);
    }

    /// How the client gets what is confidential on a connection that is not secure, if it does.
    pub(crate) fn set_sealing(&mut self, sealing: Option<Sealing>) {
        self.outbound.set_sealing(sealing);
    }

    /// The connection is over: what was taken from the mailbox and not sent goes back there.
    pub(crate) fn detach(&mut self) -> Parked {
        let session_expiry = self.link.session_expiry;
        self.link = Link { session_expiry, ..Link::default() };
        self.actions.clear();
        self.outbound.detach(self.id)
    }

    /// What another member of a shared subscription can have when the session has ended (§4.8.2).
    pub(crate) fn unacknowledged_shared(&self) -> impl Iterator<Item = &Delivery> {
        self.outbound.unacknowledged_shared()
    }

    /// Takes one packet from the client.
    pub(crate) fn handle_packet(&mut self, packet: Packet, now: Instant) {
        self.link.heard = Some(now);
        match packet {
            Packet::Publish(publish) => self.handle_publish(publish, now),
            Packet::PubAck(ack) => self.outbound.handle_puback(ack.packet_id),
            Packet::PubRec(ack) => {
                if let Some(released) = self.outbound.handle_pubrec(ack.packet_id, ack.reason) {
                    // After it the client takes the same PUBLISH for another: it must not come again.
                    self.actions.push_back(Action::SendKept(Packet::PubRel(released)));
                }
            }
            Packet::PubComp(ack) => self.outbound.handle_pubcomp(ack.packet_id),
            Packet::PubRel(ack) => {
                let known = self.inbound.release(ack.packet_id);
                let reason = if known { ReasonCode::Success } else { ReasonCode::PacketIdentifierNotFound };
                let complete = Packet::PubComp(Ack::of(ack.packet_id, reason));
                if known {
                    let (session, packet_id) = (self.id, ack.packet_id);
                    self.outbound.kept_mut().tell(Change::Completed { session, packet_id });
                }
                // After it the client uses the id anew: what comes then must not pass for the old one.
                self.actions.push_back(Action::SendKept(complete));
            }
            Packet::Subscribe(subscribe) => self.actions.push_back(Action::Permit(subscribe)),
            Packet::Unsubscribe(unsubscribe) => self.handle_unsubscribe(unsubscribe),
            Packet::PingReq => self.actions.push_back(Action::Send(Packet::PingResp)),
            Packet::Disconnect(disconnect) => self.handle_disconnect(&disconnect),
            Packet::Auth(auth) => self.handle_auth(auth),
            Packet::Connect(_) => self.close(Ending::Protocol(ProtocolError::SecondConnect)),
            // The codec lets no packet through that only a server may send.
            Packet::ConnAck(_) | Packet::SubAck(_) | Packet::UnsubAck(_) | Packet::PingResp => {
                self.close(Ending::Protocol(ProtocolError::ServerPacket));
            }
        }
    }

    fn handle_disconnect(&mut self, disconnect: &Disconnect) {
        if let Some(asked_s) = disconnect.session_expiry_s {
            if asked_s > 0 && self.link.session_expiry == Some(Duration::ZERO) {
                self.close(Ending::Protocol(ProtocolError::SessionExpiryRaised)); // §3.14.2.2.2
                return;
            }
            self.link.session_expiry = connect::granted_expiry(asked_s, &self.offer);
        }
        if disconnect.reason == ReasonCode::Success {
            self.link.took_will_back = self.link.will.take().is_some(); // [MQTT-3.14.4-3]
        }
        self.close(Ending::Disconnect(disconnect.reason));
    }

    /// Only who authenticated himself this way may do so again, and only in this way
    /// ([MQTT-4.12.0-6], [MQTT-4.12.1-1]).
    fn handle_auth(&mut self, auth: Box<Auth>) {
        let known = self.link.authentication_method.as_ref();
        if known.is_none() {
            self.close(Ending::Protocol(ProtocolError::UnexpectedAuth));
        } else if auth.method.as_ref() != known {
            self.close(Ending::Protocol(ProtocolError::AuthMethodChanged));
        } else {
            self.actions.push_back(Action::Authenticate(auth));
        }
    }

    /// The time that [`Session::poll_timeout`] asked for has come.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.close(Ending::Protocol(ProtocolError::KeepAliveExpired));
        }
    }

    /// When to call [`Session::handle_timeout`]; later with every packet heard.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.link.heard?.checked_add(self.link.keep_alive?)
    }

    /// The next thing to do in answer to what came in; call until `None` after every other call.
    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The next thing that the client is owed: [`Action::Send`], [`Action::Deliver`],
    /// [`Action::DeliverSealed`] or [`Action::ReadRetained`]. To be called only while there is room to write.
    pub(crate) fn poll_transmit(&mut self, now: Instant) -> Option<Action> {
        self.outbound.poll(now)
    }

    /// Whether the mailbox should be looked into: nothing that was taken before is left.
    pub(crate) fn wants_deliveries(&self) -> bool {
        self.outbound.is_hungry()
    }

    /// Where [`crate::mailbox::Mailbox::take`] puts what waits; to be called when
    /// [`Session::wants_deliveries`].
    pub(crate) fn deliveries_mut(&mut self) -> &mut VecDeque<Delivery> {
        self.outbound.pending_mut()
    }

    /// Messages passed over since this was last asked.
    pub(crate) fn take_passed_over(&mut self) -> PassedOver {
        self.outbound.take_passed_over()
    }

    /// Whether the client wants to hear more than reason codes ([MQTT-3.1.2-29]).
    pub(crate) fn wants_problem_information(&self) -> bool {
        self.link.problem_information
    }

    /// The page that [`Action::ReadRetained`] asked for. What has to stand in the session's queue first is
    /// given back.
    pub(crate) fn handle_page(&mut self, page: Page) -> Vec<Delivery> {
        self.outbound.handle_page(page)
    }

    /// What the store had in flight and received, before a connection takes the session up.
    pub(crate) fn resume(&mut self, resumed: impl IntoIterator<Item = Resumed>) {
        self.outbound.resume(resumed);
    }

    /// The ids of QoS 2 messages that were received and not released, as the store had them.
    pub(crate) fn resume_received(&mut self, received: impl IntoIterator<Item = PacketId>) {
        self.inbound.resume(received);
    }

    /// How long it is kept after its last connection, as the store had it.
    pub(crate) fn resume_expiry(&mut self, expiry: Option<Duration>) {
        self.link.session_expiry = expiry;
    }

    /// The subscriptions, as the store had them.
    pub(crate) fn resume_subscriptions(&mut self, filters: impl IntoIterator<Item = SubscriptionFilter>) {
        for filter in filters {
            self.subscription_bytes += subscribe::cost(&filter);
            self.subscriptions.insert(filter);
        }
    }

    /// A page of the session's queue, which the mailbox had nothing of.
    pub(crate) fn take_stored(&mut self, page: impl IntoIterator<Item = Delivery>) {
        self.outbound.take_page(page);
    }

    /// What the store is to be told, and what waits for it.
    pub(crate) fn kept_mut(&mut self) -> &mut Kept {
        self.outbound.kept_mut()
    }

    fn close(&mut self, ending: Ending) {
        self.actions.push_back(Action::Close(ending));
    }
}
