//! `bramble invoke`
//!
//! Both directions stream at once, and neither is held in memory.

mod input;

use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use bramble_provider::FunctionName;
use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::{Connection, Context, InNamespace, duration, function_name, key_value};
use crate::api::{Api, own_error};
use crate::client::RequestBody;
use crate::error::{CliError, Exit};
use crate::logins::bearer;
use crate::output::Output;
use bramble_provider::url::{encode, query};

/// Most of a failure's body that is looked at to find out whether the gateway wrote it.
const MAX_ERROR_BYTES: usize = 64 << 10;

/// Where the response of a queued invocation is wanted.
const CALLBACK: HeaderName = HeaderName::from_static("x-callback-url");

/// Invoke a function: stdin is the request's body, stdout the response's
#[derive(Debug, Args)]
#[command(after_help = "\
stdin is read unless it is a terminal or --data is given. A response that is no success goes to
stderr, with exit code 1. What `bramble login` kept is not shown to a function; --token is.

Examples:
  echo hi | bramble invoke hello
  bramble invoke thumbs --content-type image/png < in.png > out.png
  bramble invoke api -X GET --path /users/7 --query full=true -H 'Accept: application/json'
  bramble invoke wordcount --data @README.md
  bramble invoke 'markdown|base64' < README.md      each gets what the one before answered
  bramble invoke --async report --callback http://127.0.0.1:8080/function/mail")]
pub(crate) struct Invoke {
    /// The function, or several as a chain: `first|second`
    #[arg(value_parser = chain)]
    name: Chain,
    #[command(flatten)]
    place: InNamespace,
    /// Send this instead of stdin; @FILE sends a file
    #[arg(short, long, value_name = "TEXT|@FILE")]
    data: Option<String>,
    /// The request's method
    #[arg(short = 'X', long, visible_short_alias = 'm', default_value = "POST", value_parser = method)]
    method: Method,
    /// Add a header
    #[arg(short = 'H', long, value_name = "KEY: VALUE", value_parser = parse_header)]
    header: Vec<(HeaderName, HeaderValue)>,
    /// Add a parameter to the query
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    query: Vec<(String, String)>,
    /// Invoke the function at this path
    #[arg(long, value_name = "/PATH", default_value = "", hide_default_value = true, value_parser = path)]
    path: String,
    /// The type of the request's body
    #[arg(long, value_name = "TYPE", default_value = "text/plain", value_parser = header_value)]
    content_type: HeaderValue,
    /// Give up when the response has not begun after this long [default: the gateway's own limits]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Duration>,
    /// Queue it instead of waiting for it; prints its call id
    #[arg(short = 'a', long = "async", conflicts_with_all = ["method", "timeout"])]
    later: bool,
    /// With --async: send the response here, as in http://127.0.0.1:8080/function/mail
    #[arg(long, value_name = "URL", requires = "later", value_parser = header_value)]
    callback: Option<HeaderValue>,
    #[command(flatten)]
    connection: Connection,
}

/// The functions of an invocation; each gets what the one before answered.
#[derive(Debug, Clone)]
struct Chain(Vec<FunctionName>);

impl Display for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.0.iter().map(FunctionName::as_str).collect();
        f.write_str(&names.join("|"))
    }
}

fn chain(text: &str) -> Result<Chain, CliError> {
    text.split('|').map(|name| function_name(name.trim())).collect::<Result<_, _>>().map(Chain)
}

impl Invoke {
    /// Sends, and prints the response as it comes.
    pub(crate) async fn run(&self, context: &Context) -> Result<()> {
        let api = self.connection.api(context)?;
        let body = body(self.data.as_deref()).await?;
        let response = api.client().send(self.request(&api, body)?, self.timeout).await?;
        if self.later && response.status() == StatusCode::ACCEPTED {
            let id = response.headers().get("x-call-id").and_then(|id| id.to_str().ok());
            context.output.line(id.unwrap_or_default())
        } else if response.status().is_success() {
            print(response, context.output).await
        } else {
            Err(fail(&self.name, response, context.output).await?.into())
        }
    }

    fn request(&self, api: &Api, body: RequestBody) -> Result<Request<RequestBody>> {
        let pairs = self.query.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let prefix = if self.later { "/async-function" } else { "/function" };
        let names = self.name.0.iter().map(|name| self.place.name(name)).collect::<Result<_, _>>()?;
        let names = Chain(names).to_string();
        let path = format!("{prefix}/{}{}{}", names.replace('|', "%7C"), self.path, query(pairs));
        let mut request = api.client().request(self.method.clone(), &path).body(body)?;
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, self.content_type.clone());
        headers.extend(self.callback.clone().map(|url| (CALLBACK, url)));
        // A login is the gateway's, and no function's to see; a token that is said here is for this one.
        if let Some(token) = &self.connection.credentials.token {
            headers.insert(header::AUTHORIZATION, bearer(token)?);
        }
        add_headers(headers, &self.header);
        Ok(request)
    }
}

