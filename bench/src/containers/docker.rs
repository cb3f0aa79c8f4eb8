//! A blocking client of the Docker daemon: the few calls that the bench needs, on its socket.
//!
//! Not Docker's command line: what starts a program for each call would make the side that the
//! gateway is held against slower than it is.

use std::io::{Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::load::ResponseReader;

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How often a change is tried: the Swarm changes a service itself shortly after it was made.
const TRIES: u32 = 10;

/// A daemon on a socket of this machine.
#[derive(Debug, Clone)]
pub(crate) struct Docker {
    host: String,
    socket: PathBuf,
}

/// Where a container can be called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// Its first process, by which its network namespace is found.
    pub(crate) pid: u32,
    /// Its address on the functions' network.
    pub(crate) ip: IpAddr,
}

/// When a replica of a service came to be, by the daemon's clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Birth {
    /// The Swarm had made a task.
    pub(crate) task_created: Timestamp,
    /// A node had made its container.
    pub(crate) container_created: Timestamp,
    /// The container's process ran.
    pub(crate) container_started: Timestamp,
}

impl Docker {
    /// Checks that there is a Swarm manager with these images.
    ///
    /// # Errors
    /// When there is not; the text says what to type.
    pub(crate) fn open(host: &str, images: &[&str]) -> Result<Self> {
        let socket = host.strip_prefix("unix://").with_context(|| {
            format!(
                "{host:?} is no socket: containers are called in their network namespaces, on this machine"
            )
        })?;
        let docker = Self { host: host.to_owned(), socket: socket.into() };
        let info = docker.get("/info").with_context(|| {
            format!("no Docker at {host}: `scripts/docker.sh start` starts one; name it by --docker-host")
        })?;
        ensure!(
            info["Swarm"]["LocalNodeState"] == "active",
            "the Docker at {host} is not in Swarm mode: docker swarm init"
        );
        for image in images {
            docker.get(&format!("/images/{image}/json")).with_context(|| {
                format!("no image {image} at {host}: DOCKER_HOST={host} scripts/images.sh makes it")
            })?;
        }
        Ok(docker)
    }

