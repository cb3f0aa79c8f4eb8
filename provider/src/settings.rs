//! What a function's environment and annotations say about running it, for both runtimes.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::ProviderError;
use crate::name::SecretName;
use crate::quantity::parse_duration;
use crate::reuse::Reuse;

/// The annotation that chooses [`OutputForm`].
pub const OUTPUT_ANNOTATION: &str = "bramble.output";

/// The annotation that chooses [`HybridPolicy`].
pub const POLICY_ANNOTATION: &str = "bramble.policy";

/// The annotation that names the secret whose value callers must show.
pub const TOKEN_ANNOTATION: &str = "bramble.auth.token-secret";

/// Longest an invocation may run when the function does not say: the `exec_timeout` default.
pub const DEFAULT_EXEC_TIMEOUT: Duration = Duration::from_secs(30);

/// The watchdog's own variables of a function, read once when it is deployed.
///
/// The names are those of the classic watchdog, so one function behaves alike in both runtimes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `exec_timeout`: longest run of one invocation; `None` (written `0`) for no limit.
    pub exec_timeout: Option<Duration>,
    /// `content_type`: the response's type, in place of the request's.
    pub content_type: Option<http::HeaderValue>,
    /// `max_inflight`: refuse more than so many invocations at once; `None` (written `0`) for no limit.
    pub max_inflight: Option<u32>,
    /// `write_debug`: copy what the function prints on stdout to its log.
    pub write_debug: bool,
    /// `combine_output`: stderr joins stdout in the response. Default false.
    pub combine_output: bool,
    /// What stdout holds, by [`OUTPUT_ANNOTATION`].
    pub output: OutputForm,
    /// Which runtime of a hybrid takes an invocation, by [`POLICY_ANNOTATION`].
    pub policy: HybridPolicy,
    /// The secret that holds the token which callers must show, by [`TOKEN_ANNOTATION`]; open to all if none.
    pub token_secret: Option<SecretName>,
    /// Whether an instance serves more than one request, by [`crate::reuse::REUSE_ANNOTATION`].
    pub reuse: Option<Reuse>,
}

/// Which runtime of a hybrid function takes an invocation. Means nothing for other functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HybridPolicy {
    /// `wasm-first`: a module as long as it has a free slot, else a container.
    WasmFirst,
    /// `bridge`: a container as soon as one is available, a module until then.
    Bridge,
    /// `fastest`: by measured service time and queue, trying the other one now and then.
    #[default]
    Fastest,
}

impl HybridPolicy {
    const ALL: [Self; 3] = [Self::WasmFirst, Self::Bridge, Self::Fastest];

    /// The word in the annotation.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WasmFirst => "wasm-first",
            Self::Bridge => "bridge",
            Self::Fastest => "fastest",
        }
    }

    fn read(annotations: &BTreeMap<String, String>) -> Result<Self, ProviderError> {
        let Some(text) = annotations.get(POLICY_ANNOTATION) else { return Ok(Self::default()) };
        Self::ALL.into_iter().find(|policy| policy.as_str() == text).ok_or_else(|| {
            let text = crate::name::shortened(text);
            refused(
                "annotations.bramble.policy",
                format!("{text:?} is none of `wasm-first`, `bridge` and `fastest`"),
            )
        })
    }
}

/// What a function writes on stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutputForm {
    /// The response body, nothing else.
    #[default]
    Body,
    /// CGI headers (RFC 3875 section 6: `Status:`, `Content-Type:`, any other), an empty line, the body.
    Cgi,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            exec_timeout: Some(DEFAULT_EXEC_TIMEOUT),
            content_type: None,
            max_inflight: None,
            write_debug: false,
            combine_output: false,
            output: OutputForm::Body,
            policy: HybridPolicy::default(),
            token_secret: None,
            reuse: None,
        }
    }
}

