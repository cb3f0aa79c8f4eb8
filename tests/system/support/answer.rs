//! What came back, read to its end.

use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.describe());
        self
    }

    /// That it is this status and exactly this body.
    #[track_caller]
    pub(crate) fn says(self, status: u16, body: &str) {
        assert_eq!((self.status.as_u16(), &*self.text()), (status, body), "{}", self.describe());
    }

    /// That it is an error of ours: the one shape, with some of the message.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, code: &str, says: &str) {
        assert_eq!(self.status.as_u16(), status, "{}", self.describe());
        assert_eq!(self.header("content-type"), "application/json");
        let error = self.json();
        let message = error["error"]["message"].as_str().unwrap_or_default();
        assert_eq!(error, json!({"error": {"code": code, "message": message}}));
        assert!(message.contains(says), "{says:?} is not in {message:?}");
        assert!(
            !message.contains("/src/") && !message.contains("wasm backtrace"),
            "ours to know: {message:?}"
        );
    }

    /// The value of a header, empty when there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.describe()))
    }

    fn describe(&self) -> String {
        let body = self.text().chars().take(500).collect::<String>();
        format!("{} {:?} {body:?}", self.status, self.headers)
    }
}
