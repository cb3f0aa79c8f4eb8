//! How values are written: each form reads a text, and shows a value as it would be read.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use bramble_provider::quantity::{format_bytes, parse_bytes, parse_duration};
use tracing_subscriber::EnvFilter;

/// How log events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Reads one value; the error says why the text is none.
type Read<T> = Result<T, String>;

/// An IP address and a port.
pub(super) mod address {
    use super::{Read, SocketAddr};

    pub(crate) fn read(text: &str) -> Read<SocketAddr> {
        text.parse().map_err(|_| {
            "it is no address: write an IP address and a port, as in `127.0.0.1:8080`, `0.0.0.0:8080` \
             or `[::]:8080`"
                .to_owned()
        })
    }

    pub(crate) fn show(address: &SocketAddr) -> String {
        address.to_string()
    }
}

/// A path.
pub(super) mod path {
    use super::{Path, PathBuf, Read};

    pub(crate) fn read(text: &str) -> Read<PathBuf> {
        if text.is_empty() { Err("it is empty".to_owned()) } else { Ok(text.into()) }
    }

    pub(crate) fn show(path: &Path) -> String {
        path.display().to_string()
    }
}

/// A path, or nothing.
pub(super) mod optional_path {
    use super::{PathBuf, Read, path};

    pub(crate) fn read(text: &str) -> Read<Option<PathBuf>> {
        path::read(text).map(Some)
    }

    pub(crate) fn show(path: &Option<PathBuf>) -> String {
        path.as_deref().map(path::show).unwrap_or_default()
    }
}

/// Text, or nothing.
pub(super) mod optional_text {
    use super::Read;

    pub(crate) fn read(text: &str) -> Read<Option<String>> {
        Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
    }

    pub(crate) fn show(text: &Option<String>) -> String {
        text.clone().unwrap_or_default()
    }
}

/// Origins of pages, or `*` for all.
pub(super) mod origins {
    use super::Read;

    pub(crate) fn read(text: &str) -> Read<Vec<String>> {
        let origin = |part: &str| {
            let host = part.strip_prefix("https://").or_else(|| part.strip_prefix("http://"));
            let is_origin = part == "*"
                || host.is_some_and(|host| {
                    !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/')
                });
            if is_origin {
                return Ok(part.to_owned());
            }
            Err(format!(
                "{part:?} is no origin: write `*`, or a scheme, a host and perhaps a port, as in `https://example.com`"
            ))
        };
        text.split(',').map(|part| origin(part.trim())).collect()
    }

    pub(crate) fn show(origins: &[String]) -> String {
        origins.join(",")
    }
}

/// A name as Docker takes it.
pub(super) mod name {
    use super::Read;

    pub(crate) fn read(text: &str) -> Read<String> {
        let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let valid = text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(inner);
        let reason = "it must begin with a letter or digit, and go on with those, `-`, `_` and `.`";
        if valid { Ok(text.to_owned()) } else { Err(reason.to_owned()) }
    }

    pub(crate) fn show(name: &str) -> String {
        name.to_owned()
    }
}

/// A range of IPv4 addresses.
pub(super) mod subnet {
    use std::net::Ipv4Addr;

    use super::Read;

    pub(crate) fn read(text: &str) -> Read<String> {
        let parts = text.split_once('/');
        let parsed =
            parts.and_then(|(base, bits)| Some((base.parse::<Ipv4Addr>().ok()?, bits.parse::<u8>().ok()?)));
        match parsed {
            Some((_, 8..=29)) => Ok(text.to_owned()),
            _ => Err("it is no subnet: write an address and 8 to 29 bits, as in `10.62.0.0/16`".to_owned()),
        }
    }

    pub(crate) fn show(subnet: &str) -> String {
        subnet.to_owned()
    }
}

/// Where a Docker daemon is.
pub(super) mod docker_host {
    use bramble_swarm::DockerHost;

    use super::Read;

    pub(crate) fn read(text: &str) -> Read<DockerHost> {
        text.parse().map_err(|error: bramble_swarm::InvalidDockerHost| error.reason().to_owned())
    }

    pub(crate) fn show(host: &DockerHost) -> String {
        host.to_string()
    }
}

/// A switch as Docker reads it: everything is on but nothing, `0` and `false`.
pub(super) mod docker_switch {
    use super::{Read, switch};

    pub(crate) fn read(text: &str) -> Read<bool> {
        Ok(!matches!(text, "" | "0" | "false"))
    }

    pub(crate) fn show(on: &bool) -> String {
        switch::show(on)
    }
}

/// A number of things, at least one.
pub(super) mod count {
    use super::{FromStr, Read};

    pub(crate) use super::count_or_none::show;

    pub(crate) fn read<T: FromStr + Default + PartialEq>(text: &str) -> Read<T> {
        match super::count_or_none::read(text)? {
            zero if zero == T::default() => Err("it must be at least 1".to_owned()),
            count => Ok(count),
        }
    }
}

/// A number of things, which may be none.
pub(super) mod count_or_none {
    use super::{Display, FromStr, Read};

    pub(crate) fn read<T: FromStr>(text: &str) -> Read<T> {
        text.parse().map_err(|_| "it is no whole number in range".to_owned())
    }

    pub(crate) fn show<T: Display>(count: &T) -> String {
        count.to_string()
    }
}

/// Bytes, at least one.
pub(super) mod size {
    use super::{Read, parse_bytes, size_or_none};

