//! What an uploaded file is, told from its bytes before anything is compiled.

use bramble_provider::ProviderError;
use wasmparser::{Encoding, ExternalKind, Parser, Payload, Validator};

/// The guests that can be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuestKind {
    /// A WASI 0.1 command: a core module that exports `_start`.
    CommandModule,
    /// A WASI 0.2 component that exports `wasi:cli/run`.
    CommandComponent,
    /// A WASI 0.2 component that exports `wasi:http/incoming-handler`.
    HttpComponent,
}

impl GuestKind {
    /// The word used in JSON: `wasip1-command`, `wasip2-command` or `wasip2-http`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CommandModule => "wasip1-command",
            Self::CommandComponent => "wasip2-command",
            Self::HttpComponent => "wasip2-http",
        }
    }

    /// Reads the word of [`Self::as_str`].
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::CommandModule, Self::CommandComponent, Self::HttpComponent]
            .into_iter()
            .find(|kind| kind.as_str() == word)
    }
}

/// What a file says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inspected {
    pub(crate) kind: GuestKind,
    /// Each import as `module.name`, or the interface's name for components; sorted, each once.
    pub(crate) imports: Vec<String>,
}

/// The one module a WASI 0.1 command may import from.
pub(crate) const WASI_P1: &str = "wasi_snapshot_preview1";

/// Validates the bytes and tells which guest they are.
///
/// # Errors
/// [`ProviderError::InvalidModule`] saying what is missing or wrong, with the export or import named.
pub(crate) fn inspect(wasm: &[u8]) -> Result<Inspected, ProviderError> {
    if !wasm.starts_with(b"\0asm") {
        return Err(refuse("not a WebAssembly file: it does not begin with `\\0asm`"));
    }
    Validator::new()
        .validate_all(wasm)
        .map_err(|error| refuse(format!("the WebAssembly is invalid or cut short: {error}")))?;
    let outline = Outline::read(wasm).map_err(|error| refuse(error.to_string()))?;
    let kind = outline.kind()?;
    let mut imports = outline.imports;
    imports.sort();
    imports.dedup();
    Ok(Inspected { kind, imports })
}

#[derive(Default)]
struct Outline {
    component: bool,
    imports: Vec<String>,
    foreign_import: Option<String>,
    start: bool,
    memory: bool,
    interfaces: Vec<String>,
}

impl Outline {
    fn read(wasm: &[u8]) -> Result<Self, wasmparser::BinaryReaderError> {
        let mut outline = Self::default();
        // Modules and components inside a component have imports and exports of their own.
        let mut depth = 0u32;
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::Version { encoding, .. } => {
                    if depth == 0 {
                        outline.component = encoding == Encoding::Component;
                    }
                    depth += 1;
                }
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ImportSection(section) if depth == 1 => {
                    for import in section.into_imports() {
                        let import = import?;
                        let text = format!("{}.{}", import.module, import.name);
                        if import.module != WASI_P1 {
                            outline.foreign_import.get_or_insert_with(|| text.clone());
                        }
                        outline.imports.push(text);
                    }
                }
                Payload::ExportSection(section) if depth == 1 => {
                    for export in section {
                        let export = export?;
                        outline.start |= export.name == "_start" && export.kind == ExternalKind::Func;
                        outline.memory |= export.name == "memory" && export.kind == ExternalKind::Memory;
                    }
                }
                Payload::ComponentImportSection(section) if depth == 1 => {
                    for import in section {
                        outline.imports.push(import?.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(section) if depth == 1 => {
                    for export in section {
                        outline.interfaces.push(export?.name.name.to_owned());
                    }
                }
                _ => {}
            }
        }
        Ok(outline)
    }

    fn kind(&self) -> Result<GuestKind, ProviderError> {
        if self.component {
            return self.component_kind();
        }
        if let Some(import) = &self.foreign_import {
            return Err(refuse(format!(
                "unknown import `{import}`: a function may import only from `{WASI_P1}` (build for wasm32-wasip1)"
            )));
        }
        if !self.start {
            return Err(refuse(
                "missing export `_start`: build a program with a main function, not a library",
            ));
        }
        if !self.memory {
            return Err(refuse("missing export `memory`: a WASI program exports its memory"));
        }
        Ok(GuestKind::CommandModule)
    }

    fn component_kind(&self) -> Result<GuestKind, ProviderError> {
        let exports = |prefix: &str| self.interfaces.iter().any(|name| name.starts_with(prefix));
        if exports("wasi:http/incoming-handler@0.2") {
            Ok(GuestKind::HttpComponent)
        } else if exports("wasi:cli/run@0.2") {
            Ok(GuestKind::CommandComponent)
        } else {
            Err(refuse(format!(
                "missing export: a component exports `wasi:cli/run@0.2` or `wasi:http/incoming-handler@0.2`; this one exports {}",
                if self.interfaces.is_empty() { "nothing".to_owned() } else { self.interfaces.join(", ") }
            )))
        }
    }
}

fn refuse(reason: impl Into<String>) -> ProviderError {
    ProviderError::InvalidModule(reason.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(wasm: &[u8]) -> String {
        inspect(wasm).expect_err("it was accepted").to_string()
    }

    #[test]
    fn tells_a_command_from_its_exports() {
        let wasm =
            wat::parse_str(r#"(module (memory (export "memory") 1) (func (export "_start")))"#).unwrap();
        assert_eq!(inspect(&wasm).unwrap().kind, GuestKind::CommandModule);
    }

    #[test]
    fn names_what_is_missing_or_unknown() {
        assert!(refusal(b"MZ not wasm").contains("not a WebAssembly file"));
        let library =
            wat::parse_str(r#"(module (memory (export "memory") 1) (func (export "add")))"#).unwrap();
        assert!(refusal(&library).contains("`_start`"));
        assert!(refusal(&library[..library.len() - 3]).contains("cut short"));
        let foreign = wat::parse_str(
            r#"(module (import "env" "launch" (func)) (memory (export "memory") 1) (func (export "_start")))"#,
        )
        .unwrap();
        assert!(refusal(&foreign).contains("`env.launch`"));
        let component = wat::parse_str("(component)").unwrap();
        assert!(refusal(&component).contains("wasi:cli/run"));
    }
}
