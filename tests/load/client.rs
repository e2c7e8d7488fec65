//! One client: connects and subscribes, and then is a socket.
//!
//! CONNECT and SUBSCRIBE wait for their answers; from then on nothing waits.

use crate::packets::{self, Version};
use crate::socket::Socket;
use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

/// How long an answer may take before the load begins.
const ANSWER: Duration = Duration::from_secs(10);

/// A connected client.
pub(crate) struct Client {
    /// Its connection.
    pub(crate) socket: Socket,
    /// Messages of QoS 1 and 2 that the broker takes unacknowledged.
    pub(crate) receive_maximum: u32,
}

impl Client {
    /// Connects, and subscribes to the filter with this QoS if there is one.
    pub(crate) fn connect(
        addr: SocketAddr,
        version: Version,
        connect: &[u8],
        subscription: Option<(&str, u8)>,
    ) -> Result<Self> {
        let mut stream = std::net::TcpStream::connect(addr).context("no broker listens there")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.write_all(connect)?;
        let connack = answer(&mut stream, packets::CONNACK)?;
        let receive_maximum = packets::receive_maximum(version, &connack)?;
        if let Some((filter, qos)) = subscription {
            stream.write_all(&packets::subscribe(version, 1, &[filter], qos))?;
            let granted = answer(&mut stream, packets::SUBACK)?;
            if granted.last() != Some(&qos) {
                bail!("the subscription is not granted: {granted:02x?}");
            }
        }
        Ok(Self { socket: Socket::new(stream)?, receive_maximum })
    }
}

/// The body of the next packet, which is of this kind and comes alone.
pub(crate) fn answer(stream: &mut impl Read, kind: u8) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte).context("the broker does not answer")?;
        bytes.extend(byte);
        if let Some((first, body, _)) = packets::front(&bytes) {
            if first >> 4 != kind {
                bail!("the broker answers with {first:#04x}");
            }
            return Ok(body.to_vec());
        }
    }
}
