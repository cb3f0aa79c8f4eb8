//! A server as functions in `http` mode are: one thread, and some work for each request.

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use axum::Router;
use axum::routing::any;
use axum::serve::ListenerExt;
use bytes::Bytes;
use clap::Args;
use tokio::net::TcpListener;

/// Echo on a port of this machine until killed, from one thread
#[derive(Debug, Args)]
pub(crate) struct Upstream {
    #[arg(long)]
    port: u16,
    /// Processor time that each request takes, in microseconds
    #[arg(long, default_value_t = 0)]
    work_us: u64,
}

impl Upstream {
    /// Serves until it is killed.
    ///
    /// # Errors
    /// When it cannot listen.
    pub(crate) fn run(self) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.context("cannot start the runtime")?.block_on(self.serve())
    }

    async fn serve(self) -> Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).await;
        let listener = listener.with_context(|| format!("cannot listen on port {}", self.port))?;
        let listener = listener.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        let work = Duration::from_micros(self.work_us);
        let echo = Router::new().fallback(any(move |body: Bytes| async move {
            let started = Instant::now();
            while started.elapsed() < work {
                black_box(&body);
            }
            body
        }));
        axum::serve(listener, echo).await.context("the server ended")
    }
}
