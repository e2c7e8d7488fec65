//! `sealmq store check`: reads all of the store, and says what is wrong.

use super::super::numbers::{counted, grouped};
use super::super::progress::Progress;
use super::super::{CommandError, say};
use super::{failed, folder, look};
use crate::store::offline::check::{Checked, check};
use sealmq_config::Config;
use std::fmt::Write;
use std::path::Path;

pub(super) fn run(config: &Config) -> Result<(), CommandError> {
    let folder = folder(config);
    let store = look(config)?;
    let checked = {
        let mut progress = Progress::new("checked");
        check(&store.engine, store.doubt.as_ref(), &mut |bytes| progress.add(bytes))
    };
    let checked = checked.map_err(|why| failed(&folder, &why))?;
    say(text(&folder, &checked).as_bytes())?;
    if checked.is_sound() { Ok(()) } else { Err(CommandError::Told) }
}

fn text(folder: &Path, checked: &Checked) -> String {
    let records = counted(checked.records, "record");
    if checked.is_sound() {
        return format!("{}: {records}, everything is in order\n", folder.display());
    }
    let wrong: u64 = checked.findings.values().map(|findings| findings.count).sum();
    let mut text = format!("{}: {records}, {} wrong\n", folder.display(), grouped(wrong));
    for (keyspace, findings) in &checked.findings {
        // A String takes whatever is written.
        let _ = writeln!(text, "{}: {} wrong", keyspace.name(), grouped(findings.count));
        for what in &findings.first {
            let _ = writeln!(text, "  {what}");
        }
        let left = findings.count.saturating_sub(findings.first.len() as u64);
        if left > 0 {
            let _ = writeln!(text, "  and {} more", grouped(left));
        }
    }
    text
}
