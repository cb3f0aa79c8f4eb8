//! The loop over functions that are nowhere, by loads that are made up.

mod idleness;
mod sharing;

use std::collections::HashMap;

use bramble_provider::{FunctionName, Runtime};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::*;
use crate::load::Load;
use crate::target::testing::observed;
use crate::target::{Counters, Observed, Standing, View};

/// What a target was asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Asked {
    Scale(String, u32, u32),
    Freeze(String),
}

struct Fake {
    functions: Mutex<Vec<Observed>>,
    leader: Mutex<Option<String>>,
    asked: Mutex<Vec<Asked>>,
    /// What changes answer; else they succeed.
    refuses: Mutex<bool>,
    /// Freezing comes to nothing, which is no error.
    awake: Mutex<bool>,
    gone: Mutex<bool>,
    wasm_slots: Mutex<u32>,
    default_slots: Mutex<u32>,
    /// Changes of containers wait for this.
    containers_end: Semaphore,
}

impl Default for Fake {
    fn default() -> Self {
        Self {
            functions: Mutex::default(),
            leader: Mutex::default(),
            asked: Mutex::default(),
            refuses: Mutex::default(),
            awake: Mutex::default(),
            gone: Mutex::default(),
            wasm_slots: Mutex::new(100),
            default_slots: Mutex::new(1),
            containers_end: Semaphore::new(Semaphore::MAX_PERMITS),
        }
    }
}

impl Fake {
    fn runtime(&self, name: &FunctionName) -> Option<Runtime> {
        let functions = self.functions.lock();
        functions.iter().find(|observed| observed.function.name() == name).map(|found| found.state.runtime)
    }
}

fn away() -> ProviderError {
    ProviderError::Unavailable {
        provider: "the test",
        reason: "it is away".into(),
        retry_after: Duration::from_secs(1),
    }
}

impl Target for Fake {
    async fn lead(&self, _term: Duration) -> Result<Standing, ProviderError> {
        let leader = self.leader.lock().clone();
        Ok(leader.map_or(Standing::Leads, |leader| Standing::StandsBy { leader }))
    }

    async fn observe(&self) -> Result<View, ProviderError> {
        if *self.gone.lock() {
            return Err(away());
        }
        let (wasm_slots, default_slots) = (*self.wasm_slots.lock(), *self.default_slots.lock());
        Ok(View { functions: self.functions.lock().clone(), wasm_slots, default_slots })
    }

    async fn scale(&self, name: &FunctionName, from: u32, to: u32) -> Result<bool, ProviderError> {
        self.asked.lock().push(Asked::Scale(name.to_string(), from, to));
        if self.runtime(name) != Some(Runtime::Wasm) {
            self.containers_end.acquire().await.unwrap().forget();
        }
        if *self.refuses.lock() {
            return Err(away());
        }
        let mut functions = self.functions.lock();
        let Some(found) = functions.iter_mut().find(|observed| observed.function.name() == name) else {
            return Ok(false);
        };
        (found.state.desired, found.state.available) = (to, to);
        Ok(true)
    }

    async fn freeze(&self, name: &FunctionName) -> Result<bool, ProviderError> {
        self.asked.lock().push(Asked::Freeze(name.to_string()));
        Ok(!*self.awake.lock())
    }
}

/// The loads of functions by name; `None` is a source that fails.
#[derive(Clone, Default)]
struct Loads(Arc<Mutex<Option<HashMap<String, Load>>>>);

impl Source for Loads {
    fn name(&self) -> &'static str {
        "test"
    }

    async fn loads(&mut self, functions: &[Observed], _: Duration) -> Result<Vec<Load>, SourceError> {
        let loads = self.0.lock();
        let loads = loads.as_ref().ok_or_else(|| SourceError::Unreachable {
            url: "http://test".into(),
            reason: "it is away".into(),
        })?;
        let load = |observed: &Observed| loads.get(observed.function.name().as_str()).copied();
        Ok(functions.iter().map(|observed| load(observed).unwrap_or_default()).collect())
    }
}

struct Bed {
    target: Arc<Fake>,
    loads: Loads,
    journal: Arc<Journal>,
    scaler: Scaler<Loads, Fake>,
}

