//! The Azure Key Vault of lowkey-vault, of one test's own. Its storage is memory, and it believes any token.

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::etcd::free_port;
use crate::https::{self, Https};

/// The variable that names its program.
pub const JAR: &str = "LOWKEY_VAULT_JAR";
/// Names at port 443 that reach the same vault through a proxy: one as Azure's are, and one of somebody else.
pub const NAMES: [&str; 2] = ["studio.vault.azure.net", "studio.example"];
/// What it wants tokens for, as Azure does.
const SERVICE: &str = "vault.azure.net";
/// Only that a token is there counts.
const HEADERS: &str = "Authorization: Bearer any\r\nContent-Type: application/json\r\n";

/// A running server; dropping it kills it.
///
/// The kernel also kills it when the *thread* that called `start` ends, so start it in the test itself.
pub struct Lowkey {
    daemon: Daemon,
    https: Https,
    token_port: u16,
}

impl Lowkey {
    /// Starts the jar on free loopback ports, the vault's with TLS by an authority of its own. The Java is that of
    /// `JAVA_HOME`, else that of the path.
    pub fn start(jar: &Path) -> Result<Self> {
        let wanted = || format!("{JAR}={}: set the jar of lowkey-vault-app, on Maven Central", jar.display());
        let jar = fs::canonicalize(jar).with_context(wanted)?;
        let java = env::var_os("JAVA_HOME").map_or("java".into(), |home| Path::new(&home).join("bin/java"));
        let mut daemon = Daemon::new("lowkey-vault", java, None, Signal::TERM)?;
        let (https, [certificate, key]) = Https::create(&daemon, &NAMES)?;
        let token_port = free_port()?;
        daemon.set_args(&[
            // What is slow in a short life: the second compiler, and threads that collect.
            "-XX:TieredStopAtLevel=1",
            "-XX:+UseSerialGC",
            "-jar",
            &jar.display().to_string(),
            "--server.address=127.0.0.1",
            &format!("--server.port={}", https.port()),
            &format!("--app.token.port={token_port}"),
            &format!("--server.ssl.certificate={}", certificate.display()),
            &format!("--server.ssl.certificate-private-key={}", key.display()),
            // That of the key inside of the jar, which would be tried on ours.
            "--server.ssl.key-store-password=",
            // Of its suites for TLS 1.2 each needs an RSA key.
            "--server.ssl.enabled-protocols=TLSv1.3",
            &format!("--LOWKEY_AUTH_RESOURCE={SERVICE}"),
            &format!("--LOWKEY_VAULT_ALIASES={}", NAMES.map(|name| format!("127.0.0.1={name}")).join(",")),
        ]);
        let started = daemon.start(|_| https.call("GET", "/ping", "", "").map(drop));
        started.context("its version 7 needs Java 25, in JAVA_HOME")?;
        Ok(Self { daemon, https, token_port })
    }

    /// Where clients reach the vault.
    pub fn address(&self) -> String {
        self.https.address()
    }

    /// The vault's port.
    pub fn port(&self) -> u16 {
        self.https.port()
    }

    /// The certificate of its authority, as PEM.
    pub fn ca_file(&self) -> PathBuf {
        self.daemon.folder().join("ca.crt")
    }

    /// Its own certificate and key, as PEM, for a server that stands beside it.
    pub fn pair(&self) -> [PathBuf; 2] {
        ["tls.crt", "tls.key"].map(|name| self.daemon.folder().join(name))
    }

    /// What it answers to who asks for the token of a managed identity for itself.
    pub fn token(&self) -> Result<Value> {
        let path = format!("/metadata/identity/oauth2/token?resource=https://{SERVICE}");
        Ok(serde_json::from_str(&https::get(self.token_port, &path)?)?)
    }

    /// Writes the next version of a secret, and when it ends, in seconds since 1970; gives its version.
    pub fn put(&self, name: &str, value: &str, ends: Option<i64>) -> Result<String> {
        let body = json!({ "value": value, "attributes": { "exp": ends } });
        let answer = self.call("PUT", &format!("secrets/{name}"), &body)?;
        let id = answer["id"].as_str().and_then(|id| id.rsplit('/').next());
        id.map(str::to_owned).context("no id")
    }

    /// Takes a secret away. Until it is recovered nobody can write one of its name.
    pub fn delete(&self, name: &str) -> Result<()> {
        self.call("DELETE", &format!("secrets/{name}"), &Value::Null).map(drop)
    }

    /// Brings back one that was taken away, with its versions.
    pub fn recover(&self, name: &str) -> Result<()> {
        self.call("POST", &format!("deletedsecrets/{name}/recover"), &Value::Null).map(drop)
    }

    /// Ends it and so forgets everything.
    pub fn stop(&mut self) {
        self.daemon.stop();
    }

    /// Sends a signal: SIGSTOP and SIGCONT make a server that takes connections and never answers.
    pub fn signal(&self, signal: Signal) {
        self.daemon.signal(signal);
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let path = format!("/{path}?api-version=7.6");
        Ok(serde_json::from_str(&self.https.call(method, &path, HEADERS, &body)?)?)
    }
}
