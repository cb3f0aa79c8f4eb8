//! What a function looks like as a Swarm service. Pure: a spec in, a service's spec out.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bollard::models::{
    EndpointSpec, EndpointSpecModeEnum, Limit, Mount, MountTmpfsOptions, MountType, NetworkAttachmentConfig,
    ResourceObject, ServiceSpec, ServiceSpecMode, ServiceSpecModeReplicated, ServiceSpecRollbackConfig,
    ServiceSpecRollbackConfigOrderEnum, ServiceSpecUpdateConfig, ServiceSpecUpdateConfigFailureActionEnum,
    ServiceSpecUpdateConfigOrderEnum, TaskSpec, TaskSpecContainerSpec, TaskSpecContainerSpecFile,
    TaskSpecContainerSpecSecrets, TaskSpecPlacement, TaskSpecResources, TaskSpecRestartPolicy,
    TaskSpecRestartPolicyConditionEnum,
};
use bramble_provider::quantity::parse_duration;
use bramble_provider::settings::DEFAULT_EXEC_TIMEOUT;
use bramble_provider::spec::Resources;
use bramble_provider::{DEFAULT_NAMESPACE, FunctionName, FunctionSpec, OutputForm, ProviderError};
use sha2::{Digest as _, Sha256};

use crate::FUNCTION_LABEL;
use crate::secret::SecretRef;

/// The label with the fingerprint of what a service was made from.
pub(crate) const SPEC_LABEL: &str = "bramble.spec";
/// The label with the revision that the Swarm went back from: it is not to be tried again by itself.
pub(crate) const REFUSED_LABEL: &str = "bramble.rolled-back";
/// What annotations are kept under, as the original's Swarm provider kept them.
const ANNOTATION_PREFIX: &str = "com.openfaas.annotations.";
/// Where a function finds its secrets.
pub(crate) const SECRETS_DIR: &str = "/var/openfaas/secrets";
/// Anybody in the container may read a secret, as in the original: images run as any user.
const SECRET_MODE: u32 = 0o444;
/// Everybody may write to `/tmp`; without a mode it has that of the image's directory.
const TMP_MODE: i64 = 0o1777;
/// Counted up when services of older gateways have to be made anew.
const LAYOUT: u8 = 1;
/// Longest name of a service.
const MAX_NAME_BYTES: usize = 63;

/// Wait before a replica that ended is started again.
const RESTART_DELAY: Duration = Duration::from_secs(2);
/// How long a new revision's replica must live for the update to go on.
const UPDATE_MONITOR: Duration = Duration::from_secs(3);
/// Replicas that are replaced at the same time.
const UPDATE_PARALLELISM: i64 = 2;
/// How long a watchdog goes on taking requests after it was told to stop. Requests go elsewhere
/// from the instant the Swarm decides, seconds before it tells the watchdog, so little is enough.
const HEALTHCHECK_INTERVAL: Duration = Duration::from_secs(1);
/// A watchdog's own limits when nothing sets them.
const WATCHDOG_TIMEOUT: Duration = Duration::from_secs(30);
/// What is left of a replica's last seconds for ending.
const STOP_MARGIN: Duration = Duration::from_secs(5);

/// The name of a function's service: the function's own, with the namespace behind it when it has one.
///
/// # Errors
/// [`ProviderError::InvalidSpec`] when that is longer than Swarm allows.
pub(crate) fn service_name(name: &FunctionName) -> Result<String, ProviderError> {
    let service = match name.namespace() {
        DEFAULT_NAMESPACE => name.name().to_owned(),
        // Neither part can hold an underscore, so no two functions share a service.
        namespace => format!("{}_{namespace}", name.name()),
    };
    if service.len() <= MAX_NAME_BYTES {
        return Ok(service);
    }
    Err(ProviderError::InvalidSpec {
        field: "service".to_owned(),
        reason: format!(
            "{service:?} is longer than the {MAX_NAME_BYTES} bytes that a Swarm service may have"
        ),
    })
}

