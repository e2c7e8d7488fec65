//! What a connection is told through its mailbox, and how it is woken: by commands, by deliveries, and as a
//! publisher by a receiver that has caught up.

use super::{Command, Inner, Mailbox, Receiver};
use crate::ingress::message::Message;
use std::task::{Context, Poll, Waker};

impl Inner {
    /// Whether a message is of the audit, and not for whoever is there now. Nobody who is away is sent it later.
    pub(super) fn hides(&self, message: &Message) -> bool {
        let shows = || self.is_auditor && matches!(self.receiver, Receiver::Connected(_));
        message.is_audit() && !shows()
    }
}

impl Mailbox {
    /// Whether the connection at hand may be shown the audit; a new one may not, until it is said.
    pub(crate) fn show_audit(&self, may: bool) {
        self.inner.lock().is_auditor = may;
    }

    /// Tells the connection something, and wakes it.
    pub(crate) fn tell(&self, command: Command) {
        let waker = {
            let mut inner = self.inner.lock();
            inner.command = inner.command.max(Some(command));
            inner.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    /// Takes back what a connection was told and has not heard.
    pub(crate) fn forget_command(&self) {
        self.inner.lock().command = None;
    }

    /// Wakes the connection, at the end of a pusher's turn.
    pub(crate) fn wake(&self) {
        let waker = self.inner.lock().waker.take();
        waker.into_iter().for_each(Waker::wake);
    }

    /// Ready with a command, or with `None` when deliveries wait and `hungry` says that they are
    /// wanted; else keeps the waker.
    pub(crate) fn poll(&self, hungry: bool, cx: &mut Context<'_>) -> Poll<Option<Command>> {
        let mut inner = self.inner.lock();
        if let Some(command) = inner.command.take() {
            return Poll::Ready(Some(command));
        }
        let connected = matches!(inner.receiver, Receiver::Connected(_));
        let waits = !inner.queue.is_empty() || inner.backlog.next().is_some();
        if hungry && connected && waits {
            return Poll::Ready(None);
        }
        match &mut inner.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Ready when the inbox is within its bounds; else the waker in `cx` is woken when it is taken.
    pub(crate) fn poll_relieved(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.inner.lock();
        if self.is_within(&inner) || !matches!(inner.receiver, Receiver::Connected(_)) {
            return Poll::Ready(());
        }
        if !inner.pressed.iter().any(|waker| waker.will_wake(cx.waker())) {
            inner.pressed.push(cx.waker().clone());
        }
        Poll::Pending
    }
}
