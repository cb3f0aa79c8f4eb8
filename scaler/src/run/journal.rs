//! What is remembered of each function.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bramble_provider::FunctionName;
use parking_lot::{Mutex, MutexGuard};

use super::apply::Ended;
use super::explained::Explained;
use super::idle::Idle;
use crate::load::{Load, State};
use crate::policy::{Defaults, Policy, PolicyError};
use crate::stabilise::{Action, Decision, History};
use crate::target::{Counters, Deployed, Observed, View};

/// The word for pausing.
pub(super) const FREEZE: &str = "freeze";

/// After a change that failed, a function is left alone for so long.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// A freeze that paused nothing is tried again after [`RETRY_AFTER`], and after twice as long each time, up to this.
const MAX_FREEZE_PAUSE: Duration = Duration::from_secs(300);

/// In a dry run, the same change is logged again after so long.
const TOLD_FOR: Duration = Duration::from_secs(60);

/// The last decision on every function. Locked for as long as a tick decides, which waits for nothing.
#[derive(Debug, Default)]
pub struct Journal {
    all: Mutex<All>,
    /// Why the last tick decided nothing.
    trouble: Mutex<Option<String>>,
}

/// Everything that is remembered. Boxed, or a table that grows would hold and move the room of twice as many.
#[derive(Debug, Default)]
pub(super) struct All(HashMap<FunctionName, Box<Followed>>);

/// One function.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) function: Arc<dyn Deployed>,
    pub(super) policy: Result<Policy, PolicyError>,
    pub(super) history: History,
    pub(super) load: Load,
    pub(super) state: State,
    pub(super) source: &'static str,
    pub(super) decided_at: SystemTime,
    pub(super) decision: Option<Decision>,
    /// Whether an alert kept it from going down.
    pub(super) held: bool,
    /// The last change, made or not.
    pub(super) change: Option<Box<Change>>,
    /// Since when it is idle.
    pub(super) idle: Idle,
    /// What was counted at the last look.
    looked: Counters,
    retry_at: Option<Duration>,
    /// No freeze before this.
    freeze_at: Duration,
    freeze_pause: Duration,
    failing: bool,
    /// What its policy was read with.
    wasm_slots: u32,
    tick: u64,
}

/// A change of replicas that was decided.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) action: &'static str,
    pub(super) decision: Decision,
    pub(super) from: u32,
    pub(super) at: SystemTime,
    pub(super) outcome: String,
    /// When a dry run logged it.
    told_at: Option<Duration>,
}

impl Change {
    pub(super) fn new(decision: &Decision, from: u32) -> Self {
        let action = match decision.action {
            Action::Freeze => FREEZE,
            _ if decision.replicas == 0 => "zero",
            _ if decision.replicas > from => "up",
            _ => "down",
        };
        let outcome = "under way".to_owned();
        Self { action, decision: *decision, from, at: SystemTime::now(), outcome, told_at: None }
    }

    /// When a dry run told lately of the same action on as many replicas; how far it goes changes with each tick
    /// of a noisy load.
    pub(super) fn told_at(&self, like: &Self, now: Duration) -> Option<Duration> {
        let same = self.action == like.action && self.from == like.from;
        self.told_at.filter(|at| same && now.saturating_sub(*at) < TOLD_FOR)
    }

    pub(super) fn not_made(self, told_at: Duration) -> Self {
        Self { outcome: "not made: this is a dry run".to_owned(), told_at: Some(told_at), ..self }
    }
}

impl Followed {
    fn new(observed: &Observed, defaults: &Defaults, now: Duration) -> Self {
        let function = observed.function.clone();
        Self {
            policy: read_policy(&*function, defaults, false),
            function,
            history: History::default(),
            load: Load::default(),
            state: observed.state,
            source: "",
            decided_at: UNIX_EPOCH,
            decision: None,
            held: false,
            change: None,
            idle: Idle::new(observed.counters.started, now),
            looked: observed.counters,
            retry_at: None,
            freeze_at: Duration::ZERO,
            freeze_pause: Duration::ZERO,
            failing: false,
            wasm_slots: defaults.wasm_slots,
            tick: 0,
        }
    }

    /// Takes note of a look, and answers how many invocations run or wait at this one and the last in the mean, if
    /// some wait.
    pub(super) fn waiting(&mut self, now: &Counters) -> Option<f64> {
        let before = std::mem::replace(&mut self.looked, *now);
        let mean = |of: fn(&Counters) -> u32| f64::midpoint(of(now).into(), of(&before).into());
        (mean(|counters| counters.queued) > 0.0).then(|| mean(|counters| counters.inflight))
    }

    /// Whether a change may begin: none failed just now.
    pub(super) fn may_change(&self, now: Duration) -> bool {
        self.retry_at.is_none_or(|at| now >= at)
    }

    /// Whether a freeze may begin: none came to nothing just now.
    pub(super) fn may_freeze(&self, now: Duration) -> bool {
        now >= self.freeze_at
    }

    pub(super) fn begin(&mut self, change: Change) {
        self.change = Some(Box::new(change));
        self.retry_at = None;
    }

