//! Components that export `wasi:cli/run`: commands of WASI 0.2, with the same stdio as those of 0.1.

use std::sync::Arc;
use std::time::Instant;

use wasmtime_wasi::p2::bindings::CommandPre;

use crate::call::Call;
use crate::guest::ComponentGuest;
use crate::run::{Exit, exit_of};

/// Runs the command.
pub(crate) async fn run(code: CommandPre<ComponentGuest>, call: Arc<Call>) -> Exit {
    let mut store = ComponentGuest::store(code.engine(), &call);
    let result = async {
        let making = Instant::now();
        let command = code.instantiate_async(&mut store).await?;
        call.revision.metrics.instantiated(making.elapsed());
        command.wasi_cli_run().call_run(&mut store).await
    }
    .await;
    // `run` returns an empty error for failure; that is exit status 1.
    exit_of(result.map(|outcome| i32::from(outcome.is_err())), &call, &store.data().meter)
}
