//! Raw values: what each kind of key makes of what stands in the file or the environment.
//!
//! Nothing is guessed: in the file a number has to be a number. The environment has only texts, so its
//! values are parsed; they are told from the file's by carrying an origin, which the file's do not.

use crate::units::ByteSize;
use config::{Value, ValueKind};

/// A text with something in it.
pub(crate) fn text(value: &Value) -> Option<&str> {
    if let ValueKind::String(text) = &value.kind {
        Some(text.as_str()).filter(|text| !text.is_empty())
    } else {
        None
    }
}

pub(crate) fn boolean(value: &Value) -> Option<bool> {
    if let ValueKind::Boolean(value) = value.kind { Some(value) } else { environment(value)?.parse().ok() }
}

pub(crate) fn integer(value: &Value) -> Option<u64> {
    if let ValueKind::I64(value) = value.kind {
        value.try_into().ok()
    } else {
        environment(value)?.parse().ok()
    }
}

/// A number of bytes, or a text with a unit.
pub(crate) fn size(value: &Value) -> Option<u64> {
    let with_unit = text(value).map(|text| text.parse().ok().map(|ByteSize(bytes)| bytes));
    with_unit.unwrap_or_else(|| integer(value))
}

pub(crate) fn list(value: &Value) -> Option<Vec<Value>> {
    if let ValueKind::Array(items) = &value.kind { Some(items.clone()) } else { None }
}

/// Texts with something in each; in the environment they are parted by commas.
pub(crate) fn strings(value: &Value) -> Option<Vec<String>> {
    if let ValueKind::Array(items) = &value.kind {
        return items.iter().map(|item| text(item).map(str::to_owned)).collect();
    }
    let items = environment(value)?.split(',').map(str::trim);
    items.map(|item| Some(item.to_owned()).filter(|item| !item.is_empty())).collect()
}

/// A word that is no level would be taken for a target, and nothing be logged at all. Filters with
/// spans in brackets are left to the logger.
pub(crate) fn is_log_filter(filter: &str) -> bool {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    filter.contains('[')
        || filter.split(',').all(|part| {
            let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
            LEVELS.contains(&level.trim().to_lowercase().as_str())
        })
}

/// A value as a problem shows it: as it stands in the file, and not all of a long one.
pub(crate) fn shown(value: &Value) -> String {
    const CHARS_MAX: usize = 80;
    if let ValueKind::String(text) = &value.kind {
        let start: String = text.chars().take(CHARS_MAX).collect();
        let rest = if start.len() < text.len() { "..." } else { "" };
        return format!("{start:?}{rest}");
    }
    match list(value) {
        Some(items) if items.is_empty() => "an empty list".to_owned(),
        Some(_) => "a list".to_owned(),
        None if matches!(value.kind, ValueKind::Table(_)) => "a table".to_owned(),
        None => value.to_string(),
    }
}

fn environment(value: &Value) -> Option<&str> {
    value.origin().and_then(|_| text(value))
}
