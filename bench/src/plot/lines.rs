//! Lines over an axis: figures over time, over load or over numbers of things.

use super::labels::{KEY_ROW, KEY_WIDTH, apart, row_count, rows};
use super::svg::{bold_width, polyline, text_width};
use super::{Area, Plot, Scale, Sheet, Svg, Tint, Unit};

/// Pixels of an axis for each of its ticks.
const X_TICK: f64 = 84.0;
const Y_TICK: f64 = 36.0;

/// What is above the frame (the name of the vertical axis) and below it (ticks, then the other name).
const TOP: f64 = 24.0;
const TICKS_HEIGHT: f64 = 22.0;
const NAME_HEIGHT: f64 = 18.0;

/// From the end of a line to its name.
const NAME_DISTANCE: f64 = 10.0;

/// Between names of lines that end at about the same height.
const LABEL_GAP: f64 = 16.0;

/// One axis.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Axis {
    /// What is on it, with the unit where ticks do not say it.
    pub(crate) name: String,
    pub(crate) scale: Scale,
    pub(crate) unit: Unit,
}

impl Axis {
    /// A tick's letters.
    fn text(&self, tick: f64) -> String {
        self.unit.tick(tick, self.scale.end())
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) tint: Tint,
    /// How it is dashed, 0 (not at all) to 4: told apart also without colours.
    pub(crate) dash: usize,
    /// In order of `x`; a `y` that is not finite breaks the line.
    pub(crate) points: Vec<(f64, f64)>,
    /// Whether each point has a dot.
    pub(crate) dots: bool,
}

/// A level to hold lines against.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Limit {
    pub(crate) name: String,
    pub(crate) value: f64,
}

/// Where lines are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// At their ends, an area above the frame; lines below where the sheet is narrow.
    Beside,
    Below,
}

/// Lines, their axes and names.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Lines {
    pub(crate) title: String,
    pub(crate) about: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    /// Drawn as an area below everything.
    pub(crate) area: Option<Series>,
    pub(crate) lines: Vec<Series>,
    pub(crate) limits: Vec<Limit>,
    pub(crate) key: Key,
    /// Of the frame, in pixels.
    pub(crate) frame_height: f64,
}

impl Lines {
    /// The width that ticks beside the frame need.
    pub(super) fn left(&self) -> f64 {
        let ticks = self.y.scale.ticks(self.y.unit, self.y_ticks());
        ticks.iter().map(|tick| text_width(&self.y.text(*tick))).fold(0.0, f64::max) + 8.0
    }

    /// The width that names need beyond the frame, where it begins at `left`. A name stands at the end of its line.
    pub(super) fn right(&self, sheet: Sheet, left: f64) -> f64 {
        // Half of the last tick's letters stand beyond the end of the axis.
        let tick = (text_width(&self.x.text(self.x.scale.end())) / 2.0).max(12.0);
        if !self.beside(sheet) {
            return tick;
        }
        let needed = |series: &Series| {
            let share = self.x.scale.share(end(series)?.0).max(0.05);
            let name = bold_width(&series.name) + NAME_DISTANCE;
            Some((name - (1.0 - share) * (sheet.width - left)) / share)
        };
        self.lines.iter().filter_map(needed).fold(tick, f64::max)
    }

    fn beside(&self, sheet: Sheet) -> bool {
        self.key == Key::Beside && !sheet.narrow()
    }

    fn y_ticks(&self) -> usize {
        count(self.frame_height / Y_TICK)
    }

    /// All that is named below.
    fn keyed(&self, sheet: Sheet) -> Vec<&Series> {
        let lines = if self.beside(sheet) { &[][..] } else { &self.lines[..] };
        let area = self.area.iter().filter(|_| self.key == Key::Below);
        area.chain(lines).collect()
    }

    fn key_places(&self, sheet: Sheet) -> Vec<(f64, usize)> {
        rows(self.keyed(sheet).into_iter().map(|series| series.name.as_str()), sheet.width)
    }

    fn name_height(&self) -> f64 {
        if self.x.name.is_empty() { 0.0 } else { NAME_HEIGHT }
    }

