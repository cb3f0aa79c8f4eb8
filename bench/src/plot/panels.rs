//! Several plots of lines over one axis, one above the other.

use super::{Area, Lines, Plot, Sheet, Svg};

/// Between two panels.
const GAP: f64 = 18.0;

/// Small multiples: their frames begin and end at the same places.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Panels {
    pub(crate) title: String,
    pub(crate) about: String,
    /// From top to bottom, all with the same horizontal axis.
    pub(crate) panels: Vec<Lines>,
}

impl Panels {
    /// Each panel with its height; only the last one says what is on the axis.
    fn rows(&self, sheet: Sheet) -> impl Iterator<Item = (&Lines, bool, f64)> {
        let last = self.panels.len().saturating_sub(1);
        self.panels.iter().enumerate().map(move |(at, panel)| {
            let ticks = at == last;
            (panel, ticks, panel.height_with(sheet, ticks))
        })
    }
}

impl Plot for Panels {
    fn title(&self) -> &str {
        &self.title
    }

    fn about(&self) -> &str {
        &self.about
    }

    fn height(&self, sheet: Sheet) -> f64 {
        let gaps = GAP * self.panels.len().saturating_sub(1) as f64;
        gaps + self.rows(sheet).map(|(_, _, height)| height).sum::<f64>()
    }

    fn draw(&self, svg: &mut Svg, sheet: Sheet, area: Area) {
        let left = self.panels.iter().map(Lines::left).fold(0.0, f64::max);
        let right = self.panels.iter().map(|panel| panel.right(sheet, left)).fold(0.0, f64::max);
        let mut y = area.y;
        for (panel, ticks, height) in self.rows(sheet) {
            panel.draw_between(svg, sheet, Area { y, height, ..area }, (left, right), ticks);
            y += height + GAP;
        }
    }
}
