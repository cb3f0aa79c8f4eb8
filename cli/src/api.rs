//! The gateway's API as the verbs use it.
//!
//! In: paths, JSON and what a status means. Out: printing.

mod namespaces;
mod queue;
mod secrets;
mod wire;

use std::time::Duration;

use anyhow::{Context, Result};
use bramble_provider::{Digest, FunctionName};
use bytes::Bytes;
use http::{Method, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::client::{ANSWER_LIMIT, Answer, Client, RequestBody};
use crate::error::{CliError, Exit};
use crate::logins::{NEW_TOKEN, Shown};
use bramble_provider::url::query;
pub(crate) use secrets::SecretWrite;
use wire::other_namespace;
pub(crate) use wire::{Deployment, FunctionStatus, Half, Module};

/// Longest wait for an upload or a deployment: a large module is compiled on a small machine.
pub(crate) const DEPLOY_LIMIT: Duration = Duration::from_secs(10 * 60);

/// Largest piece of an upload that is handed over at once, so that progress can be seen.
const UPLOAD_CHUNK_BYTES: usize = 256 << 10;

/// What becomes of a function that is there when one of its name is deployed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    /// It is updated, and answers all the while.
    Update,
    /// It is removed first.
    Replace,
    /// It stays, and the deployment is refused.
    Refuse,
}

/// The gateway's API over one [`Client`].
#[derive(Debug, Clone)]
pub(crate) struct Api {
    client: Client,
}

impl Api {
    /// The API of the gateway that `client` speaks to.
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// The client, for what is no question and answer.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The URL at which a function is invoked.
    pub(crate) fn invoke_url(&self, name: &FunctionName) -> String {
        format!("{}/function/{name}", self.client.url())
    }

    /// Every function of a namespace, as the gateway said it.
    ///
    /// # Errors
    /// [`CliError`], as for every call.
    pub(crate) async fn functions(&self, namespace: &str) -> Result<Value> {
        let query = query([("namespace", namespace)]);
        self.get(&format!("/system/functions{query}"), "the functions").await
    }

    /// One function, as the gateway said it.
    ///
    /// # Errors
    /// [`CliError`] of kind [`Exit::NotFound`] when it is not deployed.
    pub(crate) async fn function(&self, name: &FunctionName) -> Result<Value> {
        self.get(&function_path(name), &format!("function {name}")).await
    }

    /// The modules that are stored, as the gateway said it.
    ///
    /// # Errors
    /// [`CliError`], as for every call.
    pub(crate) async fn modules(&self) -> Result<Value> {
        self.get("/system/modules", "the modules").await
    }

    /// What the gateway says about itself.
    ///
    /// # Errors
    /// [`CliError`], as for every call.
    pub(crate) async fn info(&self) -> Result<Value> {
        self.get("/system/info", "the gateway").await
    }

    /// Stores a module, pre-initialised by the export `preinit` if that is given; `sent` is called when all of
    /// it is on its way and the gateway is at work.
    ///
    /// # Errors
    /// [`CliError`], as for every call.
    pub(crate) async fn put_module(
        &self,
        wasm: Bytes,
        preinit: Option<&str>,
        sent: impl FnOnce() + Send + 'static,
    ) -> Result<Value> {
        let query = query(preinit.map(|export| ("preinit", export)));
        let answer = self.upload(&format!("/system/modules{query}"), wasm, sent).await?;
        parse(&succeed(answer, "the upload")?)
    }

    /// Removes a module that no function uses.
    ///
    /// # Errors
    /// [`CliError`] of kind [`Exit::NotFound`] when it is not stored.
    pub(crate) async fn remove_module(&self, digest: &Digest) -> Result<()> {
        let request = self.client.request(Method::DELETE, &format!("/system/modules/{digest}"));
        let answer = self.client.ask(request.body(RequestBody::empty())?, ANSWER_LIMIT).await?;
        succeed(answer, &format!("module {digest}")).map(drop)
    }

    /// Uploads a module and deploys it under a name, in one call, pre-initialised by the export `preinit` if
    /// that is given. Answers what the module is.
    ///
    /// # Errors
    /// [`CliError`], as for every call.
    pub(crate) async fn deploy_wasm(
        &self,
        name: &FunctionName,
        wasm: Bytes,
        preinit: Option<&str>,
        sent: impl FnOnce() + Send + 'static,
    ) -> Result<Value> {
        let query = query(preinit.map(|export| ("preinit", export)));
        let answer = self.upload(&format!("/system/functions/{name}{query}"), wasm, sent).await?;
        parse(&succeed(answer, &format!("function {name}"))?)
    }

