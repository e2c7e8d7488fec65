//! Lines of a bounded length from a stream. They can hold keys: all memory in which they were is wiped.

use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};
use zeroize::Zeroizing;

/// Room for a line at first; it doubles.
const ROOM: usize = 4 << 10;

/// See the module's description.
pub(super) struct Lines {
    bytes_max: usize,
    /// What was read and not handed out, at its beginning; what is behind it is room.
    buffer: Zeroizing<Vec<u8>>,
    filled: usize,
}

/// Why there is no line.
#[derive(Debug)]
pub(super) enum LineError {
    /// It is longer than it may be.
    TooLong,
    /// The stream has failed, or ended in the midst of a line.
    Io(io::Error),
}

impl Lines {
    /// None of which is longer than this, without its end.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, buffer: Zeroizing::new(Vec::new()), filled: 0 }
    }

    /// The next line without its end; none if the stream has ended behind the last.
    pub(super) async fn next(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> Result<Option<Zeroizing<Vec<u8>>>, LineError> {
        let mut looked = 0;
        loop {
            let fresh = self.buffer.get(looked..self.filled).unwrap_or_default();
            if let Some(at) = fresh.iter().position(|byte| *byte == b'\n') {
                let end = looked + at;
                return if end > self.bytes_max { Err(LineError::TooLong) } else { Ok(Some(self.take(end))) };
            }
            looked = self.filled;
            if self.filled > self.bytes_max {
                return Err(LineError::TooLong);
            }
            self.make_room();
            let room = self.buffer.get_mut(self.filled..).unwrap_or_default();
            match stream.read(room).await.map_err(LineError::Io)? {
                0 if self.filled == 0 => return Ok(None),
                0 => return Err(LineError::Io(io::ErrorKind::UnexpectedEof.into())),
                read => self.filled += read,
            }
        }
    }

    /// Takes a line out, and its end.
    fn take(&mut self, end: usize) -> Zeroizing<Vec<u8>> {
        let line = Zeroizing::new(self.buffer.get(..end).unwrap_or_default().to_vec());
        let rest = end + 1..self.filled;
        let left = rest.len();
        self.buffer.copy_within(rest, 0);
        self.filled = left;
        // What was taken is not left behind where nothing is read over it.
        if let Some(behind) = self.buffer.get_mut(left..) {
            zeroize::Zeroize::zeroize(behind);
        }
        line
    }

    /// Room for at least one byte more. A vector that grows by itself would leave its bytes behind.
    fn make_room(&mut self) {
        if self.filled < self.buffer.len() {
            return;
        }
        let room = (self.buffer.len() * 2).clamp(ROOM, self.bytes_max.saturating_add(2).max(ROOM));
        let mut larger = Zeroizing::new(vec![0; room.max(self.filled + 1)]);
        if let Some(same) = larger.get_mut(..self.buffer.len()) {
            same.copy_from_slice(&self.buffer);
        }
        self.buffer = larger;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(text: &[u8], bytes_max: usize) -> (Vec<Vec<u8>>, Option<LineError>) {
        let (mut stream, mut lines, mut found) = (text, Lines::new(bytes_max), Vec::new());
        loop {
            match lines.next(&mut stream).await {
                Ok(Some(line)) => found.push(line.to_vec()),
                Ok(None) => return (found, None),
                Err(error) => return (found, Some(error)),
            }
        }
    }

    #[tokio::test]
    async fn lines_come_one_by_one() {
        let (found, error) = lines(b"one\n\ntwo\n", 3).await;
        assert_eq!(found, [&b"one"[..], b"", b"two"]);
        assert!(error.is_none());
    }

    #[tokio::test]
    async fn a_long_line_is_read_whole_and_a_longer_one_not_at_all() {
        let mut text = vec![b'x'; 100_000];
        text.push(b'\n');
        let (found, _) = lines(&text, 100_000).await;
        assert_eq!(found.first().map(Vec::len), Some(100_000));
        let (found, error) = lines(&text, 99_999).await;
        assert!(found.is_empty() && matches!(error, Some(LineError::TooLong)));
    }

    #[tokio::test]
    async fn a_line_without_end_is_none() {
        let (found, error) = lines(b"one\ntw", 10).await;
        assert!(found.len() == 1 && matches!(error, Some(LineError::Io(_))));
        let (_, error) = lines(&[b'x'; 10_000], 5_000).await;
        assert!(matches!(error, Some(LineError::TooLong)));
    }
}
