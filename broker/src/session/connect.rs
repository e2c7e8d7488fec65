//! From a CONNECT to a session that may be had, or the return code that says why not. The rules that
//! need nothing but the packet and the configuration; who the client is, `auth/` says.

use bytestring::ByteString;
use sealmq_protocol::ConnectReturnCode;
use sealmq_protocol::packet::{Connect, Version};

/// What the configuration says about CONNECT.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// Whether MQTT 3.1 is spoken.
    pub(crate) allow_mqtt31: bool,
    /// Longest client id, bytes.
    pub(crate) client_id_bytes_max: usize,
    /// What client ids must begin with; empty: anything.
    pub(crate) client_id_prefixes: Vec<String>,
}

/// Why a CONNECT is refused: the code for the client, the rule for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused {
    /// For the CONNACK.
    pub(crate) code: ConnectReturnCode,
    /// For the log.
    pub(crate) rule: &'static str,
}

/// Which client id the session gets: the client's, or one made here where the client leaves the
/// choice to the server. `random` makes that one unguessable.
pub(crate) fn client_id(connect: &Connect, rules: &Rules, random: u128) -> Result<ByteString, Refused> {
    if connect.version == Version::V31 && !rules.allow_mqtt31 {
        let code = ConnectReturnCode::UnacceptableProtocolVersion;
        return Err(Refused { code, rule: "MQTT 3.1 is turned off (mqtt.allow_mqtt31)" });
    }
    let refused = |rule| Refused { code: ConnectReturnCode::IdentifierRejected, rule };
    let id = &connect.client_id;
    if id.is_empty() {
        return match connect.version {
            Version::V31 => Err(refused("MQTT 3.1 wants a client id")),
            Version::V311 if connect.clean_session => Ok(format!("auto-{random:032x}").into()),
            Version::V311 => Err(refused("an empty client id with clean session 0 [MQTT-3.1.3-8]")),
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
