//! The documentation says what the code does.

use super::File;
use crate::load::keys;
use crate::report::Form;

const DOCS: &str = include_str!("../../../docs/configuration.md");

#[test]
fn every_key_is_documented_under_its_heading_with_default_and_range() {
    let missing: Vec<_> = keys()
        .iter()
        .filter(|key| key.form == Form::Value)
        .map(|key| (key, format!("| `{}` | `{}` | {} | ", key.path, key.default, key.allowed)))
        .filter(|(key, row)| !section_of(&key.path).lines().any(|line| line.starts_with(row)))
        .map(|(_, row)| row)
        .collect();
    assert!(missing.is_empty(), "docs/configuration.md lacks:\n{}", missing.join("\n"));
}

/// What stands under the heading of the table that a key is in.
fn section_of(path: &str) -> &'static str {
    let (_, tables) = DOCS.split_once("\n## Keys").unwrap();
    let heading = match path.split_once('.') {
        None => "\n### Top level\n".to_owned(),
        Some((table, _)) if tables.contains(&format!("\n### `[[{table}]]`\n")) => {
            format!("\n### `[[{table}]]`\n")
        }
        Some((table, _)) => format!("\n### `[{table}]`\n"),
    };
    let (_, rest) = tables.split_once(&heading).unwrap_or_else(|| panic!("no section{heading}"));
    rest.split("\n### ").next().unwrap()
}

#[test]
fn nothing_else_is_documented() {
    let keys = keys();
    let (_, tables) = DOCS.split_once("\n## Keys").unwrap();
    for row in tables.lines().filter(|line| line.starts_with("| `")) {
        let path = row.split('`').nth(1).unwrap();
        assert!(keys.iter().any(|key| key.path == path), "there is no key {path}");
    }
    for key in keys.iter().filter(|key| key.form != Form::Value && !key.path.contains('.')) {
        let heading = match key.form {
            Form::List => format!("\n### `[[{}]]`\n", key.path),
            Form::Table | Form::Value => format!("\n### `[{}]`\n", key.path),
        };
        assert!(tables.contains(&heading), "no section{heading}");
    }
}

#[test]
fn the_documented_example_loads() {
    let (_, rest) = DOCS.split_once("```toml\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let config = File::new(example).load(&[]).unwrap();
    assert_eq!(config.acl.len(), 4);
}

#[test]
fn the_documented_variables_are_read() {
    let rows = DOCS.lines().filter_map(|line| line.strip_prefix("| `SEALMQ_"));
    let env: Vec<_> = rows
        .map(|row| row.split_once('`').unwrap().0.split_once('=').unwrap())
        .map(|(name, value)| (format!("SEALMQ_{name}"), value.trim_matches('"').to_owned()))
        .collect();
    assert_eq!(env.len(), 5);
    let file = super::with_listener("auth.password_file = \"passwd\"");
    crate::Config::load(Some(&file.path("sealmq.toml")), env.into_iter()).unwrap();
}

#[test]
fn the_documented_problems_are_printed_so() {
    let file = File::new(
        "data_dir = \"d\"\n\n[[listener]]\nbind = \"127.0.0.1:1883\"\n\n\n\n[limits]\nconnections_max = 0\n\n\nallow_mqtt31 = true\n",
    );
    let error = file.load(&[("SEALMQ_TELEMETRY__LOG", "loud")]).unwrap_err();
    let (_, rest) = DOCS.split_once("```text\n").unwrap();
    let (documented, _) = rest.split_once("\n```").unwrap();
    let folder = format!("{}/", file.path("").display()).replace("//", "/");
    assert_eq!(error.to_string().replace(&folder, ""), documented);
}
