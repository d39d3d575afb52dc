//! Counting in Redis, shared by all replicas: one script, one round trip. What counts instead while Redis is away is up to
//! the limiter.

use std::{
    error::Error as _,
    fmt, fs,
    path::PathBuf,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::future::{BoxFuture, FutureExt as _, Shared};
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, RedisError, Script, TlsCertificates, aio::MultiplexedConnection,
};
use secrecy::{ExposeSecret as _, SecretString};
use thiserror::Error;
use tokio::runtime::Handle;

use super::{
    breaker::Breaker,
    client::Client as Counted,
    gcra::{Decision, Quota},
};
use crate::{metrics::StoreMetrics, secrets::Secrets};

/// Name, TCP, TLS and AUTH within one datacenter take a few ms; a request may wait for them, so no longer than this.
const CONNECT: Duration = Duration::from_millis(500);
/// A script of microseconds on a server nearby; whoever answers later is overloaded, and waiting adds to that.
const RESPONSE: Duration = Duration::from_millis(250);

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("take.lua")));

/// A connection, or the attempt at it that everybody waits for.
type Attempt = Shared<BoxFuture<'static, Result<MultiplexedConnection, RedisError>>>;

/// The shared store.
pub struct Redis {
    /// Workers end one by one and their runtimes with them, and a connection ends with the runtime that it was made on.
    /// So the process has one connection, on the runtime of the main thread, and all workers send through it.
    runtime: Handle,
    ca_file: Option<PathBuf>,
    metrics: StoreMetrics,
    started: Instant,
    link: Mutex<Link>,
}

#[derive(Default)]
struct Link {
    /// The address that counts now, with the password; nothing without one.
    url: Option<SecretString>,
    client: Option<Client>,
    attempt: Option<Attempt>,
    /// Rises with each attempt, so that what is heard of an older one changes nothing.
    number: u64,
    breaker: Breaker,
}

/// Redis cannot say now; somebody asks it again after this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Away(pub Duration);

/// `REDIS_URL` is no address of a Redis. The value is not shown: it holds the password.
#[derive(Debug, Error)]
pub enum RedisUrlError {
    /// Another scheme, or no URL.
    #[error("REDIS_URL: not a URL of the form rediss://USER:PASSWORD@HOST:PORT/DB or redis://...")]
    Url,
    /// The file of roots is of no use.
    #[error("REDIS_CA_FILE: {0}; give CA certificates as PEM")]
    Roots(String),
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redis")
    }
}

impl Redis {
    /// Reads the address. Nothing is connected before it is needed; must be called inside the runtime that outlives all
    /// workers.
    pub fn new(
        secrets: &Secrets,
        ca_file: Option<PathBuf>,
        metrics: StoreMetrics,
    ) -> Result<Self, RedisUrlError> {
        let redis = Self::without_address(ca_file, metrics);
        redis.configure(secrets)?;
        Ok(redis)
    }

    fn without_address(ca_file: Option<PathBuf>, metrics: StoreMetrics) -> Self {
        let (runtime, link) = (Handle::current(), Mutex::default());
        metrics.up.set(1);
        Self { runtime, ca_file, metrics, started: Instant::now(), link }
    }

    /// Takes up new addresses until the process ends.
    pub async fn follow(&self, secrets: &Secrets) {
        let take_up = || {
            if let Err(error) = self.configure(secrets) {
                tracing::error!(%error, "new address of the rate-limit store refused, the old one stays");
            }
        };
        secrets.each_change(take_up).await;
    }

    fn configure(&self, secrets: &Secrets) -> Result<(), RedisUrlError> {
        secrets.get("REDIS_URL").map_or(Ok(()), |url| self.set_address(url))
    }

    fn set_address(&self, url: SecretString) -> Result<(), RedisUrlError> {
        let mut link = self.link();
        if link.url.as_ref().is_some_and(|old| old.expose_secret() == url.expose_secret()) {
            return Ok(());
        }
        let client = client(&url, self.ca_file.as_ref())?;
        if link.url.is_some() {
            tracing::info!("the rate-limit store has a new address");
        }
        // With a new breaker: the old one tells nothing of this address.
        *link = Link { url: Some(url), client: Some(client), number: link.number + 1, ..Link::default() };
        self.metrics.up.set(1);
        Ok(())
    }

