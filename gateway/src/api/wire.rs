//! OpenFaaS' JSON, as `faas-cli` sends and reads it, and ours for modules.
//!
//! Go omits what is empty and writes `null` for an empty map or list, so every field that is read
//! may be missing or `null`, and what is written follows the same rules.

mod info;
mod object;
mod runtimes;

use std::collections::BTreeMap;

use bramble_host::ModuleInfo;
use bramble_provider::quantity::{format_bytes, format_cpu_millis, parse_bytes, parse_cpu_millis};
use bramble_provider::spec::MODULE_ANNOTATION;
use bramble_provider::{
    Code, Digest, FunctionName, FunctionSpec, LogLine, ProviderError, Replicas, SecretName, words,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::extract::function_name;
use super::modules::Taken;
use crate::error::excerpt;
use crate::functions::Function;

pub(super) use info::Info;
pub(super) use object::Object;
pub(super) use runtimes::{HalfStatus, Runtimes};

/// The label that OpenFaaS' providers add to what they list.
const FUNCTION_LABEL: &str = "faas_function";

/// Longest `image`.
const MAX_IMAGE_BYTES: usize = 4 << 10;

/// Body of `POST` and `PUT /system/functions`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
#[schema(as = FunctionDeployment)]
pub(super) struct Deployment {
    #[schema(required = true, value_type = String)]
    service: Option<String>,
    /// A reference of a container image, or `sha256:` and the digest of a module.
    #[schema(required = true, value_type = String)]
    image: Option<String>,
    namespace: Option<String>,
    env_process: Option<String>,
    env_vars: Option<BTreeMap<String, String>>,
    constraints: Option<Vec<String>>,
    secrets: Option<Vec<String>>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    #[schema(value_type = Option<Resources>)]
    limits: Option<Object<Resources>>,
    #[schema(value_type = Option<Resources>)]
    requests: Option<Object<Resources>>,
    read_only_root_filesystem: Option<bool>,
}

/// `limits` and `requests`.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(default)]
pub(super) struct Resources {
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu: Option<String>,
}

/// Body of `DELETE /system/functions`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
#[schema(as = DeleteFunctionRequest)]
pub(super) struct Removal {
    #[schema(required = true, value_type = String)]
    pub(super) function_name: Option<String>,
    pub(super) namespace: Option<String>,
}

/// Body of `POST /system/scale-function/{name}`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
#[schema(as = ScaleServiceRequest)]
pub(super) struct Scaling {
    pub(super) service_name: Option<String>,
    #[schema(required = true, value_type = u32, maximum = 10_000)]
    pub(super) replicas: Option<u32>,
    pub(super) namespace: Option<String>,
}

/// A function as `GET` lists it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct FunctionStatus {
    name: String,
    image: String,
    namespace: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    env_process: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    env_vars: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    constraints: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    secrets: Vec<SecretName>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<Resources>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requests: Option<Resources>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    read_only_root_filesystem: bool,
    invocation_count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    replicas: u32,
    #[serde(skip_serializing_if = "is_zero")]
    available_replicas: u32,
    /// Ours: of the available ones, paused by Docker.
    #[serde(skip_serializing_if = "is_zero")]
    frozen_replicas: u32,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) usage: Option<Usage>,
    /// Ours: why fewer replicas are available than asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    /// Ours: the halves of a hybrid function.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) runtimes: Option<Runtimes>,
}

/// What freezing did.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Frozen {
    /// Replicas that it paused.
    pub(super) frozen: u32,
}

/// What a function uses now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Usage {
    /// Bytes over all replicas.
    pub(super) total_memory_bytes: u64,
}

/// A module.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Module {
    #[schema(value_type = String)]
    digest: Digest,
    kind: &'static str,
    size_bytes: u64,
    imports: Vec<String>,
    /// The digest of what was uploaded, where pre-initialising made this module of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    preinitialised_from: Option<Digest>,
}

/// A line of a log.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LogLine)]
pub(super) struct Line<'a> {
    name: &'a str,
    namespace: &'a str,
    instance: &'a str,
    timestamp: String,
    text: &'a str,
}

impl TryFrom<Deployment> for FunctionSpec {
    type Error = ProviderError;

    fn try_from(wire: Deployment) -> Result<Self, ProviderError> {
        let service =
            wire.service.filter(|service| !service.is_empty()).ok_or_else(|| required("service"))?;
        let image = wire.image.filter(|image| !image.is_empty()).ok_or_else(|| required("image"))?;
        let annotations = wire.annotations.unwrap_or_default();
        let secrets = wire.secrets.unwrap_or_default();
        let secrets = secrets.iter().map(|name| SecretName::parse(name)).collect::<Result<_, _>>();
        Ok(Self {
            name: function_name("service", &service, wire.namespace.as_deref())?,
            code: code(image, annotations.get(MODULE_ANNOTATION))?,
            process: words::split(&wire.env_process.unwrap_or_default())
                .map_err(|error| invalid("envProcess", error))?,
            env: wire.env_vars.unwrap_or_default(),
            secrets: secrets.map_err(|error| invalid("secrets", error))?,
            labels: wire.labels.unwrap_or_default(),
            annotations,
            constraints: wire.constraints.unwrap_or_default(),
            limits: resources("limits", wire.limits)?,
            requests: resources("requests", wire.requests)?,
            read_only_root_filesystem: wire.read_only_root_filesystem.unwrap_or_default(),
        })
    }
}

