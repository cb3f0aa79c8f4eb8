//! The text of an SVG, piece by piece.

use std::fmt::Write;

/// Colours that colour-blind people tell apart, with enough contrast for letters in light and in dark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tint {
    Blue,
    Teal,
    Orange,
    Purple,
    Ochre,
    Grey,
}

impl Tint {
    /// Its class in the style.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Blue => "blue",
            Self::Teal => "teal",
            Self::Orange => "orange",
            Self::Purple => "purple",
            Self::Ochre => "ochre",
            Self::Grey => "grey",
        }
    }
}

/// A rectangle on a sheet, in its pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Area {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
}

impl Area {
    pub(crate) fn right(self) -> f64 {
        self.x + self.width
    }

    pub(crate) fn bottom(self) -> f64 {
        self.y + self.height
    }
}

/// A drawing.
#[derive(Debug)]
pub(crate) struct Svg {
    width: f64,
    height: f64,
    body: String,
}

// Writing to a string does not fail.
impl Svg {
    pub(crate) fn new(width: f64, height: f64) -> Self {
        Self { width, height: height.ceil(), body: String::new() }
    }

    pub(crate) fn path(&mut self, class: &str, data: &str) {
        let _ = writeln!(self.body, r#"<path class="{class}" d="{data}"/>"#);
    }

    pub(crate) fn dot(&mut self, class: &str, x: f64, y: f64, radius: f64) {
        let _ = writeln!(self.body, r#"<circle class="{class}" cx="{x:.1}" cy="{y:.1}" r="{radius}"/>"#);
    }

    pub(crate) fn rect(&mut self, class: &str, area: Area) {
        let Area { x, y, width, height } = area;
        let _ = writeln!(
            self.body,
            r#"<rect class="{class}" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}"/>"#
        );
    }

    /// Text that begins at `x`; the class `end` or `middle` makes it end there or be around it.
    pub(crate) fn text(&mut self, class: &str, x: f64, y: f64, text: &str) {
        let _ =
            writeln!(self.body, r#"<text class="{class}" x="{x:.1}" y="{y:.1}">{}</text>"#, escaped(text));
    }

    /// For a page that has the style already.
    pub(crate) fn inline(self, id: &str, class: &str, title: &str, about: &str) -> String {
        let Self { width, height, body } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"plot {class}\" viewBox=\"0 0 {width} {height}\" \
             role=\"img\" aria-labelledby=\"{id}-title\" aria-describedby=\"{id}-desc\">\n\
             <title id=\"{id}-title\">{}</title>\n<desc id=\"{id}-desc\">{}</desc>\n{body}</svg>\n",
            escaped(title),
            escaped(about),
        )
    }

    /// With its own style and background.
    pub(crate) fn file(self, title: &str, about: &str) -> String {
        let Self { width, height, body } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"plot\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"title\" aria-describedby=\"desc\">\n\
             <title id=\"title\">{}</title>\n<desc id=\"desc\">{}</desc>\n<style>\n{}</style>\n\
             <rect class=\"paper\" width=\"{width}\" height=\"{height}\"/>\n{body}</svg>\n",
            escaped(title),
            escaped(about),
            super::STYLE,
        )
    }
}

/// The points of a line; one that is not finite breaks it.
pub(crate) fn polyline(points: impl IntoIterator<Item = (f64, f64)>) -> String {
    let mut data = String::new();
    let mut drawn = false;
    for (x, y) in points {
        let here = x.is_finite() && y.is_finite();
        if here {
            let _ = write!(data, "{}{x:.1} {y:.1}", if drawn { 'L' } else { 'M' });
        }
        drawn = here;
    }
    data
}

/// About the width of a text on the sheet: letters of unknown fonts are taken as wide ones.
pub(crate) fn text_width(text: &str) -> f64 {
    7.3 * text.chars().count() as f64
}

/// The same of letters that are set bold.
pub(crate) fn bold_width(text: &str) -> f64 {
    text_width(text) * 1.16
}

/// For text and attributes of XML and HTML.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::STYLE;

    #[test]
    fn what_is_written_is_escaped() {
        let mut svg = Svg::new(10.0, 10.0);
        svg.text("t", 0.0, 0.0, "a < b & \"c\"");
        let text = svg.inline("x", "wide", "T & t", "<desc>");
        assert!(text.contains("a &lt; b &amp; &quot;c&quot;") && text.contains(">T &amp; t<"));
        assert!(text.contains("&lt;desc&gt;") && text.ends_with("</svg>\n"));
    }

    #[test]
    fn a_line_breaks_where_nothing_was_measured() {
        let data = polyline([(0.0, 1.0), (1.0, 2.0), (2.0, f64::NAN), (3.0, 4.0), (4.0, 5.0)]);
        assert_eq!(data, "M0.0 1.0L1.0 2.0M3.0 4.0L4.0 5.0");
    }

    /// Relative luminance of `#rrggbb`, by WCAG 2.
    fn luminance(colour: &str) -> f64 {
        let part = |at: usize| {
            let value = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
            if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
    }

    #[test]
    fn every_colour_of_letters_has_contrast_in_light_and_in_dark() {
        let schemes: Vec<&str> = STYLE.split(":root").skip(1).collect();
        assert_eq!(schemes.len(), 2, "one for light, one for dark");
        for scheme in schemes {
            let colour = |name: &str| {
                let (_, rest) = scheme.split_once(&format!("--{name}: ")).unwrap();
                luminance(&rest[..7])
            };
            for name in ["ink", "quiet", "blue", "teal", "orange", "purple", "ochre", "grey"] {
                let (a, b) = (colour(name), colour("paper"));
                let contrast = (a.max(b) + 0.05) / (a.min(b) + 0.05);
                assert!(contrast >= 4.5, "{name}: {contrast:.2}");
            }
        }
    }
}
