//! What a connection has to do with the store: answers that wait for it, what the session tells it, and the
//! part of the session's queue that is there alone.

use super::{Connection, Owed};
use crate::session::Ending;
use crate::store::{Page, Position};
use sealmq_protocol::Packet;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Sends the answers whose promise the store can keep now, in their order. Whether there were any.
    pub(super) fn poll_held(&mut self) -> Result<bool, Ending> {
        let before = self.held.len();
        while let Some(owed) = self.next_held() {
            match owed {
                Owed::Acknowledgement(acknowledgement) => self.acknowledge(&acknowledgement),
                Owed::Packet(packet) => {
                    self.answers -= usize::from(matches!(*packet, Packet::SubAck(_)));
                    self.send(&packet)?;
                }
            }
        }
        let (kept, store) = (self.session.kept_mut(), &self.broker.store);
        let mut released = false;
        while kept.waits_for().is_some_and(|position| store.has_reached(position)) {
            kept.handle_reached();
            released = true;
        }
        Ok(self.held.len() < before || released)
    }

    /// The next answer, if its promise can be kept now.
    fn next_held(&mut self) -> Option<Owed> {
        let store = &self.broker.store;
        let (owed, _) = self.held.pop_front_if(|(_, position)| store.has_reached(*position))?;
        Some(owed)
    }

    /// Tells the store what the session has to say; at once, where a message waits for that.
    pub(super) fn tell_store(&mut self) {
        let (changes, is_awaited) = self.session.kept_mut().changes();
        if !changes.is_empty() {
            let store = &self.broker.store;
            let (_, position) = if is_awaited { store.append(changes) } else { store.append_lazily(changes) };
            self.session.kept_mut().handle_appended(position);
        }
        self.broker.store.kick();
    }

    /// Has this task woken when the store has reached what is waited for next.
    pub(super) fn await_store(&mut self, cx: &mut Context<'_>) {
        let store = &self.broker.store;
        let held = self.held.front().map(|(_, position)| *position);
        let staged = self.session.kept_mut().waits_for();
        let next = [held, staged, self.admission.waits_for()].into_iter().flatten().min();
        let mut ready = once(&mut self.awaited, next, |position| store.poll_reached(position, cx));
        if self.unread.is_some_and(|unread| store.has_applied(unread)) {
            (self.unread, ready) = (None, true);
        }
        ready |= once(&mut self.awaited_unread, self.unread, |position| store.poll_applied(position, cx));
        if ready {
            cx.waker().wake_by_ref();
        }
    }

    /// Reads a page of the session's queue. Whether there was anything to read.
    pub(super) fn read_stored(&mut self, from: Position) -> Result<bool, Ending> {
        if self.unread.is_some() {
            return Ok(false);
        }
        let session = self.session.id();
        let Page { waiting, through, is_last } = self.broker.store.page(session, from).map_err(|error| {
            tracing::error!(client = %self.session.client_id().escape_debug(), "its queue cannot be read: {error}");
            Ending::StoreFailed
        })?;
        let (mut count, mut bytes) = (0, 0);
        let mut page = Vec::with_capacity(waiting.len());
        let mut dropped = Vec::new();
        for waiting in waiting {
            let size = waiting.message.size();
            (count, bytes) = (count + 1, bytes + size);
            if self.mailbox.pay(size) {
                dropped.push(waiting.place);
            } else {
                page.push(self.broker.router.delivery(session, waiting));
            }
        }
        self.session.take_stored(page);
        self.session.kept_mut().drop_oldest(dropped);
        self.unread = self.mailbox.turn_page(through, is_last, (count, bytes));
        Ok(count > 0)
    }
}

/// Waits for a position; the waker of a task stays good, and is given once for each. Whether it need not wait.
fn once(
    awaited: &mut Option<Position>,
    wanted: Option<Position>,
    poll: impl FnOnce(Position) -> Poll<()>,
) -> bool {
    if *awaited == wanted {
        return false;
    }
    *awaited = wanted;
    let ready = wanted.is_some_and(|position| poll(position).is_ready());
    if ready {
        *awaited = None;
    }
    ready
}
