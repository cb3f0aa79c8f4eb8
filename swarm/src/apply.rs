//! Making the Swarm's services what is wanted.
//!
//! The properties that must hold: one writer for each service at a time; a service without our label
//! is never changed; what somebody else changed in between is read again before it is written.

mod found;
mod heal;
mod replicas;

use std::time::Duration;

use bollard::models::Service;
use bollard::query_parameters::{InspectServiceOptions, UpdateServiceOptionsBuilder};
use bramble_provider::{Code, FunctionName, FunctionSpec, ProviderError};

use self::found::{Unlike, image_of, is_unproven, label, replicas, unlike, version, was_rolled_back};
pub(crate) use self::found::{is_rolled_back, update_state};
use crate::FUNCTION_LABEL;
use crate::core::Core;
use crate::docker::DockerError;
use crate::function::{Function, Wanted};
use crate::image::{self, Pinned};
use crate::secret;
use crate::service::{self, Parts, REFUSED_LABEL, SPEC_LABEL};

/// Most tries when the service changes under our hands. The Swarm itself writes to it after a change.
const MAX_TRIES: u32 = 10;

/// Which image a service is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Image {
    /// What the spec's reference means now: for a deployment.
    Latest,
    /// What it meant when it was deployed, if the service is still there and no other one is asked for: neither a
    /// restart nor another value of a secret brings another image.
    AsItIs,
}

impl Core {
    /// Creates or updates the service of a function to be what is wanted from now on. Idempotent.
    ///
    /// # Errors
    /// [`ProviderError::InvalidSpec`], [`ProviderError::UnknownSecret`], [`ProviderError::Unavailable`].
    pub(crate) async fn apply(&self, function: &Function, wanted: Wanted) -> Result<(), ProviderError> {
        let _alone = function.writing.lock().await;
        // Boxed: what is sent to Docker is large, and nobody else should carry the room for it.
        Box::pin(self.write_service(function, &wanted, Image::Latest)).await?;
        function.is_as(wanted);
        Ok(())
    }

