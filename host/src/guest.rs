//! The state behind one instance: what its host calls can reach, and no more.

use std::sync::Arc;

use wasmtime::{Memory, ModuleExport};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{FsPerms, ResourceTable, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::call::{Call, Serving};
use crate::clock::MonotonicClock;
use crate::environ::Strings;
use crate::input::Input;
use crate::memory::MemoryMeter;
use crate::output::Output;
use crate::refuse_network::RefuseNetwork;
use crate::secrets::SECRETS_PATH;
use crate::stderr::Stderr;

/// The library's state for a guest: its streams, and its secrets if it has any.
fn wasi(call: &Call, serving: &Serving) -> WasiCtxBuilder {
    let mut wasi = WasiCtxBuilder::new();
    wasi.stdin(Input(serving.clone())).stdout(Output(serving.clone())).stderr(Stderr(serving.clone()));
    wasi.monotonic_clock(MonotonicClock);
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
        self.wasi.get_or_insert_with(|| Box::new(wasi(&self.call, &Serving::new(&self.call)).build_p1()))
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
    pub(crate) fn new(call: &Arc<Call>) -> Self {
        Self {
            meter: MemoryMeter::new(call.revision.memory_bytes),
            table: ResourceTable::new(),
            serving: Serving::new(call),
            http: WasiHttpCtx::new(),
            wasi: None,
            network: RefuseNetwork,
        }
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
