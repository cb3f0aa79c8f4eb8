//! Pre-initialising a module: its start is run once, when it is uploaded, and what memory and globals hold
//! then is what every instance begins with.
//!
//! The module's initialisation gets nothing of this machine: no files, no network, no environment, no
//! arguments, empty input, a clock that begins in 1970 and random numbers that are none. So the same
//! module always gives the same result. It runs on an engine of its own: the pool's slots are not its.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bramble_provider::ProviderError;
use bramble_provider::quantity::format_bytes;
use wasmtime::{Config, Engine, Instance, Linker, Module, OptLevel, Store, Trap, Val};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{Deterministic, HostMonotonicClock, HostWallClock, I32Exit, WasiCtxBuilder};
use wasmtime_wizer::{InstanceState, SnapshotVal, ValType, Wizer};

use crate::epoch::EpochTicker;
use crate::inspect::{self, GuestKind};
use crate::memory::MemoryMeter;
use crate::run::take_turns;

/// The export that is called unless another is named.
pub const DEFAULT_INITIALISER: &str = "wizer-initialize";

/// Most that initialisation may print; the end of it is told when it fails.
const PRINTED_BYTES: usize = 64 << 10;
/// What is told of it.
const TOLD_CHARS: usize = 300;
/// Stack of the guest's own frames.
const WASM_STACK_BYTES: usize = 512 << 10;
/// Stack of the fiber that it and its host calls run on.
const FIBER_STACK_BYTES: usize = 1 << 20;

/// How far initialisation may go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Longest run.
    pub(crate) time: Duration,
    /// Most memory.
    pub(crate) memory_bytes: u64,
}

/// Runs a module's initialisation and writes what it left behind as a module of its own.
///
/// Blocks for as long as that takes; call it on a thread that may.
///
/// # Errors
/// [`ProviderError::InvalidModule`] saying what is missing, or why initialisation failed.
pub(crate) fn preinitialise(
    wasm: &[u8],
    initialiser: &str,
    bounds: Bounds,
) -> Result<Vec<u8>, ProviderError> {
    let kind = inspect::inspect(wasm)?.kind;
    if kind != GuestKind::CommandModule {
        return Err(refuse(format!(
            "only a {} can be pre-initialised; this is a {}",
            GuestKind::CommandModule.as_str(),
            kind.as_str()
        )));
    }
    let mut wizer = Wizer::new();
    wizer.init_func(initialiser);
    let (context, instrumented) = wizer.instrument(wasm).map_err(|error| failed("reading it", &error))?;
    let engine = engine(bounds).map_err(|error| internal(&error))?;
    let module = Module::new(&engine, &instrumented).map_err(|error| failed("compiling it", &error))?;
    check_initialiser(&module, initialiser)?;
    let _ticker = EpochTicker::start(&engine).map_err(|error| internal(&error.into()))?;
    let stderr = MemoryOutputPipe::new(PRINTED_BYTES);
    let mut store = Store::new(&engine, Guest::new(&stderr, bounds));
    store.limiter(|guest| &mut guest.meter);
    take_turns(&mut store);
    let run = async {
        let instance = initialise(&mut store, &module, initialiser);
        match tokio::time::timeout(bounds.time, instance).await {
            Ok(Ok(instance)) => {
                let mut state = State { store: &mut store, instance };
                wizer.snapshot(&context, &mut state).await.map_err(|error| failed("writing it", &error))
            }
            Ok(Err(error)) => Err(told(initialiser, &error, &store.data().meter, &stderr)),
            Err(_) => Err(refuse(format!("`{initialiser}` did not end within {:?}", bounds.time))),
        }
    };
    // Nothing of it waits but for the clock; a runtime of this thread alone is enough.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.map_err(|error| internal(&error.into()))?.block_on(run)
}

/// What host calls of the initialisation work on.
struct Guest {
    wasi: WasiP1Ctx,
    meter: MemoryMeter,
}

impl Guest {
    fn new(stderr: &MemoryOutputPipe, bounds: Bounds) -> Self {
        let numbers = || Deterministic::new((0..=u8::MAX).collect());
        let mut wasi = WasiCtxBuilder::new();
        wasi.stderr(stderr.clone())
            .secure_random(numbers())
            .insecure_random(numbers())
            .insecure_random_seed(0)
            .wall_clock(StoppedClock)
            .monotonic_clock(CountingClock::default());
        Self { wasi: wasi.build_p1(), meter: MemoryMeter::new(bounds.memory_bytes) }
    }
}

/// The first moment of 1970, for ever.
struct StoppedClock;

impl HostWallClock for StoppedClock {
    fn resolution(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn now(&self) -> Duration {
        Duration::ZERO
    }
}

/// Goes on by a microsecond with each look, so that whoever waits for it to go on does not wait for ever.
#[derive(Default)]
struct CountingClock(AtomicU64);

impl HostMonotonicClock for CountingClock {
    fn resolution(&self) -> u64 {
        1_000
    }

    fn now(&self) -> u64 {
        self.0.fetch_add(1_000, Relaxed)
    }
}

fn engine(bounds: Bounds) -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config
        // It runs once: compiling well would take longer than it saves.
        .cranelift_opt_level(OptLevel::None)
        .cranelift_nan_canonicalization(true)
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(FIBER_STACK_BYTES)
        .memory_reservation(bounds.memory_bytes)
        .wasm_backtrace_max_frames(None);
    Engine::new(&config)
}

