//! Reading a request's body with a bound in bytes and in time.

use std::time::Duration;

use axum::body::Body;
use bramble_provider::ProviderError;
use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt;
use serde::de::{DeserializeOwned, IgnoredAny};
use tokio::time::{Instant, timeout_at};

use crate::error::{GatewayError, excerpt};

/// Largest JSON document that is taken.
const MAX_JSON_BYTES: u64 = 1 << 20;

/// Longest a JSON document may take to arrive.
const JSON_LIMIT: Duration = Duration::from_secs(30);

/// Longest a large body may take to arrive: 64 MiB over a slow radio.
pub(super) const UPLOAD_LIMIT: Duration = Duration::from_secs(10 * 60);

/// Longest pause between two pieces of a body.
pub(super) const STALL_LIMIT: Duration = Duration::from_secs(30);

/// Space for a body whose length is not known.
const FIRST_BYTES: usize = 16 << 10;

/// Reads a JSON document. Unknown fields are ignored, as the original does.
///
/// # Errors
/// A field of a wrong type is [`ProviderError::InvalidSpec`] with the field's path and the value.
pub(super) async fn json<T: DeserializeOwned>(body: Body) -> Result<T, GatewayError> {
    let bytes = read(body, MAX_JSON_BYTES, JSON_LIMIT).await?;
    parse(&bytes)
}

/// As [`json`], and `T`'s default for an empty body.
pub(super) async fn json_or_default<T: DeserializeOwned + Default>(body: Body) -> Result<T, GatewayError> {
    let bytes = read(body, MAX_JSON_BYTES, JSON_LIMIT).await?;
    if bytes.iter().all(u8::is_ascii_whitespace) { Ok(T::default()) } else { parse(&bytes) }
}

/// Reads an uploaded module. One that is announced as too large is refused before it is read.
pub(super) async fn module(body: Body, max_bytes: u64) -> Result<Bytes, GatewayError> {
    read(body, max_bytes, UPLOAD_LIMIT).await.map_err(|error| match error {
        GatewayError::BodyTooLarge { limit_bytes } => ProviderError::ModuleTooLarge { limit_bytes }.into(),
        other => other,
    })
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, GatewayError> {
    // Serde would also read an object's fields out of an array, by position.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(GatewayError::InvalidJson("an object is expected".into()));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let field = error.path().to_string();
        let cause = error.into_inner();
        // A value where a word of a list is expected counts as no JSON there.
        let readable = cause.is_data() || serde_json::from_slice::<IgnoredAny>(bytes).is_ok();
        if readable && field != "." {
            let reason = excerpt(&cause.to_string());
            return ProviderError::InvalidSpec { field, reason }.into();
        }
        GatewayError::InvalidJson(excerpt(&cause.to_string()))
    })?;
    json.end().map_err(|error| GatewayError::InvalidJson(error.to_string()))?;
    Ok(value)
}

async fn read(mut body: Body, limit_bytes: u64, limit: Duration) -> Result<Bytes, GatewayError> {
    let too_large = || GatewayError::BodyTooLarge { limit_bytes };
    if body.size_hint().lower() > limit_bytes {
        return Err(too_large());
    }
    let end = Instant::now() + limit;
    let expected = body.size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok());
    let mut whole = BytesMut::with_capacity(expected.unwrap_or(FIRST_BYTES));
    loop {
        let stalled = end.min(Instant::now() + STALL_LIMIT);
        let frame = timeout_at(stalled, body.frame()).await.map_err(|_| GatewayError::BodyTimedOut)?;
        let Some(frame) = frame else { return Ok(whole.freeze()) };
        let frame = frame.map_err(|error| GatewayError::BodyCut(error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        if (whole.len() + data.len()) as u64 > limit_bytes {
            return Err(too_large());
        }
        whole.extend_from_slice(&data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::collections::BTreeMap;

    #[derive(Debug, Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Sample {
        env_vars: BTreeMap<String, String>,
        replicas: u32,
        word: Option<Word>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Word {
        Yes,
    }

    fn refused(text: &str) -> (String, String) {
        match parse::<Sample>(text.as_bytes()) {
            Err(GatewayError::Provider(ProviderError::InvalidSpec { field, reason })) => (field, reason),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_wrong_type_is_refused_with_its_field_and_value() {
        let (field, reason) = refused(r#"{"envVars":{"A":"b","PORT":8080}}"#);
        assert_eq!(field, "envVars.PORT");
        assert!(reason.contains("8080"), "{reason}");
        let (field, reason) = refused(r#"{"replicas":-1}"#);
        assert_eq!(field, "replicas");
        assert!(reason.contains("-1"), "{reason}");
        assert_eq!(refused(r#"{"replicas":"many"}"#).0, "replicas");
        assert!(matches!(parse::<Sample>(br#"{"word":"yes"}"#), Ok(Sample { word: Some(Word::Yes), .. })));
        for word in ["7", "[]", "{}", "\"no\""] {
            assert_eq!(refused(&format!(r#"{{"word":{word}}}"#)).0, "word");
        }
    }

    #[test]
    fn what_is_no_json_is_refused_as_such() {
        for text in ["", "{", "nonsense", "[]", "\"x\"", "{} {}", "{\"replicas\":"] {
            assert!(matches!(parse::<Sample>(text.as_bytes()), Err(GatewayError::InvalidJson(_))), "{text}");
        }
        assert!(parse::<Sample>(b"{\"unknown\":[1,2]}\n").is_ok());
    }

    #[tokio::test]
    async fn a_body_has_a_bound_whether_or_not_it_says_its_length() {
        let large = vec![b' '; (1 << 20) + 1];
        let chunks: Vec<Result<_, std::io::Error>> = large.chunks(64 << 10).map(|c| Ok(c.to_vec())).collect();
        let chunked = Body::from_stream(futures_util::stream::iter(chunks));
        for body in [Body::from(large), chunked] {
            let refused = json_or_default::<Sample>(body).await.unwrap_err();
            assert!(matches!(refused, GatewayError::BodyTooLarge { limit_bytes: MAX_JSON_BYTES }));
        }
        assert!(json_or_default::<Sample>(Body::empty()).await.is_ok());
    }
}
