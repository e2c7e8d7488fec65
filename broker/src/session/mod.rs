//! The rules of MQTT for one client: a value that is given packets and the time, and says what is to
//! be done. No I/O, no clock, no lock; `connection/` carries its [`Action`]s out and decides nothing.
//!
//! Owns the subscriptions, both directions' packet ids and what is owed to the client. A persistent
//! session outlives its connections: between two of them it is parked in `registry.rs`.
//!
//! Four verbs: [`Session::handle_packet`], [`Session::handle_timeout`], [`Session::poll_action`]
//! (with [`Session::poll_transmit`] for what waits for room to write), [`Session::poll_timeout`].

pub(crate) mod connect;
mod inbound;
mod outbound;
mod subscribe;
#[cfg(test)]
mod tests;

pub(crate) use inbound::{Outcome, Receipt};

use crate::delivery::{Delivery, SessionId};
use crate::ingress::Refusal;
use crate::ingress::message::Message;
use crate::retained::{Order, Page};
use crate::store::Position;
use bytestring::ByteString;
use inbound::Inbound;
use outbound::Outbound;
use sealmq_config::limits::Limits;
use sealmq_protocol::packet::{PublishHeader, Subscribe, Will};
use sealmq_protocol::{Packet, ProtocolError, Qos, TopicFilter, TopicName, packet};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What `connection/` is to do, in this order.
#[derive(Debug)]
pub(crate) enum Action {
    /// Send a packet.
    Send(Packet),
    /// Send a packet, once the store has reached a position.
    Acknowledge(Packet, Position),
    /// Send a message as PUBLISH.
    Deliver(Arc<Message>, PublishHeader),
    /// Take a message to ingress and router; the outcome comes back by [`Session::handle_outcome`].
    Route(packet::Publish),
    /// A message was refused and is no repetition of the protocol: count and log it.
    Report(Refusal),
    /// Ask which of the filters the client may subscribe to; answered by [`Session::handle_permitted`].
    Permit(Subscribe),
    /// Add a subscription to the router; answered by [`Session::handle_subscribed`].
    Subscribe(TopicFilter, Qos),
    /// Remove subscriptions from the router.
    Unsubscribe(Vec<TopicFilter>),
    /// Read a page of retained messages; answered by [`Session::handle_page`].
    ReadRetained {
        /// Which topics.
        filter: TopicFilter,
        /// Set no later than this.
        until: Order,
        /// Behind this topic.
        after: Option<TopicName>,
    },
    /// Close the connection.
    Close(Ending),
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The client sent DISCONNECT.
    Disconnect,
    /// The socket is gone.
    SocketClosed,
    /// The client broke the protocol.
    Protocol(ProtocolError),
    /// A new connection claimed the client id.
    TakenOver,
    /// The client fell too far behind its subscriptions.
    Overrun,
    /// The client takes nothing of what is written to it.
    WriteStalled,
    /// The policy of a topic asks for it when a message is refused.
    Refused,
    /// The server stops.
    Shutdown,
}

impl Ending {
    /// Whether the will is published: on every end but DISCONNECT ([MQTT-3.1.2-8], [MQTT-3.14.4-3]).
    pub(crate) fn publishes_will(self) -> bool {
        self != Self::Disconnect
    }
}

/// See the module's description.
pub(crate) struct Session {
    id: SessionId,
    client_id: ByteString,
    persistent: bool,
    subscriptions: BTreeMap<TopicFilter, Qos>,
    subscriptions_max: usize,
    inbound: Inbound,
    outbound: Outbound,
    link: Link,
    actions: VecDeque<Action>,
}

/// What belongs to the connection that holds the session now.
#[derive(Default)]
struct Link {
    will: Option<Will>,
    keep_alive: Option<Duration>,
    heard: Option<Instant>,
}

