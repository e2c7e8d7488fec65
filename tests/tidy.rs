//! The rules of the sources that a machine can check, over the whole workspace.
//!
//! Each test is one rule; on a breach it prints every place, as `file:line`. Words that are forbidden are
//! put together here from parts, so that this file does not break its own rules.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// The folders of the workspace that hold sources.
const CRATES: [&str; 6] = ["protocol", "crypto", "config", "broker", "tests", "docs/clients/rust"];
/// Folders whose code has no I/O, no clock and no task.
const CORE: [&str; 5] =
    ["broker/src/session/", "broker/src/ingress/", "broker/src/router/", "protocol/src/", "crypto/src/"];
/// What such code does not say.
const CORE_FORBIDS: [&str; 8] =
    ["async ", ".await", "tokio::", "std::net", "std::fs", "Instant::now", "SystemTime::now", "std::thread"];
const LINES_MAX: usize = 500;

/// One source file: its path from the root of the workspace, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// Numbered lines.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(n, line)| (n + 1, line))
    }

    /// Numbered lines of what ships: without comments, and without tests, which stand last.
    fn code(&self) -> Vec<(usize, &str)> {
        if ["/tests/", "/tests.rs", "/examples/"].iter().any(|part| self.path.contains(part)) {
            return Vec::new();
        }
        let mut lines: Vec<_> = self.lines().collect();
        let opens_tests = |pair: &[(usize, &str)]| {
            pair[0].1 == "#[cfg(test)]" && pair[1].1.starts_with("mod ") && pair[1].1.ends_with('{')
        };
        if let Some(tests) = lines.windows(2).position(opens_tests) {
            lines.truncate(tests);
        }
        lines.retain(|(_, line)| !line.trim_start().starts_with("//"));
        lines
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every source file of the workspace, in the order of paths.
fn sources() -> Vec<Source> {
    let mut folders: Vec<PathBuf> = CRATES.iter().map(|name| root().join(name)).collect();
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                // What fuzzing has built is no source of ours.
                if !path.ends_with("target") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                found.push(Source { path, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.len() > 50, "the sources are not where they are looked for");
    found
}

/// Fails with every breach, if there is one.
#[track_caller]
fn assert_none(rule: &str, breaches: impl IntoIterator<Item = String>) {
    let mut list = String::new();
    for breach in breaches {
        writeln!(list, "  {breach}").unwrap();
    }
    assert!(list.is_empty(), "{rule}:\n{list}");
}

#[test]
fn files_have_at_most_500_lines() {
    let long = sources().into_iter().filter(|source| source.text.lines().count() > LINES_MAX);
    assert_none("split these files", long.map(|source| source.path));
}

#[test]
fn files_begin_with_a_description() {
    let bare = sources().into_iter().filter(|source| !source.text.starts_with("//! "));
    assert_none("say in `//!` what these files own", bare.map(|source| source.path));
}

#[test]
fn core_folders_have_no_io_and_no_clock() {
    let all = sources();
    let core = all.iter().filter(|source| CORE.iter().any(|folder| source.path.starts_with(folder)));
    let breaches = core.flat_map(|source| {
        source.code().into_iter().filter_map(|(n, line)| {
            let word = CORE_FORBIDS.iter().find(|word| line.contains(**word))?;
            Some(format!("{}:{n}: {word}", source.path))
        })
    });
    assert_none("this belongs into the shell", breaches);
}

#[test]
fn only_the_codec_uses_the_codec_underneath() {
    let name = concat!("mqtt", "bytes");
    let others = sources().into_iter().filter(|source| !source.path.starts_with("protocol/src/codec"));
    // rumqttc, a foreign client of the tests, has a module of that name.
    let foreign = concat!("rumqttc::v5::mqtt", "bytes");
    let uses =
        |line: &str| line.contains(name) && !line.contains(foreign) && !line.trim_start().starts_with("//");
    let breaches = others.filter(|source| source.text.lines().any(uses)).map(|source| source.path);
    assert_none("only protocol/src/codec may know it", breaches);
}

#[test]
fn no_markers_are_left() {
    let markers = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("db", "g!("),
    ];
    let all = sources();
    let breaches = all.iter().flat_map(|source| {
        source.lines().filter_map(|(n, line)| {
            let marker = markers.iter().find(|marker| line.contains(**marker))?;
            Some(format!("{}:{n}: {marker}", source.path))
        })
    });
    assert_none("finish these", breaches);
}

#[test]
fn no_module_has_a_name_that_says_nothing() {
    let nothing = [
        "util", "utils", "common", "helper", "helpers", "manager", "managers", "handler", "handlers",
        "types", "misc",
    ];
    let breaches = sources().into_iter().filter(|source| {
        let path = source.path.trim_end_matches(".rs");
        path.split('/').any(|part| nothing.contains(&part))
            || nothing.iter().any(|name| {
                source.text.contains(&format!("mod {name} {{"))
                    || source.text.contains(&format!("mod {name};"))
            })
    });
    assert_none("name these for what they hold", breaches.map(|source| source.path));
}

#[test]
fn tests_do_not_sleep() {
    let sleeps = [concat!("thread::", "sleep"), concat!("time::", "sleep")];
    let tests: Vec<_> = sources().into_iter().filter(|source| source.path.starts_with("tests/")).collect();
    let breaches = tests.iter().flat_map(|source| {
        source
            .lines()
            .filter(|(_, line)| sleeps.iter().any(|sleep| line.contains(sleep)))
            .map(|(n, _)| format!("{}:{n}", source.path))
    });
    assert_none("await an event instead", breaches);
}

#[test]
fn no_secret_place_of_a_machine_is_named() {
    let places = [concat!("/ho", "me/"), concat!("/tm", "p/"), concat!("/ro", "ot/")];
    let breaches = sources().into_iter().flat_map(|source| {
        let lines: Vec<_> =
            source.lines().filter(|(_, line)| places.iter().any(|p| line.contains(p))).collect();
        lines.into_iter().map(|(n, _)| format!("{}:{n}", source.path)).collect::<Vec<_>>()
    });
    assert_none("paths of one machine", breaches);
}

/// The first block of `docs/architecture.md` that is marked `text` is the tree: folders by indentation,
/// each line's names of files in front of what it says of them.
#[test]
fn tree_in_the_architecture_is_true() {
    let document = read("docs/architecture.md");
    let tree = document.split("```text").nth(1).expect("a block marked text").split("```").next().unwrap();
    let named = files_of_tree(tree);
    let real: BTreeSet<String> = sources().into_iter().map(|source| source.path).collect();
    let missing = named.difference(&real).map(|path| format!("named and not there: {path}"));
    let unnamed = real.difference(&named).map(|path| format!("there and not named: {path}"));
    assert_none("docs/architecture.md", missing.chain(unnamed));
}

fn files_of_tree(tree: &str) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    let mut folders: Vec<(usize, String)> = Vec::new();
    for line in tree.lines().filter(|line| !line.trim().is_empty()) {
        let depth = line.len() - line.trim_start().len();
        // A continued description stands far to the right of any name.
        if depth > 16 {
            continue;
        }
        folders.retain(|(other, _)| *other < depth);
        let folder =
            |folders: &[(usize, String)]| folders.iter().map(|(_, name)| name.as_str()).collect::<String>();
        let mut here = folder(&folders);
        for word in line.split_whitespace() {
            let word = word.trim_matches(|c: char| ",;:()".contains(c));
            if word.ends_with('/') {
                folders.push((depth, word.to_owned()));
                here = folder(&folders);
            } else if Path::new(word).extension().is_some_and(|extension| extension == "rs") {
                files.insert(format!("{here}{word}"));
            }
        }
    }
    files
}

