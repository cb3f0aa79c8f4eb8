//! Why a replica failed, in words that help: what the Swarm says, and what the program said last.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bollard::models::{Service, ServiceUpdateStatusStateEnum as UpdateState};
use bramble_provider::LogStream;

use crate::FUNCTION_LABEL;
use crate::apply::{is_rolled_back, update_state};
use crate::core::Core;
use crate::docker::TaskState;
use crate::function::Function;
use crate::logs::ContainerLogs;

/// Longest wait for what a program said last. Whoever waits for the function waits for it too.
const WORDS_DEADLINE: Duration = Duration::from_millis(500);
/// After how many times the wait for a replica an update without one has failed, and between two looks.
const JUDGED_AFTER_ACTIVATIONS: u32 = 2;
const JUDGE_LOOK: Duration = Duration::from_secs(1);
/// Most of it that is told.
const MAX_WORDS_CHARS: usize = 300;

/// A task that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Its id.
    pub(crate) task: String,
    /// When, by the Swarm's clock.
    pub(crate) at: SystemTime,
    /// What the Swarm says.
    pub(crate) problem: String,
    /// Whether there was a program that may have said something.
    pub(crate) ran: bool,
    /// Whether it never took a request.
    pub(crate) fatal: bool,
}

impl Core {
    /// Tells a function why a task of it failed.
    pub(crate) async fn explain(self: Arc<Self>, function: Arc<Function>, failure: Failure) {
        let Failure { task, at, problem, ran, fatal } = failure;
        let words = if ran { self.last_words(&function, &task).await } else { None };
        function.note(at, &with_words(&problem, words), fatal);
    }

    /// Tells a function that the Swarm went back to the revision before, and why; its number of replicas
    /// is what is wanted all the same.
    pub(crate) async fn explain_rollback(self: Arc<Self>, function: Arc<Function>) {
        let found = self.find(&function).await.ok().flatten();
        let Some(found) = found.filter(went_back_or_stopped) else { return };
        let message = found.update_status.and_then(|status| status.message).unwrap_or_default();
        // "update rolled back due to failure or early termination of task ID"
        let named = message.split_once(" of task ").map(|(_, task)| task.trim());
        let cause = self.cause_of(&function, named).await;
        let _alone = function.writing.lock().await;
        // Another update may have begun since.
        let found = self.find(&function).await.ok().flatten();
        if !found.is_some_and(|found| went_back_or_stopped(&found)) {
            return;
        }
        if let Some(cause) = cause {
            function.trouble.rolled_back(format!(
                "the update was rolled back, the revision before it goes on: a replica failed: {cause}"
            ));
        } else {
            function.trouble.rolled_back_somehow();
        }
        self.set_replicas_later(&function);
    }

    /// Goes back from an update whose replicas run and take no requests: for the Swarm, what runs is well.
    pub(crate) fn judge_update_later(self: &Arc<Self>, function: &Arc<Function>) {
        let (core, function) = (Arc::clone(self), Arc::clone(function));
        let update = function.trouble.update();
        tokio::spawn(async move {
            let patience = core.config.activation_timeout * JUDGED_AFTER_ACTIVATIONS;
            let until = Instant::now() + patience;
            while Instant::now() < until {
                tokio::time::sleep(JUDGE_LOOK).await;
                if function.trouble.update() != update {
                    return;
                }
            }
            let _alone = function.writing.lock().await;
            let counts = function.counts();
            if function.trouble.update() != update || counts.desired == 0 || counts.available > 0 {
                return;
            }
            let Some(problem) = function.trouble.problem() else { return };
            match core.go_back(&function, counts.desired).await {
                Ok(false) => {}
                Ok(true) => function.trouble.rolled_back(format!(
                    "the update was rolled back, the revision before it goes on: after {} s {problem}",
                    patience.as_secs(),
                )),
                Err(error) => {
                    tracing::warn!(function = %function.name, %error, "cannot go back from an update");
                }
            }
        });
    }

    /// Why a task failed; unless it is named, the last of the function's that did.
    async fn cause_of(&self, function: &Function, named: Option<&str>) -> Option<String> {
        let label = format!("{FUNCTION_LABEL}={}", function.name);
        let filter = named.map_or(("label", &*label), |task| ("id", task));
        let tasks = self.docker.tasks(&[filter]).await.ok()?;
        let failed = tasks.iter().filter(|task| task.state() == TaskState::Over);
        let (task, problem) =
            failed.filter_map(|task| Some((task, task.problem()?))).max_by_key(|(task, _)| task.since())?;
        Some(with_words(problem, self.last_words(function, &task.id).await))
    }

    /// The last line that a task wrote.
    async fn last_words(&self, function: &Function, task: &str) -> Option<String> {
        let read = async {
            let mut lines =
                ContainerLogs::last_of_task(&self.docker, task, function.name.clone()).await.ok()?;
            let mut last = None;
            while let Some(line) = lines.next().await {
                last = Some(line.text).filter(|text| !text.trim().is_empty()).or(last);
            }
            last
        };
        tokio::time::timeout(WORDS_DEADLINE, read).await.ok().flatten()
    }
}

fn went_back_or_stopped(service: &Service) -> bool {
    is_rolled_back(service) || update_state(service) == Some(UpdateState::PAUSED)
}

fn with_words(problem: &str, words: Option<String>) -> String {
    match words {
        None => problem.to_owned(),
        Some(words) => {
            let words: String = words.trim().chars().take(MAX_WORDS_CHARS).collect();
            format!("{problem}; its last words: {words}")
        }
    }
}
