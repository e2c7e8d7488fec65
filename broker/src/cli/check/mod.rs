//! `sealmq check`: reads everything that a start would read, and says what it means.
//!
//! Listens nowhere and makes no file. All that is wrong goes to stderr, not the first of it only; what works
//! and should not stay so follows the summary as notes.

use super::greeting::{durability, kind};
use super::layout::Layout;
use super::numbers::validity;
use super::{CommandError, ServeOptions, complain, say};
use crate::auth::Auth;
use crate::egress;
use crate::error::StartError;
use crate::identity;
use crate::key_watch::endings;
use crate::keys::ReadKeys;
use crate::listener::{development, tls};
use crate::now::Now;
use crate::secrets::Secrets;
use clap::Args;
use sealmq_config::Config;
use sealmq_config::audit::Audit;
use sealmq_config::egress::{Egress, Holder, SubscriberKey};
use sealmq_config::encryption::{OnRefusal, Payload, Policy};
use sealmq_config::limits::Limits;
use sealmq_config::listener::Listener;
use sealmq_config::mqtt::Mqtt;
use sealmq_config::units::ByteSize;
use sealmq_protocol::TopicFilter;
use std::path::{Path, PathBuf};

/// Reads configuration, key files, password file and certificates as a start would, and says what they mean.
#[derive(Debug, Args)]
#[command(after_help = "Ends with 0 if the broker would start, and with 1 and all errors if not.")]
pub(super) struct CheckArguments {
    /// Configuration file, TOML
    #[arg(long = "config", value_name = "FILE")]
    config_file: Option<PathBuf>,
}

pub(super) fn run(arguments: &CheckArguments, before: ServeOptions) -> Result<(), CommandError> {
    let own = ServeOptions { config_file: arguments.config_file.clone(), ..ServeOptions::default() };
    let options = own.or(before);
    let config = options.load()?;
    match findings(&config, options.is_development()) {
        Ok(found) => say(summary(&config, options.config_file.as_deref(), &found).as_bytes()),
        Err(errors) => {
            for error in errors {
                complain(&error.to_string());
            }
            Err(CommandError::Told)
        }
    }
}

/// What the files say beyond the configuration.
struct Findings {
    /// Who may connect, unless that could not be read.
    auth: Option<Auth>,
    /// Of the broker's identity, if it is there already.
    fingerprint: String,
    /// What each topic key is, by its place in the configuration.
    kinds: Vec<Option<String>>,
    notes: Vec<String>,
}

fn findings(config: &Config, is_development: bool) -> Result<Findings, Vec<StartError>> {
    let (mut errors, mut notes, mut kinds) = (Vec::new(), Vec::new(), Vec::new());
    let mut fingerprint = String::new();
    let auth = match Auth::load(&config.auth) {
        Ok(auth) => Some(auth),
        Err(error) => {
            errors.push(error);
            None
        }
    };
    let keys_to_come = is_development && config.senders.iter().all(|sender| !sender.key.exists());
    if !keys_to_come {
        let read = ReadKeys::of(config);
        errors.extend(read.problems);
        notes.extend(read.notes);
        notes.extend(endings(config, Now::read().unix_s).iter().map(ToString::to_string));
        kinds = read.kinds;
    }
    // What is wrong with the passphrase itself is told with the other keys.
    if let Ok(secrets) = Secrets::of(config) {
        let (problems, warnings) = egress::findings(config, &secrets);
        errors.extend(problems);
        notes.extend(warnings);
    }
    if identity::is_to_come(config) {
        let file = config.identity.file(&config.data_dir).display().to_string();
        notes.extend((!is_development).then(|| format!("{file}: will be made at the first start")));
    } else {
        // What is wrong with the passphrase is told with the keys, if they are read.
        match Secrets::of(config).and_then(|secrets| identity::load(config, &secrets)) {
            Ok(key) => fingerprint = key.public().thumbprint(),
            Err(error) if errors.iter().all(|told| told.to_string() != error.to_string()) => {
                errors.push(error);
            }
            Err(_) => {}
        }
    }
    if is_development {
        match development::are_there(&config.data_dir) {
            Ok(true) => {}
            Ok(false) => {
                let folder = config.data_dir.display();
                notes.push(format!("{folder}: certificates and keys will be made at the first start"));
                return end(errors, Findings { auth, fingerprint, kinds, notes });
            }
            Err(error) => errors.push(error),
        }
    }
    for (at, listener) in config.listeners.iter().enumerate() {
        let Some(tls) = &listener.tls else { continue };
        if let Err(error) = tls::server_config(tls) {
            errors.push(error.at(format!("listener[{at}].tls")));
        }
        notes.extend(tls::warnings(tls));
    }
    notes.extend(config.policies.iter().enumerate().flat_map(|(at, policy)| doubts(config, at, policy)));
    notes.extend(unseen_audit(config, auth.as_ref()));
    end(errors, Findings { auth, fingerprint, kinds, notes })
}

