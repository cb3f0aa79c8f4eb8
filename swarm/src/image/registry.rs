//! Credentials for registries, as `docker login` and `faas-cli registry-login` keep them.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bollard::auth::DockerCredentials;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

/// Longest wait for a credential helper, which may ask somebody who is not there.
const HELPER_DEADLINE: Duration = Duration::from_secs(10);
/// What Docker Hub's credentials are filed under.
const HUB: &str = "https://index.docker.io/v1/";

/// Where credentials are: Docker's `config.json`. Read at each deployment, so a new login counts at once.
#[derive(Debug, Clone, Default)]
pub(crate) struct RegistryAuth {
    file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ConfigFile {
    auths: BTreeMap<String, Auth>,
    creds_store: Option<String>,
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Auth {
    auth: Option<String>,
    identitytoken: Option<String>,
}

#[derive(Deserialize)]
struct Helped {
    #[serde(rename = "Username")]
    username: String,
    #[serde(rename = "Secret")]
    secret: String,
}

impl RegistryAuth {
    /// Credentials from this `config.json`; none when there is no such file.
    pub(crate) fn new(file: Option<PathBuf>) -> Self {
        Self { file }
    }

    /// What the registry of an image wants to see, when something is kept for it.
    pub(crate) async fn for_image(&self, reference: &str) -> Option<DockerCredentials> {
        let (file, registry) = (self.file.clone()?, registry_of(reference).to_owned());
        let read = tokio::task::spawn_blocking(move || read(&file, &registry)).await.ok()?;
        read.unwrap_or_else(|reason| {
            tracing::warn!(image = reference, reason, "cannot use the kept credentials");
            None
        })
    }
}

fn read(file: &Path, registry: &str) -> Result<Option<DockerCredentials>, String> {
    let text = match std::fs::read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{}: {error}", file.display())),
    };
    let config: ConfigFile =
        serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    let helper = config.cred_helpers.get(registry).or(config.creds_store.as_ref());
    if let Some(helper) = helper
        && let Some(credentials) = ask_helper(helper, registry)?
    {
        return Ok(Some(credentials));
    }
    let matches = |key: &str| key == registry || host(key) == host(registry);
    let Some((_, auth)) = config.auths.iter().find(|(key, _)| matches(key)) else { return Ok(None) };
    let server = Some(registry.to_owned());
    if let Some(token) = auth.identitytoken.clone().filter(|token| !token.is_empty()) {
        let identitytoken = Some(token);
        return Ok(Some(DockerCredentials { identitytoken, serveraddress: server, ..Default::default() }));
    }
    let Some(encoded) = auth.auth.as_ref().filter(|auth| !auth.is_empty()) else { return Ok(None) };
    let decoded = STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let (username, password) = decoded
        .as_deref()
        .and_then(|pair| pair.split_once(':'))
        .ok_or_else(|| format!("{}: auths.{registry}.auth is no base64 of user:password", file.display()))?;
    Ok(Some(DockerCredentials {
        username: Some(username.to_owned()),
        password: Some(password.trim_end_matches('\0').to_owned()),
        serveraddress: server,
        ..Default::default()
    }))
}

/// Asks `docker-credential-NAME`, as Docker does.
fn ask_helper(name: &str, registry: &str) -> Result<Option<DockerCredentials>, String> {
    let program = format!("docker-credential-{name}");
    let failed = |error: io::Error| format!("{program}: {error}");
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(registry.as_bytes()).map_err(failed)?;
    }
    let output = output_within(child, HELPER_DEADLINE).map_err(failed)?;
    if !output.status.success() {
        // It has none for this registry.
        return Ok(None);
    }
    let helped: Helped =
        serde_json::from_slice(&output.stdout).map_err(|error| format!("{program}: {error}"))?;
    let token = helped.username == "<token>";
    Ok(Some(DockerCredentials {
        identitytoken: token.then(|| helped.secret.clone()),
        username: (!token).then_some(helped.username),
        password: (!token).then_some(helped.secret),
        serveraddress: Some(registry.to_owned()),
        ..Default::default()
    }))
}

/// What a child writes until it ends; it is killed when that takes too long.
fn output_within(child: Child, deadline: Duration) -> io::Result<Output> {
    let pid = Pid::from_child(&child);
    let (sender, ended) = mpsc::channel();
    let waiting = thread::spawn(move || sender.send(child.wait_with_output()));
    let output = ended.recv_timeout(deadline);
    if output.is_err() {
        // It is not reaped before its output has ended, so the number is still its own.
        kill_process(pid, Signal::KILL)?;
        let late = format!("no answer within {deadline:?}");
        return Err(io::Error::new(io::ErrorKind::TimedOut, late));
    }
    drop(waiting.join());
    output.unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
}

/// The registry that a reference names: its first part when that looks like a host.
fn registry_of(reference: &str) -> &str {
    match reference.split_once('/') {
        Some((first, _)) if first == "localhost" || first.contains(['.', ':']) => first,
        _ => HUB,
    }
}

fn host(registry: &str) -> &str {
    let rest = registry.split_once("://").map_or(registry, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_registry_of_a_reference() {
        for (reference, registry) in [
            ("echo:1", HUB),
            ("me/echo", HUB),
            ("localhost/echo", "localhost"),
            ("10.0.0.1:5000/me/echo:1", "10.0.0.1:5000"),
            ("ghcr.io/me/echo@sha256:0", "ghcr.io"),
        ] {
            assert_eq!(registry_of(reference), registry, "{reference}");
        }
    }

    #[test]
    fn a_helper_that_does_not_answer_is_ended() {
        let helper = |script: &str| {
            Command::new("sh")
                .args(["-c", script])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        };
        let answered = output_within(helper("echo me"), HELPER_DEADLINE).unwrap();
        assert_eq!((answered.status.success(), &*answered.stdout), (true, &b"me\n"[..]));
        let late = output_within(helper("exec sleep 600"), Duration::from_millis(50)).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn reads_what_docker_login_keeps() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.json");
        let auth = RegistryAuth::new(Some(file.clone()));
        assert!(auth.for_image("r.example/me/echo").await.is_none());
        let pair = STANDARD.encode("me:pa:ss");
        std::fs::write(&file, format!(r#"{{"auths":{{"https://r.example/v2/":{{"auth":"{pair}"}}}}}}"#))
            .unwrap();
        let found = auth.for_image("r.example/me/echo").await.unwrap();
        assert_eq!((found.username.as_deref(), found.password.as_deref()), (Some("me"), Some("pa:ss")));
        assert!(auth.for_image("other.example/me/echo").await.is_none());
    }
}