impl Session {
    /// A new session, to be connected by [`Session::attach`].
    pub(crate) fn new(id: SessionId, client_id: ByteString, persistent: bool, limits: &Limits) -> Self {
        Self {
            id,
            client_id,
            persistent,
            subscriptions: BTreeMap::new(),
            subscriptions_max: limits.subscriptions_per_client_max,
            inbound: Inbound::new(limits.inbound_qos2_max),
            outbound: Outbound::new(limits.inflight_messages_max),
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

    /// Whether it outlives its connection.
    pub(crate) fn persistent(&self) -> bool {
        self.persistent
    }

    /// All filters subscribed to.
    pub(crate) fn filters(&self) -> impl Iterator<Item = &TopicFilter> {
        self.subscriptions.keys()
    }

    /// A connection takes the session up. What was sent and not acknowledged is sent again, in order
    /// ([MQTT-4.4.0-1]); `secure` says whether confidential messages may be.
    pub(crate) fn attach(&mut self, keep_alive_s: u16, will: Option<Will>, secure: bool, now: Instant) {
        // One and a half times the keep alive ([MQTT-3.1.2-24]); zero turns it off.
        let keep_alive = (keep_alive_s > 0).then(|| Duration::from_millis(u64::from(keep_alive_s) * 1_500));
        self.link = Link { will, keep_alive, heard: Some(now) };
        self.actions.clear();
        self.outbound.attach(secure);
    }

    /// The connection is over: what was taken from the mailbox and not sent goes back there.
    pub(crate) fn detach(&mut self) -> VecDeque<Delivery> {
        self.link.will = None;
        self.actions.clear();
        self.outbound.detach()
    }

    /// The will, to be published once: none if there is none or it was taken.
    pub(crate) fn take_will(&mut self) -> Option<Will> {
        self.link.will.take()
    }

    /// Takes one packet from the client.
    pub(crate) fn handle_packet(&mut self, packet: Packet, now: Instant) {
        self.link.heard = Some(now);
        match packet {
            Packet::Publish(publish) => self.handle_publish(publish),
            Packet::PubAck(id) => self.outbound.handle_puback(id),
            Packet::PubRec(id) => {
                self.outbound.handle_pubrec(id);
                // Also for an id that is not known: else the client would wait for ever.
                self.actions.push_back(Action::Send(Packet::PubRel(id)));
            }
            Packet::PubComp(id) => self.outbound.handle_pubcomp(id),
            Packet::PubRel(id) => {
                self.inbound.release(id);
                self.actions.push_back(Action::Send(Packet::PubComp(id)));
            }
            Packet::Subscribe(subscribe) => self.actions.push_back(Action::Permit(subscribe)),
            Packet::Unsubscribe(unsubscribe) => self.handle_unsubscribe(unsubscribe),
            Packet::PingReq => self.actions.push_back(Action::Send(Packet::PingResp)),
            Packet::Disconnect => {
                self.link.will = None; // [MQTT-3.14.4-3]
                self.close(Ending::Disconnect);
            }
            Packet::Connect(_) => self.close(Ending::Protocol(ProtocolError::SecondConnect)),
            // The codec lets no packet through that only a server may send.
            Packet::ConnAck(_) | Packet::SubAck(_) | Packet::UnsubAck(_) | Packet::PingResp => {
                self.close(Ending::Protocol(ProtocolError::ServerPacket));
            }
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

    /// The next thing that the client is owed: [`Action::Send`], [`Action::Deliver`] or
    /// [`Action::ReadRetained`]. To be called only while there is room to write.
    pub(crate) fn poll_transmit(&mut self) -> Option<Action> {
        self.outbound.poll()
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

    /// Confidential messages passed over since this was last asked.
    pub(crate) fn take_withheld(&mut self) -> u64 {
        self.outbound.take_withheld()
    }

    /// The page that [`Action::ReadRetained`] asked for.
    pub(crate) fn handle_page(&mut self, page: Page) {
        self.outbound.handle_page(page);
    }

    fn close(&mut self, ending: Ending) {
        self.actions.push_back(Action::Close(ending));
    }
}
