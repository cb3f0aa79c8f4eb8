//! The queue of asynchronous invocations, as the verbs use it.

use anyhow::Result;
use bramble_provider::url::{encode, query};
use http::Method;
use serde_json::Value;

use super::{Api, parse, succeed};
use crate::client::{ANSWER_LIMIT, RequestBody};

impl Api {
    /// What waits and runs in the queue, as the gateway said it.
    ///
    /// # Errors
    /// [`CliError`](crate::error::CliError), as for every call.
    pub(crate) async fn queue(&self, function: Option<&str>, limit: usize) -> Result<Value> {
        self.get(&format!("/system/async{}", listing(function, limit)), "the queue").await
    }

    /// The dead letters, as the gateway said it.
    ///
    /// # Errors
    /// [`CliError`](crate::error::CliError), as for every call.
    pub(crate) async fn dead_letters(&self, function: Option<&str>, limit: usize) -> Result<Value> {
        self.get(&format!("/system/async/dead{}", listing(function, limit)), "the dead letters").await
    }

    /// One asynchronous invocation, as the gateway said it.
    ///
    /// # Errors
    /// [`CliError`](crate::error::CliError) of kind [`Exit::NotFound`](crate::error::Exit::NotFound) when it is not known.
    pub(crate) async fn queued(&self, id: &str) -> Result<Value> {
        self.get(&format!("/system/async/{}", encode(id)), &format!("invocation {id}")).await
    }

    /// Takes an asynchronous invocation out.
    ///
    /// # Errors
    /// [`CliError`](crate::error::CliError) of kind [`Exit::NotFound`](crate::error::Exit::NotFound) when it is not known.
    pub(crate) async fn cancel_queued(&self, id: &str) -> Result<Value> {
        self.bare(Method::DELETE, &format!("/system/async/{}", encode(id)), id).await
    }

    /// Has a dead letter run again.
    ///
    /// # Errors
    /// [`CliError`](crate::error::CliError) of kind [`Exit::NotFound`](crate::error::Exit::NotFound) when there is no such dead letter.
    pub(crate) async fn replay(&self, id: &str) -> Result<Value> {
        self.bare(Method::POST, &format!("/system/async/dead/{}/replay", encode(id)), id).await
    }

    async fn bare(&self, method: Method, path: &str, id: &str) -> Result<Value> {
        let request = self.client.request(method, path).body(RequestBody::empty())?;
        parse(&succeed(self.client.ask(request, ANSWER_LIMIT).await?, &format!("invocation {id}"))?)
    }
}

fn listing(function: Option<&str>, limit: usize) -> String {
    let limit = limit.to_string();
    query(function.map(|function| ("function", function)).into_iter().chain([("limit", limit.as_str())]))
}
