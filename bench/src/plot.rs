//! Plots as SVG, for the page of a report and as files that stand alone.
//!
//! In: figures, and how they are called. Out: text. A plot is laid out anew for each width, so that its
//! letters stay readable on a phone. The property that must hold: nothing is told by colour alone, and every
//! plot is read in light, in dark and in print.

mod labels;
mod lines;
mod panels;
mod scale;
mod stacks;
mod strips;
mod svg;
mod unit;

pub(crate) use lines::{Axis, Key, Limit, Lines, Series};
pub(crate) use panels::Panels;
pub(crate) use scale::Scale;
pub(crate) use stacks::{Part, Stack, Stacks};
pub(crate) use strips::{Strip, StripGroup, Strips, quantile};
pub(crate) use svg::{Area, Svg, Tint};
pub(crate) use unit::Unit;

/// Colours and letters, for a page and for a file alike.
pub(crate) const STYLE: &str = include_str!("plot/plot.css");

/// What a plot is drawn on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sheet {
    /// Of a page: wide, or a phone's. In CSS pixels.
    pub(crate) width: f64,
}

impl Sheet {
    /// A file of its own.
    pub(crate) const FILE: Self = Self { width: 860.0 };
    /// The column of a page.
    const WIDE: Self = Self { width: 860.0 };
    /// A phone of 360 pixels, without its margins.
    const PHONE: Self = Self { width: 328.0 };

    /// Whether names do not fit beside what they name.
    fn narrow(self) -> bool {
        self.width < 500.0
    }
}

/// Something that can be drawn at any width.
pub(crate) trait Plot {
    /// What it shows, in some words.
    fn title(&self) -> &str;
    /// What is to be seen in it, for who does not see it.
    fn about(&self) -> &str;
    /// The height that it takes on this sheet, in CSS pixels.
    fn height(&self, sheet: Sheet) -> f64;
    /// Draws into an area of that height and of the sheet's width.
    fn draw(&self, svg: &mut Svg, sheet: Sheet, area: Area);
}

/// A file that stands alone, its title in it.
pub(crate) fn file(plot: &dyn Plot) -> String {
    const TITLE_HEIGHT: f64 = 34.0;
    const MARGIN: f64 = 14.0;
    let sheet = Sheet { width: Sheet::FILE.width - 2.0 * MARGIN };
    let height = plot.height(sheet);
    let mut svg = Svg::new(Sheet::FILE.width, height + TITLE_HEIGHT + MARGIN);
    svg.text("title", MARGIN, 22.0, plot.title());
    plot.draw(&mut svg, sheet, Area { x: MARGIN, y: TITLE_HEIGHT, width: sheet.width, height });
    svg.file(plot.title(), plot.about())
}

/// Elements for a page that has [`STYLE`]: one for wide windows and print, one for phones. `id` is unique on it.
pub(crate) fn inline(plot: &dyn Plot, id: &str) -> String {
    [("wide", Sheet::WIDE), ("phone", Sheet::PHONE)]
        .map(|(class, sheet)| {
            let height = plot.height(sheet);
            let mut svg = Svg::new(sheet.width, height);
            plot.draw(&mut svg, sheet, Area { x: 0.0, y: 0.0, width: sheet.width, height });
            svg.inline(&format!("{id}-{class}"), class, plot.title(), plot.about())
        })
        .concat()
}
