//! The values of `spec.secrets`: read from their sources when it is time, and kept as they are while a source has nothing
//! to give. Nothing is written here.
//!
//! What the operator's own Secret holds carries a seal, an HMAC over the values: with it the next operator goes on from there,
//! and a Secret that somebody else changed is known for it.

mod gather;
mod login;
mod pending;
mod revert;
mod sync;
mod values;
mod wait;
mod window;
mod write;

use crds::{Reason, Secrets};
use k8s_openapi::{
    api::core::v1::Secret,
    jiff::{SignedDuration, Timestamp},
};
use render::Problem;

pub use login::Login;
pub use pending::{Awaited, Pending, restart_hash};
use revert::{Before, Rejected};
use values::{Sealed, Values};
pub use write::write;

use crate::{backoff, cache::ValuesNote, error::Error, issuer::Case, observe, vault::Failure};

/// What is decided about the values of a service.
pub struct Decision {
    /// What apply does.
    pub plan: Plan,
    /// HMAC over the values whose change restarts the pods, which goes into the restart hash.
    pub restart: Option<String>,
    /// When to look again without an event.
    pub again: Option<Timestamp>,
    /// What keeps `SecretsReady` from being true.
    pub problem: Option<Problem>,
    /// What somebody should know although it is true.
    pub warning: Option<Problem>,
    /// What becomes of the values before.
    pub before: Before,
    /// A login with new values that a Job tries: what its names end in, and the values where they were read just now.
    pub login: Option<(String, Option<Sealed>)>,
}

/// What apply does with the operator's Secret.
pub enum Plan {
    /// It is right: no request.
    Keep(Box<ValuesNote>),
    /// It should hold these values.
    Write(Box<Content>),
    /// Nothing good is to be had: what is there stays, and no pod starts with it.
    Leave,
}

/// New content.
pub struct Content {
    /// The values.
    pub values: Values,
    /// The Secret as it is; nothing when there is none.
    pub live: Option<Secret>,
    /// Names of values that differ from the operator's own before; nothing when there were none.
    pub changed: Option<Vec<String>>,
    /// What the restart that follows will be said to be for; nothing when nothing changed.
    pub pending: Option<Pending>,
    /// The values that it had, when the pods did not start with them.
    pub rejected: Option<Rejected>,
    /// What is remembered when it is written.
    pub note: ValuesNote,
}

/// Decides about the values; nothing without `spec.secrets`. The serial number is that of a certificate that restarts the
/// pods when it changes.
pub async fn decide(case: &Case<'_>, serial: Option<&str>) -> Result<Option<Decision>, Error> {
    let Some(spec) = &case.service.spec.secrets else {
        case.ctx.syncs.clear(case.key);
        case.ctx.metrics.forget(case.key);
        return Ok(None);
    };
    if let Some(refusal) = case.ctx.cache.refused_secrets(&case.key.namespace) {
        return Ok(Some(left(refusal.problem(), None)));
    }
    let sync = sync::Sync::new(case, spec, serial);
    if let Some(reverted) = sync.revert().await? {
        return Ok(Some(reverted));
    }
    let mut decision = of_sources(case, spec, &sync).await?;
    if !matches!(decision.plan, Plan::Write(_)) {
        decision.before = sync.kept_before();
    }
    Ok(Some(decision))
}

/// What the sources say.
async fn of_sources(case: &Case<'_>, spec: &Secrets, sync: &sync::Sync<'_>) -> Result<Decision, Error> {
    let known = sync.known();
    if let Some(note) = known.as_ref().filter(|note| sync.is_current(note)) {
        return Ok(kept(note.clone(), note.waits.clone(), note.refresh_at));
    }
    if let Some(problem) = gather::no_account(case, spec) {
        return sync.stay(known, problem, after(case.now, observe::ACCOUNT)).await;
    }
    let gathered = match case.ctx.syncs.wait(case.key, sync.asked, case.now) {
        Some(wait) => Err(wait),
        None => match gather::gather(case, spec, sync.not_before(known.as_ref())).await {
            Ok(gathered) => {
                case.ctx.syncs.clear(case.key);
                Ok(gathered)
            }
            Err(Failure::Pass(error)) => return Err(error),
            Err(Failure::Told(problem)) => {
                case.ctx.metrics.sync_failed(problem.reason);
                tracing::warn!(why = problem.message, "the values are not synced");
                Err(case.ctx.syncs.note(case.key, sync.asked, problem, backoff::SYNC, case.now))
            }
        },
    };
    match gathered {
        Ok(gathered) => sync.settle(gathered, known).await,
        Err(wait) => sync.stay(known, wait.problem, wait.until).await,
    }
}

impl Decision {
    /// Whether the values before have a Secret.
    pub fn keeps_before(&self) -> bool {
        !matches!(self.before, Before::Gone)
    }

    /// The change that the next restart brings to the pods, if there is one.
    pub fn awaited(&self, case: &Case<'_>, serial: Option<&str>) -> Option<Awaited> {
        let pending = match &self.plan {
            Plan::Write(content) if content.pending.is_some() => content.pending.clone(),
            Plan::Write(_) | Plan::Keep(_) => Pending::of(case),
            Plan::Leave => None,
        };
        pending.map(|pending| pending.awaited(case.keys, serial))
    }
}

fn after(now: Timestamp, wait: SignedDuration) -> Timestamp {
    now.checked_add(wait).unwrap_or(Timestamp::MAX)
}

/// As it is, until a time.
fn kept(note: ValuesNote, problem: Option<Problem>, again: Option<Timestamp>) -> Decision {
    // A Vault that does not answer for a while is no reason to take a service that works for a broken one.
    let harmless = [Reason::VaultUnreachable, Reason::OutsideChangeWindow, Reason::Progressing];
    let is_harmless = problem.as_ref().is_some_and(|problem| harmless.contains(&problem.reason));
    let (warning, problem) = if is_harmless { (problem, None) } else { (None, problem) };
    Decision {
        restart: note.restart.clone(),
        login: note.login.as_ref().map(|login| (login.values.clone(), None)),
        plan: Plan::Keep(Box::new(note)),
        again,
        problem,
        warning,
        before: Before::Gone,
    }
}

fn left(problem: Problem, again: Option<Timestamp>) -> Decision {
    Decision {
        plan: Plan::Leave,
        restart: None,
        again,
        problem: Some(problem),
        warning: None,
        before: Before::Gone,
        login: None,
    }
}
