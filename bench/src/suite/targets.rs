//! Peers: any HTTP URL beside the gateway's echo, asked the same by the same client in turns.

use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use bramble_provider::HttpUrl;
use bytes::Bytes;

use super::deploy::echo;
use super::effort::Effort;
use super::results::{Comparison, Peer, Rounds, Skipped};
use super::subject::{Subject, resolve};
use super::warm::{Side, in_turns, throughput};
use crate::containers::namespace::ask;
use crate::load::{Pace, Target};

/// What every request sends.
const BODY: &[u8] = &[b'x'; 100];
/// How the gateway is called among others.
const OURS: &str = "bramble";

/// A URL with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamedUrl {
    name: String,
    url: HttpUrl,
}

impl FromStr for NamedUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = text.split_once('=').filter(|(name, _)| !name.is_empty() && !name.contains('/'));
        let (name, url) = named.ok_or("write NAME=URL, as in spin=http://127.0.0.1:3000/echo")?;
        if name == OURS {
            return Err(format!("{OURS} is what the gateway itself is called"));
        }
        let url = url.parse().map_err(|reason| format!("the URL {url} {reason}"))?;
        Ok(Self { name: name.to_owned(), url })
    }
}

/// Asks the gateway's echo and each target, at each number of connections.
///
/// # Errors
/// When the gateway does not echo, or a target answers otherwise than at first.
pub(super) fn measure(
    subject: &Subject,
    named: &[NamedUrl],
    effort: &Effort,
    skipped: &mut Vec<Skipped>,
) -> Result<Vec<Comparison>> {
    if named.is_empty() {
        return Ok(Vec::new());
    }
    let ours = echo(subject, "echo")?;
    let mut peers = vec![(OURS.to_owned(), format!("http://{}/function/...", subject.address), ours)];
    for target in named {
        match probe(&target.url) {
            Ok(found) => peers.push((target.name.clone(), target.url.to_string(), found)),
            Err(error) => {
                let what = format!("target {}", target.name);
                skipped.push(Skipped { what, why: format!("{error:#}") });
            }
        }
    }
    let mut comparisons = Vec::new();
    for &connections in &effort.connections {
        let side = |(_, _, target)| Side { target, connections, pace: Pace::Closed };
        let sides: Vec<_> = peers.iter().map(|(name, url, target)| side((name, url, target))).collect();
        let what = format!("targets at {connections}");
        let rounds = in_turns(&what, &sides, effort.rounds, effort.turn)?;
        let mut measured: Vec<Peer> = Vec::new();
        for ((name, url, _), outcomes) in peers.iter().zip(rounds) {
            let outcomes = outcomes.unwrap_or_else(|why| {
                let what = format!("target {name} at {connections}");
                skipped.push(Skipped { what, why });
                Vec::new()
            });
            let Some(told) = throughput(connections, &outcomes) else { continue };
            let first = measured.first().map(|first| &first.requests_per_second.values);
            let ratios = first.map(|first| first.iter().zip(&told.requests_per_second.values));
            measured.push(Peer {
                name: name.clone(),
                url: url.clone(),
                first_to_this: ratios.and_then(|pairs| Rounds::of(pairs.map(|(first, this)| first / this))),
                requests_per_second: told.requests_per_second,
                latency: told.latency,
            });
        }
        comparisons.push(Comparison { connections, request_bytes: BODY.len() as u64, sides: measured });
    }
    Ok(comparisons)
}

/// Asks once, for the length of the answer.
fn probe(url: &HttpUrl) -> Result<Target> {
    let address = resolve(url)?;
    let path = Some(url.path("")).filter(|path| !path.is_empty()).unwrap_or_else(|| "/".to_owned());
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/octet-stream\r\ncontent-length: {}\r\n\r\n",
        url.authority(),
        BODY.len()
    );
    let request: Bytes = [head.as_bytes(), BODY].concat().into();
    let (status, answer) = ask(address, &request).with_context(|| format!("{url} does not answer a POST"))?;
    ensure!(status == 200, "{url} answers a POST with {status} instead of 200");
    Ok(Target { address, requests: [request].into(), answer_bytes: answer.len() as u64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_a_name_and_a_url() {
        let target: NamedUrl = "spin=http://127.0.0.1:3000/echo".parse().unwrap();
        assert_eq!((&*target.name, target.url.path("")), ("spin", "/echo".to_owned()));
        for text in ["http://x/a=b", "=http://x", "spin", "tls=https://x", "bramble=http://x"] {
            assert!(text.parse::<NamedUrl>().is_err(), "{text}");
        }
    }
}
