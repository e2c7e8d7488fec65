//! Puts tables into a Markdown file, between marks: `<!-- study: NAME -->` and `<!-- /study -->`.
//!
//! What stands between them is replaced; everything else stays. A mark that is not closed, or names a table
//! that there is not, is an error, and the file stays as it was.

use anyhow::{Context, Result, bail};
use std::fmt::Write;
use std::path::Path;

const OPEN: &str = "<!-- study: ";
const CLOSE: &str = "<!-- /study -->";

/// Replaces what stands between the marks of a file.
pub(crate) fn fill(file: &Path, tables: &[(&'static str, String)]) -> Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let filled = filled(&text, tables).with_context(|| file.display().to_string())?;
    std::fs::write(file, filled).with_context(|| format!("cannot write {}", file.display()))
}

fn filled(text: &str, tables: &[(&'static str, String)]) -> Result<String> {
    let mut parts = text.split(OPEN);
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once(" -->").context("a mark has no end")?;
        let Some((_, after)) = rest.split_once(CLOSE) else { bail!("{name} is not closed by {CLOSE}") };
        let Some((_, table)) = tables.iter().find(|(table, _)| *table == name) else {
            let known: Vec<&str> = tables.iter().map(|(name, _)| *name).collect();
            bail!("there is no table {name}, only {}", known.join(", "));
        };
        write!(filled, "{OPEN}{name} -->\n{}\n{CLOSE}{after}", table.trim_end())?;
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables() -> Vec<(&'static str, String)> {
        vec![("one", "| new |\n".to_owned()), ("two", "other".to_owned())]
    }

    #[test]
    fn what_stands_between_marks_is_replaced_and_again() {
        let text =
            "# A\n<!-- study: one -->\nold\n<!-- /study -->\nB\n<!-- study: two --><!-- /study -->\nC\n";
        let expected = "# A\n<!-- study: one -->\n| new |\n<!-- /study -->\nB\n<!-- study: two -->\nother\n\
                        <!-- /study -->\nC\n";
        assert_eq!(filled(text, &tables()).unwrap(), expected);
        assert_eq!(filled(expected, &tables()).unwrap(), expected);
    }

    #[test]
    fn broken_marks_change_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("study.md");
        for text in ["<!-- study: one -->\nopen", "<!-- study: three --><!-- /study -->"] {
            std::fs::write(&file, text).unwrap();
            assert!(fill(&file, &tables()).is_err(), "{text}");
            assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
        }
    }
}
