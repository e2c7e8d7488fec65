//! What the broker says about itself, as retained messages under `$SYS/broker/`. Names follow
//! mosquitto's where it has one, so that existing dashboards go on working.

use crate::broker::Broker;
use crate::ingress::message::Message;
use crate::router::Turn;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Publishes every value that has changed, each `interval`; zero publishes none.
pub(crate) async fn publish_all(broker: Arc<Broker>, interval: Duration) {
    if interval.is_zero() {
        return;
    }
    let mut said: BTreeMap<String, String> = BTreeMap::new();
    let mut turn = Turn::default();
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for (name, value) in report(&broker) {
            if said.get(&name) == Some(&value) {
                continue;
            }
            if let Ok(topic) = format!("$SYS/broker/{name}").parse() {
                let message = Message::of_broker(topic, Bytes::from(value.clone()));
                broker.router.route(&Arc::new(message), &mut turn);
            }
            said.insert(name, value);
        }
        broker.router.end_turn(&mut turn);
    }
}

fn report(broker: &Broker) -> impl Iterator<Item = (String, String)> {
    let metrics = &broker.metrics;
    let counts = [
        ("uptime", broker.started.elapsed().as_secs()),
        ("clients/connected", broker.connections() as u64),
        ("sessions/persistent", broker.registry.persistent_sessions() as u64),
        ("retained messages/count", broker.router.retained().len() as u64),
        ("connections/accepted", metrics.connects_accepted.value()),
        ("connections/refused", metrics.connects_refused.value()),
        ("connections/protocol errors", metrics.protocol_errors.value()),
        ("publish/messages/received", metrics.publish_received.value()),
        ("publish/messages/sent", metrics.publish_sent.value()),
        ("publish/messages/dropped", metrics.publish_dropped.value()),
        ("publish/messages/expired", metrics.publish_expired.value()),
        ("bytes/received", metrics.bytes_received.value()),
        ("bytes/sent", metrics.bytes_sent.value()),
        ("envelopes/opened", metrics.envelopes_opened.value()),
        ("envelopes/repeated", metrics.envelopes_repeated.value()),
        ("envelopes/withheld", metrics.confidential_withheld.value()),
    ];
    let refused = metrics.refusals().map(|(name, count)| (format!("refused/{name}"), count));
    let refused: Vec<_> = refused.collect();
    let version = ("version".to_owned(), concat!("sealmq ", env!("CARGO_PKG_VERSION")).to_owned());
    counts
        .into_iter()
        .map(|(name, count)| (name.to_owned(), count))
        .chain(refused)
        .map(|(name, count)| (name, count.to_string()))
        .chain([version])
}
