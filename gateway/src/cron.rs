//! Functions that run by a schedule: looked at once a second, run through the queue.
//!
//! In: which functions have a schedule, what was seen to, making the calls. Out: when that is
//! (`schedule`), running them (`queue`).
//! The property that must hold: no instant of a schedule is run twice, also after a restart. The call
//! and the mark that it was made are one write.

pub(crate) mod schedule;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bramble_provider::{CallId, FunctionName};
use bytes::Bytes;
use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::task::JoinHandle;

use crate::error::causes;
use crate::functions::Function;
use crate::queue::call::{BodyPlace, Call};
use crate::queue::{NewBody, NewCall};
use crate::state::Gateway;
use crate::store::record::unix_nanos;

use schedule::{CRON_TOPIC, Due, Schedule};

/// Time between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// A look that comes later than this after the last one is a clock that was set.
const JUMP_SECONDS: i64 = 10;

/// The schedules while they are followed; nothing runs by itself once this is dropped.
#[derive(Debug)]
#[must_use = "schedules are followed until this is dropped"]
pub(crate) struct Running(JoinHandle<()>);

/// Starts following the schedules.
pub(crate) fn start(gateway: &Arc<Gateway>) -> Running {
    let follower = Follower {
        gateway: gateway.clone(),
        marks: gateway.queue.take_schedules(),
        plans: HashMap::new(),
        looked: None,
    };
    Running(tokio::spawn(follower.run()))
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Follower {
    gateway: Arc<Gateway>,
    /// What was seen to before this start; empty after the first look.
    marks: HashMap<String, i64>,
    plans: HashMap<FunctionName, Plan>,
    looked: Option<Timestamp>,
}

struct Plan {
    /// Which deployment of the function it is of.
    revision: u64,
    created_at: SystemTime,
    schedule: Schedule,
    seen: Timestamp,
    /// Nothing is to be done before.
    next: Option<Timestamp>,
}

impl Plan {
    /// Nothing is left to be done up to `seen`.
    fn saw_to(&mut self, seen: Timestamp, now: Timestamp) {
        self.seen = seen;
        self.next = self.schedule.next(now);
    }
}

impl Follower {
    async fn run(mut self) {
        loop {
            self.look(Timestamp::now()).await;
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn look(&mut self, now: Timestamp) {
        let first = self.looked.is_none();
        let jumped = self.looked.is_some_and(|looked| {
            let passed = now.as_second() - looked.as_second();
            !(0..=JUMP_SECONDS).contains(&passed)
        });
        self.looked = Some(now);
        let functions = self.gateway.functions.list();
        let mut runs = Vec::new();
        for function in &functions {
            self.plan(function, now).await;
            let name = &function.spec.name;
            let Some(plan) = self.plans.get_mut(name) else { continue };
            if !jumped && plan.next.is_some_and(|next| now < next) {
                continue;
            }
            let Due { run, seen } = plan.schedule.due(plan.seen, now);
            if let Some(instant) = run {
                runs.push((name.clone(), instant, seen));
                continue;
            }
            if seen != plan.seen {
                tracing::warn!(function = %name, last = %seen, "a scheduled run was missed");
                self.gateway.queue.mark_schedule(name.as_str(), Some(seen.as_second())).await;
            }
            plan.saw_to(seen, now);
        }
        // Beside each other, so that they share one sync of the disk.
        let accepted = runs.iter().map(|(name, instant, _)| self.gateway.queue.accept(call(name, *instant)));
        let accepted = join_all(accepted).await;
        for ((name, _, seen), accepted) in runs.into_iter().zip(accepted) {
            let Some(plan) = self.plans.get_mut(&name) else { continue };
            match accepted {
                Ok(()) => plan.saw_to(seen, now),
                Err(error) => {
                    tracing::warn!(function = %name, error = causes(&error), "a scheduled run waits for the queue");
                    plan.next = None;
                }
            }
        }
        self.forget(&functions, first).await;
    }

    /// Reads the schedule of a function that is new or another than before.
    async fn plan(&mut self, function: &Function, now: Timestamp) {
        let name = &function.spec.name;
        let (revision, created_at) = (function.revision, function.created_at);
        if self.plans.get(name).is_some_and(|plan| (plan.revision, plan.created_at) == (revision, created_at))
        {
            return;
        }
        // It was checked when it was deployed.
        let Ok(Some(schedule)) = Schedule::read(&function.spec.annotations) else {
            if self.plans.remove(name).is_some() {
                self.gateway.queue.mark_schedule(name.as_str(), None).await;
            }
            return;
        };
        let mark = self.marks.remove(name.as_str()).and_then(|mark| Timestamp::from_second(mark).ok());
        // What is due by the same schedule is due after an update too.
        let same = |plan: &&Plan| plan.created_at == created_at && plan.schedule.is_as(&schedule);
        let seen = match mark.or_else(|| self.plans.get(name).filter(same).map(|plan| plan.seen)) {
            Some(seen) => seen,
            None => {
                // What was before it had this schedule was not missed.
                self.gateway.queue.mark_schedule(name.as_str(), Some(now.as_second())).await;
                now
            }
        };
        self.plans.insert(name.clone(), Plan { revision, created_at, schedule, seen, next: None });
    }

    /// Forgets functions that are gone, and after a start those that went before it.
    async fn forget(&mut self, functions: &[Arc<Function>], first: bool) {
        let is_there = |name: &str| functions.iter().any(|function| function.spec.name.as_str() == name);
        let mut gone = Vec::new();
        if first {
            gone.extend(std::mem::take(&mut self.marks).into_keys());
        }
        // Rarely anything: one comparison a second.
        if self.plans.len() > functions.len()
            || self.plans.keys().any(|name| self.gateway.functions.get(name.as_str()).is_none())
        {
            gone.extend(self.plans.keys().map(ToString::to_string).filter(|name| !is_there(name)));
        }
        for name in gone {
            self.plans.retain(|planned, _| planned.as_str() != name);
            self.gateway.queue.mark_schedule(&name, None).await;
        }
    }
}

/// The call that an instant of a schedule makes.
fn call(function: &FunctionName, instant: Timestamp) -> NewCall {
    let headers = [
        ("content-length", "0".to_owned()),
        ("x-topic", CRON_TOPIC.to_owned()),
        ("x-connector", "cron-connector".to_owned()),
        ("x-scheduled-for", instant.to_string()),
    ];
    let call = Call {
        id: CallId::from_random(fastrand::u128(..)).to_string(),
        function: function.clone(),
        path: String::new(),
        headers: headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        callback: None,
        body: BodyPlace::Inline { bytes: 0 },
        accepted_at_unix_nanos: unix_nanos(SystemTime::now()),
    };
    NewCall { call, body: NewBody::Inline(Bytes::new()), scheduled_for: Some(instant.as_second()) }
}

#[cfg(test)]
mod tests;
