//! Builds the broker, starts its listeners and tasks, and ends them in order.

use crate::broker::{Broker, Rulebook};
use crate::error::StartError;
use crate::listener::{self, Listening};
use crate::sys_topics;
use sealmq_config::Config;
use sealmq_config::listener::Listener;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Listens and serves until `stop` is ready; `reload` yields a configuration each time that rules are
/// to be read again. `listening` is called once every listener is bound.
pub(crate) async fn run(
    config: &Config,
    mut reload: impl AsyncFnMut() -> Config,
    stop: impl Future<Output = ()>,
    listening: impl FnOnce(&[Listening]),
) -> Result<(), StartError> {
    let broker = Arc::new(Broker::new(config, Rulebook::load(config, &config.listeners)?));
    let listeners = listener::bind_all(config)?;
    listening(&listeners);
    let mut tasks = tokio::task::JoinSet::new();
    for listener in listeners {
        tasks.spawn(listener.accept_all(broker.clone()));
    }
    let reaper = broker.clone();
    tasks.spawn(async move { reaper.registry.expire_sessions().await });
    tasks
        .spawn(sys_topics::publish_all(broker.clone(), Duration::from_secs(config.telemetry.sys_interval_s)));

    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            fresh = reload() => apply(&broker, &fresh, &config.listeners),
        }
    }
    let timeout = Duration::from_secs(config.limits.shutdown_timeout_s);
    if !broker.shut_down(Instant::now() + timeout).await {
        tracing::warn!(connections = broker.connections(), "cut off: limits.shutdown_timeout_s is over");
    }
    tasks.shutdown().await;
    Ok(())
}

/// Takes what a reload may change; on an error everything stays as it was.
fn apply(broker: &Broker, config: &Config, running: &[Listener]) {
    match Rulebook::load(config, running) {
        Ok(rulebook) => {
            broker.replace_rules(rulebook);
            tracing::info!("reloaded: keys, policies, permissions, passwords, certificates");
        }
        Err(error) => tracing::error!("not reloaded, the old rules stay: {error}"),
    }
}
