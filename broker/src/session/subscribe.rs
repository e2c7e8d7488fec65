//! SUBSCRIBE and UNSUBSCRIBE. The session keeps what it is subscribed to; the router's tree is
//! changed by the actions asked for here, and a SUBACK leaves only after that.

use super::{Action, Session};
use crate::retained::Order;
use sealmq_protocol::packet::{SubAck, Subscribe, Unsubscribe};
use sealmq_protocol::{Packet, Qos, SubscribeReturnCode, TopicFilter};

/// What a level of a filter costs in the router's tree, bytes, about.
const LEVEL_BYTES: usize = 512;

impl Session {
    /// The answer to [`Action::Permit`]: for each filter of `subscribe`, in order, whether the client
    /// may subscribe to it.
    pub(crate) fn handle_permitted(&mut self, subscribe: Subscribe, permitted: &[bool]) {
        let mut codes = Vec::with_capacity(subscribe.filters.len());
        let mut granted = Vec::new();
        let permitted = permitted.iter().copied().chain(std::iter::repeat(false));
        for ((filter, qos), permitted) in subscribe.filters.into_iter().zip(permitted) {
            codes.push(match filter {
                Ok(filter) if permitted && self.has_room_for(&filter) => {
                    self.subscriptions.insert(filter.clone(), qos);
                    granted.push((filter, qos));
                    SubscribeReturnCode::Granted(qos)
                }
                Ok(_) | Err(_) => SubscribeReturnCode::Failure,
            });
        }
        self.actions.push_back(Action::Subscribe(granted));
        // One answer for each filter, in order ([MQTT-3.8.4-5]).
        let packet_id = subscribe.packet_id;
        self.actions.push_back(Action::Send(Packet::SubAck(SubAck { packet_id, codes })));
    }

    /// Whether one more subscription is within the bounds; if so it is counted. A filter that was
    /// subscribed to before is replaced ([MQTT-3.8.4-3]) and costs nothing.
    fn has_room_for(&mut self, filter: &TopicFilter) -> bool {
        if self.subscriptions.contains_key(filter) {
            return true;
        }
        let bytes = self.subscription_bytes + cost(filter);
        if self.subscriptions.len() >= self.subscriptions_max || bytes > self.subscription_bytes_max {
            return false;
        }
        self.subscription_bytes = bytes;
        true
    }

    /// The answer to [`Action::Subscribe`]: the retained messages set until `until` are owed, again
    /// where the subscription replaced one.
    pub(crate) fn handle_subscribed(&mut self, subscriptions: Vec<(TopicFilter, Qos)>, until: Order) {
        for (filter, qos) in subscriptions {
            self.outbound.scan(filter, qos, until);
        }
    }

    pub(super) fn handle_unsubscribe(&mut self, unsubscribe: Unsubscribe) {
        self.drop_subscriptions(unsubscribe.filters);
        // Answered even where nothing was subscribed to ([MQTT-3.10.4-5]).
        self.actions.push_back(Action::Send(Packet::UnsubAck(unsubscribe.packet_id)));
    }

    /// Ends those of `filters` that are subscribed to.
    pub(crate) fn drop_subscriptions(&mut self, mut filters: Vec<TopicFilter>) {
        filters.retain(|filter| self.subscriptions.remove(filter).is_some());
        for filter in &filters {
            self.subscription_bytes -= cost(filter);
            self.outbound.cancel(filter);
        }
        self.actions.push_back(Action::Unsubscribe(filters));
    }
}

fn cost(filter: &TopicFilter) -> usize {
    filter.as_str().len() + LEVEL_BYTES * filter.level_count()
}
