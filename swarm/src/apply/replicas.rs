//! The number of a service's replicas, which must not make the Swarm forget a revision that works.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bollard::models::Service;
use bollard::query_parameters::UpdateServiceOptionsBuilder;
use bramble_provider::ProviderError;

use super::found::{is_updating, replicas, version};
use super::{MAX_TRIES, contended};
use crate::core::Core;
use crate::docker::DockerError;
use crate::function::Function;
use crate::service::{self, REFUSED_LABEL};

/// Longest that a change of the number of replicas waits for an update to end.
const UPDATE_AT_MOST: Duration = Duration::from_secs(60);
/// Between two looks whether it has.
const UPDATE_LOOK: Duration = Duration::from_millis(300);

impl Core {
    /// Sets the number of a service's replicas, and what is wanted of the function.
    ///
    /// # Errors
    /// [`ProviderError::Unavailable`], [`ProviderError::UnknownFunction`] when the service is gone.
    pub(crate) async fn set_replicas(
        self: &Arc<Self>,
        function: &Arc<Function>,
        desired: u32,
    ) -> Result<(), ProviderError> {
        let _alone = function.writing.lock().await;
        let found = self.existing(function).await?;
        // The Swarm remembers one spec, the one before the last change, and goes back to that when an
        // update fails. A change of the number now would make it forget the revision that works.
        if desired > 0 && replicas(&found).is_some_and(|now| now > 0) && is_updating(function, &found) {
            self.set_replicas_later(function);
        } else {
            self.set_found_replicas(function, desired, Some(found)).await?;
        }
        function.wanted.lock().desired = desired;
        Ok(())
    }

    /// Makes the number of replicas what is wanted as soon as the Swarm is done with an update, or
    /// after [`UPDATE_AT_MOST`]: an update that no node can take never ends.
    pub(crate) fn set_replicas_later(self: &Arc<Self>, function: &Arc<Function>) {
        if function.counting.swap(true, Ordering::AcqRel) {
            return;
        }
        let (core, function) = (Arc::clone(self), Arc::clone(function));
        tokio::spawn(async move {
            let until = Instant::now() + UPDATE_AT_MOST;
            while Instant::now() < until {
                tokio::time::sleep(UPDATE_LOOK).await;
                match core.existing(&function).await {
                    Ok(found) if is_updating(&function, &found) => {}
                    _ => break,
                }
            }
            function.counting.store(false, Ordering::Release);
            let _alone = function.writing.lock().await;
            let desired = function.desired();
            if let Err(error) = core.set_found_replicas(&function, desired, None).await {
                tracing::warn!(function = %function.name, %error, "cannot set the number of replicas after an update");
            }
        });
    }

    /// Makes the Swarm end the tasks that it forgot, as may happen where an update fails and goes back: it counts the
    /// tasks of a service whenever that is written.
    pub(crate) async fn end_forgotten(&self, function: &Function) {
        let _alone = function.writing.lock().await;
        let written = async {
            let found = self.existing(function).await?;
            if is_updating(function, &found) {
                return Ok(());
            }
            tracing::info!(function = %function.name, "a task that the Swarm no longer needs still runs; having it count again");
            self.write_replicas(function, found, function.desired()).await.map_err(ProviderError::from)
        };
        if let Err(error) = written.await {
            tracing::warn!(function = %function.name, %error, "cannot end a task that the Swarm forgot");
        }
    }

    pub(super) async fn set_found_replicas(
        &self,
        function: &Function,
        desired: u32,
        mut found: Option<Service>,
    ) -> Result<(), ProviderError> {
        for _ in 0..MAX_TRIES {
            let found = match found.take() {
                Some(found) => found,
                None => self.existing(function).await?,
            };
            if replicas(&found) == Some(desired.into()) {
                return Ok(());
            }
            match self.write_replicas(function, found, desired).await {
                Ok(()) => return Ok(()),
                Err(DockerError::OutOfSequence(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(contended(&function.name))
    }

    pub(super) async fn write_replicas(
        &self,
        function: &Function,
        found: Service,
        desired: u32,
    ) -> Result<(), DockerError> {
        let service = &function.service;
        let options = UpdateServiceOptionsBuilder::default().version(version(&found)).build();
        let Some(mut spec) = found.spec else {
            return Err(DockerError::Unreachable(format!("Docker told nothing of service {service}")));
        };
        spec.mode = Some(service::replicated(desired));
        // With this write the Swarm forgets that it went back.
        let labels = spec.labels.get_or_insert_default();
        match function.trouble.rollback() {
            Some(_) => {
                labels.insert(REFUSED_LABEL.to_owned(), service::revision(&function.wanted.lock().spec))
            }
            None => labels.remove(REFUSED_LABEL),
        };
        // Without credentials Swarm keeps those that the service was made with.
        let updated = Box::pin(self.docker.client().update_service(service, spec, options, None));
        self.docker.change(updated).await.map(drop)
    }
}