/// What `image` means, with the module that an annotation may put beside it.
fn code(image: String, module: Option<&String>) -> Result<Code, ProviderError> {
    if image.starts_with("oci://") {
        return Err(invalid("image", "wasm from an OCI registry is not supported yet; upload the module"));
    }
    if image.len() > MAX_IMAGE_BYTES || image.contains(|c: char| c.is_whitespace() || c.is_control()) {
        let image = excerpt(&image);
        return Err(invalid(
            "image",
            format!("{image:?} is neither a module's digest nor a container reference"),
        ));
    }
    let annotated = module.map(|text| Digest::parse(text)).transpose();
    let annotated = annotated.map_err(|error| invalid("annotations.bramble.module", error))?;
    if !image.starts_with(Digest::PREFIX) {
        return Ok(annotated.map_or(Code::Image(image.clone()), |module| Code::Hybrid { module, image }));
    }
    let module = Digest::parse(&image).map_err(|error| invalid("image", error))?;
    match annotated.filter(|annotated| *annotated != module) {
        None => Ok(Code::Module(module)),
        Some(other) => {
            Err(invalid("annotations.bramble.module", format!("{other} is not the module in `image`")))
        }
    }
}

fn resources(
    field: &str,
    wire: Option<Object<Resources>>,
) -> Result<bramble_provider::Resources, ProviderError> {
    let wire = wire.map(|Object(wire)| wire).unwrap_or_default();
    let said = |text: Option<String>| text.filter(|text| !text.is_empty());
    let memory_bytes = said(wire.memory).map(|text| parse_bytes(&text)).transpose();
    let cpu_millis = said(wire.cpu).map(|text| parse_cpu_millis(&text)).transpose();
    Ok(bramble_provider::Resources {
        memory_bytes: memory_bytes.map_err(|error| invalid(&format!("{field}.memory"), error))?,
        cpu_millis: cpu_millis.map_err(|error| invalid(&format!("{field}.cpu"), error))?,
    })
}

impl FunctionStatus {
    /// What is told about a function.
    pub(super) fn new(function: &Function, replicas: Replicas) -> Self {
        let spec = function.spec.clone();
        let mut labels = spec.labels;
        labels.entry(FUNCTION_LABEL.to_owned()).or_insert_with(|| spec.name.name().to_owned());
        Self {
            image: match spec.code {
                Code::Module(digest) => digest.to_string(),
                Code::Image(image) | Code::Hybrid { image, .. } => image,
            },
            name: spec.name.name().to_owned(),
            namespace: spec.name.namespace().to_owned(),
            env_process: words::join(&spec.process),
            env_vars: spec.env,
            constraints: spec.constraints,
            secrets: spec.secrets,
            labels,
            annotations: spec.annotations,
            limits: written(spec.limits),
            requests: written(spec.requests),
            read_only_root_filesystem: spec.read_only_root_filesystem,
            invocation_count: function.metrics().invocations(),
            replicas: function.desired(),
            available_replicas: replicas.available,
            frozen_replicas: replicas.frozen,
            created_at: rfc3339(function.created_at),
            usage: None,
            reason: None,
            runtimes: None,
        }
    }
}

impl From<ModuleInfo> for Module {
    fn from(info: ModuleInfo) -> Self {
        Self {
            digest: info.digest,
            kind: info.kind.as_str(),
            size_bytes: info.size_bytes,
            imports: info.imports,
            preinitialised_from: None,
        }
    }
}

impl From<&Taken> for Module {
    fn from(taken: &Taken) -> Self {
        let preinitialised_from = taken.preinitialised_from;
        Self { preinitialised_from, ..Self::from(taken.stored.info.clone()) }
    }
}

impl<'a> From<&'a LogLine> for Line<'a> {
    fn from(line: &'a LogLine) -> Self {
        Self {
            name: line.name.name(),
            namespace: line.name.namespace(),
            instance: &line.instance,
            timestamp: rfc3339(line.timestamp),
            text: &line.text,
        }
    }
}

impl Removal {
    /// Which function, by the body or, as the portal does it, with the namespace in the query.
    pub(super) fn name(&self, namespace: Option<&str>) -> Result<FunctionName, ProviderError> {
        let name = self.function_name.as_deref().unwrap_or_default();
        if name.is_empty() {
            return Err(required("functionName"));
        }
        let own = self.namespace.as_deref().filter(|namespace| !namespace.is_empty());
        function_name("functionName", name, own.or(namespace))
    }
}

fn written(resources: bramble_provider::Resources) -> Option<Resources> {
    let wire = Resources {
        memory: resources.memory_bytes.map(format_bytes),
        cpu: resources.cpu_millis.map(format_cpu_millis),
    };
    (wire != Resources::default()).then_some(wire)
}

/// The time as Go writes it. A time that no calendar has is the zero time.
fn rfc3339(time: std::time::SystemTime) -> String {
    jiff::Timestamp::try_from(time).unwrap_or_default().to_string()
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

pub(super) fn required(field: &str) -> ProviderError {
    invalid(field, "is required")
}

pub(super) fn invalid(field: &str, reason: impl ToString) -> ProviderError {
    ProviderError::InvalidSpec { field: field.to_owned(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests;
