//! `POST /system/alert`: Alertmanager's webhook, for whoever keeps the original's loop of Prometheus
//! rules.
//!
//! A firing alert adds the function's factor, in percent of its maximum; a resolved one takes it back
//! to its minimum. Only `status` and `labels.function_name` of each alert are read, as in the original.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use bramble_provider::{FunctionName, ProviderError};
use bramble_scaler::policy::Defaults;
use bramble_scaler::{Policy, alert};
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};

use super::body;
use crate::error::{GatewayError, excerpt};
use crate::state::Gateway;

/// Functions that are scaled at the same time.
const AT_ONCE: usize = 16;

/// What Alertmanager posts.
#[derive(Debug, Deserialize)]
pub(super) struct Notification {
    alerts: Vec<Alert>,
}

#[derive(Debug, Deserialize)]
struct Alert {
    status: String,
    labels: Option<BTreeMap<String, String>>,
}

/// What was done about a notification.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    /// The functions whose replicas follow alerts, with what they now are asked for.
    scaled: Vec<Scaled>,
    /// Names that no function has, and texts that are no name.
    unknown: Vec<String>,
    /// Functions whose labels cannot be followed, and why.
    refused: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
struct Scaled {
    name: FunctionName,
    from: u32,
    to: u32,
}

/// How one alert ended.
enum Handled {
    Scaled(Scaled),
    Unknown(String),
    Refused(FunctionName, String),
    Failed(FunctionName, GatewayError),
}

/// 200 with what was done. What is unknown does not fail the others; 503 when a change failed, upon
/// which Alertmanager sends them all again.
pub(super) async fn receive(
    State(gateway): State<Arc<Gateway>>,
    body: Body,
) -> Result<Json<Report>, GatewayError> {
    let notification: Notification = body::json(body).await?;
    // Two alerts on one function must not add two steps at once; one that fires outweighs one that ended.
    let mut wanted = BTreeMap::new();
    for alert in notification.alerts {
        // Alerts on something else than functions may come here too.
        let Some(name) = alert.labels.and_then(|mut labels| labels.remove("function_name")) else { continue };
        let firing = alert.status == "firing";
        *wanted.entry(name).or_insert(firing) |= firing;
    }
    let handled = stream::iter(wanted).map(|(name, firing)| handle(&gateway, name, firing));
    let handled: Vec<Handled> = handled.buffered(AT_ONCE).collect().await;
    let (mut report, mut failed) = (Report::default(), Vec::new());
    for handled in handled {
        match handled {
            Handled::Scaled(scaled) => report.scaled.push(scaled),
            Handled::Unknown(name) => report.unknown.push(excerpt(&name)),
            Handled::Refused(name, reason) => drop(report.refused.insert(name.to_string(), reason)),
            Handled::Failed(name, error) => failed.push(format!("{name}: {error}")),
        }
    }
    if !report.unknown.is_empty() {
        tracing::info!(
            functions = report.unknown.join(", "),
            "an alert names functions that are not deployed"
        );
    }
    if failed.is_empty() { Ok(Json(report)) } else { Err(GatewayError::AlertsFailed(failed.join("; "))) }
}

async fn handle(gateway: &Gateway, text: String, firing: bool) -> Handled {
    let Some(function) = gateway.functions.get(&text) else { return Handled::Unknown(text) };
    let name = function.spec.name.clone();
    let defaults = Defaults { wasm_slots: gateway.config.wasm.default_slots, ..Defaults::default() };
    let policy = match Policy::from_labels(&function.spec.labels, function.runtime, &defaults) {
        Ok(policy) => policy,
        Err(error) => return Handled::Refused(name, error.to_string()),
    };
    let holds = &gateway.scaling.holds;
    if firing {
        holds.hold(&name, Instant::now())
    } else {
        holds.release(&name)
    }
    let from = function.desired();
    let to = alert(&policy, firing, from);
    if to == from {
        return Handled::Scaled(Scaled { name, from, to });
    }
    match gateway.functions.scale(&name, to).await {
        Ok(()) => Handled::Scaled(Scaled { name, from, to }),
        Err(GatewayError::Provider(ProviderError::UnknownFunction(_))) => Handled::Unknown(text),
        Err(error) => Handled::Failed(name, error),
    }
}