/// The body of a request: `--data`, else stdin.
pub(super) async fn body(data: Option<&str>) -> Result<RequestBody> {
    match data.map(|data| (data, data.strip_prefix('@'))) {
        None => input::stdin().await,
        Some((_, Some(path))) => input::file(&PathBuf::from(path)),
        Some((text, None)) => Ok(RequestBody::full(text.to_owned())),
    }
}

/// Adds the headers of `--header`. The first of a name replaces what we set, the next ones are added.
pub(super) fn add_headers(headers: &mut HeaderMap, given: &[(HeaderName, HeaderValue)]) {
    let mut seen: Vec<&HeaderName> = Vec::new();
    for (key, value) in given {
        if seen.contains(&key) {
            headers.append(key, value.clone());
        } else {
            headers.insert(key, value.clone());
            seen.push(key);
        }
    }
}

/// Prints a response that is no success, and says what it means.
pub(super) async fn fail(
    name: &impl Display,
    response: Response<Incoming>,
    output: Output,
) -> Result<CliError> {
    let status = response.status();
    let mut body = response.into_body();
    let mut start = Vec::new();
    while start.len() < MAX_ERROR_BYTES {
        match body.frame().await {
            None => break,
            Some(frame) => start.extend_from_slice(&data(frame)?),
        }
    }
    if let Some(message) = own_error(&start) {
        // Only the gateway itself knows that there is no such function.
        let exit = if status == StatusCode::NOT_FOUND { Exit::NotFound } else { Exit::Failed };
        return Ok(CliError::new(exit, message));
    }
    output.note_bytes(&start);
    let mut last = start.last().copied();
    while let Some(frame) = body.frame().await {
        let data = data(frame)?;
        last = data.last().copied().or(last);
        output.note_bytes(&data);
    }
    if last.is_some_and(|byte| byte != b'\n') {
        output.note("");
    }
    Ok(CliError::failed(format!("function {name} answered {status}")))
}

/// Prints a response's body as it comes.
pub(super) async fn print(response: Response<Incoming>, output: Output) -> Result<()> {
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        output.bytes(&data(frame)?)?;
    }
    Ok(())
}

/// The bytes of a frame; trailers have none.
fn data(frame: Result<http_body::Frame<bytes::Bytes>, hyper::Error>) -> Result<bytes::Bytes, CliError> {
    match frame {
        Ok(frame) => Ok(frame.into_data().unwrap_or_default()),
        Err(error) => Err(CliError::failed(format!(
            "the response was cut off ({error}): the function failed after it had begun to answer, or the \
             gateway is gone"
        ))),
    }
}

/// Reads a method.
pub(super) fn method(text: &str) -> Result<Method, String> {
    text.to_uppercase().parse().map_err(|_| "it is no HTTP method".to_owned())
}

fn header_value(text: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_str(text).map_err(|_| "it is no header value".to_owned())
}

/// Reads `KEY: VALUE`.
pub(super) fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (key, value) = text.split_once(':').ok_or("write KEY: VALUE")?;
    let key = key.trim().parse().map_err(|_| format!("{key:?} is no header name"))?;
    Ok((key, header_value(value.trim())?))
}

/// A path as it is put behind the function's name: what cannot stand in a URL is encoded, what is
/// encoded already stays.
pub(super) fn path(text: &str) -> Result<String, String> {
    if !text.is_empty() && !text.starts_with('/') {
        return Err("it must begin with /".to_owned());
    }
    if text.contains(['?', '#']) {
        return Err("write a query with --query".to_owned());
    }
    let keep = |character: &char| character.is_ascii_graphic() && !"\"<>\\^`{|}".contains(*character);
    let written = |character: char| match keep(&character) {
        true => character.to_string(),
        false => encode(character.encode_utf8(&mut [0; 4])).to_string(),
    };
    Ok(text.chars().map(written).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_headers() {
        let (key, value) = parse_header("X-A:  b: c ").unwrap();
        assert_eq!((key.as_str(), value.to_str().unwrap()), ("x-a", "b: c"));
        for bad in ["x", ": y", "a b: c", "a: b\nc"] {
            assert!(parse_header(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn several_names_are_a_chain() {
        assert_eq!(chain("a | b.team|c").unwrap().to_string(), "a|b.team|c");
        for bad in ["", "a|", "|a", "a||b", "a|B"] {
            assert!(chain(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn encodes_a_path_once() {
        assert_eq!(path("/a b/ü/%20").unwrap(), "/a%20b/%C3%BC/%20");
        for bad in ["a", "/a?b=c", "/a#b"] {
            assert!(path(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
