//! Why a provider did not do what it was asked.

use std::time::Duration;

use crate::digest::Digest;
use crate::name::{FunctionName, SecretName};

/// Why a deployment, a scale call or an invocation failed: one variant per decision a caller can take.
///
/// The gateway turns each into one status, in one place. Messages are safe to show to a client.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// The spec cannot be run; the client must change it (400).
    #[error("{field}: {reason}")]
    InvalidSpec {
        /// The field, as the wire names it: `limits.memory`, `envVars.exec_timeout`.
        field: String,
        /// What is wrong, with the value.
        reason: String,
    },
    /// The bytes are no function this runtime can run (400).
    #[error("{0}")]
    InvalidModule(String),
    /// A module is larger than the limit (413).
    #[error("the module is larger than {limit_bytes} bytes; raise --max-module-size or build a smaller one")]
    ModuleTooLarge {
        /// The limit, in bytes.
        limit_bytes: u64,
    },
    /// No function of this name is deployed here (404).
    #[error("function {0} is not deployed")]
    UnknownFunction(FunctionName),
    /// No module of this digest is stored here (404, or 400 in a spec).
    #[error("module {0} is not stored here; upload it with PUT /system/modules")]
    UnknownModule(Digest),
    /// A secret that the spec names does not exist (400).
    #[error("secret not found: {name}; possible choices: {choices}")]
    UnknownSecret {
        /// The missing secret.
        name: SecretName,
        /// The secrets there are, separated by commas.
        choices: String,
    },
    /// The module is still used by a function (409).
    #[error("module {digest} is used by function {function}; remove the function first")]
    ModuleInUse {
        /// The module.
        digest: Digest,
        /// One function that uses it.
        function: FunctionName,
    },
    /// All replicas are busy and the queue is full, or the wait in it was too long (429).
    #[error("function {name} is saturated: {inflight} inflight, {queued} queued; try again later")]
    Saturated {
        /// The function.
        name: FunctionName,
        /// Invocations it was running.
        inflight: u32,
        /// Invocations that were waiting.
        queued: u32,
        /// When a retry is likely to be accepted.
        retry_after: Duration,
    },
    /// The function ran and failed: a non-zero exit, a trap, no memory left (500).
    #[error("function {name} failed: {reason}")]
    FunctionFailed {
        /// The function.
        name: FunctionName,
        /// What happened, in words for the function's author: `exit status 3`.
        reason: String,
    },
    /// The function answered what cannot be turned into a response (502).
    #[error("function {name} gave an invalid response: {reason}")]
    InvalidResponse {
        /// The function.
        name: FunctionName,
        /// What was wrong with it.
        reason: String,
    },
    /// The invocation ran out of time (504).
    #[error(
        "function {name} did not finish within {timeout:?}; raise exec_timeout in its environment if it needs longer"
    )]
    TimedOut {
        /// The function.
        name: FunctionName,
        /// The limit that was reached.
        timeout: Duration,
    },
    /// No replica came up, and the reason is known (503): a missing image, a program that ends at once.
    #[error("function {name} does not start: {reason}")]
    StartFailed {
        /// The function.
        name: FunctionName,
        /// What the runtime said of the replica.
        reason: String,
        /// When a retry may find another outcome.
        retry_after: Duration,
    },
    /// No replica was able to take the invocation in time (504).
    #[error("no replica of function {name} was ready within {timeout:?}: {reason}")]
    StartTimedOut {
        /// The function.
        name: FunctionName,
        /// How long was waited.
        timeout: Duration,
        /// How far the replicas had come.
        reason: String,
    },
    /// Nothing runs this kind of function at the moment (503).
    #[error("{provider} is not available: {reason}")]
    Unavailable {
        /// What is missing.
        provider: &'static str,
        /// Why, and what to do about it.
        reason: String,
        /// When a retry may succeed.
        retry_after: Duration,
    },
    /// The host is out of something it needs to keep a promise, such as disk space (507).
    #[error("{0}")]
    OutOfStorage(String),
    /// A bug or a fault of the host, not of the client or the function (500).
    #[error("internal error: {context}")]
    Internal {
        /// What was being done.
        context: String,
        /// The cause, for the log.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ProviderError {
    /// Wraps a fault of the host with what was being done.
    pub fn internal(
        context: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Internal { context: context.into(), source: source.into() }
    }
}
