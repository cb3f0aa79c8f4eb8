//! What is asked for when a function is deployed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::ProviderError;
use crate::name::{FunctionName, SecretName};
use crate::reuse::REUSE_ANNOTATION;
use crate::settings::{POLICY_ANNOTATION, Settings};

/// The label that sets how many replicas a function starts with and never falls below.
pub const SCALE_MIN_LABEL: &str = "com.openfaas.scale.min";

/// The label that names what a function is scaled by.
pub const SCALE_TYPE_LABEL: &str = "com.openfaas.scale.type";

/// The annotation that puts a module beside a container image, which makes a function hybrid.
pub const MODULE_ANNOTATION: &str = "bramble.module";

/// Most environment variables, labels or annotations of one function.
pub const MAX_ENTRIES: usize = 1_024;

/// Most bytes of one environment variable, label or annotation, key and value together.
pub const MAX_ENTRY_BYTES: usize = 128 * 1024;

/// A function as it is to be: desired state, stored before it is applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionSpec {
    /// The function's name.
    pub name: FunctionName,
    /// What runs when it is invoked.
    pub code: Code,
    /// The words of `envProcess`: they follow the function's name in `argv` (wasm) or are the
    /// command (containers).
    #[serde(default)]
    pub process: Vec<String>,
    /// Environment variables of the function; [`Settings`] are among them.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Secrets to show as files below `/var/openfaas/secrets/`.
    #[serde(default)]
    pub secrets: Vec<SecretName>,
    /// Labels; the scaler's policy is among them.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Placement constraints, as Swarm writes them (containers only).
    #[serde(default)]
    pub constraints: Vec<String>,
    /// The most a replica may use.
    #[serde(default)]
    pub limits: Resources,
    /// What a replica is promised.
    #[serde(default)]
    pub requests: Resources,
    /// Whether the root file system is read-only (containers only; a module has none).
    #[serde(default)]
    pub read_only_root_filesystem: bool,
}

/// What runs when a function is invoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// A WASI module by digest.
    Module(Digest),
    /// A container image by reference.
    Image(String),
    /// Both: the router chooses for each invocation.
    Hybrid {
        /// The WASI module.
        module: Digest,
        /// The container image.
        image: String,
    },
}

/// What runs a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Runtime {
    /// Inside the gateway's process.
    Wasm,
    /// In containers.
    Container,
    /// In both.
    Hybrid,
}

impl Runtime {
    /// The word used in metrics, logs and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wasm => "wasm",
            Self::Container => "container",
            Self::Hybrid => "hybrid",
        }
    }

    /// Whether there is a module to run.
    pub fn has_module(self) -> bool {
        matches!(self, Self::Wasm | Self::Hybrid)
    }

    /// Whether there are containers, which are then what its replicas count.
    pub fn has_containers(self) -> bool {
        matches!(self, Self::Container | Self::Hybrid)
    }
}

/// Memory and processor time, as a limit or as a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Resources {
    /// Bytes of memory over the whole replica.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    /// Thousandths of one CPU.
    #[serde(default)]
    pub cpu_millis: Option<u32>,
}

impl FunctionSpec {
    /// A spec that says nothing but the name and the code.
    pub fn new(name: FunctionName, code: Code) -> Self {
        Self {
            name,
            code,
            process: Vec::new(),
            env: BTreeMap::new(),
            secrets: Vec::new(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            constraints: Vec::new(),
            limits: Resources::default(),
            requests: Resources::default(),
            read_only_root_filesystem: false,
        }
    }

    /// The runtime that [`Self::code`] asks for.
    pub fn runtime(&self) -> Runtime {
        match self.code {
            Code::Module(_) => Runtime::Wasm,
            Code::Image(_) => Runtime::Container,
            Code::Hybrid { .. } => Runtime::Hybrid,
        }
    }

    /// What the wasm provider gets of it: the module alone, so that another image changes nothing there.
    pub fn module_half(&self) -> Self {
        match &self.code {
            Code::Hybrid { module, .. } => self.half(Code::Module(*module)),
            Code::Module(_) | Code::Image(_) => self.clone(),
        }
    }

    /// What the container provider gets of it: the image alone, so that another module or policy
    /// restarts no container.
    pub fn image_half(&self) -> Self {
        match &self.code {
            Code::Hybrid { image, .. } => {
                let mut half = self.half(Code::Image(image.clone()));
                half.annotations.remove(REUSE_ANNOTATION);
                half
            }
            Code::Module(_) | Code::Image(_) => self.clone(),
        }
    }

    fn half(&self, code: Code) -> Self {
        let mut half = Self { code, ..self.clone() };
        half.annotations.retain(|key, _| key != MODULE_ANNOTATION && key != POLICY_ANNOTATION);
        half
    }

    /// The settings that the environment and the annotations hold.
    ///
    /// # Errors
    /// [`ProviderError::InvalidSpec`] naming the variable or annotation.
    pub fn settings(&self) -> Result<Settings, ProviderError> {
        Settings::read(&self.env, &self.annotations)
    }

    /// Fewest replicas by [`SCALE_MIN_LABEL`], when it is set.
    ///
    /// # Errors
    /// [`ProviderError::InvalidSpec`] when the label is no whole number.
    pub fn scale_min(&self) -> Result<Option<u32>, ProviderError> {
        let Some(text) = self.labels.get(SCALE_MIN_LABEL) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| ProviderError::InvalidSpec {
            field: format!("labels.{SCALE_MIN_LABEL}"),
            reason: format!("{:?} is no whole number", crate::name::shortened(text)),
        })
    }