/// What a service is made from, beside the function's spec.
#[derive(Debug, Clone)]
pub(crate) struct Parts<'a> {
    /// The image, pinned.
    pub(crate) image: &'a str,
    /// The secrets that the spec names.
    pub(crate) secrets: &'a [SecretRef],
    /// The network that functions are on.
    pub(crate) network: &'a str,
}

/// Tells two services apart that would run differently. The number of replicas is not in it.
pub(crate) fn fingerprint(spec: &FunctionSpec, parts: &Parts<'_>) -> String {
    let secrets = parts.secrets.iter().map(|secret| &*secret.id);
    hash(spec, [parts.image, parts.network].into_iter().chain(secrets))
}

/// Tells two specs apart, whatever their image means now.
pub(crate) fn revision(spec: &FunctionSpec) -> String {
    hash(spec, [])
}

fn hash<'a>(spec: &FunctionSpec, parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    hash.update([LAYOUT]);
    // A spec holds ordered maps only, so its JSON is always the same.
    hash.update(serde_json::to_vec(spec).unwrap_or_default());
    for part in parts {
        hash.update([0]);
        hash.update(part);
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// The service of a function.
///
/// # Errors
/// [`ProviderError::InvalidSpec`] naming the field.
pub(crate) fn service(
    spec: &FunctionSpec,
    desired: u32,
    parts: &Parts<'_>,
) -> Result<ServiceSpec, ProviderError> {
    let env = environment(spec)?;
    let stop_grace = stop_grace(&env);
    let container = TaskSpecContainerSpec {
        image: Some(parts.image.to_owned()),
        labels: Some(labels(spec)),
        env: Some(env.into_iter().map(|(key, value)| format!("{key}={value}")).collect()),
        read_only: Some(spec.read_only_root_filesystem),
        mounts: spec.read_only_root_filesystem.then(|| vec![tmp()]),
        stop_grace_period: Some(nanos(stop_grace)),
        secrets: Some(parts.secrets.iter().map(secret).collect()),
        ..TaskSpecContainerSpec::default()
    };
    let task = TaskSpec {
        container_spec: Some(container),
        resources: Some(resources(&spec.limits, &spec.requests)),
        restart_policy: Some(TaskSpecRestartPolicy {
            condition: Some(TaskSpecRestartPolicyConditionEnum::ANY),
            delay: Some(nanos(RESTART_DELAY)),
            ..TaskSpecRestartPolicy::default()
        }),
        placement: Some(TaskSpecPlacement {
            constraints: Some(spec.constraints.clone()),
            ..TaskSpecPlacement::default()
        }),
        networks: Some(vec![NetworkAttachmentConfig {
            target: Some(parts.network.to_owned()),
            ..NetworkAttachmentConfig::default()
        }]),
        ..TaskSpec::default()
    };
    let mut labels = labels(spec);
    labels.insert(SPEC_LABEL.to_owned(), fingerprint(spec, parts));
    Ok(ServiceSpec {
        name: Some(service_name(&spec.name)?),
        labels: Some(labels),
        task_template: Some(task),
        mode: Some(replicated(desired)),
        update_config: Some(ServiceSpecUpdateConfig {
            parallelism: Some(UPDATE_PARALLELISM),
            failure_action: Some(ServiceSpecUpdateConfigFailureActionEnum::ROLLBACK),
            monitor: Some(nanos(UPDATE_MONITOR)),
            max_failure_ratio: Some(0.0),
            order: Some(ServiceSpecUpdateConfigOrderEnum::START_FIRST),
            ..ServiceSpecUpdateConfig::default()
        }),
        rollback_config: Some(ServiceSpecRollbackConfig {
            parallelism: Some(UPDATE_PARALLELISM),
            order: Some(ServiceSpecRollbackConfigOrderEnum::START_FIRST),
            ..ServiceSpecRollbackConfig::default()
        }),
        // Names resolve to the tasks themselves: a virtual address needs IPVS in the kernel.
        endpoint_spec: Some(EndpointSpec { mode: Some(EndpointSpecModeEnum::DNSRR), ports: None }),
        ..ServiceSpec::default()
    })
}

/// So many replicas.
pub(crate) fn replicated(desired: u32) -> ServiceSpecMode {
    ServiceSpecMode {
        replicated: Some(ServiceSpecModeReplicated { replicas: Some(desired.into()) }),
        ..ServiceSpecMode::default()
    }
}

fn labels(spec: &FunctionSpec) -> HashMap<String, String> {
    let annotations =
        spec.annotations.iter().map(|(key, value)| (format!("{ANNOTATION_PREFIX}{key}"), value.clone()));
    let mut labels: HashMap<_, _> = spec.labels.clone().into_iter().chain(annotations).collect();
    // Last, so that nobody's own label makes a service look like another function's.
    for (key, value) in [
        (FUNCTION_LABEL, spec.name.as_str()),
        ("com.openfaas.function", spec.name.name()),
        ("function", "true"),
    ] {
        labels.insert(key.to_owned(), value.to_owned());
    }
    labels
}

/// The variables of a replica: the function's own, and what the watchdog needs to know of the spec.
fn environment(spec: &FunctionSpec) -> Result<BTreeMap<String, String>, ProviderError> {
    let settings = spec.settings()?;
    let mut env = spec.env.clone();
    let mut default = |key: &str, value: String| {
        env.entry(key.to_owned()).or_insert(value);
    };
    let exec_timeout = settings.exec_timeout;
    default("exec_timeout", format!("{}ms", exec_timeout.unwrap_or_default().as_millis()));
    if let Some(longest) = exec_timeout.filter(|timeout| *timeout > DEFAULT_EXEC_TIMEOUT) {
        // Else the watchdog's own limits would cut off what exec_timeout allows.
        let limit = format!("{}ms", (longest + STOP_MARGIN).as_millis());
        default("read_timeout", limit.clone());
        default("write_timeout", limit);
    }
    default("healthcheck_interval", format!("{}s", HEALTHCHECK_INTERVAL.as_secs()));
    if settings.output == OutputForm::Cgi {
        default("output", "cgi".to_owned());
        // The Rust SDK asks for it under this name.
        default("BRAMBLE_OUTPUT", "cgi".to_owned());
    }
    if !spec.process.is_empty() {
        env.insert("fprocess".to_owned(), command_line(&spec.process));
    }
    Ok(env)
}

/// Words as one line. Quoted only where it is needed: classic watchdogs cut at spaces and know no quotes.
fn command_line(words: &[String]) -> String {
    let plain = |word: &&String| {
        !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || matches!(c, '\'' | '"' | '\\'))
    };
    let quoted = words.iter().map(|word| match Some(word).filter(plain) {
        Some(word) => word.clone(),
        None => format!("'{}'", word.replace('\'', r"'\''")),
    });
    quoted.collect::<Vec<_>>().join(" ")
}

