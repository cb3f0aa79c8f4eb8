//! `POST /system/alert`: Alertmanager's webhook, for whoever keeps the original's loop of Prometheus
//! rules.
//!
//! A firing alert adds the function's factor, in percent of its maximum; a resolved one takes it back
//! to its minimum, 1 at least, unless it sleeps at 0. Only `status` and `labels.function_name` of each alert are read, as in the original.

use std::collections::{BTreeMap, BTreeSet};
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
use utoipa::ToSchema;

use super::body;
use super::wire::Object;
use crate::auth::audit;
use crate::error::{GatewayError, excerpt};
use crate::state::Gateway;

/// Functions that are scaled at the same time.
const AT_ONCE: usize = 16;

/// What Alertmanager posts.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = AlertNotification)]
pub(super) struct Notification {
    #[schema(value_type = Vec<Alert>)]
    alerts: Vec<Object<Alert>>,
}

#[derive(Debug, Deserialize, ToSchema)]
struct Alert {
    status: String,
    labels: Option<BTreeMap<String, String>>,
}

/// What was done about a notification.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = AlertReport)]
pub(super) struct Report {
    /// The functions whose replicas follow alerts, with what they now are asked for.
    scaled: Vec<Scaled>,
    /// Names that no function has, and texts that are no name.
    unknown: Vec<String>,
    /// Functions whose labels cannot be followed, and why.
    #[schema(value_type = BTreeMap<String, String>)]
    refused: BTreeMap<FunctionName, String>,
    /// Functions that could not be scaled, and why.
    #[schema(value_type = BTreeMap<String, String>)]
    failed: BTreeMap<FunctionName, String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Scaled {
    #[schema(value_type = String)]
    name: FunctionName,
    from: u32,
    to: u32,
}

/// How the alerts on one function ended.
enum Handled {
    Scaled(Scaled),
    Gone(FunctionName),
    Refused(FunctionName, String),
    Failed(FunctionName, GatewayError),
}

/// 200 with what was done. What is unknown or fails does not fail the others; 503 when nothing but failures
/// came of it, upon which Alertmanager sends them all again. Were a part enough for that, each function that
/// was scaled would climb by another step at each retry; what failed comes again with the next repeat.
#[utoipa::path(
    post, path = "/system/alert", operation_id = "receiveAlerts", tag = "scaling",
    request_body(content = Notification),
    responses(
        (status = 200, description = "what was done", body = Report),
        (status = 503, description = "`alerts_failed`: send it again"),
    ),
)]
pub(super) async fn receive(
    State(gateway): State<Arc<Gateway>>,
    body: Body,
) -> Result<Json<Report>, GatewayError> {
    let notification: Notification = body::json(body).await?;
    // Two alerts on one function must not add two steps at once; one that fires outweighs one that ended.
    let (mut wanted, mut unknown) = (BTreeMap::new(), BTreeSet::new());
    for Object(alert) in notification.alerts {
        // Alerts on something else than functions may come here too.
        let Some(name) = alert.labels.and_then(|mut labels| labels.remove("function_name")) else { continue };
        let firing = alert.status == "firing";
        // Looked up first: a function has more than one spelling.
        match gateway.functions.get(&name) {
            Some(function) => *wanted.entry(function.spec.name.clone()).or_insert(firing) |= firing,
            None => drop(unknown.insert(excerpt(&name))),
        }
    }
    audit::about(wanted.keys().map(FunctionName::as_str).collect::<Vec<_>>().join(", "));
    let handled = stream::iter(wanted).map(|(name, firing)| handle(&gateway, name, firing));
    let handled: Vec<Handled> = handled.buffered(AT_ONCE).collect().await;
    let mut report = Report::default();
    for handled in handled {
        match handled {
            Handled::Scaled(scaled) => report.scaled.push(scaled),
            Handled::Gone(name) => drop(unknown.insert(name.to_string())),
            Handled::Refused(name, reason) => drop(report.refused.insert(name, reason)),
            Handled::Failed(name, error) => drop(report.failed.insert(name, error.to_string())),
        }
    }
    report.unknown = unknown.into_iter().collect();
    if !report.unknown.is_empty() {
        tracing::info!(
            functions = report.unknown.join(", "),
            "an alert names functions that are not deployed"
        );
    }
    report.answer().map(Json)
}

impl Report {
    fn answer(self) -> Result<Self, GatewayError> {
        if self.failed.is_empty() || !self.scaled.is_empty() {
            return Ok(self);
        }
        let failed: Vec<_> = self.failed.iter().map(|(name, why)| format!("{name}: {why}")).collect();
        Err(GatewayError::AlertsFailed(failed.join("; ")))
    }
}

async fn handle(gateway: &Gateway, name: FunctionName, firing: bool) -> Handled {
    let Some(function) = gateway.functions.get(name.as_str()) else { return Handled::Gone(name) };
    let defaults = Defaults::with_slots(gateway.config.wasm.default_slots);
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
        Err(GatewayError::Provider(ProviderError::UnknownFunction(_))) => Handled::Gone(name),
        Err(error) => Handled::Failed(name, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_sent_again_only_when_nothing_but_failures_came_of_it() {
        let name = |text| FunctionName::parse(text).unwrap();
        let failed = || BTreeMap::from([(name("a"), "it is away".to_owned())]);
        let all = Report { failed: failed(), ..Report::default() };
        assert!(matches!(all.answer(), Err(GatewayError::AlertsFailed(said)) if said.contains("it is away")));
        let scaled = vec![Scaled { name: name("b"), from: 1, to: 3 }];
        let some = Report { failed: failed(), scaled, ..Report::default() };
        assert_eq!(some.answer().unwrap().failed.len(), 1);
        assert!(Report::default().answer().is_ok());
    }
}