fn check_initialiser(module: &Module, initialiser: &str) -> Result<(), ProviderError> {
    let export = module.get_export(initialiser);
    match export.as_ref().map(|ty| ty.func()) {
        Some(Some(ty)) if ty.params().len() + ty.results().len() == 0 => Ok(()),
        Some(_) => {
            Err(refuse(format!("its export `{initialiser}` is no function without arguments and results")))
        }
        None => Err(refuse(format!(
            "missing export `{initialiser}`: export a function of that name that does what is to be done once, \
            or name another with `preinit=NAME`"
        ))),
    }
}

async fn initialise(
    store: &mut Store<Guest>,
    module: &Module,
    initialiser: &str,
) -> wasmtime::Result<Instance> {
    let mut linker = Linker::new(store.engine());
    wasmtime_wasi::p1::add_to_linker_async(&mut linker, |guest: &mut Guest| &mut guest.wasi)?;
    let instance = linker.instantiate_async(&mut *store, module).await?;
    let run = instance.get_typed_func::<(), ()>(&mut *store, initialiser)?;
    run.call_async(store, ()).await?;
    Ok(instance)
}

/// What the snapshot is taken of.
struct State<'a> {
    store: &'a mut Store<Guest>,
    instance: Instance,
}

impl InstanceState for State<'_> {
    fn global_get(&mut self, name: &str, _: ValType) -> impl Future<Output = SnapshotVal> + Send {
        let global = self.instance.get_global(&mut *self.store, name).expect("wizer exported it");
        let value = match global.get(&mut *self.store) {
            Val::I32(value) => SnapshotVal::I32(value),
            Val::I64(value) => SnapshotVal::I64(value),
            Val::F32(bits) => SnapshotVal::F32(bits),
            Val::F64(bits) => SnapshotVal::F64(bits),
            Val::V128(value) => SnapshotVal::V128(value.as_u128()),
            _ => unreachable!("wizer takes no module whose globals hold references"),
        };
        std::future::ready(value)
    }

    fn memory_contents(
        &mut self,
        name: &str,
        contents: impl FnOnce(&[u8]) + Send,
    ) -> impl Future<Output = ()> + Send {
        let memory = self.instance.get_memory(&mut *self.store, name).expect("wizer exported it");
        contents(memory.data(&*self.store));
        std::future::ready(())
    }
}

/// Why the initialisation failed, in words for the module's author.
fn told(
    initialiser: &str,
    error: &wasmtime::Error,
    meter: &MemoryMeter,
    stderr: &MemoryOutputPipe,
) -> ProviderError {
    let reason = match (error.downcast_ref::<I32Exit>(), error.downcast_ref::<Trap>()) {
        (Some(exit), _) => format!("it called exit with {}", exit.0),
        (None, Some(trap)) => format!("it trapped: {trap}"),
        (None, None) => format!("{error:#}"),
    };
    let limit = match meter.refused() {
        true => format!(" (it reached its memory limit of {})", format_bytes(meter.limit_bytes())),
        false => String::new(),
    };
    let printed = String::from_utf8_lossy(&stderr.contents()).trim_end().to_owned();
    let start = printed.char_indices().rev().nth(TOLD_CHARS - 1).map_or(0, |(at, _)| at);
    let printed = match &printed[start..] {
        "" => String::new(),
        end => format!("; it printed: {end}"),
    };
    refuse(format!("`{initialiser}` failed: {reason}{limit}{printed}"))
}

fn refuse(reason: String) -> ProviderError {
    ProviderError::InvalidModule(format!("the module cannot be pre-initialised: {reason}"))
}

fn failed(doing: &str, error: &wasmtime::Error) -> ProviderError {
    refuse(format!("{doing}: {error:#}"))
}

fn internal(error: &wasmtime::Error) -> ProviderError {
    ProviderError::internal("pre-initialising a module", format!("{error:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { time: Duration::from_millis(200), memory_bytes: 1 << 20 };

    fn run(body: &str) -> Result<Vec<u8>, ProviderError> {
        let wasm = wat::parse_str(format!(
            r#"(module
                (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
                (import "wasi_snapshot_preview1" "clock_time_get" (func $time (param i32 i64 i32) (result i32)))
                (import "wasi_snapshot_preview1" "poll_oneoff"
                    (func $poll (param i32 i32 i32 i32) (result i32)))
                (memory (export "memory") 1)
                (func (export "_start"))
                (func (export "wizer-initialize") {body}))"#
        ));
        preinitialise(&wasm.unwrap(), DEFAULT_INITIALISER, BOUNDS)
    }

    fn refusal(body: &str) -> String {
        run(body).expect_err("it was pre-initialised").to_string()
    }

    #[test]
    fn the_same_module_always_has_the_same_result() {
        let draws = "(drop (call $random (i32.const 0) (i32.const 64)))
            (drop (call $time (i32.const 0) (i64.const 0) (i32.const 64)))
            (drop (call $time (i32.const 1) (i64.const 0) (i32.const 72)))";
        let made = run(draws).unwrap();
        assert_eq!(made, run(draws).unwrap());
        assert_eq!(inspect::inspect(&made).unwrap().kind, GuestKind::CommandModule);
        assert!(made.len() > run("").unwrap().len(), "nothing of it was kept");
    }

    #[test]
    fn an_initialisation_has_bounds_in_time_and_memory() {
        assert!(refusal("(loop $again (br $again))").contains("did not end within"));
        // Sleeps for an hour.
        let sleep = "(i64.store (i32.const 24) (i64.const 3600000000000))
            (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))";
        assert!(refusal(sleep).contains("did not end within"));
        let hungry = "(if (i32.eq (memory.grow (i32.const 32)) (i32.const -1)) (then unreachable))";
        assert!(refusal(hungry).contains("memory limit of 1Mi"));
        assert!(refusal("unreachable").contains("it trapped"));
    }
}
