//! Holds a store against what it should be: reads every key and every value, and looks whether what belongs
//! together is together. What it says names keys, and never a payload.

use super::super::engine::{Engine, EngineError};
use super::super::layout::{self, Keyspace, ReplayKey, SCHEMA};
use super::super::record::{
    Body, Entry, Flight, FlightState, MessageRecord, SessionRecord, decode_enrolled, decode_subscription,
};
use super::super::{OpenError, packet_id};
use super::{Progress, each, is_incomplete};
use crate::delivery::{Place, SessionId};
use bytes::Bytes;
use bytestring::ByteString;
use rustc_hash::FxHashSet;
use sealmq_crypto::SenderWindow;
use std::collections::BTreeMap;

/// Of each keyspace so many findings are told.
const TOLD: usize = 5;
/// Characters of a key that are shown.
const KEY_CHARS: usize = 80;

/// What is wrong in one keyspace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Findings {
    /// How much.
    pub(crate) count: u64,
    /// The first of it, in words.
    pub(crate) first: Vec<String>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    /// Records that were read.
    pub(crate) records: u64,
    /// What is wrong, by keyspace.
    pub(crate) findings: BTreeMap<Keyspace, Findings>,
}

impl Checked {
    /// Whether nothing is wrong.
    pub(crate) fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }

    fn find(&mut self, keyspace: Keyspace, what: String) {
        let findings = self.findings.entry(keyspace).or_default();
        findings.count += 1;
        if findings.first.len() < TOLD {
            findings.first.push(what);
        }
    }
}

struct Checking<'a> {
    engine: &'a dyn Engine,
    progress: Progress<'a>,
    checked: Checked,
    /// Where the newest batch is.
    newest: u64,
    next_session: u64,
    /// Sessions that are there, and those that are being removed.
    sessions: FxHashSet<SessionId>,
    /// By position: how many entries say that their message lies apart; and how many `refs` says.
    shared: BTreeMap<u64, Shared>,
    /// What is in flight, and stands in a queue.
    flights: Vec<(Vec<u8>, SessionId, Place)>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Shared {
    entries: u32,
    refs: Option<u32>,
    has_message: bool,
}

/// Checks all of a store. `doubt` is what opening it has found.
pub(crate) fn check(
    engine: &dyn Engine,
    doubt: Option<&OpenError>,
    progress: Progress<'_>,
) -> Result<Checked, EngineError> {
    let mut checking = Checking {
        engine,
        progress,
        checked: Checked::default(),
        newest: engine.last().map_or(u64::MAX, |last| last.position.0),
        next_session: u64::MAX,
        sessions: FxHashSet::default(),
        shared: BTreeMap::new(),
        flights: Vec::new(),
    };
    if let Some(doubt) = doubt {
        checking.checked.find(Keyspace::Meta, doubt.to_string());
    }
    if is_incomplete(engine)? {
        checking.checked.find(Keyspace::Meta, OpenError::Incomplete.to_string());
    }
    // In this order: what others refer to comes before them.
    checking.each(Keyspace::Meta, Checking::meta);
    checking.each(Keyspace::Session, Checking::session);
    checking.each(Keyspace::Subscription, Checking::subscription);
    checking.each(Keyspace::Queue, Checking::queue);
    checking.each(Keyspace::Message, Checking::message);
    checking.each(Keyspace::Refs, Checking::refs);
    checking.each(Keyspace::Inflight, Checking::inflight);
    checking.each(Keyspace::Inbound, Checking::inbound);
    checking.each(Keyspace::Retained, |_, key, value| retained(key, value));
    checking.each(Keyspace::Replay, |_, key, value| replay(key, value));
    checking.each(Keyspace::Enrolled, |_, key, value| enrolled(key, value));
    checking.compare_flights()?;
    checking.compare_shared();
    Ok(checking.checked)
}

/// What is wrong with a record.
type Verdict = Result<(), String>;

