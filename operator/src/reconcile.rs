//! The pass over one service: observe, mint, render, apply, report.

use std::time::Duration;

use crds::{ChildState, HardenedService, Reason};
use k8s_openapi::jiff::Timestamp;
use render::{Applied, Outcome, Problem};

use crate::{
    Context,
    apply::{self, Pass},
    backoff::Backoff,
    cache::{Key, Namespace, Secrets},
    clock,
    compare::Rules,
    error::Error,
    hold::{self, Hold},
    issuer::Plan,
    key_of,
    mint::{self, Minted},
    observe,
    report::{self, Written},
    rotation, secrets,
    watch::{self, NAMESPACES},
};

/// No timer of ours is shorter.
const SOON: Duration = Duration::from_secs(1);
/// A full look without an event, in case one was lost. It costs no request.
const RESYNC: Duration = Duration::from_mins(10);
/// How soon a status that may not be written is tried again.
const UNWRITTEN: Duration = Duration::from_secs(15);
/// A namespace that is onboarded together with its first service: the two watches have no common order, and a wrong
/// alarm would be the first thing that its users see.
const ONBOARDING: Duration = Duration::from_secs(2);
/// How soon a restart that waits for others is tried again: nothing tells when one of them is done.
const RESTART: Duration = Duration::from_secs(2);
/// A foreign object under a child's name is not watched: this is how soon its going is noticed.
const RETRY: Duration = Duration::from_secs(10);

/// When to look at a service again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// When something of it changes.
    Change,
    /// After this time.
    After(Duration),
    /// The server refused a child: with growing pauses.
    Refused,
}

/// Brings one service to what its spec says.
pub async fn reconcile(service: &HardenedService, ctx: &Context) -> Result<Next, Error> {
    let now = clock::now();
    let key = key_of(service);
    #[cfg(debug_assertions)]
    crate::seeded::fault(&key.name).await;
    let unseen = ctx.watches.refusal(NAMESPACES, &key.namespace);
    let namespace = match ctx.cache.namespace(&key.namespace) {
        None if unseen.is_none() => return Ok(Next::Change),
        namespace => namespace.unwrap_or_default(),
    };
    // Children go with the owner; making one anew now would only race with the garbage collector.
    if namespace.terminating || service.metadata.deletion_timestamp.is_some() {
        return Ok(Next::Change);
    }
    let problem = ctx.crd.problem().or_else(|| unseen.map(|refusal| refusal.problem()));
    if let Some(problem) = problem.or_else(|| blocked(service, &namespace, &key, now)) {
        if problem.reason == Reason::NamespaceNotOnboarded && is_younger(service, ONBOARDING, now) {
            return Ok(Next::After(ONBOARDING));
        }
        let written = report::report_blocked(ctx, service, problem, now).await?;
        return Ok(again(Next::After(until_resumed(service, now)), &written));
    }
    if namespace.secrets == Secrets::Unknown || !watch::are_seen(ctx, service, &key) {
        return Ok(Next::Change);
    }
    let hold = hold::settle(ctx, service).await?;
    let service = match &hold {
        Hold::AsItWas => service,
        Hold::Changed(service) => service,
        Hold::Raced => return Ok(Next::Refused),
    };
    let observed = observe::observe(ctx, service, &key);
    let keys = ctx.keys();
    let minted = mint::mint(ctx, &keys, service, &key, &observed, now).await?;
    let facts = &minted.facts;
    let children = render::desired(service, facts).into_objects();
    let rules = Rules {
        replicas_are_fixed: render::replicas_are_fixed(service),
        tolerated_annotations: &facts.settings.tolerated_annotations,
    };
    let pass = Pass { ctx, service, key: &key, rules, awaited: minted.awaited.as_ref(), now };
    let mut applied = Box::pin(apply::apply(&pass, children, &observed, &minted)).await?;
    let host = render::hosts::certificate_names(service, facts).swap_remove(0);
    let rotation = rotation::look(&pass, &keys, &applied, &host).await?;
    if let Some(standing) = &rotation {
        applied.tls.iter_mut().for_each(|tls| tls.phase = Some(standing.phase));
        applied.tls_warning = standing.problem.clone();
    }
    let written = report::report(ctx, service, render::status(service, &applied, facts, now)).await?;
    let wakes = [
        ctx.fights.wake(&key, now),
        rotation.and_then(|standing| standing.again),
        minted.again().map(|at| at.duration_since(now).try_into().unwrap_or(SOON).max(SOON)),
    ];
    let next = match (next(&applied, &minted, now), wakes.into_iter().flatten().min()) {
        (Next::After(pause), Some(wake)) => Next::After(pause.min(wake)),
        (next, _) => next,
    };
    Ok(again(next, &written))
}

