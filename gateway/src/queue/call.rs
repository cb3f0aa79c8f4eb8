//! One asynchronous invocation as it is stored.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bramble_provider::{CallId, FunctionName};
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::store::StoreError;

/// An invocation that was accepted. Fields may be added with a default; none may change its meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Call {
    /// `X-Call-Id`.
    pub(crate) id: String,
    /// What is to be invoked.
    pub(crate) function: FunctionName,
    /// The function's own path with the query: nothing, or `/a/b?c=d`.
    pub(crate) path: String,
    /// The request's headers. Each byte of a value is one character, so that those over 127 come back.
    pub(crate) headers: Vec<(String, String)>,
    /// `X-Callback-Url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) callback: Option<String>,
    /// Where the request's body is.
    pub(crate) body: BodyPlace,
    /// When it was accepted, in nanoseconds since the Unix epoch.
    pub(crate) accepted_at_unix_nanos: u64,
}

/// Where the body of a call is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BodyPlace {
    /// In the database, beside the call.
    Inline {
        /// How long it is.
        bytes: u64,
    },
    /// In a file of its own.
    File {
        /// Its name in the directory of bodies.
        name: String,
        /// How long it is.
        bytes: u64,
    },
}

impl BodyPlace {
    /// How long the body is, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Inline { bytes } | Self::File { bytes, .. } => *bytes,
        }
    }

    /// The name of its file, if it has one.
    pub(crate) fn file(&self) -> Option<&str> {
        match self {
            Self::Inline { .. } => None,
            Self::File { name, .. } => Some(name),
        }
    }
}

/// Why a call is a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Death {
    /// In words.
    pub(crate) reason: String,
    /// What its last run answered, if there was one.
    pub(crate) status: Option<u16>,
    /// When, in nanoseconds since the Unix epoch.
    pub(crate) at_unix_nanos: u64,
}

impl Call {
    /// When it was accepted.
    pub(crate) fn accepted_at(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.accepted_at_unix_nanos)
    }

    /// What it counts for in the queue, in bytes: its head and its body.
    pub(crate) fn size(&self) -> u64 {
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        let texts = self.id.len() + self.path.len() + self.callback.as_deref().map_or(0, str::len);
        (headers + texts) as u64 + self.body.bytes()
    }

    /// The headers as they came.
    pub(crate) fn header_map(&self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(self.headers.len() + 2);
        for (name, value) in &self.headers {
            let bytes: Vec<u8> = value.chars().filter_map(|c| u8::try_from(u32::from(c)).ok()).collect();
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(&bytes))
            {
                map.append(name, value);
            }
        }
        map
    }

    /// The form in which [`Self::headers`] keeps headers.
    pub(crate) fn stored_headers(headers: &HeaderMap) -> Vec<(String, String)> {
        let text = |value: &HeaderValue| value.as_bytes().iter().map(|byte| char::from(*byte)).collect();
        headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
    }

    /// Its id as the functions get it.
    pub(crate) fn call_id(&self) -> CallId {
        let value = HeaderValue::from_str(&self.id).ok();
        value.as_ref().and_then(CallId::from_header).unwrap_or_else(|| CallId::from_random(0))
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers always serialise")
    }

    pub(super) fn decode(sequence: u64, json: &[u8]) -> Result<Self, StoreError> {
        serde_json::from_slice(json)
            .map_err(|error| StoreError::damaged(format!("queued call {sequence}: {error}")))
    }
}

impl Death {
    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers always serialise")
    }

    pub(super) fn decode(sequence: u64, json: &[u8]) -> Result<Self, StoreError> {
        serde_json::from_slice(json)
            .map_err(|error| StoreError::damaged(format!("dead letter {sequence}: {error}")))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A call of a function.
    pub(in crate::queue) fn call(function: &str, id: &str) -> Call {
        Call {
            id: id.to_owned(),
            function: FunctionName::parse(function).unwrap(),
            path: String::new(),
            headers: Vec::new(),
            callback: None,
            body: BodyPlace::Inline { bytes: 0 },
            accepted_at_unix_nanos: 1_700_000_000_000_000_000,
        }
    }

    proptest! {
        #[test]
        fn comes_back_as_it_was(
            id in "[!-~]{1,128}",
            path in "(/[ -~]{0,40})?",
            value in proptest::collection::vec(prop_oneof![0x20_u8..0x7f, 0x80_u8..=0xff], 0..40),
        ) {
            let mut headers = HeaderMap::new();
            headers.append("x-a", HeaderValue::from_bytes(&value).unwrap());
            headers.append("x-a", HeaderValue::from_static("second"));
            let call = Call { id, path, headers: Call::stored_headers(&headers), ..call("f", "") };
            let back = Call::decode(1, &call.encode()).unwrap();
            prop_assert_eq!(&back, &call);
            prop_assert_eq!(back.header_map(), headers);
        }

        #[test]
        fn nonsense_is_refused_and_not_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _refused = Call::decode(1, &bytes).is_err();
        }
    }
}