impl Checking<'_> {
    fn each(&mut self, keyspace: Keyspace, judge: fn(&mut Self, &[u8], &[u8]) -> Verdict) {
        let engine = self.engine;
        let read = each(engine, keyspace, &mut |key, value| {
            self.checked.records += 1;
            (self.progress)(key.len() + value.len());
            if let Err(what) = judge(self, key, value) {
                self.checked.find(keyspace, format!("{}: {what}", shown(keyspace, key)));
            }
        });
        // One that cannot be read to its end says nothing about the others.
        if let Err(error) = read {
            self.checked.find(keyspace, format!("cannot be read on: {error}"));
        }
    }

    fn meta(&mut self, key: &[u8], value: &[u8]) -> Verdict {
        match key {
            layout::META_SCHEMA if value != SCHEMA.to_be_bytes() => {
                Err(format!("the layout is none that is known here, which is {SCHEMA}"))
            }
            layout::META_NEXT_SESSION => {
                let next = value.try_into().map_err(|_| MALFORMED)?;
                self.next_session = u64::from_be_bytes(next);
                Ok(())
            }
            layout::META_LAST if value.len() != 16 => Err(MALFORMED.into()),
            layout::META_SCHEMA | layout::META_LAST | layout::META_IMPORT | layout::META_MIGRATION => Ok(()),
            key if layout::parse_key_used_key(key).is_some() => {
                if value.len() == 8 {
                    Ok(())
                } else {
                    Err(MALFORMED.into())
                }
            }
            key => {
                self.sessions.insert(layout::parse_dying_key(key).ok_or("nobody knows such a key")?);
                Ok(())
            }
        }
    }

    fn session(&mut self, key: &[u8], value: &[u8]) -> Verdict {
        let client_id = ByteString::try_from(key).map_err(|_| "the client id is not UTF-8")?;
        let record = SessionRecord::decode(client_id, owned(value)).map_err(|_| MALFORMED)?;
        if record.session.0 >= self.next_session {
            return Err(format!(
                "session {} is to be given anew: the next is {}",
                record.session.0, self.next_session
            ));
        }
        if !self.sessions.insert(record.session) {
            return Err(format!("session {} is another client's too, or is being removed", record.session.0));
        }
        Ok(())
    }

    fn subscription(&mut self, key: &[u8], value: &[u8]) -> Verdict {
        let (session, filter) = layout::parse_subscription_key(key).ok_or(KEY)?;
        decode_subscription(filter, owned(value)).map_err(|_| MALFORMED)?;
        self.has_owner(session)
    }

    fn queue(&mut self, key: &[u8], value: &[u8]) -> Verdict {
        let (session, position) = layout::parse_queue_key(key).ok_or(KEY)?;
        let entry = Entry::decode(owned(value)).map_err(|_| MALFORMED)?;
        match entry.body {
            Body::Inline(body) => {
                MessageRecord::decode(body).map_err(|_| "its message is not of a form that is known")?;
            }
            Body::Shared => self.shared.entry(position).or_default().entries += 1,
        }
        self.has_owner(session)?;
        self.is_known(position)
    }

    fn message(&mut self, key: &[u8], value: &[u8]) -> Verdict {
        let position = layout::parse_position_key(key).ok_or(KEY)?;
        self.shared.entry(position).or_default().has_message = true;
        MessageRecord::decode(owned(value)).map_err(|_| MALFORMED)?;
        self.is_known(position)
    }

    fn refs(&mut self, key: &[u8], value: &[u8]) -> Verdict {
        let position = layout::parse_position_key(key).ok_or(KEY)?;
        let count = value.try_into().map(u32::from_be_bytes).map_err(|_| MALFORMED)?;
        self.shared.entry(position).or_default().refs = Some(count);
        Ok(())
    }

    fn inflight(&mut self, key: &[u8], value: &[u8]) -> Verdict {
        let (session, id) = layout::parse_packet_key(key).ok_or(KEY)?;
        let Flight { sequence, place, state } = Flight::decode(owned(value)).map_err(|_| MALFORMED)?;
        self.has_owner(session)?;
        if packet_id(sequence) != id {
            return Err("its packet id is not that of its sending".into());
        }
        if state == FlightState::Published {
            // Not looked up here, in the midst of a scan: whether an engine can do that is not said.
            self.flights.push((key.to_vec(), session, place));
        }
        Ok(())
    }

    fn inbound(&mut self, key: &[u8], value: &[u8]) -> Verdict {
        let (session, _) = layout::parse_packet_key(key).ok_or(KEY)?;
        if !value.is_empty() {
            return Err(MALFORMED.into());
        }
        self.has_owner(session)
    }

    fn has_owner(&self, session: SessionId) -> Verdict {
        if self.sessions.contains(&session) { Ok(()) } else { Err("there is no such session".into()) }
    }

    fn is_known(&self, position: u64) -> Verdict {
        if position == 0
            || position > self.newest
            || Place::new(super::super::Position(position), true).is_none()
        {
            return Err(format!("its position is beyond the newest, {}", self.newest));
        }
        Ok(())
    }

    /// What is in flight and was not released stands in the queue of its session.
    fn compare_flights(&mut self) -> Result<(), EngineError> {
        for (key, session, place) in std::mem::take(&mut self.flights) {
            let entry = self.engine.get(Keyspace::Queue, &layout::queue_key(session, place.position().0))?;
            let what = match entry.map(Entry::decode) {
                None => "its message is not in the queue",
                Some(Ok(entry)) if (entry.body == Body::Shared) != place.is_shared() => {
                    "it says of its message that it is shared, or not, and the queue says otherwise"
                }
                // What is malformed was found in the queue.
                Some(_) => continue,
            };
            self.checked.find(Keyspace::Inflight, format!("{}: {what}", shown(Keyspace::Inflight, &key)));
        }
        Ok(())
    }

    /// Messages that several queues share: each has its count, and the count is true.
    fn compare_shared(&mut self) {
        for (position, shared) in std::mem::take(&mut self.shared) {
            let Shared { entries, refs, has_message } = shared;
            let mut find = |keyspace, what: String| {
                self.checked.find(keyspace, format!("position {position}: {what}"));
            };
            if entries > 0 && !has_message {
                find(
                    Keyspace::Queue,
                    format!("the message that entries of {entries} queues share is missing"),
                );
            }
            if entries == 0 && has_message {
                find(Keyspace::Message, "no queue has it".into());
            }
            match refs {
                Some(refs) if refs != entries => {
                    find(Keyspace::Refs, format!("it says that {refs} queues share it, and {entries} do"));
                }
                None if entries > 0 || has_message => {
                    find(Keyspace::Refs, format!("it is missing, and {entries} queues share the message"));
                }
                Some(_) | None => {}
            }
        }
    }
}