    /// As it was named.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The daemon's version.
    pub(crate) fn version(&self) -> String {
        let version = self.get("/version").ok();
        version.and_then(|version| version["Version"].as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// Makes a service that runs as another does and starts with no replica. It has none of the labels
    /// that make it a function, so no gateway knows it.
    ///
    /// # Errors
    /// When the daemon refuses it.
    pub(crate) fn copy_service(&self, name: &str, copy: &str) -> Result<()> {
        let mut spec = self.get(&format!("/services/{name}"))?["Spec"].take();
        spec["Name"] = json!(copy);
        spec["Labels"] = json!({});
        spec["TaskTemplate"]["ContainerSpec"]["Labels"] = json!({});
        spec["Mode"]["Replicated"]["Replicas"] = json!(0);
        self.call("POST", "/services/create", Some(&spec)).map(drop)
    }

    /// What `docker service scale --detach` does: reads the service, and changes it.
    ///
    /// # Errors
    /// When the daemon refuses it.
    pub(crate) fn scale(&self, name: &str, replicas: u32) -> Result<()> {
        for attempt in 1.. {
            let service = self.get(&format!("/services/{name}"))?;
            let version = service["Version"]["Index"].as_u64().context("a service has no version")?;
            let mut spec = service["Spec"].clone();
            spec["Mode"]["Replicated"]["Replicas"] = json!(replicas);
            let path = format!("/services/{name}/update?version={version}");
            match self.call("POST", &path, Some(&spec)) {
                Err(error) if attempt < TRIES && format!("{error:#}").contains("out of sequence") => {}
                done => return done.map(drop),
            }
        }
        Ok(())
    }

    /// Removes a service; it is no error when there is none.
    pub(crate) fn remove(&self, name: &str) {
        // In the end nobody is there to be told.
        let _ = self.call("DELETE", &format!("/services/{name}"), None);
    }

    /// The container of a service's task that runs, as soon as the Swarm says so.
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub(crate) fn running(&self, service: &str) -> Result<Option<String>> {
        let tasks = self.tasks(&json!({ "service": [service], "desired-state": ["running"] }))?;
        let running = tasks.iter().find(|task| task["Status"]["State"] == "running");
        let id = running.and_then(|task| task["Status"]["ContainerStatus"]["ContainerID"].as_str());
        Ok(id.map(str::to_owned))
    }

    /// Whether nothing of a service runs any more.
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub(crate) fn is_gone(&self, service: &str) -> Result<bool> {
        const OVER: [&str; 6] = ["complete", "shutdown", "failed", "rejected", "remove", "orphaned"];
        let tasks = self.tasks(&json!({ "service": [service] }))?;
        Ok(tasks
            .iter()
            .all(|task| task["Status"]["State"].as_str().is_some_and(|state| OVER.contains(&state))))
    }

    /// When the parts of a service's one running task came to be; `None` when the Swarm has none, or it is on
    /// another node.
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub(crate) fn birth(&self, service: &str) -> Result<Option<Birth>> {
        let tasks = self.tasks(&json!({ "service": [service], "desired-state": ["running"] }))?;
        let Some(task) = tasks.iter().find(|task| task["Status"]["State"] == "running") else {
            return Ok(None);
        };
        let Some(id) = task["Status"]["ContainerStatus"]["ContainerID"].as_str() else { return Ok(None) };
        let Ok(container) = self.get(&format!("/containers/{id}/json")) else { return Ok(None) };
        let at = |value: &Value| value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
        Ok((|| {
            Some(Birth {
                task_created: at(&task["CreatedAt"])?,
                container_created: at(&container["Created"])?,
                container_started: at(&container["State"]["StartedAt"])?,
            })
        })())
    }

    /// The memory that a container's processes use, without cache that could be dropped.
    ///
    /// # Errors
    /// When it is not there.
    pub(crate) fn memory_bytes(&self, container: &str) -> Result<u64> {
        let stats = self.get(&format!("/containers/{container}/stats?stream=false&one-shot=true"))?;
        let memory = &stats["memory_stats"];
        let usage = memory["usage"].as_u64().context("the daemon tells no memory of a container")?;
        Ok(usage.saturating_sub(memory["stats"]["inactive_file"].as_u64().unwrap_or_default()))
    }

    /// Bytes of an image's layers; `None` when the daemon does not have it.
    pub(crate) fn image_bytes(&self, image: &str) -> Option<u64> {
        self.get(&format!("/images/{image}/json")).ok()?["Size"].as_u64()
    }

    /// Pauses a container.
    ///
    /// # Errors
    /// When it does not run.
    pub(crate) fn pause(&self, container: &str) -> Result<()> {
        self.call("POST", &format!("/containers/{container}/pause"), None).map(drop)
    }

    /// Lets a paused container go on.
    ///
    /// # Errors
    /// When it is not paused.
    pub(crate) fn unpause(&self, container: &str) -> Result<()> {
        self.call("POST", &format!("/containers/{container}/unpause"), None).map(drop)
    }

    /// Where a container can be called, once it runs.
    ///
    /// # Errors
    /// When it does not.
    pub(crate) fn place(&self, container: &str, network: &str) -> Result<Place> {
        let found = self.get(&format!("/containers/{container}/json"))?;
        let pid =
            found["State"]["Pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0);
        let ip = &found["NetworkSettings"]["Networks"][network]["IPAddress"];
        Ok(Place {
            pid: pid.with_context(|| format!("the container {container} does not run"))?,
            ip: ip.as_str().and_then(|ip| ip.parse().ok()).context("a container without an address")?,
        })
    }

    fn tasks(&self, filters: &Value) -> Result<Vec<Value>> {
        let mut tasks = self.get(&format!("/tasks?filters={}", encoded(&filters.to_string())))?;
        Ok(tasks.as_array_mut().map(std::mem::take).unwrap_or_default())
    }

    fn get(&self, path: &str) -> Result<Value> {
        self.call("GET", path, None)
    }

    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let (status, answer) =
            self.exchange(method, path, body).with_context(|| format!("Docker: {method} {path}"))?;
        if !(200..300).contains(&status) {
            bail!("Docker: {method} {path} answered {status}: {}", String::from_utf8_lossy(&answer).trim());
        }
        // What was changed or removed is answered by nothing, or by warnings.
        Ok(serde_json::from_slice(&answer).unwrap_or_default())
    }

    fn exchange(&self, method: &str, path: &str, body: Option<&Value>) -> Result<(u16, Vec<u8>)> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let body = body.map(Value::to_string).unwrap_or_default();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: docker\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes())?;
        let mut reader = ResponseReader::keeping();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = stream.read(&mut buffer)?;
            ensure!(read > 0, "the daemon closed the connection");
            if reader.feed(&buffer[..read])? {
                return Ok((reader.status(), reader.take_body()));
            }
        }
    }
}

/// For a query: every byte that is not a letter or a digit as `%XX`.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte.is_ascii_alphanumeric() {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_written_for_a_query() {
        assert_eq!(encoded(r#"{"a":["b-1"]}"#), "%7B%22a%22%3A%5B%22b%2D1%22%5D%7D");
    }

    #[test]
    fn only_a_socket_will_do() {
        assert!(Docker::open("tcp://manager:2375", &[]).unwrap_err().to_string().contains("no socket"));
    }
}
