//! One line in the log for each change: who, from where, what, and what came of it.
//!
//! The target is `audit`, so that `--log-level warn,audit=info` keeps these lines alone. Names are told,
//! never a value, a body or a header.

use std::net::IpAddr;
use std::sync::Arc;

use http::{Method, StatusCode};
use parking_lot::Mutex;

tokio::task_local! {
    /// What the change is about, once its handler knows.
    static OBJECT: Arc<Mutex<String>>;
}

/// Tells what the change is about that this task is making: the name of a function, a secret, a namespace.
pub(crate) fn about(object: impl ToString) {
    // Nobody listens where a handler is called by something else than the API.
    let _ = OBJECT.try_with(|told| *told.lock() = object.to_string());
}

/// Whether a request is to change something, as taking a queued call back does. What a scaler elsewhere tells of
/// itself, its lease every second and why it decided what it did, changes nothing.
pub(super) fn is_change(method: &Method, path: &str) -> bool {
    const TELLING: [&str; 2] = ["/system/scaler-lease", "/system/scaler/explanation"];
    let takes_back = method == Method::DELETE && path.starts_with("/async-function/");
    takes_back || (!method.is_safe() && !super::is_open(path) && !TELLING.contains(&path))
}

/// Makes a change and logs it, also when its client goes away: the change may be made all the same.
pub(super) async fn logged<R>(
    who: &str,
    peer: Option<IpAddr>,
    (method, path): (Method, String),
    change: impl Future<Output = R>,
    status: impl Fn(&R) -> StatusCode,
) -> R {
    let from = peer.map_or_else(|| "unknown".to_owned(), |peer| peer.to_canonical().to_string());
    let mut line = Line { who, from, method, path, object: Arc::default(), status: None };
    let done = OBJECT.scope(Arc::clone(&line.object), change).await;
    line.status = Some(status(&done));
    done
}

/// Is logged when it is dropped.
struct Line<'a> {
    who: &'a str,
    from: String,
    method: Method,
    path: String,
    object: Arc<Mutex<String>>,
    status: Option<StatusCode>,
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let Self { who, from, method, path, object, status } = self;
        let outcome = match status {
            None => "client gone",
            Some(status) if status.is_success() => "done",
            Some(_) => "refused",
        };
        let status = status.map(|status| status.as_u16());
        tracing::info!(target: "audit", who, from, %method, path, object = &**object.lock(), status, outcome, "change");
    }
}

/// Wrong credentials were shown.
pub(super) fn refused_login(peer: IpAddr, path: &str) {
    let path = crate::error::excerpt(path);
    tracing::warn!(target: "audit", from = %peer.to_canonical(), path, outcome = "refused", "login");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_what_an_operator_would_miss() {
        for (method, path, change) in [
            (Method::PUT, "/system/functions", true),
            (Method::POST, "/system/scaler/changes", true),
            (Method::POST, "/system/nothing", true),
            (Method::GET, "/system/functions", false),
            (Method::POST, "/function/echo", false),
            (Method::DELETE, "/function/echo", false),
            (Method::POST, "/async-function/echo", false),
            (Method::DELETE, "/async-function/echo/1", true),
            (Method::PUT, "/system/scaler-lease", false),
            (Method::DELETE, "/system/scaler-lease", false),
            (Method::PUT, "/system/scaler/explanation", false),
        ] {
            assert_eq!(is_change(&method, path), change, "{method} {path}");
        }
    }
}
