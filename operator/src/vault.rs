//! The Vaults that the platform lets services use: log in as the service, have a certificate signed or revoked, give the
//! token back. The token lives no longer than that, and nothing here is ever shown.

mod revoke;
mod settings;
mod words;

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crds::Reason;
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, Client, api::PostParams};
use render::{Problem, VaultConnection};
use rustify::{clients::reqwest::Client as Http, endpoint::Endpoint};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Instant, timeout_at};
use vaultrs::{
    api::{
        self, EndpointMiddleware,
        pki::{requests::SignCertificateRequest, responses::SignCertificateResponse},
    },
    auth::kubernetes,
    client::{Client as _, VaultClient, VaultClientSettings},
};

use crate::{cache::Key, error::Error, refusal::Refusal};

pub use revoke::Proof;
pub use settings::is_name;
use words::Step;

/// For the token, the login, what is asked for and the end of the token together.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// After a silence nobody else asks for so long: each pass that waits for an answer holds a turn that others need.
const SILENCE: Duration = Duration::from_secs(30);
/// The shortest life that the API server gives to a token.
const TOKEN_SECONDS: i64 = 600;

/// The connections by name; no Debug.
#[derive(Default)]
pub struct Vaults(BTreeMap<String, Connection>);

/// One Vault, checked and ready to be asked; no Debug.
pub struct Connection {
    settings: VaultConnection,
    address: reqwest::Url,
    http: reqwest::Client,
    /// When it may be asked again.
    silent_until: Mutex<Option<Instant>>,
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

    /// One request as that account, unless Vault was silent a moment ago.
    async fn ask<E: Endpoint>(
        &self,
        client: &Client,
        service: &Key,
        step: Step,
        request: E,
    ) -> Result<E::Response, Failure> {
        if self.silent_until().is_some_and(|until| Instant::now() < until) {
            return Err(Failure::Told(self.explain(Step::Answer, service, None)));
        }
        let answer = self.asked(client, service, step, request).await;
        if matches!(&answer, Err(Failure::Told(problem)) if problem.reason == Reason::VaultUnreachable) {
            *self.silent_until() = Some(Instant::now() + SILENCE);
        }
        answer
    }

    fn silent_until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.silent_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn asked<E: Endpoint>(
        &self,
        client: &Client,
        service: &Key,
        step: Step,
        request: E,
    ) -> Result<E::Response, Failure> {
        let end = Instant::now() + TIMEOUT;
        let late = |_| Failure::Told(self.explain(Step::Answer, service, None));
        let account = timeout_at(end, self.account_token(client, service)).await;
        let account = account.unwrap_or_else(|_| Err(Failure::Told(words::no_token(service, "nothing"))))?;
        let mut vault = self.client();
        timeout_at(end, self.log_in(&mut vault, service, &account)).await.map_err(late)??;
        let answer = timeout_at(end, api::exec_with_result(&vault, request)).await;
        // It would end by itself soon.
        let _ = timeout_at(end, vault.revoke()).await;
        let answer = answer.map_err(late)?;
        answer.map_err(|error| Failure::Told(self.explain(step, service, Some(&error))))
    }

    /// A token of the service's own account, which only Vault takes.
    async fn account_token(&self, client: &Client, service: &Key) -> Result<SecretString, Failure> {
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: Some(vec![self.settings.audience.clone()]),
                expiration_seconds: Some(TOKEN_SECONDS),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &service.namespace);
        // The answer is told by its code only: it may hold the token.
        let token = match accounts.create_token_request(&service.name, &PostParams::default(), &request).await
        {
            Ok(answer) => answer.status.and_then(|status| status.token),
            Err(kube::Error::Api(status)) if let Some(refusal) = Refusal::of(&status) => {
                return Err(Failure::Told(refusal.problem()));
            }
            Err(kube::Error::Api(status)) => {
                return Err(Failure::Told(words::no_token(service, &status.code.to_string())));
            }
            Err(error) => return Err(Failure::Pass(error.into())),
        };
        token.map(SecretString::from).ok_or_else(|| Failure::Told(words::no_token(service, "no token")))
    }

    async fn log_in(
        &self,
        vault: &mut VaultClient,
        service: &Key,
        account: &SecretString,
    ) -> Result<(), Failure> {
        let (mount, role) = (&self.settings.kubernetes_auth.mount, self.login_role(service));
        let failed = |error: Option<&_>| Failure::Told(self.explain(Step::LogIn, service, error));
        if !settings::is_login_role(&role) {
            return Err(failed(None));
        }
        let given = kubernetes::login(vault, mount, &role, account.expose_secret()).await;
        let given = given.map_err(|error| failed(Some(&error)))?;
        // It goes into a header, where the client would panic over anything else.
        if !given.client_token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(failed(None));
        }
        vault.set_token(&given.client_token);
        Ok(())
    }

    /// The role of the login, for this service.
    fn login_role(&self, service: &Key) -> String {
        settings::login_role(&self.settings.kubernetes_auth.role, &service.namespace, &service.name)
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

    /// Literals instead of the builder, which reads `VAULT_TOKEN` and `VAULT_SKIP_VERIFY` by itself.
    fn client(&self) -> VaultClient {
        let namespace = self.settings.namespace.clone();
        VaultClient {
            http: Http::new(self.address.as_str(), self.http.clone()),
            middle: EndpointMiddleware {
                token: String::new(),
                version: "v1".to_owned(),
                wrap: None,
                namespace: namespace.clone(),
            },
            settings: VaultClientSettings {
                address: self.address.clone(),
                ca_certs: Vec::new(),
                identity: None,
                timeout: Some(TIMEOUT),
                token: String::new(),
                verify: true,
                version: 1,
                wrapping: false,
                namespace,
                proxy: None,
            },
        }
    }
}
