//! Images from a registry that wants a password.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::json;
use tempfile::TempDir;

use crate::support::docker::{CONFORM, Docker};
use crate::support::wait;

/// `ada:open sesame`, as `htpasswd -B` writes it.
const PASSWORDS: &str = "ada:$2y$05$bRambleBrambleBramble.E4tovDO8YDlXz1qFhGeAxJIvyC.Sf6G\n";
/// `ada:open sesame` and `ada:wrong`, as `docker login` keeps them.
const RIGHT: &str = "YWRhOm9wZW4gc2VzYW1l";
const WRONG: &str = "YWRhOndyb25n";

/// Debian's registry, on the loopback of the daemon: there a registry needs no TLS.
pub(crate) struct Registry {
    child: Child,
    address: String,
    home: TempDir,
}

impl Registry {
    /// One that asks for a password, with the image in it.
    fn start(docker: &Docker) -> Self {
        let registry = Self::serve(docker, Some(PASSWORDS));
        let config = registry.login(RIGHT);
        docker.cli(&["tag", CONFORM, &registry.image()]);
        wait::until("the image is pushed (is docker-registry installed?)", || {
            docker
                .try_cli(&["--config", config.to_str().unwrap(), "push", "-q", &registry.image()])
                .status
                .success()
        });
        docker.cli(&["rmi", &registry.image()]);
        registry
    }

    /// An empty one that everybody may push to.
    pub(crate) fn open(docker: &Docker) -> Self {
        let registry = Self::serve(docker, None);
        wait::until("the registry answers (is docker-registry installed?)", || {
            let [host, port] = registry.address.split(':').collect::<Vec<_>>()[..] else { unreachable!() };
            let mut connect = docker.beside();
            connect.args(["bash", "-c", "exec 3<>/dev/tcp/$0/$1", host, port]).stderr(Stdio::null());
            connect.status().unwrap().success()
        });
        registry
    }

    /// Where images are pushed to.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    fn serve(docker: &Docker, passwords: Option<&str>) -> Self {
        let home = tempfile::tempdir().unwrap();
        let (config, file) = (home.path().join("config.yml"), home.path().join("htpasswd"));
        // Nobody else is in the daemon's network, but for other tests.
        let address = format!("127.0.0.1:{}", 20_000 + std::process::id() % 10_000);
        let mut text = json!({
            "version": 0.1,
            "log": {"level": "error"},
            "storage": {"filesystem": {"rootdirectory": home.path().join("data")}},
            "http": {"addr": address},
        });
        if let Some(passwords) = passwords {
            fs::write(&file, passwords).unwrap();
            text["auth"] = json!({"htpasswd": {"realm": "tests", "path": file}});
        }
        // All JSON is YAML.
        fs::write(&config, text.to_string()).unwrap();
        let mut command = docker.beside();
        command.args(["docker-registry", "serve"]).arg(config);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Self { child: child.unwrap(), address, home }
    }

    fn image(&self) -> String {
        format!("{}/private/conform:1", self.address)
    }

    /// A directory with what `docker login` would keep.
    fn login(&self, auth: &str) -> std::path::PathBuf {
        let directory = self.home.path().join(auth);
        fs::create_dir_all(&directory).unwrap();
        let config = json!({"auths": {&self.address: {"auth": auth}}});
        fs::write(directory.join("config.json"), config.to_string()).unwrap();
        directory
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn shown(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn an_image_that_needs_a_password_is_pulled_with_it_and_pinned() {
    let docker = Docker::shared();
    let name = docker.name("registry");
    let registry = Registry::start(&docker);
    for config in [registry.login(WRONG), registry.home.path().join("none")] {
        let gateway = docker.start().flag("--docker-config", shown(&config)).start();
        gateway.connected();
        gateway.create(&name, &registry.image(), json!({})).refused(400, "invalid_spec", "auth");
        assert!(!docker.has_service(&name));
    }
    let gateway = docker.start().flag("--docker-config", shown(&registry.login(RIGHT))).start();
    gateway.connected();
    gateway.create(&name, &registry.image(), json!({"envProcess": "/conform word private"})).expect(202);
    gateway.invoke(&name, "").says(200, "private\n");
    let image =
        docker.inspect(&["service", "inspect", &name])["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"]
            .as_str()
            .unwrap()
            .to_owned();
    assert!(image.starts_with(&format!("{}@sha256:", registry.image())), "{image}");
    // What is pinned needs no registry to start again.
    gateway.scale(&name, 0);
    gateway.has_replicas(&name, 0);
    drop(registry);
    gateway.invoke(&name, "").says(200, "private\n");
    gateway.remove(&name);
    docker.try_cli(&["rmi", &image]);
}
