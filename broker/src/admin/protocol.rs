//! What goes over the admin socket: a JSON line that asks, and one that answers. Used by both sides.
//!
//! ```text
//! {"version":1,"ask":{"enrol":{"entries":[{"kind":"sender","id":"dev-7","key":"...","topics":["plant/7/#"]}],"replace":false}}}
//! {"version":1,"answer":{"done":{"changed":1,"unchanged":0,"kept":"yes","warnings":[]}}}
//! ```
//!
//! Always holds: a line of another version is told from one that makes no sense; keys are wiped, and are not
//! shown by `Debug`.

use crate::enrolment::{Kind, Name, What};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use zeroize::Zeroizing;

/// The version that both sides speak.
pub(crate) const VERSION: u32 = 1;
/// Entries in one answer to [`Ask::List`].
pub(crate) const PAGE: usize = 1_000;
/// The longest answer that is read; a page is far shorter, unless its entries have very many topics.
pub(crate) const ANSWER_BYTES_MAX: usize = 256 << 20;

/// What every line begins with; read before the rest of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct Versioned {
    /// Of the protocol.
    pub(crate) version: u32,
}

/// A line that asks.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    /// Of the protocol.
    pub(crate) version: u32,
    /// For what.
    pub(crate) ask: Ask,
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Ask {
    /// Enrol all of these, or none.
    Enrol {
        /// Each name once.
        entries: Vec<EntryLine>,
        /// Whether they may take the place of what is there.
        replace: bool,
    },
    /// Do this with all of these, or with none.
    Change {
        /// What.
        what: WhatWord,
        /// With which.
        names: Vec<NameLine>,
    },
    /// Say who is enrolled, in order: those behind a name.
    List {
        /// Which; none for the first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<NameLine>,
    },
}

/// A sender or a topic key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NameLine {
    /// Of what kind.
    pub(crate) kind: Kind,
    /// Its id.
    pub(crate) id: String,
}

/// [`What`], as a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum WhatWord {
    /// See [`What::Disable`].
    Disable,
    /// See [`What::Enable`].
    Enable,
    /// See [`What::Remove`].
    Remove,
    /// See [`What::Reset`].
    Reset,
}

impl From<WhatWord> for What {
    fn from(word: WhatWord) -> Self {
        match word {
            WhatWord::Disable => Self::Disable,
            WhatWord::Enable => Self::Enable,
            WhatWord::Remove => Self::Remove,
            WhatWord::Reset => Self::Reset,
        }
    }
}

/// Somebody to be enrolled.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EntryLine {
    /// Of what kind.
    pub(crate) kind: Kind,
    /// Its id.
    pub(crate) id: String,
    /// A JWK or a `COSE_Key`, in base64.
    pub(crate) key: KeyText,
    /// Of a sender: `client-id` or `user`, on whose connection its stamps count alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bind: Option<String>,
    /// Topic filters.
    pub(crate) topics: Vec<String>,
    /// Seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) not_before: Option<u64>,
    /// Seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) not_after: Option<u64>,
}

/// A key as text. Of letters that JSON does not escape, so that no reader makes another copy of it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct KeyText(pub(crate) Zeroizing<String>);

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyText")
    }
}

impl Serialize for KeyText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for KeyText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // What serde would say of something else could repeat it.
        let text =
            String::deserialize(deserializer).map_err(|_| D::Error::custom("a key that is no text"))?;
        Ok(Self(Zeroizing::new(text)))
    }
}

/// A line that answers.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reply {
    /// Of the protocol.
    pub(crate) version: u32,
    /// What there is to say.
    pub(crate) answer: Answer,
}

/// What is answered.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Answer {
    /// All of it is in force.
    Done {
        /// How much has changed.
        changed: usize,
        /// How much was so already.
        unchanged: usize,
        /// Whether it outlives the process.
        kept: Kept,
        /// What an operator should know.
        warnings: Vec<String>,
    },
    /// A page of those who are enrolled.
    Listed {
        /// In their order.
        entries: Vec<ListedLine>,
        /// Whether there are more behind the last.
        more: bool,
    },
    /// Nothing of it was done.
    Refused(String),
}

/// Whether a change outlives the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kept {
    /// As durably as the configuration says.
    Yes,
    /// Not yet: the store has no room, or takes its time.
    NotYet,
    /// It does not, since nothing does: `storage.durability` is `memory`.
    Memory,
}

/// Somebody who is enrolled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListedLine {
    /// Of what kind.
    pub(crate) kind: Kind,
    /// Its id.
    pub(crate) id: String,
    /// Whether it is disabled.
    pub(crate) disabled: bool,
    /// Whether the configuration has it; then that counts.
    pub(crate) configured: bool,
    /// Whether it was enrolled at run time.
    pub(crate) run_time: bool,
    /// Where it holds.
    pub(crate) topics: Vec<String>,
    /// Seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) not_before: Option<u64>,
    /// Seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) not_after: Option<u64>,
    /// Of a sender: what binds its stamps to a connection, by the configuration's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bind: Option<String>,
    /// When something was said of it at run time, milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) changed_ms: Option<u64>,
}

impl NameLine {
    /// The name, if it can be one.
    pub(crate) fn name(&self) -> Option<Name> {
        Name::new(self.kind, &self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKS: &str = concat!(
        r#"{"version":1,"ask":{"enrol":{"entries":[{"kind":"sender","id":"dev-7","key":"c2VjcmV0","#,
        r#""bind":"client-id","topics":["plant/#"],"not_after":9}],"replace":true}}}"#
    );

    #[test]
    fn lines_are_as_they_are_documented() {
        let request: Request = serde_json::from_str(ASKS).unwrap();
        assert_eq!(serde_json::to_string(&request).unwrap(), ASKS);
        let shown = format!("{request:?}");
        assert!(!shown.contains("c2VjcmV0"), "{shown}");
        let listing = r#"{"version":1,"ask":{"list":{"after":{"kind":"sender","id":"dev-7"}}}}"#;
        let request: Request = serde_json::from_str(listing).unwrap();
        assert_eq!(serde_json::to_string(&request).unwrap(), listing);
        let change =
            r#"{"version":1,"ask":{"change":{"what":"disable","names":[{"kind":"sender","id":"a"}]}}}"#;
        let request: Request = serde_json::from_str(change).unwrap();
        assert_eq!(serde_json::to_string(&request).unwrap(), change);
        let done = concat!(
            r#"{"version":1,"answer":{"done":{"changed":1,"unchanged":0,"kept":"not-yet","#,
            r#""warnings":["w"]}}}"#
        );
        let reply: Reply = serde_json::from_str(done).unwrap();
        assert_eq!(serde_json::to_string(&reply).unwrap(), done);
    }

    #[test]
    fn errors_do_not_repeat_a_key() {
        for line in [
            ASKS.replace("\"c2VjcmV0\"", "[\"c2VjcmV0\"]"),
            ASKS.replace("\"c2VjcmV0\"", "{\"d\":\"c2VjcmV0\"}"),
            ASKS.replace("\"key\":", "\"kex\":"),
        ] {
            let error = serde_json::from_str::<Request>(&line).unwrap_err().to_string();
            assert!(!error.contains("c2VjcmV0"), "{error}");
        }
    }

    #[test]
    fn another_version_is_known_for_one() {
        let other = r#"{"version":2,"ask":{"dance":{}},"more":true}"#;
        assert_eq!(serde_json::from_str::<Versioned>(other).unwrap().version, 2);
        assert!(serde_json::from_str::<Request>(other).is_err());
    }
}
