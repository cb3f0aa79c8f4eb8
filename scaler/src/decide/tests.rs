use std::collections::BTreeMap;

use bramble_provider::spec::{SCALE_MIN_LABEL as MIN_LABEL, SCALE_TYPE_LABEL};
use proptest::prelude::*;

use super::*;
use crate::policy::{Defaults, FACTOR_LABEL, FREEZE_AFTER_LABEL, MAX_LABEL, TARGET_LABEL, ZERO_LABEL};

fn policy(entries: &[(&str, &str)]) -> Policy {
    let labels: BTreeMap<_, _> =
        entries.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect();
    Policy::from_labels(&labels, Runtime::Container, &Defaults::default()).unwrap()
}

/// 50 per second for one replica, 0.9 of it aimed at: 45.
fn rps() -> Policy {
    policy(&[])
}

fn state(desired: u32) -> State {
    State { runtime: Runtime::Container, desired, available: desired, frozen: 0, memory_short: false }
}

fn at(rps: f64) -> Load {
    Load {
        rps: Some(rps),
        inflight: Some(1.0),
        cpu_cores: Some(0.1),
        queued: Some(0.0),
        waiting: None,
        idle_for: Some(Duration::ZERO),
    }
}

fn idle_for(seconds: u64) -> Load {
    let idle_for = Some(Duration::from_secs(seconds));
    let zero = Some(0.0);
    Load { rps: zero, inflight: zero, cpu_cores: zero, queued: zero, waiting: None, idle_for }
}

fn replicas(proposal: Proposal) -> u32 {
    match proposal.change {
        Change::Follow { replicas, .. } => replicas,
        other => panic!("{other:?} follows no load"),
    }
}

#[test]
fn replicas_are_in_proportion_to_load() {
    for (load, expected) in
        [(0.0, 1), (1.0, 1), (45.0, 1), (45.1, 2), (90.0, 2), (400.0, 9), (900.0, 20), (1e9, 20)]
    {
        assert_eq!(replicas(decide(&rps(), &at(load), &state(3))), expected, "{load}");
    }
}

#[test]
fn starting_and_frozen_replicas_do_not_change_what_a_load_needs() {
    let steady = decide(&rps(), &at(200.0), &state(5));
    for (available, frozen) in [(0, 0), (1, 0), (5, 4), (5, 5)] {
        let state = State { available, frozen, ..state(5) };
        assert_eq!(decide(&rps(), &at(200.0), &state), steady, "{available} {frozen}");
    }
}

#[test]
fn each_type_reads_its_own_load() {
    let load = Load {
        rps: Some(100.0),
        inflight: Some(20.0),
        cpu_cores: Some(1.5),
        queued: Some(10.0),
        waiting: None,
        idle_for: Some(Duration::ZERO),
    };
    for (signal, target, expected) in
        [("rps", "25", 4), ("capacity", "5", 6), ("cpu", "500", 3), ("queue", "5", 2)]
    {
        let policy = policy(&[
            (SCALE_TYPE_LABEL, signal),
            (TARGET_LABEL, target),
            ("com.openfaas.scale.target-proportion", "1"),
        ]);
        assert_eq!(replicas(decide(&policy, &load, &state(1))), expected, "{signal}");
    }
}

#[test]
fn a_load_that_is_missing_or_no_number_changes_nothing() {
    for signal in [Signal::Rps, Signal::Capacity, Signal::Cpu, Signal::Queue] {
        let policy = Policy { signal, ..rps() };
        for value in [None, Some(f64::NAN), Some(f64::INFINITY), Some(f64::NEG_INFINITY), Some(-1.0)] {
            let load = Load {
                rps: value,
                inflight: value,
                cpu_cores: value,
                queued: value,
                waiting: value,
                idle_for: None,
            };
            let proposal = decide(&policy, &load, &state(3));
            assert_eq!(
                proposal,
                Proposal { change: Change::Keep, reason: Reason::NoData { signal } },
                "{value:?}"
            );
        }
    }
}

#[test]
fn does_not_follow_load_where_the_labels_leave_no_choice() {
    for labels in [&[(FACTOR_LABEL, "0")][..], &[(MIN_LABEL, "2"), (MAX_LABEL, "2")], &[(MAX_LABEL, "0")]] {
        let proposal = decide(&policy(labels), &at(1e6), &state(2));
        assert_eq!(proposal, Proposal { change: Change::Keep, reason: Reason::Fixed }, "{labels:?}");
    }
}

