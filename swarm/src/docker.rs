//! The Docker daemon: where it is, how it is asked, and what its errors mean.
//!
//! bollard speaks the API. The transport below it is ours: one connection for each call, over a
//! socket, TCP or TLS, and it mends the one header that bollard 0.21 encodes so that daemons ignore it.

mod error;
mod host;
mod raw;
mod transport;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bollard::models::SwarmInitRequest;
use bollard::{API_DEFAULT_VERSION, Docker as Bollard};

pub(crate) use error::DockerError;
pub use host::{DockerHost, InvalidDockerHost, TlsFiles};
pub(crate) use raw::{RawTask, TaskState};

use transport::Transport;

/// Longest wait for an answer to a question.
const READ_DEADLINE: Duration = Duration::from_secs(5);
/// Longest wait for a change to be accepted. A manager that looks for a new leader takes up to 13 s.
const WRITE_DEADLINE: Duration = Duration::from_secs(15);
/// What bollard is told to wait at most; our own deadlines are shorter.
const CLIENT_TIMEOUT_SECONDS: u64 = 120;

/// One daemon. Cloning copies pointers.
#[derive(Clone)]
pub(crate) struct Docker {
    client: Bollard,
    transport: Arc<Transport>,
}

impl Docker {
    /// Prepares the way to a daemon; nothing is sent yet.
    ///
    /// # Errors
    /// A text that names the certificate or key that cannot be used.
    pub(crate) fn new(host: &DockerHost) -> Result<Self, String> {
        let transport = Arc::new(Transport::new(host)?);
        let own = Arc::clone(&transport);
        let client = Bollard::connect_with_custom_transport(
            move |request| {
                let transport = Arc::clone(&own);
                async move { transport.request(request).await }
            },
            Some("http://docker"),
            CLIENT_TIMEOUT_SECONDS,
            API_DEFAULT_VERSION,
        );
        let client = client.map_err(|error| format!("cannot make a Docker client: {error}"))?;
        Ok(Self { client, transport })
    }

    /// Bollard's calls. Go through [`Self::ask`] or [`Self::change`] with them.
    pub(crate) fn client(&self) -> &Bollard {
        &self.client
    }

    /// Waits for the answer to a question, within its deadline.
    ///
    /// # Errors
    /// [`DockerError`]
    pub(crate) async fn ask<T>(
        &self,
        answer: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<T, DockerError> {
        self.within(READ_DEADLINE, answer).await
    }

    /// Waits for a change to be accepted, within its deadline.
    ///
    /// # Errors
    /// [`DockerError`]
    pub(crate) async fn change<T>(
        &self,
        answer: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<T, DockerError> {
        self.within(WRITE_DEADLINE, answer).await
    }

    async fn within<T>(
        &self,
        deadline: Duration,
        answer: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<T, DockerError> {
        match tokio::time::timeout(deadline, answer).await {
            Ok(answer) => answer.map_err(|error| DockerError::new(error, self.transport.host())),
            Err(_) => Err(DockerError::timed_out(deadline, self.transport.host())),
        }
    }

    /// Where it is, for messages.
    pub(crate) fn host(&self) -> &str {
        self.transport.host()
    }

    /// Whether the daemon may run on this machine.
    pub(crate) fn may_be_local(&self) -> bool {
        self.transport.may_be_local()
    }

    /// Whether the daemon certainly runs on this machine.
    pub(crate) fn is_local(&self) -> bool {
        self.transport.is_local()
    }
}

impl fmt::Debug for Docker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Docker").field("host", &self.host()).finish_non_exhaustive()
    }
}

/// Puts a daemon into Swarm mode, unless it is already: what `docker swarm init` does.
///
/// # Errors
/// What the daemon said, and where it was asked.
pub async fn init_swarm(host: &DockerHost, advertise: Option<&str>) -> Result<(), String> {
    let docker = Docker::new(host)?;
    let info = docker.ask(docker.client().info()).await.map_err(|error| error.to_string())?;
    let state = info.swarm.and_then(|swarm| swarm.local_node_state).map(|state| state.to_string());
    if state.as_deref() == Some("active") {
        return Ok(());
    }
    let request = SwarmInitRequest {
        listen_addr: Some("0.0.0.0:2377".to_owned()),
        advertise_addr: advertise.map(str::to_owned),
        ..SwarmInitRequest::default()
    };
    let done = docker.change(docker.client().init_swarm(request)).await;
    done.map(drop).map_err(|error| error.to_string())
}
