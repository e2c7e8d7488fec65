//! Which part of a session's queue lies in the store alone, and which in the inbox too.
//!
//! A session that keeps up is *shallow*: what comes is in the inbox as well, and goes straight on. One that
//! is away or behind is *deep*: what comes is only counted, and read from the store in pages. The store
//! shows a queue as a prefix of what was appended, but two publishers can append in one order and push in
//! the other; so each push is held against what was read already. Always holds: each message of the queue
//! comes once, by the inbox or by a page.

use crate::store::Position;

/// Messages in an inbox, and their bytes, from which on a session is deep.
const INBOX_MAX: usize = 1_024;
const INBOX_BYTES_MAX: usize = 1 << 20;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Backlog {
    is_deep: bool,
    /// What stands here or behind comes by pages.
    from: Position,
    /// Pages were read up to here.
    read: Position,
    /// The newest message that was left to the pages.
    tail: Position,
    /// The newest message that was put into the inbox.
    inbox_tail: Position,
    /// Waiting in all, in messages and bytes; and of these in the inbox.
    messages: usize,
    bytes: usize,
    inbox_messages: usize,
    inbox_bytes: usize,
    /// Of the oldest, so many are to be dropped, and so many bytes.
    debt_messages: usize,
    debt_bytes: usize,
    /// Admitted, and not pushed yet.
    admitted: usize,
}

/// Where a message that is pushed goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Into the inbox.
    Inbox,
    /// It stays in the store until a page comes to it.
    Store,
    /// It was read already.
    Read,
}

impl Default for Backlog {
    /// Of a session that is not connected: all of it is left to pages.
    fn default() -> Self {
        Self {
            is_deep: true,
            from: Position(1),
            read: Position::START,
            tail: Position::START,
            inbox_tail: Position::START,
            messages: 0,
            bytes: 0,
            inbox_messages: 0,
            inbox_bytes: 0,
            debt_messages: 0,
            debt_bytes: 0,
            admitted: 0,
        }
    }
}

impl Backlog {
    /// Messages that wait, without those that are to be dropped.
    pub(super) fn messages(&self) -> usize {
        self.messages.saturating_sub(self.debt_messages)
    }

    /// Their bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.saturating_sub(self.debt_bytes)
    }

    /// The bytes of everything that waits.
    pub(super) fn bytes_in_all(&self) -> usize {
        self.bytes
    }

    /// A message will be pushed.
    pub(super) fn admit(&mut self, bytes: usize) {
        self.admitted += 1;
        self.messages += 1;
        self.bytes += bytes;
    }

    /// Some of the oldest are to be dropped for it.
    pub(super) fn owe(&mut self, messages: usize, bytes: usize) {
        self.debt_messages += messages;
        self.debt_bytes += bytes;
    }

    /// Which of the oldest are to be dropped: whether one of so many bytes is.
    pub(super) fn pay(&mut self, bytes: usize) -> bool {
        if self.debt_messages == 0 && self.debt_bytes == 0 {
            return false;
        }
        self.debt_messages = self.debt_messages.saturating_sub(1);
        self.debt_bytes = self.debt_bytes.saturating_sub(bytes);
        true
    }

    /// Whether something is to be dropped.
    pub(super) fn owes(&self) -> bool {
        self.debt_messages > 0 || self.debt_bytes > 0
    }

    /// An admitted message is pushed while a connection has the session.
    pub(super) fn push(&mut self, position: Position, bytes: usize) -> Way {
        self.admitted = self.admitted.saturating_sub(1);
        if self.from <= position && position <= self.read {
            return Way::Read;
        }
        if self.is_deep && position >= self.from {
            self.tail = self.tail.max(position);
            return Way::Store;
        }
        let is_full = self.inbox_messages >= INBOX_MAX || self.inbox_bytes >= INBOX_BYTES_MAX;
        // Not while others are on their way: one that stands before this, and was read already, would come
        // again.
        if is_full && position > self.inbox_tail && self.admitted == 0 {
            (self.is_deep, self.from, self.tail) = (true, position, position);
            self.read = Position(position.0 - 1);
            return Way::Store;
        }
        self.inbox_tail = self.inbox_tail.max(position);
        self.inbox_messages += 1;
        self.inbox_bytes += bytes;
        Way::Inbox
    }

    /// An admitted message is pushed while nobody has the session.
    pub(super) fn push_away(&mut self, position: Position) {
        self.admitted = self.admitted.saturating_sub(1);
        self.tail = self.tail.max(position);
        self.read = self.read.min(Position(position.0.saturating_sub(1)));
    }

    /// Where the next page begins; none where all is in the inbox.
    pub(super) fn next(&self) -> Option<Position> {
        self.is_deep.then_some(Position(self.read.0 + 1))
    }

    /// A page was read up to `through`, of which so much is taken out of the queue. Whether the rest of the
    /// queue cannot be read yet, and from when on it can.
    pub(super) fn turn_page(
        &mut self,
        through: Position,
        is_last: bool,
        (messages, bytes): (usize, usize),
    ) -> Option<Position> {
        self.messages = self.messages.saturating_sub(messages);
        self.bytes = self.bytes.saturating_sub(bytes);
        self.read = self.read.max(through);
        if !is_last {
            return None;
        }
        if self.tail > self.read {
            return Some(self.tail);
        }
        self.is_deep = false;
        if self.admitted == 0 {
            // Nothing is on its way: what waits is what the inbox has.
            (self.messages, self.bytes) = (self.inbox_messages, self.inbox_bytes);
        }
        (self.debt_messages, self.debt_bytes) = (0, 0);
        None
    }

    /// The inbox was taken.
    pub(super) fn take_inbox(&mut self) {
        self.messages = self.messages.saturating_sub(std::mem::take(&mut self.inbox_messages));
        self.bytes = self.bytes.saturating_sub(std::mem::take(&mut self.inbox_bytes));
    }

    /// The connection has ended. What it had taken and not sent waits again; `oldest` is the oldest message
    /// that the client has not acknowledged or not got, as far as it is in memory.
    pub(super) fn park(&mut self, oldest: Option<Position>, (messages, bytes): (usize, usize)) {
        self.messages += messages;
        self.bytes += bytes;
        (self.inbox_messages, self.inbox_bytes) = (0, 0);
        // What is on its way may stand before anything that is known.
        if self.admitted == 0 {
            let newest = if self.is_deep { self.read } else { self.read.max(self.inbox_tail) };
            self.read = oldest.map_or(newest, |oldest| newest.min(Position(oldest.0.saturating_sub(1))));
        } else {
            self.read = Position::START;
        }
        (self.is_deep, self.from, self.inbox_tail) = (true, Position(1), Position::START);
    }

    /// So much was found to wait in the store.
    pub(super) fn found(&mut self, messages: usize, bytes: usize) {
        self.messages += messages;
        self.bytes += bytes;
    }

    /// So much was removed from the store.
    pub(super) fn removed(&mut self, messages: usize, bytes: usize) {
        self.messages = self.messages.saturating_sub(messages);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// The session has ended. The bytes that waited.
    pub(super) fn clear(&mut self) -> usize {
        let bytes = self.bytes;
        *self = Self::default();
        bytes
    }
}
