//! The request as a handler sees it.

use std::cell::OnceCell;
use std::fs;

use crate::body::RequestBody;
use crate::environment::{Environment, header_variable, variable_header};
use crate::{Error, query};

/// Where the platform puts the secrets a function was given.
const SECRETS_DIR: &str = "/var/openfaas/secrets";

/// One request.
///
/// Everything is read when it is first asked for. The body is a stream and can be taken once.
#[derive(Debug)]
pub struct Request {
    environment: Environment,
    method: OnceCell<String>,
    path: OnceCell<String>,
    raw_query: OnceCell<String>,
    secrets: Vec<(String, String)>,
    body: RequestBody,
}

impl Request {
    /// A request made by hand, to test a handler with: `Request::new("GET", "/path?name=value")`.
    pub fn new(method: &str, target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let variables = [("Http_Method", method), ("Http_Path", path), ("Http_Query", query)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self::from_parts(Environment::Given(variables.into()), RequestBody::given(Vec::new()))
    }

    /// Adds a header to a request made by hand.
    #[must_use]
    pub fn with_header(self, name: &str, value: &str) -> Self {
        self.with_variable(header_variable(name), value.to_owned())
    }

    /// Adds a secret to a request made by hand.
    #[must_use]
    pub fn with_secret(mut self, name: &str, value: &str) -> Self {
        self.secrets.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Gives a request made by hand this body, and the length that goes with it.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let length = body.len().to_string();
        self.body = RequestBody::given(body);
        self.with_variable("Http_ContentLength".to_owned(), length)
    }

    pub(crate) fn of_this_process() -> Self {
        Self::from_parts(Environment::Process, RequestBody::of_this_process())
    }

    fn from_parts(environment: Environment, body: RequestBody) -> Self {
        Self {
            environment,
            method: OnceCell::new(),
            path: OnceCell::new(),
            raw_query: OnceCell::new(),
            secrets: Vec::new(),
            body,
        }
    }

    fn with_variable(mut self, name: String, value: String) -> Self {
        if let Environment::Given(variables) = &mut self.environment {
            variables.push((name, value));
        }
        self
    }

    /// The method, in the client's spelling: `GET`. It is `GET` where no platform said another.
    pub fn method(&self) -> &str {
        self.method.get_or_init(|| self.environment.get("Http_Method").unwrap_or_else(|| "GET".to_owned()))
    }

    /// The path behind the function's name, as the client encoded it; `/` when there is none.
    pub fn path(&self) -> &str {
        let path = || self.environment.get("Http_Path").filter(|path| !path.is_empty());
        self.path.get_or_init(|| path().unwrap_or_else(|| "/".to_owned()))
    }

    /// The query as it was sent, without the `?`; empty when there is none.
    pub fn raw_query(&self) -> &str {
        self.raw_query.get_or_init(|| self.environment.get("Http_Query").unwrap_or_default())
    }

    /// The first value of a parameter of the query, decoded; empty for a parameter without a value.
    pub fn query(&self, name: &str) -> Option<String> {
        self.query_parameters().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// All parameters of the query, decoded, in their order.
    pub fn query_parameters(&self) -> impl Iterator<Item = (String, String)> {
        query::parameters(self.raw_query())
    }

    /// A header's value, whatever the case of `name`. Of a header that was sent twice, the platform
    /// passes on the first.
    pub fn header(&self, name: &str) -> Option<String> {
        self.environment.get(&header_variable(name))
    }

    /// All headers, in no order. Names are spelled as in `X-Call-Id`; the platform turns hyphens to
    /// underscores, so a name that had underscores comes back with hyphens.
    pub fn headers(&self) -> impl Iterator<Item = (String, String)> {
        self.environment
            .all()
            .into_iter()
            .filter_map(|(variable, value)| Some((variable_header(&variable)?, value)))
    }

    /// The body's length in bytes, when the client said it.
    pub fn content_length(&self) -> Option<usize> {
        ["Http_ContentLength", "Http_Content_Length"]
            .iter()
            .find_map(|name| self.environment.get(name)?.parse().ok())
    }

    /// Takes the body, or what is left of it.
    ///
    /// # Errors
    /// Status 413 when it does not fit in the function's memory, 500 when it cannot be read.
    pub fn body(&mut self) -> Result<Vec<u8>, Error> {
        let announced = self.content_length();
        self.body.read_announced(announced).map_err(|error| match error.kind() {
            std::io::ErrorKind::OutOfMemory => Error::new(413, "the body is too large for this function"),
            _ => Error::internal("reading the body").because(error),
        })
    }

    /// Takes the body as text.
    ///
    /// # Errors
    /// As [`Request::body`], and status 400 when it is no UTF-8.
    pub fn text(&mut self) -> Result<String, Error> {
        String::from_utf8(self.body()?)
            .map_err(|error| Error::bad_request("the body is not UTF-8").because(error.utf8_error()))
    }

    /// The body as a stream, for what need not be in memory at once.
    pub fn reader(&mut self) -> &mut RequestBody {
        &mut self.body
    }

    /// The body as a stream that outlives the request, as [`Response::stream`](crate::Response::stream)
    /// wants it.
    pub fn into_reader(self) -> RequestBody {
        self.body
    }

    /// A secret that the function was deployed with, as it was stored.
    ///
    /// # Errors
    /// Status 500 when the function has no such secret, or when it is no UTF-8; the caller is not told
    /// which.
    pub fn secret(&self, name: &str) -> Result<String, Error> {
        // A secret's name is a file's: it must not lead out of the folder.
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', '\0']) {
            return Err(Error::internal(format_args!("{name:?} is no name of a secret")));
        }
        if let Environment::Given(_) = self.environment {
            let given = self.secrets.iter().find(|(known, _)| known == name);
            return given
                .map(|(_, value)| value.clone())
                .ok_or_else(|| Error::internal(format_args!("secret {name:?} was not given")));
        }
        fs::read_to_string(format!("{SECRETS_DIR}/{name}"))
            .map_err(|error| Error::internal(format_args!("secret {name:?}")).because(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_was_asked() {
        let request = Request::new("PUT", "/a/b%20c?x=1&y=%2B&x=2").with_header("X-Call-Id", "7");
        assert_eq!((request.method(), request.path()), ("PUT", "/a/b%20c"));
        assert_eq!(request.raw_query(), "x=1&y=%2B&x=2");
        assert_eq!(request.query("x").as_deref(), Some("1"));
        assert_eq!(request.query("y").as_deref(), Some("+"));
        assert_eq!(request.query("z"), None);
        assert_eq!(request.header("x-call-id").as_deref(), Some("7"));
        assert_eq!(request.header("accept"), None);
        assert_eq!(request.headers().collect::<Vec<_>>(), [("X-Call-Id".to_owned(), "7".to_owned())]);
    }

    #[test]
    fn has_a_path_without_one() {
        assert_eq!(Request::new("GET", "").path(), "/");
        assert_eq!(Request::new("GET", "?a=b").path(), "/");
    }

    #[test]
    fn the_body_is_taken_once() {
        let mut request = Request::new("POST", "/").with_body("text");
        assert_eq!(request.content_length(), Some(4));
        assert_eq!(request.text().unwrap(), "text");
        assert_eq!(request.body().unwrap(), b"");
    }

    #[test]
    fn text_must_be_text() {
        let error = Request::new("POST", "/").with_body(*b"\xff").text().unwrap_err();
        assert_eq!(error.status(), 400);
    }

    #[test]
    fn an_unknown_length_is_no_length() {
        let request = Request::new("POST", "/").with_variable("Http_ContentLength".into(), "-1".into());
        assert_eq!(request.content_length(), None);
    }

    #[test]
    fn secrets_stay_in_their_folder() {
        let request = Request::new("GET", "/").with_secret("key", "value\n");
        assert_eq!(request.secret("key").unwrap(), "value\n");
        for name in ["other", "", ".", "..", "../key", "a/b", "a\0"] {
            let error = request.secret(name).unwrap_err();
            assert_eq!(error.to_string(), "the function failed", "{name:?}");
        }
    }
}
