//! Whether the chain holds: over all lines of all files, from the oldest to the newest.
//!
//! Files come in, in the order of their lines; out comes what they hold, or the first line that breaks the
//! chain. A broker may be writing meanwhile: what is not whole at the end is told and counts as not there.

use super::chain::{Hash, Head, Link};
use super::files::{LINE_BYTES_MAX, path};
use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A file that is verified.
#[derive(Debug)]
pub(crate) struct Part {
    path: PathBuf,
    file: File,
}

/// A chain that holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verified {
    pub(crate) lines: u64,
    /// Number and time of the first line; none where there is no line.
    pub(crate) first: Option<(u64, String)>,
    /// The time of the last line.
    pub(crate) last_at: String,
    /// The last line.
    pub(crate) head: Option<Head>,
    /// Events that could not be recorded, as the lines say.
    pub(crate) lost: u64,
    /// Bytes behind the last whole line.
    pub(crate) torn_bytes: u64,
}

/// The first line at which the chain does not hold.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) file: PathBuf,
    /// From 1.
    pub(crate) line: u64,
    pub(crate) why: Why,
}

/// Why a chain does not hold.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The line is no entry.
    NoEntry,
    /// Lines are missing before it, or there are too many.
    Number { found: u64, expected: u64 },
    /// It does not have the hash of the line before.
    Hash { found: String, expected: Hash },
    /// The line that was asked for is not there. What is told is the last line.
    Missing(String),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEntry => f.write_str("this line is no entry of an audit"),
            Self::Number { found, expected } if found > expected => {
                write!(f, "this is entry {found}, and {expected} is missing before it")
            }
            Self::Number { found, expected } => {
                write!(f, "this is entry {found}, where {expected} has to be")
            }
            Self::Hash { found, expected } => write!(
                f,
                "the line before it, or this one, was changed: that one has the hash {expected}, and here stands {found:?}"
            ),
            Self::Missing(hash) => {
                write!(
                    f,
                    "this is the last line, and none has the hash {hash}: what was behind it is gone, or was changed"
                )
            }
        }
    }
}

/// The files of a folder, opened newest first, so that one which the broker turns over meanwhile is not missed.
pub(crate) fn of_folder(folder: &Path) -> io::Result<Vec<Part>> {
    let (mut parts, mut seen) = (Vec::new(), BTreeSet::new());
    let (mut age, mut gaps) = (0, 0);
    loop {
        let path = path(folder, age);
        let part = match Part::open(&path) {
            Ok(part) => part,
            // A crash while files were turned over leaves one place empty.
            Err(why) if why.kind() == ErrorKind::NotFound && gaps == 0 => {
                (gaps, age) = (gaps + 1, age + 1);
                continue;
            }
            Err(why) if why.kind() == ErrorKind::NotFound => return Ok(parts),
            Err(why) => return Err(why),
        };
        let metadata = part.file.metadata()?;
        if seen.insert((metadata.dev(), metadata.ino())) {
            parts.push(part);
        }
        age += 1;
    }
}

impl Part {
    /// One that is named.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: File::open(path)? })
    }
}

/// Follows the chain through all of the files. With `wanted`, a line of this hash has to be there.
pub(crate) fn verify(parts: Vec<Part>, wanted: Option<&str>) -> io::Result<Result<Verified, Broken>> {
    let mut ordered = Vec::new();
    for part in parts {
        ordered.push((first_number(&part)?, part));
    }
    ordered.sort_by_key(|(number, _)| *number);
    let mut chain = Chain { verified: Verified::default(), wanted: wanted.map(str::to_lowercase) };
    let (mut last, mut torn) = ((PathBuf::new(), 0), None);
    for (_, Part { path, file }) in ordered {
        let (mut reader, mut number) = (BufReader::new(file), 0);
        while let Some(line) = read_line(&mut reader)? {
            number += 1;
            let here = |why| Ok(Err(Broken { file: path.clone(), line: number, why }));
            if let Some((file, line)) = torn.take() {
                // Only at the very end can a line be one that is not whole yet.
                return Ok(Err(Broken { file, line, why: Why::NoEntry }));
            }
            match line {
                Piece::Whole(line) => match chain.take(&line) {
                    Ok(()) => last = (path.clone(), number),
                    Err(why) => return here(why),
                },
                Piece::Torn(bytes) => {
                    chain.verified.torn_bytes = bytes;
                    torn = Some((path.clone(), number));
                }
                Piece::TooLong => return here(Why::NoEntry),
            }
        }
    }
    Ok(match chain.wanted {
        None => Ok(chain.verified),
        Some(hash) => Err(Broken { file: last.0, line: last.1, why: Why::Missing(hash) }),
    })
}

struct Chain {
    verified: Verified,
    /// The hash of a line that has to come.
    wanted: Option<String>,
}

impl Chain {
    fn take(&mut self, line: &[u8]) -> Result<(), Why> {
        let Link { n, at, prev, lost } = Link::read(line).ok_or(Why::NoEntry)?;
        let verified = &mut self.verified;
        // Where it begins is known of the very first line alone: older files may be gone.
        let before = verified.head.or((n <= 1).then_some(Head::BEGINNING));
        if let Some(before) = before {
            let expected = before.n.saturating_add(1);
            if n != expected {
                return Err(Why::Number { found: n, expected });
            }
            if prev != before.hash.to_string() {
                return Err(Why::Hash { found: prev, expected: before.hash });
            }
        }
        let head = Head { n, hash: Hash::of(line) };
        if self.wanted.as_ref().is_some_and(|wanted| *wanted == head.hash.to_string()) {
            self.wanted = None;
        }
        verified.lines += 1;
        verified.lost = verified.lost.saturating_add(lost);
        verified.first.get_or_insert_with(|| (n, at.clone()));
        verified.last_at = at;
        verified.head = Some(head);
        Ok(())
    }
}

/// What was read up to a line feed.
enum Piece {
    /// A line, without it.
    Whole(Vec<u8>),
    /// So many bytes, and the file ends.
    Torn(u64),
    /// More than a line of ours has.
    TooLong,
}

fn read_line(reader: &mut impl BufRead) -> io::Result<Option<Piece>> {
    let mut line = Vec::new();
    reader.take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut line)?;
    Ok(match line.pop() {
        None => None,
        Some(b'\n') => Some(Piece::Whole(line)),
        Some(_) if line.len() as u64 >= LINE_BYTES_MAX => Some(Piece::TooLong),
        Some(_) => Some(Piece::Torn(line.len() as u64 + 1)),
    })
}

/// The number of the first line. One that is not there yet, or not whole, comes behind all others: it is about to be
/// written. One that cannot be read comes first.
fn first_number(part: &Part) -> io::Result<u64> {
    let line = read_line(&mut BufReader::new(&part.file))?;
    (&part.file).rewind()?;
    Ok(match line {
        Some(Piece::Whole(line)) => Link::read(&line).map_or(0, |link| link.n),
        Some(Piece::Torn(_)) | None => u64::MAX,
        Some(Piece::TooLong) => 0,
    })
}