    /// Takes note of how a change ended, and answers whether that begins or ends a time of failures.
    fn ended(&mut self, ended: &Ended, now: Duration) -> bool {
        let failed = ended.outcome.is_err();
        if ended.action == FREEZE {
            // Scaling goes on meanwhile: what cannot be paused may still be too many.
            self.freeze_pause = match ended.outcome {
                Ok(true) => Duration::ZERO,
                _ => (self.freeze_pause * 2).clamp(RETRY_AFTER, MAX_FREEZE_PAUSE),
            };
            self.freeze_at = now + self.freeze_pause;
        } else if failed {
            self.retry_at = Some(now + RETRY_AFTER);
        }
        if let Some(change) = &mut self.change {
            change.outcome = match &ended.outcome {
                Ok(true) => "done".to_owned(),
                Ok(false) if ended.action == FREEZE => "not made: nothing could be paused".to_owned(),
                Ok(false) => "not made: the function changed in between".to_owned(),
                Err(error) => format!("failed: {error}"),
            };
        }
        std::mem::replace(&mut self.failing, failed) != failed
    }

    fn renew(&mut self, function: &Arc<dyn Deployed>, defaults: &Defaults) {
        let same_defaults = self.wasm_slots == defaults.wasm_slots;
        if Arc::ptr_eq(&self.function, function) && same_defaults {
            return;
        }
        let same =
            self.function.runtime() == function.runtime() && self.function.labels() == function.labels();
        if !same || !same_defaults {
            self.wasm_slots = defaults.wasm_slots;
            self.policy = read_policy(&**function, defaults, self.policy.is_err());
            if self.function.runtime() != function.runtime() {
                // The replicas of another runtime are others.
                self.history = History::default();
            }
        }
        self.function = function.clone();
    }
}

fn read_policy(
    function: &dyn Deployed,
    defaults: &Defaults,
    was_refused: bool,
) -> Result<Policy, PolicyError> {
    let policy = Policy::from_labels(function.labels(), function.runtime(), defaults);
    if let Err(error) = &policy
        && !was_refused
    {
        tracing::warn!(function = %function.name(), %error, "the function is not scaled");
    }
    policy
}

impl All {
    /// Lets `look` at what is remembered of a function, its policy read anew when it was deployed anew.
    pub(super) fn of<T>(
        &mut self,
        observed: &Observed,
        defaults: &Defaults,
        (tick, now): (u64, Duration),
        look: impl FnOnce(&mut Followed) -> T,
    ) -> T {
        let name = observed.function.name();
        // One look-up for nearly every function; an entry would clone each name.
        if let Some(followed) = self.0.get_mut(name) {
            followed.renew(&observed.function, defaults);
            followed.tick = tick;
            return look(followed);
        }
        let mut followed = Box::new(Followed::new(observed, defaults, now));
        followed.tick = tick;
        let looked = look(&mut followed);
        self.0.insert(name.clone(), followed);
        looked
    }

    pub(super) fn get_mut(&mut self, name: &FunctionName) -> Option<&mut Followed> {
        self.0.get_mut(name).map(|followed| &mut **followed)
    }

    /// Drops the functions that were not in this tick, in which there were so many.
    pub(super) fn forget_all_but(&mut self, tick: u64, count: usize) {
        if self.0.len() > count {
            self.0.retain(|_, followed| followed.tick == tick);
        }
    }
}

impl Journal {
    pub(super) fn lock(&self) -> MutexGuard<'_, All> {
        self.all.lock()
    }

    /// Forgets everything: another scaler decides now.
    pub(super) fn clear(&self) {
        self.all.lock().0.clear();
    }

    /// Takes note of a tick that could not decide: fewer replicas must have been enough for a whole window after it. How
    /// long a function is idle goes on only where the target was seen.
    pub(super) fn missed(&self, seen: Option<&View>, now: Duration) {
        let mut all = self.all.lock();
        for followed in all.0.values_mut() {
            followed.history.interrupt();
            if seen.is_none() {
                followed.idle = Idle::new(followed.looked.started, now);
            }
        }
        for observed in seen.iter().flat_map(|view| &view.functions) {
            if let Some(followed) = all.get_mut(observed.function.name()) {
                followed.idle.look(observed.counters.started, observed.is_busy(), now);
            }
        }
    }

    /// Takes note of why a tick decided nothing; `None` when it decided.
    pub(super) fn trouble(&self, why: Option<String>) {
        *self.trouble.lock() = why;
    }

    /// Takes note of how a change ended.
    pub(super) fn ended(&self, ended: &Ended, now: Duration) {
        let mut all = self.all.lock();
        // It may have been removed in between.
        let is_news = all.0.get_mut(&ended.name).is_some_and(|followed| followed.ended(ended, now));
        drop(all);
        match &ended.outcome {
            Err(error) if is_news => {
                tracing::warn!(function = %ended.name, action = ended.action, %error, "cannot change the replicas; trying again");
            }
            Ok(_) if is_news => tracing::info!(function = %ended.name, "replicas can be changed again"),
            _ => {}
        }
    }

    /// The last decision on a function; `None` when there was none yet.
    pub fn explain(&self, name: &FunctionName) -> Option<Explained> {
        let trouble = self.why_not();
        let all = self.all.lock();
        all.0.get(name).map(|followed| Explained::of(followed, trouble))
    }

    /// Why the last look at all functions decided nothing; `None` when it did decide.
    pub fn why_not(&self) -> Option<String> {
        self.trouble.lock().clone()
    }
}
