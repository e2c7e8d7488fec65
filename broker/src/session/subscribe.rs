//! SUBSCRIBE and UNSUBSCRIBE. The session keeps what it is subscribed to; the router's tree is
//! changed by the actions asked for here, and a SUBACK leaves only after that.

use super::{Action, Session};
use crate::delivery::Subscription;
use crate::handout;
use crate::retained::Order;
use crate::store::layout;
use sealmq_protocol::packet::{
    RetainHandling, SubAck, Subscribe, SubscriptionId, SubscriptionOptions, UnsubAck, Unsubscribe,
};
use sealmq_protocol::{Packet, Qos, ReasonCode, SubscriptionFilter};

/// What a level of a filter costs in the router's tree, bytes, about.
const LEVEL_BYTES: usize = 512;

impl Session {
    /// The answer to [`Action::Permit`]: for each filter of `subscribe`, in order, whether the client
    /// may subscribe to it.
    pub(crate) fn handle_permitted(&mut self, subscribe: Subscribe, permitted: &[bool]) {
        let Subscribe { packet_id, filters, subscription_id: id, user_properties: _ } = subscribe;
        let mut reasons = Vec::with_capacity(filters.len());
        let mut granted = Vec::new();
        let permitted = permitted.iter().copied().chain(std::iter::repeat(false));
        for ((filter, options), permitted) in filters.into_iter().zip(permitted) {
            let Ok(filter) = filter else {
                reasons.push(ReasonCode::TopicFilterInvalid);
                continue;
            };
            reasons.push(match self.grant(filter, options, id, permitted) {
                Ok(subscription) => {
                    let reason = ReasonCode::granted(subscription.options.qos);
                    granted.push(subscription);
                    reason
                }
                Err(reason) => reason,
            });
        }
        self.actions.push_back(Action::Subscribe(granted));
        // One answer for each filter, in order ([MQTT-3.8.4-6]).
        let sub_ack = SubAck { packet_id, reasons, diagnostics: None };
        self.actions.push_back(Action::SendKept(Packet::SubAck(sub_ack)));
    }

    fn grant(
        &mut self,
        filter: SubscriptionFilter,
        mut options: SubscriptionOptions,
        id: Option<SubscriptionId>,
        permitted: bool,
    ) -> Result<Subscription, ReasonCode> {
        let offer = &self.offer;
        if filter.share_name().is_some() && !offer.shared_subscriptions {
            return Err(ReasonCode::SharedSubscriptionsNotSupported);
        }
        if filter.filter().has_wildcards() && !offer.wildcard_subscriptions {
            return Err(ReasonCode::WildcardSubscriptionsNotSupported);
        }
        if id.is_some() && !offer.subscription_identifiers {
            return Err(ReasonCode::SubscriptionIdentifiersNotSupported);
        }
        if !permitted {
            return Err(ReasonCode::NotAuthorized);
        }
        if handout::asks_at_large(filter.filter()) {
            return Err(ReasonCode::WildcardSubscriptionsNotSupported);
        }
        // It could not be kept, and be gone at the next start.
        if self.is_stored() && !layout::has_key(&filter) {
            return Err(ReasonCode::TopicFilterInvalid);
        }
        options.qos = options.qos.min(Qos::from_bits(offer.qos_max).unwrap_or(Qos::ExactlyOnce));
        let is_new = !self.subscriptions.contains(&filter);
        if is_new {
            self.count_subscription(&filter)?;
            self.subscriptions.insert(filter.clone());
        }
        Ok(Subscription { filter, options, id, is_new })
    }

    /// One subscription more, within the bounds. A filter that was subscribed to before is replaced
    /// ([MQTT-3.8.4-3]) and costs nothing.
    fn count_subscription(&mut self, filter: &SubscriptionFilter) -> Result<(), ReasonCode> {
        let bytes = self.subscription_bytes + cost(filter);
        if self.subscriptions.len() >= self.subscriptions_max || bytes > self.subscription_bytes_max {
            return Err(ReasonCode::QuotaExceeded);
        }
        self.subscription_bytes = bytes;
        Ok(())
    }

    /// The answer to [`Action::Subscribe`]: the retained messages set until `until` are owed, as the
    /// retain handling says ([MQTT-3.3.1-9] to [MQTT-3.3.1-11]), and never to who shares.
    pub(crate) fn handle_subscribed(&mut self, subscriptions: Vec<Subscription>, until: Order) {
        for subscription in subscriptions {
            let wanted = match subscription.options.retain_handling {
                RetainHandling::Send => true,
                RetainHandling::SendIfNew => subscription.is_new,
                RetainHandling::DoNotSend => false,
            };
            if wanted && subscription.filter.share_name().is_none() {
                self.outbound.scan(&subscription, &self.client_id, until, true);
            }
        }
    }

    /// What a subscription of a key was answered with is another now: the client is owed it, as a message that
    /// is new ([MQTT-3.3.1-12], [MQTT-3.3.1-13]).
    pub(crate) fn handle_key_changed(&mut self, subscription: &Subscription, until: Order) {
        let retain = subscription.options.retain_as_published;
        self.outbound.scan(subscription, &self.client_id, until, retain);
    }

    pub(super) fn handle_unsubscribe(&mut self, unsubscribe: Unsubscribe) {
        let Unsubscribe { packet_id, filters, user_properties: _ } = unsubscribe;
        let (mut reasons, mut ended) = (Vec::with_capacity(filters.len()), Vec::new());
        for filter in filters {
            reasons.push(match filter {
                Err(_) => ReasonCode::TopicFilterInvalid,
                Ok(filter) if self.end_subscription(&filter) => {
                    ended.push(filter);
                    ReasonCode::Success
                }
                Ok(_) => ReasonCode::NoSubscriptionExisted,
            });
        }
        self.actions.push_back(Action::Unsubscribe(ended));
        // Answered even where nothing was subscribed to ([MQTT-3.10.4-5]).
        let unsub_ack = UnsubAck { packet_id, reasons, diagnostics: None };
        self.actions.push_back(Action::SendKept(Packet::UnsubAck(unsub_ack)));
    }

    /// Ends those of `filters` that are subscribed to, and gives them back: the router has to forget them
    /// too.
    pub(crate) fn end_subscriptions(
        &mut self,
        mut filters: Vec<SubscriptionFilter>,
    ) -> Vec<SubscriptionFilter> {
        filters.retain(|filter| self.end_subscription(filter));
        filters
    }

    fn end_subscription(&mut self, filter: &SubscriptionFilter) -> bool {
        let known = self.subscriptions.remove(filter);
        if known {
            self.subscription_bytes -= cost(filter);
            if filter.share_name().is_none() {
                self.outbound.cancel(filter.filter());
            }
        }
        known
    }
}

/// What a subscription costs the broker, bytes.
pub(super) fn cost(filter: &SubscriptionFilter) -> usize {
    filter.wire_bytes() + LEVEL_BYTES * filter.filter().level_count()
}
