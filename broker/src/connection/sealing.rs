//! Sealing again: what is confidential, in envelopes for the client's own key, where its connection is not
//! secure. The session has decided that it may leave so, and that the client takes its size; here it is done.
//!
//! Owns the agreement with the client's key, which serves for a while and a number of messages. Each sending is
//! an envelope of its own, one that repeats a message too: what stays in the window is the message, half as
//! large, and a receiver that looks at freshness finds a repetition no less fresh.

use super::Connection;
use crate::egress::Channel;
use crate::identity::Stamps;
use crate::now::Now;
use crate::session::{Ending, Sealing, Unsealed};
use sealmq_crypto::{EnvelopeSize, Freshness, Resealer, SealError, SenderKey, TopicPublicKey};
use sealmq_protocol::codec;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};

/// Messages, and time, for which one agreement serves: what somebody could read who stole its key.
const AGREEMENT_MESSAGES_MAX: u64 = 65_536;
const AGREEMENT_AGE_MAX: Duration = Duration::from_mins(10);

/// Makes envelopes for one client.
pub(super) struct Sealer {
    identity: Arc<SenderKey>,
    key: Arc<TopicPublicKey>,
    /// With the time at which it was agreed on.
    agreed: Option<(Resealer, Instant)>,
}

impl Sealer {
    pub(super) fn new(identity: Arc<SenderKey>, key: Arc<TopicPublicKey>) -> Self {
        Self { identity, key, agreed: None }
    }

    /// Whether it does the same as another with these would.
    fn is_of(&self, identity: &Arc<SenderKey>, key: &Arc<TopicPublicKey>) -> bool {
        self.identity == *identity && self.key == *key
    }

    fn size(&self, freshness: Freshness) -> EnvelopeSize {
        EnvelopeSize::new(self.identity.id(), self.key.id(), freshness)
    }

    pub(super) fn seal(
        &mut self,
        topic: &str,
        plaintext: &[u8],
        freshness: Freshness,
        now: Instant,
    ) -> Result<Vec<u8>, SealError> {
        let serves = |(resealer, since): &(Resealer, Instant)| {
            resealer.sealed() < AGREEMENT_MESSAGES_MAX
                && now.saturating_duration_since(*since) < AGREEMENT_AGE_MAX
        };
        if !self.agreed.as_ref().is_some_and(serves) {
            self.agreed = None;
        }
        let (resealer, _) = match &mut self.agreed {
            Some(agreed) => agreed,
            none => none.insert((Resealer::new(self.identity.clone(), &self.key)?, now)),
        };
        resealer.seal(topic, plaintext, freshness)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// What this connection is fit for, under the rules at hand.
    pub(super) fn channel(&self) -> Channel {
        Channel::of(self.peer.secure, self.sealer.is_some())
    }

    /// Takes up the client's key as the rules have it; to be called when they have changed.
    pub(super) fn renew_sealing(&mut self) {
        let user = self.identity.user().map(|user| &**user);
        let key = self.rules.subscriber_keys.of(self.session.client_id(), user);
        let identity = &self.rules.identity;
        let known = self.sealer.take();
        self.sealer = key.filter(|_| !self.peer.secure).map(|key| {
            let same = known.filter(|known| known.is_of(identity, key));
            same.unwrap_or_else(|| Box::new(Sealer::new(identity.clone(), key.clone())))
        });
        let freshness = Stamps::longest(Now::read());
        let sealing = self.sealer.as_ref().map(|sealer| Sealing {
            policies: self.rules.ingress.policies().clone(),
            size: sealer.size(freshness),
        });
        self.session.set_sealing(sealing);
        self.mailbox.set_channel(self.channel());
    }

    /// Writes a message in an envelope.
    pub(super) fn deliver_sealed(&mut self, unsealed: Unsealed, now: Now) -> Result<(), Ending> {
        let freshness = self.broker.stamps.next(now);
        let (topic, plaintext) = (unsealed.topic().as_str(), unsealed.plaintext());
        // Nobody becomes a sealer without a key while the session holds what is to be sealed.
        let sealed = self.sealer.as_mut().ok_or(SealError::WeakKey);
        let sealed = sealed.and_then(|sealer| sealer.seal(topic, plaintext, freshness, now.instant));
        let envelope = sealed.map_err(|error| {
            tracing::error!(client = %self.session.client_id().escape_debug(), "cannot seal: {error}");
            Ending::NotSealed
        })?;
        let dispatch = unsealed.sealed(envelope.into());
        let written = codec::encode_publish(&dispatch.as_packet(), self.version, &mut self.io.out);
        debug_assert!(written, "the session leaves out what the client has no room for");
        self.turn.sent += 1;
        self.turn.resealed += 1;
        Ok(())
    }
}
