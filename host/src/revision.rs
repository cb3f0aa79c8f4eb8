//! One deployed revision of a function: its code and what its instances are given.

use std::sync::Arc;

use arc_swap::{ArcSwapOption, Guard};
use bramble_provider::reuse::REUSE_ANNOTATION;
use bramble_provider::spec::SCALE_TYPE_LABEL;
use bramble_provider::{Digest, FunctionName, FunctionSpec, OutputForm, ProviderError, Reuse, Settings};

use crate::code::Code;
use crate::config::HostConfig;
use crate::environ::Strings;
use crate::function_log::FunctionLog;
use crate::inspect::GuestKind;
use crate::kept::{HostKept, Kept};
use crate::metrics::HostMetrics;
use crate::secrets::SecretsView;

/// Tells a guest that its stdout is read as CGI, so that one program can serve both forms.
const OUTPUT_VARIABLE: &str = "BRAMBLE_OUTPUT=cgi";

/// What stays the same over all invocations between two deployments.
#[derive(Debug)]
pub(crate) struct Revision {
    pub(crate) name: FunctionName,
    pub(crate) spec: FunctionSpec,
    pub(crate) digest: Digest,
    pub(crate) kind: GuestKind,
    pub(crate) settings: Settings,
    pub(crate) environment: Strings,
    pub(crate) arguments: Strings,
    pub(crate) secrets: Option<SecretsView>,
    pub(crate) memory_bytes: u64,
    pub(crate) max_output_bytes: u64,
    /// Whether its time on a processor is metered: it is scaled by that.
    pub(crate) meters_cpu: bool,
    pub(crate) metrics: Arc<HostMetrics>,
    /// Instances for the next requests, where the function asks for that.
    pub(crate) kept: Option<Arc<Kept>>,
    log: Arc<FunctionLog>,
    code: ArcSwapOption<Code>,
    /// Held while code is loaded, so that it is loaded once however many wait for it.
    pub(crate) loading: tokio::sync::Mutex<()>,
}

impl Revision {
    /// Reads a spec. Loads nothing.
    pub(crate) fn new(
        spec: FunctionSpec,
        digest: Digest,
        kind: GuestKind,
        config: &HostConfig,
        log: Arc<FunctionLog>,
        metrics: Arc<HostMetrics>,
        kept: &Arc<HostKept>,
    ) -> Result<Self, ProviderError> {
        let settings = spec.settings()?;
        let reuse = settings.reuse.map(|reuse| check_reuse(reuse, digest, kind)).transpose()?;
        let memory_bytes = spec.limits.memory_bytes.unwrap_or(config.default_memory_bytes);
        let secrets = SecretsView::make(
            &config.data_dir.join("views"),
            &config.secrets_dir,
            &spec.name,
            &spec.secrets,
        )?;
        let mut environment = Strings::default();
        for (key, value) in &spec.env {
            environment.push(&[key, "=", value]);
        }
        if settings.output == OutputForm::Cgi {
            environment.push(&[OUTPUT_VARIABLE]);
        }
        let mut arguments = Strings::default();
        arguments.push(&[spec.name.name()]);
        spec.process.iter().for_each(|word| arguments.push(&[word]));
        Ok(Self {
            name: spec.name.clone(),
            digest,
            kind,
            settings,
            environment,
            arguments,
            secrets,
            memory_bytes,
            max_output_bytes: config.max_output_bytes,
            meters_cpu: spec.labels.get(SCALE_TYPE_LABEL).is_some_and(|signal| signal == "cpu"),
            kept: reuse.map(|reuse| Kept::new(reuse, kept, &metrics, &spec.name)),
            metrics,
            log,
            code: ArcSwapOption::empty(),
            loading: tokio::sync::Mutex::new(()),
            spec,
        })
    }

    /// The code, when it is in memory. The guard counts on this thread, not on a counter all cores share.
    pub(crate) fn code(&self) -> Option<CodeGuard> {
        let guard = self.code.load();
        guard.is_some().then_some(CodeGuard(guard))
    }

    pub(crate) fn set_code(&self, code: Option<Arc<Code>>) {
        self.code.store(code);
    }

    /// Sets how many instances may wait for a request; 0 ends reuse, and with it the revision's.
    pub(crate) fn keep_at_most(&self, limit: u32) {
        if let Some(kept) = &self.kept {
            kept.keep_at_most(limit);
        }
    }

    pub(crate) fn log(&self) -> &Arc<FunctionLog> {
        &self.log
    }
}

/// A revision that an invocation holds. The guard counts on this thread, not on a counter all cores share.
pub(crate) type HeldRevision = Guard<Arc<Revision>>;
/// Refuses to reuse what cannot be: the annotation would promise what never happens.
fn check_reuse(reuse: Reuse, digest: Digest, kind: GuestKind) -> Result<Reuse, ProviderError> {
    let refuse =
        |reason| Err(ProviderError::InvalidSpec { field: format!("annotations.{REUSE_ANNOTATION}"), reason });
    match kind {
        GuestKind::CommandModule | GuestKind::CommandComponent => refuse(format!(
            "{digest} is a {}: a command ends with its first request; only instances of wasi:http components \
            can take another",
            kind.as_str()
        )),
        GuestKind::HttpComponent if reuse.concurrency.get() > 1 => refuse(format!(
            "concurrency={}: {digest} is a {}, which serves one request at a time; leave it at 1, the \
            function's replicas run beside each other",
            reuse.concurrency,
            kind.as_str()
        )),
        GuestKind::HttpComponent => Ok(reuse),
    }
}

/// Code that stays in memory while this is held.
pub(crate) struct CodeGuard(Guard<Option<Arc<Code>>>);

impl std::ops::Deref for CodeGuard {
    type Target = Code;

    fn deref(&self) -> &Code {
        self.0.as_ref().expect("a guard is only made over code")
    }
}
