//! The state behind one instance: what its host calls can reach, and no more.

use std::sync::Arc;

use bramble_provider::Invocation;
use wasmtime::{Memory, ModuleExport};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{FsPerms, ResourceTable, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::environ::{self, Strings};
use crate::input::Input;
use crate::memory::MemoryMeter;
use crate::output::Output;
use crate::refuse_network::RefuseNetwork;
use crate::revision::Revision;
use crate::secrets::SECRETS_PATH;
use crate::stderr::Stderr;

/// What every kind of guest has.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) revision: Arc<Revision>,
    pub(crate) input: Input,
    pub(crate) output: Output,
    pub(crate) stderr: Stderr,
    pub(crate) meter: MemoryMeter,
    /// The request without its body, which is behind `input`.
    pub(crate) invocation: Invocation,
}

impl Common {
    /// The environment of this invocation.
    pub(crate) fn environment(&self) -> Strings {
        environ::with_request(&self.revision.environment, &self.invocation)
    }

    fn wasi(&self) -> WasiCtxBuilder {
        let mut wasi = WasiCtxBuilder::new();
        wasi.stdin(self.input.clone()).stdout(self.output.clone()).stderr(self.stderr.clone());
        if let Some(view) = &self.revision.secrets
            && let Err(error) = wasi.preopened_dir(view.path(), SECRETS_PATH, FsPerms::ReadOnly)
        {
            tracing::error!(function = %self.revision.name, %error, "the secrets cannot be shown");
        }
        wasi
    }
}

/// A WASI 0.1 command.
pub(crate) struct CommandGuest {
    pub(crate) common: Common,
    pub(crate) memory_export: ModuleExport,
    pub(crate) memory: Option<Memory>,
    pub(crate) environment: Option<Strings>,
    /// The library's implementation, made when a guest first calls what our own does not cover.
    wasi: Option<Box<WasiP1Ctx>>,
}

impl CommandGuest {
    pub(crate) fn new(common: Common, memory_export: ModuleExport) -> Self {
        Self { common, memory_export, memory: None, environment: None, wasi: None }
    }

    pub(crate) fn wasi(&mut self) -> &mut WasiP1Ctx {
        self.wasi.get_or_insert_with(|| Box::new(self.common.wasi().build_p1()))
    }

    pub(crate) fn environment(&mut self) -> &Strings {
        self.environment.get_or_insert_with(|| self.common.environment())
    }
}

/// A WASI 0.2 component.
pub(crate) struct ComponentGuest {
    pub(crate) common: Common,
    pub(crate) http: WasiHttpCtx,
    wasi: WasiCtx,
    table: ResourceTable,
    network: RefuseNetwork,
}

impl ComponentGuest {
    pub(crate) fn new(common: Common) -> Self {
        let mut wasi = common.wasi();
        let arguments: Vec<String> = common.revision.arguments.iter().collect();
        wasi.args(&arguments).envs(&common.environment().pairs());
        Self {
            wasi: wasi.build(),
            common,
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
