//! The process round the broker: logs, limits of the system, folders, the runtime and the signals.
//!
//! SIGTERM and SIGINT drain (a second one ends at once), SIGHUP reloads. What the broker does in
//! answer is in `server.rs`.

use crate::cli::{ServeOptions, greeting, keys};
use crate::listener::development;
use crate::server::{self, Start};
use crate::{files, identity};
use anyhow::Context;
use sealmq_config::Config;
use std::io::{IsTerminal, Write};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Serves until a signal ends it.
pub fn serve(options: &ServeOptions) -> anyhow::Result<()> {
    let config = options.load()?;
    start_logging(&config, std::io::stderr)?;
    // Descriptors bound connections long before anything else does.
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!("the limit of open files stays as it is: {error}");
    }
    files::create_folder(&config.data_dir)?;
    if options.is_development() {
        development::ensure(&config.data_dir)?;
        keys::ensure_development(&config)?;
    }
    let made_identity = identity::ensure(&config)?;
    if made_identity {
        tracing::info!(file = %config.identity.file(&config.data_dir).display(), "made the broker's identity");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("cannot start the runtime")?.block_on(run(options, &config, made_identity))
}

async fn run(options: &ServeOptions, config: &Config, made_identity: bool) -> anyhow::Result<()> {
    let catch = |kind| signal(kind).context("cannot catch signals");
    let mut hangup = catch(SignalKind::hangup())?;
    let (mut terminate, mut interrupt) = (catch(SignalKind::terminate())?, catch(SignalKind::interrupt())?);
    let reload = async || {
        loop {
            hangup.recv().await;
            match options.load() {
                Ok(config) => return config,
                Err(error) => tracing::error!("not reloaded, the old rules stay: {error}"),
            }
        }
    };
    let stop = async {
        either(&mut terminate, &mut interrupt).await;
        // Who asks twice does not want to wait.
        tokio::spawn(async move {
            either(&mut terminate, &mut interrupt).await;
            tracing::warn!("ended by a second signal");
            std::process::exit(1);
        });
    };
    let start = Start { accept_loss: options.accept_loss, made_identity };
    server::run(config, start, reload, stop, |listeners| {
        for listener in listeners {
            tracing::info!(addr = %listener.addr, scheme = listener.scheme(), tls = listener.secure, "listening");
        }
        let source = options.config_file.as_deref();
        if source.is_none() || std::io::stdout().is_terminal() {
            // Without a reader nobody misses it.
            let _ = std::io::stdout().write_all(greeting::greeting(config, source, listeners).as_bytes());
        }
    })
    .await?;
    tracing::info!("ended");
    Ok(())
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

fn start_logging<W>(config: &Config, writer: W) -> anyhow::Result<()>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // The engine tells of each file that it makes; what goes wrong with it is told here as well.
    let filter = format!("fjall=error,lsm_tree=error,{}", config.telemetry.log);
    let filter = EnvFilter::try_new(filter).context("telemetry.log")?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_writer(writer);
    if config.telemetry.log_json {
        log.json().init();
    } else {
        log.with_ansi(std::io::stderr().is_terminal()).init();
    }
    Ok(())
}
