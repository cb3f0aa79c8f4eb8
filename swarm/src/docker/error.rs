//! What a daemon's refusals and silences mean.

use std::io;
use std::time::Duration;

use bollard::errors::Error;
use bramble_provider::ProviderError;

/// When to ask again for a daemon that does not answer.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Why a call to a daemon gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DockerError {
    /// There is no such thing (404).
    #[error("{0}")]
    NotFound(String),
    /// Somebody else changed the service since it was read.
    #[error("{0}")]
    OutOfSequence(String),
    /// The daemon understood and refused.
    #[error("{message}")]
    Refused {
        /// HTTP status of its answer.
        status: u16,
        /// What it said.
        message: String,
    },
    /// The daemon is no Swarm manager.
    #[error("{0}")]
    NoManager(String),
    /// Nobody answers, or not in time.
    #[error("{0}")]
    Unreachable(String),
}

impl DockerError {
    pub(super) fn new(error: Error, host: &str) -> Self {
        match error {
            Error::DockerResponseServerError { status_code, message } => Self::answered(status_code, message),
            other => Self::Unreachable(unreachable(&other, host)),
        }
    }

    pub(super) fn answered(status: u16, message: String) -> Self {
        let message = message.trim().trim_start_matches("rpc error: ").to_owned();
        match status {
            404 => Self::NotFound(message),
            // Swarm's own name for a conflict of versions; the status is 500.
            _ if message.contains("update out of sequence") => Self::OutOfSequence(message),
            503 if message.contains("swarm manager") => Self::NoManager(no_manager(&message)),
            503 => Self::Unreachable(message),
            _ if message.contains("DeadlineExceeded") => Self::Unreachable(format!(
                "the Swarm has no leader at the moment ({message}); most of its managers must be up"
            )),
            status => Self::Refused { status, message },
        }
    }

    pub(super) fn timed_out(after: Duration, host: &str) -> Self {
        Self::Unreachable(format!("Docker at {host} did not answer within {after:?}"))
    }

    /// What a caller of the provider is told when `field` of the spec was what the daemon refused.
    pub(crate) fn about(self, field: &str) -> ProviderError {
        match self {
            Self::Refused { message, .. } | Self::NotFound(message) => {
                ProviderError::InvalidSpec { field: field.to_owned(), reason: message }
            }
            other => other.into(),
        }
    }
}

impl From<DockerError> for ProviderError {
    fn from(error: DockerError) -> Self {
        Self::Unavailable { provider: "Docker Swarm", reason: error.to_string(), retry_after: RETRY_AFTER }
    }
}

fn no_manager(message: &str) -> String {
    if message.contains("not a swarm manager") && message.contains("swarm init") {
        "Docker is not in Swarm mode: type `docker swarm init` (or start with `bramble up --swarm-init`), \
         or join it to a Swarm with `docker swarm join`"
            .to_owned()
    } else {
        format!("this Docker daemon is no Swarm manager ({message}); name one with DOCKER_HOST")
    }
}

fn unreachable(error: &Error, host: &str) -> String {
    let mut source: Option<&(dyn std::error::Error + 'static)> = match error {
        // Its source is that of the error in it.
        Error::IOError { err } => Some(err),
        other => Some(other),
    };
    while let Some(cause) = source {
        if let Some(cause) = cause.downcast_ref::<io::Error>() {
            match cause.kind() {
                io::ErrorKind::NotFound => {
                    return format!(
                        "there is no Docker at {host}; install it and start it, or set DOCKER_HOST"
                    );
                }
                io::ErrorKind::ConnectionRefused => {
                    return format!("Docker does not run at {host}; start it");
                }
                io::ErrorKind::PermissionDenied => {
                    return format!(
                        "no permission to use Docker at {host}: add this user to the group `docker` and log in again"
                    );
                }
                io::ErrorKind::TimedOut => return format!("Docker at {host} does not take connections"),
                _ => {}
            }
        }
        source = cause.source();
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    format!("Docker at {host} gave no usable answer: {text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_said_is_told_with_the_way_out() {
        for (kind, way_out) in [
            (io::ErrorKind::NotFound, "set DOCKER_HOST"),
            (io::ErrorKind::ConnectionRefused, "start it"),
            (io::ErrorKind::PermissionDenied, "group `docker`"),
        ] {
            let text = unreachable(&Error::from(io::Error::from(kind)), "unix:///x");
            assert!(text.contains(way_out) && text.contains("unix:///x"), "{text}");
        }
    }
}