const KEY: &str = "the key is not of a form that is known";
const MALFORMED: &str = "the value is not of a form that is known";

fn retained(key: &[u8], value: &[u8]) -> Verdict {
    let message = MessageRecord::decode(owned(value)).map_err(|_| MALFORMED)?;
    if message.topic.as_str().as_bytes() != key {
        return Err("its message is another topic's".into());
    }
    Ok(())
}

fn replay(key: &[u8], value: &[u8]) -> Verdict {
    let is_known = match layout::parse_replay_key(key).ok_or(KEY)? {
        ReplayKey::Window(_) => SenderWindow::from_bytes(value).is_some(),
        ReplayKey::Stamp(..) => value.is_empty(),
    };
    if is_known { Ok(()) } else { Err(MALFORMED.into()) }
}

fn enrolled(key: &[u8], value: &[u8]) -> Verdict {
    let name = layout::parse_enrolled_key(key).ok_or(KEY)?;
    let record = decode_enrolled(name, owned(value)).map_err(|_| MALFORMED)?;
    record.ready().map(drop).map_err(|why| format!("its key: {why}"))
}

fn owned(value: &[u8]) -> Bytes {
    Bytes::copy_from_slice(value)
}

/// A key as people read it.
fn shown(keyspace: Keyspace, key: &[u8]) -> String {
    let text = |key: &[u8]| {
        let mut text: String = key.escape_ascii().to_string();
        if text.len() > KEY_CHARS {
            text.truncate(KEY_CHARS);
            text.push_str("...");
        }
        text
    };
    let known = match keyspace {
        Keyspace::Queue => layout::parse_queue_key(key)
            .map(|(session, position)| format!("session {}, position {position}", session.0)),
        Keyspace::Message | Keyspace::Refs => {
            layout::parse_position_key(key).map(|position| format!("position {position}"))
        }
        Keyspace::Inflight | Keyspace::Inbound => layout::parse_packet_key(key)
            .map(|(session, id)| format!("session {}, packet id {}", session.0, id.get())),
        Keyspace::Subscription => key
            .split_first_chunk()
            .map(|(session, filter)| format!("session {}, {}", u64::from_be_bytes(*session), text(filter))),
        Keyspace::Enrolled => layout::parse_enrolled_key(key).map(|name| text(name.to_string().as_bytes())),
        Keyspace::Meta | Keyspace::Session | Keyspace::Retained | Keyspace::Replay => None,
    };
    known.unwrap_or_else(|| text(key))
}
