//! Secrets from one secret of AWS Secrets Manager, a JSON map of names and values. Region, credentials and endpoint are
//! the SDK's own affair.

use std::fmt;

use aws_config::{BehaviorVersion, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_secretsmanager::{
    Client, config::SharedHttpClient, error::SdkError, operation::get_secret_value::GetSecretValueError,
};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::{FutureExt as _, future::BoxFuture};
use tokio::sync::OnceCell;

use super::{
    backend::{Answer, Backend, BackendError},
    config::AwsConfig,
    http::{self, TIMEOUT},
    problem::Problem,
    vault::answer,
};

/// A secret of AWS.
pub struct Aws {
    config: AwsConfig,
    id: String,
    client: OnceCell<Client>,
}

impl fmt::Debug for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aws").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Aws {
    /// Checks the settings; nothing is asked yet.
    pub fn new(config: &AwsConfig, development: bool) -> Result<Self, Vec<Problem>> {
        for name in ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SECRETS_MANAGER"] {
            if std::env::var(name).is_ok_and(|url| !http::is_safe(&url, development)) {
                return Err(vec![Problem::new(name, "is no address that may be asked", "use https://")]);
            }
        }
        let Some(id) = config.aws_secret_id.clone().filter(|id| !id.is_empty()) else {
            return Err(vec![Problem::new(
                "AWS_SECRET_ID",
                "is missing",
                "set the name or ARN of the secret",
            )]);
        };
        Ok(Self { config: config.clone(), id, client: OnceCell::new() })
    }

    async fn read_now(&self, names: &[&'static str]) -> Result<Answer, BackendError> {
        let client = self.client.get_or_try_init(|| self.connect()).await?;
        let secret =
            client.get_secret_value().secret_id(&self.id).send().await.map_err(|e| self.explain(&e))?;
        let text = secret.secret_string().unwrap_or_default();
        let map = vault_kv::values(text).ok_or_else(|| {
            BackendError::Refused(format!("{} is no JSON map of names and values", self.id))
        })?;
        answer(self.name(), names, &map, secret.version_id())
    }

    async fn connect(&self) -> Result<Client, BackendError> {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(TIMEOUT)
            .operation_attempt_timeout(TIMEOUT)
            .operation_timeout(TIMEOUT * 2)
            .build();
        let config = aws_config::defaults(BehaviorVersion::latest())
            .http_client(self.https()?)
            .timeout_config(timeouts)
            .retry_config(RetryConfig::standard().with_max_attempts(2))
            .load()
            .await;
        Ok(Client::new(&config))
    }

    /// The SDK's own client looks for the system's roots, and the image has none. It takes PEM only.
    fn https(&self) -> Result<SharedHttpClient, BackendError> {
        let mut store = TrustStore::empty();
        for certificate in http::roots(self.config.aws_ca_bundle.as_deref())? {
            let body = STANDARD.encode(&certificate);
            store.add_pem_certificate(
                format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n").into_bytes(),
            );
        }
        let context = TlsContext::builder()
            .with_trust_store(store)
            .build()
            .map_err(|e| BackendError::Refused(format!("set up TLS: {e}")))?;
        Ok(Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
            .tls_context(context)
            .build_https())
    }

    /// What to do about it. The service's own texts are left out: they may repeat what they were sent.
    fn explain(&self, error: &SdkError<GetSecretValueError>) -> BackendError {
        match error {
            SdkError::ServiceError(e) if e.err().is_resource_not_found_exception() => BackendError::Refused(
                format!("there is no secret {}; create it or set AWS_SECRET_ID", self.id),
            ),
            SdkError::ServiceError(e) => {
                let code = e.err().meta().code().unwrap_or("an error");
                let text = format!("AWS answers {code}; check the role and that it may read {}", self.id);
                match e.raw().status().as_u16() {
                    400..=499 => BackendError::Refused(text),
                    _ => BackendError::Unreachable(text),
                }
            }
            SdkError::ConstructionFailure(_) => BackendError::Refused(
                "AWS cannot be asked; set AWS_REGION and give the service a role or credentials".to_owned(),
            ),
            _ => BackendError::Unreachable(
                "no answer from AWS, or no credentials; check AWS_REGION, the role and the network"
                    .to_owned(),
            ),
        }
    }
}

impl Backend for Aws {
    fn name(&self) -> &'static str {
        "aws"
    }

    fn read<'a>(&'a self, names: &'a [&'static str]) -> BoxFuture<'a, Result<Answer, BackendError>> {
        self.read_now(names).boxed()
    }
}
