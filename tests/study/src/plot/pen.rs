//! What is drawn with: text, lines and marks, in the coordinates of the SVG whatever the backend is.

use super::axis::{Axis, Unit};
use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind};
use plotters::element::{Circle, Cross, PathElement, Polygon, Rectangle, Text, TriangleMarker};
use plotters::prelude::{Color, DrawingBackend, RGBColor, ShapeStyle};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontDesc, FontFamily, FontStyle, FontTransform, TextStyle, register_font};

/// Told apart by all eyes (Okabe and Ito), strong ones first.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];
const INK: RGBColor = RGBColor(34, 34, 34);
const GREY: RGBColor = RGBColor(96, 96, 96);
const FAINT: RGBColor = RGBColor(222, 222, 222);
const WHITE: RGBColor = RGBColor(255, 255, 255);
const FAMILY: &str = "sans-serif";

/// Where a text stands, seen from its point.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stand {
    /// Right of it.
    Right,
    /// Left of it.
    Left,
    /// On it.
    Middle,
    /// On it, from below to above.
    Upright,
}

/// The letters of both backends.
pub(super) fn register_fonts() -> Result<()> {
    let fonts = [(FontStyle::Normal, dejavu::sans::regular()), (FontStyle::Bold, dejavu::sans::bold())];
    for (style, bytes) in fonts {
        register_font(FAMILY, style, bytes).map_err(|_| anyhow!("the font is broken"))?;
    }
    Ok(())
}

/// Draws on one area.
pub(super) struct Pen<'a, DB: DrawingBackend> {
    area: &'a DrawingArea<DB, Shift>,
    scale: u32,
    /// Of the size of a text, how much lower it has to stand to be in the middle.
    drop: f64,
}

type Point = (f64, f64);
type Drawn<DB> = std::result::Result<(), DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>>;

impl<'a, DB: DrawingBackend> Pen<'a, DB> {
    /// A pen that draws so many times as large; `drop` is that of the backend.
    pub(super) fn new(area: &'a DrawingArea<DB, Shift>, scale: u32, drop: f64) -> Self {
        Self { area, scale, drop }
    }

    /// White.
    pub(super) fn clear(&self) -> Result<()> {
        done::<DB>(self.area.fill(&WHITE))
    }

    /// What all is about.
    pub(super) fn title(&self, text: &str, at: Point) -> Result<()> {
        self.text(text, at, self.font(20, FontStyle::Bold, INK, Stand::Right))
    }

    /// What one part is about.
    pub(super) fn strong(&self, text: &str, at: Point) -> Result<()> {
        self.text(text, at, self.font(15, FontStyle::Bold, INK, Stand::Right))
    }

    /// A name.
    pub(super) fn label(&self, text: &str, at: Point) -> Result<()> {
        self.text(text, at, self.font(15, FontStyle::Normal, INK, Stand::Right))
    }

    /// A remark.
    pub(super) fn small(&self, text: &str, at: Point) -> Result<()> {
        self.text(text, at, self.font(14, FontStyle::Normal, GREY, Stand::Right))
    }

    /// A number, or the name of an axis.
    pub(super) fn figure(&self, text: &str, at: Point, stand: Stand) -> Result<()> {
        self.text(text, at, self.font(14, FontStyle::Normal, INK, stand))
    }

    /// The numbers of an axis that lies; those that have no room beside the one before are left out.
    pub(super) fn figures_below(
        &self,
        axis: &Axis,
        unit: Unit,
        x_of: &dyn Fn(f64) -> f64,
        y: f64,
    ) -> Result<()> {
        let mut free_from = f64::NEG_INFINITY;
        for mark in &axis.marks {
            let (text, x) = (unit.write(*mark), x_of(*mark));
            let half = self.width_of(&text)? / 2.0;
            if x - half >= free_from {
                self.figure(&text, (x, y), Stand::Middle)?;
                free_from = x + half + 6.0;
            }
        }
        Ok(())
    }

    /// How wide a name is.
    pub(super) fn width_of(&self, text: &str) -> Result<f64> {
        let style = self.font(15, FontStyle::Normal, INK, Stand::Right);
        let (width, _) = self.area.estimate_text_size(text, &style).map_err(|error| anyhow!("{error}"))?;
        Ok(f64::from(width) / f64::from(self.scale))
    }

