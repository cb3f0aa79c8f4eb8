//! Where an HTTP server is that a part of Bramble talks to: the gateway, a Prometheus.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};

/// All but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A server's address: a host, a port and perhaps a path before every other. Without TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl {
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
        let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: Uri = with_scheme.parse().map_err(|_| InvalidUrl::Malformed)?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(InvalidUrl::Tls),
            _ => return Err(InvalidUrl::Malformed),
        }
        let authority = uri.authority().ok_or(InvalidUrl::Malformed)?;
        if authority.as_str().contains('@') || uri.query().is_some() || authority.host().is_empty() {
            return Err(InvalidUrl::Malformed);
        }
        // `Uri` takes a port that is no number for none.
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") => 80,
            _ => authority.port_u16().ok_or(InvalidUrl::Malformed)?,
        };
        Ok(Self {
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port,
            authority: authority.to_string(),
            base: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

impl HttpUrl {
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
        Self { host, port: listen.port(), authority, base: String::new() }
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
        write!(f, "http://{}{}", self.authority, self.base)
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
    }

    #[test]
    fn encodes_queries() {
        assert_eq!(query([("a", "b c"), ("ä&", "=/")]), "?a=b%20c&%C3%A4%26=%3D%2F");
        assert_eq!(query([]), "");
        assert_eq!(encode("a{b=\"c\"} + 1").to_string(), "a%7Bb%3D%22c%22%7D%20%2B%201");
    }
}
