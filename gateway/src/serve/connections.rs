//! All connections, to be told that the gateway stops, and to be waited for.

use std::future::Future;
use std::pin::pin;

use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::server::conn::http1::UpgradeableConnection;
use hyper::service::HttpService;
use tokio::sync::watch;

/// The connections that are open.
#[derive(Debug)]
pub(super) struct Connections(watch::Sender<bool>);

impl Connections {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// What a new connection is watched by: a stop waits for it from now on.
    pub(super) fn watch(&self) -> Watch {
        Watch(self.0.subscribe())
    }

    /// Tells every connection, and waits until all have ended.
    pub(super) async fn shutdown(self) {
        self.0.send_replace(true);
        self.0.closed().await;
    }
}

/// Tells one connection that the gateway stops.
#[derive(Debug)]
pub(super) struct Watch(watch::Receiver<bool>);

impl Watch {
    /// Resolves once the gateway stops, for what may be dropped then.
    pub(super) async fn stopping(&mut self) {
        // An error means that the gateway itself is gone, which is as good as stopping.
        let _gone = self.0.wait_for(|stopping| *stopping).await.is_err();
    }

    /// The connection, which ends after its current request once the gateway stops.
    pub(super) fn over<I, S, B>(
        self,
        connection: UpgradeableConnection<I, S>,
    ) -> impl Future<Output = hyper::Result<()>> + use<I, S, B>
    where
        I: Read + Write + Unpin + Send + 'static,
        S: HttpService<Incoming, ResBody = B>,
        S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        B: http_body::Body + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let mut stopping = self.0;
        async move {
            let mut connection = pin!(connection);
            tokio::select! {
                biased;
                ended = connection.as_mut() => return ended,
                _ = stopping.wait_for(|stopping| *stopping) => {}
            }
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}
