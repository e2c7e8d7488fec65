//! `sealmq store export`: the store as lines of JSON, to a file or to stdout.

use super::super::numbers::counted;
use super::super::progress::Progress;
use super::super::{CommandError, complain};
use super::{failed, folder, look};
use crate::error::StartError;
use crate::files::{PRIVATE, sync_folder};
use crate::store::offline::export::{ExportError, Exported, export};
use clap::Args;
use sealmq_config::Config;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Where the lines go.
#[derive(Debug, Args)]
#[command(after_help = "\
The lines hold every message in plain, confidential ones too, the secrets of topic
keys that were enrolled at run time, and who its users are: keep them as you keep
the store itself. A file is made for its owner alone.
'sealmq store import' reads them into an empty store.")]
pub(super) struct ExportArguments {
    /// A file that is not there yet; '-' or nothing: stdout
    #[arg(value_name = "FILE|-")]
    file: Option<PathBuf>,
    /// Export a store of which something is missing, too
    #[arg(long)]
    accept_loss: bool,
}

pub(super) fn run(arguments: &ExportArguments, config: &Config) -> Result<(), CommandError> {
    let folder = folder(config);
    let store = look(config)?;
    match &store.doubt {
        Some(doubt) if !arguments.accept_loss => return Err(failed(&folder, doubt)),
        Some(doubt) => complain(&format!("{}: going on all the same: {doubt}", folder.display())),
        None => {}
    }
    let mut progress = Progress::new("exported");
    let mut write = |to: &mut dyn Write| {
        let mut buffered = BufWriter::with_capacity(1 << 20, to);
        let done = export(&store.engine, &mut buffered, &mut |bytes| progress.add(bytes))?;
        buffered.flush()?;
        Ok::<_, ExportError>(done)
    };
    let done = match arguments.file.as_deref().filter(|file| *file != Path::new("-")) {
        None if io::stdout().is_terminal() => {
            return Err(CommandError::Plain("an export is not for a terminal: name a file".into()));
        }
        None => write(&mut io::stdout().lock()).map_err(|why| {
            refused(&folder, why, |why| CommandError::Stream { what: "cannot write to stdout", why })
        })?,
        Some(file) => {
            let mut opened = create(file)?;
            let done = write(&mut opened).and_then(|done| {
                opened.sync_all()?;
                Ok(done)
            });
            let done = done.map_err(|why| {
                // Half an export is of no use; the error is the one to tell.
                drop(std::fs::remove_file(file));
                refused(&folder, why, |why| StartError::io(file, "write it", why).into())
            })?;
            sync_folder(file)?;
            done
        }
    };
    drop(progress);
    let Exported { records, batches, topic_keys } = done;
    told(&format!("exported {} in {batches} batch{}", counted(records, "record"), plural(batches)));
    if topic_keys > 0 {
        let keys = counted(topic_keys, "topic key");
        told(&format!("note: the secrets of {keys} are in it, which were enrolled at run time"));
    }
    Ok(())
}

/// Why nothing was exported; `stream` tells what is wrong with where it goes to.
fn refused(folder: &Path, why: ExportError, stream: impl FnOnce(io::Error) -> CommandError) -> CommandError {
    match why {
        ExportError::Write(why) => stream(why),
        why @ (ExportError::Incomplete(_) | ExportError::Layout { .. } | ExportError::Engine(_)) => {
            failed(folder, &why)
        }
    }
}

fn create(file: &Path) -> Result<File, CommandError> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(file);
    Ok(opened.map_err(|why| StartError::io(file, "make it", why))?)
}

fn plural(number: u64) -> &'static str {
    if number == 1 { "" } else { "es" }
}

/// To stderr, since stdout may be the export itself.
fn told(text: &str) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}
