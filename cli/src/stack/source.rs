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

/// Whether a folder has a stack file that need not be named.
pub(crate) fn has_stack_file(directory: &Path) -> bool {
    DEFAULTS.iter().any(|name| directory.join(name).exists())
}

/// The file's name for messages, what its paths are relative to, and its text.
pub(super) async fn read(named: Option<&str>, context: &Context) -> Result<(String, PathBuf, String)> {
    if let Some(url) = named.filter(|named| named.contains("://")) {
        let bytes = fetch::get(url, MAX_BYTES).await?;
        return Ok((url.to_owned(), context.directory.clone(), text(url, bytes.to_vec())?));
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
    let text = text(&shown, std::fs::read(&full).map_err(refused)?)?;
    let directory = full.parent().map_or_else(|| context.directory.clone(), Path::to_owned);
    Ok((shown, directory, text))
}

/// The text that bytes are.
fn text(source: &str, bytes: Vec<u8>) -> Result<String, CliError> {
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.split(|byte| *byte == b'\n').count();
        CliError::usage(format!("{source}, line {line}: this is no text in UTF-8"))
            .hint("save the file as UTF-8, without which names and values cannot be read")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_where_a_file_stops_being_text() {
        assert_eq!(text("s.yml", b"a: \xc3\xa9\n".to_vec()).unwrap(), "a: é\n");
        let error = text("s.yml", b"a: 1\nb: \xff\n".to_vec()).unwrap_err();
        assert!(error.to_string().starts_with("s.yml, line 2:"), "{error}");
    }
}