    /// Deploys what is described: a new function, or what `existing` says when it is there.
    ///
    /// # Errors
    /// [`CliError`], as for every call.
    pub(crate) async fn deploy(&self, deployment: &Deployment, existing: Existing) -> Result<()> {
        let (path, what) = ("/system/functions", format!("function {}", deployment.service));
        let update = match existing {
            Existing::Update => Some(self.send_json(Method::PUT, path, deployment, DEPLOY_LIMIT).await?),
            Existing::Refuse => None,
            Existing::Replace => {
                let mut body = json!({"functionName": deployment.service});
                if let Some(namespace) = &deployment.namespace {
                    body["namespace"] = namespace.as_str().into();
                }
                let answer = self.send_json(Method::DELETE, path, &body, ANSWER_LIMIT).await?;
                if answer.status != StatusCode::NOT_FOUND {
                    succeed(answer, &what)?;
                }
                None
            }
        };
        let answer = match update.filter(|answer| answer.status != StatusCode::NOT_FOUND) {
            Some(answer) => answer,
            None => {
                let created = self.send_json(Method::POST, path, deployment, DEPLOY_LIMIT).await?;
                match (created.status, existing) {
                    (StatusCode::CONFLICT, Existing::Refuse) => {
                        let error = CliError::failed(format!("{what} is deployed already"));
                        return Err(error.hint("leave --update=false out to update it").into());
                    }
                    // Somebody else deployed it since we looked.
                    (StatusCode::CONFLICT, Existing::Update | Existing::Replace) => {
                        self.send_json(Method::PUT, path, deployment, DEPLOY_LIMIT).await?
                    }
                    _ => created,
                }
            }
        };
        succeed(answer, &what).map(drop)
    }

    /// Removes a function.
    ///
    /// # Errors
    /// [`CliError`] of kind [`Exit::NotFound`] when it is not deployed.
    pub(crate) async fn remove(&self, name: &FunctionName) -> Result<()> {
        let body = with_namespace(json!({"functionName": name.name()}), name);
        let answer = self.send_json(Method::DELETE, "/system/functions", &body, ANSWER_LIMIT).await?;
        succeed(answer, &format!("function {name}")).map(drop)
    }

    /// Sets the desired replicas of a function.
    ///
    /// # Errors
    /// [`CliError`] of kind [`Exit::NotFound`] when it is not deployed.
    pub(crate) async fn scale(&self, name: &FunctionName, replicas: u32) -> Result<()> {
        let body = with_namespace(json!({"serviceName": name.name(), "replicas": replicas}), name);
        let path = format!("/system/scale-function/{}", name.name());
        let answer = self.send_json(Method::POST, &path, &body, ANSWER_LIMIT).await?;
        succeed(answer, &format!("function {name}")).map(drop)
    }

    /// Why a function has the replicas it has, as the gateway said it.
    ///
    /// # Errors
    /// [`CliError`] of kind [`Exit::NotFound`] when it is not deployed.
    pub(crate) async fn explain(&self, name: &FunctionName) -> Result<Value> {
        let namespace = other_namespace(name).map(|namespace| ("namespace", namespace));
        let path = format!("/system/scale-function/{}{}", name.name(), query(namespace));
        self.get(&path, &format!("function {name}")).await
    }

    /// Asks for the functions, whatever the gateway says to that: whether it takes the login.
    ///
    /// # Errors
    /// [`CliError`] when it cannot be reached.
    pub(crate) async fn ask_for_functions(&self) -> Result<Answer> {
        let request = self.client.request(Method::GET, "/system/functions").body(RequestBody::empty())?;
        Ok(self.client.ask(request, ANSWER_LIMIT).await?)
    }

    /// Whether the gateway takes invocations.
    ///
    /// # Errors
    /// [`CliError`] of kind [`Exit::Unreachable`] when there is none.
    pub(crate) async fn is_ready(&self) -> Result<bool, CliError> {
        let request = self.client.request(Method::GET, "/readyz").body(RequestBody::empty());
        let request = request.map_err(|error| CliError::failed(error.to_string()))?;
        Ok(self.client.ask(request, ANSWER_LIMIT).await?.status.is_success())
    }

    async fn get(&self, path: &str, what: &str) -> Result<Value> {
        let request = self.client.request(Method::GET, path).body(RequestBody::empty())?;
        parse(&succeed(self.client.ask(request, ANSWER_LIMIT).await?, what)?)
    }

    async fn send_json(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
        limit: Duration,
    ) -> Result<Answer> {
        let request = self.client.request(method, path).header(header::CONTENT_TYPE, "application/json");
        let request = request.body(RequestBody::full(serde_json::to_vec(body)?))?;
        Ok(self.client.ask(request, limit).await?)
    }

    async fn upload(&self, path: &str, wasm: Bytes, sent: impl FnOnce() + Send + 'static) -> Result<Answer> {
        let (sender, body) = RequestBody::channel(Some(wasm.len() as u64));
        tokio::spawn(async move {
            let mut rest = wasm;
            while !rest.is_empty() {
                let chunk = rest.split_to(rest.len().min(UPLOAD_CHUNK_BYTES));
                // The receiver is gone when the gateway answered early: it did not want the rest.
                if sender.send(Ok(chunk)).await.is_err() {
                    return;
                }
            }
            sent();
        });
        let request = self.client.request(Method::PUT, path).header(header::CONTENT_TYPE, "application/wasm");
        Ok(self.client.ask(request.body(body)?, DEPLOY_LIMIT).await?)
    }
}

