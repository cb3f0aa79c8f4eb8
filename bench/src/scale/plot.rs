//! Lines over time as an SVG that stands alone and is read in light and in dark.

use std::fmt::Write;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 56.0;

/// Told apart also without colours, by their dashes, and in both schemes.
const STYLE: &str = "\
  text { font: 12px system-ui, sans-serif; fill: #24292f }
  .title { font-weight: 600; font-size: 14px }
  .frame { stroke: #8c959f; fill: none }
  .grid { stroke: #d0d7de; stroke-width: .6 }
  .area { fill: #afb8c1; opacity: .45 }
  .line { fill: none; stroke-width: 1.6; stroke-linejoin: round }
  .s0 { stroke: #0969da }
  .s1 { stroke: #1a7f37; stroke-dasharray: 7 3 }
  .s2 { stroke: #8250df; stroke-dasharray: 2 3 }
  .s3 { stroke: #cf222e; stroke-dasharray: 10 3 2 3 }
  .s4 { stroke: #9a6700; stroke-dasharray: 4 4 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .grid { stroke: #30363d } .area { fill: #6e7681 }
    .s0 { stroke: #58a6ff } .s1 { stroke: #3fb950 } .s2 { stroke: #bc8cff } .s3 { stroke: #ff7b72 } .s4 { stroke: #d29922 }
  }
";

/// A plot of replicas over time.
pub(crate) struct Plot<'a> {
    pub(crate) title: &'a str,
    /// Seconds from one value to the next.
    pub(crate) step_seconds: f64,
    /// What the load needs, drawn as an area.
    pub(crate) area: (&'a str, &'a [f64]),
    /// Lines, at most five.
    pub(crate) lines: &'a [(&'a str, Vec<f64>)],
}

impl Plot<'_> {
    /// The plot as the text of a file.
    pub(crate) fn svg(&self) -> String {
        let mut svg = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut svg);
        svg
    }

    fn write(&self, svg: &mut String) -> std::fmt::Result {
        let all = self.lines.iter().flat_map(|(_, values)| values).chain(self.area.1);
        let top = nice(all.copied().fold(1.0, f64::max));
        let values = self.area.1.len().max(1);
        let seconds = values as f64 * self.step_seconds;
        let x = |at: usize| LEFT + (at as f64 + 0.5) / values as f64 * (WIDTH - LEFT - RIGHT);
        let y = |value: f64| HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM);
        let (floor, ceiling, end) = (HEIGHT - BOTTOM, TOP, WIDTH - RIGHT);
        writeln!(
            svg,
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{}">"#,
            escaped(self.title)
        )?;
        writeln!(svg, "<style>\n{STYLE}</style>")?;
        writeln!(svg, r#"<text class="title" x="{LEFT}" y="18">{}</text>"#, escaped(self.title))?;
        for quarter in 0..=4 {
            let value = top * f64::from(quarter) / 4.0;
            let (y, label) = (y(value), number(value));
            writeln!(svg, r#"<path class="grid" d="M{LEFT} {y:.1}H{end}"/>"#)?;
            writeln!(
                svg,
                r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{label}</text>"#,
                LEFT - 6.0,
                y + 4.0
            )?;
        }
        for sixth in 0..=6 {
            let share = f64::from(sixth) / 6.0;
            let x = LEFT + share * (WIDTH - LEFT - RIGHT);
            let label = time(seconds * share, seconds);
            let anchor = if sixth == 6 { "end" } else { "middle" };
            writeln!(
                svg,
                r#"<text x="{x:.1}" y="{:.1}" text-anchor="{anchor}">{label}</text>"#,
                floor + 16.0
            )?;
        }
        let points = |values: &[f64]| {
            values.iter().enumerate().fold(String::new(), |mut path, (at, value)| {
                let _ = write!(path, "{}{:.1} {:.1}", if at == 0 { "M" } else { "L" }, x(at), y(*value));
                path
            })
        };
        let (area, last) = (points(self.area.1), x(values - 1));
        writeln!(svg, r#"<path class="area" d="{area}L{last:.1} {floor}L{:.1} {floor}Z"/>"#, x(0))?;
        for (at, (_, values)) in self.lines.iter().enumerate() {
            writeln!(svg, r#"<path class="line s{at}" d="{}"/>"#, points(values))?;
        }
        writeln!(svg, r#"<path class="frame" d="M{LEFT} {ceiling}V{floor}H{end}"/>"#)?;
        self.legend(svg)?;
        writeln!(svg, "</svg>")
    }

    fn legend(&self, svg: &mut String) -> std::fmt::Result {
        let (mut x, y) = (LEFT, HEIGHT - 14.0);
        writeln!(svg, r#"<rect class="area" x="{x}" y="{:.1}" width="18" height="10"/>"#, y - 10.0)?;
        writeln!(svg, r#"<text x="{:.1}" y="{y}">{}</text>"#, x + 23.0, escaped(self.area.0))?;
        x += 40.0 + 6.4 * self.area.0.chars().count() as f64;
        for (at, (name, _)) in self.lines.iter().enumerate() {
            writeln!(svg, r#"<path class="line s{at}" d="M{x:.1} {:.1}h18"/>"#, y - 4.0)?;
            writeln!(svg, r#"<text x="{:.1}" y="{y}">{}</text>"#, x + 23.0, escaped(name))?;
            x += 40.0 + 6.4 * name.chars().count() as f64;
        }
        Ok(())
    }
}

/// The next number of 1, 2, 4 or 8 times a power of ten: quarters of it are short to write.
fn nice(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 4.0, 8.0, 10.0]
        .map(|times| times * power)
        .into_iter()
        .find(|nice| *nice >= value)
        .unwrap_or(value)
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

fn time(seconds: f64, of: f64) -> String {
    if of >= 3.0 * 3_600.0 {
        format!("{:.0} h", seconds / 3_600.0)
    } else {
        format!("{:.0} min", seconds / 60.0)
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_each_line_and_what_it_is_called() {
        let lines = [("a < b", vec![1.0, 2.0, 3.0]), ("c", vec![0.0, 0.0, 0.0])];
        let plot =
            Plot { title: "T & t", step_seconds: 60.0, area: ("load", &[0.5, 1.0, 1.5]), lines: &lines };
        let svg = plot.svg();
        assert_eq!(svg.matches("class=\"line s").count(), 4, "a line and its key for each");
        assert!(svg.contains("a &lt; b") && svg.contains("T &amp; t") && svg.ends_with("</svg>\n"));
        assert!(!svg.contains("NaN") && svg.contains("prefers-color-scheme: dark"));
    }

    #[test]
    fn axes_end_at_short_numbers() {
        assert_eq!([0.9, 1.0, 1.1, 17.0, 45.0, 81.0].map(nice), [1.0, 1.0, 2.0, 20.0, 80.0, 100.0]);
    }
}
