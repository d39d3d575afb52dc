//! Secrets from one KV path of Vault or OpenBao, version 1 or 2. It logs in when it must and never shows the token.

mod login;

use std::{collections::BTreeMap, time::Instant};

use futures::{FutureExt as _, future::BoxFuture};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Mutex;
use vault_kv::{Content, Engine, Fault, KvValue, Lack, Place, Wire};

use super::{
    backend::{Answer, Backend, BackendError, found},
    config::VaultConfig,
    http,
    problem::Problem,
};

/// A KV path.
#[derive(Debug)]
pub struct Vault {
    config: VaultConfig,
    address: reqwest::Url,
    place: Place,
    session: Mutex<Option<Session>>,
}

/// What a login gave.
#[derive(Debug)]
struct Session {
    http: reqwest::Client,
    token: SecretString,
    engine: Engine,
    /// When the token should be renewed; a token that does not end, or cannot be renewed, has none.
    renew_at: Option<Instant>,
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
                let mount = config.vault_mount.trim_matches('/').to_owned();
                let place = Place { mount, path: path.to_owned(), version: None };
                Ok(Self { config: config.clone(), address, place, session: Mutex::new(None) })
            }
            _ => Err(problems),
        }
    }

    async fn read_now(&self, names: &[&'static str]) -> Result<Answer, BackendError> {
        let mut held = self.session.lock().await;
        let mut kept = held.take();
        if let Some(session) = &mut kept
            && (login::is_replaced(session, &self.config) || !self.renew(session).await)
        {
            kept = None;
        }
        let session = match kept {
            Some(session) => session,
            None => self.log_in().await?,
        };
        let first = self.content(&session).await;
        let (session, outcome) = match first {
            // The token was revoked or has ended: once more with a new one, then it is our rights that are missing.
            Err(lack) if lack.is_denial() => {
                let session = self.log_in().await?;
                let second = self.content(&session).await;
                (session, second)
            }
            other => (session, other),
        };
        *held = Some(session);
        match outcome {
            Ok(Content { values, version }) => {
                let version = version.map(|version| version.to_string());
                answer(self.name(), names, &values, version.as_deref())
            }
            // An emptied map is how people remove secrets.
            Err(Lack::Empty(_)) => Ok(Answer::new()),
            Err(lack) => Err(self.explain("read", &lack)),
        }
    }

    /// The names and values, and the version of the map where the engine has versions.
    async fn content(&self, session: &Session) -> Result<Content, Lack> {
        session.engine.read(&self.wire(&session.http, Some(&session.token)), &self.place).await
    }

    /// Renews the token when its time has come. False means that a new login is needed.
    async fn renew(&self, session: &mut Session) -> bool {
        if session.renew_at.is_none_or(|at| Instant::now() < at) {
            return true;
        }
        session.renew_at = login::renew(&self.wire(&session.http, Some(&session.token))).await;
        session.renew_at.is_some()
    }

    async fn log_in(&self) -> Result<Session, BackendError> {
        let http = http::client(self.config.vault_cacert.as_deref())?;
        let given = login::log_in(&self.wire(&http, None), &self.config).await;
        let (token, renew_at) = given.map_err(|e| match e {
            login::Error::Here(error) => error,
            login::Error::There(fault) => self.unanswered("log in", &fault),
        })?;
        let looked = Engine::look(&self.wire(&http, Some(&token)), &self.place.mount).await;
        let engine = looked.map_err(|lack| self.explain("look at the mount", &lack))?;
        Ok(Session { http, token, engine, renew_at })
    }

    fn wire<'a>(&'a self, http: &'a reqwest::Client, token: Option<&'a SecretString>) -> Wire<'a> {
        let namespace = self.config.vault_namespace.as_deref().filter(|name| !name.is_empty());
        Wire { http, address: self.address.as_str(), namespace, token }
    }

    /// What to do about it. Vault's own texts are left out: they may repeat what they were sent.
    fn explain(&self, step: &str, lack: &Lack) -> BackendError {
        let Place { mount, path, .. } = &self.place;
        match lack {
            Lack::Read(_, Fault::Foreign) => {
                BackendError::Refused(format!("{step}: {mount}/{path} is no map of names and values"))
            }
            Lack::Mount(fault) | Lack::Read(_, fault) => self.unanswered(step, fault),
            _ => self.nothing(step),
        }
    }

    fn nothing(&self, step: &str) -> BackendError {
        let Place { mount, path, .. } = &self.place;
        BackendError::Refused(format!(
            "{step}: nothing at {mount}/{path} or a wrong mount; write the map there or set VAULT_MOUNT and VAULT_PATH"
        ))
    }

    fn unanswered(&self, step: &str, fault: &Fault) -> BackendError {
        let Place { mount, path, .. } = &self.place;
        let address = self.address.as_str();
        match fault {
            Fault::Status { code: 404, .. } => self.nothing(step),
            Fault::Status { code: 400 | 403, .. } => BackendError::Refused(format!(
                "{step}: Vault refuses; check the credential, its role, and that its policy may read {mount}/{path}"
            )),
            Fault::Status { code, .. } => {
                BackendError::Unreachable(format!("{step}: Vault at {address} answers {code}"))
            }
            Fault::TooLong => BackendError::Refused(format!(
                "{step}: Vault at {address} answers more than 2 MiB; keep less at {mount}/{path}"
            )),
            Fault::Silence | Fault::Foreign => {
                BackendError::Unreachable(format!("{step}: no answer from Vault at {address}"))
            }
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
    map: &BTreeMap<String, KvValue>,
    version: Option<&str>,
) -> Result<Answer, BackendError> {
    let mut answer = Answer::new();
    for name in names {
        let text = match map.get(*name) {
            None | Some(KvValue::Unusable("null")) => continue,
            Some(KvValue::Text(text)) => text.expose_secret(),
            Some(KvValue::Unusable(what)) => {
                return Err(BackendError::Refused(format!("{name} is {what}; write it as a string")));
            }
        };
        if let Some(found) = found(backend, text, version.map(str::to_owned), None) {
            answer.insert(name, found);
        }
    }
    Ok(answer)
}
