//! Distributions: each value a dot, with a box of the middle half and a mark at the median.

use super::svg::{bold_width, text_width};
use super::{Area, Axis, Plot, Sheet, Svg, Tint};

/// Dots of one strip: of more values, quantiles at equal distances are drawn.
const DOTS: usize = 160;

const HEAD_HEIGHT: f64 = 26.0;
const ROW_HEIGHT: f64 = 30.0;
/// Where the sheet is narrow, the name stands above the strip.
const NAME_HEIGHT: f64 = 18.0;
const AXIS_HEIGHT: f64 = 44.0;
const X_TICK: f64 = 74.0;

/// One distribution.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Strip {
    pub(crate) name: String,
    pub(crate) tint: Tint,
    pub(crate) values: Vec<f64>,
}

/// Distributions of one thing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StripGroup {
    pub(crate) name: String,
    pub(crate) strips: Vec<Strip>,
}

/// Distributions over one axis.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Strips {
    pub(crate) title: String,
    pub(crate) about: String,
    pub(crate) x: Axis,
    pub(crate) groups: Vec<StripGroup>,
}

impl Strips {
    fn strips(&self) -> impl Iterator<Item = &Strip> {
        self.groups.iter().flat_map(|group| &group.strips)
    }

    fn widest<'a>(names: impl Iterator<Item = &'a str>) -> f64 {
        names.map(text_width).fold(0.0, f64::max)
    }

    fn row_height(sheet: Sheet) -> f64 {
        if sheet.narrow() { ROW_HEIGHT + NAME_HEIGHT } else { ROW_HEIGHT }
    }

    fn strip(&self, svg: &mut Svg, strip: &Strip, frame: Area, middle: f64) {
        let tint = strip.tint.class();
        let mut sorted: Vec<f64> = strip.values.iter().copied().filter(|value| value.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        if sorted.is_empty() {
            return;
        }
        let x = |value: f64| frame.x + self.x.scale.share(value) * frame.width;
        let count = sorted.len().min(DOTS);
        for at in 0..count {
            let share = (at as f64 + 0.5) / count as f64;
            let y = middle + (spread(at) - 0.5) * 17.0;
            svg.dot(&format!("fill faint {tint}"), x(quantile(&sorted, share)), y, 2.2);
        }
        let (low, high) = (x(quantile(&sorted, 0.25)), x(quantile(&sorted, 0.75)));
        let area = Area { x: low, y: middle - 10.0, width: (high - low).max(1.0), height: 20.0 };
        svg.rect(&format!("box {tint}"), area);
        let median = x(quantile(&sorted, 0.5));
        svg.path(&format!("mark {tint}"), &format!("M{median:.1} {:.1}v24", middle - 12.0));
    }

    fn axis(&self, svg: &mut Svg, frame: Area) {
        let most = (2..=10).rev().find(|most| *most as f64 <= frame.width / X_TICK).unwrap_or(2);
        for tick in self.x.scale.ticks(self.x.unit, most) {
            let x = frame.x + self.x.scale.share(tick) * frame.width;
            svg.path("grid", &format!("M{x:.1} {:.1}V{:.1}", frame.y, frame.bottom() + 5.0));
            svg.text("quiet middle", x, frame.bottom() + 19.0, &self.x.unit.tick(tick, self.x.scale.end()));
        }
        svg.path("frame", &format!("M{:.1} {:.1}H{:.1}", frame.x, frame.bottom(), frame.right()));
        svg.text("quiet end", frame.right(), frame.bottom() + 37.0, &self.x.name);
    }
}

impl Plot for Strips {
    fn title(&self) -> &str {
        &self.title
    }

    fn about(&self) -> &str {
        &self.about
    }

    fn height(&self, sheet: Sheet) -> f64 {
        let rows = self.strips().count() as f64 * Self::row_height(sheet);
        self.groups.len() as f64 * HEAD_HEIGHT + rows + AXIS_HEIGHT
    }

