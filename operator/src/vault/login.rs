//! A login as an account of the service's namespace, with a token of the API server's that only this Vault takes.

use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, Client, api::PostParams};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::{Instant, timeout};
use vault_kv::Fault;
use vaultrs::api::auth::kubernetes::requests::LoginWithKubernetesRequest;

use super::{Connection, Failure, REQUEST, session::Token, settings, words, words::Step};
use crate::{cache::Key, refusal::Refusal};

/// The shortest life that the API server gives to a token.
const TOKEN_SECONDS: i64 = 600;

/// Who asks Vault. What one of them may read says nothing of another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The service's namespace.
    pub namespace: String,
    /// A ServiceAccount of it.
    pub account: String,
    /// The role that it logs in to.
    pub role: String,
}

impl Connection {
    /// Name of the ServiceAccount that logs in for this service. Whoever may give a service the name of an account of
    /// somebody else must not read as that one: the caller looks whose it is.
    pub fn account(&self, service: &Key) -> String {
        let pattern = &self.settings.kubernetes_auth.service_account;
        settings::filled(pattern, &service.namespace, &service.name)
    }

    /// As whom a service asks.
    pub fn identity(&self, service: &Key) -> Identity {
        let role = settings::filled(&self.settings.kubernetes_auth.role, &service.namespace, &service.name);
        Identity { namespace: service.namespace.clone(), account: self.account(service), role }
    }

    /// A token of Vault's, by a login of its own.
    pub async fn log_in(&self, client: &Client, identity: &Identity) -> Result<Token, Failure> {
        let failed = |fault: &Fault| Failure::Told(self.explain(Step::LogIn, identity, fault));
        // The names in them were checked by the API server, and the settings with the longest.
        if !settings::is_login_role(&identity.role) || !settings::is_account(&identity.account) {
            return Err(failed(&Fault::Status { code: 400, body: <_>::default() }));
        }
        let account = timeout(REQUEST, self.account_token(client, identity)).await;
        let account = account.unwrap_or_else(|_| Err(Failure::Told(words::no_token(identity, "nothing"))))?;
        let request = LoginWithKubernetesRequest {
            mount: self.settings.kubernetes_auth.mount.clone(),
            role: identity.role.clone(),
            jwt: account.expose_secret().to_owned(),
        };
        let asked = Instant::now();
        let given = self.heard(self.wire(None).auth(&request).await);
        given.map(|auth| Token::new(auth, asked)).map_err(|fault| failed(&fault))
    }

    /// A token of the account, which only Vault takes.
    async fn account_token(&self, client: &Client, identity: &Identity) -> Result<SecretString, Failure> {
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: Some(vec![self.settings.audience.clone()]),
                expiration_seconds: Some(TOKEN_SECONDS),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &identity.namespace);
        let answer = accounts.create_token_request(&identity.account, &PostParams::default(), &request).await;
        // The answer is told by its code only: it may hold the token.
        let token = match answer {
            Ok(answer) => answer.status.and_then(|status| status.token),
            Err(kube::Error::Api(status)) if status.is_not_found() => {
                return Err(Failure::Told(words::no_account(identity)));
            }
            Err(kube::Error::Api(status)) => {
                let refused = Refusal::of(&status).map(|refusal| refusal.problem());
                let told = refused.unwrap_or_else(|| words::no_token(identity, &status.code.to_string()));
                return Err(Failure::Told(told));
            }
            Err(error) => return Err(Failure::Pass(error.into())),
        };
        token.map(SecretString::from).ok_or_else(|| Failure::Told(words::no_token(identity, "no token")))
    }
}
