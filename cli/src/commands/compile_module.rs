//! `bramble compile-module`: what a gateway starts to compile a module beside it.

use anyhow::Result;
use clap::Args;

/// Compile a module for the gateway that started this process: wasm on stdin, its answer on stdout
#[derive(Debug, Args)]
pub(crate) struct CompileModule {
    /// What the module is: `wasip1-command`, `wasip2-command` or `wasip2-http`
    #[arg(long)]
    kind: String,
    /// The engine that the code is for
    #[arg(long, value_name = "FINGERPRINT")]
    engine: String,
    /// That engine has a pool
    #[arg(long)]
    pooled: bool,
}

impl CompileModule {
    /// Compiles.
    pub(crate) fn run(&self) -> Result<()> {
        let (input, output) = (std::io::stdin().lock(), std::io::stdout().lock());
        Ok(bramble_host::compile_for_parent(&self.kind, self.pooled, &self.engine, input, output)?)
    }
}
