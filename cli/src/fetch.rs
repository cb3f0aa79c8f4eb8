//! Files from the web: stack files and lists of functions.
//!
//! The property that must hold: no more is read than was asked for, however the server sends it, and what was
//! asked for over TLS comes over TLS.

use std::time::Duration;

use anyhow::Result;
use bramble_provider::HttpUrl;
use bytes::Bytes;
use http::{Method, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;
use url::{Position, Url};

use crate::client::{Client, RequestBody};
use crate::error::CliError;

/// Longest wait for a file, redirects included.
const LIMIT: Duration = Duration::from_secs(60);

/// Most redirects that are followed.
const MAX_REDIRECTS: usize = 5;

/// What a server answers.
enum Answer {
    File(Bytes),
    /// It is elsewhere.
    Moved(String),
}

/// Reads a file of at most `max_bytes` from an `http` or `https` URL, within a minute. Over TLS the server
/// must have a certificate of an authority that this machine knows.
///
/// # Errors
/// [`CliError`] that names the URL.
pub(crate) async fn get(url: &str, max_bytes: u64) -> Result<Bytes> {
    let max_bytes = usize::try_from(max_bytes).unwrap_or(usize::MAX);
    let refused = |reason: String| CliError::failed(format!("{url} cannot be fetched: {reason}"));
    let first = Url::parse(url)
        .map_err(|error| CliError::usage(format!("{url} cannot be fetched: it is no URL: {error}")))?;
    match timeout(LIMIT, follow(first, max_bytes)).await {
        Ok(fetched) => Ok(fetched.map_err(refused)?),
        Err(_) => Err(refused(format!("it did not come within {LIMIT:?}")).into()),
    }
}

async fn follow(mut url: Url, max_bytes: usize) -> Result<Bytes, String> {
    for _ in 0..=MAX_REDIRECTS {
        match ask(&url, max_bytes).await? {
            Answer::File(bytes) => return Ok(bytes),
            Answer::Moved(location) => url = next(&url, &location)?,
        }
    }
    Err(format!("it is redirected more than {MAX_REDIRECTS} times"))
}

async fn ask(url: &Url, max_bytes: usize) -> Result<Answer, String> {
    let server = HttpUrl::with_or_without_tls(&url[..Position::BeforePath])
        .map_err(|_| format!("{url} is no http or https URL without a user"))?;
    let client = Client::elsewhere(server).map_err(|error| error.to_string())?;
    let request = client.request(Method::GET, &url[Position::BeforePath..Position::AfterQuery]);
    let request = request.body(RequestBody::empty()).map_err(|error| error.to_string())?;
    let response = client.send(request, None).await.map_err(|error| error.to_string())?;
    let status = response.status();
    let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
    match location.filter(|_| matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)) {
        Some(location) => return Ok(Answer::Moved(location.to_owned())),
        None if !status.is_success() => return Err(format!("the answer is {status}")),
        None => {}
    }
    let body = Limited::new(response.into_body(), max_bytes).collect().await;
    let body = body.map_err(|error| match error.is::<LengthLimitError>() {
        true => format!("it has more than {max_bytes} bytes"),
        false => format!("the answer was cut off: {error}"),
    })?;
    Ok(Answer::File(body.to_bytes()))
}

/// Where a redirect leads.
fn next(url: &Url, location: &str) -> Result<Url, String> {
    let next = url.join(location).map_err(|error| format!("it is redirected to {location:?}: {error}"))?;
    match (url.scheme(), next.scheme()) {
        ("https", "http") => Err(format!("it is redirected out of TLS, to {next}")),
        _ => Ok(next),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// A server that answers a path with what `answer` says, and its address.
    async fn server(answer: impl Fn(&str) -> String + Send + 'static) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 4096];
                let length = stream.read(&mut request).await.unwrap();
                let request = std::str::from_utf8(&request[..length]).unwrap();
                let said = answer(request.split(' ').nth(1).unwrap());
                stream.write_all(said.as_bytes()).await.unwrap();
            }
        });
        address
    }

    fn moved(to: &str) -> String {
        format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")
    }

    fn file(content: &str) -> String {
        format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{content}", content.len())
    }

    #[tokio::test]
    async fn follows_redirects_and_not_without_end() {
        let url = server(|path| match path {
            "/a/start?x=1" => moved("next"),
            "/a/next" => moved("/b/there?y=2"),
            "/b/there?y=2" => file("here"),
            _ => moved("/round"),
        })
        .await;
        assert_eq!(get(&format!("{url}/a/start?x=1#there"), 4).await.unwrap(), "here");
        let error = get(&format!("{url}/round"), 4).await.unwrap_err().to_string();
        assert!(error.contains("more than 5 times") && error.contains("/round"), "{error}");
    }

    #[tokio::test]
    async fn reads_no_more_than_was_asked_for_however_it_is_sent() {
        let url = server(|path| match path {
            "/chunks" => {
                let chunk = format!("400\r\n{}\r\n", "x".repeat(1024));
                format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}", chunk.repeat(8))
            }
            _ => file(&"x".repeat(4096)),
        })
        .await;
        for path in ["chunks", "length"] {
            let error = get(&format!("{url}/{path}"), 4095).await.unwrap_err().to_string();
            assert!(error.contains("more than 4095 bytes"), "{error}");
        }
        assert_eq!(get(&format!("{url}/length"), 4096).await.unwrap().len(), 4096);
    }

    #[tokio::test]
    async fn a_failure_names_the_url_and_no_gateway() {
        let url = server(|_| "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned()).await;
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        for (url, says) in [
            (format!("{url}/x"), "404"),
            (format!("http://{gone}/x"), "cannot reach"),
            ("ftp://host/x".to_owned(), "no http or https"),
            ("http://".to_owned(), "no URL"),
        ] {
            let error = get(&url, 10).await.unwrap_err().to_string();
            assert!(error.contains(says) && error.contains(&url) && !error.contains("gateway"), "{error}");
        }
    }

    #[test]
    fn does_not_leave_tls() {
        let url = Url::parse("https://a.example/x/y").unwrap();
        assert_eq!(next(&url, "../z").unwrap().as_str(), "https://a.example/z");
        assert_eq!(next(&url, "//b.example/z").unwrap().as_str(), "https://b.example/z");
        assert!(next(&url, "http://a.example/x/y").is_err());
        let plain = Url::parse("http://a.example/").unwrap();
        assert_eq!(next(&plain, "https://a.example/").unwrap().scheme(), "https");
    }
}
