use proptest::prelude::*;

use super::*;
use crate::decide::decide;
use crate::load::Load;
use crate::policy::{Defaults, Signal};

/// A function whose replicas are there as soon as they are asked for, once a second.
struct Function {
    policy: Policy,
    tuning: Tuning,
    history: History,
    state: State,
    now: Duration,
}

impl Function {
    /// One unit of load is for one replica; between 1 and 100 of them.
    fn new(runtime: Runtime, desired: u32) -> Self {
        let defaults = Defaults { max: 100, target: 1.0, proportion: 1.0, ..Defaults::default() };
        let policy = Policy::from_labels(&Default::default(), Runtime::Container, &defaults).unwrap();
        Self {
            policy,
            tuning: Tuning::of(runtime),
            history: History::default(),
            state: State { runtime, desired, available: desired, frozen: 0, memory_short: false },
            now: Duration::from_secs(1_000_000),
        }
    }

    fn tick(&mut self, rps: impl Into<Option<f64>>) -> Decision {
        self.observe(&Load { rps: rps.into(), ..Load::default() })
    }

    fn observe(&mut self, load: &Load) -> Decision {
        self.now += Duration::from_secs(1);
        let proposal = decide(&self.policy, load, &self.state);
        let decision =
            stabilise(&self.policy, &self.tuning, &mut self.history, &proposal, &self.state, self.now);
        assert_eq!(decision.action == Action::Scale, decision.replicas != self.state.desired);
        self.state.desired = decision.replicas;
        self.state.available = decision.replicas;
        decision
    }

    /// Ticks of one load, and the replicas after them.
    fn run(&mut self, rps: f64, seconds: u32) -> u32 {
        for _ in 0..seconds {
            self.tick(rps);
        }
        self.state.desired
    }

    /// Seconds of one load until so many replicas are desired.
    fn until(&mut self, rps: f64, replicas: u32) -> u32 {
        (1..=3_600).find(|_| self.tick(rps).replicas == replicas).expect("it gets there within an hour")
    }
}

#[test]
fn slots_for_ten_times_the_load_are_there_at_the_first_tick() {
    let mut function = Function::new(Runtime::Wasm, 1);
    function.run(1.0, 100);
    assert_eq!(function.tick(10.0).replicas, 10);
}

#[test]
fn containers_climb_in_steps() {
    let mut function = Function::new(Runtime::Container, 1);
    function.run(1.0, 100);
    let decision = function.tick(80.0);
    assert_eq!((decision.replicas, decision.hold), (11, Some(Hold::Pace { wanted: 80 })));
    let took = function.until(80.0, 80);
    assert!((5..=15).contains(&took), "{took} s");
}

#[test]
fn goes_down_to_the_most_of_the_window_once_that_is_over() {
    let mut function = Function::new(Runtime::Container, 10);
    function.run(10.0, 100);
    let decision = function.tick(1.0);
    assert_eq!((decision.replicas, decision.hold), (10, Some(Hold::Window { replicas: 11 })));
    function.run(6.0, 25);
    let took = function.until(1.0, 7);
    assert!((270..=300).contains(&took), "to the 6.0 of the window and its tolerance after {took} s");
    let took = function.until(1.0, 2);
    assert!(took <= 75, "{took} s");
}

#[test]
fn is_back_at_the_minimum_soon_after_the_window() {
    for runtime in [Runtime::Wasm, Runtime::Container] {
        let mut function = Function::new(runtime, 1);
        function.run(100.0, 200);
        assert_eq!(function.state.desired, 100);
        let window = u32::try_from(function.tuning.down_window.as_secs()).unwrap();
        let took = function.until(0.0, 1);
        assert!((window..window * 3 / 2).contains(&took), "{runtime:?}: {took} s");
    }
}

#[test]
fn moves_nothing_within_the_tolerance() {
    let mut function = Function::new(Runtime::Container, 10);
    assert_eq!(function.run(10.9, 200), 10);
    assert_eq!(function.tick(10.9).hold, Some(Hold::Tolerance));
    assert_eq!(function.run(8.3, 200), 10);
    assert_eq!(function.tick(8.3).hold, Some(Hold::Tolerance));
    assert_eq!(function.tick(11.1).replicas, 12);
}

#[test]
fn no_tolerance_keeps_a_queue_of_invocations_standing() {
    let waiting = Load { rps: Some(10.0), waiting: Some(12.0), ..Load::default() };
    let mut function = Function::new(Runtime::Wasm, 10);
    let observe = |function: &mut Function, load: &Load, ticks: u32| {
        (0..ticks).map(|_| function.observe(load)).last().unwrap()
    };
    assert_eq!(observe(&mut function, &waiting, 10).replicas, 10);
    assert_eq!(observe(&mut function, &waiting, 1).replicas, 12);
    // Also where the load that is followed asks for more than waits, but within its tolerance.
    let mut function = Function::new(Runtime::Wasm, 10);
    (function.policy.signal, function.policy.proportion) = (Signal::Capacity, 0.97);
    let waiting = Load { inflight: Some(10.0), queued: Some(0.5), waiting: Some(10.5), ..Load::default() };
    let decision = observe(&mut function, &waiting, 11);
    assert_eq!((decision.replicas, decision.hold), (11, None));
    let more = Load { queued: Some(1.0), waiting: Some(11.0), ..waiting };
    let decision = observe(&mut function, &more, 11);
    assert_eq!(decision.replicas, 11, "nobody waits then, and the load is within its tolerance");
}

