//! A host's slots among functions that want more of them.

use super::*;

#[tokio::test]
async fn functions_share_what_the_host_has() {
    let labels = [("com.openfaas.scale.min", "1"), ("com.openfaas.scale.max", "500")];
    let functions = ["hot", "warm"].map(|name| observed(name, &labels, Counters::default()));
    let config = ScalerConfig { down_window: Some(Duration::ZERO), ..ScalerConfig::default() };
    let mut bed = Bed::new(functions.into(), config);
    // 10 beyond 1 in each tick of the pace, so both stand at their wants only after a while; the
    // share holds at once.
    bed.each(|observed| (observed.state.desired, observed.state.available) = (100, 100));
    bed.load(&[("hot", 40_000.0), ("warm", 900.0)]);
    bed.tick().await;
    let given: u32 = bed.target.functions.lock().iter().map(|observed| observed.state.desired).sum();
    assert!(given <= 100, "{given} slots of 100");
    assert!(bed.why("hot").why.contains("no slots"), "{}", bed.why("hot").why);
    assert!(bed.target.functions.lock()[1].state.desired >= 20);
}

/// Functions of 16 slots that ask for a maximum alone, the first of them with a load.
fn many(count: usize, slots: u32) -> Bed {
    let labels = [("com.openfaas.scale.max", "100")];
    let named = |at| observed(&format!("f{at}"), &labels, Counters::default());
    let bed = Bed::new((0..count).map(named).collect(), ScalerConfig::default());
    bed.each(|observed| (observed.state.desired, observed.state.available) = (16, 16));
    (*bed.target.wasm_slots.lock(), *bed.target.default_slots.lock()) = (slots, 16);
    bed
}

#[tokio::test]
async fn idle_functions_do_not_hold_a_busy_one_back() {
    let mut bed = many(32, 512);
    let names: Vec<String> = (0..32).map(|at| format!("f{at}")).collect();
    let mut loads: Vec<(&str, f64)> = names.iter().map(|name| (name.as_str(), 0.0)).collect();
    loads[0].1 = 60.0 * 45.0;
    bed.load(&loads);
    bed.tick().await;
    assert!(bed.asked().contains(&scale("f0", 16, 60)), "{}", bed.why("f0").why);
    let given: u32 = bed.target.functions.lock().iter().map(|observed| observed.state.desired).sum();
    assert!(given <= 512, "{given} slots of 512");
}

#[tokio::test]
async fn a_minimum_that_was_asked_for_is_kept() {
    let labels = [("com.openfaas.scale.min", "16"), ("com.openfaas.scale.max", "100")];
    let mut bed = many(31, 512);
    bed.target.functions.lock().push(observed("kept", &labels, Counters::default()));
    bed.each(|observed| observed.state.desired = 16);
    bed.load(&[
        ("f0", 100.0 * 45.0),
        ("f1", 100.0 * 45.0),
        ("f2", 400.0 * 45.0),
        ("f3", 400.0 * 45.0),
        ("f4", 4e5),
        ("f5", 4e5),
        ("kept", 0.0),
    ]);
    bed.tick().await;
    assert!(bed.asked().iter().all(|asked| !matches!(asked, Asked::Scale(name, ..) if name == "kept")));
}

#[tokio::test]
async fn what_others_run_is_not_divided_and_minimums_are_not_held_back_for_them() {
    let runs = |inflight| Counters { inflight, queued: 2, ..Counters::default() };
    // It follows nothing, and runs 90 of the 100 slots.
    let mut hot = observed("hot", &[], runs(92));
    hot.state.desired = 95;
    let mut idle = observed("idle", &[], Counters::default());
    idle.state.desired = 500;
    let warm = observed("warm", &[("com.openfaas.scale.max", "100")], Counters::default());
    let mut bed = Bed::new(vec![hot, idle, warm], ScalerConfig::default());
    bed.load(&[("warm", 40.0 * 45.0)]);
    bed.tick().await;
    assert_eq!(bed.asked(), [scale("warm", 1, 10)]);
    assert!(bed.why("warm").why.contains("no slots"), "{}", bed.why("warm").why);
    bed.each(|observed| {
        if observed.function.name().as_str() == "hot" {
            observed.counters = runs(72);
        }
    });
    bed.pass(S);
    bed.tick().await;
    assert_eq!(bed.asked(), [scale("warm", 10, 30)]);

    let labels = [("com.openfaas.scale.min", "16"), ("com.openfaas.scale.max", "100")];
    let mut kept = observed("kept", &labels, Counters::default());
    kept.state.desired = 16;
    bed.target.functions.lock().push(kept);
    bed.each(|observed| {
        if observed.function.name().as_str() == "hot" {
            (observed.state.desired, observed.counters) = (200, runs(202));
        }
    });
    bed.load(&[("kept", 0.0)]);
    bed.tick().await;
    assert!(bed.asked().iter().all(|asked| !matches!(asked, Asked::Scale(name, ..) if name == "kept")));
}

#[tokio::test]
async fn more_functions_than_slots_unload_nobody() {
    let mut bed = many(120, 100);
    bed.load(&[]);
    bed.loads.0.lock().as_mut().unwrap().extend((0..120).map(|at| (format!("f{at}"), quiet())));
    for _ in 0..3 {
        bed.tick().await;
    }
    let functions = bed.target.functions.lock();
    assert!(functions.iter().all(|observed| observed.state.desired == 1), "not asked for, so not at 0");
}

#[tokio::test]
async fn who_waits_for_a_slot_is_asked_of_the_registry() {
    let mut bed = Bed::new(vec![function("echo")], ScalerConfig::default());
    // A source may have seen a moment that is long over.
    let old = Load { queued: Some(50.0), inflight: Some(1.0), ..quiet() };
    *bed.loads.0.lock() = Some([("echo".to_owned(), old)].into());
    bed.tick().await;
    assert_eq!(bed.asked(), []);
    bed.load(&[("echo", 1.0)]);
    bed.each(|observed| {
        observed.counters = Counters { started: 8, inflight: 8, queued: 6, ..Counters::default() }
    });
    bed.tick().await;
    assert_eq!(bed.asked(), [scale("echo", 1, 4)], "the mean of this look and the one before");
    bed.tick().await;
    assert_eq!(bed.asked(), [scale("echo", 4, 8)]);
}