    fn draw(&self, svg: &mut Svg, sheet: Sheet, area: Area) {
        let medians: Vec<String> = self.strips().map(|strip| median(&strip.values, self.x.unit)).collect();
        let (left, right) = if sheet.narrow() {
            (12.0, 16.0)
        } else {
            let names = Self::widest(self.strips().map(|strip| strip.name.as_str()));
            (names + 12.0, medians.iter().map(|median| bold_width(median)).fold(0.0, f64::max) + 10.0)
        };
        let height = area.height - AXIS_HEIGHT;
        let frame = Area { x: area.x + left, y: area.y, width: area.width - left - right, height };
        self.axis(svg, frame);
        let mut medians = medians.into_iter();
        let mut y = area.y;
        for group in &self.groups {
            // The grid is not to run through letters.
            let under = Area { x: area.x, y: y + 2.0, width: bold_width(&group.name) + 8.0, height: 20.0 };
            svg.rect("paper", under);
            svg.text("head", area.x, y + 17.0, &group.name);
            y += HEAD_HEIGHT;
            for strip in &group.strips {
                let median = medians.next().unwrap_or_default();
                let (name, value) = (strip.name.as_str(), format!("tinted {}", strip.tint.class()));
                let middle = y + Self::row_height(sheet) - ROW_HEIGHT / 2.0;
                if sheet.narrow() {
                    let under = Area { x: area.x, y: y + 1.0, width: area.width, height: NAME_HEIGHT - 2.0 };
                    svg.rect("paper", under);
                    svg.text("", area.x, y + 14.0, name);
                    svg.text(&format!("{value} end"), area.right(), y + 14.0, &median);
                } else {
                    svg.text("end", frame.x - 10.0, middle + 4.5, name);
                    svg.text(&format!("{value} end"), area.right(), middle + 4.5, &median);
                }
                self.strip(svg, strip, frame, middle);
                y += Self::row_height(sheet);
            }
        }
    }
}

fn median(values: &[f64], unit: super::Unit) -> String {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    unit.text(quantile(&sorted, 0.5))
}

/// The value below which a share of sorted ones lies, between two of them where it falls there; NaN of none.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share.clamp(0.0, 1.0) * sorted.len().saturating_sub(1) as f64;
    let below = sorted.iter().enumerate().take_while(|(at, _)| *at as f64 <= place).last();
    let Some((at, &low)) = below else { return f64::NAN };
    let high = sorted.get(at + 1).copied().unwrap_or(low);
    low + (high - low) * (place - at as f64)
}

/// Numbers between 0 and 1, evenly spread however many are taken, the same at every run (van der Corput).
fn spread(mut at: usize) -> f64 {
    let (mut value, mut step) = (0.0, 0.5);
    while at > 0 {
        if at % 2 == 1 {
            value += step;
        }
        at /= 2;
        step /= 2.0;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::{Scale, Unit, inline};

    #[test]
    fn quantiles_lie_between_values() {
        let sorted = [1.0, 2.0, 3.0, 10.0];
        assert_eq!([0.0, 0.5, 1.0, 2.0].map(|share| quantile(&sorted, share)), [1.0, 2.5, 10.0, 10.0]);
        assert_eq!(quantile(&[7.0], 0.25), 7.0);
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn dots_are_spread_evenly() {
        assert_eq!([0, 1, 2, 3, 4].map(spread), [0.0, 0.5, 0.25, 0.75, 0.125]);
    }

    #[test]
    fn draws_a_bounded_number_of_dots_and_the_median_of_all() {
        let values: Vec<f64> = (1..=1_001).map(|at| f64::from(at) * 1e3).collect();
        let strips = Strips {
            title: "T".to_owned(),
            about: "about".to_owned(),
            x: Axis { name: "time".to_owned(), scale: Scale::log(values.clone()), unit: Unit::Nanos },
            groups: vec![StripGroup {
                name: "echo".to_owned(),
                strips: vec![
                    Strip { name: "wasm".to_owned(), tint: Tint::Blue, values },
                    Strip { name: "nothing".to_owned(), tint: Tint::Orange, values: vec![] },
                ],
            }],
        };
        let svg = inline(&strips, "s");
        assert_eq!(svg.matches("<circle").count(), 2 * DOTS);
        assert_eq!((svg.matches("501 µs").count(), svg.matches("nothing").count()), (2, 2));
        assert!(!svg.contains("NaN"));
    }
}