/// By the API server's clock: where ours is behind, it counts as older.
fn is_younger(service: &HardenedService, limit: Duration, now: Timestamp) -> bool {
    let age = service.metadata.creation_timestamp.as_ref().map(|made| now.duration_since(made.0).try_into());
    matches!(age, Some(Ok(age)) if Duration::lt(&age, &limit))
}

/// No watch tells when the right to write the status comes back.
fn again(next: Next, written: &Written) -> Next {
    match (next, written) {
        (Next::After(wait), Written::Denied) => Next::After(wait.min(UNWRITTEN)),
        (next, _) => next,
    }
}

/// What keeps the operator from working on the service at all.
fn blocked(service: &HardenedService, namespace: &Namespace, key: &Key, now: Timestamp) -> Option<Problem> {
    let onboard = format!("a platform admin runs: kubectl hardened onboard {}", key.namespace);
    let lacks = match &namespace.secrets {
        _ if namespace.allowed_hosts.is_none() => {
            Some(format!("has no annotation {}", crds::ALLOWED_HOSTS_ANNOTATION))
        }
        // Nothing at all was granted; a right that is missing beside others is the children's problem.
        Secrets::Denied(refusal) if refusal.verb == "list" => Some(format!(
            "does not grant the operator its Secrets (RoleBinding hardened-operator): it may not {refusal}"
        )),
        _ => None,
    };
    if let Some(what) = lacks {
        let message = format!("namespace {} {what}; {onboard}", key.namespace);
        return Some(Problem { reason: Reason::NamespaceNotOnboarded, message });
    }
    let suspended =
        service.spec.suspend && service.spec.suspend_until.as_ref().is_none_or(|until| now < until.0);
    let until = service.spec.suspend_until.as_ref().map_or_else(String::new, |t| format!(" until {}", t.0));
    suspended.then(|| Problem {
        reason: Reason::Suspended,
        message: format!(
            "spec.suspend is true{until}: nothing is created or corrected; set it to false to go on"
        ),
    })
}

fn until_resumed(service: &HardenedService, now: Timestamp) -> Duration {
    let until = service.spec.suspend_until.as_ref().map(|t| t.0.duration_since(now));
    until
        .and_then(|d| d.try_into().ok())
        .map_or(RESYNC, |d: Duration| d.clamp(Duration::from_secs(1), RESYNC))
}

/// When to look again without an event.
fn next(applied: &Applied, Minted { certificate, values, .. }: &Minted, now: Timestamp) -> Next {
    let any = |state| applied.outcomes.iter().any(|o| o.state == state);
    let again = certificate.again.map(|at| at.duration_since(now).try_into().unwrap_or(Duration::ZERO));
    let at_most = |pause: Duration| again.map_or(pause, |again| pause.min(again).max(Duration::from_secs(1)));
    let unsynced = values.as_ref().is_some_and(|values| matches!(values.plan, secrets::Plan::Leave));
    if any(ChildState::Conflict) || unsynced || matches!(certificate.plan, Plan::Leave { .. }) {
        return Next::After(at_most(RETRY));
    }
    if any(ChildState::Failed) {
        return Next::Refused;
    }
    let waits = |o: &Outcome| o.problem.as_ref().is_some_and(|p| p.reason == Reason::RestartWaits);
    if applied.outcomes.iter().any(waits) {
        return Next::After(at_most(RESTART + Backoff::spread()));
    }
    Next::After(at_most(RESYNC))
}