fn end(errors: Vec<StartError>, findings: Findings) -> Result<Findings, Vec<StartError>> {
    if errors.is_empty() { Ok(findings) } else { Err(errors) }
}

/// Policies under which nothing can arrive, or nobody can receive it.
fn doubts(config: &Config, at: usize, policy: &Policy) -> Vec<String> {
    let meets = |topics: &[TopicFilter]| {
        topics.iter().any(|one| policy.topics.iter().any(|other| one.overlaps(other)))
    };
    let mut doubts = Vec::new();
    if policy.payload == Payload::Plain {
        return doubts;
    }
    let topics = joined(&policy.topics);
    if !config.senders.iter().any(|sender| meets(&sender.topics)) {
        doubts.push(format!(
            "policy[{at}]: no sender in here may publish to {topics}; but for those that are enrolled at run time, all \
             that comes there is refused"
        ));
    }
    if policy.payload != Payload::Sealed {
        return doubts;
    }
    if !config.topic_keys.iter().any(|key| meets(&key.topics)) {
        doubts.push(format!(
            "policy[{at}]: no topic_key in here is for {topics}; but for those that are enrolled at run time, all \
             that comes there is refused"
        ));
    }
    let seals = policy.egress == Egress::SecureOrSealed;
    if seals && config.subscriber_keys.is_empty() {
        doubts.push(format!("policy[{at}]: there is no subscriber_key; nothing of {topics} is sealed again"));
    } else if !seals && config.listeners.iter().all(|listener| listener.tls.is_none()) {
        doubts.push(format!(
            "policy[{at}]: no listener has TLS; nobody can receive what is sealed on {topics}"
        ));
    }
    doubts
}

/// Users who may see the audit and cannot.
fn unseen_audit(config: &Config, auth: Option<&Auth>) -> Vec<String> {
    let users = if config.audit.enabled { config.audit.users.as_slice() } else { &[] };
    if !users.is_empty() && config.listeners.iter().all(|listener| listener.tls.is_none()) {
        return vec!["audit.users: no listener has TLS; nobody can see the audit as messages".to_owned()];
    }
    let known = |user: &String| {
        auth.is_none_or(|auth| auth.has_user(user)) || config.senders.iter().any(|sender| sender.id == *user)
    };
    let unknown = users.iter().enumerate().filter(|(_, user)| !known(user));
    let note = |(at, user)| {
        format!("audit.users[{at}]: {user:?} has no password and is no sender; nobody can prove that name")
    };
    unknown.map(note).collect()
}

fn summary(config: &Config, source: Option<&Path>, found: &Findings) -> String {
    let mut layout = Layout::default();
    let what = source.map_or("the configuration by default".to_owned(), |file| file.display().to_string());
    layout.line(&format!("{what}: everything is in order"));
    layout.line("");
    layout.section("data folder", &[[config.data_dir.display().to_string()]]);
    layout.section("durability", &[[durability(config.storage.durability).to_owned()]]);
    layout.section("listeners", &listeners(config));
    layout.section("clients", &clients(config, found.auth.as_ref()));
    layout.section("identity", &identity(config, &found.fingerprint));
    layout.section("senders", &senders(config));
    layout.section("topic keys", &topic_keys(config, &found.kinds));
    layout.section("subscribers", &subscribers(config));
    layout.section("policies", &policies(config));
    layout.section("audit", &[audit(config)]);
    layout.section("changed", &changed(config));
    if !found.notes.is_empty() {
        layout.line("");
    }
    for note in &found.notes {
        layout.line(&format!("note: {note}"));
    }
    layout.finish()
}

