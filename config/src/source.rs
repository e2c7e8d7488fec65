//! The file as text: its name, its folder, and the line on which each key stands.
//!
//! The `config` crate reads the values; it keeps no places and does not say which number was too large,
//! so this does, and first.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::de::{DeInteger, DeTable, DeValue};

/// A configuration file that was read.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: String,
    /// What relative paths in it are relative to.
    pub(crate) folder: PathBuf,
    pub(crate) text: String,
    lines: BTreeMap<String, usize>,
}

/// Something that keeps a file from being read at all.
#[derive(Debug, Default)]
pub(crate) struct Flaw {
    pub(crate) line: usize,
    pub(crate) column: Option<usize>,
    pub(crate) key: Option<String>,
    pub(crate) found: String,
    pub(crate) allowed: String,
}

impl Source {
    /// Reads the file and notes the line of each key. The flaws are: no file, no TOML, integers beyond
    /// 64 bits, and names at the top with dots or brackets in them, which the `config` crate would take
    /// for paths.
    pub(crate) fn read(path: &Path) -> (Self, Vec<Flaw>) {
        let name = path.display().to_string();
        let mut source = Self { name, folder: folder(path), text: String::new(), lines: BTreeMap::new() };
        let mut flaws = Vec::new();
        match std::fs::read_to_string(path) {
            Ok(text) => {
                let mut scan = Scan { text: &text, lines: &mut source.lines, flaws: &mut flaws };
                scan.file();
                source.text = text;
            }
            Err(error) => {
                let allowed = "allowed: a readable TOML file in UTF-8".to_owned();
                flaws.push(Flaw { found: error.to_string(), allowed, ..Flaw::default() });
            }
        }
        (source, flaws)
    }

    /// Whether the file has a key.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.lines.contains_key(path)
    }

    /// The line of a key or, where it is missing, of the table around it; 0 if that is missing as well.
    pub(crate) fn line(&self, path: &str) -> usize {
        let mut path = path;
        loop {
            if let Some(line) = self.lines.get(path) {
                return *line;
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = path.get(..end).unwrap_or_default(),
                None => return 0,
            }
        }
    }
}

/// Files that are no files, such as `/dev/stdin`, stand in the current folder.
fn folder(path: &Path) -> PathBuf {
    let special = path.starts_with("/dev") || path.starts_with("/proc") || !path.is_file();
    match path.parent() {
        Some(folder) if !special => folder.to_path_buf(),
        _ => PathBuf::new(),
    }
}

/// One walk through a file.
struct Scan<'s> {
    text: &'s str,
    lines: &'s mut BTreeMap<String, usize>,
    flaws: &'s mut Vec<Flaw>,
}

impl Scan<'_> {
    fn file(&mut self) {
        match DeTable::parse(self.text) {
            Ok(root) => {
                for key in root.get_ref().keys().filter(|key| key.get_ref().contains(['.', '[', ']'])) {
                    self.odd_name(key.get_ref(), key.span());
                }
                self.table("", root.get_ref());
            }
            Err(error) => {
                let (line, column) = error.span().map_or((0, 0), |span| self.position(span.start));
                let found = format!("no TOML: {}", error.message().replace('\n', ", "));
                let column = (line > 0).then_some(column);
                self.flaws.push(Flaw { line, column, found, ..Flaw::default() });
            }
        }
    }

    fn table(&mut self, path: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let name = key.get_ref();
            let path = if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
            self.value(&path, key.span(), value.get_ref());
        }
    }

    fn value(&mut self, path: &str, span: Range<usize>, value: &DeValue<'_>) {
        let (line, _) = self.position(span.start);
        self.lines.insert(path.to_owned(), line);
        match value {
            DeValue::Table(table) => self.table(path, table),
            DeValue::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    self.value(&format!("{path}[{at}]"), item.span(), item.get_ref());
                }
            }
            DeValue::Integer(integer) => self.integer(path, line, integer),
            DeValue::String(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
        }
    }

    fn integer(&mut self, path: &str, line: usize, integer: &DeInteger<'_>) {
        if i64::from_str_radix(integer.as_str(), integer.radix()).is_err() {
            let found = format!("found {integer}");
            let allowed = "allowed: integers of 64 bits".to_owned();
            self.flaws.push(Flaw { line, column: None, key: Some(path.to_owned()), found, allowed });
        }
    }

    fn odd_name(&mut self, name: &str, span: Range<usize>) {
        let (line, _) = self.position(span.start);
        let allowed = "allowed: names without dots and brackets in quotes".to_owned();
        self.flaws.push(Flaw {
            line,
            column: None,
            key: Some(name.to_owned()),
            found: "unknown key".to_owned(),
            allowed,
        });
    }

    /// Line and column, both from 1.
    fn position(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        let column = before.get(start..).unwrap_or_default().chars().count() + 1;
        (before.matches('\n').count() + 1, column)
    }
}
