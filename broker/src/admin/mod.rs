//! The admin socket: what an operator changes while the broker runs, he asks for here.
//!
//! A Unix socket in the data folder, for the broker's own user and root alone. A JSON line asks
//! ([`protocol`]), one answers. Owns the connections to it. Always holds: each line, each wait and the number
//! of connections has a bound in `limits`; what makes no sense is answered, and does nothing.

mod answer;
pub(crate) mod client;
mod lines;
pub(crate) mod protocol;
mod socket;

pub(crate) use socket::Socket;

use crate::broker::Broker;
use answer::{By, answer};
use lines::{LineError, Lines};
use protocol::{Answer, Reply, VERSION};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::task::JoinSet;

/// How long to wait when the system has no more descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the socket for as long as the broker runs; its file goes when this ends.
pub(crate) async fn serve(socket: Socket, broker: Arc<Broker>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = socket.listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::error!(socket = %socket.path().display(), "cannot accept: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let by = match stream.peer_cred() {
            Ok(peer) if socket.admits(peer.uid()) => By { uid: peer.uid(), pid: peer.pid() },
            Ok(peer) => {
                tracing::warn!(uid = peer.uid(), "admin connection refused: it is another user's");
                refuse(&stream, "only the broker's own user and root may ask for anything here");
                continue;
            }
            Err(error) => {
                tracing::warn!("admin connection refused: whose it is cannot be told: {error}");
                continue;
            }
        };
        if connections.len() >= broker.limits.admin_connections_max {
            tracing::warn!("admin connection refused: limits.admin_connections_max is reached");
            refuse(&stream, "too many are asking at once (limits.admin_connections_max)");
            continue;
        }
        connections.spawn(converse(stream, broker.clone(), by));
    }
}

/// Answers line by line, until the other side has no more of them.
async fn converse(mut stream: UnixStream, broker: Arc<Broker>, by: By) {
    let timeout = Duration::from_secs(broker.limits.admin_timeout_s);
    let mut lines = Lines::new(broker.limits.admin_request_bytes_max);
    loop {
        let (reply, goes_on) = match tokio::time::timeout(timeout, lines.next(&mut stream)).await {
            Ok(Ok(Some(line))) => (answer(&broker, line, by, timeout).await, true),
            Ok(Err(LineError::TooLong)) => {
                let max = broker.limits.admin_request_bytes_max;
                let why = format!("the request has more than {max} bytes (limits.admin_request_bytes_max)");
                (Answer::Refused(why), false)
            }
            Ok(Ok(None)) => return,
            Ok(Err(LineError::Io(why))) => {
                tracing::debug!("an admin connection has failed: {why}");
                return;
            }
            Err(_) => {
                (Answer::Refused("no whole request came in time (limits.admin_timeout_s)".into()), false)
            }
        };
        let Some(line) = line_of(reply) else { return };
        let written = tokio::time::timeout(timeout, stream.write_all(&line)).await;
        if !goes_on || !matches!(written, Ok(Ok(()))) {
            return;
        }
    }
}

fn line_of(answer: Answer) -> Option<Vec<u8>> {
    match serde_json::to_vec(&Reply { version: VERSION, answer }) {
        Ok(mut line) => {
            line.push(b'\n');
            Some(line)
        }
        Err(error) => {
            tracing::error!("an answer on the admin socket cannot be written: {error}");
            None
        }
    }
}

/// Says why, without waiting: a new connection has room for that.
fn refuse(stream: &UnixStream, why: &str) {
    if let Some(line) = line_of(Answer::Refused(why.to_owned())) {
        // Whoever does not take it sees that the connection is closed.
        drop(stream.try_write(&line));
    }
}
