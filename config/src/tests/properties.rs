//! Any text at all: an answer, never a panic.

use super::{File, load_env};
use crate::load::keys;
use crate::units::ByteSize;
use proptest::prelude::*;

/// Lines that are nearly right: a known or odd key with a value of some kind.
fn line() -> impl Strategy<Value = String> {
    let paths: Vec<String> = keys().into_iter().map(|key| key.path).collect();
    let key = prop_oneof![proptest::sample::select(paths), "[a-z_.\"\\[\\]0-9]{1,12}"];
    let value = prop_oneof![
        "-?[0-9]{1,20}",
        "\"[ -~]{0,12}\"",
        Just("true".to_owned()),
        Just("[]".to_owned()),
        Just("[\"a/#\", 1]".to_owned()),
        Just("{}".to_owned()),
        Just("[{}, 2]".to_owned()),
        Just("2030-01-01T00:00:00Z".to_owned()),
        Just("nan".to_owned()),
    ];
    prop_oneof![
        8 => (key.clone(), value).prop_map(|(key, value)| format!("{key} = {value}\n")),
        1 => key.clone().prop_map(|key| format!("[{key}]\n")),
        1 => key.prop_map(|key| format!("[[{key}]]\n")),
        1 => "\\PC{0,20}\n",
    ]
}

proptest! {
    #[test]
    fn no_file_causes_a_panic(lines in proptest::collection::vec(line(), 0..6)) {
        if let Err(error) = File::new(&lines.concat()).load(&[]) {
            prop_assert!(!error.problems().is_empty());
            prop_assert_eq!(error.to_string().lines().count(), error.problems().len());
        }
    }

    #[test]
    fn no_variable_causes_a_panic(name in "SEALMQ_[A-Z_0-9.\\[\\]é]{0,20}", value in "\\PC{0,12}") {
        if let Err(error) = load_env(&[(&name, &value)]) {
            prop_assert!(!error.problems().is_empty());
        }
    }

    #[test]
    fn a_printed_size_reads_back_or_is_grouped_bytes(bytes: u64) {
        let printed = ByteSize(bytes).to_string().replace(',', "");
        prop_assert_eq!(printed.parse(), Ok(ByteSize(bytes)));
    }
}
