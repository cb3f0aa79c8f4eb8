//! The loop over functions that are nowhere, by loads that are made up.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::*;
use crate::target::testing::observed;
use crate::target::{Counters, Standing};

/// What a target was asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Asked {
    Scale(String, u32, u32),
    Freeze(String),
}

#[derive(Default)]
struct Fake {
    functions: Mutex<Vec<Observed>>,
    leader: Mutex<Option<String>>,
    asked: Mutex<Vec<Asked>>,
    /// What changes answer; else they succeed.
    refuses: Mutex<bool>,
    gone: Mutex<bool>,
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
        Ok(View { functions: self.functions.lock().clone(), wasm_slots: 100 })
    }

    async fn scale(&self, name: &FunctionName, from: u32, to: u32) -> Result<bool, ProviderError> {
        self.asked.lock().push(Asked::Scale(name.to_string(), from, to));
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

    async fn freeze(&self, name: &FunctionName) -> Result<(), ProviderError> {
        self.asked.lock().push(Asked::Freeze(name.to_string()));
        Ok(())
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
            self.scaler.journal.ended(ended, self.scaler.epoch.elapsed() + RETRY_AFTER);
        }
        outcome
    }

    fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.target.asked.lock())
    }

    fn why(&self, name: &str) -> Explained {
        self.journal.explain(&FunctionName::parse(name).unwrap()).unwrap()
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
    bed.load(&[("echo", 100.0)]);
    for _ in 0..3 {
        bed.tick().await;
    }
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
async fn a_function_with_an_invocation_is_not_idle_whatever_the_source_says() {
    let labels = [("com.openfaas.scale.zero", "true"), ("com.openfaas.scale.zero-duration", "1s")];
    let busy = Counters { inflight: 1, ..Counters::default() };
    let mut bed = Bed::new(
        vec![observed("busy", &labels, busy), observed("idle", &labels, Counters::default())],
        ScalerConfig::default(),
    );
    let idle = Load {
        rps: Some(0.0),
        inflight: Some(0.0),
        queued: Some(0.0),
        idle_for: Some(Duration::from_secs(2)),
        ..Load::default()
    };
    *bed.loads.0.lock() = Some([("busy".to_owned(), idle), ("idle".to_owned(), idle)].into());
    bed.tick().await;
    let asked = bed.asked();
    assert!(asked.contains(&scale("idle", 1, 0)), "{asked:?}");
    assert!(!asked.contains(&scale("busy", 1, 0)), "{asked:?}");
}

#[tokio::test]
async fn functions_share_what_the_host_has() {
    let labels = [("com.openfaas.scale.min", "1"), ("com.openfaas.scale.max", "500")];
    let functions = ["hot", "warm"].map(|name| observed(name, &labels, Counters::default()));
    let config = ScalerConfig { down_window: Some(Duration::ZERO), ..ScalerConfig::default() };
    let mut bed = Bed::new(functions.into(), config);
    // 10 beyond 1 in each tick of the pace, so both stand at their wants only after a while; the
    // share holds at once.
    bed.target.functions.lock().iter_mut().for_each(|observed| {
        (observed.state.desired, observed.state.available) = (100, 100);
    });
    bed.load(&[("hot", 40_000.0), ("warm", 900.0)]);
    bed.tick().await;
    let given: u32 = bed.target.functions.lock().iter().map(|observed| observed.state.desired).sum();
    assert!(given <= 100, "{given} slots of 100");
    assert!(bed.why("hot").why.contains("no slots"), "{}", bed.why("hot").why);
    assert!(bed.target.functions.lock()[1].state.desired >= 20);
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
