//! Medians and other percentiles of readings, by nearest rank: each is a value that was read.

/// The value that this share of the values does not exceed; `NaN` of none.
pub(crate) fn percentile(values: &mut [f64], percent: u32) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() * percent as usize).div_ceil(100).max(1);
    values.get(rank - 1).copied().unwrap_or(f64::NAN)
}

/// The value in the middle; `NaN` of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    percentile(&mut values, 50)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_read() {
        let mut values: Vec<f64> = (1..=200_u32).rev().map(f64::from).collect();
        let expected = [(0, 1.0), (1, 2.0), (10, 20.0), (50, 100.0), (99, 198.0), (100, 200.0)];
        for (percent, value) in expected {
            assert_eq!(percentile(&mut values, percent).to_bits(), f64::to_bits(value), "{percent}");
        }
    }

    #[test]
    fn one_value_is_every_percentile_and_none_has_none() {
        assert_eq!(percentile(&mut [7.0], 1).to_bits(), 7.0_f64.to_bits());
        assert_eq!(median(vec![3.0, 1.0, 2.0]).to_bits(), 2.0_f64.to_bits());
        assert!(median(Vec::new()).is_nan());
    }
}
