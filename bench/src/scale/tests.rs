use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    scale: Scale,
}

/// The rows of a trace, by who decides. The same at every run: nothing in it is measured.
fn check(kind: Kind, replicas: Replica, options: &[&str]) -> Vec<Row> {
    let options = ["scale"].iter().chain(options);
    let scale = Cli::try_parse_from(options).unwrap().scale;
    let replay = scale.replay(kind, replicas).unwrap();
    assert!(replay.rows.iter().all(|row| row.requests == replay.rows[0].requests), "not the same requests");
    replay.rows
}

fn of(rows: &[Row], contender: Contender) -> &Row {
    rows.iter().find(|row| row.contender == contender).unwrap()
}

#[test]
fn a_steady_load_is_served_sooner_and_with_less_than_by_the_alert_rule_and_without_a_flap() {
    for replicas in [Replica::Container, Replica::Wasm] {
        let rows = check(Kind::Steady, replicas, &[]);
        let rule = of(&rows, Contender::Rule);
        for ours in [Contender::Capacity, Contender::Rps].map(|contender| of(&rows, contender)) {
            assert!(ours.latency.p99_ns * 10 < rule.latency.p99_ns, "{replicas:?}: {ours:?} {rule:?}");
            assert!(ours.replica_seconds < rule.replica_seconds, "{replicas:?}: {ours:?} {rule:?}");
            assert!(ours.reversals <= 2, "in 20 minutes, {replicas:?}: {ours:?}");
        }
    }
}

#[test]
fn a_burst_waits_less_than_with_knative() {
    for replicas in [Replica::Container, Replica::Wasm] {
        let rows = check(Kind::Burst, replicas, &[]);
        let [ours, knative] = [Contender::Capacity, Contender::Knative].map(|contender| of(&rows, contender));
        assert!(ours.wait.p99_ns < knative.wait.p99_ns, "{replicas:?}: {ours:?} {knative:?}");
        assert!(ours.reversals < knative.reversals, "{replicas:?}: {ours:?} {knative:?}");
    }
}

#[test]
fn functions_that_are_seldom_called_freeze_and_start_seldom() {
    let rows = check(Kind::Azure, Replica::Container, &["--functions=50", "--contender=capacity,knative"]);
    let [ours, knative] = [Contender::Capacity, Contender::Knative].map(|contender| of(&rows, contender));
    assert!(ours.cold * 2 < knative.cold && ours.thawed > 0, "{ours:?} {knative:?}");
    assert!(ours.frozen_replica_seconds > 0.0, "{ours:?}");
}

#[test]
fn a_part_that_makes_no_sense_is_refused() {
    for options in [["scale", "--service-ms=0"], ["scale", "--max=0"], ["scale", "--concurrency=0"]] {
        assert!(Cli::try_parse_from(options).unwrap().scale.report().is_err(), "{options:?}");
    }
}