#[test]
fn leaves_zero_only_for_who_waits() {
    let gone = state(0);
    // The rate of the last minute is no reason: the function went to zero, or was put there.
    let past = Load { inflight: Some(0.0), ..at(500.0) };
    assert_eq!(decide(&rps(), &past, &gone).reason, Reason::AtZero);
    assert_eq!(decide(&rps(), &Load::default(), &gone).reason, Reason::AtZero);
    let waiting = Load { queued: Some(3.0), ..Load::default() };
    let proposal = decide(&rps(), &waiting, &gone);
    assert_eq!((proposal.change, proposal.reason), (Change::Exactly(1), Reason::Wanted { invocations: 3.0 }));
    let slots = State { runtime: Runtime::Wasm, ..gone };
    let waiting = Load { queued: Some(1.0), ..Load::default() };
    assert_eq!(decide(&policy(&[(MIN_LABEL, "3")]), &waiting, &slots).change, Change::Exactly(3));
    assert_eq!(decide(&policy(&[(MIN_LABEL, "3")]), &waiting, &gone).change, Change::Exactly(1));
    // What ran before it went there, on whatever.
    let running = Load { inflight: Some(3.0), queued: Some(0.0), ..Load::default() };
    for runtime in [Runtime::Wasm, Runtime::Container, Runtime::Hybrid] {
        assert_eq!(decide(&rps(), &running, &State { runtime, ..gone }).reason, Reason::AtZero);
    }
}

#[test]
fn freezes_then_goes_to_zero() {
    let policy = policy(&[(ZERO_LABEL, "true"), (FREEZE_AFTER_LABEL, "30s")]);
    let one = state(1);
    assert!(matches!(decide(&policy, &idle_for(29), &one).change, Change::Follow { .. }));
    assert_eq!(decide(&policy, &idle_for(30), &one).change, Change::Freeze);
    let frozen = State { frozen: 1, ..one };
    assert_eq!(replicas(decide(&policy, &idle_for(31), &frozen)), 1);
    assert!(matches!(decide(&policy, &idle_for(899), &frozen).change, Change::Follow { .. }));
    assert_eq!(decide(&policy, &idle_for(900), &frozen).change, Change::Exactly(0));
}

#[test]
fn a_slot_is_not_frozen() {
    let policy = policy(&[(ZERO_LABEL, "true"), (FREEZE_AFTER_LABEL, "30s")]);
    let wasm = State { runtime: Runtime::Wasm, ..state(1) };
    assert!(matches!(decide(&policy, &idle_for(30), &wasm).change, Change::Follow { .. }));
    assert_eq!(decide(&policy, &idle_for(900), &wasm).change, Change::Exactly(0));
}

#[test]
fn is_neither_frozen_nor_removed_while_an_invocation_runs_or_waits_or_may() {
    let policy = policy(&[(ZERO_LABEL, "true"), (FREEZE_AFTER_LABEL, "30s")]);
    let idle = idle_for(10_000);
    for busy in [
        Load { inflight: Some(1.0), ..idle },
        Load { queued: Some(0.5), ..idle },
        Load { inflight: None, ..idle },
        Load { queued: None, ..idle },
        Load { inflight: Some(f64::NAN), ..idle },
        Load { idle_for: None, ..idle },
    ] {
        let change = decide(&policy, &busy, &state(1)).change;
        assert!(matches!(change, Change::Follow { .. } | Change::Keep), "{busy:?}: {change:?}");
    }
}

#[test]
fn a_minimum_keeps_it_from_zero_and_says_so() {
    let kept = policy(&[(ZERO_LABEL, "true"), (MIN_LABEL, "2")]);
    let proposal = decide(&kept, &idle_for(100_000), &state(2));
    assert_eq!((proposal.change, proposal.reason), (Change::Keep, Reason::IdleKept { min: 2 }));
    assert_eq!(replicas(decide(&kept, &idle_for(100_000), &state(5))), 2);
}

#[test]
fn goes_early_where_memory_is_short() {
    let policy = policy(&[(ZERO_LABEL, "true"), (FREEZE_AFTER_LABEL, "30s")]);
    let short = State { memory_short: true, frozen: 1, ..state(1) };
    assert!(matches!(decide(&policy, &idle_for(29), &short).change, Change::Follow { .. }));
    let proposal = decide(&policy, &idle_for(30), &short);
    assert_eq!(proposal.change, Change::Exactly(0));
    assert!(matches!(proposal.reason, Reason::IdleZero { memory_short: true, .. }));
    // Not what did not ask for zero, nor what never would be frozen.
    assert!(matches!(decide(&rps(), &idle_for(100_000), &short).change, Change::Follow { .. }));
}

#[test]
fn a_maximum_holds_also_where_replicas_do_not_follow_load() {
    let above = |labels: &[(&str, &str)], desired| decide(&policy(labels), &at(0.0), &state(desired));
    let lowered = [(MIN_LABEL, "2"), (MAX_LABEL, "2")];
    assert_eq!(above(&lowered, 5).change, Change::Exactly(2));
    assert_eq!(above(&lowered, 5).reason.to_string(), "its maximum is 2");
    assert_eq!(above(&lowered, 1).change, Change::Keep, "fewer are an operator's");
    assert_eq!(above(&[(FACTOR_LABEL, "0"), (MAX_LABEL, "3")], 5).change, Change::Exactly(3));
    for labels in [&[(FACTOR_LABEL, "0")][..], &[(MAX_LABEL, "0")]] {
        assert_eq!(above(labels, 50).change, Change::Keep, "{labels:?}");
    }
}

