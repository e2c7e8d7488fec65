//! Builds the broker, starts its listeners and tasks, and ends them in order.

use crate::admin;
use crate::audit::{self, Event};
use crate::broker::Broker;
use crate::error::StartError;
use crate::handout;
use crate::keeper;
use crate::key_watch;
use crate::listener::{self, Listening};
use crate::rulebook::Rulebook;
use crate::sys_topics;
use sealmq_config::Config;
use sealmq_config::audit::Audit;
use sealmq_config::auth::Auth;
use sealmq_config::egress::Egress;
use sealmq_config::encryption::{Payload, Policy};
use std::future::Future;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Between two looks for retained messages that have expired.
const RETAINED_SWEEP: Duration = Duration::from_secs(5);
/// Between two looks at how the store is.
const STORE_LOOKS: Duration = Duration::from_secs(1);

/// How a broker is to begin.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start {
    /// With a store of which something is missing, too.
    pub(crate) accept_loss: bool,
    /// With an identity that was made just now.
    pub(crate) made_identity: bool,
}

/// Listens and serves until `stop` is ready; `reload` yields a configuration each time that rules are
/// to be read again. `listening` is called once every listener is bound.
pub(crate) async fn run(
    config: &Config,
    Start { accept_loss, made_identity }: Start,
    mut reload: impl AsyncFnMut() -> Config,
    stop: impl Future<Output = ()>,
    listening: impl FnOnce(&[Listening]),
) -> Result<(), StartError> {
    let rulebook = Rulebook::load(config, &config.listeners)?;
    let listeners = listener::bind_all(config)?;
    let (store, recovered) = keeper::open(config, accept_loss)?;
    let broker = Arc::new(Broker::new(config, &rulebook, Arc::new(store), recovered));
    let no_thread = |why| StartError::file(&config.data_dir, format!("no threads for envelopes: {why}"));
    broker.verifier.start().map_err(no_thread)?;
    let (keeping, ended) = std::sync::mpsc::channel();
    if broker.store.keeps() {
        let broker = broker.clone();
        let run = move || keeper::run(&broker, &ended);
        let thread = std::thread::Builder::new().name("keeper".into()).spawn(run);
        thread.map_err(|why| {
            StartError::file(&config.storage.folder(&config.data_dir), format!("no thread: {why}"))
        })?;
    }
    let auditing = audit::start(&broker, config)?;
    if made_identity {
        broker.audit.record(audit::identity_made(&broker.rules().identity));
    }
    warn_of_sealed_without_tls(config);
    log_identity(&broker.rules());
    let mut tasks = JoinSet::new();
    serve_admin(&broker, config, &mut tasks);
    listening(&listeners);
    for listener in listeners {
        tasks.spawn(listener.accept_all(broker.clone()));
    }
    look_after(&broker, config, &mut tasks);

    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            fresh = reload() => {
                tokio::select! {
                    () = &mut stop => break,
                    () = apply(&broker, fresh, config) => {}
                }
            }
        }
    }
    let timeout = Duration::from_secs(config.limits.shutdown_timeout_s);
    if !broker.shut_down(Instant::now() + timeout).await {
        tracing::warn!(connections = broker.connections(), "cut off: limits.shutdown_timeout_s is over");
    }
    tasks.shutdown().await;
    drop(keeping);
    // What is left of them is done at the next start.
    let _ = tokio::time::timeout(timeout, broker.registry.end_waiting_sessions()).await;
    end_audit(&broker, auditing, timeout).await;
    broker.settle_windows(None);
    broker.keep_keys_used();
    let closing = tokio::task::spawn_blocking(move || broker.store.close());
    if tokio::time::timeout(timeout, closing).await.is_err() {
        tracing::warn!("the store is not closed in time; what was acknowledged is on disk");
    }
    Ok(())
}

/// Opens the admin socket; all else works without it.
fn serve_admin(broker: &Arc<Broker>, config: &Config, tasks: &mut JoinSet<()>) {
    match admin::Socket::bind(&config.data_dir) {
        Ok(socket) => {
            tracing::debug!(path = %socket.path().display(), "the admin socket is there");
            tasks.spawn(admin::serve(socket, broker.clone()));
        }
        Err(error) => tracing::warn!("nobody can be enrolled at run time: {error}"),
    }
}

/// Starts what is done by itself, all the time.
fn look_after(broker: &Arc<Broker>, config: &Config, tasks: &mut JoinSet<()>) {
    tasks.spawn(publish_due_wills(broker.clone()));
    tasks.spawn(end_sessions(broker.clone()));
    tasks.spawn(expire_retained(broker.clone()));
    tasks.spawn(handout::follow_times(broker.clone()));
    tasks.spawn(watch_store(broker.clone()));
    tasks.spawn(key_watch::run(broker.clone()));
    let every = Duration::from_secs(config.telemetry.sys_interval_s);
    tasks.spawn(sys_topics::publish_all(broker.clone(), every));
}

