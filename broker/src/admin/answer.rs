//! From a line that asks to an answer: read, done, told, and kept before the answer goes.

use super::protocol::{
    Answer, Ask, EntryLine, Kept, ListedLine, NameLine, PAGE, Request, VERSION, Versioned, WhatWord,
};
use crate::audit::{self, KeyChange};
use crate::broker::Broker;
use crate::enrolment::{Effect, Entry, Event, Kind, Listed, Name, Order, Ready, Refused};
use crate::store::Position;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sealmq_config::encryption::Bind;
use sealmq_crypto::Validity;
use sealmq_protocol::TopicFilter;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// Lines that one request may log; a fleet has thousands.
const LINES_MAX: usize = 100;
/// Characters of an error about a request that are told.
const ERROR_CHARS: usize = 300;

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct By {
    /// The user's number in the system.
    pub(super) uid: u32,
    /// The process, where the system says so.
    pub(super) pid: Option<i32>,
}

/// Does what a line asks for.
pub(super) async fn answer(
    broker: &Arc<Broker>,
    line: Zeroizing<Vec<u8>>,
    by: By,
    timeout: Duration,
) -> Answer {
    // It can be long: not on a thread that serves connections.
    let request = match tokio::task::spawn_blocking(move || read(&line)).await {
        Ok(Ok(request)) => request,
        Ok(Err(why)) => return Answer::Refused(why),
        Err(error) => return failed(&error),
    };
    let ask = match request.ask {
        Ask::List { after } => return list(broker.clone(), after).await,
        ask @ (Ask::Enrol { .. } | Ask::Change { .. }) => ask,
    };
    if let Err(why) = has_room(broker, &ask, timeout).await {
        return Answer::Refused(why);
    }
    // Thousands of keys to read, maybe: not on a thread that serves connections.
    let changing = {
        let broker = broker.clone();
        tokio::task::spawn_blocking(move || change(&broker, ask, by))
    };
    let (effect, position) = match changing.await {
        Ok(Ok(changed)) => changed,
        Ok(Err(why)) => return Answer::Refused(why),
        Err(error) => return failed(&error),
    };
    let Effect { events, unchanged, mut warnings, more_warnings, .. } = effect;
    if more_warnings > 0 {
        warnings.push(format!("and {more_warnings} more of this kind"));
    }
    let kept = kept(broker, position, timeout).await;
    Answer::Done { changed: events.len(), unchanged, kept, warnings }
}

/// A fault of ours.
fn failed(error: &tokio::task::JoinError) -> Answer {
    tracing::error!("a request on the admin socket has failed: {error}");
    Answer::Refused("the broker could not do it; its log says more".into())
}

fn read(line: &[u8]) -> Result<Request, String> {
    let no_sense = |error: serde_json::Error| {
        let error: String = error.to_string().chars().take(ERROR_CHARS).collect();
        format!("the request makes no sense: {error}")
    };
    let Versioned { version } = serde_json::from_slice(line).map_err(no_sense)?;
    if version != VERSION {
        return Err(format!("the request has version {version}, and this broker speaks {VERSION}"));
    }
    serde_json::from_slice(line).map_err(no_sense)
}

/// Whether the store can take it. What takes a right away is done also where nothing can be kept, and at once.
async fn has_room(broker: &Broker, ask: &Ask, timeout: Duration) -> Result<(), String> {
    if matches!(ask, Ask::Change { what: WhatWord::Disable | WhatWord::Remove, .. }) {
        return Ok(());
    }
    if broker.store.has_no_space() {
        return Err("the store has no space for it".into());
    }
    let room = tokio::time::timeout(timeout, poll_fn(|cx| broker.store.poll_room(cx))).await;
    room.map_err(|_| "too much waits for the store already (storage.pending_bytes_max)".into())
}

fn change(broker: &Broker, ask: Ask, by: By) -> Result<(Effect, Position), String> {
    let order = order(ask)?;
    let changed = broker.change_enrolment(&order, |effect| tell(broker, &effect.events, by));
    let (effect, position) = changed.map_err(|why: Refused| why.to_string())?;
    for warning in &effect.warnings {
        tracing::warn!("{warning}");
    }
    Ok((effect, position))
}

