//! What the broker says about itself, as retained messages under `$SYS/broker/`. Names follow
//! mosquitto's where it has one, so that existing dashboards go on working.

use crate::broker::Broker;
use crate::ingress::message::Message;
use crate::router::Turn;
use crate::store::Report;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long the store's engine is waited for.
const ANSWER: Duration = Duration::from_millis(200);

/// Publishes every value that has changed, each `interval`; zero publishes none.
pub(crate) async fn publish_all(broker: Arc<Broker>, interval: Duration) {
    if interval.is_zero() {
        return;
    }
    let mut said: BTreeMap<String, String> = BTreeMap::new();
    let mut turn = Turn::default();
    let mut disk_use = DiskUse::default();
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let disk_use = disk_use.report(&broker).await;
        let keys = broker.key_watch.report(broker.rules().keyring());
        // A key that is not there any more, or an end that has passed, is not shown any longer.
        let gone: Vec<_> = said
            .keys()
            .filter(|name| name.starts_with("keys/") && !keys.iter().any(|(key, _)| key == *name))
            .cloned()
            .collect();
        let gone = gone.into_iter().map(|name| (name, String::new()));
        for (name, value) in
            report(&broker).chain(store_state(&broker)).chain(disk_use).chain(keys).chain(gone)
        {
            if said.get(&name) == Some(&value) {
                continue;
            }
            if let Ok(topic) = format!("$SYS/broker/{name}").parse() {
                let message = Message::of_broker(topic, Bytes::from(value.clone()));
                broker.router.route(&Arc::new(message), &mut turn);
            }
            said.insert(name, value);
        }
        said.retain(|_, value| !value.is_empty());
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
        ("envelopes/examined", metrics.envelopes_examined.value()),
        ("envelopes/batches", metrics.envelope_batches.value()),
        ("envelopes/opened", metrics.envelopes_opened.value()),
        ("envelopes/repeated", metrics.envelopes_repeated.value()),
        ("envelopes/resealed", metrics.envelopes_resealed.value()),
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

/// How the store is and how far; nothing where nothing is kept.
fn store_state(broker: &Broker) -> Vec<(String, String)> {
    let Some(health) = broker.store.health() else { return Vec::new() };
    let position = broker.store.written().0.to_string();
    vec![("store/health".to_owned(), health.name().to_owned()), ("store/position".to_owned(), position)]
}

/// What the store takes on disk. It answers no sooner than its engine, which may be at a long write: then
/// the answer is taken at a later call.
#[derive(Default)]
struct DiskUse {
    asked: Option<tokio::task::JoinHandle<Report>>,
}

impl DiskUse {
    async fn report(&mut self, broker: &Arc<Broker>) -> Vec<(String, String)> {
        if !broker.store.keeps() {
            return Vec::new();
        }
        let ask = || {
            let broker = broker.clone();
            tokio::task::spawn_blocking(move || broker.store.report())
        };
        let asked = self.asked.get_or_insert_with(ask);
        let Ok(answer) = tokio::time::timeout(ANSWER, asked).await else { return Vec::new() };
        self.asked = None;
        let Ok(report) = answer else { return Vec::new() };
        vec![
            ("store/journal bytes".to_owned(), report.journal_bytes.to_string()),
            ("store/disk bytes".to_owned(), report.disk_bytes.to_string()),
        ]
    }
}
