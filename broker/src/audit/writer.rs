//! The one thread that writes the audit: takes what waits, numbers and chains it, and keeps it.
//!
//! What cannot be written, since the disk is full or the folder not to be had, is counted, and the count is
//! recorded as soon as something can be written again. Nobody waits for any of this.

use super::chain::{Head, Line};
use super::event::Event;
use super::files::{Files, Found};
use super::queue::{Entry, Taken};
use crate::broker::Broker;
use crate::error::StartError;
use crate::ingress::message::{AUDIT_TOPICS, Message};
use crate::router::Turn;
use bytes::Bytes;
use jiff::Timestamp;
use sealmq_config::Config;
use sealmq_config::audit::Audit;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two syncs of the file at most.
const SYNC: Duration = Duration::from_secs(1);
/// Between two attempts to write when one has failed.
const RETRY: Duration = Duration::from_secs(1);

/// Starts the thread; none if there is no audit. It ends after [`super::Audit::close`].
pub(crate) fn start(broker: &Arc<Broker>, config: &Config) -> Result<Option<JoinHandle<()>>, StartError> {
    if !config.audit.enabled {
        return Ok(None);
    }
    let (senders, topic_keys) = broker.rules().declared().counts();
    broker.audit.record(Event::Begun { version: env!("CARGO_PKG_VERSION"), senders, topic_keys });
    let folder = Audit::folder(&config.data_dir);
    let files = Files::new(folder.clone(), config.audit.file_bytes_max as u64, config.audit.files_max);
    let broker = broker.clone();
    let run = move || Writer::new(files).run(&broker);
    let thread = std::thread::Builder::new().name("audit".into()).spawn(run);
    thread.map(Some).map_err(|why| StartError::file(&folder, format!("no thread: {why}")))
}

/// See the module's description.
pub(super) struct Writer {
    files: Files,
    head: Head,
    /// Events that could not be written since the last that was.
    lost: u64,
    /// When to try again what has failed.
    retry: Option<Instant>,
    /// When what was written is to be synced.
    sync: Option<Instant>,
}

impl Writer {
    pub(super) fn new(files: Files) -> Self {
        Self { files, head: Head::BEGINNING, lost: 0, retry: None, sync: None }
    }

    /// Writes until the audit is closed.
    fn run(mut self, broker: &Broker) {
        let mut turn = Turn::default();
        loop {
            let Some(taken) = broker.audit.take(self.due()) else { return };
            let closed = taken.closed;
            let written = self.write(taken, Instant::now());
            if broker.rules().has_auditors() {
                publish(broker, written, &mut turn);
            }
            if closed {
                self.sync();
                return;
            }
        }
    }

    /// When there is something to do although nothing was recorded.
    fn due(&self) -> Option<Instant> {
        let retry = self.retry.filter(|_| self.lost > 0);
        [self.sync, retry].into_iter().flatten().min()
    }

    /// Writes what was taken, and syncs what is due. The lines that were written.
    pub(super) fn write(&mut self, taken: Taken, now: Instant) -> Vec<Line> {
        let Taken { mut entries, lost, closed: _ } = taken;
        if lost > 0 {
            entries.push(lost_entry(lost));
        }
        if self.retry.is_some_and(|retry| now < retry) {
            self.lose(entries);
            return Vec::new();
        }
        let is_idle = entries.is_empty() && self.lost == 0;
        let written = if is_idle { Vec::new() } else { self.append(entries, now) };
        if self.sync.is_some_and(|due| due <= now) {
            self.sync();
        }
        written
    }

    fn append(&mut self, mut entries: Vec<Entry>, now: Instant) -> Vec<Line> {
        if !self.files.is_open() {
            match self.files.open() {
                Ok(Found { head, flaw }) => {
                    self.head = head;
                    let flaw = flaw.map(|event| Entry { at: Timestamp::now(), event, repeated: 0 });
                    entries.splice(0..0, flaw);
                }
                Err(why) => {
                    self.lose(entries);
                    self.fail(&why, now);
                    return Vec::new();
                }
            }
        }
        if self.lost > 0 {
            entries.insert(0, lost_entry(std::mem::take(&mut self.lost)));
        }
        let mut lines = self.chained(entries);
        let (written, done) = self.files.append(&lines);
        self.lose(lines.drain(written.min(lines.len())..).map(|line| line.entry));
        if let Some(last) = lines.last() {
            self.head = last.head;
            self.sync.get_or_insert_with(|| now + SYNC);
        }
        match done {
            Ok(()) if self.retry.take().is_some() => {
                tracing::info!(folder = %self.files.folder().display(), "the audit is written again");
            }
            Ok(()) => {}
            Err(why) => self.fail(&why, now),
        }
        lines
    }

    fn chained(&mut self, entries: Vec<Entry>) -> Vec<Line> {
        let mut head = self.head;
        let mut lines = Vec::with_capacity(entries.len());
        for entry in entries {
            match head.next(entry) {
                Ok(line) => {
                    head = line.head;
                    lines.push(line);
                }
                Err(error) => tracing::error!("an entry of the audit cannot be written as JSON: {error}"),
            }
        }
        lines
    }

    fn lose(&mut self, entries: impl IntoIterator<Item = Entry>) {
        let events = entries.into_iter().map(|entry| entry.event.stands_for(entry.repeated));
        self.lost = events.fold(self.lost, u64::saturating_add);
    }

    /// Says so once, until something was written again.
    fn fail(&mut self, why: &io::Error, now: Instant) {
        if self.retry.is_none() {
            let folder = self.files.folder().display();
            tracing::error!(%folder, "the audit cannot be written, its events are counted until it can: {why}");
        }
        self.retry = Some(now + RETRY);
    }

    fn sync(&mut self) {
        if self.sync.take().is_some()
            && let Err(why) = self.files.sync()
        {
            self.fail(&why, Instant::now());
        }
    }
}

/// Hands the lines to those who may see them, each on the topic of its event, and the hash of the last one as
/// a retained message.
fn publish(broker: &Broker, lines: Vec<Line>, turn: &mut Turn) {
    let Some(head) = lines.last().map(|line| line.head) else { return };
    for Line { mut bytes, entry, head: _ } in lines {
        bytes.pop();
        route(broker, &entry.event.topic(), bytes, false, turn);
    }
    let head = format!("{{\"n\":{},\"hash\":\"{}\"}}", head.n, head.hash);
    route(broker, "head", head.into_bytes(), true, turn);
    // A receiver that falls behind loses what it does not take; the file has it.
    let _ = broker.router.end_turn(turn);
}

fn route(broker: &Broker, topic: &str, payload: Vec<u8>, retain: bool, turn: &mut Turn) {
    if let Ok(topic) = format!("{AUDIT_TOPICS}{topic}").parse() {
        let message = Message::of_audit(topic, Bytes::from(payload), retain);
        broker.router.route(&Arc::new(message), turn);
    }
}

fn lost_entry(entries: u64) -> Entry {
    Entry { at: Timestamp::now(), event: Event::Lost { entries }, repeated: 0 }
}
