//! What the session asks for, carried out: the one place that matches on [`Action`].

use super::io::{append_within, encode_within};
use super::{Connection, Owed};
use crate::audit::{self, Event, Whose};
use crate::delivery::Subscription;
use crate::failed_stamps::Standing;
use crate::handout;
use crate::ingress::{Admitted, Barred, Refusal, Refused};
use crate::now::Now;
use crate::retained::Page;
use crate::rulebook::Rulebook;
use crate::session::{Acknowledgement, Action, Ending, Outcome, Receipt};
use crate::store::{Change, Position};
use sealmq_protocol::packet::{Ack, Subscribe, Version};
use sealmq_protocol::{Packet, SubscriptionFilter, TopicFilter, codec};
use std::time::{Duration, Instant};
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
            Action::Send(packet) => self.send(&packet)?,
            Action::SendKept(packet) => self.send_kept(packet)?,
            Action::Acknowledge(acknowledgement, position) => self.owe(acknowledgement, position),
            Action::Deliver(dispatch) => {
                self.turn.sent += 1;
                let written = codec::encode_publish(&dispatch.as_packet(), self.version, &mut self.io.out);
                debug_assert!(written, "the session leaves out what the client has no room for");
            }
            Action::DeliverSealed(unsealed) => self.deliver_sealed(unsealed, now)?,
            Action::Route(submission, receipt) => {
                self.turn.received += 1;
                self.begin(submission, receipt, now);
            }
            Action::Report(refused) => self.report(&refused)?,
            Action::Permit(subscribe) => self.permit(subscribe),
            Action::Subscribe(subscriptions) => self.subscribe(subscriptions),
            Action::Authenticate(auth) => self.authenticate(*auth)?,
            Action::Unsubscribe(filters) => self.unsubscribe(filters),
            Action::ReadRetained { filter, until, after } => {
                let page = if handout::asked_for(&filter).is_some() {
                    Page::of(self.broker.key_message(&self.rules, &filter, now))
                } else {
                    self.broker.router.retained().page(&filter, until, after.as_ref())
                };
                let to_keep = self.session.handle_page(page);
                self.broker.router.queue_retained(&self.mailbox, to_keep, &mut self.turn);
            }
            Action::Close(ending) => return Err(ending),
        }
        Ok(())
    }

    /// A packet that answers. Within the client's maximum ([MQTT-3.1.2-24]): most are short, but an
    /// acknowledgement of many filters can be long, and cannot be left out.
    pub(super) fn send(&mut self, packet: &Packet) -> Result<(), Ending> {
        let sent = encode_within(packet, self.version, self.packet_bytes_max, &mut self.io.out);
        if sent { Ok(()) } else { Err(Ending::AnswerTooLarge) }
    }

    /// PUBACK or PUBREC, once the store has reached the position and those before have left.
    pub(super) fn owe(&mut self, acknowledgement: Acknowledgement, position: Position) {
        if self.held.is_empty() && position == Position::START {
            self.acknowledge(&acknowledgement);
        } else {
            self.held.push_back((Owed::Acknowledgement(acknowledgement), position));
        }
    }

    /// A packet that promises what the session has told the store, or subscribed to.
    fn send_kept(&mut self, packet: Packet) -> Result<(), Ending> {
        let (changes, _) = self.session.kept_mut().changes();
        if !changes.is_empty() {
            self.promised = self.broker.store.append(changes).1;
            self.session.kept_mut().handle_appended(self.promised);
        }
        if self.held.is_empty() && self.broker.store.has_reached(self.promised) {
            return self.send(&packet);
        }
        self.answers += usize::from(matches!(packet, Packet::SubAck(_)));
        self.held.push_back((Owed::Packet(Box::new(packet)), self.promised));
        Ok(())
    }

    /// PUBACK or PUBREC; what it says for people is left out where the client has no room for it.
    pub(super) fn acknowledge(&mut self, acknowledgement: &Acknowledgement) {
        let (encode, ack): (fn(&Ack, _, &mut _) -> bool, _) = match acknowledgement {
            Acknowledgement::Qos1(ack) => (codec::encode_puback, ack),
            Acknowledgement::Qos2(ack) => (codec::encode_pubrec, ack),
        };
        let (version, out) = (self.version, &mut self.io.out);
        if !append_within(self.packet_bytes_max, out, |out| encode(ack, version, out)) {
            encode(&Ack::of(ack.packet_id, ack.reason), version, out);
        }
        self.session.handle_acknowledged(acknowledgement);
    }

    /// What ingress (step 4) has settled, through the router (step 5).
    pub(super) fn route(&mut self, settled: Result<Admitted, Refused>, receipt: Option<Receipt>) -> Outcome {
        match settled {
            Ok(mut admitted) => {
                // Whoever hears that nobody has it sends it again, and may do so in the same envelope.
                let hears = self.version == Version::V5 && receipt.is_some_and(Receipt::is_awaited);
                if admitted.fingerprint.is_some() {
                    self.turn.count_envelope();
                    self.broker.metrics.envelopes_opened.add(1);
                    if let Some(taken) = admitted.taken().filter(|_| self.broker.store.keeps()) {
                        self.broker.will_take(&taken);
                        self.turn.also_taken(taken, hears);
                    }
                }
                if let Some(packet_id) = receipt.and_then(Receipt::exactly_once)
                    && self.session.is_stored()
                {
                    let received = Change::Received { session: self.session.id(), packet_id };
                    self.turn.also_unless_error_ends(received, self.version == Version::V5);
                }
                let routed = self.broker.router.route(&admitted.message, &mut self.turn);
                let fingerprint = admitted.fingerprint.filter(|_| !(hears && routed.is_lost));
                if hears && routed.is_lost {
                    admitted.give_back();
                }
                Outcome::Routed(routed.position, routed.reason, fingerprint)
            }
            Err(refused) => {
                if refused.fingerprint.is_some() {
                    self.turn.count_envelope();
                }
                Outcome::Refused(refused)
            }
        }
    }

    fn permit(&mut self, subscribe: Subscribe) {
        let (rules, channel) = (&self.rules, self.channel());
        let is_auditor = self.peer.secure && rules.is_auditor(&self.identity);
        let why_not = |filter: &TopicFilter| {
            if !is_auditor && audit::is_all_of(filter) {
                return Some(Barred::Audit);
            }
            rules.ingress.bars(filter, &self.permissions, channel)
        };
        let may = |filter: &SubscriptionFilter| match why_not(filter.filter()) {
            None => true,
            Some(barred) => {
                self.broker.audit.record_barred(barred.name(), filter, self.whose());
                false
            }
        };
        let permitted: Vec<bool> =
            subscribe.filters.iter().map(|(filter, _)| filter.as_ref().is_ok_and(may)).collect();
        self.session.handle_permitted(subscribe, &permitted);
    }

    fn subscribe(&mut self, subscriptions: Vec<Subscription>) {
        let session = self.session.id();
        if self.session.is_stored() {
            let changes = subscriptions.iter().cloned().map(Box::new);
            let changes = changes.map(|subscription| Change::Subscribed { session, subscription });
            self.promised = self.promised.max(self.broker.store.append(&mut changes.collect()).1);
        }
        let until = self.broker.router.subscribe(&self.mailbox, &subscriptions);
        self.session.handle_subscribed(subscriptions, until);
    }

    /// Keys of topics that the client has asked for may be others than under the rules of before, or than when
    /// this was last looked at.
    pub(super) fn hand_out_anew(&mut self, before: &Rulebook, now: Now) {
        let then = (before, std::mem::replace(&mut self.keys_as_of, now.unix_s));
        let own = self.session.filters().filter(|filter| filter.share_name().is_none());
        let has_changed = |filter: &&TopicFilter| {
            let topic = handout::asked_for(filter);
            topic.is_some_and(|topic| handout::has_changed(topic, then, (&self.rules, now.unix_s)))
        };
        let changed: Vec<_> = own.map(SubscriptionFilter::filter).filter(has_changed).cloned().collect();
        let until = self.broker.router.retained().order();
        for filter in changed {
            if let Some(subscription) = self.broker.router.subscription(self.session.id(), filter) {
                self.session.handle_key_changed(&subscription, until);
            }
        }
    }

    pub(super) fn unsubscribe(&mut self, filters: Vec<SubscriptionFilter>) {
        let session = self.session.id();
        self.broker.router.unsubscribe(session, &filters);
        if self.session.is_stored() {
            let changes = filters.into_iter().map(Box::new);
            let changes = changes.map(|filter| Change::Unsubscribed { session, filter });
            self.promised = self.promised.max(self.broker.store.append(&mut changes.collect()).1);
        }
    }

    /// Counts, logs and audits a message that was refused, without its payload; the log has no topic either.
    /// A flood of them does not become a flood of lines; one of failed stamps ends the connection.
    pub(super) fn report(&mut self, refused: &Refused) -> Result<(), Ending> {
        let refusal = refused.refusal;
        self.broker.metrics.add_refusal(refusal);
        // Escaped: a client id may hold what would forge a line.
        let (client, addr) = (self.session.client_id().escape_debug(), self.peer.addr);
        if refusal == Refusal::Repeated {
            tracing::debug!(%client, %addr, "an envelope was sent again by its own session; acknowledged");
            return Ok(());
        }
        self.broker.audit.record_refused(refused, self.whose());
        match self.refusals.get_or_insert_default().lines.admit(Instant::now()) {
            None => {}
            Some(0) => tracing::warn!(%client, %addr, reason = refusal.name(), "message refused"),
            Some(unsaid) => {
                tracing::warn!(%client, %addr, reason = refusal.name(), unsaid, "message refused, as were others");
            }
        }
        if refusal.is_failed_stamp() { self.count_failed_stamp(Instant::now()) } else { Ok(()) }
    }

    /// A stamp did not hold. Each costs a verification: whoever goes on with it is closed, and from an address
    /// where many come from, nobody is let in for a while.
    fn count_failed_stamp(&mut self, now: Instant) -> Result<(), Ending> {
        let limits = &self.broker.limits;
        let window = Duration::from_secs(limits.failed_stamps_window_s);
        let count = self.refusals.get_or_insert_default().failed_stamps.count(window, now);
        let max = limits.failed_stamps_per_connection;
        let standing = self.broker.count_failed_stamp(self.peer.addr.ip(), now);
        if standing == Standing::Within && (max == 0 || count <= max) {
            return Ok(());
        }
        self.broker.audit.record(Event::cut_off(self.whose()));
        Err(Ending::FailedStamps)
    }

    /// Whose connection it is, for the audit.
    fn whose(&self) -> Whose<'_> {
        Whose {
            client: self.session.client_id(),
            addr: Some(self.peer.addr),
            user: self.identity.user().map(|user| &**user),
        }
    }
}
