//! How much is measured of each thing: the one place where the length of a run is decided.

use std::time::Duration;

/// Numbers of samples, and lengths.
#[derive(Debug, Clone)]
pub(super) struct Effort {
    /// Numbers of connections of the closed loop.
    pub(super) connections: Vec<usize>,
    /// Rounds of each load; each asks every side.
    pub(super) rounds: usize,
    /// One side in one round.
    pub(super) turn: Duration,
    /// Deployments of bytes that were never seen.
    pub(super) news: usize,
    /// Starts from 0 replicas; the first program's container, which the headlines are about, has more.
    pub(super) wasm_starts: usize,
    container_starts: usize,
    leading_container_starts: usize,
    pub(super) thaws: usize,
    /// Starts of a gateway, of which each gives one cold start.
    pub(super) restarts: usize,
    /// Open-loop rates, as shares of the closed loop's best.
    pub(super) loads: &'static [f64],
    /// Numbers of functions at which memory is looked at.
    pub(super) wasm_functions: &'static [u64],
    pub(super) container_functions: &'static [u64],
    /// Rounds with and without a deployment beside a load.
    pub(super) deploy_rounds: usize,
    /// One load beside it: longer than a deployment on a small machine.
    pub(super) deploy_turn: Duration,
    /// Requests per second of the run from 0 up and back to 0, step by step.
    pub(super) steps: &'static [f64],
    /// How long each step is.
    pub(super) step: Duration,
}

/// Longest that the samples of one kind may take; fewer are made of what is slow.
pub(super) const PATIENCE: Duration = Duration::from_secs(12);
/// The same of the starts from 0 of both runtimes. Each of a container takes some seconds, for its end above all.
pub(super) const FROM_ZERO_PATIENCE: Duration = Duration::from_secs(40);

impl Effort {
    /// Of a whole run, about ten minutes with the budgets.
    pub(super) fn whole() -> Self {
        Self {
            connections: vec![1, 8, 16, 64],
            rounds: 3,
            turn: Duration::from_millis(400),
            news: 3,
            wasm_starts: 40,
            container_starts: 3,
            leading_container_starts: 6,
            thaws: 15,
            restarts: 6,
            loads: &[0.25, 0.5, 0.75],
            wasm_functions: &[10, 50, 200, 500],
            container_functions: &[1, 2, 4, 8],
            deploy_rounds: 3,
            deploy_turn: Duration::from_secs(2),
            steps: &[40.0, 120.0, 200.0, 120.0, 40.0],
            step: Duration::from_millis(2_500),
        }
    }

    /// Of a short one, about two minutes.
    pub(super) fn quick() -> Self {
        Self {
            connections: vec![1, 16],
            rounds: 2,
            turn: Duration::from_millis(200),
            news: 1,
            wasm_starts: 10,
            container_starts: 2,
            leading_container_starts: 2,
            thaws: 5,
            restarts: 3,
            loads: &[0.5],
            wasm_functions: &[10, 50],
            container_functions: &[1, 2],
            deploy_rounds: 2,
            deploy_turn: Duration::from_secs(1),
            steps: &[40.0, 120.0, 40.0],
            step: Duration::from_millis(1_500),
        }
    }

    /// Rounds of starts from 0 replicas; each has one start of the container.
    pub(super) fn rounds_from_zero(&self, leading: bool) -> usize {
        if leading { self.leading_container_starts } else { self.container_starts }
    }

    /// The same with turns of another length, and whatever else lasts for a time in proportion.
    pub(super) fn with_turn(self, turn: Duration) -> Self {
        let factor = turn.as_secs_f64() / self.turn.as_secs_f64();
        let (deploy_turn, step) = (self.deploy_turn.mul_f64(factor), self.step.mul_f64(factor));
        Self { turn, deploy_turn, step, ..self }
    }
}
