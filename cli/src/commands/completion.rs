//! `bramble completion`

use anyhow::Result;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Context};

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bramble completion bash > ~/.local/share/bash-completion/completions/bramble
  bramble completion zsh  > \"${fpath[1]}/_bramble\"
  bramble completion fish > ~/.config/fish/completions/bramble.fish")]
pub(crate) struct Completion {
    /// The shell
    shell: Shell,
}

impl Completion {
    /// Prints the script.
    pub(crate) fn run(&self, context: &Context) -> Result<()> {
        // Into memory first: the generator panics when its writer fails.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "bramble", &mut script);
        context.output.bytes(&script)
    }
}
