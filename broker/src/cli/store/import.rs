//! `sealmq store import`: what `export` has written, into an empty store.

use super::super::numbers::counted;
use super::super::progress::Progress;
use super::super::{CommandError, say};
use super::{failed, folder, refused};
use crate::error::StartError;
use crate::files::create_folder;
use crate::store::layout::Keyspace;
use crate::store::offline::import::{Import, ImportError, Imported};
use crate::store::offline::open_empty;
use clap::Args;
use sealmq_config::Config;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

/// Where the lines come from.
#[derive(Debug, Args)]
#[command(after_help = "\
Every batch of lines is checked before it is written. An import that was broken
off leaves a store with which no broker starts: remove its folder, and import
again.")]
pub(super) struct ImportArguments {
    /// The export; '-': stdin
    #[arg(value_name = "FILE|-")]
    file: PathBuf,
}

pub(super) fn run(arguments: &ImportArguments, config: &Config) -> Result<(), CommandError> {
    let folder = folder(config);
    let file = &*arguments.file;
    let (name, source): (Option<&str>, Box<dyn BufRead>) = if file == Path::new("-") {
        (Some("stdin"), Box::new(BufReader::with_capacity(1 << 20, io::stdin())))
    } else {
        let opened = File::open(file).map_err(|why| StartError::io(file, "read it", why))?;
        (None, Box::new(BufReader::with_capacity(1 << 20, opened)))
    };
    let told = |why: ImportError| match why {
        ImportError::Fill(why) => failed(&folder, &why),
        why @ (ImportError::Line { .. } | ImportError::Lines { .. } | ImportError::Read { .. }) => match name
        {
            Some(name) => CommandError::Plain(format!("{name}: {why}")),
            None => StartError::file(file, why.to_string()).into(),
        },
    };
    // What is no export at all makes no store.
    let import = Import::new(source).map_err(told)?;
    create_folder(&folder)?;
    let engine = open_empty(&folder, config.storage.cache_bytes).map_err(|why| refused(&folder, &why))?;
    let mut progress = Progress::new("imported");
    let imported = import.run(&engine, &mut |bytes| progress.add(bytes)).map_err(told)?;
    drop(progress);
    say(text(&folder, &imported).as_bytes())
}

fn text(folder: &Path, imported: &Imported) -> String {
    let of = |keyspace: Keyspace| imported.records.get(keyspace.index()).copied().unwrap_or(0);
    format!(
        "{}: imported {} ({}, {}, {} in queues, {})\n",
        folder.display(),
        counted(imported.all(), "record"),
        counted(of(Keyspace::Session), "session"),
        counted(of(Keyspace::Subscription), "subscription"),
        counted(of(Keyspace::Queue), "message"),
        counted(of(Keyspace::Retained), "retained message"),
    )
}
