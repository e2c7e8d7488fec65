//! Charts: what is to be shown comes in, an SVG and a PNG file of the same picture go out.
//!
//! `axis` places values, `pen` knows the two backends of plotters, `lines` and `bars` are the two kinds of
//! panels. All panels of a chart share their axes, so that they compare. Colours are told apart by people
//! who do not see all of them, and each series of lines has a mark of its own, too.

mod axis;
mod bars;
mod lines;
mod pen;

use anyhow::{Context, Result, bail};
pub(crate) use axis::{Scale, Unit, digits};
use pen::Pen;
use plotters::drawing::IntoDrawingArea;
use plotters::prelude::{BitMapBackend, DrawingBackend, SVGBackend};
use std::io::BufWriter;
use std::path::Path;

/// Width of a picture, before it is scaled.
const WIDTH: u32 = 960;
/// The PNG has so many pixels for each of the SVG.
const PNG_SCALE: u32 = 2;
/// Its letters stand higher than those of the SVG, by this share of their size.
const PNG_DROP: f64 = 0.17;
/// Where the panels begin, below title, note and legend.
const TOP: f64 = 92.0;
const MARGIN: f64 = 20.0;

/// A picture.
#[derive(Debug, Clone)]
pub(crate) struct Chart {
    /// Of its files.
    pub(crate) name: &'static str,
    /// What it shows.
    pub(crate) title: String,
    /// How to read it.
    pub(crate) note: String,
    /// What is compared, in the order of colours.
    pub(crate) series: Vec<String>,
    /// Side by side.
    pub(crate) panels: Vec<Panel>,
    /// The axis of values, of all panels.
    pub(crate) value: Scale,
    /// What values are shown over.
    pub(crate) body: Body,
}

/// What kind of chart.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    /// Over another axis; `Panel::points`.
    Lines(Scale),
    /// By groups, side by side; `Panel::groups`. On a logarithmic axis, where a length says nothing, dots.
    Bars,
    /// By groups, one behind the other.
    Stacks,
}

/// One part of a picture.
#[derive(Debug, Clone, Default)]
pub(crate) struct Panel {
    /// Above it.
    pub(crate) title: String,
    /// For each series, what it has over which.
    pub(crate) points: Vec<Vec<(f64, f64)>>,
    /// For each group its name, and a value for each series.
    pub(crate) groups: Vec<(String, Vec<Option<f64>>)>,
}

impl Panel {
    fn values(&self) -> impl Iterator<Item = f64> {
        let points = self.points.iter().flatten().map(|(_, value)| *value);
        points.chain(self.groups.iter().flat_map(|(_, values)| values.iter().flatten().copied()))
    }
}

