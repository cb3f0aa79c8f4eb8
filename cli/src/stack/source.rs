//! Where a stack file comes from.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::commands::Context;
use crate::error::CliError;
use crate::fetch;

/// The names that are looked for when none is given, the reference's.
const DEFAULTS: [&str; 2] = ["stack.yaml", "stack.yml"];

/// Largest stack file that is read.
pub(super) const MAX_BYTES: u64 = 4 << 20;

/// The file's name for messages, what its paths are relative to, and its text.
pub(super) async fn read(named: Option<&str>, context: &Context) -> Result<(String, PathBuf, String)> {
    if let Some(url) = named.filter(|named| named.contains("://")) {
        let bytes = fetch::get(url, MAX_BYTES).await?;
        let text = String::from_utf8(bytes.to_vec())
            .map_err(|_| CliError::usage(format!("{url} is no text in UTF-8")))?;
        return Ok((url.to_owned(), context.directory.clone(), text));
    }
    let path = match named {
        Some(named) => PathBuf::from(named),
        None => {
            let found = DEFAULTS.iter().map(PathBuf::from).find(|path| context.directory.join(path).exists());
            found.ok_or_else(|| {
                CliError::usage("there is no stack.yaml or stack.yml here")
                    .hint("name a stack file with -f FILE")
            })?
        }
    };
    let shown = path.display().to_string();
    let full = context.directory.join(&path);
    let refused = |error: std::io::Error| CliError::usage(format!("cannot read {shown}: {error}"));
    let size = std::fs::metadata(&full).map_err(refused)?.len();
    if size > MAX_BYTES {
        return Err(CliError::usage(format!(
            "{shown} has {size} bytes; a stack file has at most {MAX_BYTES}"
        ))
        .into());
    }
    let text = std::fs::read_to_string(&full).map_err(refused)?;
    let directory = full.parent().map_or_else(|| context.directory.clone(), Path::to_owned);
    Ok((shown, directory, text))
}
