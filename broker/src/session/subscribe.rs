//! SUBSCRIBE and UNSUBSCRIBE. The session keeps what it is subscribed to; the router's tree is
//! changed by the actions asked for here, and a SUBACK leaves only after that.

use super::{Action, Session};
use crate::retained::Order;
use sealmq_protocol::packet::{SubAck, Subscribe, Unsubscribe};
use sealmq_protocol::{Packet, Qos, SubscribeReturnCode, TopicFilter};

impl Session {
    /// The answer to [`Action::Permit`]: for each filter of `subscribe`, in order, whether the client
    /// may subscribe to it.
    pub(crate) fn handle_permitted(&mut self, subscribe: Subscribe, permitted: &[bool]) {
        let mut codes = Vec::with_capacity(subscribe.filters.len());
        let mut permitted = permitted.iter().copied().chain(std::iter::repeat(false));
        for ((filter, qos), permitted) in subscribe.filters.into_iter().zip(&mut permitted) {
            codes.push(match filter {
                Ok(filter) if permitted => self.subscribe(filter, qos),
                Ok(_) | Err(_) => SubscribeReturnCode::Failure,
            });
        }
        // One answer for each filter, in order ([MQTT-3.8.4-5]).
        let packet_id = subscribe.packet_id;
        self.actions.push_back(Action::Send(Packet::SubAck(SubAck { packet_id, codes })));
    }

    /// A filter that was subscribed to before is replaced, and its retained messages are sent again
    /// ([MQTT-3.8.4-3]).
    fn subscribe(&mut self, filter: TopicFilter, qos: Qos) -> SubscribeReturnCode {
        if self.subscriptions.len() >= self.subscriptions_max && !self.subscriptions.contains_key(&filter) {
            return SubscribeReturnCode::Failure;
        }
        self.subscriptions.insert(filter.clone(), qos);
        self.actions.push_back(Action::Subscribe(filter, qos));
        SubscribeReturnCode::Granted(qos)
    }

    /// The answer to [`Action::Subscribe`]: the retained messages set until `until` are owed.
    pub(crate) fn handle_subscribed(&mut self, filter: TopicFilter, qos: Qos, until: Order) {
        self.outbound.scan(filter, qos, until);
    }

    pub(super) fn handle_unsubscribe(&mut self, unsubscribe: Unsubscribe) {
        let mut removed = unsubscribe.filters;
        removed.retain(|filter| self.subscriptions.remove(filter).is_some());
        for filter in &removed {
            self.outbound.cancel(filter);
        }
        self.actions.push_back(Action::Unsubscribe(removed));
        // Answered even where nothing was subscribed to ([MQTT-3.10.4-5]).
        self.actions.push_back(Action::Send(Packet::UnsubAck(unsubscribe.packet_id)));
    }
}