/// A test of the conformance chapter: `file::function`, or `v5/file::function`, with the description above
/// it.
fn conformance_tests() -> BTreeMap<String, String> {
    let mut tests = BTreeMap::new();
    for source in sources() {
        let Some(file) = source.path.strip_prefix("tests/conformance/") else { continue };
        let file = file.trim_end_matches(".rs");
        let mut description = String::new();
        let mut is_test = false;
        for line in source.text.lines() {
            if let Some(text) = line.strip_prefix("/// ") {
                description = format!("{description} {text}");
            } else if line == "#[test]" {
                is_test = true;
            } else if let Some(name) = line.strip_prefix("fn ").filter(|_| is_test) {
                let name = name.split('(').next().unwrap();
                let name = format!("{file}::{name}");
                tests.insert(name, std::mem::take(&mut description));
                is_test = false;
            } else if !line.starts_with("#[") {
                description.clear();
            }
        }
    }
    tests
}

/// What stands between backticks and looks like `file::function`, in a folder or not.
fn tests_named_in(text: &str) -> impl Iterator<Item = String> {
    let name = |word: &str| word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    let file = move |word: &str| word.split('/').all(name);
    let is_test =
        move |word: &&str| word.split_once("::").is_some_and(|(path, test)| file(path) && name(test));
    text.split('`').skip(1).step_by(2).filter(is_test).map(str::to_owned)
}

