//! A blocking client of a gateway's API: one keep-alive connection.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::HeaderValue;
use serde_json::{Value, json};

use crate::load::ResponseReader;

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(60);

const WASM: &str = "application/wasm";
const JSON: &str = "application/json";
const BYTES: &str = "application/octet-stream";

/// One connection to a gateway.
#[derive(Debug)]
pub(crate) struct Api {
    stream: TcpStream,
    address: SocketAddr,
    /// What is shown to the API; never to a function, which would learn it.
    login: Option<HeaderValue>,
    response: ResponseReader,
}

impl Api {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens there.
    pub(crate) fn connect(address: SocketAddr) -> Result<Self> {
        let context = || format!("cannot connect to the gateway on {address}");
        let stream = TcpStream::connect_timeout(&address, TIMEOUT).with_context(context)?;
        stream.set_nodelay(true).with_context(context)?;
        stream.set_read_timeout(Some(TIMEOUT)).with_context(context)?;
        Ok(Self { stream, address, login: None, response: ResponseReader::keeping() })
    }

    /// The same, showing these credentials to the gateway's API.
    pub(crate) fn logged_in(self, login: Option<HeaderValue>) -> Self {
        Self { login, ..self }
    }

    /// Uploads a module; its digest.
    ///
    /// # Errors
    /// When the gateway refuses it.
    pub(crate) fn put_module(&mut self, wasm: &[u8]) -> Result<String> {
        let answer = self.succeed("PUT", "/system/modules", WASM, wasm)?;
        let answer: Value = serde_json::from_slice(&answer).context("the answer to an upload is no JSON")?;
        Ok(answer["digest"].as_str().context("the answer to an upload has no digest")?.to_owned())
    }

    /// Uploads a module and deploys it.
    ///
    /// # Errors
    /// When the gateway refuses it.
    pub(crate) fn upload(&mut self, name: &str, wasm: &[u8]) -> Result<()> {
        self.succeed("PUT", &format!("/system/functions/{name}"), WASM, wasm).map(drop)
    }

    /// Deploys a stored module under a new name.
    ///
    /// # Errors
    /// When the gateway refuses it.
    pub(crate) fn deploy(&mut self, name: &str, digest: &str) -> Result<()> {
        let body = json!({ "service": name, "image": digest }).to_string();
        self.succeed("POST", "/system/functions", JSON, body.as_bytes()).map(drop)
    }

    /// Sets the replicas of a function.
    ///
    /// # Errors
    /// When the gateway refuses it.
    pub(crate) fn scale(&mut self, name: &str, replicas: u32) -> Result<()> {
        let body = json!({ "serviceName": name, "replicas": replicas }).to_string();
        self.succeed("POST", &format!("/system/scale-function/{name}"), JSON, body.as_bytes()).map(drop)
    }

    /// Any other call, with a document or without; what it answered, null when that is no JSON.
    ///
    /// # Errors
    /// When the gateway refuses it.
    pub(crate) fn request(&mut self, method: &str, path: &str, document: Option<&Value>) -> Result<Value> {
        let body = document.map(Value::to_string).unwrap_or_default();
        let answer = self.succeed(method, path, JSON, body.as_bytes())?;
        Ok(serde_json::from_slice(&answer).unwrap_or_default())
    }

    /// What is at a path.
    ///
    /// # Errors
    /// When it does not answer 2xx.
    pub(crate) fn get(&mut self, path: &str) -> Result<Vec<u8>> {
        self.succeed("GET", path, BYTES, b"")
    }

    /// Invokes a function and gives back what it answered.
    ///
    /// # Errors
    /// When it does not answer 2xx.
    pub(crate) fn invoke(&mut self, name: &str, body: &[u8]) -> Result<Vec<u8>> {
        self.succeed("POST", &format!("/function/{name}"), BYTES, body)
    }

    fn succeed(&mut self, method: &str, path: &str, form: &str, body: &[u8]) -> Result<Vec<u8>> {
        let (status, answer) =
            self.call(method, path, form, body).with_context(|| format!("{method} {path}"))?;
        ensure!(status != 401, "the gateway asks for credentials: `bramble login` keeps them for it");
        ensure!(
            (200..300).contains(&status),
            "{method} {path} answered {status}: {}",
            String::from_utf8_lossy(&answer).trim()
        );
        Ok(answer)
    }

    fn call(&mut self, method: &str, path: &str, form: &str, body: &[u8]) -> Result<(u16, Vec<u8>)> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: {form}\r\ncontent-length: {}\r\n",
            self.address,
            body.len()
        );
        let login = self.login.as_ref().filter(|_| path.starts_with("/system/"));
        let login = login.map(|login| [b"authorization: ", login.as_bytes(), b"\r\n"].concat());
        // One write: a second one would be a segment of its own.
        let head = [head.as_bytes(), &login.unwrap_or_default(), b"\r\n"].concat();
        self.stream.write_all(&[&head, body].concat())?;
        let mut buffer = vec![0; 16 << 10];
        loop {
            let read = self.stream.read(&mut buffer)?;
            ensure!(read > 0, "the gateway closed the connection");
            if self.response.feed(&buffer[..read])? {
                return Ok((self.response.status(), self.response.take_body()));
            }
        }
    }
}
