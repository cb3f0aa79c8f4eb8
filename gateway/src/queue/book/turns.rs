//! Whose turn it is, and where a call that was taken goes next.

use std::time::{Duration, Instant};

use bramble_provider::FunctionName;
use tokio_util::sync::CancellationToken;

use super::{Book, LONGEST_WAIT, Lapsed, Room, State, Turn, Why};

impl Book {
    /// The next calls, one of each function in turn.
    pub(in crate::queue) fn take(&mut self, now: Instant, room: impl Fn(&FunctionName) -> Room) -> Vec<Turn> {
        self.wake(now);
        let mut taken = Vec::new();
        let mut passed_by = 0;
        while passed_by < self.turns.len() && self.totals.running < 2 * self.limits.workers {
            let Some(name) = self.turns.pop_front() else { break };
            let line = self.lines.get_mut(&name).expect("a function in turn has a line");
            if line.ready.is_empty() {
                (line.in_turn, line.gone_since) = (false, None);
                self.tidy(&name);
                continue;
            }
            let most = match room(&name) {
                Room::Gone => {
                    line.gone_since.get_or_insert(now);
                    0
                }
                Room::Most(most) => {
                    line.gone_since = None;
                    most
                }
            };
            let is_free = self.totals.running < self.limits.workers || line.running == 0;
            let may = line.may_start(now, most);
            let (callbacks, limits) = (&self.callbacks, &self.limits);
            // Of the lanes that may not start each has a callback on its way, but where there are too many in all.
            let is_any = !callbacks.is_full(limits) || line.ready.has_plain();
            let next = if is_free && may && is_any {
                line.ready.pop(|host, _| callbacks.may_start(host, limits))
            } else {
                None
            };
            let Some(sequence) = next else {
                self.turns.push_back(name);
                passed_by += 1;
                continue;
            };
            line.running += 1;
            self.turns.push_back(name);
            passed_by = 0;
            self.totals.running += 1;
            let entry = self.calls.get_mut(&sequence).expect("a call in line is in the book");
            entry.state = State::running();
            entry.starts += 1;
            taken.push(Turn { sequence, starts: entry.starts });
        }
        taken
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
        let (starts, name, host) = (entry.starts, entry.function.clone(), entry.host);
        let line = self.lines.entry(name.clone()).or_default();
        line.pause(now);
        line.ready.push_front(host, sequence);
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
        self.callbacks.add(self.calls[&sequence].host);
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

    /// Takes out calls whose function is gone for good, or did not take them for too long, `most` of them, to bury
    /// them: as if they ran, or called back where that is wanted. Those whose callback may not start wait on.
    pub(in crate::queue) fn take_lapsed(&mut self, now: Instant, most: usize) -> Vec<Lapsed> {
        let is_over = |since: Instant, limit: Duration| now.saturating_duration_since(since) > limit;
        let mut lapsed = Vec::new();
        for line in self.lines.values_mut() {
            let is_gone = line.gone_since.is_some_and(|since| is_over(since, self.limits.grace));
            let why = if is_gone { Why::Gone } else { Why::Overdue };
            while lapsed.len() < most {
                let (calls, callbacks) = (&self.calls, &self.callbacks);
                // Who waits longest is first: what is turned back keeps its time.
                let next = line.ready.pop(|host, first| {
                    (is_gone || is_over(calls[&first].ready_since, LONGEST_WAIT))
                        && callbacks.may_start(host, &self.limits)
                });
                let Some(sequence) = next else { break };
                let entry = self.calls.get_mut(&sequence).expect("a call in line is in the book");
                let calls_back = entry.host.is_some();
                if calls_back {
                    entry.state = State::CallingBack;
                    line.calling_back += 1;
                    self.callbacks.add(entry.host);
                } else {
                    entry.state = State::running();
                    line.running += 1;
                    self.totals.running += 1;
                }
                lapsed.push(Lapsed { sequence, starts: entry.starts, why, calls_back });
            }
        }
        lapsed
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
