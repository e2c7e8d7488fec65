//! Reads one table of the configuration, key by key: the only place where raw values are looked at.
//!
//! Each call takes a key's value out of the table and names the key's default and range; what is wrong
//! goes to the [`Report`], and so does every key that nobody took. Reading an empty table thus gives the
//! defaults, and doing so once with a learning report gives the list of all keys.

use crate::report::{Form, Report};
use crate::units::{ByteSize, grouped, unix_seconds};
use crate::value::{self, boolean, integer, is_log_filter, shown, size, text};
use config::{Value, ValueKind};
use sealmq_protocol::TopicFilter;
use sealmq_protocol::error::FilterError;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// In place of a default: the key has to be there.
pub(crate) const REQUIRED: &str = "required";
/// In place of a default: without the key there is nothing.
const NONE: &str = "none";

/// What `read` makes of an empty table.
pub(crate) fn defaults<T>(read: impl FnOnce(&mut Reader<'_>) -> T) -> T {
    read(&mut Reader::new(Table::new(), String::new(), &mut Report::default()))
}

/// Keys in a fixed order, so that problems come out in one too.
pub(crate) type Table = BTreeMap<String, Value>;

/// One table, the path to it, and where its problems go.
pub(crate) struct Reader<'r> {
    table: Table,
    path: String,
    report: &'r mut Report,
}

impl<'r> Reader<'r> {
    pub(crate) fn new(table: Table, path: String, report: &'r mut Report) -> Self {
        Self { table, path, report }
    }

    /// Reports every key that was not asked for.
    pub(crate) fn finish(self) {
        for name in self.table.keys() {
            self.report.unknown(&join(&self.path, name));
        }
    }

    /// Reports what one key alone cannot know.
    pub(crate) fn wrong(&mut self, name: &str, found: &str, allowed: &str) {
        self.report.wrong(&join(&self.path, name), found, allowed);
    }

    /// A key of any kind: `parse` answers `None` where the value is not `allowed`.
    pub(crate) fn value<T>(
        &mut self,
        name: &str,
        allowed: &str,
        default: &str,
        parse: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        let path = join(&self.path, name);
        self.report.know(&path, Form::Value, default, allowed);
        let Some(value) = self.table.remove(name) else {
            if default == REQUIRED {
                self.report.missing(&path, allowed);
            }
            return None;
        };
        let parsed = parse(&value);
        if parsed.is_none() {
            self.report.wrong(&path, &shown(&value), allowed);
        }
        parsed
    }

