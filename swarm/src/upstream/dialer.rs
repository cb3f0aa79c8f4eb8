//! Connecting to a replica, in another network namespace if need be.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot};

use super::error::NoConnection;

/// How long a connection may take. The replica is a network away, not a continent.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How many sockets may be waited for; more wait for a place.
const QUEUE_LENGTH: usize = 64;

/// How to reach one replica.
#[derive(Debug, Clone)]
pub(crate) enum Path {
    /// From where this process is.
    Direct,
    /// With sockets made in this network namespace (a `/proc/PID/ns/net`, or a bind mount of one).
    Namespace(Arc<OwnedFd>),
}

/// Where a replica is.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    /// Its address, as seen from where the path begins.
    pub(crate) socket: SocketAddr,
    /// The way there.
    pub(crate) path: Path,
}

/// Makes connections. Cheap to clone; clones share the thread that enters namespaces, which starts
/// with the first socket that needs it and ends with the last clone.
#[derive(Debug, Clone)]
pub(crate) struct Dialer {
    connect_timeout: Duration,
    thread: Arc<OnceLock<mpsc::Sender<Order>>>,
}

/// A socket to be made in a namespace.
#[derive(Debug)]
struct Order {
    namespace: Arc<OwnedFd>,
    is_v4: bool,
    reply: oneshot::Sender<io::Result<TcpSocket>>,
}

impl Default for Dialer {
    fn default() -> Self {
        Self::new(CONNECT_TIMEOUT)
    }
}

impl Dialer {
    /// A dialer that waits for at most `connect_timeout` for a connection.
    pub(crate) fn new(connect_timeout: Duration) -> Self {
        Self { connect_timeout, thread: Arc::default() }
    }

    /// Connects; small pieces go out at once (`TCP_NODELAY`).
    ///
    /// # Errors
    /// [`NoConnection`], but for `Closed`.
    pub(super) async fn dial(&self, address: &Address) -> Result<TcpStream, NoConnection> {
        let (socket, timeout) = (address.socket, self.connect_timeout);
        let connecting = async {
            let unconnected = match &address.path {
                Path::Direct => new_socket(socket.is_ipv4()),
                Path::Namespace(namespace) => {
                    let made = self.socket_in(namespace, socket.is_ipv4()).await;
                    Ok(made.map_err(|source| NoConnection::Namespace { source })?)
                }
            };
            let failed = |source| NoConnection::Failed { socket, source };
            let unconnected = unconnected.map_err(failed)?;
            unconnected.set_nodelay(true).map_err(failed)?;
            unconnected.connect(socket).await.map_err(failed)
        };
        let done = tokio::time::timeout(timeout, connecting).await;
        done.unwrap_or(Err(NoConnection::TimedOut { socket, timeout }))
    }

    async fn socket_in(&self, namespace: &Arc<OwnedFd>, is_v4: bool) -> io::Result<TcpSocket> {
        let (reply, made) = oneshot::channel();
        let order = Order { namespace: Arc::clone(namespace), is_v4, reply };
        let gone = || io::Error::other("the thread that enters namespaces has ended");
        self.orders()?.send(order).await.map_err(|_| gone())?;
        made.await.map_err(|_| gone())?
    }

    fn orders(&self) -> io::Result<&mpsc::Sender<Order>> {
        if let Some(orders) = self.thread.get() {
            return Ok(orders);
        }
        let (orders, waiting) = mpsc::channel(QUEUE_LENGTH);
        let home = File::open("/proc/thread-self/ns/net")?;
        thread::Builder::new().name("netns-sockets".to_owned()).spawn(move || serve(waiting, &home))?;
        // A thread that lost the race ends: its sender is dropped here.
        Ok(self.thread.get_or_init(|| orders))
    }
}

/// Makes sockets until nobody is left to ask for one.
fn serve(mut orders: mpsc::Receiver<Order>, home: &File) {
    while let Some(Order { namespace, is_v4, reply }) = orders.blocking_recv() {
        if reply.is_closed() {
            continue;
        }
        let made = enter(namespace.as_fd()).and_then(|()| new_socket(is_v4));
        // Back at once: a thread inside would keep the namespace of a replica that is gone.
        let back = enter(home.as_fd());
        // A dialer that gave up needs no answer.
        drop(reply.send(back.and(made)));
    }
}

fn enter(namespace: BorrowedFd<'_>) -> io::Result<()> {
    Ok(move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))?)
}

fn new_socket(is_v4: bool) -> io::Result<TcpSocket> {
    if is_v4 { TcpSocket::new_v4() } else { TcpSocket::new_v6() }
}
