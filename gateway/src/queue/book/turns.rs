//! Whose turn it is, and where a call that was taken goes next.

use std::time::Instant;

use bramble_provider::FunctionName;
use tokio_util::sync::CancellationToken;

use super::{Book, Room, State, Turn};

impl Book {
    /// The next calls, one of each function in turn, and those whose function is gone.
    pub(in crate::queue) fn take(
        &mut self,
        now: Instant,
        room: impl Fn(&FunctionName) -> Room,
    ) -> (Vec<Turn>, Vec<u64>) {
        self.wake(now);
        let (mut taken, mut orphans) = (Vec::new(), Vec::new());
        let mut passed_by = 0;
        while passed_by < self.turns.len() && self.totals.running < 2 * self.limits.workers {
            let Some(name) = self.turns.pop_front() else { break };
            let line = self.lines.get_mut(&name).expect("a function in turn has a line");
            if line.ready.is_empty() {
                line.in_turn = false;
                self.tidy(&name);
                continue;
            }
            let most = match room(&name) {
                Room::Gone => {
                    line.in_turn = false;
                    orphans.extend(line.ready.drain(..));
                    continue;
                }
                Room::Most(most) => most,
            };
            let is_free = self.totals.running < self.limits.workers || line.running == 0;
            let may = line.may_start(now, most, self.limits.callbacks_each)
                && self.totals.calling_back < self.limits.callbacks;
            if !is_free || !may {
                self.turns.push_back(name);
                passed_by += 1;
                continue;
            }
            let sequence = line.ready.pop_front().expect("it is not empty");
            line.running += 1;
            self.turns.push_back(name);
            passed_by = 0;
            self.totals.running += 1;
            let entry = self.calls.get_mut(&sequence).expect("a call in line is in the book");
            entry.state = State::running();
            entry.starts += 1;
            taken.push(Turn { sequence, starts: entry.starts });
        }
        for sequence in &orphans {
            // As if they ran, so that nobody else takes them before they are buried.
            let entry = self.calls.get_mut(sequence).expect("a call in line is in the book");
            entry.state = State::running();
            self.totals.running += 1;
            self.line_of(*sequence).running += 1;
        }
        (taken, orphans)
    }

    /// When [`Self::take`] may find more without anything else happening.
    pub(in crate::queue) fn next_wake(&self) -> Option<Instant> {
        let later = self.later.first().map(|(at, _)| *at);
        // Where all workers are busy, one that ends wakes it.
        let is_free = self.totals.running < 2 * self.limits.workers;
        let paused = self.turns.iter().filter_map(|name| self.lines.get(name)?.paused_until);
        let paused = paused.filter(|_| is_free).min();
        [later, paused].into_iter().flatten().min()
    }

    /// A call that was taken did not run: its function had no room for it. Answers its starts; `None` when it was
    /// cancelled meanwhile, and is to be ended.
    pub(in crate::queue) fn turn_back(&mut self, sequence: u64, now: Instant) -> Option<u32> {
        let entry = self.calls.get_mut(&sequence)?;
        if !entry.state.goes_on() {
            return None;
        }
        entry.starts -= 1;
        entry.state = State::Waiting { not_before: None };
        let (starts, name) = (entry.starts, entry.function.clone());
        let line = self.lines.entry(name.clone()).or_default();
        line.pause(now);
        line.ready.push_front(sequence);
        self.leave_run(&name);
        self.join_turn(&name);
        Some(starts)
    }

    /// The function has room: its pauses begin anew.
    pub(in crate::queue) fn ran(&mut self, sequence: u64) {
        self.line_of(sequence).resume();
    }

    /// A call that ran is to run again at `at`; false when it was cancelled meanwhile, and is to be ended.
    pub(in crate::queue) fn retry(&mut self, sequence: u64, at: Instant) -> bool {
        let Some(name) = self.ends_run(sequence, State::Waiting { not_before: Some(at) }) else {
            return false;
        };
        self.leave_run(&name);
        self.later.insert((at, sequence));
        self.line_of(sequence).later += 1;
        true
    }

    /// A call ran, and its callback is on its way; false when it was cancelled meanwhile, and is to be ended.
    pub(in crate::queue) fn call_back(&mut self, sequence: u64) -> bool {
        let Some(name) = self.ends_run(sequence, State::CallingBack) else { return false };
        self.leave_run(&name);
        self.totals.calling_back += 1;
        self.line_of(sequence).calling_back += 1;
        true
    }

    /// Gives a call that runs, and was not cancelled, its next state. Answers its function.
    fn ends_run(&mut self, sequence: u64, next: State) -> Option<FunctionName> {
        let entry = self.calls.get_mut(&sequence)?;
        if !entry.state.goes_on() {
            return None;
        }
        entry.state = next;
        Some(entry.function.clone())
    }

    /// Is cancelled when a call that runs is: it must not go on, and ends as cancelled.
    pub(in crate::queue) fn stop_of(&self, sequence: u64) -> CancellationToken {
        match self.calls.get(&sequence).map(|entry| &entry.state) {
            Some(State::Running { stop }) => stop.clone(),
            _ => CancellationToken::new(),
        }
    }

    /// Takes out calls that may start since before `since` and did not, `most` of them, as if they ran, to bury them.
    pub(in crate::queue) fn take_overdue(&mut self, since: Instant, most: usize) -> Vec<u64> {
        let mut overdue = Vec::new();
        for line in self.lines.values_mut() {
            // Who waits longest is first: what is turned back keeps its time.
            while overdue.len() < most
                && let Some(sequence) = line.ready.front().copied()
                && let Some(entry) = self.calls.get_mut(&sequence)
                && entry.ready_since < since
            {
                line.ready.pop_front();
                line.running += 1;
                entry.state = State::running();
                overdue.push(sequence);
            }
        }
        self.totals.running += overdue.len();
        overdue
    }

    fn wake(&mut self, now: Instant) {
        while let Some(&(at, sequence)) = self.later.first() {
            if at > now {
                return;
            }
            self.later.pop_first();
            if let Some(entry) = self.calls.get_mut(&sequence) {
                entry.state = State::Waiting { not_before: None };
                self.line_of(sequence).later -= 1;
                self.wait_in_line(sequence, now);
            }
        }
    }
}
