//! Secrets from one KV path of Vault or OpenBao, version 1 or 2. It logs in when it must and never shows the token.

mod login;

use std::{collections::HashMap, time::Instant};

use futures::{FutureExt as _, future::BoxFuture};
use rustify::clients::reqwest::Client as Http;
use serde_json::Value;
use tokio::sync::Mutex;
use vaultrs::{
    api::{self, EndpointMiddleware, kv2::requests::ReadSecretRequest},
    client::{VaultClient, VaultClientSettings},
    error::ClientError,
    kv1,
};

use super::{
    backend::{Answer, Backend, BackendError, found},
    config::VaultConfig,
    http::{self, TIMEOUT},
    problem::Problem,
};

/// A KV path.
#[derive(Debug)]
pub struct Vault {
    config: VaultConfig,
    address: reqwest::Url,
    path: String,
    session: Mutex<Option<Session>>,
}

/// What a login gave. No `Debug`: the settings of the client would show the token.
struct Session {
    client: VaultClient,
    version: KvVersion,
    /// When the token should be renewed; a token that does not end, or cannot be renewed, has none.
    renew_at: Option<Instant>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

#[derive(Clone, Copy)]
enum KvVersion {
    One,
    Two,
}

impl Vault {
    /// Checks the settings; nothing is asked yet.
    pub fn new(config: &VaultConfig, development: bool) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let address = config.vault_addr.as_deref().and_then(|text| {
            let url = http::is_safe(text, development).then(|| reqwest::Url::parse(text).ok()).flatten();
            url.filter(|url| url.path() == "/")
        });
        if address.is_none() {
            problems.push(Problem::new(
                "VAULT_ADDR",
                "is missing or no address that may be asked",
                "set https://HOST:PORT without user, path and query",
            ));
        }
        let path = config.vault_path.as_deref().map(|path| path.trim_matches('/')).filter(|p| !p.is_empty());
        if path.is_none() {
            problems.push(Problem::new(
                "VAULT_PATH",
                "is missing",
                "set the path of the map below VAULT_MOUNT",
            ));
        }
        let namespace = config.vault_namespace.as_deref().unwrap_or_default();
        if !namespace.bytes().all(|b| b.is_ascii_graphic()) {
            problems.push(Problem::new("VAULT_NAMESPACE", "holds a blank", "give the plain name"));
        }
        problems.extend(login::missing_settings(config));
        match (address, path) {
            (Some(address), Some(path)) if problems.is_empty() => {
                Ok(Self { config: config.clone(), address, path: path.to_owned(), session: Mutex::new(None) })
            }
            _ => Err(problems),
        }
    }

