//! What being idle leads to, and what ends it.

use super::*;

#[tokio::test]
async fn a_function_with_an_invocation_is_not_idle_whatever_the_source_says() {
    let labels = [("com.openfaas.scale.zero", "true"), ("com.openfaas.scale.zero-duration", "1s")];
    let busy = Counters { inflight: 1, ..Counters::default() };
    let mut bed = Bed::new(
        vec![observed("busy", &labels, busy), observed("idle", &labels, Counters::default())],
        ScalerConfig::default(),
    );
    *bed.loads.0.lock() = Some([("busy".to_owned(), quiet()), ("idle".to_owned(), quiet())].into());
    bed.tick().await;
    bed.pass(2 * S);
    bed.tick().await;
    let asked = bed.asked();
    assert!(asked.contains(&scale("idle", 1, 0)), "{asked:?}");
    assert!(!asked.contains(&scale("busy", 1, 0)), "{asked:?}");
}

/// A bed with one function that goes to 0 after 20 idle minutes.
fn sleepy() -> Bed {
    let labels = [("com.openfaas.scale.zero", "true"), ("com.openfaas.scale.zero-duration", "20m")];
    let bed = Bed::new(vec![observed("echo", &labels, Counters::default())], ScalerConfig::default());
    *bed.loads.0.lock() = Some([("echo".to_owned(), quiet())].into());
    bed
}

#[tokio::test]
async fn an_outage_is_no_idle_time() {
    let busy = Counters { started: 1, inflight: 1, ..Counters::default() };
    let after = Counters { started: 1, ..Counters::default() };
    for target_is_away in [false, true] {
        let mut bed = sleepy();
        bed.each(|observed| observed.counters = busy);
        bed.tick().await;
        *bed.target.gone.lock() = target_is_away;
        let loads = bed.loads.0.lock().take();
        bed.pass(1_300 * S);
        bed.tick().await;
        // What ran meanwhile ends just before the next look.
        bed.each(|observed| observed.counters = after);
        *bed.target.gone.lock() = false;
        *bed.loads.0.lock() = loads;
        bed.pass(S);
        bed.tick().await;
        assert_eq!(bed.asked(), [], "it was in use a second ago");
        bed.pass(1_200 * S);
        bed.tick().await;
        assert_eq!(bed.asked(), [scale("echo", 1, 0)]);
    }
}

#[tokio::test]
async fn idle_time_goes_on_while_a_source_is_away() {
    let mut bed = sleepy();
    bed.tick().await;
    let loads = bed.loads.0.lock().take();
    bed.pass(1_300 * S);
    assert_eq!(bed.tick().await, Outcome::SourceFailed);
    *bed.loads.0.lock() = loads;
    bed.tick().await;
    assert_eq!(bed.asked(), [scale("echo", 1, 0)], "the target told that nothing began");
}

#[tokio::test]
async fn what_somebody_raises_stays_for_as_long_as_after_an_invocation() {
    for from in [0, 1] {
        let mut bed = sleepy();
        bed.tick().await;
        if from == 0 {
            bed.pass(1_200 * S);
            bed.tick().await;
            assert_eq!(bed.asked(), [scale("echo", 1, 0)]);
        }
        bed.pass(1_190 * S);
        bed.tick().await;
        bed.each(|observed| (observed.state.desired, observed.state.available) = (3, 3));
        for _ in 0..2 {
            bed.tick().await;
            bed.pass(590 * S);
            bed.tick().await;
        }
        let asked = bed.asked();
        assert!(!asked.iter().any(|asked| matches!(asked, Asked::Scale(_, _, 0))), "from {from}: {asked:?}");
        bed.pass(30 * S);
        bed.tick().await;
        assert!(matches!(bed.asked().as_slice(), [Asked::Scale(_, _, 0)]), "from {from}");
    }
}

#[tokio::test]
async fn an_invocation_between_two_looks_ends_idleness_before_a_source_knows() {
    let mut bed = sleepy();
    bed.tick().await;
    bed.pass(1_190 * S);
    bed.each(|observed| observed.counters.started += 1);
    bed.tick().await;
    bed.pass(100 * S);
    bed.tick().await;
    assert_eq!(bed.asked(), []);
    bed.pass(1_200 * S);
    bed.tick().await;
    assert_eq!(bed.asked(), [scale("echo", 1, 0)]);
}

#[tokio::test]
async fn a_freeze_that_comes_to_nothing_is_tried_less_and_less_and_holds_nothing_up() {
    let labels = [("bramble.scale.freeze-after", "1s"), ("com.openfaas.scale.max", "20")];
    let mut container = observed("echo", &labels, Counters::default());
    let desired = 10;
    (container.state.runtime, container.state.desired, container.state.available) =
        (Runtime::Container, desired, desired);
    let config = ScalerConfig { down_window: Some(60 * S), ..ScalerConfig::default() };
    let mut bed = Bed::new(vec![container], config);
    *bed.loads.0.lock() = Some([("echo".to_owned(), quiet())].into());
    *bed.target.awake.lock() = true;
    bed.tick().await;
    bed.pass(S);
    bed.tick().await;
    assert_eq!(bed.asked(), [Asked::Freeze("echo".into())]);
    assert!(bed.why("echo").last_change.unwrap().outcome.contains("nothing could be paused"));
    let mut freezes = 0;
    for _ in 0..100 {
        bed.pass(S);
        bed.tick().await;
        freezes += bed.asked().iter().filter(|asked| matches!(asked, Asked::Freeze(_))).count();
    }
    assert!((2..=5).contains(&freezes), "{freezes} freezes in 100 s");
    assert!(bed.target.functions.lock()[0].state.desired < desired, "{}", bed.why("echo").why);
}
