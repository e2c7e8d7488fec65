//! Wills that are published for clients who are not there: those that were delayed, or whose session another
//! client took or the server's end cut short. The will of a connection that ends is its own business
//! (`connection/mod.rs`).
//!
//! A [`DueWill`] comes in, and takes the road of any PUBLISH from step 4 on. Always holds: it is judged by the
//! rules of the moment at which it is published, and is dropped if its client would not be let in any more. Whoever
//! publishes many lets others run between them, since each may cost a verification.

use crate::audit::Whose;
use crate::broker::Broker;
use crate::ingress::Refused;
use crate::ingress::message::Submission;
use crate::now::Now;
use crate::registry::DueWill;
use crate::router::Turn;
use std::time::Instant;

impl Broker {
    /// Publishes a will whose client is not there, under the rules in force.
    pub(crate) fn publish_will(&self, due: DueWill) {
        let DueWill { session, client_id, identity, addr, will, change } = due;
        let (rules, mut turn, now) = (self.rules(), Turn::of(session), Now::read());
        // Kept together with the message: a crash leaves one of the two, and not none or both.
        let mut without = change.into_iter().collect();
        if !rules.still_admits(&identity, now) {
            let client = client_id.escape_debug();
            self.store.append_lazily(&mut without);
            if let Some(unsaid) = self.will_lines.lock().admit(now.instant) {
                let unsaid = Some(unsaid).filter(|unsaid| *unsaid > 0);
                tracing::warn!(%client, unsaid, "will dropped: what its client was let in by is not there any more");
            }
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
                let user = identity.user().map(|user| &**user);
                self.report_will(&refused, Whose { client: &client_id, addr, user }, now.instant);
            }
        }
        self.router.end_turn(&mut turn);
    }

    /// Counts, logs and audits a will that was refused, as a connection does with what it brings: a failed stamp
    /// counts for the address that the client had come from, and a flood does not become a flood of lines.
    fn report_will(&self, refused: &Refused, whose: Whose<'_>, now: Instant) {
        let refusal = refused.refusal;
        self.metrics.add_refusal(refusal);
        self.audit.record_refused(refused, whose);
        if let Some(unsaid) = self.will_lines.lock().admit(now) {
            let (client, addr) = (whose.client.escape_debug(), whose.addr.map(tracing::field::display));
            let unsaid = Some(unsaid).filter(|unsaid| *unsaid > 0);
            tracing::warn!(%client, addr, reason = refusal.name(), unsaid, "will refused");
        }
        if let Some(addr) = whose.addr.filter(|_| refusal.is_failed_stamp()) {
            // Nobody is there to be closed.
            self.count_failed_stamp(addr.ip(), now);
        }
    }
}
