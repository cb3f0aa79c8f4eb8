use std::time::Duration;

use super::super::estimate::Estimate;
use super::*;

const POLICIES: [HybridPolicy; 3] = [HybridPolicy::WasmFirst, HybridPolicy::Bridge, HybridPolicy::Fastest];
/// Dice that never explore.
const NEVER: f64 = 0.999;

fn known(seconds: f64) -> Option<Known> {
    Some(Known { seconds, samples: u8::MAX, age: Duration::ZERO })
}

/// An idle function that runs in both, twice as fast in wasm.
fn picture(policy: HybridPolicy) -> Picture {
    Picture {
        policy,
        pool: Pool { slots: 16, busy: 0, queued: 0, time: known(0.001) },
        containers: Containers { desired: 1, available: 1, frozen: 0, inflight: 0, time: known(0.002) },
        dice: NEVER,
    }
}

#[track_caller]
fn goes(picture: &Picture, half: Half) {
    assert_eq!(decide(picture).half, half, "{picture:?}");
}

/// The share of invocations that go to containers, over evenly spread dice.
fn share(picture: Picture) -> f64 {
    const THROWS: u32 = 10_000;
    let throws = (0..THROWS).map(|at| f64::from(at) / f64::from(THROWS));
    let halves = throws.map(|dice| decide(&Picture { dice, ..picture }).half);
    halves.filter(|half| *half == Half::Container).count() as f64 / f64::from(THROWS)
}

#[test]
fn wasm_answers_while_there_is_no_container() {
    for policy in POLICIES {
        for desired in [0, 3] {
            for dice in [0.0, NEVER] {
                let mut now = Picture { dice, ..picture(policy) };
                now.containers = Containers { desired, available: 0, time: None, ..now.containers };
                goes(&now, Half::Wasm);
                now.containers.time = known(1e-6);
                goes(&now, Half::Wasm);
                now.pool = Pool { slots: 1, busy: 1, queued: 9, time: known(9.0) };
                goes(&now, Half::Wasm);
            }
        }
    }
}

#[test]
fn containers_that_nobody_asks_for_are_woken_when_the_policy_wants_them() {
    let mut now = picture(HybridPolicy::Bridge);
    now.containers = Containers { desired: 0, available: 0, time: known(0.0005), ..now.containers };
    assert!(decide(&now).wake);
    now.policy = HybridPolicy::Fastest;
    assert!(decide(&now).wake);
    now.policy = HybridPolicy::WasmFirst;
    assert!(!decide(&now).wake);
    now.pool.busy = 16;
    assert_eq!(decide(&now), Decision { half: Half::Wasm, wake: true });
    for policy in POLICIES {
        assert!(!decide(&picture(policy)).wake);
    }
}

#[test]
fn the_fastest_does_not_wake_containers_that_it_would_not_use() {
    let mut now = picture(HybridPolicy::Fastest);
    now.containers = Containers { desired: 0, available: 0, time: known(0.01), ..now.containers };
    assert_eq!(decide(&now), Decision { half: Half::Wasm, wake: false });
    let wakes = |what: &str, change: fn(&mut Picture)| {
        let mut now = now;
        change(&mut now);
        assert!(decide(&now).wake, "{what}: {now:?}");
    };
    wakes("a module that is slow", |now| now.pool.time = known(0.02));
    wakes("a module that is hardly quicker", |now| now.pool.time = known(0.006));
    wakes("a queue", |now| now.pool = Pool { busy: 16, queued: 200, time: known(0.001), ..now.pool });
    wakes("a pool without a slot", |now| now.pool.busy = 16);
    wakes("a module that nobody measured", |now| now.pool.time = None);
    wakes("containers that nobody measured", |now| now.containers.time = None);
    wakes("containers that are hardly known", |now| {
        now.containers.time = Some(Known { samples: ENOUGH - 1, ..known(0.01).unwrap() });
    });
    wakes("containers of long ago", |now| {
        now.containers.time = Some(Known { age: FORGOTTEN, ..known(0.01).unwrap() });
    });
    // The other policies have their own reasons.
    wakes("a bridge", |now| now.policy = HybridPolicy::Bridge);
}

#[test]
fn wasm_first_spills_what_would_wait() {
    let mut now = picture(HybridPolicy::WasmFirst);
    now.pool.time = known(9.0);
    goes(&now, Half::Wasm);
    now.pool.busy = 15;
    goes(&now, Half::Wasm);
    now.pool.busy = 16;
    goes(&now, Half::Container);
    now.pool = Pool { busy: 3, queued: 1, ..now.pool };
    goes(&now, Half::Container);
}

#[test]
fn a_bridge_ends_with_the_first_container() {
    let mut now = picture(HybridPolicy::Bridge);
    now.containers.time = known(9.0);
    goes(&now, Half::Container);
    now.containers.frozen = 1;
    goes(&now, Half::Container);
}

