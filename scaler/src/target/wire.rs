//! A view and the changes to it as JSON, for a scaler that runs elsewhere than its gateway.

use std::collections::BTreeMap;
use std::sync::Arc;

use bramble_provider::{FunctionName, Runtime};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Counters, Deployed, Observed, View};
use crate::load::State;

/// Answer of `GET /system/scaler`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ViewDocument {
    /// Wasm slots of the host.
    pub wasm_slots: u32,
    /// Slots of a wasm function that asks for no number.
    pub default_slots: u32,
    /// Every function.
    pub functions: Vec<FunctionDocument>,
    /// Functions that somebody asks about: the answer goes to `PUT /system/scaler/explanation`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub questions: Vec<FunctionName>,
}

/// One function of it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FunctionDocument {
    /// Its name.
    #[schema(value_type = String)]
    pub name: FunctionName,
    /// What runs it.
    #[schema(value_type = String)]
    pub runtime: Runtime,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Replicas asked for.
    pub desired: u32,
    /// Replicas able to take an invocation.
    pub available: u32,
    /// Of these, paused ones.
    pub frozen: u32,
    /// Whether the host is short of memory.
    pub memory_short: bool,
    /// Invocations admitted since the gateway started.
    pub started: u64,
    /// Invocations admitted and unfinished.
    pub inflight: u32,
    /// Of these, waiting ones.
    pub queued: u32,
    /// Asynchronous invocations that wait in the queue. A gateway of before says nothing of them.
    #[serde(default)]
    pub queue_depth: u32,
    /// Seconds of processor time, where that is metered.
    pub cpu_seconds: Option<f64>,
    /// Whether an alert holds it up.
    pub held: bool,
}

/// Body of `PUT /system/scaler-lease`, and the answer to it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct LeaseDocument {
    /// Who wants to be the one writer, as it calls itself.
    pub holder: String,
    /// For how long.
    pub seconds: f64,
}

/// Body of `POST /system/scaler/changes`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ChangeDocument {
    /// Who asks; refused unless it holds the lease.
    pub holder: String,
    /// The function.
    #[schema(value_type = String)]
    pub name: FunctionName,
    /// What to do.
    pub action: ChangeAction,
    /// To scale: the number that is asked for now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u32>,
    /// To scale: the other one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u32>,
}

/// The word for a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeAction {
    /// Ask for another number.
    Scale,
    /// Pause what is idle.
    Freeze,
}

/// Body of `PUT /system/scaler/explanation`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ExplanationDocument {
    /// Who explains; refused unless it holds the lease.
    pub holder: String,
    /// The function.
    #[schema(value_type = String)]
    pub name: FunctionName,
    /// [`Explained`](crate::Explained), as it is written.
    #[schema(value_type = Object)]
    pub explained: serde_json::Value,
}

/// What to do with the replicas of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// Ask for another number.
    Scale {
        /// The number that is asked for now.
        from: u32,
        /// The other one.
        to: u32,
    },
    /// Pause what is idle.
    Freeze,
}

/// Answer of `POST /system/scaler/changes`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ChangedDocument {
    /// Whether the change was made; not when somebody else was quicker, or nothing could be paused.
    pub changed: bool,
}

impl ChangeDocument {
    /// What `holder` asks for on `name`.
    pub fn new(holder: String, name: FunctionName, change: ChangeKind) -> Self {
        let (action, from, to) = match change {
            ChangeKind::Scale { from, to } => (ChangeAction::Scale, Some(from), Some(to)),
            ChangeKind::Freeze => (ChangeAction::Freeze, None, None),
        };
        Self { holder, name, action, from, to }
    }

    /// The change.
    ///
    /// # Errors
    /// The field that is missing for it.
    pub fn change(&self) -> Result<ChangeKind, &'static str> {
        match self.action {
            ChangeAction::Scale => {
                Ok(ChangeKind::Scale { from: self.from.ok_or("from")?, to: self.to.ok_or("to")? })
            }
            ChangeAction::Freeze => Ok(ChangeKind::Freeze),
        }
    }
}

