//! The environment's share: which variables are ours, and which key each of them sets.
//!
//! `SEALMQ_` in front, levels parted by two underscores, all in capitals. A variable that begins so and
//! sets no key is a problem, as an unknown key in the file is one.

use crate::report::{Form, Key, Report};
use crate::unknown::{meant, nearest};

/// What each variable of ours begins with, without the underscore.
pub(crate) const PREFIX: &str = "SEALMQ";
/// What parts the levels of a key.
pub(crate) const SEPARATOR: &str = "__";

/// The variable that sets a key: `limits.connections_max` gives `SEALMQ_LIMITS__CONNECTIONS_MAX`.
pub(crate) fn variable(path: &str) -> String {
    format!("{PREFIX}_{}", path.replace('.', SEPARATOR).to_uppercase())
}

/// The variables that set a key. Others of ours are reported; those that Kubernetes makes are passed over.
pub(crate) fn overrides(
    env: impl Iterator<Item = (String, String)>,
    report: &mut Report,
) -> Vec<(String, String)> {
    let mut ours: Vec<_> = env.filter(|(name, _)| is_ours(name)).collect();
    ours.sort();
    ours.retain(|(name, _)| {
        let key = report.keys.iter().find(|key| key.variable().as_ref() == Some(name));
        let Some(path) = key.map(|key| key.path.clone()) else {
            unknown(name, report);
            return false;
        };
        report.variables.insert(path, name.clone());
        true
    });
    ours
}

fn is_ours(name: &str) -> bool {
    name.strip_prefix(PREFIX).is_some_and(|rest| rest.starts_with('_')) && !is_service_link(name)
}

/// Kubernetes tells every pod where a service named `sealmq` or `sealmq-...` is, by variables such as
/// `SEALMQ_SERVICE_HOST` and `SEALMQ_PORT_1883_TCP_ADDR`. No key has such a name.
fn is_service_link(name: &str) -> bool {
    !name.contains(SEPARATOR)
        && (name.contains("_SERVICE_HOST")
            || name.contains("_SERVICE_PORT")
            || name.ends_with("_PORT")
            || ["_TCP", "_UDP", "_SCTP"].iter().any(|protocol| {
                name.split_once("_PORT_").is_some_and(|(_, rest)| {
                    rest.starts_with(|c: char| c.is_ascii_digit()) && rest.contains(protocol)
                })
            }))
}

fn unknown(name: &str, report: &mut Report) {
    let path = name.trim_start_matches(PREFIX).trim_start_matches('_').to_lowercase();
    let root = path.split(SEPARATOR).next().unwrap_or_default();
    let is_list = report.keys.iter().any(|key| key.form == Form::List && key.path == root);
    if is_list {
        report.add_variable(name, "unknown variable", &format!("[[{root}]] can only stand in a file"));
        return;
    }
    let by_name = meant(&path.replace(SEPARATOR, "."), &report.keys).and_then(Key::variable);
    let variables: Vec<_> = report.keys.iter().filter_map(Key::variable).collect();
    let likest = || nearest(&name.to_uppercase(), variables.iter().map(String::as_str)).map(str::to_owned);
    let advice = match by_name.or_else(likest) {
        Some(variable) => format!("did you mean {variable}?"),
        None => "allowed: SEALMQ_DATA_DIR, or SEALMQ_<TABLE>__<KEY> for a key of a table".to_owned(),
    };
    report.add_variable(name, "unknown variable", &advice);
}