#[test]
fn the_fastest_is_the_one_that_took_less_time() {
    let mut now = picture(HybridPolicy::Fastest);
    goes(&now, Half::Wasm);
    now.containers.time = known(0.0005);
    goes(&now, Half::Container);
}

#[test]
fn a_queue_makes_the_fastest_slower() {
    let mut now = picture(HybridPolicy::Fastest);
    now.pool.busy = 15;
    goes(&now, Half::Wasm);
    now.pool = Pool { busy: 16, queued: 4, ..now.pool };
    goes(&now, Half::Container);
    now.containers.inflight = 4;
    goes(&now, Half::Wasm);
}

#[test]
fn what_is_not_known_is_tried_one_at_a_time() {
    let mut now = picture(HybridPolicy::Fastest);
    (now.pool.time, now.containers.time) = (None, None);
    goes(&now, Half::Wasm);
    now.pool.busy = 1;
    // Nobody knows anything, and both are at it.
    now.containers.inflight = 1;
    goes(&now, Half::Wasm);
    now.pool.time = known(0.001);
    goes(&now, Half::Wasm);
    now.containers.inflight = 0;
    goes(&now, Half::Container);
    (now.pool.time, now.containers.time) = (None, known(0.1));
    goes(&now, Half::Container);
}

#[test]
fn exploration_is_bounded() {
    let mut now = picture(HybridPolicy::Fastest);
    let hardly = Known { samples: ENOUGH - 1, ..known(0.002).unwrap() };
    for (time, least, most) in [
        (known(0.002), 0.015, MOST),
        (known(0.01), 0.004, 0.006),
        (known(10.0), 0.0, 0.0001),
        (Some(hardly), LEARNING, LEARNING),
    ] {
        now.containers.time = time;
        let share = share(now);
        assert!((least..=most + 1e-4).contains(&share), "{time:?}: {share}");
    }
}

#[test]
fn nobody_explores_what_is_full_or_frozen() {
    let mut now = Picture { dice: 0.0, ..picture(HybridPolicy::Fastest) };
    goes(&now, Half::Container);
    now.containers.inflight = PER_CONTAINER;
    goes(&now, Half::Wasm);
    now.containers = Containers { inflight: 0, frozen: 1, ..now.containers };
    goes(&now, Half::Wasm);
    // Unless it is worth it.
    now.containers.time = known(0.0001);
    now.dice = NEVER;
    goes(&now, Half::Container);
}

#[test]
fn a_mean_of_long_ago_is_made_anew_by_one_invocation() {
    let mut now = Picture { dice: MOST / 2.0, ..picture(HybridPolicy::Fastest) };
    now.containers.time = Some(Known { age: STALE, ..known(5.0).unwrap() });
    goes(&now, Half::Container);
    now.containers.inflight = 1;
    goes(&now, Half::Wasm);
}

/// At each of its calls everything that was measured is old.
#[test]
fn what_is_seldom_called_is_answered_by_the_faster() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let (times, took) = ([Estimate::default(), Estimate::default()], [1, 100].map(Duration::from_millis));
    let mut slower = 0;
    for minute in 0..1_000_u64 {
        let at = Duration::from_secs(60 * minute);
        let mut now = Picture { dice: random.f64(), ..picture(HybridPolicy::Fastest) };
        (now.pool.time, now.containers.time) = (times[0].get(at), times[1].get(at));
        let half = decide(&now).half;
        times[half.index()].answered(took[half.index()], at);
        slower += u32::from(half == Half::Container);
    }
    assert!((1..100).contains(&slower), "seed {seed}: {slower} of 1000 by the slower");
}

/// Over everything that can be seen at once: no panic, and only a half that can.
#[test]
fn a_half_is_chosen_only_if_it_can() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..100_000 {
        let mut number = || [0, 1, 3, 17, u32::MAX][random.usize(..5)];
        let (slots, busy, queued) = (number(), number(), number());
        let (desired, available, frozen, inflight) = (number(), number(), number(), number());
        let mut time = || {
            let seconds = [1e-7, 0.001, 1e9][random.usize(..3)];
            let age = Duration::from_secs(random.u64(..100));
            random.bool().then_some(Known { seconds, samples: random.u8(1..), age })
        };
        let containers = Containers { desired, available, frozen, inflight, time: time() };
        let pool = Pool { slots, busy, queued, time: time() };
        let policy = POLICIES[random.usize(..3)];
        let now = Picture { policy, pool, containers, dice: random.f64() };
        let decision = decide(&now);
        assert!(decision.half == Half::Wasm || available > 0, "seed {seed}: {now:?}");
        assert!(!decision.wake || desired == 0, "seed {seed}: {now:?}");
    }
}