#[test]
fn goes_to_zero_also_where_replicas_do_not_follow_load() {
    let policy = policy(&[(ZERO_LABEL, "true"), (FACTOR_LABEL, "0")]);
    assert_eq!(decide(&policy, &idle_for(900), &state(3)).change, Change::Exactly(0));
}

#[test]
fn invocations_that_wait_for_a_slot_count_more_than_a_low_rate() {
    let wasm = State { runtime: Runtime::Wasm, ..state(2) };
    let slow = Load { rps: Some(5.0), waiting: Some(8.0), ..at(0.0) };
    let proposal = decide(&rps(), &slow, &wasm);
    assert_eq!(replicas(proposal), 8);
    assert_eq!(proposal.reason, Reason::Waiting { invocations: 8.0, bound: None });
    // A container may run many at once, so there the number says nothing.
    assert_eq!(replicas(decide(&rps(), &slow, &state(2))), 1);
    let none = Load { waiting: None, ..slow };
    assert_eq!(replicas(decide(&rps(), &none, &wasm)), 1);
}

#[test]
fn alerts_step_as_the_original_does() {
    // (max, factor, current, firing) -> replicas, from its CalculateReplicas.
    for (max, factor, current, firing, expected) in [
        (20, 20, 1, true, 5),
        (20, 20, 18, true, 20),
        (20, 20, 25, true, 20),
        (20, 100, 1, true, 20),
        (15, 25, 1, true, 5),
        (10, 5, 0, true, 1),
        (20, 20, 17, false, 1),
        (20, 20, 1, false, 1),
        (20, 0, 7, true, 7),
        (20, 0, 7, false, 7),
    ] {
        let policy = Policy { max, factor, ..rps() };
        assert_eq!(alert(&policy, firing, current), expected, "{max} {factor} {current} {firing}");
    }
    let from_zero = policy(&[(MIN_LABEL, "0")]);
    assert_eq!(
        alert(&from_zero, false, 5),
        1,
        "0 is for the idle, and an alert that ended says nothing of that"
    );
    assert_eq!(alert(&from_zero, false, 0), 0, "it sleeps, and an alert that ended is no invocation");
    assert_eq!(alert(&policy(&[(MIN_LABEL, "4")]), false, 0), 0);
    assert_eq!(alert(&policy(&[(MIN_LABEL, "4"), (MAX_LABEL, "4")]), true, 2), 2);
}

#[test]
fn a_reason_tells_its_numbers() {
    let text = decide(&rps(), &at(400.0), &state(1)).reason.to_string();
    assert_eq!(text, "rps is 400.00, 45.00 is for one replica: wants 9");
    let text = decide(&rps(), &at(4_000.0), &state(1)).reason.to_string();
    assert!(text.ends_with("wants 89, at most 20"), "{text}");
}

prop_compose! {
    fn any_number()(value in prop_oneof![Just(f64::NAN), Just(f64::INFINITY), -10.0..10.0, 0.0..1e4, 0.0..1e300], known: bool)
        -> Option<f64> { known.then_some(value) }
}

proptest! {
    #[test]
    fn a_bound_is_never_crossed(
        (rps, inflight, cpu_cores, queued) in (any_number(), any_number(), any_number(), any_number()),
        idle in proptest::option::of(0_u64..2_000),
        (min, more) in (0_u32..50, 0_u32..50),
        (desired, available, frozen) in (0_u32..200, 0_u32..200, 0_u32..200),
        (signal, runtime) in (0_usize..4, 0_usize..3),
        (zero, factor) in (any::<bool>(), 0_u32..3),
    ) {
        let signal = [Signal::Rps, Signal::Capacity, Signal::Cpu, Signal::Queue][signal];
        let runtime = [Runtime::Wasm, Runtime::Container, Runtime::Hybrid][runtime];
        let zero_after = zero.then_some(Duration::from_secs(900));
        let max = (min + more).max(1);
        let policy = Policy { min, max, signal, factor, zero_after, kept_by_min: min > 0, capped: zero, ..self::rps() };
        let waiting = queued;
        let load = Load { rps, inflight, cpu_cores, queued, waiting, idle_for: idle.map(Duration::from_secs) };
        let state = State { runtime, desired, available, frozen, memory_short: false };
        match decide(&policy, &load, &state).change {
            Change::Follow { replicas, need, exact } => {
                prop_assert!((policy.floor()..=max).contains(&replicas));
                prop_assert!(need.is_finite() && need >= 0.0);
                prop_assert!(exact <= max);
            }
            Change::Exactly(0) => {
                prop_assert!(zero && min == 0 && idle >= Some(900));
                prop_assert!(inflight == Some(0.0) && queued == Some(0.0));
            }
            Change::Exactly(some) if desired == 0 => prop_assert!(some == 1 || some == policy.floor()),
            Change::Exactly(some) => prop_assert!(zero && some == max && desired > max),
            Change::Freeze => prop_assert!(false, "nobody asked for it"),
            Change::Keep => {}
        }
    }
}
