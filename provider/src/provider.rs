//! The seam: what the scaler sees, and what the gateway drives.

use std::future::Future;

use crate::body::Body;
use crate::error::ProviderError;
use crate::invoke::Invocation;
use crate::log::{LogLine, LogQuery};
use crate::name::FunctionName;
use crate::spec::FunctionSpec;
use crate::status::{FunctionStatus, Replicas};

/// Moves replicas. All that the scaler knows of a provider.
pub trait Scale: Send + Sync {
    /// The replicas of a function, now.
    ///
    /// Called once per function and tick. Does not wait for the runtime longer than its deadline.
    ///
    /// # Errors
    /// [`ProviderError::UnknownFunction`], [`ProviderError::Unavailable`].
    fn replicas(&self, name: &FunctionName) -> impl Future<Output = Result<Replicas, ProviderError>> + Send;

    /// Sets how many replicas are desired; 0 frees what the function holds while it is idle.
    ///
    /// Idempotent. Returns when the change is accepted, not when replicas are available. Running
    /// invocations are not cut short by fewer replicas.
    ///
    /// # Errors
    /// [`ProviderError::UnknownFunction`], [`ProviderError::Unavailable`].
    fn scale(
        &self,
        name: &FunctionName,
        desired: u32,
    ) -> impl Future<Output = Result<(), ProviderError>> + Send;

    /// Pauses the replicas on which nothing runs, and answers how many it paused.
    ///
    /// They keep their memory and use no CPU; an invocation that finds no other wakes one. What costs
    /// nothing while it is idle, as a wasm slot, is not paused: then this answers 0.
    ///
    /// # Errors
    /// [`ProviderError::UnknownFunction`], [`ProviderError::Unavailable`].
    fn freeze(&self, name: &FunctionName) -> impl Future<Output = Result<u32, ProviderError>> + Send;
}

/// Deploys and invokes functions of one runtime. All that the gateway knows of it.
///
/// Object-safe dispatch is not wanted: the gateway matches on the runtime, exhaustively.
pub trait Provider: Scale {
    /// The lines of a log, until the stream ends or is dropped.
    type Logs: LogStream;

    /// Makes `spec` what runs under its name, with `desired` replicas.
    ///
    /// Idempotent: the same spec again changes nothing. Another spec replaces the running revision
    /// without failing a request: invocations that began on the old one finish on it. Slow (it may
    /// compile or start replicas), so it is called off the request path; dropping the future leaves
    /// either the old or the new revision, never none.
    ///
    /// # Errors
    /// [`ProviderError::InvalidSpec`], [`ProviderError::InvalidModule`], [`ProviderError::UnknownModule`],
    /// [`ProviderError::UnknownSecret`], [`ProviderError::Unavailable`], [`ProviderError::OutOfStorage`].
    fn deploy(
        &self,
        spec: &FunctionSpec,
        desired: u32,
    ) -> impl Future<Output = Result<(), ProviderError>> + Send;

    /// Takes a function away. New invocations get [`ProviderError::UnknownFunction`] at once; running
    /// ones finish. Idempotent: removing what is not there succeeds.
    ///
    /// # Errors
    /// [`ProviderError::Unavailable`].
    fn remove(&self, name: &FunctionName) -> impl Future<Output = Result<(), ProviderError>> + Send;

    /// How a function is.
    ///
    /// # Errors
    /// [`ProviderError::UnknownFunction`], [`ProviderError::Unavailable`].
    fn status(
        &self,
        name: &FunctionName,
    ) -> impl Future<Output = Result<FunctionStatus, ProviderError>> + Send;

    /// The functions that are deployed here, in no order.
    ///
    /// # Errors
    /// [`ProviderError::Unavailable`].
    fn list(&self) -> impl Future<Output = Result<Vec<FunctionName>, ProviderError>> + Send;

    /// Runs one invocation. The hot path: it must not block the thread.
    ///
    /// Resolves with the response's head as soon as that is certain; the body may still be in the
    /// making. Dropping the future, or later the body, cancels the invocation and frees its slot.
    ///
    /// # Errors
    /// [`ProviderError::UnknownFunction`], [`ProviderError::Saturated`], [`ProviderError::FunctionFailed`],
    /// [`ProviderError::InvalidResponse`], [`ProviderError::TimedOut`], [`ProviderError::Unavailable`].
    fn invoke(
        &self,
        name: &FunctionName,
        invocation: Invocation,
    ) -> impl Future<Output = Result<http::Response<Body>, ProviderError>> + Send;

    /// The log of a function.
    ///
    /// # Errors
    /// [`ProviderError::UnknownFunction`], [`ProviderError::Unavailable`].
    fn logs(
        &self,
        name: &FunctionName,
        query: LogQuery,
    ) -> impl Future<Output = Result<Self::Logs, ProviderError>> + Send;
}

/// Lines of a log, one after another.
pub trait LogStream: Send + 'static {
    /// The next line; `None` when there will be no more. Waits only when following.
    fn next(&mut self) -> impl Future<Output = Option<LogLine>> + Send;
}