fn listeners(config: &Config) -> Vec<[String; 3]> {
    let row = |listener: &Listener| {
        let kind = kind(listener).to_owned();
        let cert = listener.tls.as_ref().map(|tls| tls.cert.display().to_string());
        let clients = listener.tls.as_ref().and_then(|tls| tls.client_ca.as_ref());
        let clients = clients.map(|ca| format!("clients need a certificate of {}", ca.display()));
        let words = [listener.websocket.then(|| pages(listener)), cert, clients];
        let rest = words.into_iter().flatten().collect::<Vec<_>>().join("   ");
        [listener.bind.to_string(), kind, rest]
    };
    config.listeners.iter().map(row).collect()
}

/// The web pages that a WebSocket listener lets in.
fn pages(listener: &Listener) -> String {
    match &listener.origins {
        Some(origins) if origins.iter().any(|origin| origin == "*") => "any web page".to_owned(),
        None if listener.bind.ip().is_loopback() => "any web page".to_owned(),
        Some(origins) if !origins.is_empty() => format!("web pages of {}", origins.join(", ")),
        Some(_) | None => "no web pages (origins)".to_owned(),
    }
}

fn clients(config: &Config, auth: Option<&Auth>) -> Vec<[String; 1]> {
    let users = auth.and_then(Auth::users);
    let mut rows = Vec::new();
    rows.push(match (config.auth.allow_anonymous, users) {
        (true, Some(_)) => "may connect without a user name".to_owned(),
        (true, None) => "may connect with any user name or none".to_owned(),
        (false, Some(_)) if config.senders.is_empty() => "need a user name and a password".to_owned(),
        (false, Some(_)) => "need a user name and a password, or a sender's key".to_owned(),
        (false, None) => "need a sender's key".to_owned(),
    });
    if let (Some(users), Some(file)) = (users, &config.auth.password_file) {
        let scram = auth.map_or(0, Auth::scram_users);
        rows.push(format!("{} in {}, {scram} for SCRAM-SHA-256", counted(users, "user"), file.display()));
    }
    if !config.auth.client_id_prefixes.is_empty() {
        rows.push(format!("client ids begin with {}", config.auth.client_id_prefixes.join(" or ")));
    }
    rows.push(match config.acl.len() {
        0 => "may publish and subscribe everywhere (no acl)".to_owned(),
        rules => format!("may publish and subscribe as {} of acl say", counted(rules, "rule")),
    });
    rows.into_iter().map(|row| [row]).collect()
}

fn identity(config: &Config, fingerprint: &str) -> [[String; 3]; 1] {
    let file = config.identity.file(&config.data_dir).display().to_string();
    [[config.identity.id.clone(), file, fingerprint.to_owned()]]
}

fn senders(config: &Config) -> Vec<[String; 5]> {
    let row = |sender: &sealmq_config::encryption::Sender| {
        let file = sender.key.display().to_string();
        let bind = sender.bind.map(|bind| format!("bind {}", bind.name())).unwrap_or_default();
        let validity = validity(sender.not_before, sender.not_after);
        [sender.id.clone(), joined(&sender.topics), file, bind, validity]
    };
    config.senders.iter().map(row).collect()
}

fn topic_keys(config: &Config, kinds: &[Option<String>]) -> Vec<[String; 5]> {
    let row = |(at, entry): (usize, &sealmq_config::encryption::TopicKey)| {
        let kind = kinds.get(at).cloned().flatten().unwrap_or_default();
        let file = entry.source.file().display().to_string();
        let validity = validity(entry.not_before, entry.not_after);
        [entry.id.clone(), joined(&entry.topics), kind, file, validity]
    };
    config.topic_keys.iter().enumerate().map(row).collect()
}

fn subscribers(config: &Config) -> Vec<[String; 2]> {
    let row = |entry: &SubscriberKey| {
        let holder = match &entry.holder {
            Holder::Client(client) => format!("client {client}"),
            Holder::User(user) => format!("user {user}"),
        };
        [holder, entry.key.display().to_string()]
    };
    config.subscriber_keys.iter().map(row).collect()
}

fn policies(config: &Config) -> Vec<[String; 3]> {
    let row = |policy: &Policy| {
        let payload = match policy.payload {
            Payload::Plain => "plain",
            Payload::Stamped => "stamped",
            Payload::Sealed if policy.egress == Egress::SecureOrSealed => "sealed, and sealed again",
            Payload::Sealed => "sealed",
            Payload::EndToEnd => "end-to-end",
        };
        let refusal = match (policy.payload, policy.on_refusal) {
            (Payload::Plain, _) => "",
            (_, OnRefusal::Drop) => "else dropped",
            (_, OnRefusal::Disconnect) => "else disconnected",
        };
        [joined(&policy.topics), payload.to_owned(), refusal.to_owned()]
    };
    let rest = if config.policies.is_empty() { "all topics" } else { "all others" };
    let rest = [rest.to_owned(), "plain".to_owned(), String::new()];
    config.policies.iter().map(row).chain([rest]).collect()
}

