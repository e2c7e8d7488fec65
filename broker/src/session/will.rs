//! What becomes of the will when a connection ends (MQTT 5 §3.1.2.5, §3.1.3.2.2).

use super::Session;
use sealmq_protocol::packet::Will;
use std::time::Duration;

/// What becomes of the will when the connection ends.
#[derive(Debug)]
pub(crate) enum WillAtEnd {
    /// There is none.
    None,
    /// DISCONNECT took it back ([MQTT-3.1.2-10]).
    TakenBack,
    /// It is published now ([MQTT-3.1.2-8]).
    Now(Will),
    /// It is published after so long, or when the session ends, unless the client comes back before
    /// ([MQTT-3.1.3-9]).
    Later(Will, Duration),
}

impl Session {
    /// What becomes of the will now that the connection ends. It is given out once.
    pub(crate) fn will_at_end(&mut self) -> WillAtEnd {
        let Some(will) = self.link.will.take() else {
            let took_back = std::mem::take(&mut self.link.took_will_back);
            return if took_back { WillAtEnd::TakenBack } else { WillAtEnd::None };
        };
        let delay = Duration::from_secs(will.delay_s.into());
        // A session that ends with its connection leaves nothing to wait for.
        if delay.is_zero() || self.link.session_expiry.is_some_and(|expiry| expiry.is_zero()) {
            return WillAtEnd::Now(will);
        }
        WillAtEnd::Later(will, delay)
    }

    /// The will, to be published at once: the server stops. One with a delay is left where the store keeps
    /// the session, since that goes on after a restart.
    pub(crate) fn take_will_at_stop(&mut self) -> Option<Will> {
        let goes_on = self.is_stored() && self.link.session_expiry != Some(Duration::ZERO);
        self.link.will.take_if(|will| !goes_on || will.delay_s == 0)
    }
}
