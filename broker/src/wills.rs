//! Wills that are published for clients who are not there: those that were delayed, or whose session another
//! client took or the server's end cut short. The will of a connection that ends is its own business
//! (`connection/mod.rs`).
//!
//! A [`DueWill`] comes in, and takes the road of any PUBLISH from step 4 on. Always holds: it is judged by the
//! rules of the moment at which it is published, and is dropped if its client would not be let in any more.

use crate::audit::Whose;
use crate::broker::Broker;
use crate::ingress::message::Submission;
use crate::now::Now;
use crate::registry::DueWill;
use crate::router::Turn;

impl Broker {
    /// Publishes a will whose client is not there, under the rules in force.
    pub(crate) fn publish_will(&self, due: DueWill) {
        let DueWill { session, client_id, identity, will, change } = due;
        let (rules, mut turn, now) = (self.rules(), Turn::of(session), Now::read());
        // Kept together with the message: a crash leaves one of the two, and not none or both.
        let mut without = change.into_iter().collect();
        let client = client_id.escape_debug();
        if !rules.still_admits(&identity, now) {
            tracing::warn!(%client, "will dropped: what its client was let in by is not there any more");
            self.store.append_lazily(&mut without);
            return;
        }
        let permissions = rules.permissions(&client_id, identity.user().map(|user| &**user));
        let will = Submission::of_will(will, &client_id, now.instant);
        match rules.ingress.admit(will, &permissions, &self.replay, now) {
            Ok(mut admitted) => {
                let taken = admitted.taken();
                if let Some(taken) = &taken {
                    self.will_take(taken);
                }
                without.extend(taken);
                without.drain(..).for_each(|change| turn.also(change));
                self.router.route(&admitted.message, &mut turn);
            }
            Err(refused) => {
                self.store.append_lazily(&mut without);
                self.metrics.add_refusal(refused.refusal);
                let user = identity.user().map(|user| &**user);
                self.audit.record_refused(&refused, Whose { client: &client_id, addr: None, user });
                tracing::warn!(%client, reason = refused.refusal.name(), "will refused");
            }
        }
        self.router.end_turn(&mut turn);
    }
}