impl Bed {
    fn new(functions: Vec<Observed>, config: ScalerConfig) -> Self {
        let target = Arc::new(Fake::default());
        *target.functions.lock() = functions;
        let (loads, journal) = (Loads::default(), Arc::new(Journal::default()));
        let scaler =
            Scaler::new(loads.clone(), target.clone(), config, ScalerMetrics::detached(), journal.clone());
        Self { target, loads, journal, scaler }
    }

    fn load(&self, loads: &[(&str, f64)]) {
        let load = |rps| Load { rps: Some(rps), inflight: Some(0.0), queued: Some(0.0), ..Load::default() };
        *self.loads.0.lock() =
            Some(loads.iter().map(|(name, rps)| ((*name).to_owned(), load(*rps))).collect());
    }

    /// One tick, its changes ended.
    async fn tick(&mut self) -> Outcome {
        let outcome = self.scaler.tick().await;
        while let Some(ended) = self.scaler.changes.next().await {
            self.scaler.journal.ended(&ended, self.scaler.epoch.elapsed());
        }
        outcome
    }

    /// Lets time pass.
    fn pass(&mut self, time: Duration) {
        self.scaler.epoch -= time;
    }

    /// Changes the functions as somebody else would.
    fn each(&self, change: impl FnMut(&mut Observed)) {
        self.target.functions.lock().iter_mut().for_each(change);
    }

    fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.target.asked.lock())
    }

    fn why(&self, name: &str) -> Explained {
        self.journal.explain(&FunctionName::parse(name).unwrap()).unwrap()
    }
}

const S: Duration = Duration::from_secs(1);

/// Of a function that nobody invokes.
fn quiet() -> Load {
    Load {
        rps: Some(0.0),
        inflight: Some(0.0),
        queued: Some(0.0),
        idle_for: Some(Duration::ZERO),
        ..Load::default()
    }
}

const LABELS: [(&str, &str); 2] = [("com.openfaas.scale.min", "1"), ("com.openfaas.scale.max", "20")];

fn function(name: &str) -> Observed {
    observed(name, &LABELS, Counters::default())
}

fn scale(name: &str, from: u32, to: u32) -> Asked {
    Asked::Scale(name.to_owned(), from, to)
}

#[tokio::test]
async fn follows_the_load_and_tells_why() {
    let mut bed = Bed::new(vec![function("busy"), function("quiet")], ScalerConfig::default());
    bed.load(&[("busy", 225.0), ("quiet", 1.0)]);
    assert_eq!(bed.tick().await, Outcome::Done);
    assert_eq!(bed.asked(), [scale("busy", 1, 5)]);
    bed.tick().await;
    assert_eq!(bed.asked(), []);
    let told = bed.why("busy");
    assert_eq!((told.action, told.replicas, told.load.rps), ("keep", 5, Some(225.0)));
    let change = told.last_change.unwrap();
    assert_eq!((change.action, change.from, change.to, change.outcome.as_str()), ("up", 1, 5, "done"));
    assert!(change.why.contains("225"), "{}", change.why);
}

#[tokio::test]
async fn a_source_that_fails_changes_nothing_and_it_goes_on_afterwards() {
    let mut bed = Bed::new(vec![function("echo")], ScalerConfig::default());
    assert_eq!(bed.tick().await, Outcome::SourceFailed);
    *bed.loads.0.lock() = Some(HashMap::new());
    assert_eq!(bed.tick().await, Outcome::Done);
    assert!(bed.why("echo").why.contains("no fresh rps"), "{}", bed.why("echo").why);
    assert_eq!(bed.asked(), []);
    bed.load(&[("echo", 100.0)]);
    bed.tick().await;
    assert_eq!(bed.asked(), [scale("echo", 1, 3)]);
}

#[tokio::test]
async fn nothing_goes_down_before_a_whole_window_after_an_outage() {
    for target_is_away in [false, true] {
        let mut bed = Bed::new(vec![function("echo")], ScalerConfig::default());
        bed.load(&[("echo", 450.0)]);
        bed.tick().await;
        assert_eq!(bed.asked(), [scale("echo", 1, 10)]);
        *bed.target.gone.lock() = target_is_away;
        *bed.loads.0.lock() = None;
        for _ in 0..3 {
            bed.pass(200 * S);
            assert_ne!(bed.tick().await, Outcome::Done);
        }
        *bed.target.gone.lock() = false;
        bed.load(&[("echo", 1.0)]);
        for _ in 0..30 {
            bed.tick().await;
            bed.pass(10 * S);
        }
        assert_eq!(bed.asked(), [], "five minutes of good data come first");
        bed.pass(20 * S);
        bed.tick().await;
        assert_eq!(bed.asked(), [scale("echo", 10, 1)]);
    }
}

