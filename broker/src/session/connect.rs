//! From a CONNECT to a session that may be had, or the reason why not. The rules that need nothing but
//! the packet and the configuration; who the client is, `auth/` says.
//!
//! Also what the two ends agree on: [`Terms`] is what the client brings, [`connack`] what it is told.

use bytestring::ByteString;
use sealmq_config::mqtt::{Mqtt, PACKET_BYTES};
use sealmq_protocol::packet::{ConnAckProperties, Connect, Version, Will};
use sealmq_protocol::{Qos, ReasonCode};
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::time::Duration;

/// What the configuration says about CONNECT.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// What the broker offers.
    pub(crate) offer: Arc<Mqtt>,
    /// Longest client id, bytes.
    pub(crate) client_id_bytes_max: usize,
    /// What client ids must begin with; empty: anything.
    pub(crate) client_id_prefixes: Vec<String>,
    /// Topic aliases given to one client at most.
    pub(crate) outbound_topic_aliases_max: usize,
}

/// Why a CONNECT is refused: the reason for the client, the rule for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused {
    /// For the CONNACK.
    pub(crate) reason: ReasonCode,
    /// For the log.
    pub(crate) rule: &'static str,
}

/// What a connection brings to the session that it takes up.
#[derive(Debug)]
pub(crate) struct Terms {
    /// What is spoken.
    pub(crate) version: Version,
    /// What to publish when the connection ends without DISCONNECT.
    pub(crate) will: Option<Will>,
    /// Keep alive as agreed; 0 turns it off.
    pub(crate) keep_alive_s: u16,
    /// Session expiry as granted; `u32::MAX`: never.
    pub(crate) session_expiry_s: u32,
    /// Messages of QoS 1 and 2 that the client takes unacknowledged.
    pub(crate) receive_maximum: u16,
    /// The largest packet that the client takes, bytes.
    pub(crate) packet_bytes_max: Option<usize>,
    /// Aliases that the client is given at most.
    pub(crate) aliases_to_client: u16,
    /// Whether the client wants to hear more than reason codes.
    pub(crate) problem_information: bool,
    /// The method of enhanced authentication, if there was one.
    pub(crate) authentication_method: Option<ByteString>,
}

impl Terms {
    /// The terms of a CONNECT.
    pub(crate) fn of(connect: Connect, rules: &Rules) -> Self {
        let (keep_alive_s, session_expiry_s) =
            (keep_alive_s(&connect, &rules.offer), session_expiry_s(&connect, &rules.offer));
        let packet_bytes_max = packet_bytes_max(&connect);
        let properties = connect.properties;
        let aliases_max = u16::try_from(rules.outbound_topic_aliases_max).unwrap_or(u16::MAX);
        Self {
            version: connect.version,
            will: connect.will,
            keep_alive_s,
            session_expiry_s,
            receive_maximum: properties.receive_maximum.get(),
            packet_bytes_max,
            aliases_to_client: properties.topic_alias_maximum.min(aliases_max),
            problem_information: properties.request_problem_information,
            authentication_method: properties.authentication_method,
        }
    }

    /// How long the session is kept after the connection; none: for ever.
    pub(crate) fn session_expiry(&self) -> Option<Duration> {
        duration(self.session_expiry_s)
    }
}

/// The client's Maximum Packet Size, bytes (MQTT 5 §3.1.2.11.4); none: as long as there are packets.
pub(crate) fn packet_bytes_max(connect: &Connect) -> Option<usize> {
    connect.properties.maximum_packet_size.and_then(|maximum| maximum.get().try_into().ok())
}

/// Which client id the session gets: the client's, or one made here where the client leaves the
/// choice to the server. `random` makes that one unguessable.
pub(crate) fn client_id(connect: &Connect, rules: &Rules, random: u128) -> Result<ByteString, Refused> {
    if connect.version == Version::V31 && !rules.offer.allow_mqtt31 {
        let reason = ReasonCode::UnsupportedProtocolVersion;
        return Err(Refused { reason, rule: "MQTT 3.1 is turned off (mqtt.allow_mqtt31)" });
    }
    let refused = |rule| Refused { reason: ReasonCode::ClientIdentifierNotValid, rule };
    let id = &connect.client_id;
    if id.is_empty() {
        return match connect.version {
            Version::V31 => Err(refused("MQTT 3.1 wants a client id")),
            Version::V311 if !connect.clean_start => {
                Err(refused("an empty client id with clean session 0 [MQTT-3.1.3-8]"))
            }
            Version::V311 | Version::V5 => Ok(format!("auto-{random:032x}").into()),
        };
    }
    if id.len() > rules.client_id_bytes_max {
        return Err(refused("client id too long (limits.client_id_bytes_max)"));
    }
    let prefixes = &rules.client_id_prefixes;
    if !prefixes.is_empty() && !prefixes.iter().any(|prefix| id.starts_with(prefix.as_str())) {
        return Err(refused("client id not allowed (auth.client_id_prefixes)"));
    }
    Ok(id.clone())
}