#[test]
fn a_few_that_wait_now_and_then_move_nothing() {
    let mut function = Function::new(Runtime::Wasm, 10);
    let waiting = Load { rps: Some(9.0), waiting: Some(11.0), ..Load::default() };
    for _ in 0..50 {
        assert_eq!(function.observe(&waiting).replicas, 10);
        assert_eq!(function.run(9.0, 2), 10);
    }
}

#[test]
fn what_a_minimum_holds_is_not_needed() {
    let mut function = Function::new(Runtime::Wasm, 16);
    function.policy.min = 16;
    assert_eq!(function.tick(2.0).needed, 2);
    assert_eq!(function.tick(0.0).needed, 0);
    assert_eq!(function.tick(30.0).needed, 30);
}

#[test]
fn goes_to_and_fro_at_most_once_in_ten_minutes_of_a_steady_noisy_load() {
    for runtime in [Runtime::Wasm, Runtime::Container] {
        for mean in [0.5, 0.9, 1.0, 1.1, 1.9, 2.0, 3.05, 7.7, 10.0, 25.0, 60.0] {
            for noise in [0.02, 0.05, 0.1, 0.2, 0.3, 0.5] {
                for seed in 0..8 {
                    let reversals = [uniform, bell].map(|of| reversals(runtime, mean, noise, seed, of));
                    assert!(
                        reversals.iter().all(|reversals| *reversals <= 1),
                        "{reversals:?} reversals: {runtime:?}, mean {mean}, noise {noise}, seed {seed}"
                    );
                }
            }
        }
    }
}

/// The test above can fail: without a window and a tolerance the same loads go to and fro all the time.
#[test]
fn what_keeps_it_steady_is_window_and_tolerance() {
    let mut function = Function::new(Runtime::Wasm, 1);
    function.tuning.tolerance = 0.0;
    function.tuning.down_window = Duration::ZERO;
    assert!(count_reversals(&mut function, 10.0, 0.3, 1, uniform) > 50);
}

fn uniform(random: &mut fastrand::Rng) -> f64 {
    random.f64() * 2.0 - 1.0
}

/// About normal, with the deviation of [`uniform`].
fn bell(random: &mut fastrand::Rng) -> f64 {
    ((0..12).map(|_| random.f64()).sum::<f64>() - 6.0) / 3.0_f64.sqrt()
}

fn reversals(runtime: Runtime, mean: f64, noise: f64, seed: u64, of: fn(&mut fastrand::Rng) -> f64) -> u32 {
    count_reversals(&mut Function::new(runtime, 1), mean, noise, seed, of)
}

fn count_reversals(
    function: &mut Function,
    mean: f64,
    noise: f64,
    seed: u64,
    of: fn(&mut fastrand::Rng) -> f64,
) -> u32 {
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut reversals, mut direction) = (0, None);
    for _ in 0..600 {
        let before = function.state.desired;
        let after = function.tick((mean * (1.0 + noise * of(&mut random))).max(0.0)).replicas;
        if after != before {
            let up = after > before;
            reversals += u32::from(direction.is_some_and(|was| was != up));
            direction = Some(up);
        }
    }
    reversals
}

#[test]
fn a_time_without_data_changes_nothing_and_begins_the_window_anew() {
    let mut function = Function::new(Runtime::Wasm, 10);
    function.run(10.0, 10);
    for _ in 0..1_000 {
        let decision = function.tick(None);
        assert_eq!((decision.replicas, decision.action), (10, Action::Keep));
        assert_eq!(decision.reason, Reason::NoData { signal: Signal::Rps });
    }
    assert!(function.until(0.0, 1) >= 300);
}

#[test]
fn what_somebody_else_set_stays_for_a_window() {
    for first in [true, false] {
        let mut function = Function::new(Runtime::Wasm, 1);
        if !first {
            function.run(1.0, 100);
        }
        function.state.desired = 30;
        assert_eq!(function.run(1.0, 299), 30, "a scaler that starts: {first}");
        function.run(1.0, 60);
        assert_eq!(function.state.desired, 2);
    }
}

#[test]
fn what_is_not_applied_is_decided_again() {
    let mut function = Function::new(Runtime::Wasm, 10);
    let mut decided = Vec::new();
    for _ in 0..340 {
        decided.push(function.tick(1.0).replicas);
        // A dry run, or a daemon that takes its time.
        function.state.desired = 10;
    }
    assert!(decided[..300].iter().all(|replicas| *replicas == 10), "{decided:?}");
    assert!(decided[320..].iter().all(|replicas| *replicas == 2), "{decided:?}");
}

