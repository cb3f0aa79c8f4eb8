//! Requests that a browser sends because a page of another site told it to.
//!
//! Any page may have the browsers of its visitors POST to an address that only they reach, such as a gateway on the
//! loopback, and a site whose name comes to mean 127.0.0.1 (DNS rebinding) may read the answers too. What
//! gives them away is what no page can write by itself: `Origin` and `Host`. Programs send no `Origin`.

use std::net::IpAddr;

use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method};

use crate::error::{GatewayError, excerpt};
use crate::state::Gateway;

/// Whose pages may do what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sites<'c> {
    /// The sites that were named: origins. `*` names none: it is for functions, which are open here.
    named: &'c [String],
    /// Nothing but the name by which it is called tells who asks: there are no credentials, no certificate, and
    /// only this machine reaches it.
    by_name: bool,
}

impl<'c> Sites<'c> {
    /// As the gateway was told.
    pub(super) fn of(gateway: &'c Gateway) -> Self {
        let config = &gateway.config;
        let reached_by_others = config.auth.is_needed(config.listen);
        let by_name = !reached_by_others && !gateway.auth.asks() && config.tls_cert.is_none();
        Self { named: &config.cors_origins, by_name }
    }

    /// Refuses what a page of another site may not ask for. Functions are for everybody's pages.
    ///
    /// # Errors
    /// [`GatewayError::ForeignHost`], [`GatewayError::ForeignOrigin`].
    pub(super) fn check(&self, method: &Method, path: &str, headers: &HeaderMap) -> Result<(), GatewayError> {
        if super::is_open(path) {
            return Ok(());
        }
        let host = headers.get(HOST).map(text);
        // A browser always sends one.
        if let Some(host) = host.filter(|host| self.by_name && !self.is_own(host)) {
            return Err(GatewayError::ForeignHost(excerpt(host)));
        }
        let Some(origin) = headers.get(ORIGIN).map(text).filter(|_| !method.is_safe()) else { return Ok(()) };
        let host = host.unwrap_or_default();
        let same = authority(origin).is_some_and(|authority| authority.eq_ignore_ascii_case(host));
        if same || self.named.iter().any(|named| named == origin) {
            return Ok(());
        }
        Err(GatewayError::ForeignOrigin { origin: excerpt(origin), host: excerpt(host) })
    }

    /// Whether no other site can have this name: an address, the loopback's own name, or one that was named.
    fn is_own(&self, host: &str) -> bool {
        let Some(name) = name_in(host) else { return false };
        let is_address = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        let loopback = name == "localhost" || name.ends_with(".localhost");
        let mut known = self.named.iter().filter_map(|named| name_in(authority(named)?));
        is_address || loopback || known.any(|known| known == name)
    }
}

/// The part of an origin that a page of it calls its server; `None` for `null`, which is nobody's.
fn authority(origin: &str) -> Option<&str> {
    origin.split_once("://").map(|(_, authority)| authority)
}

/// An authority without its port, in small letters.
fn name_in(authority: &str) -> Option<String> {
    let authority: Authority = authority.parse().ok()?;
    Some(authority.host().trim_end_matches('.').to_ascii_lowercase())
}

fn text(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or("what is no text")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGED: &str = "/system/functions";

    /// Whether a gateway refuses, and by which code it would say so.
    fn refused(sites: Sites<'_>, (method, path): (&Method, &str), host: &str, origin: &str) -> &'static str {
        let mut headers = HeaderMap::new();
        for (name, value) in [(HOST, host), (ORIGIN, origin)] {
            if !value.is_empty() {
                headers.insert(name, HeaderValue::from_str(value).unwrap());
            }
        }
        match sites.check(method, path, &headers) {
            Ok(()) => "",
            Err(GatewayError::ForeignHost(_)) => "host",
            Err(GatewayError::ForeignOrigin { .. }) => "origin",
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_page_of_another_site_changes_nothing() {
        let named = ["https://a.example".to_owned(), "http://b.example:81".to_owned()];
        let sites = Sites { named: &named, by_name: false };
        for (host, origin, says) in [
            ("127.0.0.1:8080", "", ""),
            ("raspberrypi.local:8080", "", ""),
            ("", "", ""),
            ("127.0.0.1:8080", "http://127.0.0.1:8080", ""),
            ("Pi.local", "http://pi.local", ""),
            ("[::1]:8080", "http://[::1]:8080", ""),
            ("127.0.0.1:8080", "https://a.example", ""),
            ("127.0.0.1:8080", "http://b.example:81", ""),
            ("127.0.0.1:8080", "http://a.example", "origin"),
            ("127.0.0.1:8080", "http://b.example", "origin"),
            ("127.0.0.1:8080", "http://127.0.0.1:3000", "origin"),
            ("127.0.0.1:8080", "http://127.0.0.1:8080.evil.example", "origin"),
            ("127.0.0.1:8080", "null", "origin"),
            ("", "https://evil.example", "origin"),
        ] {
            let told = refused(sites, (&Method::POST, CHANGED), host, origin);
            assert_eq!(told, says, "{host:?} {origin:?}");
        }
        let evil = "https://evil.example";
        assert_eq!(refused(sites, (&Method::GET, CHANGED), "127.0.0.1:8080", evil), "", "it cannot read it");
        assert_eq!(refused(sites, (&Method::POST, "/function/echo"), "127.0.0.1:8080", evil), "");
        assert_eq!(refused(sites, (&Method::POST, "/async-function/echo"), "127.0.0.1:8080", evil), "");
        let any = [crate::serve::cors::ANY.to_owned()];
        let all = Sites { named: &any, by_name: true };
        assert_eq!(refused(all, (&Method::POST, CHANGED), "127.0.0.1:8080", evil), "origin");
        assert_eq!(refused(all, (&Method::GET, CHANGED), "evil.example", evil), "host");
        assert_eq!(refused(all, (&Method::POST, "/function/echo"), "evil.example", evil), "");
    }

    #[test]
    fn a_name_that_others_can_give_is_no_gateway_of_this_machine_alone() {
        let named = ["https://gateway.example".to_owned()];
        let sites = Sites { named: &named, by_name: true };
        for (host, says) in [
            ("", ""),
            ("127.0.0.1:8080", ""),
            ("127.0.0.1", ""),
            ("[::1]:8080", ""),
            ("localhost:8080", ""),
            ("LocalHost.:8080", ""),
            ("functions.localhost", ""),
            ("gateway.example", ""),
            ("gateway.example:8080", ""),
            ("evil.example:8080", "host"),
            ("127.0.0.1.evil.example:8080", "host"),
            ("localhost.evil.example", "host"),
            ("notlocalhost", "host"),
            (":8080", "host"),
            ("a b", "host"),
        ] {
            for method in [&Method::GET, &Method::POST] {
                assert_eq!(refused(sites, (method, CHANGED), host, ""), says, "{method} {host:?}");
            }
            assert_eq!(refused(sites, (&Method::POST, "/function/echo"), host, ""), "", "{host:?}");
        }
        // Its page and it agree, and are somebody else's.
        let rebound = refused(sites, (&Method::POST, CHANGED), "evil.example:80", "http://evil.example:80");
        assert_eq!(rebound, "host");
        let elsewhere = Sites { by_name: false, ..sites };
        assert_eq!(refused(elsewhere, (&Method::GET, CHANGED), "raspberrypi.local:8080", ""), "");
    }
}
