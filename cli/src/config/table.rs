//! The one list of settings: key, variables, help, how each is read and shown.
//!
//! The flag is the key with hyphens, `BRAMBLE_` and the key in capitals the first variable. A new
//! field of the gateway's or the host's configuration gets a row here and nothing anywhere else;
//! a test holds the list complete.

use std::fmt;

use crate::config::Settings;
use crate::config::value::{
    address, count, count_or_none, docker_host, docker_switch, duration, format, level, limit, name, on_off,
    optional_limit, optional_path, optional_text, origins, path, prometheus_url, scale_interval, selector,
    size, size_or_none, subnet, switch,
};

/// One thing that can be set.
pub(crate) struct Setting {
    /// Its name in the settings file; the flag has hyphens.
    pub(crate) key: &'static str,
    /// The variables that set it, the first one that is not empty winning: ours, then the original's.
    pub(crate) environment: &'static [&'static str],
    /// What it does, in one line.
    pub(crate) help: &'static str,
    /// Which commands have it.
    pub(crate) scope: Scope,
    kind: Kind,
    set: fn(&mut Settings, &str) -> Result<(), String>,
    get: fn(&Settings) -> String,
}

/// Which commands have a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// `gateway` and `up`.
    Gateway,
    /// Only `up`.
    Up,
}

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Address,
    Count,
    Directory,
    Duration,
    Format,
    Image,
    Level,
    Name,
    OnOff,
    Origins,
    Selector,
    Size,
    Subnet,
    Switch,
    Url,
}

impl Setting {
    /// The flag, without the leading hyphens.
    pub(crate) fn flag(&self) -> String {
        self.key.replace('_', "-")
    }

    /// What stands for the value in the help.
    pub(crate) fn placeholder(&self) -> &'static str {
        match self.kind {
            Kind::Address => "ADDRESS",
            Kind::Count => "N",
            Kind::Directory => "DIR",
            Kind::Duration => "DURATION",
            Kind::Format => "text|json",
            Kind::Image => "IMAGE",
            Kind::Level => "LEVEL",
            Kind::Name => "NAME",
            Kind::OnOff => "on|off",
            Kind::Origins => "ORIGINS",
            Kind::Selector => "MATCHERS",
            Kind::Subnet => "SUBNET",
            Kind::Url => "URL",
            Kind::Size => "SIZE",
            Kind::Switch => "true|false",
        }
    }

    /// Whether the value is a path.
    pub(crate) fn is_path(&self) -> bool {
        self.kind == Kind::Directory
    }

    /// Whether the flag may stand alone.
    pub(crate) fn is_switch(&self) -> bool {
        self.kind == Kind::Switch
    }

    /// Reads a value into the settings.
    ///
    /// # Errors
    /// Why the text is no value for this setting.
    pub(crate) fn set(&self, settings: &mut Settings, text: &str) -> Result<(), String> {
        (self.set)(settings, text)
    }

    /// The value as [`Self::set`] reads it; empty when there is none.
    pub(crate) fn get(&self, settings: &Settings) -> String {
        (self.get)(settings)
    }
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Setting").field(&self.key).finish()
    }
}

/// The setting of this key.
pub(crate) fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

/// `setting!(SCOPE KIND key / variable [/ the original's variable] => field as form, help)`.
macro_rules! setting {
    ($scope:ident $kind:ident $key:literal / $variable:literal $(/ $alias:literal)*
     => $($field:ident).+ as $form:ident, $help:literal) => {
        Setting {
            key: $key,
            environment: &[$variable $(, $alias)*],
            help: $help,
            scope: Scope::$scope,
            kind: Kind::$kind,
            set: |settings, text| {
                settings.$($field).+ = $form::read(text)?;
                Ok(())
            },
            get: |settings| $form::show(&settings.$($field).+),
        }
    };
}

