//! Code in memory, linked: what an instance is made from in microseconds.

use bramble_provider::ProviderError;
use wasmtime::component::Linker as ComponentLinker;
use wasmtime::{Engine, InstancePre, Linker, ModuleExport};
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use crate::code_cache::Loaded;
use crate::guest::{CommandGuest, ComponentGuest};
use crate::inspect::GuestKind;
use crate::p1;

/// A linked module or component.
pub(crate) enum Code {
    Command(CommandCode),
    CommandComponent(CommandPre<ComponentGuest>),
    HttpComponent(ProxyPre<ComponentGuest>),
}

/// Size of a page of linear memory.
const PAGE_BYTES: u64 = 64 << 10;

impl Code {
    /// Memory that an instance starts with, in bytes; of a component, with its largest memory at least.
    pub(crate) fn initial_memory_bytes(&self) -> u64 {
        let component = match self {
            Self::Command(command) => {
                let memory = command.pre.module().get_export("memory").and_then(|ty| ty.memory().cloned());
                return memory.map_or(0, |memory| memory.minimum() * memory.page_size());
            }
            Self::CommandComponent(command) => command.instance_pre().component(),
            Self::HttpComponent(proxy) => proxy.instance_pre().component(),
        };
        let pages = component.resources_required().and_then(|required| required.max_initial_memory_size);
        pages.unwrap_or(0).saturating_mul(PAGE_BYTES)
    }
}

/// A linked command, with the exports that every invocation needs looked up once.
pub(crate) struct CommandCode {
    pub(crate) pre: InstancePre<CommandGuest>,
    pub(crate) start: ModuleExport,
    pub(crate) memory: ModuleExport,
}

/// What guests may import, made once.
pub(crate) struct Linkers {
    command: Linker<CommandGuest>,
    component: ComponentLinker<ComponentGuest>,
}

impl Linkers {
    pub(crate) fn new(engine: &Engine) -> wasmtime::Result<Self> {
        let mut command = Linker::new(engine);
        p1::add_to_linker(&mut command)?;
        let mut component = ComponentLinker::new(engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut component)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut component)?;
        Ok(Self { command, component })
    }

    /// Links loaded code.
    ///
    /// # Errors
    /// [`ProviderError::InvalidModule`] naming an import that nothing provides, or an export of another type.
    pub(crate) fn link(&self, loaded: &Loaded, kind: GuestKind) -> Result<Code, ProviderError> {
        self.try_link(loaded, kind)
            .map_err(|error| ProviderError::InvalidModule(format!("the module cannot be linked: {error:#}")))
    }

    fn try_link(&self, loaded: &Loaded, kind: GuestKind) -> wasmtime::Result<Code> {
        match (loaded, kind) {
            (Loaded::Module(module), _) => {
                let export = |name| {
                    module
                        .get_export_index(name)
                        .ok_or_else(|| wasmtime::Error::msg(format!("missing export `{name}`")))
                };
                let (start, memory) = (export("_start")?, export("memory")?);
                let ty = module.get_export("_start").and_then(|ty| ty.func().cloned());
                if ty.is_none_or(|ty| ty.params().len() + ty.results().len() > 0) {
                    return Err(wasmtime::Error::msg("`_start` must take and return nothing"));
                }
                let pre = self.command.instantiate_pre(module)?;
                Ok(Code::Command(CommandCode { pre, start, memory }))
            }
            (Loaded::Component(component), GuestKind::HttpComponent) => {
                let pre = self.component.instantiate_pre(component)?;
                Ok(Code::HttpComponent(ProxyPre::new(pre)?))
            }
            (Loaded::Component(component), _) => {
                let pre = self.component.instantiate_pre(component)?;
                Ok(Code::CommandComponent(CommandPre::new(pre)?))
            }
        }
    }
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Command(_) => "Command",
            Self::CommandComponent(_) => "CommandComponent",
            Self::HttpComponent(_) => "HttpComponent",
        })
    }
}

impl std::fmt::Debug for Linkers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Linkers").finish_non_exhaustive()
    }
}