#[tokio::test]
async fn a_target_that_fails_changes_nothing() {
    let mut bed = Bed::new(vec![function("echo")], ScalerConfig::default());
    bed.load(&[("echo", 100.0)]);
    *bed.target.gone.lock() = true;
    assert_eq!(bed.tick().await, Outcome::TargetFailed);
    assert_eq!(bed.asked(), []);
}

#[tokio::test]
async fn stands_by_while_another_one_leads() {
    let mut bed = Bed::new(vec![function("echo")], ScalerConfig::default());
    bed.load(&[("echo", 100.0)]);
    *bed.target.leader.lock() = Some("another".into());
    assert_eq!(bed.tick().await, Outcome::StandsBy);
    assert_eq!(bed.asked(), []);
    *bed.target.leader.lock() = None;
    assert_eq!(bed.tick().await, Outcome::Done);
    assert_eq!(bed.asked(), [scale("echo", 1, 3)]);
}

#[tokio::test]
async fn a_dry_run_tells_once_and_changes_nothing() {
    let mut bed = Bed::new(vec![function("echo")], ScalerConfig { dry_run: true, ..ScalerConfig::default() });
    // Another scaler's lease is no reason to be silent: it writes nothing.
    *bed.target.leader.lock() = Some("another".into());
    let mut told = Vec::new();
    for rps in [100.0, 180.0, 90.5, 100.0] {
        bed.load(&[("echo", rps)]);
        assert_eq!(bed.tick().await, Outcome::Done);
        let view = bed.target.observe().await.unwrap();
        let loads = bed.scaler.source.loads(&view.functions, S).await.unwrap();
        bed.pass(S);
        told.push(bed.scaler.decide_all(&view, &loads, bed.scaler.epoch.elapsed()).len());
    }
    assert_eq!(told, [0, 0, 0, 0], "the tick told of it");
    bed.pass(60 * S);
    let view = bed.target.observe().await.unwrap();
    let loads = bed.scaler.source.loads(&view.functions, S).await.unwrap();
    assert_eq!(bed.scaler.decide_all(&view, &loads, bed.scaler.epoch.elapsed()).len(), 1, "a reminder");
    assert_eq!(bed.asked(), []);
    let change = bed.why("echo").last_change.unwrap();
    assert!(change.outcome.contains("dry run") && change.to == 3, "{change:?}");
}

#[tokio::test]
async fn a_change_that_failed_waits_before_it_is_tried_again() {
    let mut bed = Bed::new(vec![function("echo")], ScalerConfig::default());
    bed.load(&[("echo", 100.0)]);
    *bed.target.refuses.lock() = true;
    bed.tick().await;
    bed.tick().await;
    assert_eq!(bed.asked(), [scale("echo", 1, 3)]);
    assert!(bed.why("echo").last_change.unwrap().outcome.contains("it is away"));
}

#[tokio::test]
async fn what_runs_or_waited_a_while_ago_does_not_bring_a_function_back_from_zero() {
    let busy = Counters { started: 9, inflight: 3, queued: 2, ..Counters::default() };
    let mut bed = Bed::new(vec![observed("echo", &LABELS, busy)], ScalerConfig::default());
    let seen = Load { inflight: Some(1.0), queued: Some(2.0), ..quiet() };
    *bed.loads.0.lock() = Some([("echo".to_owned(), seen)].into());
    bed.tick().await;
    assert_eq!(bed.asked(), [scale("echo", 1, 3)]);
    // An operator takes it to 0; the two that waited have been served, and one runs on.
    bed.each(|observed| {
        (observed.state.desired, observed.counters) = (0, Counters { inflight: 1, queued: 0, ..busy });
    });
    bed.tick().await;
    assert_eq!(bed.asked(), []);
    bed.each(|observed| observed.counters.queued = 1);
    bed.tick().await;
    assert_eq!(bed.asked(), [scale("echo", 0, 1)], "this one waits");
}