/// Every setting, in the order of the help.
pub(crate) static SETTINGS: &[Setting] = &[
    setting!(Gateway Address "listen" / "BRAMBLE_LISTEN" => gateway.listen as address,
        "Serve functions and the API here"),
    setting!(Gateway Address "metrics_listen" / "BRAMBLE_METRICS_LISTEN"
        => gateway.metrics_listen as address,
        "Serve /metrics here"),
    setting!(Gateway Directory "data_dir" / "BRAMBLE_DATA_DIR" => gateway.data_dir as path,
        "Keep everything that must not be lost here"),
    setting!(Gateway Switch "basic_auth" / "BRAMBLE_BASIC_AUTH" / "basic_auth"
        => gateway.auth.basic_auth as switch,
        "Ask for a user and a password on everything but functions and health"),
    setting!(Gateway Directory "secret_mount_path" / "BRAMBLE_SECRET_MOUNT_PATH" / "secret_mount_path"
        => gateway.auth.secret_mount_path as path,
        "Holds them, in the files basic-auth-user and basic-auth-password"),
    setting!(Gateway Switch "no_auth" / "BRAMBLE_NO_AUTH" => gateway.auth.no_auth as switch,
        "Serve everybody, also on an address that others reach"),
    setting!(Gateway Directory "tls_cert" / "BRAMBLE_TLS_CERT" => gateway.tls_cert as optional_path,
        "Serve functions and the API over TLS with this certificate chain (PEM); followed when it changes"),
    setting!(Gateway Directory "tls_key" / "BRAMBLE_TLS_KEY" => gateway.tls_key as optional_path,
        "The private key of that certificate (PEM)"),
    setting!(Gateway Origins "cors_origin" / "BRAMBLE_CORS_ORIGIN" => gateway.cors_origins as origins,
        "Let pages of these sites call functions and use the API, separated by commas; * lets all call functions"),
    setting!(Gateway Directory "secrets_dir" / "BRAMBLE_SECRETS_DIR" => gateway.wasm.secrets_dir as path,
        "Keep the secrets of functions here, one file each"),
    setting!(Gateway Directory "store_dir" / "BRAMBLE_STORE_DIR" => gateway.store_dir as optional_path,
        "Offer the modules in here as /store/functions.json: those of examples/build.sh; with `up` its samples"),
    setting!(Gateway Size "max_body_size" / "BRAMBLE_MAX_BODY_SIZE" => gateway.max_body_bytes as size,
        "Largest request body; a larger one is refused with 413"),
    setting!(Gateway Duration "read_timeout" / "BRAMBLE_READ_TIMEOUT" / "read_timeout"
        => gateway.read_timeout as limit,
        "Longest wait for the head of a request"),
    setting!(Gateway Duration "upstream_timeout" / "BRAMBLE_UPSTREAM_TIMEOUT" / "upstream_timeout"
        => gateway.upstream_timeout as limit,
        "Longest an invocation may take, from its arrival to the end of its response"),
    setting!(Gateway Duration "drain_delay" / "BRAMBLE_DRAIN_DELAY"
        => gateway.drain_delay as duration,
        "When stopping, say so at /readyz and take requests for so long, so that balancers go elsewhere first"),
    setting!(Gateway Duration "drain_timeout" / "BRAMBLE_DRAIN_TIMEOUT"
        => gateway.drain_timeout as duration,
        "Longest wait for running invocations when stopping"),
    setting!(Gateway Count "pool_slots" / "BRAMBLE_POOL_SLOTS" => gateway.wasm.pool_slots as count,
        "Most wasm instances at once, over all functions"),
    setting!(Gateway Size "keep_resident" / "BRAMBLE_KEEP_RESIDENT"
        => gateway.wasm.keep_resident_bytes as size_or_none,
        "Memory of an instance that stays resident between invocations"),
    setting!(Gateway Switch "pagemap_scan" / "BRAMBLE_PAGEMAP_SCAN" => gateway.wasm.pagemap_scan as switch,
        "Reset only dirty pages; only for a machine that has no swap"),
    setting!(Gateway Size "default_memory" / "BRAMBLE_DEFAULT_MEMORY"
        => gateway.wasm.default_memory_bytes as size,
        "Memory limit of a function that names none"),
    setting!(Gateway Size "max_module_size" / "BRAMBLE_MAX_MODULE_SIZE"
        => gateway.wasm.max_module_bytes as size,
        "Largest module that is accepted"),
    setting!(Gateway Size "max_output_size" / "BRAMBLE_MAX_OUTPUT_SIZE"
        => gateway.wasm.max_output_bytes as size,
        "Most that a function may answer in one invocation"),
    setting!(Gateway Count "default_slots" / "BRAMBLE_DEFAULT_SLOTS" => gateway.wasm.default_slots as count,
        "Replicas (slots) of a function that asks for no number"),
    setting!(Gateway Count "queue_limit" / "BRAMBLE_QUEUE_LIMIT"
        => gateway.wasm.queue_limit as count_or_none,
        "Most invocations that may wait for a slot of one function"),
    setting!(Gateway Duration "queue_wait" / "BRAMBLE_QUEUE_WAIT" => gateway.wasm.queue_wait as duration,
        "Longest wait for a slot"),
    setting!(Gateway Count "compile_jobs" / "BRAMBLE_COMPILE_JOBS" => gateway.wasm.compile_jobs as count,
        "Modules compiled at the same time"),
    setting!(Gateway Size "log_size" / "BRAMBLE_LOG_SIZE" => gateway.wasm.log_bytes as size_or_none,
        "Log kept in memory for one function"),
    setting!(Gateway Url "docker_host" / "BRAMBLE_DOCKER_HOST" / "DOCKER_HOST"
        => gateway.containers.docker_host as docker_host,
        "The Docker daemon that runs functions in containers, a Swarm manager"),
    setting!(Gateway Switch "docker_tls_verify" / "BRAMBLE_DOCKER_TLS_VERIFY" / "DOCKER_TLS_VERIFY"
        => gateway.containers.docker_tls_verify as docker_switch,
        "Ask the daemon over TLS, with the certificates in docker_cert_path"),
    setting!(Gateway Directory "docker_cert_path" / "BRAMBLE_DOCKER_CERT_PATH" / "DOCKER_CERT_PATH"
        => gateway.containers.docker_cert_path as optional_path,
        "Holds ca.pem, cert.pem and key.pem; docker_config if not set"),
    setting!(Gateway Directory "docker_config" / "BRAMBLE_DOCKER_CONFIG" / "DOCKER_CONFIG"
        => gateway.containers.docker_config as optional_path,
        "Holds the config.json with the registries that `docker login` knows"),
    setting!(Gateway Name "functions_network" / "BRAMBLE_FUNCTIONS_NETWORK"
        => gateway.containers.network as name,
        "The overlay network of container functions; made when it is missing"),
    setting!(Gateway Subnet "functions_subnet" / "BRAMBLE_FUNCTIONS_SUBNET"
        => gateway.containers.subnet as subnet,
        "The subnet of that network when it is made"),
    setting!(Gateway Duration "activation_timeout" / "BRAMBLE_ACTIVATION_TIMEOUT"
        => gateway.containers.activation_timeout as limit,
        "Longest that an invocation waits for a container to start"),
    setting!(Gateway Image "agent_image" / "BRAMBLE_AGENT_IMAGE"
        => gateway.containers.agent_image as optional_text,
        "Run a node agent of this image on every node of the Swarm; none if not set"),
    setting!(Gateway OnOff "scaler" / "BRAMBLE_SCALER" => gateway.scaling.enabled as on_off,
        "Scale functions by their load, as their labels ask; off where `bramble scaler` does it"),
    setting!(Gateway Duration "scale_interval" / "BRAMBLE_SCALE_INTERVAL" => gateway.scaling.interval as scale_interval,
        "Time from one look at the load of all functions to the next"),
    setting!(Gateway Switch "scale_dry_run" / "BRAMBLE_SCALE_DRY_RUN" => gateway.scaling.dry_run as switch,
        "Log what would be scaled, and scale nothing"),
    setting!(Gateway Duration "scale_down_window" / "BRAMBLE_SCALE_DOWN_WINDOW"
        => gateway.scaling.down_window as optional_limit,
        "How long fewer replicas must be enough before they go; 5m if not set"),
    setting!(Gateway Url "prometheus_url" / "BRAMBLE_PROMETHEUS_URL"
        => gateway.scaling.prometheus_url as prometheus_url,
        "Scale by what this Prometheus has; by the gateway's own counters if not set"),
    setting!(Gateway Selector "prometheus_selector" / "BRAMBLE_PROMETHEUS_SELECTOR"
        => gateway.scaling.prometheus_selector as selector,
        "The series of this gateway in it, where there are others: cluster=\"home\""),
    setting!(Gateway Duration "prometheus_window" / "BRAMBLE_PROMETHEUS_WINDOW"
        => gateway.scaling.prometheus_window as limit,
        "How old its samples may be; more than two scrape intervals"),
    setting!(Gateway Count "queue_workers" / "BRAMBLE_QUEUE_WORKERS" => gateway.queue.workers as count,
        "Asynchronous invocations that run at once, over all functions"),
    setting!(Gateway Count "queue_max" / "BRAMBLE_QUEUE_MAX" => gateway.queue.max_calls as count,
        "Most asynchronous invocations that wait or run; more are refused with 429"),
    setting!(Gateway Size "queue_max_size" / "BRAMBLE_QUEUE_MAX_SIZE" => gateway.queue.max_bytes as size,
        "Most bytes of all of them together, the dead letters included"),
    setting!(Gateway Directory "callback_ca" / "BRAMBLE_CALLBACK_CA"
        => gateway.queue.callback_ca as optional_path,
        "Callbacks over TLS trust the authorities in this file (PEM) too, beside those of the machine"),
    setting!(Gateway Format "log_format" / "BRAMBLE_LOG_FORMAT" => log_format as format,
        "Write the gateway's own log as lines or as JSON"),
    setting!(Gateway Level "log_level" / "BRAMBLE_LOG_LEVEL" / "RUST_LOG" => log_level as level,
        "Log events of this level and above, or by directives: info,bramble_host=debug"),
    setting!(Up Directory "samples" / "BRAMBLE_SAMPLES" => samples as optional_path,
        "Deploy every .wasm file in this directory as a function"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use bramble_gateway::GatewayConfig;
    use bramble_gateway::auth::AuthConfig;
    use bramble_gateway::queue::QueueConfig;
    use bramble_gateway::scaling::ScalingConfig;
    use bramble_host::HostConfig;
    use bramble_swarm::SwarmConfig;

    #[test]
    fn every_default_is_read_as_it_is_shown() {
        let defaults = Settings::in_dir("/data");
        for setting in SETTINGS.iter().filter(|setting| !setting.get(&defaults).is_empty()) {
            let mut settings = Settings::in_dir("/other");
            let text = setting.get(&defaults);
            setting.set(&mut settings, &text).unwrap();
            assert_eq!(setting.get(&settings), text, "{}", setting.key);
        }
    }

    #[test]
    fn names_follow_from_the_key() {
        for setting in SETTINGS {
            assert_eq!(setting.environment[0], format!("BRAMBLE_{}", setting.key.to_uppercase()));
        }
    }

    #[test]
    fn refuses_what_is_no_value() {
        for (key, text) in [
            ("listen", "8080"),
            ("listen", "localhost:8080"),
            ("pool_slots", "0"),
            ("pool_slots", "-1"),
            ("pool_slots", "4294967296"),
            ("max_body_size", "0"),
            ("max_body_size", "12Q"),
            ("read_timeout", "0"),
            ("read_timeout", "soon"),
            ("pagemap_scan", "yes"),
            ("log_format", "xml"),
            ("log_level", "inof"),
            ("log_level", "a=b=c"),
            ("data_dir", ""),
            ("basic_auth", "maybe"),
            ("no_auth", "maybe"),
            ("tls_cert", ""),
            ("cors_origin", "example.com"),
            ("cors_origin", "https://example.com/path"),
            ("cors_origin", "https://a.example,"),
            ("docker_host", "docker.sock"),
            ("docker_host", "ssh://pi"),
            ("functions_network", "a b"),
            ("functions_subnet", "10.0.0.0"),
            ("functions_subnet", "10.0.0.0/33"),
            ("scaler", "true"),
            ("scale_interval", "0"),
            ("scale_interval", "often"),
            ("scale_interval", "101s"),
            ("scale_dry_run", "maybe"),
            ("scale_down_window", "0"),
            ("prometheus_url", "localhost:x"),
            ("prometheus_url", "https://prometheus"),
            ("prometheus_selector", "cluster=home"),
            ("prometheus_window", "0"),
            ("queue_workers", "0"),
            ("queue_max", "lots"),
            ("queue_max_size", "0"),
        ] {
            let mut settings = Settings::in_dir("/data");
            assert!(find(key).unwrap().set(&mut settings, text).is_err(), "{key} = {text:?} was accepted");
        }
    }

    /// Does not compile when a field is added: give it a row in [`SETTINGS`], then name it here.
    #[test]
    fn has_a_row_for_every_field() {
        let GatewayConfig {
            listen: _,
            metrics_listen: _,
            data_dir: _,
            max_body_bytes: _,
            read_timeout: _,
            upstream_timeout: _,
            drain_delay: _,
            drain_timeout: _,
            auth: AuthConfig { basic_auth: _, secret_mount_path: _, no_auth: _ },
            tls_cert: _,
            tls_key: _,
            cors_origins: _,
            store_dir: _,
            wasm:
                HostConfig {
                    data_dir: _, // set with the gateway's
                    secrets_dir: _,
                    pool_slots: _,
                    keep_resident_bytes: _,
                    pagemap_scan: _,
                    default_memory_bytes: _,
                    max_module_bytes: _,
                    max_output_bytes: _,
                    default_slots: _,
                    queue_limit: _,
                    queue_wait: _,
                    compile_jobs: _,
                    compiler: _, // this program
                    log_bytes: _,
                },
            containers:
                SwarmConfig {
                    data_dir: _,    // set with the gateway's
                    secrets_dir: _, // the gateway's
                    docker_host: _,
                    docker_tls_verify: _,
                    docker_cert_path: _,
                    docker_config: _,
                    network: _,
                    subnet: _,
                    activation_timeout: _,
                    agent_image: _,
                },
            scaling:
                ScalingConfig {
                    enabled: _,
                    interval: _,
                    dry_run: _,
                    down_window: _,
                    prometheus_url: _,
                    prometheus_selector: _,
                    prometheus_window: _,
                },
            queue: QueueConfig { workers: _, max_calls: _, max_bytes: _, callback_ca: _ },
        } = GatewayConfig::in_dir("/data");
        assert_eq!(SETTINGS.len(), 8 + 7 + 12 + 8 + 7 + 4 + 3, "and the log's two and the samples");
    }
}
