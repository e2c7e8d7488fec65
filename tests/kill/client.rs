//! One client with a session that never ends, which comes and goes: what publishers and subscribers share.
//!
//! It connects, and holds the broker to what it said of the session before.

use crate::ledger::Ledger;
use crate::ledger::breach::Kind;
use crate::packets::Version;
use crate::rng::Rng;
use crate::socket::Socket;
use crate::wire::{self, Connack};
use anyhow::{Context, Result, bail};
use mio::{Interest, Registry, Token};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// A CONNECT is answered within that, on a machine however busy.
const ANSWER: Duration = Duration::from_secs(20);

/// For how long a client stays and is away, in milliseconds at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Habit {
    /// With the broker.
    pub(crate) stays_ms: u64,
    /// Without it.
    pub(crate) away_ms: u64,
}

/// A client.
pub(crate) struct Client {
    /// Its client id.
    pub(crate) name: String,
    /// Of MQTT.
    pub(crate) version: Version,
    /// Its connection, from CONNECT on.
    pub(crate) socket: Option<Socket>,
    /// What the broker takes unacknowledged.
    pub(crate) receive_maximum: u32,
    /// Whether it does not come at all for now.
    pub(crate) absent: bool,
    token: Token,
    habit: Habit,
    /// When it comes or goes.
    moves_at: Instant,
    asked_at: Instant,
    /// Whether this connection has its CONNACK.
    accepted: bool,
    /// Connections so far.
    connections: u32,
    /// Whether any CONNACK came, on whichever connection.
    has_session: bool,
}

impl Client {
    /// One that has never been connected.
    pub(crate) fn new(name: String, version: Version, token: usize, habit: Habit) -> Self {
        let now = Instant::now();
        Self {
            name,
            version,
            socket: None,
            receive_maximum: 0,
            absent: false,
            token: Token(token),
            habit,
            moves_at: now,
            asked_at: now,
            accepted: false,
            connections: 0,
            has_session: false,
        }
    }

    /// Whether it is connected, with its CONNACK.
    pub(crate) fn is_accepted(&self) -> bool {
        self.accepted
    }

    /// Whether there may be something to read.
    pub(crate) fn is_readable(&self) -> bool {
        self.socket.as_ref().is_some_and(|socket| socket.readable)
    }

    /// Comes or goes if it is time to; without roaming, it comes and stays.
    pub(crate) fn move_on(
        &mut self,
        now: Instant,
        addr: SocketAddr,
        registry: &Registry,
        roaming: bool,
        rng: &mut Rng,
    ) -> Result<()> {
        let is_time = now >= self.moves_at;
        if self.socket.is_some() {
            if self.accepted && roaming && is_time {
                // As a client goes that means to, and as one that falls off a table.
                self.leave(rng.one_in(2));
                self.moves_at = now + rng.up_to_ms(self.habit.away_ms);
            } else if !self.accepted && now > self.asked_at + ANSWER {
                bail!("{}: CONNECT is not answered within {ANSWER:?}", self.name);
            }
        } else if !self.absent && (is_time || !roaming) {
            self.come(now, addr, registry)?;
            self.moves_at = now + rng.up_to_ms(self.habit.stays_ms);
        }
        Ok(())
    }

    fn come(&mut self, now: Instant, addr: SocketAddr, registry: &Registry) -> Result<()> {
        let stream = TcpStream::connect(addr).with_context(|| format!("{} cannot connect", self.name))?;
        stream.set_nodelay(true)?;
        let mut socket = Socket::new(stream)?;
        registry.register(socket.stream(), self.token, Interest::READABLE | Interest::WRITABLE)?;
        socket.out.extend(wire::connect(self.version, &self.name));
        self.socket = Some(socket);
        self.connections += 1;
        (self.asked_at, self.accepted) = (now, false);
        self.flush()
    }

    /// Cuts the connection, after a DISCONNECT if it is to be polite.
    pub(crate) fn leave(&mut self, polite: bool) {
        if let Some(mut socket) = self.socket.take()
            && polite
        {
            socket.out.extend(wire::DISCONNECT);
            // What the socket does not take now is cut off with it.
            let _ = socket.flush();
        }
        self.accepted = false;
    }

    /// Comes back within so many milliseconds.
    pub(crate) fn return_within(&mut self, now: Instant, ms: u64, rng: &mut Rng) {
        self.moves_at = now + rng.up_to_ms(ms);
    }

    /// Takes a CONNACK; answers whether the session is there.
    pub(crate) fn accept(&mut self, body: &[u8], ledger: &mut Ledger) -> Result<bool> {
        let connack = Connack::read(self.version, body)?;
        match connack.session_present {
            false if self.has_session => ledger.breach(Kind::SessionLost, &self.name, None),
            true if self.connections == 1 => ledger.breach(Kind::SessionFromNowhere, &self.name, None),
            _ => {}
        }
        self.receive_maximum = connack.receive_maximum;
        (self.accepted, self.has_session) = (true, true);
        Ok(connack.session_present)
    }

    /// Writes what the socket takes.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.socket.as_mut().map_or(Ok(()), Socket::flush)
    }
}
