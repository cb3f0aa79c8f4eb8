//! Where a Docker daemon is, as `DOCKER_HOST` and its companions tell it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where Docker's own command line looks when nothing is said.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
/// The ports of a daemon on TCP, without and with TLS, as registered.
const PLAIN_PORT: u16 = 2375;
const TLS_PORT: u16 = 2376;

/// A daemon: a socket of this machine, or an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerHost {
    pub(super) endpoint: Endpoint,
    /// Certificates, when the daemon asks for TLS.
    pub(super) tls: Option<TlsFiles>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Endpoint {
    Socket(PathBuf),
    Tcp { host: String, port: u16 },
}

/// What `DOCKER_CERT_PATH` holds: `ca.pem`, `cert.pem` and `key.pem`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The directory.
    pub directory: PathBuf,
}

/// Text that names no daemon.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} {reason}")]
pub struct InvalidDockerHost {
    text: String,
    reason: &'static str,
}

impl InvalidDockerHost {
    /// What is wrong with the text, to be read after it.
    pub fn reason(&self) -> &'static str {
        self.reason
    }
}

impl DockerHost {
    /// The daemon of this machine, at its usual socket.
    pub fn local() -> Self {
        Self { endpoint: Endpoint::Socket(DEFAULT_SOCKET.into()), tls: None }
    }

    /// The same daemon over TLS, with these certificates. A socket needs none.
    #[must_use]
    pub fn with_tls(mut self, files: TlsFiles) -> Self {
        if let Endpoint::Tcp { port, .. } = &mut self.endpoint {
            if *port == 0 {
                *port = TLS_PORT;
            }
            self.tls = Some(files);
        }
        self
    }
}

impl FromStr for DockerHost {
    type Err = InvalidDockerHost;

    /// Parses `unix:///path/to/docker.sock` or `tcp://host[:port]`.
    fn from_str(text: &str) -> Result<Self, InvalidDockerHost> {
        let refuse = |reason| Err(InvalidDockerHost { text: text.to_owned(), reason });
        let endpoint = match text.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => Endpoint::Socket(path.into()),
            Some(("unix", _)) => return refuse("needs an absolute path, as in unix:///var/run/docker.sock"),
            Some(("tcp" | "http" | "https", address)) => {
                let address = address.trim_end_matches('/');
                match split_port(address) {
                    Some((host, port)) if !host.is_empty() => Endpoint::Tcp { host: host.to_owned(), port },
                    _ => return refuse("has no host, or a port that is no number"),
                }
            }
            Some(("ssh", _)) => {
                return refuse("is over ssh, which is not supported; use a socket, or tcp:// with TLS");
            }
            _ => return refuse("is neither unix:///path nor tcp://host:port"),
        };
        Ok(Self { endpoint, tls: None })
    }
}

/// Port 0 stands for the usual one.
fn split_port(address: &str) -> Option<(&str, u16)> {
    match address.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => {
            Some((host.trim_start_matches('[').trim_end_matches(']'), port.parse().ok()?))
        }
        _ => Some((address.trim_start_matches('[').trim_end_matches(']'), 0)),
    }
}

impl fmt::Display for DockerHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.endpoint {
            Endpoint::Socket(path) => write!(f, "unix://{}", path.display()),
            Endpoint::Tcp { host, port } => {
                write!(f, "tcp://{host}:{}", effective_port(*port, self.tls.is_some()))
            }
        }
    }
}

/// The port, when none was named the usual one.
pub(super) fn effective_port(port: u16, tls: bool) -> u16 {
    match port {
        0 if tls => TLS_PORT,
        0 => PLAIN_PORT,
        port => port,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sockets_and_addresses() {
        for (text, shown) in [
            ("unix:///run/docker.sock", "unix:///run/docker.sock"),
            ("tcp://10.0.0.1:2377", "tcp://10.0.0.1:2377"),
            ("tcp://manager", "tcp://manager:2375"),
            ("tcp://[::1]:99/", "tcp://::1:99"),
        ] {
            assert_eq!(text.parse::<DockerHost>().unwrap().to_string(), shown);
        }
        let tls: DockerHost = "tcp://manager".parse().unwrap();
        let tls = tls.with_tls(TlsFiles { directory: "/certs".into() });
        assert_eq!(tls.to_string(), "tcp://manager:2376");
    }

    #[test]
    fn refuses_what_names_no_daemon() {
        for text in
            ["", "docker.sock", "unix://docker.sock", "ssh://pi@node", "tcp://", "tcp://a:b", "npipe://x"]
        {
            let refusal = text.parse::<DockerHost>().unwrap_err().to_string();
            assert!(refusal.starts_with(&format!("{text:?}")), "{refusal}");
        }
    }
}
