//! Units: values that an operator writes with a unit, parsed once and never passed on as text.
//!
//! [`ByteSize`] reads and prints sizes; seconds and milliseconds are plain integers in keys that end in
//! `_s` and `_ms`; points in time become whole seconds since 1970.

use std::fmt;
use std::str::FromStr;

/// A size in bytes, written `1048576`, `1024 KiB` or `1 MiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// Every unit that can be written, the binary ones in falling order first: those are also printed.
const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

impl FromStr for ByteSize {
    type Err = ByteSizeError;

    fn from_str(text: &str) -> Result<Self, ByteSizeError> {
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| ByteSizeError)?;
        let unit = unit.trim_start();
        let factor = match unit {
            "" => 1,
            _ => UNITS.iter().find(|(name, _)| *name == unit).ok_or(ByteSizeError)?.1,
        };
        number.checked_mul(factor).map(Self).ok_or(ByteSizeError)
    }
}

impl fmt::Display for ByteSize {
    /// Prints in the largest binary unit that leaves no remainder.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().take(4).find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor)) {
            Some((unit, factor)) => write!(f, "{} {unit}", self.0 / factor),
            None => write!(f, "{} B", grouped(self.0)),
        }
    }
}

/// A text that is no size: no whole number, an unknown unit, or more than 64 bits of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSizeError;

impl fmt::Display for ByteSizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size is a whole number of bytes, or one with a unit such as KiB, MiB, GiB, kB, MB, GB")
    }
}

impl std::error::Error for ByteSizeError {}

/// A point in time with its zone, as seconds since 1970; `None` for anything else and for times before.
pub fn unix_seconds(text: &str) -> Option<u64> {
    let time: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(time.as_second()).ok()
}

/// `1,048,576`: long numbers as people read them.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_unit() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("16 MiB", 16 << 20),
            ("16MiB", 16 << 20),
            (" 2 GiB ", 2 << 30),
            ("1 TiB", 1 << 40),
            ("3 kB", 3000),
            ("7 B", 7),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "MiB", "-1", "1.5 MiB", "1 mib", "1 MiB x", "99999999 TiB", "18446744073709551616"] {
            assert_eq!(text.parse::<ByteSize>(), Err(ByteSizeError), "{text}");
        }
    }

    #[test]
    fn sizes_print_in_the_largest_even_unit_and_read_back() {
        for (bytes, text) in
            [(0, "0 B"), (1, "1 B"), (1024, "1 KiB"), (16 << 20, "16 MiB"), (1 << 30, "1 GiB")]
        {
            assert_eq!(ByteSize(bytes).to_string(), text);
            assert_eq!(text.parse(), Ok(ByteSize(bytes)));
        }
        assert_eq!(ByteSize(268_435_460).to_string(), "268,435,460 B");
    }

    #[test]
    fn times_need_a_zone_and_come_after_1970() {
        assert_eq!(unix_seconds("2030-01-01T00:00:00Z"), Some(1_893_456_000));
        assert_eq!(unix_seconds("2030-01-01T01:00:00+01:00"), Some(1_893_456_000));
        assert_eq!(unix_seconds("2030-01-01 00:00:00Z"), Some(1_893_456_000));
        for text in ["2030-01-01", "2030-01-01T00:00:00", "1969-12-31T23:59:59Z", "soon", ""] {
            assert_eq!(unix_seconds(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_are_grouped_by_three() {
        for (number, text) in
            [(0, "0"), (999, "999"), (1000, "1,000"), (100_000, "100,000"), (1_000_000, "1,000,000")]
        {
            assert_eq!(grouped(number), text);
        }
    }
}