#[test]
fn comes_within_the_bounds_at_once() {
    let mut function = Function::new(Runtime::Container, 100);
    function.policy.max = 5;
    assert_eq!(function.tick(50.0).replicas, 5);
    function.policy.min = 4;
    function.state.desired = 2;
    assert_eq!(function.tick(0.0).replicas, 4);
}

#[test]
fn one_container_comes_first_and_then_the_rest() {
    let mut function = Function::new(Runtime::Container, 0);
    function.policy.min = 3;
    let waiting = Load { rps: Some(9.0), queued: Some(9.0), ..Load::default() };
    assert_eq!(function.observe(&waiting).replicas, 1);
    for _ in 0..5 {
        function.state.available = 0;
        let decision = function.observe(&waiting);
        assert_eq!(decision.replicas, 1);
        assert!(matches!(decision.hold, Some(Hold::First { .. })), "{decision:?}");
    }
    assert_eq!(function.observe(&waiting).replicas, 9);
}

#[test]
fn slots_come_without_a_first() {
    let mut function = Function::new(Runtime::Wasm, 1);
    function.state.available = 0;
    assert_eq!(function.tick(9.0).replicas, 9);
}

#[test]
fn zero_is_not_held_back_and_leaves_nothing_behind() {
    let mut function = Function::new(Runtime::Wasm, 1);
    function.policy.zero_after = Some(Duration::from_secs(5));
    function.run(50.0, 10);
    let idle = Load {
        rps: Some(50.0),
        inflight: Some(0.0),
        queued: Some(0.0),
        idle_for: Some(Duration::from_secs(5)),
        ..Load::default()
    };
    let decision = function.observe(&idle);
    assert_eq!((decision.replicas, decision.action, decision.hold), (0, Action::Scale, None));
    assert_eq!(function.observe(&idle).replicas, 0);
}

#[test]
fn freezing_changes_no_number_and_lets_the_window_pass() {
    let mut function = Function::new(Runtime::Container, 4);
    function.policy.freeze_after = Some(Duration::from_secs(30));
    let idle = Load {
        rps: Some(0.0),
        inflight: Some(0.0),
        queued: Some(0.0),
        idle_for: Some(Duration::from_secs(30)),
        ..Load::default()
    };
    for _ in 0..320 {
        let decision = function.observe(&idle);
        assert_eq!((decision.replicas, decision.action), (4, Action::Freeze));
    }
    function.state.frozen = 4;
    assert!(function.observe(&idle).replicas < 4);
}

#[test]
fn a_clock_that_goes_back_forgets_nothing() {
    let mut function = Function::new(Runtime::Wasm, 10);
    function.run(10.0, 30);
    function.now = Duration::ZERO;
    assert_eq!(function.tick(0.0).replicas, 10);
    function.run(0.0, 340);
    assert_eq!(function.state.desired, 1);
    function.now = Duration::MAX / 2;
    assert_eq!(function.tick(5.0).replicas, 5);
}

#[test]
fn a_decision_tells_what_held_it() {
    let mut function = Function::new(Runtime::Container, 1);
    let text = function.tick(80.0).to_string();
    assert_eq!(
        text,
        "rps is 80.00, 1.00 is for one replica: wants 80; 11 because a step to 80 is too far for one period"
    );
}

#[test]
fn a_history_is_small() {
    assert!(size_of::<History>() <= 168, "{}", size_of::<History>());
}

proptest! {
    #[test]
    fn whatever_happens_no_bound_is_crossed_and_no_step_is_too_long(
        ticks in proptest::collection::vec(
            (proptest::option::of(0.0..300.0), 0_u64..40_000, proptest::option::of(0_u32..120), any::<bool>()),
            1..200,
        ),
        (min, more) in (0_u32..20, 1_u32..60),
        wasm: bool,
    ) {
        let mut function = Function::new(if wasm { Runtime::Wasm } else { Runtime::Container }, min);
        (function.policy.min, function.policy.max) = (min, min + more);
        let mut seen = Vec::new();
        for (rps, millis, set, available) in ticks {
            function.now += Duration::from_millis(millis);
            if let Some(set) = set {
                function.state.desired = set;
            }
            if !available {
                function.state.available = 0;
            }
            let was = function.state.desired;
            let decision = function.tick(rps);
            let now = decision.replicas;
            seen.push((function.now, was));
            // Between 0 and 1, as between two equal bounds, the number is the operator's.
            if rps.is_none() || was == 0 || !function.policy.follows_load() {
                prop_assert_eq!(now, was);
                continue;
            }
            prop_assert!(now <= function.policy.max);
            let first = matches!(decision.hold, Some(Hold::First { .. }));
            prop_assert!(now >= function.policy.floor() || first);
            let up = function.tuning.up;
            let from = seen.iter().filter(|(at, _)| function.now - *at <= up.period).map(|(_, was)| *was).max();
            let from = from.unwrap_or(was);
            let most = (f64::from(from) * up.factor).max(f64::from(from + up.at_least));
            prop_assert!(f64::from(now) <= most.max(f64::from(function.policy.floor())));
        }
    }
}
