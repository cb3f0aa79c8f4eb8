//! What the gateway says about itself.

use bramble_host::EngineInfo;
use bramble_swarm::SwarmInfo;
use serde::Serialize;
use utoipa::ToSchema;

/// The commit this was built from. Never empty: `faas-cli version` calls an empty one a very old gateway.
const GIT_SHA: &str = match option_env!("BRAMBLE_GIT_SHA") {
    Some(sha) if !sha.is_empty() => sha,
    _ => "unknown",
};

/// Versions, and what runs functions.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct Info {
    provider: Provider,
    version: Version,
    /// The processor, as Rust calls it.
    arch: &'static str,
    /// Ours: what runs containers.
    containers: Containers,
    /// Ours: what runs modules.
    wasm: Wasm,
}

#[derive(Debug, Serialize, ToSchema)]
struct Provider {
    provider: &'static str,
    orchestration: &'static str,
    version: Version,
}

#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
struct Version {
    release: &'static str,
    sha: &'static str,
    commit_message: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
struct Containers {
    /// Where Docker is asked.
    docker: String,
    /// Whether it answers.
    available: bool,
    /// Why not, and what to do.
    reason: Option<String>,
    /// Nodes of the Swarm.
    nodes: usize,
    /// How replicas are reached: `network`, `namespaces` or `bridge`.
    reach: Option<&'static str>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Wasm {
    /// `pooling`, or `on-demand` where not even a small pool fits.
    allocator: &'static str,
    /// Most instances at once.
    slots: u32,
    /// Instances that were asked for.
    slots_wanted: u32,
    /// Addresses that one memory reserves.
    memory_reservation_bytes: u64,
    /// Memory of a slot that stays resident between invocations.
    keep_resident_bytes: u64,
    /// Bits of a user address on this kernel.
    address_bits: u32,
    /// Whether only dirty pages are reset.
    pagemap_scan: bool,
    /// Why the engine is smaller than asked for, when it is.
    reason: Option<String>,
}

impl Info {
    pub(in crate::api) fn new(engine: &EngineInfo, containers: SwarmInfo) -> Self {
        let version = Version {
            release: env!("CARGO_PKG_VERSION"),
            sha: GIT_SHA,
            commit_message: option_env!("BRAMBLE_GIT_SUBJECT").unwrap_or_default(),
        };
        let orchestration = if containers.available { "wasm, swarm" } else { "wasm" };
        let SwarmInfo { docker, available, reason, nodes, reach } = containers;
        Self {
            provider: Provider { provider: "bramble", orchestration, version },
            version,
            arch: std::env::consts::ARCH,
            containers: Containers { docker, available, reason, nodes, reach },
            wasm: Wasm {
                allocator: engine.allocator,
                slots: engine.slots,
                slots_wanted: engine.slots_wanted,
                memory_reservation_bytes: engine.memory_reservation_bytes,
                keep_resident_bytes: engine.keep_resident_bytes,
                address_bits: engine.address_bits,
                pagemap_scan: engine.pagemap_scan,
                reason: engine.reason.clone(),
            },
        }
    }
}
