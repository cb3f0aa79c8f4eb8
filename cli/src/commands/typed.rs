//! Secrets and passwords that are piped in.

use std::io::Read;

use anyhow::{Context as _, Result};

use crate::error::CliError;

/// Reads `what` to its end.
///
/// # Errors
/// [`CliError`] when it has more than `max_bytes`: a part of it would be kept as if it were the whole.
pub(super) fn read_bytes(reader: impl Read, max_bytes: u64, what: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(max_bytes + 1).read_to_end(&mut bytes).with_context(|| format!("reading {what}"))?;
    match bytes.len() as u64 > max_bytes {
        true => Err(CliError::usage(format!("{what} has more than {max_bytes} bytes")).into()),
        false => Ok(bytes),
    }
}

/// As [`read_bytes`], for what must be text.
///
/// # Errors
/// [`CliError`] also for what is no text in UTF-8.
pub(super) fn read_text(reader: impl Read, max_bytes: u64, what: &str) -> Result<String> {
    let text = String::from_utf8(read_bytes(reader, max_bytes, what)?);
    Ok(text.map_err(|_| CliError::usage(format!("{what} is no text in UTF-8")))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_cut_off() {
        assert_eq!(read_text(&b"secret"[..], 6, "it").unwrap(), "secret");
        // White space counts: what is behind it is not known.
        for long in [&b"secrets"[..], b"secret \n", b"      s"] {
            let error = read_bytes(long, 6, "the password").unwrap_err().to_string();
            assert_eq!(error, "the password has more than 6 bytes");
        }
        assert!(read_text(&b"\xff"[..], 6, "it").is_err());
    }
}
