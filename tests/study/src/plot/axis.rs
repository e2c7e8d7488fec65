//! Axes: from values to places between 0 and 1, and where the marks stand that people read.

/// What the numbers of an axis are, and so how they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Nanoseconds.
    Time,
    /// Bytes.
    Bytes,
    /// Just numbers.
    Number,
    /// Seconds.
    Seconds,
}

impl Unit {
    /// With as many digits as help: `370 ns`, `1.3 µs`, `4 KiB`, `12,500`.
    pub(crate) fn write(self, value: f64) -> String {
        match self {
            _ if value == 0.0 => "0".to_owned(),
            Self::Time if value >= 1e9 => format!("{} s", digits(value / 1e9)),
            Self::Time if value >= 1e6 => format!("{} ms", digits(value / 1e6)),
            Self::Time if value >= 1e3 => format!("{} µs", digits(value / 1e3)),
            Self::Time => format!("{} ns", digits(value)),
            Self::Bytes if value >= 1_024.0 => format!("{} KiB", digits(value / 1_024.0)),
            Self::Bytes => format!("{} B", digits(value)),
            Self::Number => digits(value),
            Self::Seconds => format!("{} s", digits(value)),
        }
    }
}

/// Two digits that count at least, thousands apart.
pub(crate) fn digits(value: f64) -> String {
    if value >= 1_000.0 {
        let whole = format!("{value:.0}");
        let mut text = String::new();
        for (at, digit) in whole.chars().enumerate() {
            if at > 0 && (whole.len() - at).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        return text;
    }
    let places = match value {
        10.0.. => 0,
        1.0.. => 1,
        0.1.. => 2,
        _ => 3,
    };
    let text = format!("{value:.places$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// How values are placed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scale {
    /// What they are.
    pub(super) label: String,
    pub(super) unit: Unit,
    is_logarithmic: bool,
    /// Marks that are wanted, instead of round numbers.
    wanted: Vec<f64>,
}

impl Scale {
    /// From 0 on.
    pub(crate) fn linear(label: &str, unit: Unit) -> Self {
        Self { label: label.to_owned(), unit, is_logarithmic: false, wanted: Vec::new() }
    }

    /// Each step is a factor.
    pub(crate) fn logarithmic(label: &str, unit: Unit) -> Self {
        Self { is_logarithmic: true, ..Self::linear(label, unit) }
    }

    /// With marks at these values.
    #[must_use]
    pub(crate) fn marked_at(mut self, values: impl IntoIterator<Item = f64>) -> Self {
        self.wanted = values.into_iter().collect();
        self
    }

    /// Whether each step is a factor.
    pub(super) fn is_logarithmic(&self) -> bool {
        self.is_logarithmic
    }

    /// An axis with room for all of these.
    pub(super) fn over(&self, values: impl Iterator<Item = f64>) -> Axis {
        let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
        for value in values.filter(|value| value.is_finite() && *value > 0.0) {
            (low, high) = (low.min(value), high.max(value));
        }
        if !low.is_finite() {
            (low, high) = (1.0, 10.0);
        }
        let (low, high, marks) = match (self.is_logarithmic, self.wanted.is_empty()) {
            (true, true) => {
                let marks = decades(low, high);
                let first = marks.first().copied().unwrap_or(low).min(low);
                (first, marks.last().copied().unwrap_or(high).max(high), marks)
            }
            (true, false) => (low, high, self.wanted.clone()),
            (false, _) => {
                let marks = steps(high);
                (0.0, marks.last().copied().unwrap_or(high), marks)
            }
        };
        Axis { low, high, is_logarithmic: self.is_logarithmic, marks }
    }
}

/// Where values of one chart are.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    is_logarithmic: bool,
    /// Where people read it.
    pub(super) marks: Vec<f64>,
}

impl Axis {
    /// Between 0 and 1.
    pub(super) fn place(&self, value: f64) -> f64 {
        let share = if self.is_logarithmic {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.5 }
    }
}

/// Powers of ten round these values; with 2 and 5 times as much between them if they are few.
fn decades(low: f64, high: f64) -> Vec<f64> {
    let begin = low.log10().floor();
    let between: &[f64] = if (high / low).log10() > 2.3 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let mut marks: Vec<f64> = Vec::new();
    let mut decade = 10_f64.powf(begin);
    while marks.last().is_none_or(|last| *last < high) {
        marks.extend(between.iter().map(|factor| factor * decade));
        decade *= 10.0;
    }
    // No more than one below and one above.
    let first = marks.iter().rposition(|mark| *mark <= low).unwrap_or(0);
    let last = marks.iter().position(|mark| *mark >= high).unwrap_or(marks.len() - 1);
    marks.into_iter().take(last + 1).skip(first).collect()
}

/// From 0 in some four to eight round steps.
fn steps(high: f64) -> Vec<f64> {
    let decade = 10_f64.powf(high.log10().floor());
    let step = [0.2, 0.5, 1.0, 2.0].map(|factor| factor * decade).into_iter().find(|step| high / step <= 8.0);
    let step = step.unwrap_or(decade);
    let last = (1..=9_u32).find(|n| f64::from(*n) * step >= high).unwrap_or(9);
    (0..=last).map(|n| f64::from(n) * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_people_say_them() {
        let cases = [
            (Unit::Time, 370.4, "370 ns"),
            (Unit::Time, 1_300.0, "1.3 µs"),
            (Unit::Time, 31_000.0, "31 µs"),
            (Unit::Time, 2_000_000.0, "2 ms"),
            (Unit::Time, 3e9, "3 s"),
            (Unit::Bytes, 16.0, "16 B"),
            (Unit::Bytes, 65_536.0, "64 KiB"),
            (Unit::Number, 1_234_567.0, "1,234,567"),
            (Unit::Number, 0.42, "0.42"),
            (Unit::Time, 0.0, "0"),
            (Unit::Seconds, 100.0, "100 s"),
        ];
        for (unit, value, text) in cases {
            assert_eq!(unit.write(value), text);
        }
    }

    #[test]
    fn marks_enclose_all_values() {
        for scale in [Scale::linear("x", Unit::Number), Scale::logarithmic("x", Unit::Number)] {
            for (low, high) in [(3.0, 40.0), (100.0, 100.0), (0.7, 90_000.0), (15.0, 16.0)] {
                let axis = scale.over([low, high].into_iter());
                let (first, last) = (axis.marks[0], axis.marks[axis.marks.len() - 1]);
                assert!(first <= low && last >= high, "{low} to {high}: {:?}", axis.marks);
                assert!((1..=12).contains(&axis.marks.len()), "{low} to {high}: {:?}", axis.marks);
                assert!(axis.place(low) <= axis.place(high));
            }
        }
    }

    #[test]
    fn places_follow_the_scale() {
        let near = |place: f64, expected: f64| (place - expected).abs() < 1e-9;
        let linear = Scale::linear("x", Unit::Number).over([100.0].into_iter());
        assert!(near(linear.place(50.0), 0.5) && near(linear.place(0.0), 0.0));
        let factors = Scale::logarithmic("x", Unit::Number).over([1.0, 10_000.0].into_iter());
        assert!(near(factors.place(100.0), 0.5) && near(factors.place(10.0), 0.25));
        let sizes = Scale::logarithmic("x", Unit::Bytes).marked_at([16.0, 256.0]);
        assert_eq!(sizes.over([16.0, 256.0].into_iter()).marks, [16.0, 256.0]);
    }
}