    /// Counts one request of a client, and before it of its site where there is one: the same as the memory does.
    pub async fn take(
        &self,
        rule: &str,
        client: Counted,
        quota: Quota,
        site: Option<(Counted, Quota)>,
    ) -> Result<Decision, Away> {
        let mut script = SCRIPT.prepare_invoke();
        // What stands in braces decides the slot of a Redis Cluster, so both keys lie on one node. 1 is the version.
        let slot = site.map_or(client, |(site, _)| site);
        for (key, quota) in [(client, quota)].into_iter().chain(site) {
            script.key(format!("hs:rl:1:{{{rule}:{slot}}}:{key}"));
            script.arg(quota.requests()).arg(quota.period() / 1000);
        }
        let mut is_second = false;
        loop {
            let (number, attempt) = self.attempt()?;
            let result = match attempt.await {
                Ok(mut connection) => script.invoke_async(&mut connection).await,
                Err(error) => return Err(self.failed(number, &reason(&error))),
            };
            match result {
                Ok(answer) => {
                    self.answered(number);
                    return Ok(decision(answer));
                }
                // Redis closes idle connections, which says nothing of its health: one more, and only that.
                Err(error) if error.is_connection_dropped() && !is_second => {
                    is_second = true;
                    self.forget(number);
                }
                Err(error) => return Err(self.failed(number, &reason(&error))),
            }
        }
    }

    /// The connection to send by, or the attempt at one.
    fn attempt(&self) -> Result<(u64, Attempt), Away> {
        let mut link = self.link();
        link.breaker.turn(self.started.elapsed()).map_err(Away)?;
        if let Some(attempt) = link.attempt.clone() {
            return Ok((link.number, attempt));
        }
        let Some(client) = link.client.clone() else {
            let number = link.number;
            drop(link);
            return Err(self.failed(number, "REDIS_URL is not set"));
        };
        let attempt = self.connect(client);
        link.number += 1;
        link.attempt = Some(attempt.clone());
        Ok((link.number, attempt))
    }

    fn connect(&self, client: Client) -> Attempt {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(RESPONSE));
        let task = self
            .runtime
            .spawn(async move { client.get_multiplexed_async_connection_with_config(&config).await });
        let ended = |_| RedisError::from((ErrorKind::Client, "the process is ending"));
        task.map(move |result| result.map_err(ended).flatten()).boxed().shared()
    }

    fn forget(&self, number: u64) {
        let mut link = self.link();
        if link.number == number {
            link.attempt = None;
        }
    }

    fn answered(&self, number: u64) {
        let mut link = self.link();
        if link.number == number && link.breaker.answered() {
            drop(link);
            self.metrics.up.set(1);
            tracing::info!("the rate-limit store answers again: replicas count together");
        }
    }

    /// Many requests may have waited for one failure: it counts once.
    fn failed(&self, number: u64, reason: &str) -> Away {
        self.metrics.errors.inc();
        let (mut link, now) = (self.link(), self.started.elapsed());
        if link.number != number {
            return Away(link.breaker.turn(now).err().unwrap_or_default());
        }
        // Also one that only did not answer in time: behind a dead router it never will.
        link.attempt = None;
        link.number += 1;
        let is_new = !link.breaker.is_open();
        let pause = link.breaker.failed(now);
        drop(link);
        if is_new {
            self.metrics.up.set(0);
            tracing::error!(reason, "the rate-limit store is away: this replica counts for itself");
        }
        Away(pause)
    }

    fn link(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn decision((allowed, remaining, retry_after, reset): (u64, u64, u64, u64)) -> Decision {
    let nanoseconds = |microseconds: u64| microseconds.saturating_mul(1000);
    Decision {
        allowed: allowed == 1,
        remaining,
        retry_after: nanoseconds(retry_after),
        reset: nanoseconds(reset),
    }
}

fn client(url: &SecretString, ca_file: Option<&PathBuf>) -> Result<Client, RedisUrlError> {
    let url = url.expose_secret();
    // A fragment could only be #insecure, which trusts every certificate.
    if !(url.starts_with("redis://") || url.starts_with("rediss://")) || url.contains('#') {
        return Err(RedisUrlError::Url);
    }
    let Some(path) = ca_file.filter(|_| url.starts_with("rediss://")) else {
        return Client::open(url).map_err(|_| RedisUrlError::Url);
    };
    let refused = |reason: String| RedisUrlError::Roots(format!("{}: {reason}", path.display()));
    let roots = fs::read(path).map_err(|error| refused(error.to_string()))?;
    let certificates = TlsCertificates { client_tls: None, root_cert: Some(roots) };
    // The address alone is read first, so that what fails then is the file.
    Client::open(url).map_err(|_| RedisUrlError::Url)?;
    Client::build_with_tls(url, certificates).map_err(|error| refused(error.category().to_owned()))
}

/// What the log says. Not the text of Redis: it repeats the arguments of a command that it does not know, so also those
/// of a renamed AUTH.
fn reason(error: &RedisError) -> String {
    match (error.code(), error.kind()) {
        (Some(code), _) => format!("Redis answers {code}"),
        (None, ErrorKind::Io) => error.source().map_or_else(|| "timed out".to_owned(), ToString::to_string),
        _ => error.category().to_owned(),
    }
}

#[cfg(test)]
mod tests;
