//! The contract between the gateway and whatever runs functions.
//!
//! In: names, specs, limits, statuses, errors and the two traits, [`Scale`] and [`Provider`].
//! Out: I/O, timers, an async runtime, and anything that knows wasm, Docker or OpenFaaS JSON.
//! The property that must hold: an invalid name, digest or quantity cannot be written as a value
//! of these types, so nothing behind this crate validates again.

pub mod body;
pub mod conformance;
pub mod digest;
pub mod error;
pub mod invoke;
pub mod log;
pub mod name;
pub mod provider;
pub mod quantity;
pub mod reuse;
pub mod settings;
pub mod spec;
pub mod status;
pub mod url;
pub mod words;

pub use body::{Body, BodyError};
pub use digest::Digest;
pub use error::ProviderError;
pub use invoke::{CallId, Invocation};
pub use log::{LogLine, LogQuery};
pub use name::{DEFAULT_NAMESPACE, FunctionName, SecretName, check_namespace};
pub use provider::{LogStream, Provider, Scale};
pub use reuse::Reuse;
pub use settings::{HybridPolicy, OutputForm, Settings};
pub use spec::{Code, FunctionSpec, Resources, Runtime};
pub use status::{FunctionStatus, Replicas};
pub use url::HttpUrl;
