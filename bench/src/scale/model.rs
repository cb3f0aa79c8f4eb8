//! What one function does with its requests: replicas that start, run, freeze and go.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use crate::stats::Latencies;

/// Microseconds since the start of a trace.
pub(crate) type Micros = u64;

/// Requests that may wait; what comes then is refused, as the gateway does.
const MAX_QUEUED: usize = 10_000;

/// What replicas cost in time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Costs {
    /// From the decision to the first request, for one replica.
    pub(crate) start: Micros,
    /// How much longer for each other one that starts at the same time.
    pub(crate) start_each_more: Micros,
    /// To take a frozen one back.
    pub(crate) thaw: Micros,
    /// Requests that one runs at a time; others wait.
    pub(crate) concurrency: u32,
}

/// What a controller asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Keep,
    Scale(u32),
    Freeze,
}

/// What a controller sees: gauges of this instant, and counts that only grow.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct View {
    pub(crate) desired: u32,
    /// Able to answer, frozen ones included.
    pub(crate) available: u32,
    pub(crate) frozen: u32,
    pub(crate) running: u32,
    pub(crate) queued: u32,
    pub(crate) started: u64,
    pub(crate) finished: u64,
    /// Requests running or waiting, times the microseconds for which they were.
    pub(crate) request_micros: u64,
}

/// What came of a trace.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) requests: u64,
    pub(crate) refused: u64,
    /// Requests that came when no replica was able to answer, not even a frozen one.
    pub(crate) cold: u64,
    /// Requests that came when all replicas were frozen.
    pub(crate) thawed: u64,
    pub(crate) latency: Latencies,
    /// The part of it before the request ran.
    pub(crate) wait: Latencies,
    pub(crate) running_micros: u64,
    /// Replicas that run or start, times the microseconds for which they do.
    pub(crate) replica_micros: u64,
    pub(crate) frozen_micros: u64,
    pub(crate) moves: u64,
    pub(crate) reversals: u64,
}

impl Outcome {
    pub(crate) fn new() -> Self {
        Self {
            requests: 0,
            refused: 0,
            cold: 0,
            thawed: 0,
            latency: Latencies::new(),
            wait: Latencies::new(),
            running_micros: 0,
            replica_micros: 0,
            frozen_micros: 0,
            moves: 0,
            reversals: 0,
        }
    }
}

/// One function and its requests.
pub(crate) struct Function<'a> {
    costs: Costs,
    outcome: &'a mut Outcome,
    /// Mean replicas in each stretch of time, added to what other functions had.
    series: &'a mut [u64],
    series_step: Micros,
    now: Micros,
    desired: u32,
    ready: u32,
    frozen: u32,
    /// When those that start are ready, soonest first.
    starting: VecDeque<Micros>,
    /// When those that thaw are back, soonest first; counted as frozen until then.
    thawing: VecDeque<Micros>,
    running: BinaryHeap<Reverse<Micros>>,
    /// When those that wait came, and how long they will run.
    queue: VecDeque<(Micros, Micros)>,
    view: View,
    went_up: Option<bool>,
}

impl<'a> Function<'a> {
    pub(crate) fn new(
        costs: Costs,
        replicas: u32,
        outcome: &'a mut Outcome,
        series: &'a mut [u64],
        series_step: Micros,
    ) -> Self {
        Self {
            costs,
            outcome,
            series,
            series_step,
            now: 0,
            desired: replicas,
            ready: replicas,
            frozen: 0,
            starting: VecDeque::new(),
            thawing: VecDeque::new(),
            running: BinaryHeap::new(),
            queue: VecDeque::new(),
            view: View::default(),
            went_up: None,
        }
    }

    /// Lets everything happen that happens by `until`.
    pub(crate) fn advance(&mut self, until: Micros) {
        loop {
            let done = self.running.peek().map(|Reverse(at)| *at);
            let ready = self.starting.front().copied();
            let thawed = self.thawing.front().copied();
            let next = [done, ready, thawed].into_iter().flatten().min().filter(|at| *at <= until);
            let Some(at) = next else { break };
            self.pass(at);
            if done == Some(at) {
                self.running.pop();
                self.view.finished += 1;
            } else if ready == Some(at) {
                self.starting.pop_front();
                self.ready += 1;
            } else {
                self.thawing.pop_front();
                self.frozen -= 1;
                self.ready += 1;
            }
            self.dispatch();
        }
        self.pass(until);
    }

    /// A request, after [`Self::advance`] to now.
    pub(crate) fn arrive(&mut self, service: Micros) {
        self.outcome.requests += 1;
        if self.queue.len() >= MAX_QUEUED {
            self.outcome.refused += 1;
            return;
        }
        self.view.started += 1;
        if self.ready == 0 {
            *(if self.frozen > 0 { &mut self.outcome.thawed } else { &mut self.outcome.cold }) += 1;
        }
        self.queue.push_back((self.now, service));
        self.dispatch();
        if self.queue.is_empty() {
            return;
        }
        if self.frozen as usize > self.thawing.len() {
            self.thawing.push_back(self.now + self.costs.thaw);
        } else if self.desired == 0 {
            // Activation: the gateway asks for the first one itself.
            self.scale(1);
        }
    }

