//! Who may use the API: basic auth from secret files, and a function's own token.
//!
//! In: credentials, what is open without them, the limit on failed logins, what pages of other sites may have a
//! browser send, the audit log. Out: HTTP
//! forms of a refusal (`error`), TLS (`serve`).
//! The properties that must hold: what is not named as open needs credentials; a comparison takes as long
//! whatever is compared; no credential is ever logged.

mod attempts;
pub(crate) mod audit;
mod credentials;
pub(crate) mod guard;
mod site;
pub(crate) mod token;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Instant;

use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::api::store::PATH as STORE;
use crate::error::GatewayError;
use attempts::Attempts;
pub use credentials::{Credentials, CredentialsError};

/// What the gateway is told about who may use its API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthConfig {
    /// Ask for a user and a password on everything but functions, the store's list and health.
    pub basic_auth: bool,
    /// The directory with the files [`Credentials::USER_FILE`] and [`Credentials::PASSWORD_FILE`].
    pub secret_mount_path: PathBuf,
    /// Serve everybody, also on addresses that others reach.
    pub no_auth: bool,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self { basic_auth: false, secret_mount_path: "/run/secrets".into(), no_auth: false }
    }
}

impl AuthConfig {
    /// Whether others than this machine reach `listen`, so that a gateway there has to ask for credentials
    /// or be told not to.
    pub fn is_needed(&self, listen: SocketAddr) -> bool {
        !is_loopback(listen.ip())
    }
}

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// Anybody who reaches it could deploy and remove functions.
    #[error(
        "refusing to serve everybody who reaches {0}: put a user and a password into the files \
         basic-auth-user and basic-auth-password, name their directory with --secret-mount-path and add \
         --basic-auth; or listen on 127.0.0.1; or add --no-auth if others keep strangers out"
    )]
    Open(SocketAddr),
    /// Two settings say the opposite.
    #[error("basic_auth and no_auth are both on; leave one of them out")]
    Contradiction,
    /// The credentials cannot be read.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
}

/// Decides on each request to the API.
#[derive(Debug)]
pub struct Auth {
    credentials: Option<Credentials>,
    attempts: Attempts,
}

impl Auth {
    /// Reads the credentials, once. Blocking.
    ///
    /// # Errors
    /// [`AuthError`], upon which the gateway must not serve `listen`.
    pub fn open(config: &AuthConfig, listen: SocketAddr) -> Result<Self, AuthError> {
        let credentials = match (config.basic_auth, config.no_auth) {
            (true, true) => return Err(AuthError::Contradiction),
            (true, false) => Some(Credentials::read(&config.secret_mount_path)?),
            (false, false) if config.is_needed(listen) => return Err(AuthError::Open(listen)),
            (false, _) => None,
        };
        Ok(Self { credentials, attempts: Attempts::default() })
    }

    /// Whether somebody has to show credentials.
    pub(crate) fn asks(&self) -> bool {
        self.credentials.is_some()
    }

    /// Who asks for `path`: `None` for nobody in particular.
    ///
    /// # Errors
    /// [`GatewayError::Unauthorized`], and [`GatewayError::TooManyLogins`] after too many wrong credentials
    /// from one address. A request without any does not count against its address.
    pub(crate) fn admit(
        &self,
        path: &str,
        headers: &HeaderMap,
        peer: Option<IpAddr>,
    ) -> Result<Option<&str>, GatewayError> {
        let Some(credentials) = self.credentials.as_ref().filter(|_| !is_open(path)) else {
            return Ok(None);
        };
        let Some(shown) = headers.get(AUTHORIZATION) else { return Err(GatewayError::Unauthorized) };
        let (peer, now) = (peer.unwrap_or(IpAddr::from([0; 4])), Instant::now());
        if let Some(wait) = self.attempts.wait(peer, now) {
            return Err(GatewayError::TooManyLogins { retry_after: wait });
        }
        if credentials.are(shown) {
            return Ok(Some(credentials.user()));
        }
        self.attempts.failed(peer, now);
        audit::refused_login(peer, path);
        Err(GatewayError::Unauthorized)
    }
}

/// What is served without credentials. The list of what is open, not of what is closed: a route that
/// nobody thought of is closed.
pub(crate) fn is_open(path: &str) -> bool {
    const FUNCTIONS: [&str; 2] = ["/function/", "/async-function/"];
    matches!(path, "/" | "/healthz" | "/readyz" | STORE)
        || FUNCTIONS.iter().any(|open| path.starts_with(open))
}

/// Whether only this machine reaches an address.
fn is_loopback(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.to_ipv4_mapped().is_some_and(|ip| ip.is_loopback()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(listen: &str, config: &AuthConfig) -> Result<Auth, AuthError> {
        Auth::open(config, listen.parse().unwrap())
    }

    #[test]
    fn what_others_reach_needs_a_decision() {
        let nothing_said = AuthConfig::default();
        let no_auth = AuthConfig { no_auth: true, ..AuthConfig::default() };
        for listen in ["0.0.0.0:0", "[::]:0", "10.0.0.1:80", "[::ffff:10.0.0.1]:80"] {
            assert!(matches!(open(listen, &nothing_said), Err(AuthError::Open(_))), "{listen}");
            assert!(open(listen, &no_auth).is_ok(), "{listen}");
        }
        for listen in ["127.0.0.1:0", "127.8.0.1:1", "[::1]:0", "[::ffff:127.0.0.1]:80"] {
            assert!(open(listen, &nothing_said).is_ok(), "{listen}");
        }
        let both = AuthConfig { basic_auth: true, ..no_auth };
        assert!(matches!(open("127.0.0.1:0", &both), Err(AuthError::Contradiction)));
    }

    #[test]
    fn closed_is_what_is_not_named() {
        for path in
            ["/", "/healthz", "/readyz", STORE, "/function/x", "/function/x/../y", "/async-function/x"]
        {
            assert!(is_open(path), "{path}");
        }
        for path in [
            "/system/functions",
            "//system/functions",
            "/ui/",
            "/store/",
            "/functions",
            "/healthz/",
            "/%66unction/x",
            "*",
        ] {
            assert!(!is_open(path), "{path}");
        }
    }
}
