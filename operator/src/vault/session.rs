//! Tokens of Vault in memory, one for each identity, shared by all that ask as it. No Debug.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex as Sync, PoisonError},
    time::Duration,
};

use futures::{StreamExt as _, stream};
use kube::Client;
use render::Problem;
use secrecy::SecretString;
use tokio::{sync::Mutex, time::Instant};
use vault_kv::{Auth, Fault};
use vaultrs::api::token::requests::RenewTokenSelfRequest;

use super::{
    Connection, Failure,
    login::Identity,
    words::{self, Step},
};

/// Tokens that are given back at the same time.
const AT_ONCE: usize = 32;

/// One session for each identity.
#[derive(Default)]
pub struct Sessions(Sync<HashMap<Identity, Arc<Session>>>);

/// The token of one identity. Who holds the lock logs in; the others wait and have what came of it.
#[derive(Default)]
struct Session(Mutex<State>);

#[derive(Default)]
struct State {
    token: Option<Arc<Token>>,
    used: Option<Instant>,
    failed: Failed,
}

/// What came of the last attempt, if nothing.
#[derive(Default)]
pub struct Failed(Option<(Instant, Problem)>);

/// A token and how long it is good.
pub struct Token {
    secret: SecretString,
    /// Before it was asked for.
    pub since: Instant,
    /// Of the login; none when it does not end.
    life: Option<Duration>,
    ends: Option<Instant>,
    renewable: bool,
}

impl Failed {
    /// Remembers a failure for those who wait; an error of the pass is its own.
    pub fn note(&mut self, failure: &Failure, instead: impl FnOnce() -> Problem) {
        let problem = match failure {
            Failure::Told(problem) => problem.clone(),
            Failure::Pass(_) => instead(),
        };
        self.0 = Some((Instant::now(), problem));
    }

    /// The failure of an attempt that went on while this one waited: to repeat it would only repeat the failure.
    pub fn since(&self, began: Instant) -> Option<Failure> {
        let (at, problem) = self.0.as_ref()?;
        (*at >= began).then(|| Failure::Told(problem.clone()))
    }
}

impl Token {
    /// What a login gave that began then.
    pub fn new(Auth { token, seconds, renewable }: Auth, since: Instant) -> Self {
        let life = (seconds > 0).then(|| Duration::from_secs(seconds));
        Self { secret: token, since, life, ends: life.and_then(|life| since.checked_add(life)), renewable }
    }

    /// What a renewal gave. At its maximal life a token gets less and less: then it is used to its end, and no more renewed.
    fn renewed(self: &Arc<Self>, Auth { token, seconds, renewable }: Auth, since: Instant) -> Self {
        let given = Duration::from_secs(seconds);
        let renewable = renewable && self.life.is_some_and(|life| given * 2 > life);
        Self { secret: token, since, life: self.life, ends: since.checked_add(given), renewable }
    }

    /// The text for the header.
    pub fn secret(&self) -> &SecretString {
        &self.secret
    }

    /// Whether it is in the first two thirds of its life: a third is left to get another in.
    fn is_young(&self, now: Instant) -> bool {
        self.ends.is_none_or(|ends| {
            let life = ends.saturating_duration_since(self.since);
            now < self.since + life * 2 / 3
        })
    }

    fn is_over(&self, now: Instant) -> bool {
        self.ends.is_some_and(|ends| now >= ends)
    }
}

impl Sessions {
    fn of(&self, identity: &Identity) -> Arc<Session> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(identity.clone()).or_default().clone()
    }

    /// Drops those that nobody used for longer than their token lives: it has ended by itself. One that is in use stays.
    pub fn tidy(&self, now: Instant) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, session| session.0.try_lock().map_or(true, |state| state.is_used(now)));
    }

    fn take(&self) -> Vec<Arc<Session>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.drain().map(|(_, session)| session).collect()
    }
}

impl State {
    fn is_used(&self, now: Instant) -> bool {
        let Some(token) = &self.token else { return false };
        let life = token.life.unwrap_or(Duration::MAX);
        self.used.is_some_and(|used| now.saturating_duration_since(used) <= life)
    }
}

impl Connection {
    /// The token of this identity: the one in memory, which is renewed or replaced when two thirds of its life are over.
    /// `refused` is one that Vault does not take any more.
    pub async fn token(
        &self,
        client: &Client,
        identity: &Identity,
        refused: Option<&Arc<Token>>,
    ) -> Result<Arc<Token>, Failure> {
        let began = Instant::now();
        let session = self.sessions.of(identity);
        let mut state = session.0.lock().await;
        state.used = Some(Instant::now());
        if let Some(failure) = state.failed.since(began) {
            return Err(failure);
        }
        // Another may have replaced it meanwhile.
        state.token.take_if(|kept| refused.is_some_and(|refused| Arc::ptr_eq(kept, refused)));
        match self.renewed(client, identity, state.token.clone()).await {
            Ok(token) => {
                state.token = Some(token.clone());
                Ok(token)
            }
            Err(failure) => {
                state.failed.note(&failure, || words::no_token(identity, "nothing"));
                Err(failure)
            }
        }
    }

    async fn renewed(
        &self,
        client: &Client,
        identity: &Identity,
        kept: Option<Arc<Token>>,
    ) -> Result<Arc<Token>, Failure> {
        let now = Instant::now();
        let kept = kept.filter(|kept| !kept.is_over(now));
        match kept {
            Some(kept) if kept.is_young(now) => return Ok(kept),
            Some(kept) if kept.renewable => {
                let request = RenewTokenSelfRequest { increment: None };
                match self.heard(self.wire(Some(kept.secret())).auth(&request).await) {
                    Ok(auth) => return Ok(Arc::new(kept.renewed(auth, now))),
                    Err(fault @ (Fault::Silence | Fault::Status { code: 429 | 500.., .. })) => {
                        return Err(Failure::Told(self.explain(Step::LogIn, identity, &fault)));
                    }
                    // Its time is over, or it was taken back.
                    Err(_) => {}
                }
            }
            _ => {}
        }
        self.log_in(client, identity).await.map(Arc::new)
    }

    /// Gives all tokens back.
    pub async fn end_sessions(&self) {
        let sessions = stream::iter(self.sessions.take());
        let end = |session: Arc<Session>| async move {
            let token = session.0.lock().await.token.take();
            if let Some(token) = token.filter(|token| !token.is_over(Instant::now())) {
                // It would end by itself.
                let _ = self.wire(Some(token.secret())).end().await;
            }
        };
        sessions.for_each_concurrent(AT_ONCE, end).await;
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
