//! Where an HTTP server is that a part of Bramble talks to: the gateway, a Prometheus.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};

/// All but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A server's address: a host, a port and perhaps a path before every other.
///
/// Parsing a text refuses TLS, which most parts do not speak; [`Self::with_or_without_tls`] takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl {
    tls: bool,
    host: String,
    port: u16,
    authority: String,
    /// Without the trailing slash; empty for none.
    base: String,
}

/// What is wrong with a text that is to be a [`HttpUrl`], to be put behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// It cannot be read as one.
    #[error("is no URL such as http://127.0.0.1:8080")]
    Malformed,
    /// Its scheme is `https`.
    #[error("wants TLS, which is not spoken here; use http, through a proxy if it must be")]
    Tls,
}

impl FromStr for HttpUrl {
    type Err = InvalidUrl;

    /// Reads `http://host[:port][/path][/]`; the scheme may be left out.
    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let url = Self::with_or_without_tls(text)?;
        if url.tls { Err(InvalidUrl::Tls) } else { Ok(url) }
    }
}

impl HttpUrl {
    /// Reads `http[s]://host[:port][/path][/]`, for a part that speaks TLS.
    ///
    /// # Errors
    /// [`InvalidUrl::Malformed`]
    pub fn with_or_without_tls(text: &str) -> Result<Self, InvalidUrl> {
        let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: Uri = with_scheme.parse().map_err(|_| InvalidUrl::Malformed)?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(InvalidUrl::Malformed),
        };
        let authority = uri.authority().ok_or(InvalidUrl::Malformed)?;
        if authority.as_str().contains('@') || uri.query().is_some() || authority.host().is_empty() {
            return Err(InvalidUrl::Malformed);
        }
        // `Uri` takes a port that is no number for none.
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") if tls => 443,
            Some("") => 80,
            _ => authority.port_u16().ok_or(InvalidUrl::Malformed)?,
        };
        Ok(Self {
            tls,
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port,
            authority: authority.to_string(),
            base: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// The server of this machine that listens on this address; all addresses are reached at the
    /// loopback one.
    pub fn local(listen: SocketAddr) -> Self {
        let host = match listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let address = SocketAddr::new(host, listen.port());
        let (host, authority) = (host.to_string(), address.to_string());
        Self { tls: false, host, port: listen.port(), authority, base: String::new() }
    }

    /// The same server, over TLS or in the clear.
    #[must_use]
    pub fn over_tls(self, tls: bool) -> Self {
        Self { tls, ..self }
    }

    /// Whether it is asked over TLS.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// The host to connect to; an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The value of `Host`.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// A path below the server's own.
    pub fn path(&self, path_and_query: &str) -> String {
        format!("{}{path_and_query}", self.base)
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.base)
    }
}

/// A text as it is written in a path, a query or a form (RFC 3986: only unreserved characters stay).
pub fn encode(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, RESERVED)
}

/// `?a=b&c=d` of the pairs, encoded; nothing for none.
pub fn query<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut query = String::new();
    for (key, value) in pairs {
        query.push(if query.is_empty() { '?' } else { '&' });
        query.extend(encode(key).chain(["="]).chain(encode(value)));
    }
    query
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, shown, host, port) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080", "127.0.0.1", 8080),
            ("http://127.0.0.1:8080///", "http://127.0.0.1:8080", "127.0.0.1", 8080),
            ("pi:31112", "http://pi:31112", "pi", 31112),
            ("http://pi", "http://pi", "pi", 80),
            ("http://[::1]:8080/", "http://[::1]:8080", "::1", 8080),
            ("http://[::1]:9/prometheus/", "http://[::1]:9/prometheus", "::1", 9),
            ("http://pi/faas/", "http://pi/faas", "pi", 80),
        ] {
            let url: HttpUrl = text.parse().unwrap();
            assert_eq!((url.to_string().as_str(), url.host(), url.port()), (shown, host, port));
        }
        assert_eq!("pi/faas/".parse::<HttpUrl>().unwrap().path("/healthz"), "/faas/healthz");
    }

    #[test]
    fn reaches_a_listener_of_this_machine() {
        for (listen, url) in [
            ("0.0.0.0:80", "http://127.0.0.1:80"),
            ("[::]:80", "http://[::1]:80"),
            ("10.0.0.1:8080", "http://10.0.0.1:8080"),
        ] {
            let local = HttpUrl::local(listen.parse().unwrap());
            assert_eq!(local.to_string(), url);
            assert_eq!(url.parse::<HttpUrl>().unwrap(), local);
        }
    }

    #[test]
    fn refuses_what_it_cannot_use() {
        let malformed =
            ["", "http://", "ftp://pi", "http://a:b@pi", "http://pi:99999", "http://pi:x", "a b", "pi/?a=b"];
        for text in malformed {
            assert_eq!(text.parse::<HttpUrl>(), Err(InvalidUrl::Malformed), "{text:?}");
        }
        assert_eq!("https://pi".parse::<HttpUrl>(), Err(InvalidUrl::Tls));
        let tls = HttpUrl::with_or_without_tls("https://pi/").unwrap();
        assert_eq!((tls.to_string().as_str(), tls.port(), tls.is_tls()), ("https://pi", 443, true));
        let plain = HttpUrl::with_or_without_tls("http://pi").unwrap();
        assert_eq!((plain.port(), plain.is_tls()), (80, false));
        assert_eq!(HttpUrl::with_or_without_tls("ftp://pi"), Err(InvalidUrl::Malformed));
    }

    #[test]
    fn encodes_queries() {
        assert_eq!(query([("a", "b c"), ("ä&", "=/")]), "?a=b%20c&%C3%A4%26=%3D%2F");
        assert_eq!(query([]), "");
        assert_eq!(encode("a{b=\"c\"} + 1").to_string(), "a%7Bb%3D%22c%22%7D%20%2B%201");
    }
}
