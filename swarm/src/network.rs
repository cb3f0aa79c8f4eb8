//! The network that functions are on, and how this process reaches it.

use std::collections::HashMap;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest};
use bollard::query_parameters::{InspectContainerOptions, InspectNetworkOptions};

use crate::docker::{Docker, DockerError};
use crate::upstream::{Address, Path};

/// The port that a function listens on.
const FUNCTION_PORT: u16 = 8080;
/// The network that connects a node's containers to the node itself.
const BRIDGE: &str = "docker_gwbridge";
/// A network that is being removed is still in the way for about a second.
const CREATE_TRIES: u32 = 10;
const CREATE_PAUSE: Duration = Duration::from_millis(300);

/// How this process reaches replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// It is on the network itself, as a container: every replica on every node.
    Network,
    /// It is a process of this node with the right to enter containers' network namespaces.
    Namespaces,
    /// It is any other process of this node: replicas of this node, over its bridge.
    Bridge,
}

impl Reach {
    /// The word for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Namespaces => "namespaces",
            Self::Bridge => "bridge",
        }
    }
}

/// The network of functions.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    docker: Docker,
    name: String,
    /// How its replicas are reached.
    pub(crate) reach: Reach,
    own_node: Arc<str>,
    door: SharedDoor,
}

/// The way to other nodes, if there is one. It outlives a connection to Docker: the daemon's absence closes nothing.
pub(crate) type SharedDoor = Arc<ArcSwapOption<Door>>;

/// The way to other nodes of a process that is not on the network: from within a container here that is.
#[derive(Debug)]
pub(crate) struct Door {
    container: Arc<str>,
    namespace: Arc<OwnedFd>,
}

impl Network {
    /// Finds the network, or makes it, and finds out how to reach it.
    ///
    /// # Errors
    /// [`DockerError`]; [`DockerError::Refused`] when there is a network of this name that tasks cannot be on.
    pub(crate) async fn open(
        docker: &Docker,
        name: &str,
        subnet: &str,
        own_node: Arc<str>,
        door: SharedDoor,
    ) -> Result<Self, DockerError> {
        let found = find_or_make(docker, name, subnet).await?;
        let attached = found.as_deref().is_some_and(is_in_subnet);
        let reach = match (attached, docker.is_local() && rustix::process::geteuid().is_root()) {
            (true, _) => Reach::Network,
            (false, true) => Reach::Namespaces,
            (false, false) => Reach::Bridge,
        };
        Ok(Self { docker: docker.clone(), name: name.to_owned(), reach, own_node, door })
    }

    /// Where a replica is. `overlay` is its address on this network, when that is known.
    ///
    /// # Errors
    /// A text that says why it cannot be reached from here.
    pub(crate) async fn address(
        &self,
        node: &str,
        container: &str,
        overlay: Option<IpAddr>,
    ) -> Result<Address, String> {
        if self.reach == Reach::Network {
            let ip = overlay.ok_or("it has no address on the functions' network")?;
            return Ok(Address { socket: (ip, FUNCTION_PORT).into(), path: Path::Direct });
        }
        if node != &*self.own_node {
            let (path, _) = self.way_to_others().ok_or(
                "it runs on another node, which this process cannot reach: run it as root with an agent on \
                 every node (--agent-image), or as a container on the functions' network (deploy/stack.yml)",
            )?;
            let ip = overlay.ok_or("it has no address on the functions' network")?;
            return Ok(Address { socket: (ip, FUNCTION_PORT).into(), path });
        }
        match self.reach {
            Reach::Network | Reach::Namespaces => {
                let (namespace, ip) = self.inside(container).await?;
                let ip = overlay.or(ip).unwrap_or(Ipv4Addr::LOCALHOST.into());
                let path = Path::Namespace(Arc::new(namespace));
                Ok(Address { socket: (ip, FUNCTION_PORT).into(), path })
            }
            Reach::Bridge => Ok(Address { socket: self.on_bridge(container).await?, path: Path::Direct }),
        }
    }

    /// How anything on other nodes is reached, if it is, and through which container.
    pub(crate) fn way_to_others(&self) -> Option<(Path, Option<Arc<str>>)> {
        match self.reach {
            Reach::Network => Some((Path::Direct, None)),
            Reach::Bridge => None,
            Reach::Namespaces => {
                let door = self.door.load_full()?;
                Some((Path::Namespace(Arc::clone(&door.namespace)), Some(Arc::clone(&door.container))))
            }
        }
    }

    /// The way to other nodes through this container of our node, where one is needed and it is not the one there is.
    ///
    /// # Errors
    /// A text that says why it cannot be entered.
    pub(crate) async fn door_of(&self, container: &str) -> Result<Option<Door>, String> {
        let is_there = self.door.load().as_ref().is_some_and(|door| *door.container == *container);
        if is_there || self.reach != Reach::Namespaces {
            return Ok(None);
        }
        let (namespace, _) = self.inside(container).await?;
        Ok(Some(Door { container: container.into(), namespace: Arc::new(namespace) }))
    }