/// Whether the will asks for something that is turned off.
pub(crate) fn check_will(connect: &Connect, rules: &Rules) -> Result<(), Refused> {
    let Some(will) = &connect.will else { return Ok(()) };
    if will.qos.bits() > rules.offer.qos_max {
        // [MQTT-3.2.2-12]
        return Err(Refused { reason: ReasonCode::QosNotSupported, rule: "will QoS (mqtt.qos_max)" });
    }
    if will.retain && !rules.offer.retain_available {
        // [MQTT-3.2.2-13]
        let rule = "will retain (mqtt.retain_available)";
        return Err(Refused { reason: ReasonCode::RetainNotSupported, rule });
    }
    Ok(())
}

/// Seconds for which the session is kept after the connection, as granted.
pub(crate) fn session_expiry_s(connect: &Connect, offer: &Mqtt) -> u32 {
    let max = offer.session_expiry_max_s.and_then(|max| u32::try_from(max).ok()).unwrap_or(u32::MAX);
    connect.session_expiry_s.min(max)
}

/// How long the session is kept after the connection, as granted; none: for ever.
pub(crate) fn expiry(connect: &Connect, offer: &Mqtt) -> Option<Duration> {
    duration(session_expiry_s(connect, offer))
}

/// How long a session is kept whose client asks for so many seconds; none: for ever.
pub(crate) fn granted_expiry(asked_s: u32, offer: &Mqtt) -> Option<Duration> {
    let max = offer.session_expiry_max_s.map(Duration::from_secs);
    duration(asked_s).map_or(max, |asked| Some(max.map_or(asked, |max| asked.min(max))))
}

fn duration(seconds: u32) -> Option<Duration> {
    (seconds < u32::MAX).then(|| Duration::from_secs(seconds.into()))
}

/// The keep alive as agreed: a client of MQTT 5 can be told another one ([MQTT-3.2.2-21]).
fn keep_alive_s(connect: &Connect, offer: &Mqtt) -> u16 {
    match (connect.version, offer.server_keep_alive_max_s) {
        (Version::V5, Some(max)) if connect.keep_alive_s == 0 || connect.keep_alive_s > max => max,
        _ => connect.keep_alive_s,
    }
}

/// What an accepted client of MQTT 5 is told (§3.2.2.3): whatever is not as it asked, or not as the
/// standard has it.
pub(crate) fn connack(
    connect: &Connect,
    client_id: &str,
    user: Option<&str>,
    offer: &Mqtt,
) -> ConnAckProperties {
    let expiry_s = session_expiry_s(connect, offer);
    let keep_alive_s = keep_alive_s(connect, offer);
    let packet_bytes_max = u32::try_from(offer.packet_bytes_max).ok().and_then(NonZeroU32::new);
    let response =
        offer.response_information.as_ref().filter(|_| connect.properties.request_response_information);
    // A name can make it longer than a string can be.
    let response = response.map(|text| expand(text, client_id, user));
    let response = response.filter(|text| u16::try_from(text.len()).is_ok());
    ConnAckProperties {
        session_expiry_s: (expiry_s != connect.session_expiry_s).then_some(expiry_s),
        receive_maximum: NonZeroU16::new(offer.receive_maximum).filter(|max| *max < NonZeroU16::MAX),
        maximum_qos: Qos::from_bits(offer.qos_max).filter(|qos| *qos < Qos::ExactlyOnce),
        retain_unavailable: !offer.retain_available,
        maximum_packet_size: packet_bytes_max.filter(|_| offer.packet_bytes_max < PACKET_BYTES),
        assigned_client_id: connect.client_id.is_empty().then(|| client_id.into()),
        topic_alias_maximum: NonZeroU16::new(offer.topic_alias_maximum),
        wildcards_unavailable: !offer.wildcard_subscriptions,
        subscription_ids_unavailable: !offer.subscription_identifiers,
        shared_unavailable: !offer.shared_subscriptions,
        server_keep_alive_s: (keep_alive_s != connect.keep_alive_s).then_some(keep_alive_s),
        response_information: response,
        authentication_method: connect.properties.authentication_method.clone(),
        ..ConnAckProperties::default()
    }
}

/// `%c` and `%u` stand for client id and user name.
fn expand(text: &str, client_id: &str, user: Option<&str>) -> ByteString {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        expanded.push_str(before);
        let (name, left) = match after.chars().next() {
            Some('c') => (client_id, after.strip_prefix('c')),
            Some('u') => (user.unwrap_or_default(), after.strip_prefix('u')),
            _ => ("%", Some(after)),
        };
        expanded.push_str(name);
        rest = left.unwrap_or_default();
    }
    expanded.push_str(rest);
    expanded.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_put_into_the_response_information() {
        assert_eq!(expand("replies/%c/%u/%%/%x%", "a%u", Some("b")), "replies/a%u/b/%%/%x%");
        assert_eq!(expand("plain", "a", None), "plain");
    }

    #[test]
    fn an_expiry_is_granted_within_the_maximum() {
        let limited = Mqtt { session_expiry_max_s: Some(60), ..Mqtt::default() };
        let seconds = |s| Some(Duration::from_secs(s));
        for (asked, free, bound) in
            [(0, seconds(0), seconds(0)), (61, seconds(61), seconds(60)), (u32::MAX, None, seconds(60))]
        {
            assert_eq!(granted_expiry(asked, &Mqtt::default()), free, "{asked}");
            assert_eq!(granted_expiry(asked, &limited), bound, "{asked}");
        }
    }
}
