//! Secrets by name, from memory: a request never waits for a backend. What a backend says later counts from then on.

mod aws;
mod azure;
mod backend;
mod config;
mod environment;
mod files;
pub mod groups;
mod http;
mod manager;
mod problem;
mod vault;

use std::{
    fmt,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::{sync::watch, time::sleep};

use self::{
    backend::Answer,
    environment::Environment as Variables,
    manager::{Chain, Which, audit, jittered, log},
};
pub use self::{
    backend::{Backend, BackendError, Found, Metadata},
    config::{AwsConfig, AzureAuth, AzureConfig, BackendKind, SecretsConfig, VaultAuth, VaultConfig},
    manager::Health,
    problem::Problem,
};
use crate::{
    config::{Config, Environment},
    headers::random,
};

/// Names of secrets that the service reads.
pub const NAMES: [&str; 9] = [
    "DATABASE_URL",
    "DATABASE_PASSWORD",
    "ENCRYPTION_KEY",
    "ENCRYPTION_KEY_PREVIOUS",
    "REDIS_URL",
    "MONGODB_URL",
    "JWT_SIGNING_KEY",
    "JWT_PREVIOUS_KEYS",
    "AI_API_KEY",
];

/// The last good value of each secret, shared by all that hold a clone.
#[derive(Clone)]
pub struct Secrets(Arc<Inner>);

struct Inner {
    values: ArcSwap<Answer>,
    /// Which of `NAMES` somebody has asked for; the first time is logged, later ones would flood.
    used: [AtomicBool; NAMES.len()],
    changes: watch::Sender<u64>,
    chain: Chain,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.values.load().keys()).finish()
    }
}

impl Secrets {
    /// Reads the environment, and nothing else ever.
    pub fn from_environment() -> Self {
        let secrets = Self::of(vec![Box::new(Variables)]);
        secrets.take(Variables.read_now(&NAMES));
        secrets
    }

    /// Reads all backends of the settings once. What is wrong with a backend's settings is told, and it is left out; one
    /// that gives no answer is in `health`.
    pub async fn load(config: &SecretsConfig, environment: Environment) -> (Self, Vec<Problem>) {
        let (mut backends, mut problems) = (Vec::new(), Vec::new());
        for kind in config.backends() {
            match backend(kind, config, environment == Environment::Development) {
                Ok(backend) => backends.push(backend),
                Err(more) => problems.extend(more),
            }
        }
        let secrets = Self::of(backends);
        secrets.refresh(Which::All).await;
        (secrets, problems)
    }

    fn of(backends: Vec<Box<dyn Backend>>) -> Self {
        Self(Arc::new(Inner {
            values: ArcSwap::from_pointee(Answer::new()),
            used: Default::default(),
            changes: watch::Sender::new(0),
            chain: Chain::new(backends),
        }))
    }

    /// The value, where a backend has one that is not empty.
    pub fn get(&self, name: &str) -> Option<SecretString> {
        let values = self.0.values.load();
        let found = values.get(name)?;
        let used = NAMES.iter().position(|known| *known == name).and_then(|index| self.0.used.get(index));
        if used.is_some_and(|used| !used.load(Ordering::Relaxed) && !used.swap(true, Ordering::Relaxed)) {
            log(name, "used", Some(found));
        }
        Some(found.value.clone())
    }

    /// The value, for checks: nobody has used it yet.
    fn peek(&self, name: &str) -> Option<SecretString> {
        self.0.values.load().get(name).map(|found| found.value.clone())
    }

    /// The value, or what to do about its absence.
    pub fn required(&self, name: &'static str) -> Result<SecretString, Problem> {
        self.get(name).ok_or_else(|| self.missing(name, None))
    }

    /// The value as another type, where there is one. The error names the secret and not its value.
    pub fn parsed<T: FromStr>(&self, name: &'static str) -> Result<Option<T>, Problem> {
        let parse = |value: SecretString| value.expose_secret().parse::<T>();
        let unfit = |_| Problem::new(name, "does not have the right form", "see docs/secrets.md");
        self.get(name).map(parse).transpose().map_err(unfit)
    }

    /// What may be told of a secret.
    pub fn metadata(&self, name: &str) -> Option<Metadata> {
        self.0.values.load().get(name).map(|found| found.metadata.clone())
    }

    /// A number that rises each time a value has changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Calls `take_up` now, because something may have changed since the start, and after each change until the process ends.
    pub(crate) async fn each_change(&self, take_up: impl Fn()) {
        let mut changes = self.changes();
        changes.mark_changed();
        while changes.changed().await.is_ok() {
            take_up();
        }
    }

