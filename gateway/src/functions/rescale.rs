//! Scaling from a number that was observed: what a scaler decides is old by the time it is applied.

use bramble_provider::{FunctionName, ProviderError};

use super::{Function, Functions, Inner};
use crate::error::GatewayError;
use crate::store::Keep;

impl Functions {
    /// Moves desired replicas from `from` to `to`, and answers whether it did: not when they are no
    /// longer `from`, nor to 0 while an invocation is inflight, of a hybrid in a container.
    ///
    /// # Errors
    /// As [`Functions::scale`].
    pub async fn rescale(&self, name: &FunctionName, from: u32, to: u32) -> Result<bool, GatewayError> {
        let (inner, name) = (self.0.clone(), name.clone());
        self.write(async move { inner.rescale(&name, from, to).await.map_err(Into::into) }).await
    }
}

impl Inner {
    /// Invocations on what is scaled, or on their way there: of a hybrid its containers, as its module needs no replica.
    pub(super) fn on_replicas(&self, function: &Function) -> u32 {
        match function.hybrid() {
            None => function.inflight(),
            Some(hybrid) => hybrid.sent().max(self.providers.in_containers(&function.spec.name)),
        }
    }

    async fn rescale(&self, name: &FunctionName, from: u32, to: u32) -> Result<bool, ProviderError> {
        let _turn = self.order.turn(name).await?;
        let current = self.get(name.as_str()).ok_or_else(|| ProviderError::UnknownFunction(name.clone()))?;
        if current.desired() != from || (to == 0 && self.on_replicas(&current) > 0) {
            return Ok(false);
        }
        // Up is urgent, and decided again after a crash; what goes down has time, and makes both last.
        let keep = if to > from { Keep::Lazily } else { Keep::Durably };
        self.set_desired(&current, to, keep).await?;
        // An invocation counts itself and then looks for replicas; here it is the other way round, so
        // one of the two sees the other. One that saw the old number waits at a pool of none.
        if to == 0 && self.on_replicas(&current) > 0 {
            self.set_desired(&current, from, Keep::Lazily).await?;
            return Ok(false);
        }
        Ok(true)
    }
}
