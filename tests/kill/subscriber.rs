//! One subscriber: acknowledges what comes, and tells the ledger.
//!
//! Of QoS 2 it keeps which packet ids it has received and not seen released, over all connections: what
//! comes under one of them is the same message once more [MQTT-4.3.3-2], and nothing else.

use crate::client::Client;
use crate::extra::Extra;
use crate::ledger::Ledger;
use crate::ledger::breach::Kind;
use crate::packets::{self, CONNACK, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK};
use crate::payload::{Payloads, Stamp};
use crate::wire::{self, Publish, UNSUBACK};
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Instant;

/// The packet id of the SUBSCRIBE to what it is subscribed to all the time.
const SUBSCRIBE_ID: u16 = 1;

/// A subscriber.
pub(crate) struct Subscriber {
    /// Its connection.
    pub(crate) client: Client,
    /// A subscription that changes.
    pub(crate) extra: Option<Extra>,
    number: u32,
    qos: u8,
    filters: Vec<String>,
    /// The topic of each publisher.
    topics: Rc<[String]>,
    payloads: Payloads,
    is_subscribed: bool,
    /// What was received under each packet id of QoS 2 that is not released.
    received: BTreeMap<u16, Stamp>,
}

impl Subscriber {
    /// One that has never been connected.
    pub(crate) fn new(
        client: Client,
        number: u32,
        qos: u8,
        filters: Vec<String>,
        topics: Rc<[String]>,
        payloads: Payloads,
    ) -> Self {
        let (extra, received) = (None, BTreeMap::new());
        let is_subscribed = false;
        Self { client, extra, number, qos, filters, topics, payloads, is_subscribed, received }
    }

    /// Its number for the ledger.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// The QoS of its subscriptions.
    pub(crate) fn qos(&self) -> u8 {
        self.qos
    }

    /// Whether its subscriptions are acknowledged.
    pub(crate) fn is_subscribed(&self) -> bool {
        self.is_subscribed
    }

    /// Whether every message of QoS 2 was released.
    pub(crate) fn is_done(&self) -> bool {
        self.received.is_empty()
    }

    /// Reads once, and takes what came. The answers are written in the next turn: a connection that is cut
    /// before it leaves messages received and not acknowledged, which the broker has to send again.
    pub(crate) fn receive(&mut self, ledger: &mut Ledger, now: Instant) -> Result<()> {
        let Some(mut socket) = self.client.socket.take() else { return Ok(()) };
        let received = socket.receive(|first, body, out| self.take(first, body, out, ledger, now));
        self.client.socket = Some(socket);
        received
    }

    fn take(
        &mut self,
        first: u8,
        body: &[u8],
        out: &mut Vec<u8>,
        ledger: &mut Ledger,
        now: Instant,
    ) -> Result<()> {
        ledger.packets += 1;
        match first >> 4 {
            CONNACK => self.accepted(body, out, ledger)?,
            SUBACK | UNSUBACK => self.answered(first >> 4, body, ledger, now)?,
            PUBLISH => {
                let publish = Publish::read(self.client.version, first, body).context("a broken PUBLISH")?;
                self.arrived(publish, out, ledger);
            }
            PUBREL => {
                let id = packets::leading_id(body)?;
                self.received.remove(&id);
                out.extend(packets::acknowledgement(PUBCOMP, id));
            }
            _ => bail!("a subscriber was sent {first:#04x} {body:02x?}"),
        }
        Ok(())
    }

    fn accepted(&mut self, body: &[u8], out: &mut Vec<u8>, ledger: &mut Ledger) -> Result<()> {
        if !self.client.accept(body, ledger)? {
            self.received.clear();
            self.is_subscribed = false;
        }
        if !self.is_subscribed {
            let filters: Vec<&str> = self.filters.iter().map(String::as_str).collect();
            out.extend(packets::subscribe(self.client.version, SUBSCRIBE_ID, &filters, self.qos));
        }
        if let Some(extra) = &mut self.extra {
            extra.reconnected();
        }
        Ok(())
    }

    fn answered(&mut self, kind: u8, body: &[u8], ledger: &mut Ledger, now: Instant) -> Result<()> {
        let codes = wire::codes(self.client.version, body)?;
        let is_granted = match kind {
            SUBACK => !codes.is_empty() && codes.iter().all(|code| *code == self.qos),
            _ => codes.iter().all(|code| *code < 0x80),
        };
        if !is_granted {
            let whom = format!("{}: codes {codes:02x?}", self.client.name);
            ledger.breach(Kind::Refused, &whom, None);
        }
        match (packets::leading_id(body)?, &mut self.extra) {
            (SUBSCRIBE_ID, _) => self.is_subscribed = true,
            (_, Some(extra)) => extra.answered(now),
            _ => bail!("an answer to nothing: {body:02x?}"),
        }
        Ok(())
    }

    fn arrived(&mut self, publish: Publish<'_>, out: &mut Vec<u8>, ledger: &mut Ledger) {
        let Publish { qos, id, .. } = publish;
        let stamp = self.payloads.read(publish.payload);
        let topic = stamp.and_then(|stamp| self.topics.get(stamp.publisher as usize));
        let stamp = stamp.filter(|_| topic.is_some_and(|topic| topic == publish.topic));
        match qos {
            0 => {}
            1 => out.extend(packets::acknowledgement(PUBACK, id)),
            _ => out.extend(packets::acknowledgement(PUBREC, id)),
        }
        let Some(stamp) = stamp else {
            let whom = format!("{} on {}", self.client.name, publish.topic);
            return ledger.breach(Kind::Altered, &whom, None);
        };
        if qos == 2
            && let Some(before) = self.received.insert(id, stamp)
        {
            if before != stamp {
                let whom = format!("{}: {id} for {before:?} and {stamp:?}", self.client.name);
                ledger.breach(Kind::PacketIdReused, &whom, None);
            }
            return;
        }
        ledger.arrived(self.number, &self.client.name, stamp, qos);
        if let Some(extra) = &mut self.extra {
            extra.arrived(stamp);
        }
    }
}
