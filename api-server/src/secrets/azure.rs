//! Secrets from Azure Key Vault, one per name with `-` for `_`. A secret that ends is told with its end.

use std::{fmt, sync::Arc};

use azure_core::{
    credentials::{Secret, TokenCredential},
    error::ErrorKind,
    http::{ClientOptions, RetryOptions, StatusCode, Transport},
};
use azure_identity::{
    ClientAssertionCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions,
    ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId, WorkloadIdentityCredential,
    WorkloadIdentityCredentialOptions,
};
use azure_security_keyvault_secrets::{ResourceExt as _, SecretClient, SecretClientOptions};
use futures::{FutureExt as _, future::BoxFuture, future::try_join_all};
use secrecy::ExposeSecret as _;
use tokio::sync::Mutex;

use super::{
    backend::{Answer, Backend, BackendError, Found, credential, found},
    config::{AzureAuth, AzureConfig},
    http,
    problem::Problem,
};

/// A key vault.
pub struct Azure {
    config: AzureConfig,
    url: String,
    client: Mutex<Option<Arc<SecretClient>>>,
}

impl fmt::Debug for Azure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Azure").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Azure {
    /// Checks the settings; nothing is asked yet.
    pub fn new(config: &AzureConfig, development: bool) -> Result<Self, Vec<Problem>> {
        let Some(url) = config.azure_vault_url.clone().filter(|url| http::is_safe(url, development)) else {
            let fix = "set https://NAME.vault.azure.net";
            return Err(vec![Problem::new(
                "AZURE_VAULT_URL",
                "is missing or no address that may be asked",
                fix,
            )]);
        };
        let named = config.azure_tenant_id.is_some() && config.azure_client_id.is_some();
        if config.azure_auth == AzureAuth::ClientSecret && !named {
            let fix = "set both, or choose another AZURE_AUTH";
            return Err(vec![Problem::new("AZURE_TENANT_ID, AZURE_CLIENT_ID", "are missing", fix)]);
        }
        Ok(Self { config: config.clone(), url, client: Mutex::new(None) })
    }

    async fn read_now(&self, names: &[&'static str]) -> Result<Answer, BackendError> {
        let mut held = self.client.lock().await;
        // Taken out and put back only after an answer: a client secret that was rotated is read again.
        let client = match held.take() {
            Some(client) => client,
            None => Arc::new(self.connect()?),
        };
        let each = names.iter().map(|name| {
            let client = client.clone();
            async move { Ok(self.read_one(&client, name).await?.map(|found| (*name, found))) }
        });
        let answer = try_join_all(each).await?.into_iter().flatten().collect();
        *held = Some(client);
        Ok(answer)
    }

    async fn read_one(&self, client: &SecretClient, name: &str) -> Result<Option<Found>, BackendError> {
        let secret = match client.get_secret(&name.replace('_', "-"), None).await {
            Ok(response) => response.into_model().map_err(|e| self.explain(&e))?,
            Err(e) if e.http_status() == Some(StatusCode::NotFound) => return Ok(None),
            Err(e) => return Err(self.explain(&e)),
        };
        let version = secret.resource_id().ok().and_then(|id| id.version);
        let expires = secret.attributes.as_ref().and_then(|attributes| attributes.expires);
        Ok(found(self.name(), secret.value.as_deref().unwrap_or_default(), version, expires))
    }

    fn connect(&self) -> Result<SecretClient, BackendError> {
        // The SDK is built without a client of its own, which would look for the system's roots.
        let http = http::client(self.config.azure_ca_file.as_deref())?;
        let client_options = ClientOptions {
            transport: Some(Transport::new(Arc::new(http))),
            // The next refresh is the next try.
            retry: RetryOptions::none(),
            ..ClientOptions::default()
        };
        let credential = self.credential(client_options.clone())?;
        // A server could ask for a token of another service and use it there; an emulator on this machine has no name of
        // Azure's to compare with.
        let emulator = reqwest::Url::parse(&self.url).is_ok_and(|url| http::is_loopback(&url));
        let verify_challenge_resource = Some(!emulator);
        let options = SecretClientOptions {
            client_options,
            verify_challenge_resource,
            ..SecretClientOptions::default()
        };
        SecretClient::new(&self.url, credential, Some(options)).map_err(|e| self.explain(&e))
    }

    fn credential(&self, client_options: ClientOptions) -> Result<Arc<dyn TokenCredential>, BackendError> {
        let config = &self.config;
        let made: Result<Arc<dyn TokenCredential>, _> = match config.azure_auth {
            AzureAuth::WorkloadIdentity => {
                WorkloadIdentityCredential::new(Some(WorkloadIdentityCredentialOptions {
                    credential_options: ClientAssertionCredentialOptions { client_options },
                    client_id: config.azure_client_id.clone(),
                    tenant_id: config.azure_tenant_id.clone(),
                    token_file_path: config.azure_federated_token_file.clone(),
                }))
                .map(|credential| credential as _)
            }
            AzureAuth::ManagedIdentity => {
                ManagedIdentityCredential::new(Some(ManagedIdentityCredentialOptions {
                    user_assigned_id: config.azure_client_id.clone().map(UserAssignedId::ClientId),
                    client_options,
                }))
                .map(|credential| credential as _)
            }
            AzureAuth::ClientSecret => {
                let absent = || BackendError::Refused("AZURE_CLIENT_SECRET is not set".to_owned());
                let secret = credential(config.azure_client_secret_file.as_deref(), "AZURE_CLIENT_SECRET")?;
                let secret = Secret::new(secret.ok_or_else(absent)?.expose_secret().to_owned());
                let client = config.azure_client_id.clone().unwrap_or_default();
                let tenant = config.azure_tenant_id.as_deref().unwrap_or_default();
                let options = ClientSecretCredentialOptions { client_options };
                ClientSecretCredential::new(tenant, client, secret, Some(options))
                    .map(|credential| credential as _)
            }
        };
        made.map_err(|e| self.explain(&e))
    }

    /// What to do about it. The service's own texts are left out: they may repeat what they were sent.
    fn explain(&self, error: &azure_core::Error) -> BackendError {
        let url = &self.url;
        match (error.http_status().map(u16::from), error.kind()) {
            (Some(status @ 400..=499), _) => BackendError::Refused(format!(
                "Azure at {url} answers {status}; check the identity and that it may get secrets"
            )),
            (Some(status), _) => BackendError::Unreachable(format!("Azure at {url} answers {status}")),
            (None, ErrorKind::Credential) => {
                BackendError::Refused("no token from Azure; check AZURE_AUTH and its settings".to_owned())
            }
            (None, _) => BackendError::Unreachable(format!("no answer from Azure at {url}")),
        }
    }
}

impl Backend for Azure {
    fn name(&self) -> &'static str {
        "azure"
    }

    fn read<'a>(&'a self, names: &'a [&'static str]) -> BoxFuture<'a, Result<Answer, BackendError>> {
        self.read_now(names).boxed()
    }
}
