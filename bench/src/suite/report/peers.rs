//! The gateway beside others, by the same client in turns.

use super::names::count;
use super::page::{Cell, Grid, Section};
use crate::plot::Unit;
use crate::suite::results::{Comparison, Results};

pub(super) fn section(results: &Results) -> Option<Section> {
    let table = |comparison: &Comparison| {
        let caption = format!(
            "{}, {} in each request",
            count(comparison.connections, "connection"),
            Unit::Bytes.text(comparison.request_bytes as f64)
        );
        let columns = ["Server", "#Requests per second", "#p50", "#p99", "#First's rate to this one's"];
        let mut grid = Grid::new(caption, columns);
        for side in &comparison.sides {
            grid.row([
                Cell::text(&side.name).note(&side.url),
                Cell::rounds(Unit::PerSecond, Some(&side.requests_per_second)),
                Cell::time(Some(side.latency.p50_ns)),
                Cell::time(Some(side.latency.p99_ns)),
                side.first_to_this
                    .as_ref()
                    .map_or_else(|| Cell::text(""), |ratio| Cell::rounds(Unit::Ratio, Some(ratio))),
            ]);
        }
        grid.block()
    };
    let blocks: Vec<_> = results.comparisons.iter().filter_map(table).collect();
    (!blocks.is_empty()).then(|| Section {
        id: "peers",
        title: "Beside others",
        lead: "The same requests, in turns, from the same client on the same machine. A ratio above 1 means that Bramble \
               answered more."
            .to_owned(),
        blocks,
    })
}