    async fn read_now(&self, names: &[&'static str]) -> Result<Answer, BackendError> {
        let mut held = self.session.lock().await;
        let mut kept = held.take();
        if let Some(session) = &mut kept
            && (login::is_replaced(session, &self.config) || !login::renew(session).await)
        {
            kept = None;
        }
        let session = match kept {
            Some(session) => session,
            None => self.log_in().await?,
        };
        let first = self.map(&session).await;
        let (session, outcome) = match first {
            // The token was revoked or has ended: once more with a new one, then it is our rights that are missing.
            Err(ClientError::APIError { code: 403, .. }) => {
                let session = self.log_in().await?;
                let second = self.map(&session).await;
                (session, second)
            }
            other => (session, other),
        };
        *held = Some(session);
        let (map, version) = outcome.map_err(|e| self.explain("read", &e))?;
        answer(self.name(), names, &map, version.as_deref())
    }

    /// The names and values, and the version of the map where the engine has versions.
    async fn map(&self, session: &Session) -> Result<(HashMap<String, Value>, Option<String>), ClientError> {
        let (client, mount) = (&session.client, self.config.vault_mount.trim_matches('/'));
        let parse =
            |data| serde_json::from_value(data).map_err(|source| ClientError::JsonParseError { source });
        match session.version {
            KvVersion::One => Ok((parse(kv1::get_raw(client, mount, &self.path).await?.data)?, None)),
            KvVersion::Two => {
                let request = ReadSecretRequest::builder()
                    .mount(mount)
                    .path(self.path.as_str())
                    .build()
                    .map_err(|_| ClientError::InvalidUpdateParameter)?;
                let read = api::exec_with_result(client, request).await?;
                Ok((parse(read.data)?, Some(read.metadata.version.to_string())))
            }
        }
    }

    async fn log_in(&self) -> Result<Session, BackendError> {
        let http = http::client(self.config.vault_cacert.as_deref())?;
        let mut client = self.client(http);
        let renew_at = login::log_in(&mut client, &self.config).await.map_err(|e| match e {
            login::Error::Here(error) => error,
            login::Error::There(error) => self.explain("log in", &error),
        })?;
        let version = self.kv_version(&client).await.map_err(|e| self.explain("look at the mount", &e))?;
        Ok(Session { client, version, renew_at })
    }

    /// Literals instead of the builder, which reads `VAULT_TOKEN` and `VAULT_SKIP_VERIFY` by itself.
    fn client(&self, http: reqwest::Client) -> VaultClient {
        let namespace = self.config.vault_namespace.clone().filter(|name| !name.is_empty());
        VaultClient {
            http: Http::new(self.address.as_str(), http),
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

    /// The engine's version. This path is open to every token that may read below the mount; `sys/mounts` is not.
    async fn kv_version(&self, client: &VaultClient) -> Result<KvVersion, ClientError> {
        let mount = self.config.vault_mount.trim_matches('/');
        let answer = kv1::get_raw(client, "sys/internal/ui/mounts", mount).await?;
        Ok(if answer.data["options"]["version"] == "2" { KvVersion::Two } else { KvVersion::One })
    }

    /// What to do about it. Vault's own texts are left out: they may repeat what they were sent.
    fn explain(&self, step: &str, error: &ClientError) -> BackendError {
        let place = format!("{}/{}", self.config.vault_mount.trim_matches('/'), self.path);
        let address = self.address.as_str();
        match error {
            ClientError::APIError { code: 404, .. } => BackendError::Refused(format!(
                "{step}: nothing at {place} or a wrong mount; write the map there or set VAULT_MOUNT and VAULT_PATH"
            )),
            ClientError::APIError { code: 400 | 403, .. } => BackendError::Refused(format!(
                "{step}: Vault refuses; check the credential, its role, and that its policy may read {place}"
            )),
            ClientError::APIError { code, .. } => {
                BackendError::Unreachable(format!("{step}: Vault at {address} answers {code}"))
            }
            ClientError::JsonParseError { .. } => {
                BackendError::Refused(format!("{step}: {place} is no map of names and values"))
            }
            _ => BackendError::Unreachable(format!("{step}: no answer from Vault at {address}")),
        }
    }
}

impl Backend for Vault {
    fn name(&self) -> &'static str {
        "vault"
    }

    fn read<'a>(&'a self, names: &'a [&'static str]) -> BoxFuture<'a, Result<Answer, BackendError>> {
        self.read_now(names).boxed()
    }
}

/// Picks the names out of a map; AWS uses it too.
pub(super) fn answer(
    backend: &'static str,
    names: &[&'static str],
    map: &HashMap<String, Value>,
    version: Option<&str>,
) -> Result<Answer, BackendError> {
    let mut answer = Answer::new();
    for name in names {
        let text = match map.get(*name) {
            None | Some(Value::Null) => continue,
            Some(Value::String(text)) => text,
            Some(_) => return Err(BackendError::Refused(format!("{name} is no string; write it as one"))),
        };
        if let Some(found) = found(backend, text, version.map(str::to_owned), None) {
            answer.insert(name, found);
        }
    }
    Ok(answer)
}