    /// What leads the eye to an axis.
    pub(super) fn guide(&self, from: Point, to: Point) -> Result<()> {
        let path = vec![self.pixel(from), self.pixel(to)];
        done::<DB>(self.area.draw(&PathElement::new(path, FAINT.stroke_width(self.scale))))
    }

    /// A line through all of them, in the colour of the series.
    pub(super) fn line(&self, series: usize, points: &[Point]) -> Result<()> {
        let path: Vec<_> = points.iter().map(|point| self.pixel(*point)).collect();
        done::<DB>(self.area.draw(&PathElement::new(path, colour(series).stroke_width(self.scale * 2))))
    }

    /// A filled rectangle between two corners, in the colour of the series.
    pub(super) fn bar(&self, series: usize, from: Point, to: Point) -> Result<()> {
        let corners = [self.pixel(from), self.pixel(to)];
        done::<DB>(self.area.draw(&Rectangle::new(corners, colour(series).filled())))
    }

    /// The mark of a series: another one for each.
    pub(super) fn mark(&self, series: usize, at: Point) -> Result<()> {
        let size = i32::try_from(4 * self.scale)?;
        let (x, y) = self.pixel(at);
        let style = ShapeStyle::from(colour(series)).filled();
        done::<DB>(match series % COLOURS.len() {
            0 => self.area.draw(&Circle::new((x, y), size, style)),
            1 => self.area.draw(&Rectangle::new([(x - size, y - size), (x + size, y + size)], style)),
            2 => self.area.draw(&TriangleMarker::new((x, y), size + 2, style)),
            3 => {
                let corners =
                    vec![(x - size - 1, y), (x, y - size - 1), (x + size + 1, y), (x, y + size + 1)];
                self.area.draw(&Polygon::new(corners, style))
            }
            4 => self.area.draw(&Cross::new((x, y), size, style.stroke_width(self.scale * 2))),
            _ => {
                let corners = vec![(x - size, y - size), (x + size, y - size), (x, y + size)];
                self.area.draw(&Polygon::new(corners, style))
            }
        })
    }

    /// What a legend shows of a series.
    pub(super) fn swatch(&self, series: usize, (x, y): Point, with_mark: bool) -> Result<()> {
        if with_mark {
            self.mark(series, (x + 5.0, y))
        } else {
            self.bar(series, (x, y - 5.0), (x + 10.0, y + 5.0))
        }
    }

    fn text(&self, text: &str, at: Point, style: TextStyle<'static>) -> Result<()> {
        let (x, y) = at;
        // What is upright is moved by its backend as if it lay.
        let is_upright = matches!(style.font.get_transform(), FontTransform::Rotate270);
        let lower = if is_upright { 0.0 } else { style.font.get_size() / f64::from(self.scale) * self.drop };
        done::<DB>(self.area.draw(&Text::new(text.to_owned(), self.pixel((x, y + lower)), style)))
    }

    fn font(&self, size: u32, style: FontStyle, ink: RGBColor, stand: Stand) -> TextStyle<'static> {
        let font = FontDesc::new(FontFamily::Name(FAMILY), f64::from(size * self.scale), style);
        let (font, h_pos) = match stand {
            Stand::Right => (font, HPos::Left),
            Stand::Left => (font, HPos::Right),
            Stand::Middle => (font, HPos::Center),
            Stand::Upright => (font.transform(FontTransform::Rotate270), HPos::Center),
        };
        TextStyle { font, color: ink.to_backend_color(), pos: Pos::new(h_pos, VPos::Center) }
    }

    #[allow(clippy::cast_possible_truncation, reason = "`as` saturates, and no picture is that large")]
    fn pixel(&self, (x, y): Point) -> (i32, i32) {
        let scale = f64::from(self.scale);
        ((x * scale).round() as i32, (y * scale).round() as i32)
    }
}

fn colour(series: usize) -> RGBColor {
    COLOURS.get(series % COLOURS.len()).copied().unwrap_or(INK)
}

/// The backends' errors borrow what ours cannot.
fn done<DB: DrawingBackend>(drawn: Drawn<DB>) -> Result<()> {
    drawn.map_err(|error| anyhow!("cannot draw: {error}"))
}