#[tokio::test]
async fn a_firing_alert_keeps_it_up() {
    let mut held = function("echo");
    (held.held, held.state.desired, held.state.available) = (true, 9, 9);
    let config = ScalerConfig { down_window: Some(Duration::ZERO), ..ScalerConfig::default() };
    let mut bed = Bed::new(vec![held.clone()], config);
    bed.load(&[("echo", 0.0)]);
    bed.tick().await;
    assert_eq!(bed.asked(), []);
    assert!(bed.why("echo").why.contains("alert"), "{}", bed.why("echo").why);
    held.held = false;
    *bed.target.functions.lock() = vec![held];
    bed.tick().await;
    assert!(matches!(bed.asked().as_slice(), [Asked::Scale(_, 9, to)] if *to < 9));
}

#[tokio::test]
async fn why_nothing_is_decided_is_told_until_it_is_over() {
    let mut bed = Bed::new(vec![function("echo")], ScalerConfig::default());
    bed.load(&[("echo", 100.0)]);
    bed.tick().await;
    assert_eq!(bed.why("echo").trouble, None);
    *bed.loads.0.lock() = None;
    bed.tick().await;
    assert!(bed.why("echo").trouble.unwrap().contains("http://test"));
    bed.load(&[("echo", 100.0)]);
    bed.tick().await;
    assert_eq!(bed.why("echo").trouble, None);
}

#[tokio::test]
async fn a_change_under_way_is_not_forgotten_with_the_rest() {
    let mut container = function("slow");
    container.state.runtime = Runtime::Container;
    let mut bed = Bed::new(vec![container], ScalerConfig::default());
    bed.target.containers_end.forget_permits(Semaphore::MAX_PERMITS);
    bed.load(&[("slow", 100.0)]);
    bed.scaler.tick().await;
    tokio::task::yield_now().await;
    assert_eq!(bed.asked(), [scale("slow", 1, 3)]);
    *bed.target.leader.lock() = Some("another".into());
    bed.scaler.tick().await;
    *bed.target.leader.lock() = None;
    bed.scaler.tick().await;
    tokio::task::yield_now().await;
    assert_eq!(bed.asked(), [], "a second one began");
    bed.target.containers_end.add_permits(1);
    let ended = bed.scaler.changes.next().await.unwrap();
    assert_eq!((ended.name.as_str(), ended.outcome.unwrap()), ("slow", true));
    assert!(!bed.scaler.changes.is_under_way(&ended.name));
}

#[tokio::test]
async fn containers_that_hang_hold_no_slots_up() {
    let names: Vec<String> = (0..40).map(|at| format!("slow-{at}")).collect();
    let mut functions: Vec<Observed> = names.iter().map(|name| function(name)).collect();
    functions.iter_mut().for_each(|observed| observed.state.runtime = Runtime::Container);
    functions.push(function("quick"));
    let mut bed = Bed::new(functions, ScalerConfig::default());
    bed.target.containers_end.forget_permits(Semaphore::MAX_PERMITS);
    let mut loads: Vec<(&str, f64)> = names.iter().map(|name| (name.as_str(), 100.0)).collect();
    loads.push(("quick", 100.0));
    bed.load(&loads);
    bed.scaler.tick().await;
    let ended = bed.scaler.changes.next().await.unwrap();
    assert_eq!(ended.name.as_str(), "quick");
}

#[tokio::test]
async fn bad_labels_leave_a_function_alone_and_are_told() {
    let bad = observed("bad", &[("com.openfaas.scale.min", "-1")], Counters::default());
    let mut bed = Bed::new(vec![bad, function("good")], ScalerConfig::default());
    bed.load(&[("bad", 1_000.0), ("good", 100.0)]);
    bed.tick().await;
    assert_eq!(bed.asked(), [scale("good", 1, 3)]);
    let told = bed.why("bad");
    assert!(told.policy.is_none() && told.why.contains("com.openfaas.scale.min"), "{}", told.why);
}

#[tokio::test]
async fn a_function_that_is_gone_is_forgotten() {
    let mut bed = Bed::new(vec![function("a"), function("b")], ScalerConfig::default());
    bed.load(&[]);
    bed.tick().await;
    bed.target.functions.lock().remove(0);
    bed.tick().await;
    assert!(bed.journal.explain(&FunctionName::parse("a").unwrap()).is_none());
    assert!(bed.journal.explain(&FunctionName::parse("b").unwrap()).is_some());
}
