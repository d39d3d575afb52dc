//! A real Vault of one test's own: its core with the engines kv and database and the methods approle and kubernetes
//! (tests/go/vault). Its storage is memory.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustix::process::Signal;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

use crate::daemon::{self, Daemon};
use crate::etcd::free_port;
use crate::parts;

const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// A running server, unsealed; dropping it kills it.
///
/// The kernel also kills it when the *thread* that called `start` ends, so start it in the test itself or in a thread
/// that lives as long, not in a worker that ends sooner.
pub struct Vault {
    daemon: Daemon,
    client: Client,
}

/// How it is asked.
struct Client {
    port: u16,
    token: String,
    tls: Arc<ClientConfig>,
}

/// What a program logs in with by approle.
pub struct AppRole {
    /// Which role.
    pub role_id: String,
    /// Its secret.
    pub secret_id: String,
}

impl Vault {
    /// Builds it when it was never built, and starts it on a free loopback port with TLS by an authority of its own.
    pub fn start() -> Result<Self> {
        let program = parts::vault()?.join("vault");
        let mut daemon = Daemon::new("vault", program, None, Signal::TERM)?;
        let (port, token) = (free_port()?, format!("root-{}", daemon::password()?));
        let (key, mut authority) = (KeyPair::generate()?, CertificateParams::default());
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let certificate = CertificateParams::new(["127.0.0.1".into(), "localhost".into()])?;
        let certificate = certificate.signed_by(&key, &authority)?.pem();
        daemon.write("ca.crt", &authority.pem())?;
        let files = [
            daemon.write("tls.crt", &certificate)?,
            daemon.write("tls.key", &key.serialize_pem())?,
            daemon.write("root-token", &token)?,
        ];
        let [certificate, key, secret] = files.map(|file| file.display().to_string());
        daemon.set_args(&[&format!("127.0.0.1:{port}"), &certificate, &key, &secret]);
        let client = Client { port, token, tls: trust(&authority.pem())? };
        let mut vault = Self { daemon, client };
        vault.start_again()?;
        Ok(vault)
    }

    /// Where clients reach it.
    pub fn address(&self) -> String {
        format!("https://127.0.0.1:{}", self.client.port)
    }

    /// The certificate of its authority, as PEM.
    pub fn ca_file(&self) -> PathBuf {
        self.daemon.folder().join("ca.crt")
    }

    /// A token that may do everything.
    pub fn root_token(&self) -> &str {
        &self.client.token
    }

    /// Asks its API as root: `path` stands behind `/v1/`. An answer without a body is null.
    pub fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        self.client.call(method, path, body)
    }

    /// Mounts an engine for keys and values, version 1 or 2.
    pub fn enable_kv(&self, mount: &str, version: u8) -> Result<()> {
        let options = json!({ "version": version.to_string() });
        self.call("POST", &format!("sys/mounts/{mount}"), &json!({ "type": "kv", "options": options }))?;
        Ok(())
    }

    /// Writes a secret; in version 2 that is a new version of it.
    pub fn write_kv(&self, mount: &str, version: u8, path: &str, values: &Value) -> Result<()> {
        let (path, body) = match version {
            1 => (format!("{mount}/{path}"), values.clone()),
            _ => (format!("{mount}/data/{path}"), json!({ "data": values })),
        };
        self.call("POST", &path, &body).map(drop)
    }

    /// Writes a policy in Vault's own language.
    pub fn policy(&self, name: &str, rules: &str) -> Result<()> {
        self.call("PUT", &format!("sys/policies/acl/{name}"), &json!({ "policy": rules })).map(drop)
    }

    /// Enables the method `approle` where it is not, and makes a role with these policies and this lifetime of its tokens.
    pub fn approle(&self, role: &str, policies: &[&str], token_ttl: &str) -> Result<AppRole> {
        if self.call("GET", "sys/auth", &Value::Null)?.get("approle/").is_none() {
            self.call("POST", "sys/auth/approle", &json!({ "type": "approle" }))?;
        }
        let role = format!("auth/approle/role/{role}");
        self.call("POST", &role, &json!({ "token_policies": policies, "token_ttl": token_ttl }))?;
        let text = |answer: Value, name: &str| {
            answer["data"][name].as_str().map(str::to_owned).with_context(|| format!("no {name}"))
        };
        Ok(AppRole {
            role_id: text(self.call("GET", &format!("{role}/role-id"), &Value::Null)?, "role_id")?,
            secret_id: text(self.call("POST", &format!("{role}/secret-id"), &json!({}))?, "secret_id")?,
        })
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// Ends it and so forgets everything.
    pub fn stop(&mut self) {
        self.daemon.stop();
    }

    /// Starts it after `stop`: the same address, authority and root token, and nothing in it.
    pub fn start_again(&mut self) -> Result<()> {
        let client = &self.client;
        self.daemon.start(|_| client.call("GET", "auth/token/lookup-self", &Value::Null).map(drop))
    }

    /// Sends a signal: SIGSTOP and SIGCONT make a server that takes connections and never answers.
    pub fn signal(&self, signal: Signal) {
        self.daemon.signal(signal);
    }
}

impl Client {
    /// HTTP/1.0, so that the answer ends with the connection.
    fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let tcp = TcpStream::connect(("127.0.0.1", self.port))?;
        tcp.set_read_timeout(Some(ANSWER_LIMIT))?;
        let name = ServerName::try_from("localhost")?;
        let mut stream = StreamOwned::new(ClientConnection::new(self.tls.clone(), name)?, tcp);
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (token, length) = (&self.token, body.len());
        write!(
            stream,
            "{method} /v1/{path} HTTP/1.0\r\nHost: localhost\r\nX-Vault-Token: {token}\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("Vault's answer has no head")?;
        let status: u16 = head.split(' ').nth(1).context("Vault's answer has no status")?.parse()?;
        ensure!((200..300).contains(&status), "vault: {method} {path}: {status} {}", body.trim_end());
        if body.is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_str(body)?) }
    }
}

fn trust(authority: &str) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes())?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}
