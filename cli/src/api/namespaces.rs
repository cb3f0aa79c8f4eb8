//! Namespaces, as the verbs use them.

use anyhow::Result;
use bramble_provider::url::encode;
use http::Method;
use serde_json::{Value, json};

use super::{Api, read, succeed};
use crate::client::ANSWER_LIMIT;

impl Api {
    /// The names of the namespaces.
    ///
    /// # Errors
    /// [`CliError`](crate::error::CliError), as for every call.
    pub(crate) async fn namespaces(&self) -> Result<Vec<String>> {
        read(&self.get("/system/namespaces", "the namespaces").await?)
    }

    /// What is written on a namespace, as the gateway said it.
    ///
    /// # Errors
    /// [`CliError`](crate::error::CliError) of kind [`Exit::NotFound`](crate::error::Exit::NotFound) when there is none.
    pub(crate) async fn namespace(&self, name: &str) -> Result<Value> {
        self.get(&format!("/system/namespace/{}", encode(name)), &format!("namespace {name}")).await
    }

    /// Makes (`POST`), replaces (`PUT`) or removes (`DELETE`) a namespace.
    ///
    /// # Errors
    /// [`CliError`](crate::error::CliError) of kind [`Exit::NotFound`](crate::error::Exit::NotFound) when there is none to be changed.
    pub(crate) async fn write_namespace(
        &self,
        method: Method,
        name: &str,
        document: Option<&Value>,
    ) -> Result<()> {
        let path = format!("/system/namespace/{}", encode(name));
        let nothing = json!({});
        let answer = self.send_json(method, &path, document.unwrap_or(&nothing), ANSWER_LIMIT).await?;
        succeed(answer, &format!("namespace {name}")).map(drop)
    }
}
