//! One invocation, as its guest and its response share it: one allocation for all of it.

use std::sync::Arc;

use arc_swap::{ArcSwapOption, Guard};
use bramble_provider::{Body, Invocation};
use parking_lot::Mutex;

use crate::environ::{self, Strings};
use crate::function_log::LineWriter;
use crate::input::InputState;
use crate::output::OutputState;
use crate::revision::HeldRevision;

/// What one invocation is given and what it has produced so far.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) revision: HeldRevision,
    /// The request without its body, which is behind `input`.
    pub(crate) invocation: Invocation<()>,
    pub(crate) input: Mutex<InputState>,
    pub(crate) output: Mutex<OutputState>,
    /// Made when the guest first prints something.
    pub(crate) log: Mutex<Option<LineWriter>>,
}

/// The call that an instance serves now; none while it is idle. Clones share it.
///
/// A guest keeps its streams for as long as it lives, and an instance that is reused lives longer than
/// a call: what it writes belongs to the call of that moment.
#[derive(Debug, Clone)]
pub(crate) struct Serving(Arc<ArcSwapOption<Call>>);

impl Serving {
    pub(crate) fn new(call: &Arc<Call>) -> Self {
        Self(Arc::new(ArcSwapOption::new(Some(Arc::clone(call)))))
    }

    pub(crate) fn call(&self) -> CallGuard {
        CallGuard(self.0.load())
    }

    pub(crate) fn turn_to(&self, call: Option<&Arc<Call>>) {
        self.0.store(call.cloned());
    }
}

/// The call that an instance serves, for a moment.
pub(crate) struct CallGuard(Guard<Option<Arc<Call>>>);

impl std::ops::Deref for CallGuard {
    type Target = Call;

    fn deref(&self) -> &Call {
        self.0.as_ref().expect("an idle instance does not run, and so asks for nothing")
    }
}

impl Call {
    pub(crate) fn new(revision: HeldRevision, invocation: Invocation<()>, input: Body) -> Arc<Self> {
        let output = Mutex::new(OutputState::new(revision.max_output_bytes));
        Arc::new(Self {
            revision,
            invocation,
            input: Mutex::new(InputState::new(input)),
            output,
            log: Mutex::new(None),
        })
    }

    /// The environment of this invocation.
    pub(crate) fn environment(&self) -> Strings {
        environ::with_request(&self.revision.environment, &self.invocation)
    }

    /// Takes what a guest printed for its function's log.
    pub(crate) fn print(&self, bytes: &[u8]) {
        let new = || LineWriter::new(Arc::clone(self.revision.log()), self.invocation.call_id.clone());
        self.log.lock().get_or_insert_with(new).write(bytes);
    }
}
