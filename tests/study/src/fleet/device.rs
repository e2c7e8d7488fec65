//! One simulated device: its connection, what it has sent, and what has become of that.

use super::content::Maker;
use super::link::Link;
use crate::packets::{self, PUBACK, packet, text};
use anyhow::{Context, Result, bail};
use std::collections::VecDeque;

/// A publisher that is connected.
pub(super) struct Device<'a> {
    /// Its connection.
    pub(super) link: Link,
    /// Makes what it sends.
    pub(super) maker: Maker<'a>,
    /// Messages of QoS 1 that the broker takes unacknowledged.
    pub(super) receive_maximum: u32,
    /// Payloads made beforehand, the next one first.
    pub(super) ready: VecDeque<Vec<u8>>,
    /// When those that are on their way were written.
    flights: VecDeque<u64>,
    sent: u32,
    acknowledged: u32,
    delivered: u32,
    packet_id: u16,
}

impl<'a> Device<'a> {
    /// One that has sent nothing yet.
    pub(super) fn new(link: Link, maker: Maker<'a>, receive_maximum: u32) -> Self {
        Self {
            link,
            maker,
            receive_maximum,
            ready: VecDeque::new(),
            flights: VecDeque::new(),
            sent: 0,
            acknowledged: 0,
            delivered: 0,
            packet_id: 0,
        }
    }

    /// Messages that it may send without being more than `window` ahead.
    pub(super) fn room(&self, window: u32) -> u32 {
        let open = self.sent - self.acknowledged.min(self.delivered);
        window.min(self.receive_maximum).saturating_sub(open)
    }

    /// Adds a message to what is to be written.
    pub(super) fn send(&mut self, payload: &[u8], now_ns: u64) {
        // From 1 to 65,535 and round again: the oldest are acknowledged long since.
        self.packet_id = self.packet_id.checked_add(1).unwrap_or(1);
        let id = self.packet_id.to_be_bytes();
        // A message of QoS 1 without properties.
        let body = [&text(&self.maker.topic), &id[..], &[0], payload].concat();
        self.link.out.extend(packet(0x32, &body));
        self.sent += 1;
        self.flights.push_back(now_ns);
    }

    /// Reads acknowledgements.
    pub(super) fn receive(&mut self, scratch: &mut [u8]) -> Result<()> {
        let acknowledged = &mut self.acknowledged;
        self.link.receive(scratch, |first, body, _| {
            match (first >> 4, body.get(2)) {
                (PUBACK, None | Some(0..0x80)) => *acknowledged += 1,
                (PUBACK, Some(reason)) => bail!("the broker refuses a message: {reason:#04x}"),
                _ => bail!("a device was sent {first:#04x}"),
            }
            Ok(())
        })
    }

    /// Takes note that a message has come where it should; answers when it was written.
    pub(super) fn delivered(&mut self, number: u32) -> Result<u64> {
        if number != self.delivered {
            bail!("message {number} came in the place of {}", self.delivered);
        }
        self.delivered += 1;
        self.flights.pop_front().context("a message came that was not sent")
    }

    /// Whether everything has come, and was acknowledged.
    pub(super) fn is_done(&self) -> bool {
        self.sent == self.delivered && self.sent == self.acknowledged
    }
}

/// CONNECT to a session that ends with the connection.
pub(super) fn connect(client_id: &str) -> Vec<u8> {
    packets::connect(packets::Version::V5, client_id, true, &[])
}
