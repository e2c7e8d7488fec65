//! The store while no broker runs: to be looked at, checked, written out, and filled from elsewhere.
//!
//! Opens the disk without the writer. Always holds: what is opened to be looked at is not changed; a store
//! that is being filled says so in `meta` until it is whole, and is refused at a start until then.

pub(crate) mod check;
pub(crate) mod export;
pub(crate) mod filling;
pub(crate) mod import;
mod lines;
pub(crate) mod stats;
#[cfg(test)]
mod tests;

use super::disk::{Disk, DiskOptions, OpenError};
use super::engine::{Engine, EngineError};
use super::layout::{self, Keyspace};
use std::ops::ControlFlow;
use std::path::Path;

/// What is told of what goes on: a record more, and its bytes.
pub(crate) type Progress<'a> = &'a mut dyn FnMut(usize);

/// A store that was opened to be looked at.
pub(crate) struct Offline {
    /// What it holds.
    pub(crate) engine: Disk,
    /// Whether it is known that something is missing.
    pub(crate) doubt: Option<OpenError>,
}

/// Opens the store in a folder to be looked at; none where there is none.
pub(crate) fn look(folder: &Path, cache_bytes: usize) -> Result<Option<Offline>, OpenError> {
    if !Disk::is_there(folder) {
        return Ok(None);
    }
    let (engine, doubt) = Disk::look(options(folder, cache_bytes))?;
    Ok(Some(Offline { engine, doubt }))
}

/// Opens a store to be filled, or begins one.
pub(crate) fn open_empty(folder: &Path, cache_bytes: usize) -> Result<Disk, OpenError> {
    Disk::open(options(folder, cache_bytes))
}

/// The ballast is for a broker that runs.
fn options(folder: &Path, cache_bytes: usize) -> DiskOptions {
    DiskOptions { path: folder.to_owned(), cache_bytes, ballast_bytes: 0, accept_loss: false }
}

/// Whether a store was being filled and is not whole.
pub(crate) fn is_incomplete(engine: &dyn Engine) -> Result<bool, EngineError> {
    Ok(engine.get(Keyspace::Meta, layout::META_IMPORT)?.is_some())
}

/// Visits every key of a keyspace.
fn each(
    engine: &dyn Engine,
    keyspace: Keyspace,
    visit: &mut dyn FnMut(&[u8], &[u8]),
) -> Result<(), EngineError> {
    engine.scan(keyspace, &[], &[], &mut |key, value| {
        visit(key, value);
        ControlFlow::Continue(())
    })
}
