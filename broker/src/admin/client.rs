//! The other side of the admin socket: for commands, which may wait.

use super::protocol::{ANSWER_BYTES_MAX, Answer, Ask, Reply, Request, VERSION, Versioned};
use super::socket::{path, reach};
use crate::error::StartError;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

/// Bytes of a request beside its entries, and of an entry beside its texts: room that is never too small.
const REQUEST_BYTES: usize = 256;

/// Why there is no answer to work with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// The broker says why not.
    #[error("{0}")]
    Refused(String),
    /// There is no broker, or no sense in what it says.
    #[error(transparent)]
    Broken(#[from] StartError),
    /// It does not say what was asked for.
    #[error("the broker has answered something else than was asked")]
    Unexpected,
}

/// A connection to a running broker.
#[derive(Debug)]
pub(crate) struct Client {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Connects to the broker of a data folder. It has three times as long to answer as it gives itself.
    pub(crate) fn connect(data_dir: &Path, timeout_s: u64) -> Result<Self, StartError> {
        let path = path(data_dir);
        let stream = reach(&path, |path| UnixStream::connect(path)).map_err(|why| {
            if matches!(why.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) {
                let why = "no broker runs with this data folder; --config or --data-dir says which it is";
                StartError::file(&path, why)
            } else if why.kind() == ErrorKind::PermissionDenied {
                StartError::file(&path, "only the broker's own user and root may ask for anything here")
            } else {
                StartError::io(&path, "connect to it", why)
            }
        })?;
        let timeout = Some(Duration::from_secs(timeout_s.saturating_mul(3)));
        let bounded = stream.set_read_timeout(timeout).and_then(|()| stream.set_write_timeout(timeout));
        bounded.map_err(|why| StartError::io(&path, "set a timeout", why))?;
        Ok(Self { path, stream: BufReader::new(stream) })
    }

    /// Asks, and waits for the answer; an error if it was refused.
    pub(crate) fn ask(&mut self, ask: Ask) -> Result<Answer, ClientError> {
        let request = line(ask).map_err(|why| self.failed(why))?;
        let written = self.stream.get_mut().write_all(&request);
        // Where it was not read to its end, the answer says why.
        let line = match (self.read(), written) {
            (Ok(line), _) => line,
            (Err(_), Err(why)) | (Err(why), Ok(())) => return Err(self.failed(why).into()),
        };
        let no_answer =
            |_| StartError::file(&self.path, "what answers there makes no sense: no broker of ours");
        let Versioned { version } = serde_json::from_slice(&line).map_err(no_answer)?;
        if version != VERSION {
            let why = format!("the broker speaks version {version} of this, and this program {VERSION}");
            return Err(StartError::file(&self.path, why).into());
        }
        match serde_json::from_slice(&line).map_err(no_answer)? {
            Reply { answer: Answer::Refused(why), .. } => Err(ClientError::Refused(why)),
            Reply { answer, .. } => Ok(answer),
        }
    }

    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        let max = u64::try_from(ANSWER_BYTES_MAX).unwrap_or(u64::MAX);
        self.stream.by_ref().take(max).read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            let is_long = line.len() + 1 >= ANSWER_BYTES_MAX;
            return Err(if is_long { ErrorKind::InvalidData } else { ErrorKind::UnexpectedEof }.into());
        }
        Ok(line)
    }

    fn failed(&self, why: io::Error) -> StartError {
        if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) {
            StartError::file(&self.path, "the broker does not answer; whether it was done, 'list' says")
        } else if why.kind() == ErrorKind::InvalidData {
            StartError::file(&self.path, format!("the answer is longer than {ANSWER_BYTES_MAX} bytes"))
        } else if matches!(
            why.kind(),
            ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
        ) {
            StartError::file(&self.path, "the broker has ended without an answer")
        } else {
            StartError::io(&self.path, "ask for it", why)
        }
    }
}

/// Bytes that an entry takes in a request, at most.
pub(crate) fn entry_bytes(entry: &super::protocol::EntryLine) -> usize {
    // A character is escaped by six letters at most.
    let topics: usize = entry.topics.iter().map(|topic| 6 * topic.len() + 8).sum();
    REQUEST_BYTES + 6 * entry.id.len() + entry.key.0.len() + topics
}

/// A request as a line, in memory that is wiped and does not grow.
fn line(ask: Ask) -> io::Result<Zeroizing<Vec<u8>>> {
    let room = match &ask {
        Ask::Enrol { entries, .. } => entries.iter().map(entry_bytes).sum(),
        Ask::Change { names, .. } => names.iter().map(|name| 6 * name.id.len() + 64).sum(),
        Ask::List { after } => after.as_ref().map_or(0, |name| 6 * name.id.len()),
    };
    let mut line = Zeroizing::new(Vec::with_capacity(REQUEST_BYTES + room));
    serde_json::to_writer(&mut *line, &Request { version: VERSION, ask })?;
    line.push(b'\n');
    Ok(line)
}
