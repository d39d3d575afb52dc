//! The pass over a service that is being deleted and carries our finalizer: its certificate is revoked in Vault, and
//! then it may go. Nothing of its spec is read, which may be invalid, and no child is made or changed.
//!
//! It never waits for long: a Vault that does not answer holds it for two minutes, anything else not at all.

use std::time::Duration;

use crds::Reason;
use k8s_openapi::{api::core::v1::Secret, jiff::Timestamp};
use kube::{Api, Resource, ResourceExt};
use render::{Kind, Problem};
use tokio::time::timeout;

use crate::{
    Context,
    backoff::{self, Wait},
    cache::Key,
    clock,
    compare::Digest,
    error::Error,
    events::{Happening, Severity},
    hold,
    issuer::Given,
    key_of,
    ownership::is_controlled_by,
    reconcile::Next,
    refusal::Refusal,
    vault::{Failure, TIMEOUT},
    watch::Guarded,
};

/// Two minutes after the deletion the service is gone, so the last attempt begins before.
const PATIENCE: Duration = Duration::from_secs(120 - TIMEOUT.as_secs());
/// Where our clock is far behind the API server's, attempts are counted instead.
const MOST: u32 = 12;
/// For one attempt, which asks the API server too.
const ATTEMPT: Duration = Duration::from_secs(15);
/// Somebody else wrote the service while its finalizer was to be removed.
const RACED: Duration = Duration::from_secs(1);
/// The finalizer cannot be removed: the right to do so may come back.
const DENIED: Duration = Duration::from_secs(30);
/// What is asked, for the pauses in between.
const REVOKE: Digest = [0x52; 32];

/// Why a certificate is not revoked.
enum Failed {
    /// For good.
    Never(Problem),
    /// Another attempt may help.
    NotNow(Problem),
}

/// Whether this service waits for us to go. In a namespace that is being deleted it soon will, and who removes the
/// finalizer now needs no right that goes with the namespace.
pub fn is_due(ctx: &Context, service: &Guarded) -> bool {
    let deleted = || service.meta().deletion_timestamp.is_some();
    hold::is_held(service) && (deleted() || is_terminating(ctx, &key_of(service)))
}

/// One attempt, and the end if it was the last.
pub async fn leave(ctx: &Context, service: &Guarded) -> Result<Next, Error> {
    let (key, now) = (key_of(service), clock::now());
    let end = end(service, now);
    let pause = ctx.asked.wait(&key, REVOKE, now).filter(|_| now < end && !is_terminating(ctx, &key));
    if let Some(Wait { until, .. }) = pause {
        return Ok(after(until.min(end), now));
    }
    let attempt = timeout(ATTEMPT, revoke(ctx, service, &key, now)).await;
    let attempt = attempt.unwrap_or_else(|_| Err(Failed::NotNow(silent())));
    let happening = match attempt {
        Ok(serial) => Happening {
            severity: Severity::Normal,
            reason: "CertificateRevoked",
            action: "Revoke",
            note: format!("Vault revoked the certificate {serial}, because the service is deleted"),
        },
        Err(Failed::Never(problem)) => given_up(&problem),
        Err(Failed::NotNow(problem)) => {
            tracing::warn!(why = problem.message, "the certificate is not revoked yet");
            let now = clock::now();
            let wait = ctx.asked.note(&key, REVOKE, problem, backoff::LEAVING, now);
            if now < end && wait.count < MOST {
                return Ok(after(wait.until.min(end), now));
            }
            given_up(&wait.problem)
        }
    };
    match hold::release(ctx, service).await {
        Ok(true) => {
            tracing::info!(reason = happening.reason, note = happening.note, "the service may go");
            ctx.events.publish(service, happening).await;
            Ok(Next::Change)
        }
        Ok(false) => Ok(Next::After(RACED)),
        Err(error) => match Refusal::of_error(&error) {
            Some(refusal) => Ok(held(ctx, service, &refusal).await),
            None => Err(error.into()),
        },
    }
}

