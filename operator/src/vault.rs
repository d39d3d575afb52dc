//! The Vaults that the platform lets services use: log in as the service, have a certificate signed or revoked and give the
//! token back, or read values with one that is kept in memory. Nothing here is ever shown.

#[cfg(test)]
mod fake;
mod kv;
mod login;
mod revoke;
mod session;
mod settings;
mod silence;
mod words;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::future::join_all;
use kube::Client;
use render::{Problem, VaultConnection};
use rustify::endpoint::Endpoint;
use secrecy::SecretString;
use tokio::time::{Instant, timeout, timeout_at};
use vault_kv::{Fault, Wire};
use vaultrs::api::pki::{requests::SignCertificateRequest, responses::SignCertificateResponse};

use crate::{cache::Key, error::Error};

pub use login::Identity;
pub use revoke::Proof;
use session::Sessions;
pub use settings::is_name;
use silence::Silence;
use words::Step;

/// For the token, the login, what is asked for and the end of the token together.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// For one request, and its answer to the last byte.
const REQUEST: Duration = Duration::from_secs(5);
/// For the end of all tokens in memory.
const END: Duration = Duration::from_secs(3);
/// How often what nobody uses any more is dropped.
const TIDY: Duration = Duration::from_mins(1);

/// The connections by name; no Debug.
#[derive(Default)]
pub struct Vaults(BTreeMap<String, Connection>);

/// Name of the connection that a spec means.
pub fn connection_name(asked: Option<&str>) -> &str {
    asked.unwrap_or("default")
}

/// One Vault, checked and ready to be asked; no Debug.
pub struct Connection {
    settings: VaultConnection,
    address: reqwest::Url,
    http: reqwest::Client,
    silence: Silence,
    sessions: Sessions,
    kv: kv::Cache,
}

/// What is to be signed.
pub struct Order {
    /// Role of the engine.
    pub role: String,
    /// The request (PEM), without its key.
    pub csr: String,
    /// Names; the first is the common name.
    pub names: Vec<String>,
    /// The life that is asked for.
    pub seconds: i64,
}

/// What Vault made of it, unexamined.
pub struct Signed {
    /// The certificate (PEM).
    pub certificate: String,
    /// Its issuer, and each one's issuer after it (PEM).
    pub chain: Vec<String>,
}

/// Why a request came to nothing.
pub enum Failure {
    /// To be told, and tried again after a pause.
    Told(Problem),
    /// The pass cannot go on.
    Pass(Error),
}

impl Vaults {
    /// Checks the platform's settings. An error names field, problem and fix.
    pub fn new(settings: BTreeMap<String, VaultConnection>) -> anyhow::Result<Self> {
        let connections = settings.into_iter().map(|(name, settings)| {
            let connection = Connection::new(&name, settings)?;
            Ok((name, connection))
        });
        Ok(Self(connections.collect::<anyhow::Result<_>>()?))
    }

    /// One by name.
    pub fn get(&self, name: &str) -> Option<&Connection> {
        self.0.get(name)
    }

    /// Drops again and again what nobody uses any more, until it is dropped itself.
    pub async fn tidy(self: Arc<Self>) {
        loop {
            tokio::time::sleep(TIDY).await;
            let now = Instant::now();
            for connection in self.0.values() {
                connection.sessions.tidy(now);
                connection.kv.tidy(now);
            }
        }
    }

    /// Forgets all values and gives all tokens back, as far as that is quick.
    pub async fn end(&self) {
        let all = self.0.values().map(|connection| {
            connection.kv.clear();
            connection.end_sessions()
        });
        if timeout(END, join_all(all)).await.is_err() {
            tracing::warn!(after = ?END, "some tokens of Vault were not revoked; they end by themselves");
        }
    }
}

impl Connection {
    /// Whether services may use this role of the engine.
    pub fn allows(&self, role: &str) -> bool {
        is_name(role) && self.settings.pki.roles.iter().any(|allowed| allowed == role)
    }

    /// Has a certificate signed, as the ServiceAccount that the service's pods run with.
    pub async fn sign(&self, client: &Client, service: &Key, order: Order) -> Result<Signed, Failure> {
        let step = Step::Sign { role: order.role.clone(), names: order.names.join(", ") };
        let signed = self.ask(client, service, step, self.request(order)).await?;
        let SignCertificateResponse { certificate, issuing_ca, ca_chain, .. } = signed;
        let chain = ca_chain.filter(|chain| !chain.is_empty()).unwrap_or_else(|| vec![issuing_ca]);
        Ok(Signed { certificate, chain })
    }

    /// One request as that account, with a token of its own, unless Vault was silent a moment ago.
    async fn ask<E: Endpoint>(
        &self,
        client: &Client,
        service: &Key,
        step: Step,
        request: E,
    ) -> Result<E::Response, Failure> {
        let identity = self.identity(service);
        self.may_ask(&identity)?;
        let end = Instant::now() + TIMEOUT;
        let late = |_| self.late(&identity);
        let token = timeout_at(end, self.log_in(client, &identity)).await.map_err(late)??;
        let wire = self.wire(Some(token.secret()));
        let answer = timeout_at(end, wire.data(&request)).await;
        // It would end by itself soon.
        let _ = timeout_at(end, wire.end()).await;
        self.heard(answer.map_err(late)?)
            .map_err(|fault| Failure::Told(self.explain(step, &identity, &fault)))
    }

    /// Fails while Vault answers nobody.
    fn may_ask(&self, identity: &Identity) -> Result<(), Failure> {
        match self.silence.lasts(Instant::now()) {
            Some(fault) => Err(Failure::Told(self.explain(Step::Answer, identity, &fault))),
            None => Ok(()),
        }
    }

    /// Notes what an answer tells of Vault as a whole.
    fn heard<T>(&self, answer: Result<T, Fault>) -> Result<T, Fault> {
        self.silence.note(answer.as_ref().err(), Instant::now());
        answer
    }

    /// All of it took too long, though every single request was answered in time or ended by its own limit.
    fn late(&self, identity: &Identity) -> Failure {
        Failure::Told(self.explain(Step::Answer, identity, &Fault::Silence))
    }

    fn request(&self, order: Order) -> SignCertificateRequest {
        SignCertificateRequest {
            mount: self.settings.pki.mount.clone(),
            role: order.role,
            common_name: order.names.first().cloned(),
            alt_names: Some(order.names.join(",")),
            csr: Some(order.csr),
            ttl: Some(format!("{}s", order.seconds)),
            ..SignCertificateRequest::default()
        }
    }

    fn wire<'a>(&'a self, token: Option<&'a SecretString>) -> Wire<'a> {
        Wire {
            http: &self.http,
            address: self.address.as_str(),
            namespace: self.settings.namespace.as_deref(),
            token,
        }
    }
}