fn stop_grace(env: &BTreeMap<String, String>) -> Duration {
    let duration =
        |key: &str, default| env.get(key).and_then(|text| parse_duration(text).ok()).unwrap_or(default);
    duration("healthcheck_interval", HEALTHCHECK_INTERVAL)
        + duration("write_timeout", WATCHDOG_TIMEOUT)
        + STOP_MARGIN
}

fn resources(limits: &Resources, requests: &Resources) -> TaskSpecResources {
    let nano_cpus = |millis: u32| i64::from(millis) * 1_000_000;
    let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    TaskSpecResources {
        limits: Some(Limit {
            nano_cpus: limits.cpu_millis.map(nano_cpus),
            memory_bytes: limits.memory_bytes.map(bytes),
            pids: None,
        }),
        reservations: Some(ResourceObject {
            nano_cpus: requests.cpu_millis.map(nano_cpus),
            memory_bytes: requests.memory_bytes.map(bytes),
            generic_resources: None,
        }),
        ..TaskSpecResources::default()
    }
}

fn secret(secret: &SecretRef) -> TaskSpecContainerSpecSecrets {
    TaskSpecContainerSpecSecrets {
        file: Some(TaskSpecContainerSpecFile {
            name: Some(format!("{SECRETS_DIR}/{}", secret.name)),
            uid: Some("0".to_owned()),
            gid: Some("0".to_owned()),
            mode: Some(SECRET_MODE),
        }),
        secret_id: Some(secret.id.clone()),
        secret_name: Some(secret.swarm_name.clone()),
    }
}