impl From<&View> for ViewDocument {
    fn from(view: &View) -> Self {
        let functions = view.functions.iter().map(FunctionDocument::from).collect();
        let View { wasm_slots, default_slots, .. } = *view;
        Self { wasm_slots, default_slots, functions, questions: Vec::new() }
    }
}

impl From<ViewDocument> for View {
    fn from(document: ViewDocument) -> Self {
        let functions = document.functions.into_iter().map(Observed::from).collect();
        Self { wasm_slots: document.wasm_slots, default_slots: document.default_slots, functions }
    }
}

impl From<&Observed> for FunctionDocument {
    fn from(observed: &Observed) -> Self {
        let Observed { function, state, counters, held } = observed;
        Self {
            name: function.name().clone(),
            runtime: function.runtime(),
            labels: function.labels().clone(),
            desired: state.desired,
            available: state.available,
            frozen: state.frozen,
            memory_short: state.memory_short,
            started: counters.started,
            inflight: counters.inflight,
            queued: counters.queued,
            queue_depth: counters.queue_depth,
            cpu_seconds: counters.cpu_seconds,
            held: *held,
        }
    }
}

impl From<FunctionDocument> for Observed {
    fn from(document: FunctionDocument) -> Self {
        let FunctionDocument { name, runtime, labels, desired, available, frozen, memory_short, .. } =
            document;
        Self {
            function: Arc::new(Remote { name, labels, runtime }),
            state: State { runtime, desired, available, frozen, memory_short },
            counters: Counters {
                started: document.started,
                inflight: document.inflight,
                queued: document.queued,
                queue_depth: document.queue_depth,
                cpu_seconds: document.cpu_seconds,
            },
            held: document.held,
        }
    }
}

/// A function of another process.
#[derive(Debug)]
pub(super) struct Remote {
    pub(super) name: FunctionName,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) runtime: Runtime,
}

impl Deployed for Remote {
    fn name(&self) -> &FunctionName {
        &self.name
    }

    fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }

    fn runtime(&self) -> Runtime {
        self.runtime
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::testing::observed;

    #[test]
    fn a_view_survives_the_way() {
        let counters =
            Counters { started: 9, inflight: 3, queued: 1, queue_depth: 4, cpu_seconds: Some(0.5) };
        let functions = vec![observed("echo.team", &[("a", "b")], counters)];
        let view = View { functions, wasm_slots: 512, default_slots: 8 };
        let json = serde_json::to_string(&ViewDocument::from(&view)).unwrap();
        let read = View::from(serde_json::from_str::<ViewDocument>(&json).unwrap());
        let (before, after) = (&view.functions[0], &read.functions[0]);
        assert_eq!((after.counters, after.state), (before.counters, before.state));
        assert_eq!((read.wasm_slots, read.default_slots), (512, 8));
        assert_eq!(
            (after.function.name(), after.function.labels()),
            (before.function.name(), before.function.labels())
        );
    }

    #[test]
    fn a_change_is_written_flat() {
        let text = r#"{"holder":"a","name":"echo","action":"scale","from":1,"to":3}"#;
        let read: ChangeDocument = serde_json::from_str(text).unwrap();
        assert_eq!(read.change(), Ok(ChangeKind::Scale { from: 1, to: 3 }));
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
        let freeze = ChangeDocument::new("a".to_owned(), read.name, ChangeKind::Freeze);
        assert_eq!(
            serde_json::to_string(&freeze).unwrap(),
            r#"{"holder":"a","name":"echo","action":"freeze"}"#
        );
        let short: ChangeDocument =
            serde_json::from_str(r#"{"holder":"a","name":"echo","action":"scale","to":1}"#).unwrap();
        assert_eq!(short.change(), Err("from"));
    }
}