    /// Checks what the types alone cannot: settings, the counts and the lengths of entries.
    ///
    /// # Errors
    /// [`ProviderError::InvalidSpec`] naming the field and why.
    pub fn validate(&self) -> Result<(), ProviderError> {
        if self.settings()?.reuse.is_some() && !self.runtime().has_module() {
            return Err(invalid(
                &format!("annotations.{REUSE_ANNOTATION}"),
                "only instances of wasi:http components are reused; this is a container image".to_owned(),
            ));
        }
        self.scale_min()?;
        for (field, entries) in
            [("envVars", &self.env), ("labels", &self.labels), ("annotations", &self.annotations)]
        {
            check_entries(field, entries)?;
        }
        if let Some(word) = self.process.iter().find(|word| word.contains('\0')) {
            return Err(invalid("envProcess", format!("{:?} has a NUL in it", crate::name::shortened(word))));
        }
        Ok(())
    }
}

fn check_entries(field: &str, entries: &BTreeMap<String, String>) -> Result<(), ProviderError> {
    if entries.len() > MAX_ENTRIES {
        return Err(invalid(field, format!("{} entries; at most {MAX_ENTRIES} are allowed", entries.len())));
    }
    for (key, value) in entries {
        let named = || format!("{field}.{}", crate::name::shortened(key));
        if key.is_empty() || key.contains(['=', '\0']) {
            return Err(invalid(
                field,
                format!("the key {:?} is empty or has `=` or NUL in it", crate::name::shortened(key)),
            ));
        }
        if value.contains('\0') {
            return Err(invalid(&named(), "the value has a NUL in it".into()));
        }
        if key.len() + value.len() > MAX_ENTRY_BYTES {
            return Err(invalid(&named(), format!("longer than {MAX_ENTRY_BYTES} bytes")));
        }
    }
    Ok(())
}

fn invalid(field: &str, reason: String) -> ProviderError {
    ProviderError::InvalidSpec { field: field.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> FunctionSpec {
        FunctionSpec::new(FunctionName::parse("echo").unwrap(), Code::Module(Digest::from_sha256([7; 32])))
    }

    #[test]
    fn survives_a_round_trip_through_json() {
        let mut full = spec();
        full.env.insert("A".into(), "b".into());
        full.limits.memory_bytes = Some(1 << 20);
        let json = serde_json::to_string(&full).unwrap();
        assert_eq!(serde_json::from_str::<FunctionSpec>(&json).unwrap(), full);
    }

    #[test]
    fn refuses_entries_that_no_environment_can_hold() {
        for (key, value) in
            [("", "x"), ("A=B", "x"), ("A\0", "x"), ("A", "\0"), ("A", &*"x".repeat(MAX_ENTRY_BYTES))]
        {
            let mut bad = spec();
            bad.env.insert(key.into(), value.into());
            assert!(matches!(bad.validate(), Err(ProviderError::InvalidSpec { .. })), "{key:?}");
        }
        assert!(spec().validate().is_ok());
    }

    #[test]
    fn refuses_a_minimum_that_is_no_number() {
        let mut bad = spec();
        bad.labels.insert(SCALE_MIN_LABEL.into(), "abc".into());
        assert!(matches!(bad.validate(), Err(ProviderError::InvalidSpec { .. })));
    }

    #[test]
    fn refuses_to_reuse_what_no_module_makes() {
        let mut reused = spec();
        reused.annotations.insert(REUSE_ANNOTATION.into(), "requests=2".into());
        assert!(reused.validate().is_ok());
        reused.code = Code::Image("echo:1".to_owned());
        match reused.validate() {
            Err(ProviderError::InvalidSpec { field, .. }) => assert_eq!(field, "annotations.bramble.reuse"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_half_is_what_it_would_be_alone() {
        let (module, image) = (Digest::from_sha256([7; 32]), "echo:1".to_owned());
        let mut hybrid = spec();
        hybrid.annotations.insert("a".into(), "b".into());
        let alone = FunctionSpec { code: Code::Image(image.clone()), ..hybrid.clone() };
        let guest = hybrid.clone();
        hybrid.code = Code::Hybrid { module, image };
        hybrid.annotations.insert(MODULE_ANNOTATION.into(), module.to_string());
        hybrid.annotations.insert(POLICY_ANNOTATION.into(), "bridge".into());
        assert_eq!((hybrid.image_half(), hybrid.module_half()), (alone.clone(), guest));
        hybrid.annotations.insert(REUSE_ANNOTATION.into(), "requests=2".into());
        assert_eq!(hybrid.image_half(), alone, "how instances are reused is no container's business");
        assert!(hybrid.module_half().annotations.contains_key(REUSE_ANNOTATION));
        assert_eq!(alone.image_half(), alone);
    }
}