/// Waits until everything that was recorded is in the audit.
async fn end_audit(broker: &Broker, auditing: Option<JoinHandle<()>>, timeout: Duration) {
    broker.audit.record(Event::Ended);
    broker.audit.close();
    let Some(thread) = auditing else { return };
    let ending = tokio::task::spawn_blocking(move || thread.join());
    if tokio::time::timeout(timeout, ending).await.is_err() {
        tracing::warn!("the audit is not written to its end in time");
    }
}

/// Ends sessions that the store keeps, and that have to be read for it.
async fn end_sessions(broker: Arc<Broker>) {
    broker.registry.end_sessions().await;
}

/// Ends sessions whose time is over, and publishes wills that were delayed.
async fn publish_due_wills(broker: Arc<Broker>) {
    loop {
        let due = broker.registry.next_due_will().await;
        broker.publish_will(due);
        // Very many can be due at once, and each may cost a verification.
        tokio::task::yield_now().await;
    }
}

/// Gives the room of retained messages that have expired back. They are not delivered anyhow.
async fn expire_retained(broker: Arc<Broker>) {
    let mut ticks = tokio::time::interval(RETAINED_SWEEP);
    loop {
        ticks.tick().await;
        while broker.router.expire_retained(Instant::now()) {
            tokio::task::yield_now().await;
        }
    }
}

/// Has it said when the store is stuck, whoever asks for it or not.
async fn watch_store(broker: Arc<Broker>) {
    let mut ticks = tokio::time::interval(STORE_LOOKS);
    while broker.store.keeps() {
        ticks.tick().await;
        broker.store.watch();
    }
}

/// Takes what a reload may change; on an error everything stays as it was.
async fn apply(broker: &Broker, config: Config, running: &Config) {
    let listeners = running.listeners.clone();
    // Files are read, and encrypted ones decrypted, which takes its time.
    let load = move || (Rulebook::load(&config, &listeners), config);
    let Ok((loaded, config)) = tokio::task::spawn_blocking(load).await else {
        tracing::error!("not reloaded, the old rules stay: reading them has panicked");
        return;
    };
    match loaded {
        Ok(rulebook) => {
            let (senders, topic_keys) = rulebook.declared().counts();
            let mut events = broker.replace_rules(&rulebook);
            events.push(Event::Reloaded { senders, topic_keys });
            broker.audit.record_all(events);
            log_identity(&broker.rules());
            tracing::info!("reloaded: keys, policies, permissions, passwords, certificates");
            key_watch::look(broker);
            if needs_restart(&config, running) {
                tracing::warn!("something else has changed in the configuration too, which needs a restart");
            }
        }
        Err(error) => {
            broker.audit.record(Event::NotReloaded);
            tracing::error!("not reloaded, the old rules stay: {error}");
        }
    }
}

/// Says who this broker is, so that it can be compared with what devices were given.
fn log_identity(rules: &Rulebook) {
    let key = rules.identity.public();
    tracing::info!(id = %key.id().escape_ascii(), fingerprint = key.thumbprint(), "the broker's identity");
}

/// Whether a new configuration differs in more than a reload takes up.
fn needs_restart(config: &Config, running: &Config) -> bool {
    let reloaded = Config {
        acl: config.acl.clone(),
        identity: config.identity.clone(),
        senders: config.senders.clone(),
        topic_keys: config.topic_keys.clone(),
        subscriber_keys: config.subscriber_keys.clone(),
        policies: config.policies.clone(),
        encryption: config.encryption.clone(),
        secrets: config.secrets.clone(),
        auth: Auth { client_id_prefixes: running.auth.client_id_prefixes.clone(), ..config.auth.clone() },
        audit: Audit { users: config.audit.users.clone(), ..running.audit.clone() },
        ..running.clone()
    };
    reloaded != *config
}

/// Sealed topics are for secure connections alone: without a TLS listener nobody can receive them.
fn warn_of_sealed_without_tls(config: &Config) {
    let has_keys = !config.subscriber_keys.is_empty();
    let withheld = |policy: &Policy| {
        policy.payload == Payload::Sealed && !(has_keys && policy.egress == Egress::SecureOrSealed)
    };
    let sealed = config.policies.iter().any(withheld);
    if sealed && config.listeners.iter().all(|listener| listener.tls.is_none()) {
        tracing::warn!(
            "there are sealed topics and no TLS listener: nobody can receive what is sealed there"
        );
    }
}