/// The path of a function's status, with what it uses.
fn function_path(name: &FunctionName) -> String {
    let namespace = other_namespace(name).map(|namespace| ("namespace", namespace));
    format!("/system/function/{}{}", name.name(), query(namespace.into_iter().chain([("usage", "1")])))
}

fn with_namespace(mut body: Value, name: &FunctionName) -> Value {
    if let Some(namespace) = other_namespace(name) {
        body["namespace"] = namespace.into();
    }
    body
}

/// The body of an answer that is a success; else the failure that it is. `what` was asked about.
///
/// # Errors
/// [`CliError`] with the gateway's own message when it gave one.
pub(crate) fn succeed(answer: Answer, what: &str) -> Result<Bytes> {
    if answer.status.is_success() {
        return Ok(answer.body);
    }
    Err(failure(answer.status, &answer.body, answer.shown.as_ref(), what).into())
}

/// The failure that an answer is, to whom showed this.
pub(crate) fn failure(status: StatusCode, body: &[u8], shown: Option<&Shown>, what: &str) -> CliError {
    if status == StatusCode::UNAUTHORIZED {
        return unauthorized(shown, what);
    }
    let exit = if status == StatusCode::NOT_FOUND { Exit::NotFound } else { Exit::Failed };
    match message(body) {
        Some(message) => CliError::new(exit, message),
        None if exit == Exit::NotFound => CliError::new(exit, format!("{what} was not found")),
        None => CliError::new(exit, format!("{what}: the gateway answered {status}")),
    }
}

fn unauthorized(shown: Option<&Shown>, what: &str) -> CliError {
    let (said, hint) = match shown {
        Some(shown) if shown.is_token() => ("does not take the token, which may have expired", NEW_TOKEN),
        Some(_) => {
            ("does not take the user and the password", "log in anew with `bramble login --password-stdin`")
        }
        None => ("asks for a user and a password", "log in with `bramble login --password-stdin`"),
    };
    CliError::failed(format!("{what}: the gateway {said}")).hint(hint)
}

/// The message of an error of ours, or of the plain text that the original answers with.
fn message(body: &[u8]) -> Option<String> {
    /// Longer than any message is: something else than the gateway answered.
    const MAX_PLAIN_CHARS: usize = 500;
    if let Some(error) = own_error(body) {
        return Some(error);
    }
    let text = str::from_utf8(body).ok()?.trim();
    let is_page = text.starts_with(['<', '{']) || text.eq_ignore_ascii_case("404 page not found");
    let is_message = !text.is_empty() && text.chars().count() <= MAX_PLAIN_CHARS && !is_page;
    is_message.then(|| text.to_owned())
}

/// The message of `{"error":{"code","message"}}`, when that is what the body is.
pub(crate) fn own_error(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Body {
        error: Inner,
    }
    #[derive(Deserialize)]
    struct Inner {
        #[serde(rename = "code")]
        _code: String,
        message: String,
    }
    serde_json::from_slice::<Body>(body).ok().map(|body| body.error.message)
}

fn parse(body: &[u8]) -> Result<Value> {
    serde_json::from_slice(body).context("the gateway's answer is no JSON; is it a Bramble gateway?")
}

/// Reads one thing out of what the gateway said.
///
/// # Errors
/// When it has another shape.
pub(crate) fn read<T: serde::de::DeserializeOwned>(value: &Value) -> Result<T> {
    T::deserialize(value).context("the gateway's answer has another shape than expected")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_the_gateway_said() {
        let said = |status, body: &str| {
            let error = failure(status, body.as_bytes(), None, "function x");
            (error.exit(), error.to_string())
        };
        let ours = r#"{"error":{"code":"unknown_function","message":"function x is not deployed"}}"#;
        assert_eq!(said(StatusCode::NOT_FOUND, ours), (Exit::NotFound, "function x is not deployed".into()));
        let (exit, message) = said(StatusCode::NOT_FOUND, "");
        assert_eq!((exit, message.as_str()), (Exit::NotFound, "function x was not found"));
        assert_eq!(said(StatusCode::BAD_REQUEST, "no name\n"), (Exit::Failed, "no name".into()));
        assert!(said(StatusCode::BAD_GATEWAY, "<html>").1.contains("502"));
    }

    #[test]
    fn who_is_refused_is_told_what_to_bring() {
        for (shown, said, hint) in [
            (None, "asks for a user and a password", "--password-stdin"),
            (Some("Basic eDp5"), "does not take the user", "--password-stdin"),
            (Some("Bearer abc"), "does not take the token", "bramble auth"),
        ] {
            let shown = shown.map(|header| Shown::from(http::HeaderValue::from_static(header)));
            let error = failure(StatusCode::UNAUTHORIZED, b"", shown.as_ref(), "the functions");
            assert!(error.to_string().contains(said), "{error}");
            assert!(error.hint_text().unwrap().contains(hint), "{error:?}");
        }
    }
}