    /// Makes the service be what is wanted of the function already. Nothing, when that was removed.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub(crate) async fn restore(&self, function: &Function) -> Result<(), ProviderError> {
        let _alone = function.writing.lock().await;
        if !self.knows(function) {
            return Ok(());
        }
        // Now, as whoever wrote before may have changed it.
        let wanted = function.wanted.lock().clone();
        if !function.is_anew() {
            return Box::pin(self.write_service(function, &wanted, Image::AsItIs)).await;
        }
        // It was asked for while Docker was away.
        Box::pin(self.write_service(function, &wanted, Image::Latest)).await?;
        function.made_anew(&wanted);
        Ok(())
    }

    /// Whether the function was neither removed nor deployed anew since it was looked up.
    fn knows(&self, function: &Function) -> bool {
        self.functions.get(&function.name).is_some_and(|known| std::ptr::eq(&**known, function))
    }

    /// The image that a spec names, as it is now.
    ///
    /// # Errors
    /// [`ProviderError::InvalidSpec`], [`ProviderError::Unavailable`].
    pub(crate) async fn pin(&self, spec: &FunctionSpec) -> Result<Pinned, ProviderError> {
        image::pin(&self.docker, image_named(spec)?, &self.auth).await
    }

    /// An image that was pinned before, with the credentials of now.
    async fn pin_again(&self, spec: &FunctionSpec, reference: String) -> Result<Pinned, ProviderError> {
        let credentials = self.auth.for_image(image_named(spec)?).await;
        // An image of this machine alone is named by its id, which no registry knows.
        let credentials = credentials.filter(|_| reference.contains('@'));
        Ok(Pinned { reference, credentials })
    }

    /// Makes the service of a function have the values that its secrets have now. Nothing, when it was removed or is
    /// about to be deployed, which gives it these values too.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub(crate) async fn rotate(&self, function: &Function) -> Result<(), ProviderError> {
        let _alone = function.writing.lock().await;
        if !self.knows(function) || function.is_anew() {
            return Ok(());
        }
        self.available().await?;
        let wanted = function.wanted.lock().clone();
        Box::pin(self.write_service(function, &wanted, Image::AsItIs)).await
    }

    /// The caller is the service's only writer.
    async fn write_service(
        &self,
        function: &Function,
        wanted: &Wanted,
        choice: Image,
    ) -> Result<(), ProviderError> {
        let spec = &*wanted.spec;
        image_named(spec)?;
        let found = match choice {
            Image::AsItIs => self.find(function).await?,
            Image::Latest => None,
        };
        let secrets = secret::provide(&self.docker, &self.config.secrets_dir, spec).await?;
        let mut kept = None;
        if let Some(found) = found
            && let Some(reference) = image_of(&found)
        {
            let parts = Parts { image: reference, secrets: &secrets, network: self.network_name() };
            let unlike = unlike(&found, spec, &parts);
            let was_refused = unlike != Unlike::Nothing && was_rolled_back(&found, spec);
            if was_refused {
                function.trouble.rolled_back_somehow();
            }
            if unlike == Unlike::Nothing || was_refused {
                self.begins(&function.name).await?;
                return self.set_found_replicas(function, wanted.desired, Some(found)).await;
            }
            kept = (unlike == Unlike::Secrets).then(|| reference.to_owned());
        }
        let Pinned { reference, credentials } = match kept {
            Some(reference) => self.pin_again(spec, reference).await?,
            None => self.pin(spec).await?,
        };
        let parts = Parts { image: &reference, secrets: &secrets, network: self.network_name() };
        let next = service::service(spec, wanted.desired, &parts)?;
        let fingerprint = service::fingerprint(spec, &parts);
        self.begins(&function.name).await?;
        let mut went_back = false;
        for _ in 0..MAX_TRIES {
            let done = match self.find(function).await? {
                None => {
                    let created =
                        Box::pin(self.docker.client().create_service(next.clone(), credentials.clone()));
                    let created = self.docker.change(created).await;
                    created.map(|created| function.runs_as(&created.id.unwrap_or_default()))
                }
                Some(found) if label(&found, SPEC_LABEL) == Some(&fingerprint) => {
                    function.trouble.forget_rollback();
                    // What it went back to is what is wanted now. While the Swarm remembers that it went back, a
                    // secret's next value would be taken for what was refused.
                    let forgotten = !was_rolled_back(&found, spec);
                    if forgotten && replicas(&found) == Some(wanted.desired.into()) {
                        return Ok(());
                    }
                    self.write_replicas(function, found, wanted.desired).await
                }
                // The Swarm can go back by one write only. The revision of that write is not known to
                // work yet, so the one before it is put back to be what the next can go back to.
                Some(found) if is_unproven(function, &found) && !went_back => {
                    went_back = true;
                    match self.write_previous(function, &found, wanted.desired, None).await {
                        Ok(_) => continue,
                        Err(error) => Err(error),
                    }
                }
                Some(found) => {
                    let options = UpdateServiceOptionsBuilder::default().version(version(&found)).build();
                    let updated = Box::pin(self.docker.client().update_service(
                        &function.service,
                        next.clone(),
                        options,
                        credentials.clone(),
                    ));
                    function.trouble.begin_update();
                    self.docker.change(updated).await.map(drop)
                }
            };
            match done {
                Ok(()) => return Ok(()),
                // Made by somebody else between our look and our write, or changed.
                Err(DockerError::OutOfSequence(_) | DockerError::Refused { status: 409, .. }) => {}
                Err(error) => return Err(refused(error)),
            }
        }
        Err(contended(&function.name))
    }

    /// Removes the service of a function. Nothing to do when there is none.
    ///
    /// # Errors
    /// [`ProviderError::Unavailable`].
    pub(crate) async fn delete(&self, name: &FunctionName, function: &Function) -> Result<(), ProviderError> {
        let _alone = function.writing.lock().await;
        let found = match self.find(function).await {
            Ok(found) => found,
            // Not ours, so not ours to remove.
            Err(ProviderError::InvalidSpec { .. }) => None,
            Err(error) => return Err(error),
        };
        if found.is_some() {
            tracing::debug!(function = %name, "removing the service");
            match self.docker.change(self.docker.client().delete_service(&function.service)).await {
                Ok(()) | Err(DockerError::NotFound(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.ended(name).await;
        Ok(())
    }

    /// The function's service, if it is there and ours.
    pub(crate) async fn find(&self, function: &Function) -> Result<Option<Service>, ProviderError> {
        let inspected =
            self.docker.client().inspect_service(&function.service, None::<InspectServiceOptions>);
        match self.docker.ask(inspected).await {
            Ok(found) if label(&found, FUNCTION_LABEL) == Some(function.name.as_str()) => {
                function.runs_as(found.id.as_deref().unwrap_or_default());
                Ok(Some(found))
            }
            Ok(_) => Err(invalid(
                "service",
                format!(
                    "there is a Swarm service {:?} that is not Bramble's; remove it or take another name",
                    function.service
                ),
            )),
            Err(DockerError::NotFound(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The function's service, which must be there.
    async fn existing(&self, function: &Function) -> Result<Service, ProviderError> {
        let found = self.find(function).await?;
        found.ok_or_else(|| ProviderError::UnknownFunction(function.name.clone()))
    }

    /// Makes a service run the revision before the last one again, and not the wanted one, even after a
    /// restart; false when that is not known any more. The caller is its only writer.
    ///
    /// # Errors
    /// [`ProviderError::Unavailable`], [`ProviderError::UnknownFunction`] when the service is gone.
    pub(crate) async fn go_back(&self, function: &Function, desired: u32) -> Result<bool, ProviderError> {
        let found = self.existing(function).await?;
        let refused = service::revision(&function.wanted.lock().spec);
        Ok(self.write_previous(function, &found, desired, Some(refused)).await?)
    }

    async fn write_previous(
        &self,
        function: &Function,
        found: &Service,
        desired: u32,
        refused: Option<String>,
    ) -> Result<bool, DockerError> {
        let service = &function.service;
        let Some(mut previous) = self.docker.previous_spec(service).await? else { return Ok(false) };
        let labels = previous.labels.get_or_insert_default();
        // Perhaps only the number of replicas was another.
        if labels.get(SPEC_LABEL).map(String::as_str) == label(found, SPEC_LABEL) {
            return Ok(false);
        }
        match refused {
            Some(revision) => labels.insert(REFUSED_LABEL.to_owned(), revision),
            None => labels.remove(REFUSED_LABEL),
        };
        previous.mode = Some(service::replicated(desired));
        let options = UpdateServiceOptionsBuilder::default().version(version(found)).build();
        let written = Box::pin(self.docker.client().update_service(service, previous, options, None));
        self.docker.change(written).await.map(|_| true)
    }
}

/// The reference of the image that a function is to run.
fn image_named(spec: &FunctionSpec) -> Result<&str, ProviderError> {
    match &spec.code {
        Code::Image(image) | Code::Hybrid { image, .. } => Ok(image),
        Code::Module(_) => Err(invalid("image", "is a wasm module, not an image".to_owned())),
    }
}

/// Swarm names no field; its words do.
fn refused(error: DockerError) -> ProviderError {
    let text = error.to_string();
    let field = if text.contains("constraint") || text.contains("placement") {
        "constraints"
    } else if text.contains("memory") || text.contains("cpu") || text.contains("CPU") {
        "limits"
    } else if text.contains("image") || text.contains("reference") {
        "image"
    } else {
        "service"
    };
    error.about(field)
}

fn contended(name: &FunctionName) -> ProviderError {
    ProviderError::Unavailable {
        provider: "Docker Swarm",
        reason: format!("the service of {name} is being changed by others; try again"),
        retry_after: Duration::from_secs(1),
    }
}

fn invalid(field: &str, reason: String) -> ProviderError {
    ProviderError::InvalidSpec { field: field.to_owned(), reason }
}