impl Settings {
    /// Reads the settings out of a function's environment and annotations.
    ///
    /// # Errors
    /// [`ProviderError::InvalidSpec`] naming the variable or annotation and its value.
    pub fn read(
        env: &BTreeMap<String, String>,
        annotations: &BTreeMap<String, String>,
    ) -> Result<Self, ProviderError> {
        let mut settings = Self::default();
        if let Some(text) = env.get("exec_timeout") {
            let timeout = parse_duration(text).map_err(|e| refused("envVars.exec_timeout", e))?;
            settings.exec_timeout = (!timeout.is_zero()).then_some(timeout);
        }
        if let Some(text) = env.get("content_type").filter(|text| !text.is_empty()) {
            let value = http::HeaderValue::from_str(text)
                .map_err(|_| refused("envVars.content_type", format!("{text:?} is no header value")))?;
            settings.content_type = Some(value);
        }
        if let Some(text) = env.get("max_inflight") {
            let limit: u32 = text
                .parse()
                .map_err(|_| refused("envVars.max_inflight", format!("{text:?} is no whole number")))?;
            settings.max_inflight = (limit > 0).then_some(limit);
        }
        settings.write_debug = switch(env, "write_debug")?;
        settings.combine_output = switch(env, "combine_output")?;
        settings.policy = HybridPolicy::read(annotations)?;
        if let Some(text) = annotations.get(TOKEN_ANNOTATION) {
            let name = SecretName::parse(text);
            settings.token_secret =
                Some(name.map_err(|error| refused("annotations.bramble.auth.token-secret", error))?);
        }
        settings.reuse = Reuse::read(annotations)?;
        settings.output = match annotations.get(OUTPUT_ANNOTATION).map(String::as_str) {
            None | Some("body") => OutputForm::Body,
            Some("cgi") => OutputForm::Cgi,
            Some(other) => {
                return Err(refused(
                    "annotations.bramble.output",
                    format!("{other:?} is neither `body` nor `cgi`"),
                ));
            }
        };
        Ok(settings)
    }
}

fn switch(env: &BTreeMap<String, String>, key: &'static str) -> Result<bool, ProviderError> {
    match env.get(key).map(String::as_str) {
        None | Some("" | "false" | "0") => Ok(false),
        Some("true" | "1") => Ok(true),
        Some(other) => Err(ProviderError::InvalidSpec {
            field: format!("envVars.{key}"),
            reason: format!("{:?} is neither `true` nor `false`", crate::name::shortened(other)),
        }),
    }
}

fn refused(field: &str, reason: impl std::fmt::Display) -> ProviderError {
    ProviderError::InvalidSpec { field: field.to_owned(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(env: &[(&str, &str)]) -> Result<Settings, ProviderError> {
        let env = env.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        Settings::read(&env, &BTreeMap::new())
    }

    #[test]
    fn reads_the_watchdogs_variables() {
        let settings =
            read(&[("exec_timeout", "500ms"), ("max_inflight", "4"), ("combine_output", "true")]).unwrap();
        assert_eq!(settings.exec_timeout, Some(Duration::from_millis(500)));
        assert_eq!(settings.max_inflight, Some(4));
        assert!(settings.combine_output);
        assert_eq!(read(&[("exec_timeout", "0")]).unwrap().exec_timeout, None);
        assert_eq!(read(&[]).unwrap(), Settings::default());
    }

    #[test]
    fn refuses_a_bad_value_by_name() {
        for (key, value) in [
            ("exec_timeout", "soon"),
            ("max_inflight", "-1"),
            ("write_debug", "yes"),
            ("content_type", "a\nb"),
        ] {
            match read(&[(key, value)]) {
                Err(ProviderError::InvalidSpec { field, .. }) => assert!(field.ends_with(key), "{field}"),
                other => panic!("{key}={value}: {other:?}"),
            }
        }
    }

    #[test]
    fn the_policy_of_a_hybrid_is_read_or_refused_by_name_and_value() {
        let read = |text: &str| {
            let annotations = BTreeMap::from([(POLICY_ANNOTATION.to_owned(), text.to_owned())]);
            Settings::read(&BTreeMap::new(), &annotations).map(|settings| settings.policy)
        };
        for policy in HybridPolicy::ALL {
            assert_eq!(read(policy.as_str()).unwrap(), policy);
        }
        for bad in ["", "Fastest", "container-first"] {
            match read(bad) {
                Err(ProviderError::InvalidSpec { field, reason }) => {
                    assert_eq!(field, "annotations.bramble.policy");
                    assert!(reason.starts_with(&format!("{bad:?}")), "{reason}");
                }
                other => panic!("{bad:?}: {other:?}"),
            }
        }
    }
}
