//! One pass over all functions: decide on each, divide the slots, and say what is to be changed.

use std::time::{Duration, SystemTime};

use bramble_provider::Runtime;

use super::Scaler;
use super::apply::Order;
use super::journal::{Change, Followed};
use crate::budget::{Want, share};
use crate::decide::decide;
use crate::load::{Load, State};
use crate::policy::Defaults;
use crate::source::Source;
use crate::stabilise::{Action, Decision, Hold, Tuning, stabilise};
use crate::target::{Counters, Observed, Target, View};

impl<S: Source, T: Target> Scaler<S, T> {
    /// Decides on every function, and answers what is to be done.
    pub(super) fn decide_all(&self, view: &View, loads: &[Load], now: Duration) -> Vec<Order> {
        let mut followed = self.journal.lock();
        let decided_at = SystemTime::now();
        let defaults = Defaults { wasm_slots: view.default_slots, ..self.config.defaults };
        let mut decisions = Vec::with_capacity(view.functions.len());
        for (observed, load) in view.functions.iter().zip(loads) {
            decisions.push(followed.of(observed, &defaults, (self.ticks, now), |function| {
                function.source = self.source.name();
                function.decided_at = decided_at;
                let decided = self.decide(function, observed, *load, now);
                (function.decision, function.held) = (decided.map(|(decision, _)| decision), false);
                decided
            }));
        }
        followed.forget_all_but(self.ticks, view.functions.len());
        divide(&mut decisions, view);
        let mut orders = Vec::new();
        for (observed, decision) in view.functions.iter().zip(decisions) {
            // What stays as it is was remembered just now.
            let Some((decision, _)) = decision else { continue };
            if decision.action == Action::Keep && !matches!(decision.hold, Some(Hold::Share { .. })) {
                continue;
            }
            let Some(function) = followed.get_mut(observed.function.name()) else { continue };
            orders.extend(self.order(function, observed, decision, now));
        }
        orders
    }

    /// What is decided on one function, and its want where it takes part in the division of slots;
    /// `None` while nothing may be decided.
    fn decide(
        &self,
        function: &mut Followed,
        observed: &Observed,
        mut load: Load,
        now: Duration,
    ) -> Option<(Decision, Option<Want>)> {
        let idle_for = idle_for(function, observed, &load, now);
        load.idle_for = load.idle_for.map(|_| idle_for);
        load.waiting = function.waiting(&observed.counters);
        if observed.state.desired == 0 {
            // Who waited when a source looked may have been served since, on what somebody took away then.
            let Counters { queued, queue_depth, .. } = observed.counters;
            load.queued = Some(queued.saturating_add(queue_depth).into());
        }
        (function.load, function.state) = (load, observed.state);
        let policy = *function.policy.as_ref().ok()?;
        let mut tuning = Tuning::of(observed.function.runtime());
        tuning.down_window = self.config.down_window.unwrap_or(tuning.down_window);
        let mut state = observed.state;
        if !function.may_freeze(now) {
            // What could not be paused just now counts as if it were, so the load is followed meanwhile.
            state.frozen = state.available;
        }
        let proposal = decide(&policy, &load, &state);
        let decision = stabilise(&policy, &tuning, &mut function.history, &proposal, &state, now);
        let shares = observed.function.runtime() == Runtime::Wasm && policy.follows_load();
        let want = shares.then_some(Want {
            wanted: decision.replicas,
            needed: decision.needed,
            // The default of who asked for no minimum is not held back from those with a load.
            min: if policy.kept_by_min { policy.min } else { 1 },
            weight: policy.weight,
        });
        Some((decision, want))
    }

    /// The change that a decision asks for, unless something is in the way; and the record of it. In a dry run
    /// what is only to be told.
    fn order(
        &self,
        function: &mut Followed,
        observed: &Observed,
        mut decision: Decision,
        now: Duration,
    ) -> Option<Order> {
        let State { desired: from, runtime, .. } = observed.state;
        if observed.held && decision.action == Action::Scale && decision.replicas < from {
            (decision.action, decision.replicas) = (Action::Keep, from);
            function.held = true;
        }
        function.decision = Some(decision);
        let name = observed.function.name();
        if decision.action == Action::Keep || !function.may_change(now) || self.changes.is_under_way(name) {
            return None;
        }
        let change = Change::new(&decision, from);
        let order = Order {
            name: name.clone(),
            runtime,
            action: change.action,
            from,
            to: decision.replicas,
            why: decision.to_string(),
        };
        if !self.config.dry_run {
            function.begin(change);
            return Some(order);
        }
        let told_at = function.change.as_ref().and_then(|told| told.told_at(&change, now));
        function.change = Some(Box::new(change.not_made(told_at.unwrap_or(now))));
        told_at.is_none().then_some(order)
    }
}

/// For how long no invocation began, ran or waited, and nobody asked for more replicas than were decided on: who
/// warms a function up wants it to stay for as long as an invocation would have kept it.
fn idle_for(function: &mut Followed, observed: &Observed, load: &Load, now: Duration) -> Duration {
    let desired = observed.state.desired;
    let decided = function.decision.map_or(0, |decision| decision.replicas);
    let raised = desired > function.state.desired.max(decided);
    // What the target sees now is newer than any source, and a source may see what others do.
    let runs = observed.is_busy() || load.inflight.is_some_and(|inflight| inflight > 0.0);
    function.idle.look(observed.counters.started, raised || runs, now)
}

/// Holds the wasm functions that follow their load to the slots that the host has, without those that others hold.
/// Nobody goes to 0 by that: a slot that is lent for a moment is waited for, a module that was unloaded is read again.
fn divide(decisions: &mut [Option<(Decision, Option<Want>)>], view: &View) {
    let wants: Vec<Want> = decisions.iter().flatten().filter_map(|(_, want)| *want).collect();
    let mut shares = share(left_to(&wants, decisions, view), &wants).into_iter();
    for (at, decided) in decisions.iter_mut().enumerate() {
        let Some((decision, Some(want))) = decided else { continue };
        let Some(granted) = shares.next().map(|granted| granted.max(1)) else { continue };
        if granted >= want.wanted {
            continue;
        }
        decision.hold = Some(Hold::Share { wanted: want.wanted });
        decision.replicas = granted;
        let same = view.functions[at].state.desired == granted;
        decision.action = if same { Action::Keep } else { Action::Scale };
    }
}

/// Slots for those that follow their load: not those in which the others run something. What they only may run holds
/// none, and minimums are not held back for them.
fn left_to(wants: &[Want], decisions: &[Option<(Decision, Option<Want>)>], view: &View) -> u32 {
    let others = view.functions.iter().zip(decisions).filter(|(observed, decided)| {
        observed.state.runtime == Runtime::Wasm && !matches!(decided, Some((_, Some(_))))
    });
    let held = others.map(|(observed, _)| running(observed)).fold(0, u32::saturating_add);
    let minimums = wants.iter().map(|want| want.min.min(want.wanted)).fold(0, u32::saturating_add);
    view.wasm_slots.saturating_sub(held).max(minimums.min(view.wasm_slots))
}

/// Slots with an invocation in them. One whose request is still coming has none yet, so there may seem to be more.
fn running(observed: &Observed) -> u32 {
    let Counters { inflight, queued, .. } = observed.counters;
    inflight.saturating_sub(queued).min(observed.state.desired)
}
