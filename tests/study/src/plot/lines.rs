//! A panel of lines: each series over the same axis, with a mark at every value.

use super::axis::Scale;
use super::pen::{Pen, Stand};
use super::{Chart, Panel, Place};
use anyhow::Result;
use plotters::prelude::DrawingBackend;

/// Room for numbers and names of the axes.
const LEFT: f64 = 74.0;
const BELOW: f64 = 52.0;
const ABOVE: f64 = 24.0;

pub(super) fn paint<DB: DrawingBackend>(
    pen: &Pen<'_, DB>,
    chart: &Chart,
    panel: &Panel,
    over: &Scale,
    place: Place,
) -> Result<()> {
    let x_axis =
        over.over(chart.panels.iter().flat_map(|panel| panel.points.iter().flatten().map(|(x, _)| *x)));
    let y_axis = chart.value.over(chart.panels.iter().flat_map(Panel::values));
    let (left, right) = (place.left + LEFT, place.right - 18.0);
    let (top, bottom) = (place.top + ABOVE, place.bottom - BELOW);
    let x_of = |value: f64| left + (right - left) * x_axis.place(value);
    let y_of = |value: f64| bottom - (bottom - top) * y_axis.place(value);
    for mark in &y_axis.marks {
        pen.guide((left, y_of(*mark)), (right, y_of(*mark)))?;
        pen.figure(&chart.value.unit.write(*mark), (left - 6.0, y_of(*mark)), Stand::Left)?;
    }
    for mark in &x_axis.marks {
        pen.guide((x_of(*mark), top), (x_of(*mark), bottom))?;
    }
    pen.figures_below(&x_axis, over.unit, &x_of, bottom + 14.0)?;
    pen.figure(&over.label, (f64::midpoint(left, right), bottom + 36.0), Stand::Middle)?;
    pen.figure(&chart.value.label, (place.left + 2.0, f64::midpoint(top, bottom)), Stand::Upright)?;
    for (series, points) in panel.points.iter().enumerate() {
        let points: Vec<_> = points.iter().map(|(x, y)| (x_of(*x), y_of(*y))).collect();
        pen.line(series, &points)?;
        points.iter().try_for_each(|point| pen.mark(series, *point))?;
    }
    Ok(())
}
