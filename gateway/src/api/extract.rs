//! What handlers read out of a request's head.

use std::collections::HashMap;
use std::convert::Infallible;

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path, Query};
use bramble_provider::{FunctionName, ProviderError};
use http::request::Parts;

use crate::error::{GatewayError, excerpt};

/// The query. Of a key that is there twice the last counts.
pub(super) struct Params(HashMap<String, String>);

impl Params {
    /// The value of a key, unless it is missing or empty.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Whether a switch is on, as the original reads one.
    pub(super) fn is_on(&self, key: &str) -> bool {
        matches!(self.get(key), Some("1" | "true"))
    }

    fn of(parts: &Parts) -> Self {
        Self(Query::try_from_uri(&parts.uri).map(|Query(params)| params).unwrap_or_default())
    }
}

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self::of(parts))
    }
}

/// The function that the path's last part names, in the namespace of the path or of the query.
pub(super) struct Named(pub(super) FunctionName);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = GatewayError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, GatewayError> {
        let name = Tail::from_request_parts(parts, state).await?.0;
        Ok(Self(function_name("name", &name, Params::of(parts).get("namespace"))?))
    }
}

/// The path's last part, decoded.
pub(super) struct Tail(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Tail {
    type Rejection = GatewayError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, GatewayError> {
        let tail: Result<Path<String>, PathRejection> = Path::from_request_parts(parts, state).await;
        let Path(tail) = tail.map_err(|error| ProviderError::InvalidSpec {
            field: "path".into(),
            reason: error.body_text(),
        })?;
        Ok(Self(tail))
    }
}

/// The function `name` in `namespace`; `name` may repeat the namespace, as `faas-cli` does.
pub(super) fn function_name(
    field: &str,
    name: &str,
    namespace: Option<&str>,
) -> Result<FunctionName, ProviderError> {
    let parsed = match namespace {
        None | Some("") => FunctionName::parse(name),
        Some(namespace) => {
            let suffix = name.strip_suffix(namespace).and_then(|name| name.strip_suffix('.'));
            FunctionName::new(suffix.unwrap_or(name), namespace)
        }
    };
    parsed.map_err(|error| {
        // The whole text that the client wrote, not only the part before a dot that was refused.
        let (field, text) = match (error.kind, namespace) {
            ("namespace", Some(namespace)) => ("namespace", namespace),
            _ => (field, name),
        };
        let reason = format!("{:?} is invalid: {}", excerpt(text), error.rule);
        ProviderError::InvalidSpec { field: field.to_owned(), reason }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_bring_its_namespace_in_either_place() {
        for (name, namespace, expected) in [
            ("echo", None, "echo"),
            ("echo", Some("openfaas-fn"), "echo"),
            ("echo.openfaas-fn", None, "echo"),
            ("echo.openfaas-fn", Some("openfaas-fn"), "echo"),
            ("echo", Some("team"), "echo.team"),
            ("echo.team", Some("team"), "echo.team"),
        ] {
            assert_eq!(function_name("name", name, namespace).unwrap().as_str(), expected);
        }
    }

    #[test]
    fn a_refusal_names_the_field() {
        let field = |name, namespace| match function_name("service", name, namespace) {
            Err(ProviderError::InvalidSpec { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        assert_eq!(field("../etc", None), "service");
        assert_eq!(field("", None), "service");
        assert_eq!(field("a", Some("../etc")), "namespace");
        assert_eq!(field("a.other", Some("team")), "service");
    }
}
