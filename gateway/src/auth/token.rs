//! A function's own token: who shows it may invoke the function.

use bramble_provider::{ProviderError, SecretName};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use std::time::Duration;
use subtle::ConstantTimeEq;

use crate::error::GatewayError;
use crate::functions::Function;
use crate::secrets::Secrets;

/// When a client may ask again for a function whose token is gone: somebody has to put it back.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// Refuses an invocation that does not show the token of its function. Open functions cost a comparison;
/// for the others the secret is read anew each time, so a new value counts from the moment it is stored.
///
/// # Errors
/// [`GatewayError::TokenRequired`]; [`ProviderError::Unavailable`] when the secret is gone.
pub(crate) fn check(function: &Function, headers: &HeaderMap, secrets: &Secrets) -> Result<(), GatewayError> {
    let Some(secret) = &function.settings.token_secret else { return Ok(()) };
    let name = &function.spec.name;
    let shown = headers.get(AUTHORIZATION).and_then(|value| bearer(value.as_bytes()));
    let Some(shown) = shown else { return Err(GatewayError::TokenRequired(name.clone())) };
    let token = secrets.read(name.namespace(), secret)?.ok_or_else(|| gone(secret))?;
    let token = token.trim_ascii();
    let right: bool = Sha256::digest(token).as_slice().ct_eq(Sha256::digest(shown).as_slice()).into();
    // An empty secret is nobody's token.
    if right && !token.is_empty() { Ok(()) } else { Err(GatewayError::TokenRequired(name.clone())) }
}

fn gone(secret: &SecretName) -> ProviderError {
    ProviderError::Unavailable {
        provider: "the function's token",
        reason: format!("secret {secret} is not there"),
        retry_after: RETRY_AFTER,
    }
}

/// The token in `Bearer TOKEN` (RFC 6750).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::bearer;

    #[test]
    fn reads_a_bearer_token() {
        for (value, token) in [
            ("Bearer abc", Some("abc")),
            ("bearer  abc ", Some("abc")),
            ("Bearer ", Some("")),
            ("Bearer", None),
            ("Basic abc", None),
            ("", None),
        ] {
            assert_eq!(bearer(value.as_bytes()), token.map(str::as_bytes), "{value:?}");
        }
    }
}
