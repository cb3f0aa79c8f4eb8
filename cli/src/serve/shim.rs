//! REMOVE when `bramble_gateway::run` is there: it stands in for it, and answers only `/readyz`.

use std::net::SocketAddr;

use anyhow::Result;
use bramble_gateway::GatewayConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[derive(Debug)]
pub(super) struct Running {
    pub(super) listen: SocketAddr,
    pub(super) metrics_listen: SocketAddr,
}

pub(super) async fn run(
    config: GatewayConfig,
    ready: impl FnOnce(&Running) + Send,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    std::fs::create_dir_all(&config.data_dir)?;
    let listener = tokio::net::TcpListener::bind(config.listen).await?;
    ready(&Running { listen: listener.local_addr()?, metrics_listen: config.metrics_listen });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).await;
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n[]")
                .await;
        }
    });
    shutdown.await;
    Ok(())
}
