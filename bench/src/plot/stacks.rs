//! What things consist of: for each a bar of parts, and below it the parts with their figures.

use super::labels::{KEY_ROW, KEY_WIDTH, row_count, rows};
use super::{Area, Plot, Scale, Sheet, Svg, Tint, Unit};

const NAME_HEIGHT: f64 = 24.0;
const BAR_HEIGHT: f64 = 24.0;
/// Between a bar and its keys, and behind those.
const KEYS_GAP: f64 = 7.0;
const GAP: f64 = 20.0;

/// One part of a bar.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) value: f64,
    /// Whether it is what the named parts leave.
    pub(crate) rest: bool,
}

/// One thing and its parts, in order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stack {
    pub(crate) name: String,
    pub(crate) tint: Tint,
    pub(crate) unit: Unit,
    pub(crate) parts: Vec<Part>,
}

/// Bars, each on a scale of its own: what is compared may differ by a thousand times.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stacks {
    pub(crate) title: String,
    pub(crate) about: String,
    pub(crate) stacks: Vec<Stack>,
}

impl Stack {
    fn keys(&self) -> Vec<String> {
        self.parts.iter().map(|part| format!("{} {}", part.name, self.unit.text(part.value))).collect()
    }

    fn height(&self, width: f64) -> f64 {
        let keys = self.keys();
        let rows = row_count(&rows(keys.iter().map(String::as_str), width));
        NAME_HEIGHT + BAR_HEIGHT + KEYS_GAP + rows as f64 * KEY_ROW
    }

    fn draw(&self, svg: &mut Svg, area: Area) {
        let tint = self.tint.class();
        let total: f64 = self.parts.iter().map(|part| part.value).sum();
        svg.text("head", area.x, area.y + 15.0, &self.name);
        svg.text(&format!("tinted end {tint}"), area.right(), area.y + 15.0, &self.unit.text(total));
        let scale = Scale::until(total);
        let keys = self.keys();
        let places = rows(keys.iter().map(String::as_str), area.width);
        let (bar_y, mut x) = (area.y + NAME_HEIGHT, area.x);
        for ((at, part), (key, (key_x, row))) in self.parts.iter().enumerate().zip(keys.iter().zip(places)) {
            let class =
                if part.rest { "part p5 grey".to_owned() } else { format!("part p{} {tint}", at.min(4)) };
            let width = scale.share(part.value) * area.width;
            svg.rect(&class, Area { x, y: bar_y, width, height: BAR_HEIGHT });
            x += width;
            let key_y = bar_y + BAR_HEIGHT + KEYS_GAP + row as f64 * KEY_ROW + 13.0;
            let key_x = area.x + key_x;
            svg.rect(&class, Area { x: key_x, y: key_y - 11.0, width: 16.0, height: 13.0 });
            svg.text("", key_x + KEY_WIDTH, key_y, key);
        }
    }
}

impl Plot for Stacks {
    fn title(&self) -> &str {
        &self.title
    }

    fn about(&self) -> &str {
        &self.about
    }

    fn height(&self, sheet: Sheet) -> f64 {
        let gaps = GAP * self.stacks.len().saturating_sub(1) as f64;
        gaps + self.stacks.iter().map(|stack| stack.height(sheet.width)).sum::<f64>()
    }

    fn draw(&self, svg: &mut Svg, sheet: Sheet, area: Area) {
        let mut y = area.y;
        for stack in &self.stacks {
            let height = stack.height(sheet.width);
            stack.draw(svg, Area { y, height, ..area });
            y += height + GAP;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::inline;

    #[test]
    fn parts_fill_the_bar_and_are_named_with_their_figures() {
        let part = |name: &str, value| Part { name: name.to_owned(), value, rest: false };
        let stack = Stack {
            name: "wasm".to_owned(),
            tint: Tint::Blue,
            unit: Unit::Nanos,
            parts: vec![part("load", 3e5), part("instantiate", 1e5)],
        };
        let stacks = Stacks { title: "T".to_owned(), about: "about".to_owned(), stacks: vec![stack] };
        let svg = inline(&stacks, "s");
        let wide = svg.split("</svg>").next().unwrap();
        assert!(wide.contains("load 300 µs") && wide.contains(">400 µs<"));
        let width: f64 = Sheet::WIDE.width;
        for share in [0.75, 0.25] {
            assert!(wide.contains(&format!("width=\"{:.1}\"", share * width)), "{wide}");
        }
    }
}