    /// Reaches other nodes in this way from now on.
    pub(crate) fn lead_through(&self, door: Option<Door>) {
        self.door.store(door.map(Arc::new));
    }

    /// The network namespace of a container of this node, and its address on this network.
    async fn inside(&self, container: &str) -> Result<(OwnedFd, Option<IpAddr>), String> {
        let inspected = self.docker.client().inspect_container(container, None::<InspectContainerOptions>);
        let inspected = self.docker.ask(inspected).await.map_err(|error| error.to_string())?;
        let pid = inspected.state.and_then(|state| state.pid).filter(|pid| *pid > 0);
        let pid = pid.ok_or("its container does not run")?;
        let path = format!("/proc/{pid}/ns/net");
        let namespace = File::open(&path).map_err(|error| format!("cannot open {path}: {error}"))?;
        let networks = inspected.network_settings.and_then(|settings| settings.networks);
        let ip = networks.and_then(|networks| networks.get(&self.name)?.ip_address.clone());
        Ok((namespace.into(), ip.and_then(|ip| ip.parse().ok())))
    }

    async fn on_bridge(&self, container: &str) -> Result<SocketAddr, String> {
        // From another machine such an address is nobody's, or that of a container of its own.
        if !self.docker.may_be_local() {
            return Err(format!(
                "it runs on the machine of {}, which this process cannot reach: run the gateway there, or as a \
                 container on the functions' network (deploy/stack.yml)",
                self.docker.host()
            ));
        }
        let inspected = self.docker.client().inspect_network(BRIDGE, None::<InspectNetworkOptions>);
        let inspected = self.docker.ask(inspected).await.map_err(|error| error.to_string())?;
        let endpoint = inspected.containers.and_then(|containers| containers.get(container).cloned());
        let ip = endpoint.and_then(|endpoint| endpoint.ipv4_address);
        let ip: Option<Ipv4Addr> = ip.and_then(|ip| ip.split('/').next()?.parse().ok());
        let ip = ip.ok_or_else(|| format!("it has no address on {BRIDGE}"))?;
        Ok((ip, FUNCTION_PORT).into())
    }
}

/// The subnet of the network, which exists when this returns.
async fn find_or_make(docker: &Docker, name: &str, subnet: &str) -> Result<Option<String>, DockerError> {
    for attempt in 0.. {
        let inspected = docker.client().inspect_network(name, None::<InspectNetworkOptions>);
        match docker.ask(inspected).await {
            Ok(network) if network.driver.as_deref() == Some("overlay") => {
                let config = network.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
                return Ok(config.into_iter().find_map(|config| config.subnet));
            }
            Ok(network) => {
                let driver = network.driver.unwrap_or_default();
                let message = format!(
                    "the network {name:?} is of driver {driver:?}, and functions need an overlay network; \
                     name another with --functions-network"
                );
                return Err(DockerError::Refused { status: 409, message });
            }
            Err(DockerError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
        let request = NetworkCreateRequest {
            name: name.to_owned(),
            driver: Some("overlay".to_owned()),
            attachable: Some(true),
            ipam: Some(Ipam {
                config: Some(vec![IpamConfig { subnet: Some(subnet.to_owned()), ..IpamConfig::default() }]),
                ..Ipam::default()
            }),
            labels: Some(HashMap::from([("bramble.network".to_owned(), "functions".to_owned())])),
            ..NetworkCreateRequest::default()
        };
        match docker.change(docker.client().create_network(request)).await {
            Ok(_) => tracing::info!(network = name, subnet, "made the functions' network"),
            Err(DockerError::Refused { status: 409, .. }) if attempt < CREATE_TRIES => {
                tokio::time::sleep(CREATE_PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Whether this process has an address in `subnet`, such as `10.62.0.0/16`. Sends nothing.
fn is_in_subnet(subnet: &str) -> bool {
    let Some((base, bits)) = subnet.split_once('/') else { return false };
    let (Ok(base), Ok(bits)) = (base.parse::<Ipv4Addr>(), bits.parse::<u32>()) else { return false };
    let mask = u32::MAX.checked_shl(32 - bits.min(32)).unwrap_or(0);
    let other = Ipv4Addr::from_bits((base.to_bits() & mask) | 1);
    let own = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
        .and_then(|socket| socket.connect((other, 9)).and_then(|()| socket.local_addr()));
    match own.map(|own| own.ip()) {
        Ok(IpAddr::V4(own)) => own.to_bits() & mask == base.to_bits() & mask,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_its_own_networks() {
        assert!(is_in_subnet("127.0.0.0/8"));
        assert!(!is_in_subnet("240.0.0.0/8"));
        assert!(!is_in_subnet("nonsense"));
    }
}
