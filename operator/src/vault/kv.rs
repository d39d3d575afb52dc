//! Values from KV engines, read once for all that ask for the same place as the same account. They stay in memory only.

mod words;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex as Sync, MutexGuard, PoisonError},
    time::Duration,
};

use crds::Reason;
use kube::Client;
use render::Problem;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};
use vault_kv::{Content, Engine, KvValue, Lack, Place};

use super::{Connection, Failure, Identity, TIMEOUT, session::Failed, session::Token, settings};
use crate::cache::Key;

/// What nobody asked for in so long is dropped. Each service has a pass every ten minutes at least: what six of them did not ask
/// for is in no use, and costs whoever still wants it one request.
const IDLE: Duration = Duration::from_hours(1);

/// What was found there; no Debug.
pub struct Found {
    /// By key.
    pub values: BTreeMap<String, KvValue>,
    /// Of the engine's version 2.
    pub version: Option<u64>,
    /// Before it was asked for: whatever was written earlier is in it.
    pub read_at: Instant,
}

/// What was read, by whom and where.
#[derive(Default)]
pub struct Cache {
    entries: Sync<HashMap<(Identity, Place), Arc<Entry>>>,
    /// The version of each mount's engine, as it was when it was last looked at.
    engines: Sync<HashMap<String, Engine>>,
}

/// Who holds the lock reads; the others wait and have what came of it.
struct Entry {
    state: Mutex<State>,
    asked: Sync<Instant>,
}

#[derive(Default)]
struct State {
    found: Option<Arc<Found>>,
    failed: Failed,
}

impl Cache {
    fn entry(&self, key: (Identity, Place), now: Instant) -> Arc<Entry> {
        let fresh = || Arc::new(Entry { state: Mutex::default(), asked: Sync::new(now) });
        let entry = lock(&self.entries).entry(key).or_insert_with(fresh).clone();
        *lock(&entry.asked) = now;
        entry
    }

    /// Drops what nobody asked for in a while.
    pub fn tidy(&self, now: Instant) {
        let mut entries = lock(&self.entries);
        entries.retain(|_, entry| now.saturating_duration_since(*lock(&entry.asked)) < IDLE);
        let mounts: HashSet<_> = entries.keys().map(|(_, place)| place.mount.as_str()).collect();
        lock(&self.engines).retain(|mount, _| mounts.contains(mount.as_str()));
    }

    /// Drops everything.
    pub fn clear(&self) {
        lock(&self.entries).clear();
        lock(&self.engines).clear();
    }
}

impl Connection {
    /// The mount that a service means, if the platform lets it read there: the one that it asks for, else the first.
    pub fn mount(&self, service: &Key, asked: Option<&str>) -> Option<String> {
        let mounts = self.settings.kv.mounts.iter();
        let mut own = mounts.map(|mount| settings::filled(mount, &service.namespace, &service.name));
        own.find(|mount| settings::is_path(mount) && asked.is_none_or(|asked| asked == mount))
    }

    /// The values at this place, as the service's account may read them. What was read no earlier than `not_before` is
    /// answered without a request.
    pub async fn read(
        &self,
        client: &Client,
        service: &Key,
        place: &Place,
        not_before: Instant,
    ) -> Result<Arc<Found>, Failure> {
        let began = Instant::now();
        if self.mount(service, Some(&place.mount)).is_none() || !settings::is_deep_path(&place.path) {
            return Err(Failure::Told(not_allowed()));
        }
        let identity = self.identity(service);
        let entry = self.kv.entry((identity.clone(), place.clone()), began);
        let Ok(mut state) = timeout(TIMEOUT, entry.state.lock()).await else {
            return Err(self.late(&identity));
        };
        if let Some(found) = state.found.as_ref().filter(|found| found.read_at >= not_before) {
            return Ok(found.clone());
        }
        if let Some(failure) = state.failed.since(began) {
            return Err(failure);
        }
        // Whatever comes of it, it is not given to anybody again.
        state.found = None;
        let flight = Flight { connection: self, client, identity: &identity, place, began };
        match timeout(TIMEOUT, flight.fly()).await.unwrap_or_else(|_| Err(self.late(&identity))) {
            Ok(found) => Ok(state.found.insert(Arc::new(found)).clone()),
            Err(failure) => {
                state.failed.note(&failure, || super::words::no_token(&identity, "nothing"));
                Err(failure)
            }
        }
    }
}

/// One reading of a place.
struct Flight<'a> {
    connection: &'a Connection,
    client: &'a Client,
    identity: &'a Identity,
    place: &'a Place,
    began: Instant,
}

impl Flight<'_> {
    async fn fly(&self) -> Result<Found, Failure> {
        let Self { connection, client, identity, .. } = self;
        connection.may_ask(identity)?;
        let token = connection.token(client, identity, None).await?;
        let mut answer = self.read(&token).await;
        // The token was revoked or has ended, unless it is new: then it is the rights that are missing, and a second one
        // would have no more of them. The refused one is not revoked: others may be using it.
        if token.since < self.began && answer.as_ref().is_err_and(Lack::is_denial) {
            let token = connection.token(client, identity, Some(&token)).await?;
            answer = self.read(&token).await;
        }
        answer.map_err(|lack| Failure::Told(connection.explain_lack(identity, self.place, &lack)))
    }

    /// Without a guess: the version of the engine is looked up, and again where that may have changed.
    async fn read(&self, token: &Token) -> Result<Found, Lack> {
        let known = lock(&self.connection.kv.engines).get(&self.place.mount).copied();
        let engine = match known {
            Some(engine) => engine,
            None => self.look(token).await?,
        };
        let answer = self.ask(token, engine).await;
        // Policies name other paths for each version, so a no that is not about the token is one more reason to look.
        let is_new = token.since >= self.began;
        let may_be = |lack: &Lack| lack.may_be_of_the_other_version() || (is_new && lack.is_denial());
        if known.is_some()
            && answer.as_ref().is_err_and(may_be)
            && let Ok(now) = self.look(token).await
            && now != engine
        {
            return self.ask(token, now).await;
        }
        answer
    }

    async fn look(&self, token: &Token) -> Result<Engine, Lack> {
        let (connection, mount) = (self.connection, &self.place.mount);
        let answer = Engine::look(&connection.wire(Some(token.secret())), mount).await;
        self.hear(&answer);
        if let Ok(engine) = &answer {
            lock(&connection.kv.engines).insert(mount.clone(), *engine);
        }
        answer
    }

    async fn ask(&self, token: &Token, engine: Engine) -> Result<Found, Lack> {
        let read_at = Instant::now();
        let answer = engine.read(&self.connection.wire(Some(token.secret())), self.place).await;
        self.hear(&answer);
        answer.map(|Content { values, version }| Found { values, version, read_at })
    }

    fn hear<T>(&self, answer: &Result<T, Lack>) {
        let now = Instant::now();
        match answer {
            Err(Lack::Mount(fault) | Lack::Read(_, fault)) => self.connection.silence.note(Some(fault), now),
            _ => self.connection.silence.note(None, now),
        }
    }
}

fn lock<T>(mutex: &Sync<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the caller looks at as well, with better words.
fn not_allowed() -> Problem {
    Problem {
        reason: Reason::VaultRefused,
        message: "the mount is none of the connection's kv.mounts, or the path is none of names with / between them".into(),
    }
}

#[cfg(test)]
#[path = "kv_tests.rs"]
mod tests;
