//! Where the gateway is.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::Uri;

/// The gateway's address: a host, a port and perhaps a path before every other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GatewayUrl {
    host: String,
    port: u16,
    authority: String,
    /// Without the trailing slash; empty for none.
    base: String,
}

impl GatewayUrl {
    /// Reads `http://host[:port][/path][/]`; the scheme may be left out.
    ///
    /// # Errors
    /// What is wrong with the text, to be put behind it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let invalid = || "is no URL such as http://127.0.0.1:8080".to_owned();
        let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: Uri = with_scheme.parse().map_err(|_| invalid())?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err("wants TLS, which this command does not speak; use http".to_owned()),
            _ => return Err(invalid()),
        }
        let authority = uri.authority().ok_or_else(invalid)?;
        if authority.as_str().contains('@') || uri.query().is_some() || authority.host().is_empty() {
            return Err(invalid());
        }
        // `Uri` takes a port that is no number for none.
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") => 80,
            _ => authority.port_u16().ok_or_else(invalid)?,
        };
        Ok(Self {
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port,
            authority: authority.to_string(),
            base: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// The gateway of this machine that listens on this address; all addresses are reached at the
    /// loopback one.
    pub(crate) fn local(listen: SocketAddr) -> Self {
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
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The port to connect to.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The value of `Host`.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// A path below the gateway's own.
    pub(crate) fn path(&self, path_and_query: &str) -> String {
        format!("{}{path_and_query}", self.base)
    }
}

impl fmt::Display for GatewayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.base)
    }
}

/// A text as it is written in a path or a query (RFC 3986: only unreserved characters stay).
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte.into()),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// `?a=b&c=d` of the pairs, encoded; nothing for none.
pub(crate) fn query<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut query = String::new();
    for (key, value) in pairs {
        query.push(if query.is_empty() { '?' } else { '&' });
        query.push_str(&encode(key));
        query.push('=');
        query.push_str(&encode(value));
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
            ("http://pi/faas/", "http://pi/faas", "pi", 80),
        ] {
            let url = GatewayUrl::parse(text).unwrap();
            assert_eq!((url.to_string().as_str(), url.host(), url.port()), (shown, host, port));
        }
        assert_eq!(GatewayUrl::parse("pi/faas/").unwrap().path("/healthz"), "/faas/healthz");
    }

    #[test]
    fn reaches_a_listener_of_this_machine() {
        for (listen, url) in [
            ("0.0.0.0:80", "http://127.0.0.1:80"),
            ("[::]:80", "http://[::1]:80"),
            ("10.0.0.1:8080", "http://10.0.0.1:8080"),
        ] {
            let local = GatewayUrl::local(listen.parse().unwrap());
            assert_eq!(local.to_string(), url);
            assert_eq!(GatewayUrl::parse(url).unwrap(), local);
        }
    }

    #[test]
    fn refuses_what_it_cannot_use() {
        for text in [
            "",
            "http://",
            "https://pi",
            "ftp://pi",
            "http://a:b@pi",
            "http://pi:99999",
            "http://pi:x",
            "a b",
        ] {
            assert!(GatewayUrl::parse(text).is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn encodes_queries() {
        assert_eq!(query([("a", "b c"), ("ä&", "=/")]), "?a=b%20c&%C3%A4%26=%3D%2F");
        assert_eq!(query([]), "");
    }
}
