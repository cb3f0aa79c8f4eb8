//! The page: what stands on it, and the template that writes it as HTML.

use anyhow::{Context, Result};
use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, UndefinedBehavior, context};
use serde::Serialize;

use crate::plot::{self, Plot, Unit};
use crate::suite::results::Rounds;

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");

/// Where there is no figure.
const NONE: &str = "–";

/// All that stands on the page.
#[derive(Debug, Serialize)]
pub(super) struct Page {
    pub(super) title: &'static str,
    pub(super) subject: &'static str,
    pub(super) lead: String,
    /// What must be said before any figure.
    pub(super) warnings: Vec<String>,
    pub(super) facts: Vec<Fact>,
    pub(super) headlines: Vec<Headline>,
    pub(super) sections: Vec<Section>,
}

/// A line about the run.
#[derive(Debug, Serialize)]
pub(super) struct Fact {
    pub(super) name: &'static str,
    pub(super) text: String,
}

/// A figure in large letters.
#[derive(Debug, Serialize)]
pub(super) struct Headline {
    pub(super) what: String,
    pub(super) figure: String,
    pub(super) note: String,
}

/// A part of the page with a heading.
#[derive(Debug, Serialize)]
pub(super) struct Section {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) lead: String,
    pub(super) blocks: Vec<Block>,
}

/// A piece of a section.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Block {
    Table(Grid),
    Figure(Figure),
    List { items: Vec<String> },
}

/// A table. The first cell of a row is its name.
#[derive(Debug, Serialize)]
pub(super) struct Grid {
    caption: String,
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
    /// Whether rows become paragraphs on a phone, where the cells are sentences.
    stacks: bool,
}

#[derive(Debug, Serialize)]
struct Column {
    name: String,
    figures: bool,
}

/// A cell: what it says, and in small letters its spread or the like.
#[derive(Debug, Default, Serialize)]
pub(super) struct Cell {
    text: String,
    note: String,
    class: &'static str,
}

/// A plot, and the same as a file beside the page.
#[derive(Debug, Serialize)]
pub(super) struct Figure {
    title: String,
    caption: String,
    /// The name of the file.
    file: String,
    svg: String,
    #[serde(skip)]
    text: String,
}

impl Page {
    /// The page as HTML.
    ///
    /// # Errors
    /// When the template names what is not there, which is a bug.
    pub(super) fn html(&self) -> Result<String> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::Html);
        environment.add_template("page", TEMPLATE).context("the template of the page")?;
        let style = [plot::STYLE, STYLE].concat();
        let template = environment.get_template("page").context("the template of the page")?;
        template.render(context! { style, ..Value::from(Serde(self)) }).context("writing the page")
    }

    /// The plots: the name of a file of each, and what is in it.
    pub(super) fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.sections.iter().flat_map(|section| &section.blocks).filter_map(|block| match block {
            Block::Figure(figure) => Some((figure.file.as_str(), figure.text.as_str())),
            Block::Table(_) | Block::List { .. } => None,
        })
    }
}

impl Grid {
    /// Columns whose names begin with `#` hold figures, and are set to the right.
    pub(super) fn new(
        caption: impl Into<String>,
        columns: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        let column = |name: String| match name.strip_prefix('#') {
            Some(name) => Column { name: name.to_owned(), figures: true },
            None => Column { name, figures: false },
        };
        let columns = columns.into_iter().map(|name| column(name.into())).collect();
        Self { caption: caption.into(), columns, rows: Vec::new(), stacks: false }
    }

    pub(super) fn stacking(mut self) -> Self {
        self.stacks = true;
        self
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// `None` without rows.
    pub(super) fn block(self) -> Option<Block> {
        (!self.rows.is_empty()).then_some(Block::Table(self))
    }
}

impl Cell {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    pub(super) fn none() -> Self {
        Self { text: NONE.to_owned(), class: "unknown", ..Self::default() }
    }

    pub(super) fn figure(unit: Unit, value: Option<f64>) -> Self {
        value.map_or_else(Self::none, |value| Self::text(unit.text(value)))
    }

    /// A schedule's, which is exact.
    pub(super) fn rate(rate: f64) -> Self {
        Self::text(format!("{}/s", Unit::PerSecond.tick(rate, rate)))
    }

    pub(super) fn time(nanos: Option<u64>) -> Self {
        Self::figure(Unit::Nanos, nanos.map(|nanos| nanos as f64))
    }

    /// The median, and from the lowest round to the highest.
    pub(super) fn rounds(unit: Unit, rounds: Option<&Rounds>) -> Self {
        rounds
            .map_or_else(Self::none, |rounds| Self::text(unit.text(rounds.median)).note(spread(unit, rounds)))
    }

    pub(super) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    pub(super) fn class(mut self, class: &'static str) -> Self {
        self.class = class;
        self
    }
}

/// `1.20 to 1.40 µs`, from the lowest round to the highest; nothing of a single one.
pub(super) fn spread(unit: Unit, rounds: &Rounds) -> String {
    if rounds.values.len() < 2 {
        return String::new();
    }
    let (low, high) = (unit.text(rounds.min), unit.text(rounds.max));
    match (low.split_once(' '), high.split_once(' ')) {
        (Some((number, a)), Some((_, b))) if a == b => format!("{number} to {high}"),
        _ => format!("{} to {high}", low.trim_end_matches("/s")),
    }
}

impl Figure {
    /// Draws for the page and for the file `<id>.svg`.
    pub(super) fn new(id: &str, plot: &dyn Plot, caption: impl Into<String>) -> Self {
        Self {
            title: plot.title().to_owned(),
            caption: caption.into(),
            file: format!("{id}.svg"),
            svg: plot::inline(plot, id),
            text: plot::file(plot),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_of_a_range_is_said_once() {
        let range = |unit, min, max| spread(unit, &Rounds::of([min, max]).unwrap());
        assert_eq!(range(Unit::Nanos, 1_200.0, 1_400.0), "1.20 to 1.40 µs");
        assert_eq!(range(Unit::Nanos, 900.0, 1_400.0), "900 ns to 1.40 µs");
        assert_eq!(range(Unit::PerSecond, 90_000.0, 98_000.0), "90,000 to 98,000/s");
        assert_eq!(range(Unit::Ratio, 0.6, 0.7), "0.60 to 0.70");
    }

    #[test]
    fn what_is_measured_cannot_break_the_page() {
        let mut grid = Grid::new("T", ["what", "#figure"]);
        grid.row([Cell::text("<script>alert(1)</script>"), Cell::figure(Unit::Count, None)]);
        let section =
            Section { id: "s", title: "S", lead: String::new(), blocks: grid.block().into_iter().collect() };
        let page = Page {
            title: "T",
            subject: "S",
            lead: "a & b".to_owned(),
            warnings: vec![],
            facts: vec![],
            headlines: vec![],
            sections: vec![section],
        };
        let html = page.html().unwrap();
        assert!(!html.contains("<script") && html.contains("&lt;script&gt;") && html.contains("a &amp; b"));
        assert!(html.contains("<td role=\"cell\" data-name=\"figure\" class=\"n unknown\">–</td>"), "{html}");
    }
}
