//! What the session asks for, carried out: the one place that matches on [`Action`].

use super::{Connection, Now};
use crate::ingress::{Admitted, Refusal};
use crate::session::{Action, Ending, Outcome, Receipt};
use crate::store::{Change, Position};
use sealmq_protocol::packet::{Publish, Subscribe};
use sealmq_protocol::{Packet, Qos, TopicFilter, codec};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite};

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Does what the session asks for in answer to what came in.
    pub(super) fn carry_out(&mut self, now: Now) -> Result<(), Ending> {
        while let Some(action) = self.session.poll_action() {
            self.carry_out_one(action, now)?;
        }
        Ok(())
    }

    pub(super) fn carry_out_one(&mut self, action: Action, now: Now) -> Result<(), Ending> {
        match action {
            Action::Send(packet) => self.send(&packet),
            Action::Acknowledge(packet, position) => {
                if self.held.is_empty() && position == Position::START {
                    self.send(&packet);
                } else {
                    self.held.push_back((packet, position));
                }
            }
            Action::Deliver(message, header) => {
                self.turn.sent += 1;
                let (topic, payload) = (message.topic().as_str(), message.payload());
                let written = codec::encode_publish(&header, topic, payload, &mut self.io.out);
                debug_assert!(written, "no message is longer than the packet that it came in");
            }
            Action::Route(publish) => {
                self.turn.received += 1;
                let receipt = Receipt::of(&publish);
                let outcome = self.route(publish, now);
                self.session.handle_outcome(receipt, &outcome);
            }
            Action::Report(refusal) => self.report(refusal),
            Action::Permit(subscribe) => self.permit(subscribe),
            Action::Subscribe(filters) => self.subscribe(filters),
            Action::Unsubscribe(filters) => self.unsubscribe(filters),
            Action::ReadRetained { filter, until, after } => {
                let page = self.broker.router.retained().page(&filter, until, after.as_ref());
                self.session.handle_page(page);
            }
            Action::Close(ending) => return Err(ending),
        }
        Ok(())
    }

    fn send(&mut self, packet: &Packet) {
        let written = codec::encode(packet, &mut self.io.out);
        debug_assert!(written, "a server's own packets are short");
    }

    /// Through ingress (step 4) and router (step 5).
    pub(super) fn route(&mut self, publish: Publish, now: Now) -> Outcome {
        let (qos, packet_id) = (publish.qos, publish.packet_id);
        let admitted = self.rules.ingress.admit(publish, &self.permissions, &self.broker.replay, now.unix_s);
        if !matches!(&admitted, Ok(Admitted { fingerprint: None, .. }) | Err((_, None))) {
            self.turn.count_envelope();
        }
        match admitted {
            Ok(admitted) => {
                if let (Qos::ExactlyOnce, Some(packet_id)) = (qos, packet_id)
                    && self.session.persistent()
                    && self.broker.store.keeps()
                {
                    self.turn.also(Change::Received { session: self.session.id(), packet_id });
                }
                if admitted.fingerprint.is_some() {
                    self.broker.metrics.envelopes_opened.add(1);
                }
                let position = self.broker.router.route(admitted.message, &mut self.turn);
                Outcome::Routed(position, admitted.fingerprint)
            }
            Err((refusal, fingerprint)) => Outcome::Refused(refusal, fingerprint),
        }
    }

    fn permit(&mut self, subscribe: Subscribe) {
        let permitted: Vec<bool> = subscribe
            .filters
            .iter()
            .map(|(filter, _)| {
                filter.as_ref().is_ok_and(|filter| {
                    self.rules.ingress.may_subscribe(filter, &self.permissions, self.peer.secure)
                })
            })
            .collect();
        self.session.handle_permitted(subscribe, &permitted);
    }

    fn subscribe(&mut self, filters: Vec<(TopicFilter, Qos)>) {
        let session = self.session.id();
        if self.session.persistent() && self.broker.store.keeps() {
            let changes = filters.iter().cloned();
            let changes = changes.map(|(filter, qos)| Change::Subscribed { session, filter, qos });
            self.broker.store.append(&mut changes.collect());
        }
        let until = self.broker.router.subscribe(&self.mailbox, &filters);
        self.session.handle_subscribed(filters, until);
    }

    fn unsubscribe(&mut self, filters: Vec<TopicFilter>) {
        let session = self.session.id();
        self.broker.router.unsubscribe(session, &filters);
        if self.session.persistent() && self.broker.store.keeps() {
            let changes = filters.into_iter().map(|filter| Change::Unsubscribed { session, filter });
            self.broker.store.append(&mut changes.collect());
        }
    }

    /// Counts and logs a message that was refused, without topic and payload. A flood of them does not
    /// become a flood of lines.
    pub(super) fn report(&mut self, refusal: Refusal) {
        self.broker.metrics.add_refusal(refusal);
        // Escaped: a client id may hold what would forge a line.
        let (client, addr) = (self.session.client_id().escape_debug(), self.peer.addr);
        if refusal == Refusal::Repeated {
            tracing::debug!(%client, %addr, "an envelope was sent again by its own session; acknowledged");
            return;
        }
        match self.refusals.admit(Instant::now()) {
            None => {}
            Some(0) => tracing::warn!(%client, %addr, reason = refusal.name(), "message refused"),
            Some(unsaid) => {
                tracing::warn!(%client, %addr, reason = refusal.name(), unsaid, "message refused, as were others");
            }
        }
    }
}
