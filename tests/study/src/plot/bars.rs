//! A panel of bars that lie: a group for each name, in it one bar for each series, or all behind each other.

use super::axis::{Axis, Scale};
use super::pen::{Pen, Stand};
use super::{Body, Chart, Panel, Place, TOP, count};
use anyhow::Result;
use plotters::prelude::DrawingBackend;

/// Room for the name of a group, if there is one panel or if there are more.
const NAMES: [f64; 2] = [180.0, 144.0];
/// Room for the value behind the longest bar.
const VALUE: f64 = 66.0;
const ABOVE: f64 = 22.0;
const BELOW: f64 = 48.0;
const BAR: f64 = 17.0;
const GAP: f64 = 12.0;

/// What all groups need.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "pixels of one picture")]
pub(super) fn height(chart: &Chart) -> u32 {
    let groups = chart.panels.iter().map(|panel| panel.groups.len()).max().unwrap_or_default();
    (TOP + ABOVE + BELOW + count(groups) * group_height(chart)).ceil() as u32
}

fn group_height(chart: &Chart) -> f64 {
    let bars = if matches!(chart.body, Body::Stacks) { 1 } else { chart.series.len() };
    BAR * count(bars) + GAP
}

fn axis(chart: &Chart) -> Axis {
    let scale: &Scale = &chart.value;
    if matches!(chart.body, Body::Stacks) {
        let groups = chart.panels.iter().flat_map(|panel| &panel.groups);
        scale.over(groups.map(|(_, values)| values.iter().flatten().sum()))
    } else {
        scale.over(chart.panels.iter().flat_map(Panel::values))
    }
}

pub(super) fn paint<DB: DrawingBackend>(
    pen: &Pen<'_, DB>,
    chart: &Chart,
    panel: &Panel,
    place: Place,
) -> Result<()> {
    let axis = axis(chart);
    let names = if chart.panels.len() == 1 { NAMES[0] } else { NAMES[1] };
    let (left, right) = (place.left + names, place.right - VALUE);
    let (top, bottom) = (place.top + ABOVE, place.bottom - BELOW);
    let x_of = |value: f64| left + (right - left) * axis.place(value);
    for mark in &axis.marks {
        pen.guide((x_of(*mark), top), (x_of(*mark), bottom))?;
    }
    pen.figures_below(&axis, chart.value.unit, &x_of, bottom + 14.0)?;
    pen.figure(&chart.value.label, (f64::midpoint(left, right), bottom + 33.0), Stand::Middle)?;
    for (n, (name, values)) in panel.groups.iter().enumerate() {
        let begin = top + group_height(chart) * count(n) + GAP / 2.0;
        let middle = begin + (group_height(chart) - GAP) / 2.0;
        pen.figure(name, (left - 8.0, middle), Stand::Left)?;
        if matches!(chart.body, Body::Stacks) {
            stack(pen, chart, values, &x_of, begin)?;
        } else {
            side_by_side(pen, chart, values, &x_of, begin)?;
        }
    }
    Ok(())
}

fn stack<DB: DrawingBackend>(
    pen: &Pen<'_, DB>,
    chart: &Chart,
    values: &[Option<f64>],
    x_of: &dyn Fn(f64) -> f64,
    top: f64,
) -> Result<()> {
    let mut sum = 0.0;
    for (series, value) in values.iter().enumerate() {
        let Some(value) = value else { continue };
        pen.bar(series, (x_of(sum), top + 1.0), (x_of(sum + value), top + BAR - 1.0))?;
        sum += value;
    }
    pen.figure(&chart.value.unit.write(sum), (x_of(sum) + 6.0, top + BAR / 2.0), Stand::Right)
}

fn side_by_side<DB: DrawingBackend>(
    pen: &Pen<'_, DB>,
    chart: &Chart,
    values: &[Option<f64>],
    x_of: &dyn Fn(f64) -> f64,
    top: f64,
) -> Result<()> {
    for (series, value) in values.iter().enumerate() {
        let Some(value) = value else { continue };
        let (y, x) = (top + BAR * (count(series) + 0.5), x_of(*value));
        if chart.value.is_logarithmic() {
            pen.guide((x_of(f64::MIN_POSITIVE), y), (x, y))?;
            pen.mark(series, (x, y))?;
        } else {
            pen.bar(series, (x_of(0.0), y - BAR / 2.0 + 1.0), (x, y + BAR / 2.0 - 1.0))?;
        }
        pen.figure(&chart.value.unit.write(*value), (x + 9.0, y), Stand::Right)?;
    }
    Ok(())
}
