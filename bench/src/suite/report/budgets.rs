//! The design's budgets, with what came of them.

use super::page::{Cell, Grid, Section};
use crate::suite::results::{Budget, Results, Verdict};

pub(super) fn section(results: &Results) -> Option<Section> {
    let mut grid = Grid::new("Budgets of the design", ["What", "#Budget", "#Measured", "Verdict"]).stacking();
    for Budget { what, budget, measured, verdict, .. } in &results.budgets {
        let (text, class) = match verdict {
            Verdict::Met => ("✓ met", "met"),
            Verdict::Missed => ("✗ missed", "missed"),
            Verdict::NotMeasured => ("not measured", "unknown"),
        };
        // A reason is a sentence, and a figure is not to be broken.
        let (figure, note) = measured.split_once(" (").map_or((measured.as_str(), ""), |(figure, rest)| {
            (figure, rest.strip_suffix(')').unwrap_or(rest))
        });
        let (reason, measured) = match verdict {
            Verdict::NotMeasured => (measured.as_str(), Cell::none()),
            Verdict::Met | Verdict::Missed => ("", Cell::text(figure).note(typeset(note))),
        };
        let what = Cell::text(what).note(reason);
        grid.row([what, Cell::text(typeset(budget)), measured, Cell::text(text).class(class)]);
    }
    let count = |verdict| results.budgets.iter().filter(|budget| budget.verdict == verdict).count();
    let (met, missed) = (count(Verdict::Met), count(Verdict::Missed));
    let lead = match missed {
        0 => {
            format!("What the design promises, held against this run: all {met} that were measured are met.")
        }
        _ => format!("What the design promises, held against this run: {met} met, {missed} missed."),
    };
    Some(Section { id: "budgets", title: "Budgets", lead, blocks: vec![grid.block()?] })
}

/// The signs of a terminal as those of a book.
fn typeset(text: &str) -> String {
    text.replace("<=", "≤").replace(">=", "≥").replace("..", " to ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_those_of_a_book() {
        assert_eq!([">= 0.80", "0.63..0.69"].map(typeset), ["≥ 0.80", "0.63 to 0.69"]);
    }
}
