//! Runs from 0 replicas up and back: load, replicas and latency over one axis of time.

use super::names::{self, count, tint};
use super::page::{Block, Figure, Section};
use crate::plot::{Axis, Key, Lines, Panels, Scale, Series, Tint, Unit};
use crate::suite::results::{Results, Timeline, TimelinePoint};

pub(super) fn section(results: &Results) -> Option<Section> {
    let blocks: Vec<Block> = results.timelines.iter().filter_map(figure).collect();
    (!blocks.is_empty()).then(|| Section {
        id: "timeline",
        title: "From 0 to many and back",
        lead: "A load begins while nothing is running, rises, and ends. The scaler does the rest; latency counts from \
               the instant each request was due, so the wait for the first replica is in it."
            .to_owned(),
        blocks,
    })
}

fn figure(timeline: &Timeline) -> Option<Block> {
    let end = timeline.points.last()?.at_seconds;
    let runtime = names::runtime(timeline.runtime);
    let panels = vec![load(timeline, end), replicas(timeline, end), latency(timeline, end)];
    let most = timeline.points.iter().map(|point| point.replicas).max().unwrap_or_default();
    let last = timeline.points.last().map_or(0, |point| point.replicas);
    let failed: u64 = timeline.points.iter().map(|point| point.failed).sum();
    let plot = Panels {
        title: format!("{} as {}, over {}", timeline.program, kind(runtime), Unit::Clock.text(end)),
        about: format!(
            "Replicas go from {} to {most}, and are {last} in the end.",
            timeline.points.first().map_or(0, |point| point.replicas)
        ),
        panels,
    };
    let failed = match failed {
        0 => "Every answer was right.".to_owned(),
        _ => format!(
            "{} got no right answer.",
            count(usize::try_from(failed).unwrap_or(usize::MAX), "request")
        ),
    };
    let caption =
        format!("{failed} Areas are what was due and what the scaler asked for, lines what there was.");
    Some(Block::Figure(Figure::new(&format!("timeline-{runtime}"), &plot, caption)))
}

fn kind(runtime: &str) -> &str {
    if runtime == "wasm" { "a wasm function" } else { "a container" }
}

fn series(
    timeline: &Timeline,
    name: &str,
    tint: Tint,
    dash: usize,
    of: impl Fn(&TimelinePoint) -> f64,
) -> Series {
    let points = timeline.points.iter().map(|point| (point.at_seconds, of(point))).collect();
    Series { name: name.to_owned(), tint, dash, points, dots: false }
}

/// A count holds until the next one.
fn steps(mut series: Series) -> Series {
    let mut points: Vec<(f64, f64)> = Vec::with_capacity(2 * series.points.len());
    for (x, y) in series.points {
        if let Some((_, before)) = points.last().copied() {
            points.push((x, before));
        }
        points.push((x, y));
    }
    series.points = points;
    series
}

fn panel(name: &str, end: f64, y: (Scale, Unit), area: Option<Series>, lines: Vec<Series>) -> Lines {
    Lines {
        title: name.to_owned(),
        about: String::new(),
        x: Axis { name: String::new(), scale: Scale::until(end), unit: Unit::Clock },
        y: Axis { name: name.to_owned(), scale: y.0, unit: y.1 },
        area,
        lines,
        limits: Vec::new(),
        key: Key::Beside,
        frame_height: 120.0,
    }
}

fn most(series: &[&Series]) -> f64 {
    series.iter().flat_map(|series| &series.points).map(|point| point.1).fold(0.0, f64::max)
}

fn load(timeline: &Timeline, end: f64) -> Lines {
    let due = series(timeline, "due", Tint::Grey, 0, |point| point.offered_per_second);
    let answered = series(timeline, "answered", tint(timeline.runtime), 0, |point| point.requests_per_second);
    let scale = Scale::from_zero(most(&[&due, &answered]));
    panel("requests per second", end, (scale, Unit::Count), Some(due), vec![answered])
}

fn replicas(timeline: &Timeline, end: f64) -> Lines {
    let there = steps(series(timeline, "there", tint(timeline.runtime), 0, |point| point.replicas as f64));
    let asked = steps(series(timeline, "asked for", Tint::Grey, 0, |point| point.desired_replicas as f64));
    let scale = Scale::from_zero(most(&[&there, &asked]).max(2.0));
    panel("replicas", end, (scale, Unit::Count), Some(asked), vec![there])
}

fn latency(timeline: &Timeline, end: f64) -> Lines {
    let of = |name, dash, quantile: fn(&TimelinePoint) -> Option<u64>| {
        let nanos = move |point: &TimelinePoint| quantile(point).map_or(f64::NAN, |nanos| nanos as f64);
        series(timeline, name, tint(timeline.runtime), dash, nanos)
    };
    let lines = vec![of("p99", 1, |point| point.p99_ns), of("p50", 0, |point| point.p50_ns)];
    let scale = Scale::log(lines.iter().flat_map(|line| &line.points).map(|point| point.1));
    panel("latency, logarithmic", end, (scale, Unit::Nanos), None, lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_stay_until_they_change() {
        let series = Series {
            name: String::new(),
            tint: Tint::Blue,
            dash: 0,
            points: vec![(1.0, 0.0), (2.0, 4.0), (3.0, 4.0)],
            dots: false,
        };
        assert_eq!(steps(series).points, [(1.0, 0.0), (2.0, 0.0), (2.0, 4.0), (3.0, 4.0), (3.0, 4.0)]);
    }
}
