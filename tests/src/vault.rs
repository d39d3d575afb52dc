//! A real Vault of one test's own: its core with the engines kv, database and pki, the methods approle and kubernetes and
//! the audit device file (tests/go/vault). Its storage is memory.

mod kubernetes;
pub mod onstage;
pub mod outage;
mod pki;
pub mod platform;
pub mod scene;
pub mod values;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::daemon::{self, Daemon};
use crate::https::Https;
use crate::parts;
use crate::wait::{Look, wait_until};

/// The file with the key that ends a seal.
const UNSEAL: &str = "unseal-key";
/// A node looks every 10 s at most whether it can lead.
const LEADS: Duration = Duration::from_secs(30);

/// A running server, unsealed; dropping it kills it.
///
/// The kernel also kills it when the *thread* that called `start` ends, so start it in the test itself or in a thread
/// that lives as long, not in a worker that ends sooner.
pub struct Vault {
    daemon: Daemon,
    client: Client,
    /// The other node, in the same process and with the same storage.
    standby: Option<Client>,
}

/// How it is asked.
struct Client {
    https: Https,
    token: String,
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
        Self::start_nodes(false)
    }

    /// The same as two nodes with one storage, so that both write the same audit log when they are active. The first one is
    /// active; the other stands by, and as it knows no way to pass requests on, it answers them with a redirect.
    pub fn start_with_standby() -> Result<Self> {
        Self::start_nodes(true)
    }

    fn start_nodes(two: bool) -> Result<Self> {
        let program = parts::vault()?.join("vault");
        let mut daemon = Daemon::new("vault", program, None, Signal::TERM)?;
        let (https, [certificate, key]) = Https::create(&daemon, &[])?;
        let token = format!("root-{}", daemon::password()?);
        let files = [certificate, key, daemon.write("root-token", &token)?];
        let files = files.into_iter().chain([daemon.folder().join(UNSEAL)]);
        let files: Vec<_> = files.map(|file| file.display().to_string()).collect();
        let other = if two { Some(https.beside()?) } else { None };
        let address = |https: &Https| format!("127.0.0.1:{}", https.port());
        let args = [address(&https)].into_iter().chain(files).chain(other.as_ref().map(address));
        let args: Vec<_> = args.collect();
        daemon.set_args(&args.iter().map(String::as_str).collect::<Vec<_>>());
        let standby = other.map(|https| Client { https, token: token.clone() });
        let mut vault = Self { daemon, client: Client { https, token }, standby };
        vault.start_again()?;
        Ok(vault)
    }

    /// Where clients reach it.
    pub fn address(&self) -> String {
        self.client.https.address()
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
        self.client.call(&self.client.token, method, path, body)
    }

    /// Asks as whoever has this token.
    pub fn call_as(&self, token: &str, method: &str, path: &str, body: &Value) -> Result<Value> {
        self.client.call(token, method, path, body)
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

    /// From now on it writes every request and every answer into a file before it answers, with secrets as HMACs.
    pub fn enable_audit(&self) -> Result<()> {
        let options = json!({ "file_path": self.audit_file() });
        self.call("PUT", "sys/audit/file", &json!({ "type": "file", "options": options })).map(drop)
    }

    /// What it has written into that file, the oldest first.
    pub fn audited(&self) -> Result<Vec<Value>> {
        let text = fs::read_to_string(self.audit_file()).context("read the audit log of vault")?;
        Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
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
        let (client, standby) = (&self.client, &self.standby);
        self.daemon.start(|_| {
            client.call(&client.token, "GET", "auth/token/lookup-self", &Value::Null)?;
            let Some(standby) = standby else { return Ok(()) };
            standby.call(&standby.token, "GET", "sys/health?standbyok=true", &Value::Null).map(drop)
        })
    }

    /// Seals it: it answers 503 to everybody, and forgets nothing.
    pub fn seal(&self) -> Result<()> {
        self.call("PUT", "sys/seal", &Value::Null).map(drop)
    }

    /// Ends that.
    pub fn unseal(&self) -> Result<()> {
        let key = fs::read_to_string(self.daemon.folder().join(UNSEAL)).context("read the key")?;
        let answer = self.call("PUT", "sys/unseal", &json!({ "key": key }))?;
        ensure!(answer["sealed"] == false, "{answer}");
        Ok(())
    }

    /// Where the second node is reached, which stands by at first.
    pub fn standby_address(&self) -> Result<String> {
        Ok(self.second()?.https.address())
    }

    /// Asks the second node as root.
    pub fn call_standby(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let second = self.second()?;
        second.call(&second.token, method, path, body)
    }

    /// Has the first node be the active one, or the second: the other steps down, and waits 10 s before it may lead again.
    pub async fn lead(&self, first: bool) -> Result<()> {
        let second = self.second()?;
        let (now, next) = if first { (second, &self.client) } else { (&self.client, second) };
        now.call(&now.token, "PUT", "sys/step-down", &Value::Null)?;
        let look = || next.call(&next.token, "GET", "auth/token/lookup-self", &Value::Null);
        wait_until(LEADS, "the other node to lead", async || match look() {
            Ok(_) => Look::Done(()),
            Err(error) => Look::NotYet(format!("{error:#}")),
        })
        .await
    }

    fn second(&self) -> Result<&Client> {
        self.standby.as_ref().context("it was started without a standby")
    }

    /// Sends a signal: SIGSTOP and SIGCONT make a server that takes connections and never answers.
    pub fn signal(&self, signal: Signal) {
        self.daemon.signal(signal);
    }

    fn audit_file(&self) -> PathBuf {
        self.daemon.folder().join("audit.log")
    }
}

impl Client {
    fn call(&self, token: &str, method: &str, path: &str, body: &Value) -> Result<Value> {
        let token = format!("X-Vault-Token: {token}\r\n");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.https.call(method, &format!("/v1/{path}"), &token, &body).context("vault")?;
        if answer.is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_str(&answer)?) }
    }
}