impl Chart {
    /// Draws it into this folder, as `name.svg` and `name.png`.
    pub(crate) fn draw(&self, folder: &Path) -> Result<()> {
        pen::register_fonts()?;
        let size = (WIDTH, self.height());
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
            self.paint(&Pen::new(&area, 1, 0.0))?;
            area.present()?;
        }
        let path = folder.join(self.name).with_extension("svg");
        std::fs::write(&path, svg).with_context(|| format!("cannot write {}", path.display()))?;
        self.draw_png(&folder.join(self.name).with_extension("png"), size)
    }

    fn draw_png(&self, path: &Path, (width, height): (u32, u32)) -> Result<()> {
        let size = (width * PNG_SCALE, height * PNG_SCALE);
        let mut pixels = vec![0; size.0 as usize * size.1 as usize * 3];
        {
            let area = BitMapBackend::with_buffer(&mut pixels, size).into_drawing_area();
            self.paint(&Pen::new(&area, PNG_SCALE, PNG_DROP))?;
            area.present()?;
        }
        let file = std::fs::File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        let mut encoder = png::Encoder::new(BufWriter::new(file), size.0, size.1);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::High);
        Ok(encoder.write_header()?.write_image_data(&pixels)?)
    }

    fn height(&self) -> u32 {
        match &self.body {
            Body::Lines(_) => 470,
            Body::Bars | Body::Stacks => bars::height(self),
        }
    }

    fn paint<DB: DrawingBackend>(&self, pen: &Pen<'_, DB>) -> Result<()> {
        pen.clear()?;
        pen.title(&self.title, (MARGIN, 18.0))?;
        pen.small(&self.note, (MARGIN, 44.0))?;
        let (mut x, marks) = (MARGIN, matches!(self.body, Body::Lines(_)));
        for (n, name) in self.series.iter().enumerate() {
            pen.swatch(n, (x, 70.0), marks)?;
            pen.label(name, (x + 16.0, 70.0))?;
            x += 16.0 + pen.width_of(name)? + 22.0;
        }
        self.paint_panels(pen)
    }

    fn paint_panels<DB: DrawingBackend>(&self, pen: &Pen<'_, DB>) -> Result<()> {
        let count = count(self.panels.len());
        if self.panels.is_empty() {
            bail!("{} has nothing to show", self.name);
        }
        let width = (f64::from(WIDTH) - MARGIN) / count;
        let bottom = f64::from(self.height());
        for (n, panel) in self.panels.iter().enumerate() {
            let left = MARGIN + width * self::count(n);
            let place = Place { left, right: left + width - MARGIN, top: TOP, bottom };
            pen.strong(&panel.title, (left, TOP + 4.0))?;
            match &self.body {
                Body::Lines(x) => lines::paint(pen, self, panel, x, place)?,
                Body::Bars | Body::Stacks => bars::paint(pen, self, panel, place)?,
            }
        }
        Ok(())
    }
}

/// Where something is painted.
#[derive(Debug, Clone, Copy)]
struct Place {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

fn count(n: usize) -> f64 {
    u32::try_from(n).map_or(f64::MAX, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(body: Body) -> Chart {
        let panel = |title: &str| Panel {
            title: title.to_owned(),
            points: vec![vec![(16.0, 100.0), (1_024.0, 900.0)], vec![(16.0, 5_000.0)]],
            groups: vec![
                ("one".to_owned(), vec![Some(100.0), None]),
                ("two".to_owned(), vec![Some(2_500.0), Some(40_000.0)]),
            ],
        };
        Chart {
            name: "chart",
            title: "A < B & C".to_owned(),
            note: "lower is better".to_owned(),
            series: vec!["AES".to_owned(), "Ascon".to_owned()],
            panels: vec![panel("left"), panel("right")],
            value: Scale::logarithmic("time", Unit::Time),
            body,
        }
    }

    #[test]
    fn both_files_come_out_whole() {
        let size = Scale::logarithmic("message", Unit::Bytes);
        for body in [Body::Lines(size), Body::Bars, Body::Stacks] {
            let folder = tempfile::tempdir().unwrap();
            let chart = chart(body);
            chart.draw(folder.path()).unwrap();
            let svg = std::fs::read_to_string(folder.path().join("chart.svg")).unwrap();
            assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
            for text in ["A &lt; B &amp; C", "lower is better", "AES", "Ascon", "left", "right"] {
                assert!(svg.contains(text), "{text} is not in {svg}");
            }
            let file = std::fs::File::open(folder.path().join("chart.png")).unwrap();
            let mut reader = png::Decoder::new(std::io::BufReader::new(file)).read_info().unwrap();
            let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
            let info = reader.next_frame(&mut pixels).unwrap();
            assert_eq!((info.width, info.height), (WIDTH * PNG_SCALE, chart.height() * PNG_SCALE));
            let white = pixels.chunks(3).filter(|pixel| *pixel == [255; 3]).count();
            assert!(white > pixels.len() / 6 && white < pixels.len() / 3, "it is not on white, or empty");
        }
    }

    #[test]
    fn nothing_to_show_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let empty = Chart { panels: Vec::new(), ..chart(Body::Bars) };
        assert!(empty.draw(folder.path()).is_err());
    }
}
