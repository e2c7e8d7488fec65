//! What was meant by a key that does not exist.

use crate::report::{Form, Key};
use std::collections::BTreeSet;

/// How alike two names have to be, of 1, for one to be taken for the other.
const LIKENESS_MIN: f64 = 0.7;

/// What to say about an unknown key: the one that was meant, or those that are allowed there.
pub(crate) fn suggestion(path: &str, keys: &[Key]) -> String {
    if let Some(key) = meant(path, keys) {
        return format!("did you mean {}?", key.shown());
    }
    let path = without_indices(path);
    let table = path.rsplit_once('.').map_or("", |(table, _)| table);
    let here: Vec<_> = keys.iter().filter(|key| key.table() == table).map(Key::name).collect();
    format!("allowed here: {}", here.join(", "))
}

/// The key of the same name in another table, else the one whose table runs into its name so, as where one
/// underscore is missing in a variable; else the likest in the same table, else the likest anywhere.
pub(crate) fn meant<'k>(path: &str, keys: &'k [Key]) -> Option<&'k Key> {
    let path = without_indices(path);
    let (table, name) = path.rsplit_once('.').unwrap_or(("", &path));
    let here = || keys.iter().filter(|key| key.table() == table);
    only(keys.iter().filter(|key| key.name() == name))
        .or_else(|| keys.iter().find(|key| format!("{}_{}", key.table(), key.name()) == name))
        .or_else(|| {
            nearest(name, here().map(Key::name)).and_then(|near| here().find(|key| key.name() == near))
        })
        .or_else(|| {
            nearest(name, keys.iter().map(Key::name))
                .and_then(|near| only(keys.iter().filter(|key| key.name() == near)))
        })
}

/// The likest of `names`, if one is like enough.
pub(crate) fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let scored = names.map(|candidate| (likeness(name, candidate), candidate));
    let best = scored.max_by(|(one, _), (other, _)| one.total_cmp(other));
    best.filter(|(score, _)| *score >= LIKENESS_MIN).map(|(_, candidate)| candidate)
}

fn only<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    items.next().filter(|_| items.next().is_none())
}

/// 1 for the same letters, less for each that differs; `max_connections` is as good as `connections_max`.
fn likeness(one: &str, other: &str) -> f64 {
    let words =
        |name: &str| name.split('_').collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join("_");
    let as_written = strsim::normalized_damerau_levenshtein(one, other);
    as_written.max(strsim::normalized_damerau_levenshtein(&words(one), &words(other)))
}

/// `listener[1].tls` gives `listener.tls`.
fn without_indices(path: &str) -> String {
    let mut depth = 0_usize;
    let kept = path.chars().filter(|c| match c {
        '[' => {
            depth += 1;
            false
        }
        ']' => {
            depth = depth.saturating_sub(1);
            false
        }
        _ => depth == 0,
    });
    kept.collect()
}

impl Key {
    fn table(&self) -> &str {
        self.path.rsplit_once('.').map_or("", |(table, _)| table)
    }

    fn name(&self) -> &str {
        self.path.rsplit_once('.').map_or(&self.path, |(_, name)| name)
    }

    /// As an operator would write it: `mqtt.allow_mqtt31`, `[limits]`, `[[listener]]`.
    fn shown(&self) -> String {
        match self.form {
            Form::Value => self.path.clone(),
            Form::Table => format!("[{}]", self.path),
            Form::List => format!("[[{}]]", self.path),
        }
    }
}
