//! What a client that was never there before is given as the retained message of a topic.

use crate::packets::{self, CONNACK, PUBLISH, SUBACK, Version};
use crate::payload::{Payloads, Stamp};
use crate::wire::Publish;
use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// For CONNACK and SUBACK.
const ANSWER: Duration = Duration::from_secs(20);

/// Subscribes to the topic in a session of its own; none if there is nothing retained.
///
/// What is retained comes right behind SUBACK, or before it; a PINGREQ sent along tells when the broker has
/// nothing more to say.
pub(crate) fn retained(addr: SocketAddr, topic: &str, payloads: Payloads) -> Result<Option<Stamp>> {
    let mut stream = TcpStream::connect(addr).context("the reader of retained messages cannot connect")?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER))?;
    let version = Version::V4;
    stream.write_all(&packets::connect(version, "retained", true, &[]))?;
    stream.write_all(&packets::subscribe(version, 1, &[topic], 0))?;
    let (mut bytes, mut subscribed, mut found) = (Vec::new(), false, None);
    let mut part = [0; 4_096];
    loop {
        let mut at = 0;
        while let Some((first, body, length)) = packets::front(&bytes[at..]) {
            match first >> 4 {
                CONNACK => {
                    packets::receive_maximum(version, body)?;
                }
                SUBACK => {
                    subscribed = true;
                    stream.write_all(&PINGREQ)?;
                }
                PUBLISH => {
                    let publish = Publish::read(version, first, body).context("a broken PUBLISH")?;
                    let stamp = payloads.read(publish.payload).context("an altered retained message")?;
                    if publish.topic != topic {
                        bail!("a retained message came on {}", publish.topic);
                    }
                    // Without the flag it has come just now, from a connection that was cut after it.
                    if publish.retain && found.replace(stamp).is_some() {
                        bail!("a retained message came twice");
                    }
                }
                PINGRESP if subscribed => return Ok(found),
                _ => bail!("the reader of retained messages was sent {first:#04x}"),
            }
            at += length;
        }
        bytes.drain(..at);
        let count = stream.read(&mut part).context("the reader of retained messages waits")?;
        if count == 0 {
            bail!("the broker has closed the connection of the reader of retained messages");
        }
        bytes.extend_from_slice(&part[..count]);
    }
}

/// PINGREQ (§3.12).
const PINGREQ: [u8; 2] = [0xC0, 0];
/// PINGRESP (§3.13), the first four bits.
const PINGRESP: u8 = 13;
