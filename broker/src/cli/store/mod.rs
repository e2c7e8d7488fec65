//! `sealmq store`: looks at the store, checks it, writes it out and reads it in, while no broker has it open.

mod check;
mod export;
mod import;
mod stats;

use super::{CommandError, ServeOptions};
use crate::error::StartError;
use crate::store::OpenError;
use crate::store::offline::{self, Offline};
use clap::{Args, Subcommand};
use sealmq_config::Config;
use sealmq_config::storage::Durability;
use std::path::{Path, PathBuf};

/// Looks at the store of a broker that is stopped; checks it, writes it out, fills an empty one.
#[derive(Debug, Args)]
pub(super) struct StoreArguments {
    #[command(flatten)]
    place: PlaceOptions,
    #[command(subcommand)]
    command: StoreCommand,
}

/// Where the store is.
#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct PlaceOptions {
    /// Configuration file, TOML
    #[arg(long = "config", value_name = "FILE", global = true)]
    config_file: Option<PathBuf>,
    /// Folder for all that the broker makes and keeps
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    /// Say what is in it, and what it takes on disk
    Stats,
    /// Read all of it, and say what is wrong; ends with 1 if something is
    Check,
    /// Write all of it as lines of JSON, payloads and all
    Export(export::ExportArguments),
    /// Fill an empty store with what 'export' has written
    Import(import::ImportArguments),
}

pub(super) fn run(arguments: &StoreArguments, before: ServeOptions) -> Result<(), CommandError> {
    let config = arguments.place.load(before)?;
    match &arguments.command {
        StoreCommand::Stats => stats::run(&config),
        StoreCommand::Check => check::run(&config),
        StoreCommand::Export(arguments) => export::run(arguments, &config),
        StoreCommand::Import(arguments) => import::run(arguments, &config),
    }
}

impl PlaceOptions {
    /// The configuration that a broker would have.
    pub(in crate::cli) fn load(&self, before: ServeOptions) -> Result<Config, CommandError> {
        let own = ServeOptions {
            config_file: self.config_file.clone(),
            data_dir: self.data_dir.clone(),
            ..ServeOptions::default()
        };
        Ok(own.or(before).load()?)
    }
}

/// The folder of the store.
pub(super) fn folder(config: &Config) -> PathBuf {
    config.storage.folder(&config.data_dir)
}

/// Opens the store to look at it.
fn look(config: &Config) -> Result<Offline, CommandError> {
    let folder = folder(config);
    let opened = offline::look(&folder, config.storage.cache_bytes).map_err(|why| refused(&folder, &why))?;
    opened.ok_or_else(|| {
        let memory = match config.storage.durability {
            Durability::Memory => "; storage.durability is \"memory\", so nothing is kept",
            Durability::Async | Durability::Sync => "",
        };
        StartError::file(&folder, format!("there is no store here{memory}")).into()
    })
}

/// Why a store cannot be opened, for whoever can do something about it.
pub(super) fn refused(folder: &Path, why: &OpenError) -> CommandError {
    let why = if *why == OpenError::InUse {
        "a broker has the store open: stop it first".to_owned()
    } else {
        format!("the store cannot be opened: {why}")
    };
    StartError::file(folder, why).into()
}

/// What went wrong with a store that is open.
pub(super) fn failed(folder: &Path, why: &impl ToString) -> CommandError {
    StartError::file(folder, why.to_string()).into()
}
