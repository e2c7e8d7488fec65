//! Counters of what the broker has done, since its start. Added to once for each turn of a
//! connection, not for each message; read by `$SYS`.

use crate::ingress::Refusal;
use sealmq_crypto::OpenError;
use std::sync::atomic::{AtomicU64, Ordering};

/// A counter that only rises.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub(crate) fn add(&self, n: u64) {
        if n > 0 {
            self.0.fetch_add(n, Ordering::Relaxed);
        }
    }

    /// What has been counted.
    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// All counters.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Bytes read from sockets, after TLS.
    pub(crate) bytes_received: Counter,
    /// Bytes written to sockets, before TLS.
    pub(crate) bytes_sent: Counter,
    /// PUBLISH packets received.
    pub(crate) publish_received: Counter,
    /// PUBLISH packets sent.
    pub(crate) publish_sent: Counter,
    /// Messages dropped because a bound was reached, the receiver's own among them.
    pub(crate) publish_dropped: Counter,
    /// Messages not delivered since their message expiry was over.
    pub(crate) publish_expired: Counter,
    /// Confidential messages not shown to a subscriber whose connection is not fit for them.
    pub(crate) confidential_withheld: Counter,
    /// Envelopes examined, whatever was found.
    pub(crate) envelopes_examined: Counter,
    /// Batches in which they were.
    pub(crate) envelope_batches: Counter,
    /// Envelopes opened, or stamps found good.
    pub(crate) envelopes_opened: Counter,
    /// Envelopes made for subscribers without TLS.
    pub(crate) envelopes_resealed: Counter,
    /// Repetitions of the protocol (DUP, same packet id, same bytes), acknowledged and not delivered twice.
    pub(crate) envelopes_repeated: Counter,
    /// Connections that got a CONNACK that says yes.
    pub(crate) connects_accepted: Counter,
    /// Connections that got another CONNACK, or none.
    pub(crate) connects_refused: Counter,
    /// Connections closed for an error of the protocol.
    pub(crate) protocol_errors: Counter,
    /// Messages refused since the client may not publish there.
    pub(crate) refused_not_authorized: Counter,
    /// Messages refused since the topic is the broker's own.
    pub(crate) refused_reserved_topic: Counter,
    /// Messages refused since they are not the UTF-8 that they say they are.
    pub(crate) refused_payload_format: Counter,
    /// Messages refused since examining them went wrong.
    pub(crate) refused_internal_error: Counter,
    /// Messages refused by the envelope's rules, by name.
    refused: [Counter; OpenError::ALL.len()],
}

impl Metrics {
    /// Counts a message that ingress refused.
    pub(crate) fn add_refusal(&self, refusal: Refusal) {
        match refusal {
            Refusal::NotAuthorized => self.refused_not_authorized.add(1),
            Refusal::ReservedTopic => self.refused_reserved_topic.add(1),
            Refusal::PayloadFormat => self.refused_payload_format.add(1),
            Refusal::Internal => self.refused_internal_error.add(1),
            Refusal::Repeated => self.envelopes_repeated.add(1),
            Refusal::Envelope(error, _) => {
                if let Some((_, counter)) = self.refusals_by_error().find(|(e, _)| *e == error) {
                    counter.add(1);
                }
            }
        }
    }

    /// Counts messages dropped at a bound.
    pub(crate) fn add_dropped(&self, n: u64) {
        self.publish_dropped.add(n);
    }

    /// Every reason for refusing a message, with its count.
    pub(crate) fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let own = [
            ("not-authorized", self.refused_not_authorized.value()),
            ("reserved-topic", self.refused_reserved_topic.value()),
            ("payload-format", self.refused_payload_format.value()),
            ("internal-error", self.refused_internal_error.value()),
        ];
        self.refusals_by_error().map(|(error, counter)| (error.name(), counter.value())).chain(own)
    }

    fn refusals_by_error(&self) -> impl Iterator<Item = (OpenError, &Counter)> {
        OpenError::ALL.into_iter().zip(&self.refused)
    }
}