#[test]
fn conformance_document_names_every_test_and_no_other() {
    let document = read("docs/conformance.md");
    let named: BTreeSet<String> = tests_named_in(&document).collect();
    let real: BTreeSet<String> = conformance_tests().into_keys().collect();
    let missing = named.difference(&real).map(|test| format!("named and not there: {test}"));
    let unnamed = real.difference(&named).map(|test| format!("there and not named: {test}"));
    assert_none("docs/conformance.md", missing.chain(unnamed));
}

/// The two parts of the document. The same numbers mean other statements in MQTT 3.1.1 and in MQTT 5, so a
/// row of one part belongs to tests of that version alone.
fn conformance_parts(document: &str) -> [(&str, bool); 2] {
    let (old, new) = document.split_once("\n## MQTT 5\n").expect("a part about MQTT 5");
    [(old, false), (new, true)]
}

#[test]
fn conformance_document_keeps_the_versions_apart() {
    let document = read("docs/conformance.md");
    let astray = conformance_parts(&document)
        .into_iter()
        .flat_map(|(part, is_v5)| tests_named_in(part).filter(move |test| test.starts_with("v5/") != is_v5));
    assert_none("these stand in the part of the other version", astray);
}

#[test]
fn conformance_document_gives_each_test_the_clauses_that_it_claims() {
    let document = read("docs/conformance.md");
    let tests = conformance_tests();
    let mut breaches = Vec::new();
    let mut given: BTreeSet<(String, String)> = BTreeSet::new();
    for row in document.lines().filter(|line| line.starts_with("| [MQTT-")) {
        let clause = row.trim_start_matches("| ").split_once(' ').unwrap().0.to_owned();
        given.extend(tests_named_in(row).map(|test| (clause.clone(), test)));
    }
    for (test, description) in &tests {
        for clause in description.split('[').skip(1).filter_map(|part| part.split(']').next()) {
            let pair = (format!("[{clause}]"), test.clone());
            if clause.starts_with("MQTT-") && !given.remove(&pair) {
                breaches.push(format!("{test} claims {clause}, which the document does not say"));
            }
        }
    }
    breaches.extend(given.iter().map(|(clause, test)| format!("{test} does not claim {clause}")));
    assert_none("docs/conformance.md", breaches);
}

#[test]
fn conformance_document_has_each_statement_once_and_in_order() {
    let document = read("docs/conformance.md");
    let number = |row: &str| -> Vec<u32> {
        let number = row.trim_start_matches("| [MQTT-").split_once(']').unwrap().0;
        number.split(['.', '-']).map(|part| part.parse().unwrap()).collect()
    };
    let astray = conformance_parts(&document).into_iter().flat_map(|(part, _)| {
        let rows: Vec<&str> = part.lines().filter(|line| line.starts_with("| [MQTT-")).collect();
        let bad = |pair: &&[&str]| number(pair[0]) >= number(pair[1]);
        rows.windows(2).filter(bad).map(|pair| pair[1].chars().take(40).collect()).collect::<Vec<String>>()
    });
    assert_none("put these rows where their numbers belong", astray);
}