    /// Draws with a frame between these margins, and with or without what is said of the horizontal axis.
    pub(super) fn draw_between(
        &self,
        svg: &mut Svg,
        sheet: Sheet,
        area: Area,
        margins: (f64, f64),
        ticks: bool,
    ) {
        let (left, right) = margins;
        let width = (area.width - left - right).max(1.0);
        let frame = Area { x: area.x + left, y: area.y + TOP, width, height: self.frame_height };
        self.axes(svg, area, frame, ticks);
        let x = |value: f64| frame.x + self.x.scale.share(value) * frame.width;
        let y = |value: f64| {
            if value.is_finite() { frame.bottom() - self.y.scale.share(value) * frame.height } else { value }
        };
        let points = |series: &Series| polyline(series.points.iter().map(|point| (x(point.0), y(point.1))));
        if let Some(series) = &self.area
            && let (Some(first), Some(last)) = (series.points.first(), series.points.last())
        {
            let floor = frame.bottom();
            let data =
                format!("{}L{:.1} {floor:.1}L{:.1} {floor:.1}Z", points(series), x(last.0), x(first.0));
            svg.path(&format!("area {}", series.tint.class()), &data);
        }
        for limit in &self.limits {
            let y = y(limit.value);
            svg.path("limit", &format!("M{:.1} {y:.1}H{:.1}", frame.x, frame.right()));
            svg.text("quiet halo", frame.x + 6.0, y - 5.0, &limit.name);
        }
        for series in &self.lines {
            let tint = series.tint.class();
            svg.path(&format!("line d{} {tint}", series.dash), &points(series));
            for point in series.points.iter().filter(|point| series.dots && point.1.is_finite()) {
                svg.dot(&format!("fill {tint}"), x(point.0), y(point.1), 3.0);
            }
        }
        svg.path(
            "frame",
            &format!("M{:.1} {:.1}V{:.1}H{:.1}", frame.x, frame.y, frame.bottom(), frame.right()),
        );
        if self.beside(sheet) {
            let named: Vec<(&Series, (f64, f64))> =
                self.lines.iter().filter_map(|series| Some((series, end(series)?))).collect();
            let ends: Vec<f64> = named.iter().map(|(_, end)| y(end.1)).collect();
            let places = apart(&ends, LABEL_GAP, frame.y + 4.0, frame.bottom() - 2.0);
            for ((series, end), place) in named.into_iter().zip(places) {
                let class = format!("tinted halo {}", series.tint.class());
                svg.text(&class, x(end.0) + NAME_DISTANCE, place + 4.5, &series.name);
            }
        }
        self.keys(svg, sheet, area);
    }

    fn axes(&self, svg: &mut Svg, area: Area, frame: Area, named: bool) {
        svg.text("quiet", area.x, area.y + 12.0, &self.y.name);
        if let Some(series) = self.area.as_ref().filter(|_| self.key == Key::Beside) {
            let x = area.x + text_width(&self.y.name) + 18.0;
            key(svg, series, true, x, area.y + 12.0);
        }
        for tick in self.y.scale.ticks(self.y.unit, self.y_ticks()) {
            let y = frame.bottom() - self.y.scale.share(tick) * frame.height;
            svg.path("grid", &format!("M{:.1} {y:.1}H{:.1}", frame.x, frame.right()));
            svg.text("quiet end", frame.x - 7.0, y + 4.5, &self.y.text(tick));
        }
        for tick in self.x.scale.ticks(self.x.unit, count(frame.width / X_TICK)) {
            let x = frame.x + self.x.scale.share(tick) * frame.width;
            svg.path("grid", &format!("M{x:.1} {:.1}v5", frame.bottom()));
            if named {
                svg.text("quiet middle", x, frame.bottom() + 18.0, &self.x.text(tick));
            }
        }
        if named && !self.x.name.is_empty() {
            let y = frame.bottom() + TICKS_HEIGHT + 14.0;
            svg.text("quiet end", frame.right(), y, &self.x.name);
        }
    }

