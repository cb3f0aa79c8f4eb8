//! What keeps a function's replicas from being there: tasks that failed, and updates that went wrong.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use bramble_provider::FunctionName;
use parking_lot::Mutex;

/// Tasks that are remembered as having been ready.
const MAX_LAST_TASKS: usize = 64;
/// How much older than an invocation a failure may be and still be what it is told.
const RECENT: Duration = Duration::from_secs(3);
/// How long an update keeps a failure from being what an invocation is told.
const UPDATE_AT_MOST: Duration = Duration::from_secs(60);

/// The troubles of one function.
pub(crate) struct Trouble {
    function: FunctionName,
    /// The last tasks that were ready once: their end is no failure to start.
    served: Mutex<LastTasks>,
    /// The version of the newest task that failed, as far as was told: each is told of once, however many the Swarm keeps.
    failed: AtomicU64,
    problem: Mutex<Option<Problem>>,
    /// Since when the Swarm has been replacing one revision by another, in which it ends the old
    /// replicas as soon as the new ones run, ready or not; and goes back when they fail.
    updating: Mutex<Option<Instant>>,
    /// How many such updates there were.
    updates: AtomicU64,
    /// Why the revision before the one that is wanted runs.
    rollback: Mutex<Option<String>>,
}

/// Why a replica is not there.
#[derive(Debug, Clone)]
struct Problem {
    at: SystemTime,
    text: String,
    /// It will not come by waiting: the task failed, or no node can take it.
    fatal: bool,
}

impl Trouble {
    pub(crate) fn new(function: FunctionName) -> Self {
        Self {
            function,
            served: Mutex::default(),
            failed: AtomicU64::new(0),
            problem: Mutex::default(),
            updating: Mutex::default(),
            updates: AtomicU64::new(0),
            rollback: Mutex::default(),
        }
    }

    /// A task answered its probe.
    pub(super) fn joined(&self, task: &str) {
        self.served.lock().add(task);
        *self.problem.lock() = None;
    }

    /// Of the tasks that failed this is the newest: whether it never served, unless that was told before.
    pub(super) fn failed(&self, task: &str, version: u64) -> Option<bool> {
        let before = self.failed.fetch_max(version, Relaxed);
        (before < version).then(|| !self.served.lock().has(task))
    }

    /// Remembers what keeps a replica from being ready; forgotten when one is.
    pub(super) fn note(&self, at: SystemTime, text: &str, fatal: bool) {
        let mut problem = self.problem.lock();
        if problem.as_ref().is_none_or(|before| at >= before.at || !before.fatal) {
            let new = problem.as_ref().is_none_or(|before| before.text != text);
            *problem = Some(Problem { at, text: text.to_owned(), fatal });
            drop(problem);
            if new && fatal {
                tracing::warn!(function = %self.function, problem = text, "a replica does not start");
            }
        }
    }

    /// Why an invocation that began at this time need not wait for a replica.
    pub(super) fn hopeless(&self, since: SystemTime) -> Option<String> {
        // One revision or the other will be there.
        if self.is_updating() {
            return None;
        }
        let recent = |problem: &&Problem| {
            problem.fatal && since.duration_since(problem.at).map_or(true, |age| age < RECENT)
        };
        self.problem.lock().as_ref().filter(recent).map(|problem| problem.text.clone())
    }

    /// What keeps the next replica from being ready, when it is known.
    pub(crate) fn problem(&self) -> Option<String> {
        self.problem.lock().as_ref().map(|problem| problem.text.clone())
    }

    /// Why the revision that is wanted does not run, when the Swarm went back to the one before.
    pub(crate) fn rollback(&self) -> Option<String> {
        self.rollback.lock().clone()
    }

    /// The Swarm went back to the revision before the one that is wanted.
    pub(crate) fn rolled_back(&self, reason: String) {
        let before = self.rollback.lock().replace(reason.clone());
        // It is told when the rollback begins and when it ends.
        if before.as_ref() != Some(&reason) {
            tracing::warn!(function = %self.function, reason, "an update was rolled back");
        }
    }

    /// As [`Self::rolled_back`], where nobody says why.
    pub(crate) fn rolled_back_somehow(&self) {
        let mut rollback = self.rollback.lock();
        rollback
            .get_or_insert_with(|| "the update was rolled back, the revision before it goes on".to_owned());
    }

    /// The revision that runs is wanted after all.
    pub(crate) fn forget_rollback(&self) {
        *self.rollback.lock() = None;
    }

    /// The Swarm begins to replace the replicas by those of another revision.
    pub(crate) fn begin_update(&self) {
        self.forget_rollback();
        self.updates.fetch_add(1, Relaxed);
        // What never served has nothing to go back to.
        *self.updating.lock() = self.served.lock().any().then(Instant::now);
    }

    /// Whether it is at it, as far as is known.
    pub(crate) fn is_updating(&self) -> bool {
        self.updating.lock().is_some_and(|since| since.elapsed() < UPDATE_AT_MOST)
    }

    /// The number of the last update.
    pub(crate) fn update(&self) -> u64 {
        self.updates.load(Relaxed)
    }

    /// It has done so, has gone back, or has given up.
    pub(crate) fn end_update(&self) {
        *self.updating.lock() = None;
    }
}

/// The ids of the last tasks of some kind.
#[derive(Default)]
struct LastTasks(VecDeque<Arc<str>>);

impl LastTasks {
    fn has(&self, task: &str) -> bool {
        self.0.iter().any(|known| **known == *task)
    }

    fn any(&self) -> bool {
        !self.0.is_empty()
    }

    fn add(&mut self, task: &str) {
        if !self.has(task) {
            self.0.truncate(MAX_LAST_TASKS - 1);
            self.0.push_front(task.into());
        }
    }
}
