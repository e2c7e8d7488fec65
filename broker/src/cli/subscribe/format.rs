//! How `sealmq sub` prints a message.
//!
//! A format comes in once, messages come after, bytes for stdout go out. Always holds: what goes to a terminal
//! has no control characters but line ends and tabs, whatever a publisher put into topic or payload.

use sealmq_protocol::Qos;
use std::borrow::Cow;
use std::str::FromStr;

/// What there is to print.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown<'a> {
    pub(super) topic: &'a str,
    pub(super) payload: &'a [u8],
    /// The id of the sender; empty where there was no envelope.
    pub(super) sender: &'a [u8],
    pub(super) qos: Qos,
    pub(super) retain: bool,
}

/// What is printed for a message, piece by piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Format(Vec<Piece>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    Char(char),
    Topic,
    Payload,
    Hex,
    Length,
    Qos,
    Retain,
    Sender,
}

impl Format {
    /// The payload.
    pub(super) fn plain() -> Self {
        Self(vec![Piece::Payload])
    }

    /// The topic, and the payload.
    pub(super) fn verbose() -> Self {
        Self(vec![Piece::Topic, Piece::Char(' '), Piece::Payload])
    }

    /// The bytes for one message.
    pub(super) fn line(&self, shown: &Shown<'_>, is_for_terminal: bool) -> Vec<u8> {
        let text = |bytes| if is_for_terminal { harmless(bytes) } else { Cow::Borrowed(bytes) };
        let mut line = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Char(c) => line.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
                Piece::Topic => line.extend_from_slice(&text(shown.topic.as_bytes())),
                Piece::Payload => line.extend_from_slice(&text(shown.payload)),
                Piece::Sender => line.extend_from_slice(&text(shown.sender)),
                Piece::Hex => {
                    shown
                        .payload
                        .iter()
                        .for_each(|byte| line.extend_from_slice(format!("{byte:02x}").as_bytes()));
                }
                Piece::Length => line.extend_from_slice(shown.payload.len().to_string().as_bytes()),
                Piece::Qos => line.push(b'0' + shown.qos.bits()),
                Piece::Retain => line.push(if shown.retain { b'1' } else { b'0' }),
            }
        }
        line
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut chars = text.chars();
        let mut pieces = Vec::new();
        while let Some(c) = chars.next() {
            pieces.push(match c {
                '%' => match chars.next() {
                    Some('t') => Piece::Topic,
                    Some('p') => Piece::Payload,
                    Some('x') => Piece::Hex,
                    Some('l') => Piece::Length,
                    Some('q') => Piece::Qos,
                    Some('r') => Piece::Retain,
                    Some('s') => Piece::Sender,
                    Some('%') => Piece::Char('%'),
                    Some(other) => {
                        return Err(format!("%{other} means nothing; write %% for a percent sign"));
                    }
                    None => return Err("a single % at the end; write %% for a percent sign".to_owned()),
                },
                '\\' => match chars.next() {
                    Some('n') => Piece::Char('\n'),
                    Some('t') => Piece::Char('\t'),
                    Some('\\') => Piece::Char('\\'),
                    _ => return Err("after \\ there is n, t or \\".to_owned()),
                },
                other => Piece::Char(other),
            });
        }
        Ok(Self(pieces))
    }
}

/// Text that a terminal only shows.
fn harmless(bytes: &[u8]) -> Cow<'_, [u8]> {
    let mut text = String::new();
    for c in String::from_utf8_lossy(bytes).chars() {
        if c.is_control() && !matches!(c, '\n' | '\t') {
            text.extend(c.escape_default());
        } else {
            text.push(c);
        }
    }
    Cow::Owned(text.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: Shown<'_> = Shown {
        topic: "a/b",
        payload: b"\x1b[2J\xff\n",
        sender: b"dev-7",
        qos: Qos::AtLeastOnce,
        retain: true,
    };

    fn line(format: &str) -> String {
        String::from_utf8(format.parse::<Format>().unwrap().line(&SHOWN, false)).unwrap()
    }

    #[test]
    fn each_piece_prints_what_it_is_for() {
        assert_eq!(line(r"%t|%x|%l|%q|%r|%s|100%%\t\\\n"), "a/b|1b5b324aff0a|6|1|1|dev-7|100%\t\\\n");
        assert_eq!(Format::verbose().line(&SHOWN, false), b"a/b \x1b[2J\xff\n");
        assert_eq!(Format::plain(), "%p".parse().unwrap());
    }

    #[test]
    fn a_terminal_is_given_no_control_characters() {
        let line = Format::plain().line(&SHOWN, true);
        assert_eq!(String::from_utf8(line).unwrap(), "\\u{1b}[2J\u{fffd}\n");
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for format in ["%z", "50%", r"\x", "\\"] {
            assert!(format.parse::<Format>().is_err(), "{format}");
        }
    }
}