/// Every change goes through here to the audit, and to the log.
fn tell(broker: &Broker, events: &[(Name, Event)], by: By) {
    let who = match by.pid {
        Some(pid) => format!("uid {}, pid {pid}", by.uid),
        None => format!("uid {}", by.uid),
    };
    for (name, event) in events.iter().take(LINES_MAX) {
        let id = name.id.escape_debug();
        tracing::info!(what = name.kind.name(), %id, by = who, "{} at run time", event.name());
    }
    if let Some(more @ 1..) = events.len().checked_sub(LINES_MAX) {
        tracing::info!(more, by = who, "and others at run time; the audit has them all");
    }
    let recorded = events.iter().map(|(name, event)| {
        let (change, detail) = match event {
            Event::Enrolled => (KeyChange::Enrolled, None),
            Event::Replaced => (KeyChange::Changed, Some("at run time")),
            Event::Disabled => (KeyChange::Disabled, None),
            Event::Enabled => (KeyChange::Enabled, None),
            Event::Removed => (KeyChange::Removed, Some("at run time")),
            Event::Reset => (KeyChange::Changed, Some("counts from the start")),
        };
        audit::Event::key(change, name.kind.into(), &name.id, Some(&who), detail)
    });
    broker.audit.record_all(recorded.collect());
}

/// Waits until it is kept as durably as the configuration says. It is in force already.
async fn kept(broker: &Broker, position: Position, timeout: Duration) -> Kept {
    if !broker.store.keeps() {
        return Kept::Memory;
    }
    let reached = poll_fn(|cx| broker.store.poll_reached(position, cx));
    let is_reached = tokio::time::timeout(timeout, reached).await.is_ok();
    // With "async" nobody waits for the disk; but it has to be one that takes something.
    let is_taken = broker.store.has_reached(position) && !broker.store.has_no_space();
    if is_reached && is_taken { Kept::Yes } else { Kept::NotYet }
}

async fn list(broker: Arc<Broker>, after: Option<NameLine>) -> Answer {
    let after = match after.map(|line| line.name().ok_or_else(|| no_id(&line.id))).transpose() {
        Ok(after) => after,
        Err(why) => return Answer::Refused(why),
    };
    // The book may be busy with thousands of keys.
    let reading = tokio::task::spawn_blocking(move || {
        let (page, more) = broker.enrolled(after.as_ref(), PAGE);
        Answer::Listed { entries: page.into_iter().map(listed).collect(), more }
    });
    reading.await.unwrap_or_else(|error| failed(&error))
}

fn listed(listed: Listed) -> ListedLine {
    let Listed { name, is_disabled, is_configured, is_at_run_time, topics, validity, bind, changed_ms } =
        listed;
    ListedLine {
        kind: name.kind,
        id: name.id.into(),
        disabled: is_disabled,
        configured: is_configured,
        run_time: is_at_run_time,
        topics: topics.iter().map(|topic| topic.as_str().to_owned()).collect(),
        not_before: validity.not_before,
        not_after: validity.not_after,
        bind: bind.map(|bind| bind.name().to_owned()),
        changed_ms,
    }
}

fn order(ask: Ask) -> Result<Order, String> {
    match ask {
        Ask::Enrol { entries, replace } => {
            let entries = entries.into_iter().map(entry).collect::<Result<_, _>>()?;
            Ok(Order::Enrol { entries, replace })
        }
        Ask::Change { what, names } => {
            let name = |line: &NameLine| line.name().ok_or_else(|| no_id(&line.id));
            Ok(Order::Change(what.into(), names.iter().map(name).collect::<Result<_, _>>()?))
        }
        Ask::List { .. } => Err("a list changes nothing".into()),
    }
}

fn entry(line: EntryLine) -> Result<(Name, Entry, Ready), String> {
    let EntryLine { kind, id, key, bind, topics, not_before, not_after } = line;
    let name = Name::new(kind, &id).ok_or_else(|| no_id(&id))?;
    if topics.is_empty() {
        return Err(format!("{name}: it needs at least one topic filter"));
    }
    let filter = |text: &String| {
        text.parse::<TopicFilter>().map_err(|rule| format!("{name}: {text:?} is no topic filter: {rule}"))
    };
    let topics: Vec<_> = topics.iter().map(filter).collect::<Result<_, _>>()?;
    if let (Some(first), Some(last)) = (not_before, not_after)
        && first >= last
    {
        return Err(format!("{name}: its last second is not after its first"));
    }
    let bind = match (kind, bind) {
        (_, None) => None,
        (Kind::TopicKey, Some(_)) => return Err(format!("{name}: only senders are bound to a client")),
        (Kind::Sender, Some(word)) => {
            let no_bind = || format!("{name}: bind is {word:?}; allowed are client-id and user");
            Some(Bind::from_name(&word).ok_or_else(no_bind)?)
        }
    };
    let bytes = BASE64_STANDARD.decode(key.0.as_bytes());
    let bytes = Zeroizing::new(bytes.map_err(|_| format!("{name}: its key is no base64"))?);
    let validity = Validity { not_before, not_after };
    let entry = Entry::new(&name, &bytes, bind, (topics.into(), validity));
    let (entry, ready) = entry.map_err(|why| format!("{name}: its key: {why}"))?;
    Ok((name, entry, ready))
}

fn no_id(id: &str) -> String {
    let start: String = id.chars().take(20).collect();
    format!("{start:?} cannot be an id: one has 1 to 255 bytes")
}