fn tmp() -> Mount {
    Mount {
        target: Some("/tmp".to_owned()),
        typ: Some(MountType::TMPFS),
        tmpfs_options: Some(MountTmpfsOptions { mode: Some(TMP_MODE), ..MountTmpfsOptions::default() }),
        ..Mount::default()
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bramble_provider::Code;

    fn spec() -> FunctionSpec {
        FunctionSpec::new(FunctionName::parse("echo").unwrap(), Code::Image("echo:1".to_owned()))
    }

    const PARTS: Parts<'_> = Parts { image: "sha256:1", secrets: &[], network: "functions" };

    fn env_of(spec: &FunctionSpec) -> Vec<String> {
        let service = service(spec, 1, &PARTS).unwrap();
        service.task_template.unwrap().container_spec.unwrap().env.unwrap()
    }

    #[test]
    fn the_process_is_one_line_that_old_watchdogs_can_read() {
        let mut spec = spec();
        for (words, line) in [
            (&["wc", "-l"][..], "fprocess=wc -l"),
            (&["sh", "-c", "echo it's"], r"fprocess=sh -c 'echo it'\''s'"),
            (&["a", ""], "fprocess=a ''"),
        ] {
            spec.process = words.iter().map(|word| (*word).to_owned()).collect();
            assert!(env_of(&spec).contains(&line.to_owned()), "{line}: {:?}", env_of(&spec));
        }
        spec.process.clear();
        assert!(!env_of(&spec).iter().any(|entry| entry.starts_with("fprocess")));
    }

    #[test]
    fn a_long_exec_timeout_widens_the_watchdogs_other_limits() {
        let mut spec = spec();
        assert!(env_of(&spec).contains(&"exec_timeout=30000ms".to_owned()));
        spec.env.insert("exec_timeout".to_owned(), "2m".to_owned());
        let env = env_of(&spec);
        assert!(
            env.contains(&"exec_timeout=2m".to_owned()) && env.contains(&"write_timeout=125000ms".to_owned())
        );
        let grace = service(&spec, 1, &PARTS).unwrap().task_template.unwrap().container_spec.unwrap();
        assert_eq!(grace.stop_grace_period, Some(nanos(Duration::from_secs(1 + 125 + 5))));
    }

    #[test]
    fn nobodys_label_makes_a_service_another_functions() {
        let mut spec = spec();
        spec.labels.insert(FUNCTION_LABEL.to_owned(), "other".to_owned());
        assert_eq!(labels(&spec)[FUNCTION_LABEL], "echo");
    }

    #[test]
    fn names_with_a_namespace_stay_apart() {
        let name = |text: &str| service_name(&FunctionName::parse(text).unwrap());
        assert_eq!(name("a").unwrap(), "a");
        assert_eq!(name("a.b").unwrap(), "a_b");
        let long = "n".repeat(40);
        assert!(name(&format!("{long}.{long}")).is_err());
    }

    #[test]
    fn the_fingerprint_is_of_what_runs() {
        let (spec, mut other) = (spec(), spec());
        assert_eq!(fingerprint(&spec, &PARTS), fingerprint(&other, &PARTS));
        assert_ne!(fingerprint(&spec, &PARTS), fingerprint(&spec, &Parts { image: "sha256:2", ..PARTS }));
        other.env.insert("a".to_owned(), "b".to_owned());
        assert_ne!(fingerprint(&spec, &PARTS), fingerprint(&other, &PARTS));
    }
}
