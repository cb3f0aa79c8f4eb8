//! The functions of a gateway elsewhere, as a scaler moves them.

use std::sync::Arc;
use std::time::Duration;

use bramble_provider::{FunctionName, ProviderError};
use bramble_scaler::target::wire::{
    ChangeDocument, ChangeKind, ChangedDocument, ExplanationDocument, LeaseDocument, ViewDocument,
};
use bramble_scaler::{Journal, Standing, Target, View};
use http::{Method, StatusCode, header};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::api::failure;
use crate::client::{Answer, Client, RequestBody};

/// Longest wait for an answer that the gateway gives from memory.
const LOOK_LIMIT: Duration = Duration::from_secs(10);

/// Longest wait for a change of replicas; shorter than the loop's own, so that the gateway is named.
const CHANGE_LIMIT: Duration = Duration::from_secs(50);

/// One gateway, and what this scaler calls itself there.
#[derive(Debug, Clone)]
pub(crate) struct RemoteTarget {
    client: Client,
    holder: String,
    journal: Arc<Journal>,
}

impl RemoteTarget {
    /// Nothing is sent yet. What the gateway asks about decisions is answered from `journal`.
    pub(crate) fn new(client: Client, journal: Arc<Journal>) -> Self {
        Self { client, holder: holder(), journal }
    }

    /// Gives the lease back, if this scaler has it, so that the next need not wait for its end.
    pub(crate) async fn give_back(&self) {
        let document = LeaseDocument { holder: self.holder.clone(), seconds: 0.0 };
        let given = self.send(Method::DELETE, "/system/scaler-lease", Some(&document), LOOK_LIMIT).await;
        if let Err(error) = given {
            tracing::debug!(%error, "the lease ends by itself");
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        document: Option<&impl Serialize>,
        limit: Duration,
    ) -> Result<Answer, ProviderError> {
        let body = match document {
            Some(document) => RequestBody::full(
                serde_json::to_vec(document)
                    .map_err(|error| ProviderError::internal("writing a request to the gateway", error))?,
            ),
            None => RequestBody::empty(),
        };
        let request = self.client.request(method, path).header(header::CONTENT_TYPE, "application/json");
        let request = request
            .body(body)
            .map_err(|error| ProviderError::internal("writing a request to the gateway", error))?;
        self.client.ask(request, limit).await.map_err(|error| unavailable(error.to_string()))
    }

    /// Tells the gateway why functions have the replicas they have.
    async fn explain(self, names: Vec<FunctionName>) {
        for name in names {
            // Of a function that is new there is nothing to tell.
            let Some(explained) = self.journal.explain(&name) else { continue };
            let told = match serde_json::to_value(explained) {
                Ok(explained) => {
                    let document = ExplanationDocument { holder: self.holder.clone(), name, explained };
                    let answer =
                        self.send(Method::PUT, "/system/scaler/explanation", Some(&document), LOOK_LIMIT);
                    answer.await.map(drop)
                }
                Err(error) => Err(ProviderError::internal("writing an explanation", error)),
            };
            if let Err(error) = told {
                tracing::debug!(%error, "could not tell the gateway why");
                return;
            }
        }
    }

    async fn change(&self, name: &FunctionName, change: ChangeKind) -> Result<bool, ProviderError> {
        let document = ChangeDocument::new(self.holder.clone(), name.clone(), change);
        let answer = self.send(Method::POST, "/system/scaler/changes", Some(&document), CHANGE_LIMIT).await?;
        Ok(read::<ChangedDocument>(&answer)?.changed)
    }
}

impl Target for RemoteTarget {
    async fn lead(&self, term: Duration) -> Result<Standing, ProviderError> {
        let document = LeaseDocument { holder: self.holder.clone(), seconds: term.as_secs_f64() };
        let answer = self.send(Method::PUT, "/system/scaler-lease", Some(&document), LOOK_LIMIT).await?;
        if answer.status == StatusCode::CONFLICT {
            return Ok(Standing::StandsBy { leader: leader(&answer) });
        }
        read::<LeaseDocument>(&answer).map(|_| Standing::Leads)
    }

    async fn observe(&self) -> Result<View, ProviderError> {
        let answer = self.send(Method::GET, "/system/scaler", None::<&()>, LOOK_LIMIT).await?;
        let mut view: ViewDocument = read(&answer)?;
        let questions = std::mem::take(&mut view.questions);
        if !questions.is_empty() {
            // Beside the tick, which waits for nobody who is curious.
            tokio::spawn(self.clone().explain(questions));
        }
        Ok(view.into())
    }

    async fn scale(&self, name: &FunctionName, from: u32, to: u32) -> Result<bool, ProviderError> {
        self.change(name, ChangeKind::Scale { from, to }).await
    }

    async fn freeze(&self, name: &FunctionName) -> Result<bool, ProviderError> {
        self.change(name, ChangeKind::Freeze).await
    }
}

/// A name that no other scaler has. In containers the host and the process may be the same for two of them.
fn holder() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let (process, own) = (std::process::id(), fastrand::u32(..));
    format!("`bramble scaler` on {} (process {process}, {own:08x})", host.trim())
}

/// Who leads, by the answer to one who does not.
fn leader(answer: &Answer) -> String {
    #[derive(Deserialize)]
    struct Body {
        error: Refusal,
    }
    #[derive(Deserialize)]
    struct Refusal {
        leader: String,
    }
    serde_json::from_slice::<Body>(&answer.body).map_or_else(
        |_| failure(answer.status, &answer.body, answer.shown.as_ref(), "the lease").to_string(),
        |body| body.error.leader,
    )
}

/// The document of a successful answer.
fn read<T: DeserializeOwned>(answer: &Answer) -> Result<T, ProviderError> {
    if !answer.status.is_success() {
        let failure = failure(answer.status, &answer.body, answer.shown.as_ref(), "the scaler's request");
        return Err(unavailable(failure.to_string()));
    }
    serde_json::from_slice(&answer.body).map_err(|error| {
        unavailable(format!("its answer is not understood ({error}); is it a Bramble gateway?"))
    })
}

fn unavailable(reason: String) -> ProviderError {
    ProviderError::Unavailable { provider: "the gateway", reason, retry_after: Duration::from_secs(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_scalers_of_one_process_number_have_two_names() {
        assert_ne!(holder(), holder());
    }

    #[test]
    fn the_leader_is_named_and_not_what_is_said_of_it() {
        let answer =
            |body: &'static str| Answer { status: StatusCode::CONFLICT, body: body.into(), shown: None };
        let ours = r#"{"error":{"code":"scaler_lease_held","message":"a scales; stop it","leader":"a"}}"#;
        assert_eq!(leader(&answer(ours)), "a");
        assert_eq!(leader(&answer(r#"{"error":{"code":"x","message":"stop it"}}"#)), "stop it");
    }
}