    /// Each backend in order, with the reason why its last read gave nothing.
    pub fn health(&self) -> Vec<Health> {
        self.0.chain.health()
    }

    /// Reads the backends again until the process ends.
    pub(crate) async fn follow(self, config: Config) {
        let remote = config.secrets.refresh_every();
        let jitter = || jittered(remote, random::<1>().unwrap_or_default()[0]);
        tokio::join!(self.repeat(Which::Local, || config.reload_every()), self.repeat(Which::Remote, jitter));
    }

    async fn repeat(&self, which: Which, pause: impl Fn() -> Duration) {
        while self.0.chain.has(which) {
            sleep(pause()).await;
            self.refresh(which).await;
        }
    }

    async fn refresh(&self, which: Which) {
        let values = self.0.chain.refresh(which).await;
        self.take(values);
    }

    fn take(&self, values: Answer) {
        let changed = audit(&self.0.values.load(), &values);
        self.0.values.store(Arc::new(values));
        if changed {
            self.0.changes.send_modify(|n| *n += 1);
        }
    }

    fn missing(&self, name: &'static str, group: Option<&str>) -> Problem {
        let places: Vec<_> = self.health().iter().map(|health| health.backend).collect();
        let group = group.map(|group| format!(", and the group {group} needs it")).unwrap_or_default();
        Problem::new(name, format!("is not in {}{group}", places.join(", ")), "put it into one of them")
    }
}

fn backend(
    kind: BackendKind,
    config: &SecretsConfig,
    development: bool,
) -> Result<Box<dyn Backend>, Vec<Problem>> {
    Ok(match kind {
        BackendKind::Environment => Box::new(Variables),
        BackendKind::Files => Box::new(files::Files::new(config.secrets_dir.clone())),
        BackendKind::Vault => Box::new(vault::Vault::new(&config.vault, development)?),
        BackendKind::Aws => Box::new(aws::Aws::new(&config.aws, development)?),
        BackendKind::Azure => Box::new(azure::Azure::new(&config.azure, development)?),
    })
}

#[cfg(test)]
mod tests {
    use super::{backend::found, *};

    fn answer(values: &[(&'static str, &str)]) -> Answer {
        values
            .iter()
            .map(|(name, value)| (*name, found("test", value, Some("3".to_owned()), None).unwrap()))
            .collect()
    }

    #[test]
    fn changes_rises_with_a_value_and_with_nothing_else() {
        let secrets = Secrets::of(Vec::new());
        let changes = secrets.changes();
        let seen = || *changes.borrow();
        secrets.take(answer(&[("REDIS_URL", "a")]));
        assert_eq!(seen(), 1);
        secrets.take(answer(&[("REDIS_URL", "a")]));
        assert_eq!(seen(), 1, "read again");
        secrets.take(answer(&[("REDIS_URL", "b")]));
        assert_eq!((seen(), secrets.get("REDIS_URL").unwrap().expose_secret()), (2, "b"));
        secrets.take(Answer::new());
        assert!(seen() == 3 && secrets.get("REDIS_URL").is_none(), "taken away");
    }

    #[test]
    fn a_typed_read_names_the_secret_and_never_its_value() {
        let secrets = Secrets::of(vec![Box::new(Variables)]);
        secrets.take(answer(&[("REDIS_URL", "12x"), ("AI_API_KEY", "12")]));
        assert_eq!(secrets.parsed::<u8>("AI_API_KEY"), Ok(Some(12)));
        assert_eq!(secrets.parsed::<u8>("MONGODB_URL"), Ok(None));
        let unfit = secrets.parsed::<u8>("REDIS_URL").unwrap_err().to_string();
        assert!(unfit.starts_with("REDIS_URL:") && !unfit.contains("12x"), "{unfit}");
        let absent = secrets.required("MONGODB_URL").unwrap_err().to_string();
        assert_eq!(absent, "MONGODB_URL: is not in environment; put it into one of them");
        assert_eq!(secrets.metadata("AI_API_KEY").unwrap().version.as_deref(), Some("3"));
    }

    #[test]
    fn debug_shows_names_and_no_values() {
        let secrets = Secrets::of(Vec::new());
        secrets.take(answer(&[("REDIS_URL", "canary")]));
        let shown = format!("{secrets:?} {:?}", secrets.0.values.load());
        assert!(shown.contains("REDIS_URL") && !shown.contains("canary"), "{shown}");
    }
}