    pub(crate) use super::size_or_none::show;

    pub(crate) fn read<T: TryFrom<u64>>(text: &str) -> Read<T> {
        match parse_bytes(text) {
            Ok(0) => Err("it must be at least 1 byte".to_owned()),
            _ => size_or_none::read(text),
        }
    }
}

/// Bytes, which may be none.
pub(super) mod size_or_none {
    use super::{Read, format_bytes, parse_bytes};

    pub(crate) fn read<T: TryFrom<u64>>(text: &str) -> Read<T> {
        let bytes = parse_bytes(text).map_err(|error| error.to_string())?;
        T::try_from(bytes).map_err(|_| "it is more than this machine can address".to_owned())
    }

    pub(crate) fn show<T: TryInto<u64> + Copy>(bytes: &T) -> String {
        (*bytes).try_into().map(format_bytes).unwrap_or_default()
    }
}

/// A duration, which may be zero.
pub(super) mod duration {
    use super::{Duration, Read, parse_duration};

    pub(crate) fn read(text: &str) -> Read<Duration> {
        parse_duration(text).map_err(|error| error.to_string())
    }

    pub(crate) fn show(duration: &Duration) -> String {
        format!("{duration:?}")
    }
}

/// A duration after which something is given up.
pub(super) mod limit {
    use super::{Duration, Read, duration};

    pub(crate) use super::duration::show;

    pub(crate) fn read(text: &str) -> Read<Duration> {
        match duration::read(text)? {
            Duration::ZERO => Err("it must be longer than 0; write a long time for no limit".to_owned()),
            limit => Ok(limit),
        }
    }
}

/// Time from one tick of the scaler to the next.
pub(super) mod scale_interval {
    use bramble_scaler::run::MAX_INTERVAL;

    use super::{Duration, Read, limit};

    pub(crate) use super::duration::show;

    pub(crate) fn read(text: &str) -> Read<Duration> {
        let interval = limit::read(text)?;
        if interval > MAX_INTERVAL {
            return Err(format!(
                "it must not be longer than {MAX_INTERVAL:?}: a scaler asks for its lease at each look"
            ));
        }
        Ok(interval)
    }
}

/// On or off.
pub(super) mod switch {
    use super::Read;

    pub(crate) fn read(text: &str) -> Read<bool> {
        match text {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err("it is neither `true` nor `false`".to_owned()),
        }
    }

    pub(crate) fn show(switch: &bool) -> String {
        switch.to_string()
    }
}

/// On or off, in these words.
pub(super) mod on_off {
    use super::Read;

    pub(crate) fn read(text: &str) -> Read<bool> {
        match text {
            "on" => Ok(true),
            "off" => Ok(false),
            _ => Err("it is neither `on` nor `off`".to_owned()),
        }
    }

    pub(crate) fn show(on: &bool) -> String {
        if *on { "on" } else { "off" }.to_owned()
    }
}

/// A duration after which something happens, or nothing.
pub(super) mod optional_limit {
    use super::{Duration, Read, limit};

    pub(crate) fn read(text: &str) -> Read<Option<Duration>> {
        limit::read(text).map(Some)
    }

    pub(crate) fn show(limit: &Option<Duration>) -> String {
        limit.as_ref().map(limit::show).unwrap_or_default()
    }
}

/// Where a Prometheus is, or nothing.
pub(super) mod prometheus_url {
    use bramble_provider::HttpUrl;
    use bramble_provider::url::InvalidUrl;

    use super::Read;

    pub(crate) fn read(text: &str) -> Read<Option<HttpUrl>> {
        text.parse().map(Some).map_err(|reason: InvalidUrl| format!("it {reason}"))
    }

    pub(crate) fn show(url: &Option<HttpUrl>) -> String {
        url.as_ref().map(ToString::to_string).unwrap_or_default()
    }
}

/// Which series of a Prometheus.
pub(super) mod selector {
    use bramble_scaler::source::promql::{InvalidSelector, Selector};

    use super::Read;

    pub(crate) fn read(text: &str) -> Read<Selector> {
        text.parse().map_err(|error: InvalidSelector| error.to_string())
    }

    pub(crate) fn show(selector: &Selector) -> String {
        selector.to_string()
    }
}

/// [`LogFormat`].
pub(super) mod format {
    use super::{LogFormat, Read};

    pub(crate) fn read(text: &str) -> Read<LogFormat> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err("it is neither `text` nor `json`".to_owned()),
        }
    }

    pub(crate) fn show(format: &LogFormat) -> String {
        match format {
            LogFormat::Text => "text".to_owned(),
            LogFormat::Json => "json".to_owned(),
        }
    }
}

/// A level, or directives of `tracing`.
pub(super) mod level {
    use super::{EnvFilter, Read};

    pub(crate) fn read(text: &str) -> Read<String> {
        let plain = ["off", "error", "warn", "info", "debug", "trace"].contains(&text);
        // `EnvFilter` takes any lone word for a target, so `inof` would switch the log off. What looks
        // like a crate's name is meant as one.
        if !plain && !text.contains(['=', ',', '_', ':']) {
            return Err("it is none of off, error, warn, info, debug and trace, and no directive such as \
                        `bramble_host=debug`"
                .to_owned());
        }
        EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
    }

    pub(crate) fn show(level: &str) -> String {
        level.to_owned()
    }
}
