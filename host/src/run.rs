//! One instance from its making to its end, with a limit on time.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bramble_provider::quantity::format_bytes;
use bramble_provider::{BodyError, FunctionName, ProviderError};
use tokio::time::Sleep;
use wasmtime::{PoolConcurrencyLimitError, Store, Trap, UpdateDeadline};
use wasmtime_wasi::{I32Exit, ResourceTableError};

use crate::call::Call;
use crate::code::Code;
use crate::guest::{CommandGuest, MAX_RESOURCES};
use crate::memory::MemoryMeter;
use crate::revision::CodeGuard;

/// Ticks of the epoch before a busy guest lets others run.
const TICKS_PER_TURN: u64 = 1;

/// How a guest ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It returned, or called `proc_exit`.
    Status(i32),
    /// It was stopped: a trap or a limit. In words for the function's author.
    Failed(String),
    /// It ran longer than it may.
    TimedOut(Duration),
    /// The engine had no room for one more instance.
    NoRoom,
}

impl Exit {
    /// Why this end is a failure; `None` for status 0.
    pub(crate) fn failure(&self) -> Option<String> {
        match self {
            Self::Status(0) => None,
            Self::Status(code) => Some(format!("exit status {code}")),
            Self::Failed(reason) => Some(reason.clone()),
            Self::TimedOut(timeout) => Some(format!("stopped after {timeout:?}")),
            Self::NoRoom => Some("no room for another instance".to_owned()),
        }
    }

    /// The same for a response that has begun, which it cuts short: a [`ProviderError`]. Logs it.
    pub(crate) fn cuts_short(&self, name: &FunctionName) -> Option<BodyError> {
        let reason = self.failure()?;
        tracing::info!(function = %name, reason, "a function failed after its response began");
        let name = name.clone();
        Some(Box::new(match self {
            Self::TimedOut(timeout) => ProviderError::TimedOut { name, timeout: *timeout },
            Self::Status(_) | Self::Failed(_) | Self::NoRoom => {
                ProviderError::FunctionFailed { name, reason }
            }
        }))
    }
}

/// A running guest: polled by whoever wants its response, stopped by dropping it.
pub(crate) struct GuestRun {
    guest: Option<Pin<Box<dyn Future<Output = Exit> + Send>>>,
    /// How long it may run, and until when.
    limit: Option<(Duration, Instant)>,
    /// Made when the guest first waits: most never do.
    alarm: Option<Pin<Box<Sleep>>>,
    /// Where the time is added that the guest was on a thread; nowhere for nearly every function.
    meter: Option<Arc<CpuMeter>>,
}

/// Time that the guests of one function were on a thread, in nanoseconds.
#[derive(Debug, Default)]
pub(crate) struct CpuMeter(AtomicU64);

impl CpuMeter {
    fn add(&self, time: Duration) {
        self.0.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The sum since the start.
    pub(crate) fn total(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

impl GuestRun {
    pub(crate) fn new(
        guest: Pin<Box<dyn Future<Output = Exit> + Send>>,
        timeout: Option<Duration>,
        meter: Option<Arc<CpuMeter>>,
    ) -> Self {
        let limit = timeout.map(|timeout| (timeout, Instant::now() + timeout));
        Self { guest: Some(guest), limit, alarm: None, meter }
    }

    /// Runs the guest until it ends or has to wait.
    ///
    /// Must not be called again after it was ready.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Exit> {
        let guest = self.guest.as_mut().expect("a guest is not polled after its end");
        // Two looks at the clock cost as much as a tenth of a small guest, so who does not ask does not pay.
        let began = self.meter.as_ref().map(|_| Instant::now());
        let polled = guest.as_mut().poll(cx);
        if let (Some(meter), Some(began)) = (&self.meter, began) {
            meter.add(began.elapsed());
        }
        if let Poll::Ready(exit) = polled {
            self.guest = None;
            return Poll::Ready(exit);
        }
        let Some((timeout, deadline)) = self.limit else { return Poll::Pending };
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
        std::task::ready!(alarm.as_mut().poll(cx));
        // Dropping the guest unwinds its stack and frees its instance.
        self.guest = None;
        Poll::Ready(Exit::TimedOut(timeout))
    }
}

impl std::fmt::Debug for GuestRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GuestRun").field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// Runs a WASI 0.1 command.
pub(crate) async fn command(code: CodeGuard, call: Arc<Call>) -> Exit {
    let Code::Command(code) = &*code else { return Exit::Failed("it is not a command".to_owned()) };
    let guest = CommandGuest::new(call, code.memory);
    let mut store = Store::new(code.pre.module().engine(), guest);
    store.limiter(|guest| &mut guest.meter);
    take_turns(&mut store);
    let result = async {
        let making = Instant::now();
        let instance = code.pre.instantiate_async(&mut store).await?;
        store.data().call.revision.metrics.instantiated(making.elapsed());
        let start = instance
            .get_module_export(&mut store, &code.start)
            .and_then(wasmtime::Extern::into_func)
            .ok_or_else(|| wasmtime::Error::msg("missing export `_start`"))?;
        start.typed::<(), ()>(&store)?.call_async(&mut store, ()).await
    }
    .await;
    let guest = store.data();
    exit_of(result.map(|()| 0), &guest.call, &guest.meter)
}

/// Makes the store's guest yield at each turn's end instead of keeping its thread.
pub(crate) fn take_turns<T: Send + 'static>(store: &mut Store<T>) {
    store.set_epoch_deadline(TICKS_PER_TURN);
    store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Yield(TICKS_PER_TURN)));
}

/// Turns what wasmtime says into what a function's author can act on.
pub(crate) fn exit_of(result: wasmtime::Result<i32>, call: &Call, meter: &MemoryMeter) -> Exit {
    let error = match result {
        Ok(status) => return Exit::Status(status),
        Err(error) => error,
    };
    if call.output.lock().refused() {
        let limit = format_bytes(call.revision.max_output_bytes);
        return Exit::Failed(format!("it wrote more than {limit} of output"));
    }
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return Exit::Status(exit.0);
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return Exit::NoRoom;
    }
    if matches!(error.downcast_ref::<ResourceTableError>(), Some(ResourceTableError::Full)) {
        return Exit::Failed(format!(
            "it holds more than {MAX_RESOURCES} open files, streams, headers or timers at once"
        ));
    }
    let reason = match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => "call stack exhausted: it recurses too deep".to_owned(),
        Some(Trap::UnreachableCodeReached) => "it aborted (`unreachable` executed)".to_owned(),
        Some(Trap::MemoryOutOfBounds) => "out-of-bounds memory access".to_owned(),
        Some(trap) => format!("trap: {trap}"),
        None => format!("{error:#}"),
    };
    if meter.refused() {
        let limit = format_bytes(meter.limit_bytes());
        return Exit::Failed(format!(
            "it reached its memory limit of {limit} ({reason}); raise limits.memory if it needs more"
        ));
    }
    Exit::Failed(reason)
}
