//! What stands behind the sound part of a journal: looked for, cut off before the engine does it, put back, or
//! kept in a file of its own.

use super::journals::{Damage, Survey};
use rustix::fs::SeekFrom;
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const CHUNK_BYTES: usize = 1 << 16;
static ZEROS: [u8; CHUNK_BYTES] = [0; CHUNK_BYTES];

/// Visits what is not zero of a file, in chunks, from `at` on, until told to stop. A journal is made long in
/// the beginning, so most of it can be a hole.
fn each_chunk(
    file: &File,
    mut at: u64,
    visit: &mut dyn FnMut(u64, &[u8]) -> io::Result<bool>,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(data) => at = data,
            Err(Errno::NXIO) => return Ok(()),
            // Not every file system knows where its holes are.
            Err(_) => {}
        }
        let read = file.read_at(&mut chunk, at)?;
        let found = chunk.get(..read).unwrap_or_default();
        if found.is_empty() {
            return Ok(());
        }
        if !ZEROS.starts_with(found) && !visit(at, found)? {
            return Ok(());
        }
        at += read as u64;
    }
}

/// Whether a file has anything but zeros from `at` on. Moves the place at which it is read next.
pub(super) fn has_data(file: &File, at: u64) -> io::Result<bool> {
    let mut found = false;
    each_chunk(file, at, &mut |_, _| {
        found = true;
        Ok(false)
    })?;
    Ok(found)
}

/// Where what is behind the sound part of a journal is kept.
fn kept(journal: &Path, at: u64) -> PathBuf {
    let mut name = journal.as_os_str().to_owned();
    name.push(format!(".cut-at-{at}"));
    name.into()
}

/// Whether somebody has accepted that a journal ends there.
pub(super) fn is_accepted(journal: &Path, at: u64) -> bool {
    kept(journal, at).exists()
}

/// Keeps what is behind the damage in a file beside the journal, and cuts the journal there. That file.
pub(super) fn set_aside(damage: &Damage) -> io::Result<PathBuf> {
    let Damage { file, at, flaw: _ } = damage;
    let journal = File::options().read(true).write(true).open(file)?;
    let path = kept(file, *at);
    let aside = File::create(&path)?;
    each_chunk(&journal, *at, &mut |from, chunk| {
        aside.write_all_at(chunk, from - at)?;
        Ok(true)
    })?;
    aside.sync_all()?;
    if let Some(folder) = file.parent() {
        File::open(folder)?.sync_all()?;
    }
    journal.set_len(*at)?;
    journal.sync_all()?;
    Ok(path)
}

/// Parts of a file, and where they stand.
type Chunks = Vec<(u64, Vec<u8>)>;

/// The journals as they were found, and are again when this is dropped; nobody may have them open then. No
/// more is held in memory than the torn end of one, which is a batch, or at
/// most a journal.
#[must_use]
#[derive(Debug)]
pub(super) struct AsFound {
    lengths: Vec<(PathBuf, u64)>,
    torn: Option<(PathBuf, Chunks)>,
}

impl AsFound {
    /// Remembers them, and cuts off the torn end of the newest: the engine would, or would not open it.
    pub(super) fn cut(survey: &Survey) -> io::Result<Self> {
        let length = |file: &PathBuf| Ok((file.clone(), std::fs::metadata(file)?.len()));
        let lengths = survey.journals.iter().map(length).collect::<io::Result<_>>()?;
        let mut found = Self { lengths, torn: None };
        if let Some(Damage { file, at, flaw: _ }) = &survey.torn {
            let journal = File::options().read(true).write(true).open(file)?;
            let mut torn = Chunks::new();
            each_chunk(&journal, *at, &mut |from, chunk| {
                torn.push((from, chunk.to_vec()));
                Ok(true)
            })?;
            found.torn = Some((file.clone(), torn));
            journal.set_len(*at)?;
            journal.sync_all()?;
        }
        Ok(found)
    }

    /// They stay as they are now.
    pub(super) fn leave(mut self) {
        (self.lengths, self.torn) = (Vec::new(), None);
    }

    fn restore(&self) -> io::Result<()> {
        for (file, length) in &self.lengths {
            File::options().write(true).open(file)?.set_len(*length)?;
        }
        if let Some((file, torn)) = &self.torn {
            let journal = File::options().write(true).open(file)?;
            for (at, chunk) in torn {
                journal.write_all_at(chunk, *at)?;
            }
        }
        Ok(())
    }
}

impl Drop for AsFound {
    fn drop(&mut self) {
        if let Err(why) = self.restore() {
            tracing::warn!("the journals of the store are shorter than they were: {why}");
        }
    }
}