    fn keys(&self, svg: &mut Svg, sheet: Sheet, area: Area) {
        let places = self.key_places(sheet);
        let top = area.bottom() - row_count(&places) as f64 * KEY_ROW + 10.0;
        let is_area = |series: &Series| self.area.as_ref().is_some_and(|area| std::ptr::eq(area, series));
        for (series, (x, row)) in self.keyed(sheet).into_iter().zip(places) {
            key(svg, series, is_area(series), area.x + x, top + row as f64 * KEY_ROW);
        }
    }

    /// The height, with or without what is said of the horizontal axis.
    pub(super) fn height_with(&self, sheet: Sheet, ticks: bool) -> f64 {
        let keys = match row_count(&self.key_places(sheet)) {
            0 => 0.0,
            rows => 10.0 + rows as f64 * KEY_ROW,
        };
        let below = if ticks { TICKS_HEIGHT + self.name_height() } else { 0.0 };
        TOP + self.frame_height + below + keys
    }
}

/// A piece of a line or of an area, and its name.
fn key(svg: &mut Svg, series: &Series, area: bool, x: f64, y: f64) {
    let tint = series.tint.class();
    if area {
        svg.rect(&format!("area {tint}"), Area { x, y: y - 10.0, width: 18.0, height: 11.0 });
    } else {
        svg.path(&format!("line d{} {tint}", series.dash), &format!("M{x:.1} {:.1}h18", y - 4.0));
    }
    svg.text("", x + KEY_WIDTH, y, &series.name);
}

/// The last point that was measured.
fn end(series: &Series) -> Option<(f64, f64)> {
    series.points.iter().rev().find(|point| point.1.is_finite()).copied()
}

impl Plot for Lines {
    fn title(&self) -> &str {
        &self.title
    }

    fn about(&self) -> &str {
        &self.about
    }

    fn height(&self, sheet: Sheet) -> f64 {
        self.height_with(sheet, true)
    }

    fn draw(&self, svg: &mut Svg, sheet: Sheet, area: Area) {
        let left = self.left();
        self.draw_between(svg, sheet, area, (left, self.right(sheet, left)), true);
    }
}

/// A whole number of ticks, 2 to 12.
fn count(ticks: f64) -> usize {
    (2..=12).rev().find(|most| *most as f64 <= ticks).unwrap_or(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::{file, inline};

    fn lines(key: Key) -> Lines {
        let series = |name: &str, tint, last: f64| Series {
            name: name.to_owned(),
            tint,
            dash: 0,
            points: vec![(0.0, 1.0), (1.0, 2.0), (2.0, last)],
            dots: true,
        };
        Lines {
            title: "T & t".to_owned(),
            about: "about it".to_owned(),
            x: Axis { name: "x".to_owned(), scale: Scale::until(2.0), unit: Unit::Count },
            y: Axis { name: "y".to_owned(), scale: Scale::from_zero(3.0), unit: Unit::Count },
            area: Some(series("load", Tint::Grey, 1.5)),
            lines: vec![series("a < b", Tint::Blue, 3.0), series("c", Tint::Orange, f64::NAN)],
            limits: vec![Limit { name: "the limit".to_owned(), value: 2.5 }],
            key,
            frame_height: 200.0,
        }
    }

    #[test]
    fn draws_each_line_and_what_it_is_called() {
        let svg = file(&lines(Key::Below));
        assert_eq!(svg.matches("class=\"line").count(), 4, "a line and its key for each");
        assert_eq!(svg.matches("<circle").count(), 5, "a dot for each point that was measured");
        assert!(svg.contains("a &lt; b") && svg.contains("T &amp; t") && svg.contains("the limit"));
        assert!(!svg.contains("NaN") && svg.contains("prefers-color-scheme: dark"));
    }

    #[test]
    fn names_stand_beside_only_where_there_is_room() {
        let page = inline(&lines(Key::Beside), "it");
        let (wide, phone) = page.split_once("</svg>").unwrap();
        assert_eq!([wide, phone].map(|svg| svg.matches("<text class=\"tinted").count()), [2, 0]);
        assert_eq!([wide, phone].map(|svg| svg.matches("class=\"line").count()), [2, 4]);
        assert!(wide.contains("id=\"it-wide-title\"") && phone.contains("id=\"it-phone-title\""));
    }
}