/// Has the certificate of the TLS Secret revoked; gives its serial number.
async fn revoke(ctx: &Context, service: &Guarded, key: &Key, now: Timestamp) -> Result<String, Failed> {
    let never = |reason, message| Failed::Never(Problem { reason, message });
    if is_terminating(ctx, key) {
        return Err(never(
            Reason::Held,
            "its namespace is being deleted, where nobody gets a token any more".into(),
        ));
    }
    let name = render::child_name(&key.name, "tls");
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), &key.namespace);
    let secret = api.get_opt(&name).await.map_err(|error| match Refusal::of_error(&error) {
        Some(refusal) => Failed::Never(refusal.problem()),
        None => Failed::NotNow(silent()),
    })?;
    let Some(secret) = secret else {
        return Err(never(Reason::Held, format!("there is no Secret {name}")));
    };
    let uid = service.uid().unwrap_or_default();
    let Some(given) = Given::read(&ctx.keys(), &uid, &secret) else {
        return Err(never(Reason::Held, format!("Secret {name} holds none that Vault gave to this service")));
    };
    if given.end <= now {
        return Err(never(Reason::Held, format!("the certificate {} has ended", given.proof.serial)));
    }
    let account = ctx.cache.get(Kind::ServiceAccount, &key.namespace, &key.name);
    if !account.is_some_and(|account| is_controlled_by(&account.metadata, service)) {
        return Err(never(
            Reason::Held,
            format!("ServiceAccount {}, which logs in to Vault, is gone", key.name),
        ));
    }
    let Some(connection) = ctx.vaults.get(&given.connection) else {
        let message =
            format!("the operator's settings have no vaultConnections.{} any more", given.connection);
        return Err(never(Reason::VaultConnectionUnknown, message));
    };
    let serial = given.proof.serial.clone();
    match connection.revoke(&ctx.client, key, given.proof).await {
        Ok(()) => Ok(serial),
        Err(Failure::Told(problem))
            if matches!(problem.reason, Reason::VaultUnreachable | Reason::ApiError) =>
        {
            Err(Failed::NotNow(problem))
        }
        Err(Failure::Told(problem)) => Err(Failed::Never(problem)),
        Err(Failure::Pass(_)) => Err(Failed::NotNow(silent())),
    }
}

fn is_terminating(ctx: &Context, key: &Key) -> bool {
    ctx.cache.namespace(&key.namespace).is_some_and(|namespace| namespace.terminating)
}

/// By the API server's clock.
fn end(service: &Guarded, now: Timestamp) -> Timestamp {
    let deleted = service.meta().deletion_timestamp.as_ref().map_or(now, |deleted| deleted.0);
    deleted.checked_add(PATIENCE).unwrap_or(now)
}

fn after(until: Timestamp, now: Timestamp) -> Next {
    let wait = until.duration_since(now).try_into().unwrap_or(Duration::ZERO);
    Next::After(wait.max(RACED))
}

fn silent() -> Problem {
    Problem { reason: Reason::ApiError, message: "the API server does not answer".into() }
}

fn given_up(problem: &Problem) -> Happening<'static> {
    Happening {
        severity: Severity::Warning,
        reason: "NotRevoked",
        action: "Revoke",
        note: format!(
            "the service is deleted without revoking its certificate in Vault: {}",
            problem.message
        ),
    }
}

/// Without the right to remove the finalizer the service cannot go, which nothing else would tell.
async fn held(ctx: &Context, service: &Guarded, refusal: &Refusal) -> Next {
    let Problem { reason, message } = refusal.problem();
    let note = format!("{message}, or runs: hardened-operator remove-finalizers");
    tracing::error!(why = note, "the service is deleted and cannot go");
    let happening =
        Happening { severity: Severity::Warning, reason: reason.as_str(), action: "Release", note };
    ctx.events.publish(service, happening).await;
    Next::After(DENIED)
}