    /// Whether the key stands there; asked before it is read.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.table.contains_key(name)
    }

    /// Reports that something has to stand there.
    pub(crate) fn lacks(&mut self, name: &str, allowed: &str) {
        self.report.missing(&join(&self.path, name), allowed);
    }

    /// Reports that a key does not fit the others of its table.
    pub(crate) fn refuse(&mut self, name: &str, found: &str, allowed: &str) {
        self.report.wrong(&join(&self.path, name), found, allowed);
    }

    pub(crate) fn boolean(&mut self, name: &str, default: bool) -> bool {
        self.value(name, "true or false", &default.to_string(), boolean).unwrap_or(default)
    }

    pub(crate) fn count(&mut self, name: &str, range: RangeInclusive<u64>, default: usize) -> usize {
        let shown = default.to_string();
        self.value(name, &span(&range, grouped), &shown, |value| {
            integer(value).filter(|n| range.contains(n))?.try_into().ok()
        })
        .unwrap_or(default)
    }

    pub(crate) fn bytes(&mut self, name: &str, range: RangeInclusive<u64>, default: usize) -> usize {
        let shown = format!("\"{}\"", ByteSize(default as u64));
        self.value(name, &span(&range, |n| ByteSize(n).to_string()), &shown, |value| {
            size(value).filter(|n| range.contains(n))?.try_into().ok()
        })
        .unwrap_or(default)
    }

    pub(crate) fn seconds(&mut self, name: &str, range: RangeInclusive<u64>, default: u64) -> u64 {
        let shown = default.to_string();
        self.whole(name, &range, &shown, "seconds").unwrap_or(default)
    }

    pub(crate) fn milliseconds(&mut self, name: &str, range: RangeInclusive<u64>, default: u64) -> u64 {
        let shown = default.to_string();
        self.whole(name, &range, &shown, "milliseconds").unwrap_or(default)
    }

    pub(crate) fn seconds_optional(&mut self, name: &str, range: RangeInclusive<u64>) -> Option<u64> {
        self.whole(name, &range, NONE, "seconds")
    }

    fn whole(&mut self, name: &str, range: &RangeInclusive<u64>, default: &str, unit: &str) -> Option<u64> {
        let allowed = format!("{} {unit}", span(range, grouped));
        self.value(name, &allowed, default, |value| integer(value).filter(|n| range.contains(n)))
    }

    /// One of `names`, the `default` where there is none.
    pub(crate) fn choice_or<T: Copy + PartialEq>(
        &mut self,
        name: &str,
        names: &[(&str, T)],
        default: T,
    ) -> T {
        self.choice(name, names, Some(default)).unwrap_or(default)
    }

    /// One of `names`; without default it is required.
    pub(crate) fn choice<T: Copy + PartialEq>(
        &mut self,
        name: &str,
        names: &[(&str, T)],
        default: Option<T>,
    ) -> Option<T> {
        let first = names.iter().find(|(_, choice)| Some(*choice) == default);
        let shown = first.map_or(REQUIRED.to_owned(), |(text, _)| format!("\"{text}\""));
        self.one_of(name, names, &shown).or(default)
    }

    /// One of `names`, or nothing.
    pub(crate) fn choice_optional<T: Copy>(&mut self, name: &str, names: &[(&str, T)]) -> Option<T> {
        self.one_of(name, names, NONE)
    }

    fn one_of<T: Copy>(&mut self, name: &str, names: &[(&str, T)], shown: &str) -> Option<T> {
        let all: Vec<_> = names.iter().map(|(text, _)| format!("\"{text}\"")).collect();
        self.value(name, &all.join(", "), shown, |value| {
            let found = text(value)?;
            names.iter().find(|(text, _)| *text == found).map(|(_, choice)| *choice)
        })
    }

    pub(crate) fn text_optional(&mut self, name: &str) -> Option<String> {
        self.value(name, "a text", NONE, |value| text(value).map(str::to_owned))
    }

    /// A text that MQTT can carry as one string (§1.5.4).
    pub(crate) fn string_optional(&mut self, name: &str) -> Option<String> {
        self.value(name, "a text of 1 to 65,535 bytes", NONE, |value| {
            text(value).filter(|text| text.len() <= 65_535 && !text.contains('\0')).map(str::to_owned)
        })
    }

    pub(crate) fn id(&mut self, name: &str) -> Option<String> {
        self.id_value(name, REQUIRED)
    }

    pub(crate) fn id_or(&mut self, name: &str, default: &str) -> String {
        self.id_value(name, &format!("\"{default}\"")).unwrap_or_else(|| default.to_owned())
    }

    fn id_value(&mut self, name: &str, default: &str) -> Option<String> {
        self.value(name, "a text of 1 to 255 bytes", default, |value| {
            text(value).filter(|id| id.len() <= 255).map(str::to_owned)
        })
    }

    pub(crate) fn path(&mut self, name: &str, default: &str) -> PathBuf {
        let found = self.path_value(name, &format!("\"{default}\""));
        found.unwrap_or_else(|| default.into())
    }

    pub(crate) fn path_optional(&mut self, name: &str) -> Option<PathBuf> {
        self.path_value(name, NONE)
    }

    pub(crate) fn path_required(&mut self, name: &str) -> Option<PathBuf> {
        self.path_value(name, REQUIRED)
    }

    fn path_value(&mut self, name: &str, default: &str) -> Option<PathBuf> {
        let found: PathBuf = self.value(name, "a path", default, |value| text(value).map(PathBuf::from))?;
        Some(self.report.resolve(&join(&self.path, name), found))
    }

    /// What to log: levels, or targets with one, parted by commas.
    pub(crate) fn log_filter(&mut self, name: &str, default: &str) -> String {
        const ALLOWED: &str =
            "error, warn, info, debug, trace or off, or a list such as \"info,sealmq=debug\"";
        let found = self.value(name, ALLOWED, &format!("\"{default}\""), |value| {
            text(value).filter(|filter| is_log_filter(filter)).map(str::to_owned)
        });
        found.unwrap_or_else(|| default.to_owned())
    }

    /// A list of texts, empty by default; in the environment they are parted by commas.
    pub(crate) fn strings(&mut self, name: &str) -> Vec<String> {
        self.value(name, "a list of texts, none empty", "[]", value::strings).unwrap_or_default()
    }

    /// A list like `all`, each of its items made something of by `parse`, which answers `None` where one is
    /// not `allowed`.
    pub(crate) fn each_optional<T>(
        &mut self,
        name: &str,
        (all, allowed): (&str, &str),
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<Vec<T>> {
        let path = join(&self.path, name);
        let items = self.value(name, all, NONE, value::strings)?;
        // All of them are read before the first failure counts, so that each is reported.
        let parsed: Vec<_> = items
            .iter()
            .enumerate()
            .map(|(at, item)| {
                let parsed = parse(item);
                if parsed.is_none() {
                    self.report.wrong(&format!("{path}[{at}]"), &format!("{item:?}"), allowed);
                }
                parsed
            })
            .collect();
        parsed.into_iter().collect()
    }

    /// One topic filter or more.
    pub(crate) fn filters(&mut self, name: &str) -> Option<Vec<TopicFilter>> {
        const ALLOWED: &str = "a list of at least one topic filter";
        let items = self
            .value(name, ALLOWED, REQUIRED, |value| value::list(value).filter(|items| !items.is_empty()))?;
        let path = join(&self.path, name);
        // All of them are read before the first failure counts, so that each is reported.
        let filters: Vec<_> =
            items.iter().enumerate().map(|(at, item)| self.filter(item, &format!("{path}[{at}]"))).collect();
        filters.into_iter().collect()
    }

    fn filter(&mut self, item: &Value, path: &str) -> Option<TopicFilter> {
        let Some(found) = text(item) else {
            self.report.wrong(path, &shown(item), "a topic filter, a text with at least one character");
            return None;
        };
        // The error states the rule that was broken.
        found
            .parse()
            .map_err(|rule: FilterError| {
                self.report.add(path, &format!("found {}", shown(item)), &rule.to_string());
            })
            .ok()
    }

    /// `not_before` and `not_after`, in this order.
    pub(crate) fn validity(&mut self) -> (Option<u64>, Option<u64>) {
        let [start, end] = ["not_before", "not_after"].map(|name| {
            let allowed = "a time since 1970 with its zone, such as 2030-01-01T00:00:00Z";
            self.value(name, allowed, NONE, |value| unix_seconds(text(value)?))
        });
        if let (Some(start), Some(end)) = (start, end)
            && start >= end
        {
            let path = join(&self.path, "not_after");
            self.report.wrong(&path, "a time not after not_before", "a later one");
        }
        (start, end)
    }

    /// A table that always has a value: `[limits]`.
    pub(crate) fn section<T>(&mut self, name: &str, read: impl FnOnce(&mut Reader<'_>) -> T) -> T {
        let path = join(&self.path, name);
        self.report.know(&path, Form::Table, NONE, "");
        let table = self.table.remove(name);
        let table = table.and_then(|value| self.table(value, &path)).unwrap_or_default();
        self.nested(table, path, read)
    }

    /// A table that may be missing: `[listener.tls]`.
    pub(crate) fn table_optional<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Reader<'_>) -> Option<T>,
    ) -> Option<T> {
        let path = join(&self.path, name);
        self.report.know(&path, Form::Table, NONE, "");
        let table = match self.table.remove(name) {
            Some(value) => self.table(value, &path)?,
            None if self.report.is_learning() => Table::new(),
            None => return None,
        };
        self.nested(table, path, read)
    }

    /// A list of tables: `[[listener]]`.
    pub(crate) fn list<T>(&mut self, name: &str, read: impl Fn(&mut Reader<'_>) -> Option<T>) -> Vec<T> {
        let path = join(&self.path, name);
        self.report.know(&path, Form::List, NONE, "");
        if self.report.is_learning() {
            return self.nested(Table::new(), path, read).into_iter().collect();
        }
        let items = self.table.remove(name).map_or_else(Vec::new, |value| {
            value::list(&value).unwrap_or_else(|| {
                let allowed = format!("a list of tables, each headed by [[{name}]]");
                self.report.wrong(&path, &shown(&value), &allowed);
                Vec::new()
            })
        });
        let each = items.into_iter().enumerate().filter_map(|(at, item)| {
            let path = format!("{path}[{at}]");
            let table = self.table(item, &path)?;
            self.nested(table, path, &read)
        });
        each.collect()
    }

    fn nested<T>(&mut self, table: Table, path: String, read: impl FnOnce(&mut Reader<'_>) -> T) -> T {
        let mut reader = Reader::new(table, path, self.report);
        let read = read(&mut reader);
        reader.finish();
        read
    }

    fn table(&mut self, value: Value, path: &str) -> Option<Table> {
        if let ValueKind::Table(table) = value.kind {
            return Some(table.into_iter().collect());
        }
        self.report.wrong(path, &shown(&value), "a table");
        None
    }
}

/// `limits` and `connections_max` give `limits.connections_max`.
fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// `1 to 10,000`.
fn span(range: &RangeInclusive<u64>, print: impl Fn(u64) -> String) -> String {
    format!("{} to {}", print(*range.start()), print(*range.end()))
}
