//! `sealmq store stats`: what is in the store, and what it takes on disk.

use super::super::layout::Layout;
use super::super::numbers::{counted, grouped, size};
use super::super::progress::Progress;
use super::super::{CommandError, complain, say};
use super::{failed, folder, look};
use crate::store::layout::Keyspace;
use crate::store::offline::stats::{Queue, Statistics};
use sealmq_config::Config;
use std::path::Path;

/// Characters of a client id that are shown.
const CLIENT_ID_CHARS: usize = 60;

pub(super) fn run(config: &Config) -> Result<(), CommandError> {
    let folder = folder(config);
    let store = look(config)?;
    let read = {
        let mut progress = Progress::new("read");
        Statistics::read(&store.engine, &mut |bytes| progress.add(bytes))
    };
    let statistics = read.map_err(|why| failed(&folder, &why))?;
    say(text(&folder, &statistics).as_bytes())?;
    if let Some(doubt) = store.doubt {
        complain(&format!("{}: {doubt}", folder.display()));
    }
    Ok(())
}

fn text(folder: &Path, statistics: &Statistics) -> String {
    let mut layout = Layout::default();
    let keys = |keyspace| statistics.count(keyspace).keys;
    let report = &statistics.report;
    layout.section("store", &[[folder.display().to_string()]]);
    layout.section("position", &[[grouped(statistics.newest.0)]]);
    layout.section(
        "on disk",
        &[[format!("{}, of it {} in journals", size(report.disk_bytes), size(report.journal_bytes))]],
    );
    let (messages, bytes) = statistics.queued;
    layout.section(
        "holds",
        &[
            [counted(keys(Keyspace::Session), "session")],
            [counted(keys(Keyspace::Retained), "retained message")],
            [format!("{} in queues, {}", counted(messages, "message"), size(bytes))],
        ],
    );
    layout.section("largest", &statistics.largest.iter().map(queue).collect::<Vec<_>>());
    layout.line("");
    let heads = ["keys", "of keys", "of values", "in tables"];
    let mut rows = vec![row("", heads.map(str::to_owned))];
    for (keyspace, count) in &statistics.counts {
        let tables = report.keyspaces.iter().find(|size| size.keyspace == *keyspace);
        let cells = [
            grouped(count.keys),
            size(count.key_bytes),
            size(count.value_bytes),
            size(tables.map_or(0, |size| size.disk_bytes)),
        ];
        rows.push(row(keyspace.name(), cells));
    }
    layout.section("keyspaces", &rows);
    layout.finish()
}

fn queue(queue: &Queue) -> [String; 3] {
    let name = match &queue.client_id {
        Some(client_id) => {
            let escaped: String = client_id.chars().flat_map(char::escape_debug).collect();
            escaped.chars().take(CLIENT_ID_CHARS).collect()
        }
        None => "(a session that has ended)".to_owned(),
    };
    [name, counted(queue.messages, "message"), size(queue.bytes)]
}

/// Numbers stand under each other by their last digits.
fn row(name: &str, cells: [String; 4]) -> [String; 5] {
    let [keys, of_keys, of_values, in_tables] = cells.map(|cell| format!("{cell:>10}"));
    [name.to_owned(), keys, of_keys, of_values, in_tables]
}
