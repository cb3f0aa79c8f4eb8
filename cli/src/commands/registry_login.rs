//! `bramble registry-login`

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{IsTerminal, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::{Value, json};

use super::Context;
use super::typed::read_text;
use crate::error::CliError;

/// Longest password.
const MAX_PASSWORD_BYTES: u64 = 16 << 10;

/// Largest file that is changed.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Write a registry's credentials to a file as Docker has them
#[derive(Debug, Args)]
#[command(after_help = "\
The file is what a gateway reads private images with, in `~/.docker/config.json` of its user; nothing is
sent anywhere, and no helper is asked. Logins for other registries in the file stay.

Examples:
  bramble registry-login --server registry.local:5000 --username me < password.txt
  pass show ghcr | bramble registry-login --server ghcr.io --username me --output ~/.docker/config.json")]
pub(crate) struct RegistryLogin {
    /// The registry
    #[arg(long, value_name = "HOST", default_value = "https://index.docker.io/v1/")]
    server: String,
    /// Who logs in
    #[arg(short, long, value_name = "NAME")]
    username: String,
    /// The password; others on this machine may see it while the command runs
    #[arg(short, long, conflicts_with = "password_stdin")]
    password: Option<String>,
    /// Read the password from stdin, as is done without --password
    #[arg(short = 's', long)]
    password_stdin: bool,
    /// The file
    #[arg(short, long, value_name = "FILE", default_value = "credentials/config.json")]
    output: PathBuf,
}

impl RegistryLogin {
    /// Writes the file, readable by its owner only.
    pub(crate) fn run(&self, context: &Context) -> Result<()> {
        if self.username.is_empty() || self.username.contains(':') || self.server.is_empty() {
            return Err(CliError::usage("a registry and a name without `:` are needed").into());
        }
        let password = match &self.password {
            Some(password) if password.is_empty() => {
                return Err(CliError::usage("--password is empty").into());
            }
            Some(password) => password.clone(),
            None => password()?,
        };
        let path = context.directory.join(&self.output);
        let mut document = read(&path)?;
        let auth = STANDARD.encode(format!("{}:{password}", self.username));
        let auths = document.entry("auths".to_owned()).or_insert_with(|| json!({}));
        let auths = auths
            .as_object_mut()
            .ok_or_else(|| CliError::usage(format!("auths in {} is no object", self.output.display())))?;
        auths.insert(self.server.clone(), json!({ "auth": auth }));
        let write = || {
            if let Some(parent) = path.parent() {
                std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
            }
            // In one step: a reader sees the old file or the new one.
            let new = path.with_extension("new");
            let _ = std::fs::remove_file(&new);
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
            file.write_all(&serde_json::to_vec_pretty(&document)?)?;
            std::fs::rename(&new, &path)
        };
        write().with_context(|| format!("writing {}", path.display()))?;
        context.output.line(format!("wrote the login for {} to {}", self.server, self.output.display()))
    }
}

fn password() -> Result<String> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Err(CliError::usage("the password is read from stdin, which is a terminal")
            .hint("write it to a file, then: bramble registry-login … < FILE")
            .into());
    }
    let password = read_text(stdin, MAX_PASSWORD_BYTES, "the password")?;
    let password = password.trim_end_matches(['\r', '\n']).to_owned();
    if password.is_empty() {
        return Err(CliError::usage("the password on stdin is empty").into());
    }
    Ok(password)
}

/// The file's object; an empty one when there is no file.
fn read(path: &std::path::Path) -> Result<BTreeMap<String, Value>> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Ok(metadata) if metadata.len() > MAX_FILE_BYTES => {
            return Err(
                CliError::usage(format!("{} is no login file: it is too large", path.display())).into()
            );
        }
        _ => {}
    }
    let text = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let bad = |error| CliError::usage(format!("{} is no login file: {error}", path.display()));
    Ok(serde_json::from_slice(&text).map_err(bad)?)
}
