//! `sealmq enrol list`: who is enrolled, by the configuration and at run time.

use super::super::layout::Layout;
use super::super::numbers::validity;
use super::super::say;
use super::{CommandError, KindWord, connect};
use crate::admin::client::ClientError;
use crate::admin::protocol::{Answer, Ask, ListedLine, NameLine};
use crate::enrolment::Kind;
use crate::now::Now;
use clap::Args;
use sealmq_config::Config;
use sealmq_crypto::Validity;

/// Characters of an id, and of topics, that are shown.
const ID_CHARS: usize = 60;
const TOPICS_CHARS: usize = 100;

#[derive(Debug, Args)]
pub(super) struct ListArguments {
    /// Of one kind alone
    kind: Option<KindWord>,
    /// A JSON object in each line
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &ListArguments, config: &Config) -> Result<(), CommandError> {
    let mut client = connect(config)?;
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let answer = client.ask(Ask::List { after: after.take() })?;
        let Answer::Listed { mut entries, more } = answer else {
            return Err(ClientError::Unexpected.into());
        };
        after = entries.last().map(|last| NameLine { kind: last.kind, id: last.id.clone() });
        if let Some(kind) = arguments.kind {
            entries.retain(|entry| entry.kind == kind.into());
        }
        all.append(&mut entries);
        if !more || after.is_none() {
            break;
        }
    }
    // Only now, as whoever reads it may take its time, which the broker does not give.
    let told = if arguments.json { lines(&all)? } else { text(&all, Now::read().unix_s) };
    say(told.as_bytes())
}

fn lines(entries: &[ListedLine]) -> Result<String, CommandError> {
    let mut text = String::new();
    for entry in entries {
        let line = serde_json::to_string(entry).map_err(|why| CommandError::Plain(why.to_string()))?;
        text.push_str(&line);
        text.push('\n');
    }
    Ok(text)
}

fn text(entries: &[ListedLine], now: u64) -> String {
    if entries.is_empty() {
        return "nobody is enrolled\n".to_owned();
    }
    let mut layout = Layout::default();
    for (kind, label) in [(Kind::Sender, "senders"), (Kind::TopicKey, "topic keys")] {
        let of_kind = entries.iter().filter(|entry| entry.kind == kind);
        layout.section(label, &of_kind.map(|entry| row(entry, now)).collect::<Vec<_>>());
    }
    layout.finish()
}

fn row(entry: &ListedLine, now: u64) -> [String; 6] {
    let ListedLine { id, disabled, configured, run_time, topics, not_before, not_after, bind, .. } = entry;
    let is_valid = Validity { not_before: *not_before, not_after: *not_after }.contains(now);
    let state = match (disabled, is_valid) {
        (true, _) => "disabled",
        (false, true) => "enabled",
        (false, false) => "not valid now",
    };
    let from = match (configured, run_time) {
        (true, false) => "configuration",
        (true, true) => "configuration, and at run time",
        (false, true) => "run time",
        (false, false) => "not enrolled",
    };
    let cells = [
        shown(id, ID_CHARS),
        state.to_owned(),
        shown(&topics.join(" "), TOPICS_CHARS),
        from.to_owned(),
        bind.as_ref().map(|bind| format!("bind {bind}")).unwrap_or_default(),
        validity(*not_before, *not_after),
    ];
    cells.map(|cell| cell.trim_end().to_owned())
}

/// What came from elsewhere moves no cursor, and takes no more room than it may.
fn shown(text: &str, chars_max: usize) -> String {
    let escaped: String = text.chars().flat_map(char::escape_debug).collect();
    match escaped.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}...", escaped.get(..end).unwrap_or_default()),
        None => escaped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: Kind, id: &str) -> ListedLine {
        ListedLine {
            kind,
            id: id.to_owned(),
            disabled: false,
            configured: true,
            run_time: false,
            topics: vec!["plant/7/#".to_owned()],
            not_before: None,
            not_after: None,
            bind: None,
            changed_ms: None,
        }
    }

    #[test]
    fn the_list_says_who_is_bound() {
        let bound = ListedLine { bind: Some("client-id".to_owned()), ..entry(Kind::Sender, "dev-7") };
        let list = text(&[bound.clone(), entry(Kind::Sender, "dev-8")], 0);
        assert_eq!(
            list,
            "\
senders       dev-7   enabled   plant/7/#   configuration   bind client-id
              dev-8   enabled   plant/7/#   configuration
"
        );
        assert!(lines(&[bound]).unwrap().contains(",\"bind\":\"client-id\""));
        assert!(!lines(&[entry(Kind::Sender, "dev-8")]).unwrap().contains("bind"));
    }

    #[test]
    fn the_list_says_state_and_source() {
        let dev_8 = ListedLine { disabled: true, ..entry(Kind::Sender, "dev-8") };
        let dev_9 = ListedLine {
            configured: false,
            run_time: true,
            not_after: Some(100),
            ..entry(Kind::Sender, "dev-9\u{1b}")
        };
        let key = ListedLine { run_time: true, ..entry(Kind::TopicKey, "plant-1") };
        let list = text(&[entry(Kind::Sender, "dev-7"), dev_8, dev_9, key], 101);
        assert_eq!(
            list,
            "\
senders       dev-7         enabled         plant/7/#   configuration
              dev-8         disabled        plant/7/#   configuration
              dev-9\\u{1b}   not valid now   plant/7/#   run time        until 1970-01-01T00:01:40Z
topic keys    plant-1   enabled   plant/7/#   configuration, and at run time
"
        );
        assert_eq!(text(&[], 0), "nobody is enrolled\n");
    }

    #[test]
    fn what_is_long_is_cut() {
        assert_eq!(shown(&"x".repeat(100), 4), "xxxx...");
        assert_eq!(shown("\u{e9}\u{e9}", 2), "\u{e9}\u{e9}");
    }
}
