//! The lines of both halves as one log, in the order in which they come.

use bramble_host::HostLogs;
use bramble_provider::{LogLine, LogStream};
use bramble_swarm::ContainerLogs;

/// The log of a hybrid function. A `tail` is of each half.
#[derive(Debug)]
pub struct BothLogs {
    wasm: Option<HostLogs>,
    containers: Option<ContainerLogs>,
}

impl BothLogs {
    /// Of halves of which one may have no log at the moment.
    pub(in crate::functions) fn new(wasm: Option<HostLogs>, containers: Option<ContainerLogs>) -> Self {
        Self { wasm, containers }
    }
}

impl LogStream for BothLogs {
    async fn next(&mut self) -> Option<LogLine> {
        loop {
            // Both can be asked and dropped: neither takes a line off before it has all of it.
            match (&mut self.wasm, &mut self.containers) {
                (None, None) => return None,
                (Some(wasm), None) => return wasm.next().await,
                (None, Some(containers)) => return containers.next().await,
                (Some(wasm), Some(containers)) => tokio::select! {
                    line = wasm.next() => match line {
                        Some(line) => return Some(line),
                        None => self.wasm = None,
                    },
                    line = containers.next() => match line {
                        Some(line) => return Some(line),
                        None => self.containers = None,
                    },
                },
            }
        }
    }
}
