//! The state behind one instance: what its host calls can reach, and no more.

use std::sync::Arc;

use wasmtime::{Memory, ModuleExport};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{FsPerms, ResourceTable, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::call::Call;
use crate::environ::Strings;
use crate::input::Input;
use crate::memory::MemoryMeter;
use crate::output::Output;
use crate::refuse_network::RefuseNetwork;
use crate::secrets::SECRETS_PATH;
use crate::stderr::Stderr;

/// The library's state for a guest: its streams, and its secrets if it has any.
fn wasi(call: &Arc<Call>) -> WasiCtxBuilder {
    let mut wasi = WasiCtxBuilder::new();
    wasi.stdin(Input(Arc::clone(call))).stdout(Output(Arc::clone(call))).stderr(Stderr(Arc::clone(call)));
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
        self.wasi.get_or_insert_with(|| Box::new(wasi(&self.call).build_p1()))
    }

    pub(crate) fn environment(&mut self) -> &Strings {
        self.environment.get_or_insert_with(|| self.call.environment())
    }
}

/// A WASI 0.2 component.
pub(crate) struct ComponentGuest {
    pub(crate) call: Arc<Call>,
    pub(crate) meter: MemoryMeter,
    http: WasiHttpCtx,
    wasi: WasiCtx,
    table: ResourceTable,
    network: RefuseNetwork,
}

impl ComponentGuest {
    pub(crate) fn new(call: Arc<Call>) -> Self {
        let mut wasi = wasi(&call);
        let arguments: Vec<String> = call.revision.arguments.iter().collect();
        wasi.args(&arguments).envs(&call.environment().pairs());
        Self {
            wasi: wasi.build(),
            meter: MemoryMeter::new(call.revision.memory_bytes),
            call,
            http: WasiHttpCtx::new(),
            table: ResourceTable::new(),
            network: RefuseNetwork,
        }
    }
}

impl WasiView for ComponentGuest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for ComponentGuest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.network }
    }
}
