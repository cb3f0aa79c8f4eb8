//! Secrets, as the verbs use them.

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bramble_provider::url::query;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Api, succeed};
use crate::client::ANSWER_LIMIT;
use crate::error::CliError;

/// What may be there when a secret is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecretWrite {
    /// Nothing.
    Create,
    /// The secret.
    Update,
    /// Either.
    CreateOrUpdate,
}

impl Api {
    /// The names of the secrets of a namespace, as the gateway said it.
    ///
    /// # Errors
    /// [`CliError`], as for every call.
    pub(crate) async fn secrets(&self, namespace: &str) -> Result<Value> {
        self.get(&format!("/system/secrets{}", query([("namespace", namespace)])), "the secrets").await
    }

    /// Stores a secret's value, and answers with which method that was done.
    ///
    /// # Errors
    /// [`CliError`] of kind [`Exit::NotFound`](crate::error::Exit::NotFound) when it is not there to be updated.
    pub(crate) async fn write_secret(
        &self,
        write: SecretWrite,
        name: &str,
        namespace: &str,
        value: &[u8],
    ) -> Result<Method> {
        let mut document = json!({"name": name, "namespace": namespace});
        match str::from_utf8(value) {
            Ok(text) => document["value"] = text.into(),
            Err(_) => document["rawValue"] = STANDARD.encode(value).into(),
        }
        let (path, what) = ("/system/secrets", format!("secret {name}"));
        let mut method = if write == SecretWrite::Update { Method::PUT } else { Method::POST };
        let mut answer = self.send_json(method.clone(), path, &document, ANSWER_LIMIT).await?;
        if answer.status == StatusCode::CONFLICT && write == SecretWrite::CreateOrUpdate {
            method = Method::PUT;
            answer = self.send_json(method.clone(), path, &document, ANSWER_LIMIT).await?;
        }
        if answer.status == StatusCode::CONFLICT && write == SecretWrite::Create {
            let error = CliError::failed(format!("{what} exists already"));
            return Err(error.hint("--replace, or `bramble secret update`, gives it the new value").into());
        }
        succeed(answer, &what).map(|_| method)
    }

    /// Removes a secret.
    ///
    /// # Errors
    /// [`CliError`] of kind [`Exit::NotFound`](crate::error::Exit::NotFound) when it is not there.
    pub(crate) async fn remove_secret(&self, name: &str, namespace: &str) -> Result<()> {
        let document = json!({"name": name, "namespace": namespace});
        let answer = self.send_json(Method::DELETE, "/system/secrets", &document, ANSWER_LIMIT).await?;
        succeed(answer, &format!("secret {name}")).map(drop)
    }
}