fn audit(config: &Config) -> [String; 3] {
    let Audit { enabled, users, queue_max: _, file_bytes_max, files_max } = &config.audit;
    if !enabled {
        return ["none".to_owned(), String::new(), String::new()];
    }
    let size = format!("{files_max} files of {}", ByteSize(*file_bytes_max as u64));
    let shown = if users.is_empty() { String::new() } else { format!("shown to {}", users.join(", ")) };
    [Audit::folder(&config.data_dir).display().to_string(), size, shown]
}

fn joined(topics: &[TopicFilter]) -> String {
    let topics: Vec<_> = topics.iter().map(TopicFilter::as_str).collect();
    topics.join(", ")
}

fn counted(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// Pushes a row for each field that differs. The pattern names every field, so that none can be forgotten.
macro_rules! push_changed {
    ($rows:ident, $section:literal, $kind:ident { $($field:ident),* $(,)? }, $own:expr) => {
        let $kind { $($field),* } = $own;
        let default = $kind::default();
        $(if *$field != default.$field {
            $rows.push(changed_row($section, stringify!($field), &format!("{:?}", $field),
                &format!("{:?}", default.$field)));
        })*
    };
}

/// The numbers that are not as they are by default.
fn changed(config: &Config) -> Vec<[String; 3]> {
    let mut rows = Vec::new();
    push_changed!(
        rows,
        "limits",
        Limits {
            connections_max,
            connect_timeout_s,
            websocket_frame_bytes_max,
            client_id_bytes_max,
            sessions_max,
            topic_levels_max,
            filters_per_packet_max,
            subscriptions_per_client_max,
            subscription_bytes_per_client_max,
            inflight_messages_max,
            inflight_bytes_max,
            inbound_qos2_max,
            outbound_topic_aliases_max,
            inbox_messages_max,
            inbox_bytes_max,
            slow_receiver_pause_ms,
            write_stall_s,
            queue_messages_max,
            queue_bytes_max,
            queue_full,
            retained_messages_max,
            retained_bytes_max,
            unchecked_bytes_max,
            examined_batch_bytes_max,
            failed_stamps_per_connection,
            failed_stamps_per_address,
            failed_stamps_window_s,
            failed_stamps_refuse_s,
            failed_stamp_addresses_max,
            shutdown_timeout_s,
            enrolled_senders_max,
            enrolled_topic_keys_max,
            enrolled_entry_bytes_max,
            admin_connections_max,
            admin_request_bytes_max,
            admin_timeout_s,
        },
        &config.limits
    );
    push_changed_mqtt(config, &mut rows);
    rows
}

fn push_changed_mqtt(config: &Config, rows: &mut Vec<[String; 3]>) {
    push_changed!(
        rows,
        "mqtt",
        Mqtt {
            allow_mqtt31,
            session_expiry_max_s,
            packet_bytes_max,
            server_keep_alive_max_s,
            receive_maximum,
            topic_alias_maximum,
            qos_max,
            retain_available,
            wildcard_subscriptions,
            subscription_identifiers,
            shared_subscriptions,
            response_information,
            server_reference,
        },
        &config.mqtt
    );
}

fn changed_row(section: &str, name: &str, own: &str, default: &str) -> [String; 3] {
    let (own, default) = (shown(name, own), shown(name, default));
    [format!("{section}.{name}"), own, format!("(by default {default})")]
}

/// A value as the file would have it; sizes with their unit.
fn shown(name: &str, debug: &str) -> String {
    let value = debug.strip_prefix("Some(").and_then(|rest| rest.strip_suffix(')')).unwrap_or(debug);
    match (value, value.parse()) {
        (_, Ok(bytes)) if name.contains("_bytes") => ByteSize(bytes).to_string(),
        ("None", _) => "none".to_owned(),
        ("DropNewest", _) => "drop-newest".to_owned(),
        ("DropOldest", _) => "drop-oldest".to_owned(),
        (value, _) => value.to_owned(),
    }
}

#[cfg(test)]
mod tests;
