//! What is told of calls.

use std::time::{Duration, Instant, SystemTime};

use bramble_provider::FunctionName;

use super::{Book, Ended, Entry, State};

/// Sums over all calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Calls that wait, run or call back.
    pub(crate) calls: usize,
    /// Bytes of all heads and bodies, the dead letters' too.
    pub(crate) bytes: u64,
    /// Calls that run.
    pub(crate) running: usize,
    /// Callbacks on their way.
    pub(crate) calling_back: usize,
}

/// The queue of one function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Depth {
    /// The function.
    pub(crate) function: FunctionName,
    /// Calls that wait, also for a time of their own.
    pub(crate) waiting: u32,
    /// Of these, calls that may start at any time.
    pub(crate) ready: u32,
    /// For how long the oldest of them.
    pub(crate) oldest: Option<Duration>,
    /// Calls that run.
    pub(crate) running: u32,
    /// Callbacks on their way.
    pub(crate) calling_back: u32,
}

/// One call, as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CallView {
    /// Its id.
    pub(crate) id: String,
    /// Its function.
    pub(crate) function: FunctionName,
    /// `queued`, `retrying`, `running`, `calling_back`, `done`, `cancelled` or `dead`.
    pub(crate) state: &'static str,
    /// How often it was started.
    pub(crate) starts: u32,
    /// The length of its body, in bytes.
    pub(crate) bytes: u64,
    /// When it was accepted.
    pub(crate) accepted_at: SystemTime,
    /// When it ended.
    pub(crate) ended_at: Option<SystemTime>,
    /// When it is run again, from now.
    pub(crate) retry_in: Option<Duration>,
    /// What its last run answered.
    pub(crate) status: Option<u16>,
    /// Why it is a dead letter.
    pub(crate) reason: Option<String>,
}

impl Book {
    /// The sums.
    pub(in crate::queue) fn totals(&self) -> Totals {
        Totals { calling_back: self.callbacks.len(), ..self.totals }
    }

    /// How many dead letters there are.
    pub(in crate::queue) fn dead_letters(&self) -> usize {
        self.dead.len()
    }

    /// Every function with calls.
    pub(in crate::queue) fn depths(&self, now: SystemTime) -> Vec<Depth> {
        let depth = |(name, line): (&FunctionName, &super::Line)| {
            let firsts = line.ready.fronts().filter_map(|sequence| self.calls.get(&sequence));
            let oldest = firsts.map(|entry| entry.accepted_at).min();
            Depth {
                function: name.clone(),
                waiting: u32::try_from(line.depth()).unwrap_or(u32::MAX),
                ready: u32::try_from(line.ready.len()).unwrap_or(u32::MAX),
                oldest: oldest.map(|at| now.duration_since(at).unwrap_or_default()),
                running: line.running,
                calling_back: line.calling_back,
            }
        };
        let is_busy = |line: &super::Line| line.depth() > 0 || line.running > 0 || line.calling_back > 0;
        self.lines.iter().filter(|(_, line)| is_busy(line)).map(depth).collect()
    }

    /// The newest call of an id.
    pub(in crate::queue) fn call(&self, id: &str, now: Instant) -> Option<CallView> {
        let sequence = self.ids.get(id)?;
        self.calls.get(sequence).map(|entry| entry.view(now))
    }

    /// Calls in order of arrival, `most` of them: those that are dead, or all that are not over.
    pub(in crate::queue) fn list(
        &self,
        dead: bool,
        function: Option<&FunctionName>,
        most: usize,
        now: Instant,
    ) -> Vec<CallView> {
        let wanted = |entry: &&Entry| {
            let kind = match entry.state {
                State::Dead { .. } => dead,
                State::Ended { .. } => false,
                State::Waiting { .. } | State::Running { .. } | State::CallingBack => !dead,
            };
            kind && function.is_none_or(|name| entry.function == *name)
        };
        self.calls.values().filter(wanted).take(most).map(|entry| entry.view(now)).collect()
    }
}

impl Entry {
    fn view(&self, now: Instant) -> CallView {
        let mut view = CallView {
            id: self.id.to_string(),
            function: self.function.clone(),
            state: "queued",
            starts: self.starts,
            bytes: self.bytes,
            accepted_at: self.accepted_at,
            ended_at: None,
            retry_in: None,
            status: None,
            reason: None,
        };
        match &self.state {
            State::Waiting { not_before: None } => {}
            State::Waiting { not_before: Some(at) } => {
                view.state = "retrying";
                view.retry_in = Some(at.saturating_duration_since(now));
            }
            State::Running { .. } => view.state = "running",
            State::CallingBack => view.state = "calling_back",
            State::Ended { status, how, at, .. } => {
                view.state = match how {
                    Ended::Done => "done",
                    Ended::Cancelled => "cancelled",
                };
                (view.status, view.ended_at) = (*status, Some(*at));
            }
            State::Dead { death } => {
                view.state = "dead";
                view.status = death.status;
                view.reason = Some(death.reason.clone());
                view.ended_at = Some(SystemTime::UNIX_EPOCH + Duration::from_nanos(death.at_unix_nanos));
            }
        }
        view
    }
}