    pub(crate) fn view(&self) -> View {
        View {
            desired: self.desired,
            available: self.ready + self.frozen,
            frozen: self.frozen,
            running: count(self.running.len()),
            queued: count(self.queue.len()),
            ..self.view
        }
    }

    pub(crate) fn obey(&mut self, order: Order) {
        match order {
            Order::Keep => {}
            Order::Scale(replicas) => self.scale(replicas),
            Order::Freeze if self.running.is_empty() => {
                self.frozen += self.ready;
                self.ready = 0;
            }
            Order::Freeze => {}
        }
    }

    fn scale(&mut self, replicas: u32) {
        if replicas == self.desired {
            return;
        }
        let up = replicas > self.desired;
        self.outcome.moves += 1;
        self.outcome.reversals += u64::from(self.went_up.is_some_and(|was| was != up));
        self.went_up = Some(up);
        self.desired = replicas;
        let have = self.ready + self.frozen + count(self.starting.len());
        if replicas > have {
            self.start(replicas - have);
        } else {
            self.stop(have - replicas);
        }
    }

    fn start(&mut self, more: u32) {
        let at_once = self.starting.len() as u64 + u64::from(more);
        let at = self.now + self.costs.start + self.costs.start_each_more * (at_once - 1);
        // One that starts already is not made slower: it is nearly there.
        let at = at.max(self.starting.back().copied().unwrap_or(0));
        self.starting.extend((0..more).map(|_| at));
    }

    /// What starts goes first, then what is frozen, then what runs; requests end where they are.
    fn stop(&mut self, fewer: u32) {
        for _ in 0..fewer {
            if self.starting.pop_back().is_some() {
                continue;
            }
            if self.frozen as usize > self.thawing.len() {
                self.frozen -= 1;
            } else if self.ready > 0 {
                self.ready -= 1;
            } else if self.thawing.pop_back().is_some() {
                self.frozen -= 1;
            }
        }
    }

    fn dispatch(&mut self) {
        let slots = self.ready as usize * self.costs.concurrency as usize;
        while self.running.len() < slots
            && let Some((came, service)) = self.queue.pop_front()
        {
            let done = self.now + service;
            self.outcome.latency.record(Duration::from_micros(done - came));
            self.outcome.wait.record(Duration::from_micros(self.now - came));
            self.running.push(Reverse(done));
        }
    }

    fn pass(&mut self, until: Micros) {
        let micros = until - self.now;
        if micros == 0 {
            return;
        }
        let running = self.running.len() as u64;
        let replicas = u64::from(self.ready) + self.starting.len() as u64;
        self.outcome.running_micros += running * micros;
        self.outcome.replica_micros += replicas * micros;
        self.outcome.frozen_micros += u64::from(self.frozen) * micros;
        self.view.request_micros += (running + self.queue.len() as u64) * micros;
        while self.now < until {
            let step = self.now / self.series_step;
            let end = until.min((step + 1) * self.series_step);
            if let Some(mean) = usize::try_from(step).ok().and_then(|step| self.series.get_mut(step)) {
                *mean += replicas * (end - self.now);
            }
            self.now = end;
        }
    }
}

fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COSTS: Costs = Costs { start: 1_000, start_each_more: 100, thaw: 50, concurrency: 2 };

    fn check(replicas: u32, run: impl FnOnce(&mut Function<'_>)) -> (Outcome, Vec<u64>) {
        let (mut outcome, mut series) = (Outcome::new(), vec![0; 10]);
        run(&mut Function::new(COSTS, replicas, &mut outcome, &mut series, 1_000));
        (outcome, series)
    }

    #[test]
    fn what_finds_no_slot_waits_for_one() {
        let (outcome, _) = check(1, |function| {
            (0..3).for_each(|_| function.arrive(100));
            assert_eq!((function.view().running, function.view().queued), (2, 1));
            function.advance(1_000);
        });
        assert_eq!(outcome.latency.percentiles().max_ns / 1_000, 200);
        assert_eq!((outcome.running_micros, outcome.replica_micros), (300, 1_000));
    }

    #[test]
    fn the_first_request_of_a_function_at_zero_starts_a_replica() {
        let (outcome, series) = check(0, |function| {
            function.advance(500);
            function.arrive(100);
            function.advance(3_000);
            assert_eq!(function.view().finished, 1);
        });
        assert_eq!((outcome.cold, outcome.thawed, outcome.moves), (1, 0, 1));
        assert!(outcome.latency.percentiles().max_ns.abs_diff(1_100_000) < 2_000);
        assert_eq!(&series[..3], [500, 1_000, 1_000]);
    }

    #[test]
    fn a_frozen_one_thaws() {
        let (outcome, _) = check(2, |function| {
            function.obey(Order::Freeze);
            function.arrive(100);
            function.advance(10_000);
            assert_eq!((function.view().available, function.view().frozen), (2, 1));
        });
        assert_eq!((outcome.cold, outcome.thawed), (0, 1));
    }

    #[test]
    fn more_that_start_at_once_take_longer() {
        check(1, |function| {
            function.obey(Order::Scale(5));
            function.advance(1_299);
            assert_eq!(function.view().available, 1);
            function.advance(1_300);
            assert_eq!(function.view().available, 5);
        });
    }
}
