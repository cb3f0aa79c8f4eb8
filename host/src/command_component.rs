//! Components that export `wasi:cli/run`: commands of WASI 0.2, with the same stdio as those of 0.1.

use std::sync::Arc;

use wasmtime::{Engine, Store};
use wasmtime_wasi::p2::bindings::CommandPre;

use crate::guest::ComponentGuest;
use crate::metrics::HostMetrics;
use crate::run::{Exit, component_meter, exit_of, take_turns};

/// Runs the command.
pub(crate) async fn run(
    engine: Engine,
    code: &CommandPre<ComponentGuest>,
    guest: ComponentGuest,
    metrics: Arc<HostMetrics>,
) -> Exit {
    let mut store = Store::new(&engine, guest);
    store.limiter(|guest| component_meter(guest));
    take_turns(&mut store);
    let result = async {
        let making = std::time::Instant::now();
        let command = code.instantiate_async(&mut store).await?;
        metrics.instantiated(making.elapsed());
        command.wasi_cli_run().call_run(&mut store).await
    }
    .await;
    // `run` returns an empty error for failure; that is exit status 1.
    exit_of(result.map(|outcome| i32::from(outcome.is_err())), &store.data().common)
}
