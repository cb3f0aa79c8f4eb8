//! The state behind one instance: what its host calls can reach, and no more.

use std::sync::Arc;

use wasmtime::{Engine, Memory, ModuleExport, Store};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{FsPerms, ResourceTable, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::call::{Call, Serving};
use crate::clock::MonotonicClock;
use crate::environ::Strings;
use crate::input::Input;
use crate::memory::MemoryMeter;
use crate::output::Output;
use crate::p1::MAX_RANDOM_BYTES;
use crate::refuse_network::RefuseNetwork;
use crate::run::take_turns;
use crate::secrets::SECRETS_PATH;
use crate::stderr::Stderr;

/// Most files, streams, headers, timers and the like that a guest may hold at once. What is behind them is
/// the host's: memory beside the guest's own, and descriptors of the whole process.
pub(crate) const MAX_RESOURCES: usize = 256;
/// Of an instance that is to serve again: one that lets go of less with each request would end in a failure.
pub(crate) const MAX_KEPT_RESOURCES: usize = MAX_RESOURCES / 2;
/// Most handles of a component's instances, those of resources of its own included, which cost little.
const MAX_HANDLES: usize = 10_000;
/// Most bytes that a component may hand over in one call; twice what a stream takes at once.
const HOSTCALL_BYTES: usize = 512 << 10;
/// Size of one set of headers in memory: more than any client takes.
const FIELDS_BYTES: usize = 64 << 10;

/// The library's state for a guest: its streams, and its secrets if it has any.
fn wasi(call: &Call, serving: &Serving) -> WasiCtxBuilder {
    let mut wasi = WasiCtxBuilder::new();
    wasi.stdin(Input(serving.clone())).stdout(Output(serving.clone())).stderr(Stderr(serving.clone()));
    wasi.monotonic_clock(MonotonicClock);
    // They are made in the host's memory; more than the guest may have it could not take.
    wasi.max_random_size(call.revision.memory_bytes.min(MAX_RANDOM_BYTES.into()));
    if let Some(view) = &call.revision.secrets
        && let Err(error) = wasi.preopened_dir(view.path(), SECRETS_PATH, FsPerms::ReadOnly)
    {
        tracing::error!(function = %call.revision.name, %error, "the secrets cannot be shown");
    }
    wasi
}

/// A WASI 0.1 command.
pub(crate) struct CommandGuest {
    pub(crate) call: Arc<Call>,
    pub(crate) meter: MemoryMeter,
    pub(crate) memory_export: ModuleExport,
    pub(crate) memory: Option<Memory>,
    pub(crate) environment: Option<Strings>,
    /// The library's implementation, made when a guest first calls what our own does not cover.
    wasi: Option<Box<WasiP1Ctx>>,
}

impl CommandGuest {
    pub(crate) fn new(call: Arc<Call>, memory_export: ModuleExport) -> Self {
        let meter = MemoryMeter::new(call.revision.memory_bytes);
        Self { call, meter, memory_export, memory: None, environment: None, wasi: None }
    }

    pub(crate) fn wasi(&mut self) -> &mut WasiP1Ctx {
        self.wasi.get_or_insert_with(|| {
            let mut wasi = wasi(&self.call, &Serving::new(&self.call)).build_p1();
            wasi.ctx().table.set_max_capacity(MAX_RESOURCES);
            Box::new(wasi)
        })
    }

    pub(crate) fn environment(&mut self) -> &Strings {
        self.environment.get_or_insert_with(|| self.call.environment())
    }
}

/// A WASI 0.2 component.
pub(crate) struct ComponentGuest {
    pub(crate) meter: MemoryMeter,
    pub(crate) table: ResourceTable,
    serving: Serving,
    http: WasiHttpCtx,
    /// The library's state for this call, made when a guest first asks for something of it.
    wasi: Option<WasiCtx>,
    network: RefuseNetwork,
}

impl ComponentGuest {
    fn new(call: &Arc<Call>) -> Self {
        let (mut table, mut http) = (ResourceTable::new(), WasiHttpCtx::new());
        table.set_max_capacity(MAX_RESOURCES);
        http.set_field_size_limit(FIELDS_BYTES);
        Self {
            meter: MemoryMeter::new(call.revision.memory_bytes),
            table,
            serving: Serving::new(call),
            http,
            wasi: None,
            network: RefuseNetwork,
        }
    }

    /// What an instance for this call is made in, with every limit of it but the one on time.
    pub(crate) fn store(engine: &Engine, call: &Arc<Call>) -> Store<Self> {
        let mut store = Store::new(engine, Self::new(call));
        store.limiter(|guest| &mut guest.meter);
        store.set_hostcall_fuel(HOSTCALL_BYTES);
        store.set_max_component_handles(MAX_HANDLES);
        take_turns(&mut store);
        store
    }

    /// Turns to another call, with its environment, its streams and its log; to none when it is idle.
    pub(crate) fn turn_to(&mut self, call: Option<&Arc<Call>>) {
        self.serving.turn_to(call);
        self.wasi = None;
    }
}

fn component_wasi(serving: &Serving) -> WasiCtx {
    let call = serving.call();
    let mut wasi = wasi(&call, serving);
    let arguments: Vec<String> = call.revision.arguments.iter().collect();
    wasi.args(&arguments).envs(&call.environment().pairs());
    wasi.build()
}

impl WasiView for ComponentGuest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let ctx = self.wasi.get_or_insert_with(|| component_wasi(&self.serving));
        WasiCtxView { ctx, table: &mut self.table }
    }
}

impl WasiHttpView for ComponentGuest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.network }
    }
}
