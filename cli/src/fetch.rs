//! Files from the web: stack files and lists of functions.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Result;
use bramble_provider::HttpUrl;
use bytes::Bytes;
use http::Method;

use crate::client::{Client, RequestBody, Trust};
use crate::error::CliError;

/// Longest wait for a file.
const LIMIT: Duration = Duration::from_secs(60);

/// Reads a file from an `http` or `https` URL. TLS is curl's business, which must be there for it.
///
/// # Errors
/// [`CliError`] that names the URL.
pub(crate) async fn get(url: &str, max_bytes: u64) -> Result<Bytes> {
    if url.starts_with("https://") {
        let url = url.to_owned();
        return Ok(tokio::task::spawn_blocking(move || with_curl(&url, max_bytes)).await??);
    }
    let bad = |reason: String| CliError::usage(format!("{url} cannot be fetched: {reason}"));
    let rest = url.strip_prefix("http://").ok_or_else(|| bad("it is no http or https URL".to_owned()))?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let base: HttpUrl = authority.parse().map_err(|error| bad(format!("{authority:?} {error}")))?;
    let path = if path.is_empty() { "/" } else { path };
    let client = Client::trusting(base, &Trust::System)?;
    let request = client.request(Method::GET, path).body(RequestBody::empty())?;
    let answer = client.ask(request, LIMIT).await.map_err(|error| bad(error.to_string()))?;
    if !answer.status.is_success() {
        return Err(
            CliError::failed(format!("{url} cannot be fetched: the answer is {}", answer.status)).into()
        );
    }
    if answer.body.len() as u64 > max_bytes {
        return Err(bad(format!("it has more than {max_bytes} bytes")).into());
    }
    Ok(answer.body)
}

fn with_curl(url: &str, max_bytes: u64) -> Result<Bytes, CliError> {
    let limit = LIMIT.as_secs().to_string();
    let output = Command::new("curl")
        .args(["-fsSL", "--proto", "=https", "--max-time", &limit])
        .args(["--max-filesize", &max_bytes.to_string(), "--", url])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| {
            CliError::failed(format!("{url} cannot be fetched: curl does not start: {error}"))
                .hint("install curl, or fetch the file yourself and name it")
        })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(CliError::failed(format!("{url} cannot be fetched: {}", said.trim())));
    }
    Ok(output.stdout.into())
}
