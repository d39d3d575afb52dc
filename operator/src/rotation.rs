//! Follows the CA's Secret, and replaces the CA without a moment in which a client trusts too little: the next one is
//! trusted everywhere before it signs, and the previous one until every pod serves a certificate of the next. Pods are
//! looked at, not counted on.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crds::{CA_SECRET, CaPhase, ChildState, HardenedService};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    runtime::{reflector::ObjectRef, watcher},
};
use render::{Applied, Kind, Problem};
use tokio::sync::Notify;

use crate::{
    Context,
    apply::Pass,
    authority::{self, Authority, Stage},
    cache::{Key, Secrets},
    clock,
    error::Error,
    issuer::Issuer,
    keys::{Keys, params},
    refusal::Refusal,
    served,
    watch::{Change, Queue, Scope, follow},
};

/// How often pods and services that are waited for are looked at.
const LOOK: Duration = Duration::from_secs(3);
/// How often the age of the CA is looked at.
const QUIET: Duration = Duration::from_hours(1);
/// Services that are named in the log when a rotation waits for them.
const NAMED: usize = 5;

/// Follows the Secret and takes the steps, for as long as the term lasts.
pub async fn keep(ctx: Arc<Context>, queue: Queue, overlap: Duration) {
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), &ctx.namespace);
    let scope = Scope { what: Kind::Secret.as_str(), namespace: Some(ctx.namespace.clone()) };
    let config = watcher::Config::default().fields(&format!("metadata.name={CA_SECRET}"));
    let changed = Notify::new();
    let followed = follow(api.clone(), config, &scope, |change| {
        match change {
            Change::Listed(list) => take(&ctx, &queue, list.first()),
            Change::Apply(secret) => take(&ctx, &queue, Some(&secret)),
            Change::Delete(_) => take(&ctx, &queue, None),
            Change::Denied(refusal) => {
                tracing::error!(%refusal, "the CA's Secret is not followed; trying again");
            }
            // Every API server has Secrets.
            Change::Absent => {}
        }
        changed.notify_one();
    });
    tokio::join!(followed, advance(&ctx, &api, &changed, overlap));
}

/// From now on passes use this CA.
fn take(ctx: &Context, queue: &Queue, secret: Option<&Secret>) {
    let old = ctx.keys();
    let new = match old.with_ca(secret) {
        Ok(new) => new,
        Err(error) => {
            tracing::error!(%error, "the CA that was read before stays in use");
            return;
        }
    };
    let concerns_services = new.epoch() != old.epoch();
    match (&old.authority, &new.authority) {
        (Some(_), None) => {
            tracing::error!(
                secret = CA_SECRET,
                "the CA is gone; no certificate is issued until it is restored"
            );
        }
        (_, Some(authority)) if concerns_services => {
            tracing::info!(ca = authority.ca.id, stage = authority.stage.as_str(), "CA");
        }
        _ => {}
    }
    ctx.keys.store(Arc::new(new));
    if concerns_services {
        queue.push(ctx.services.within(None));
    }
}

async fn advance(ctx: &Context, api: &Api<Secret>, changed: &Notify, overlap: Duration) {
    let mut recorded = ctx.keys().ids();
    let mut told = Vec::new();
    loop {
        let keys = ctx.keys();
        let ids = keys.ids();
        if keys.authority.is_some() && ids != recorded {
            match keys.record(&ctx.client, &ctx.namespace).await {
                Ok(()) => recorded.clone_from(&ids),
                Err(error) => tracing::warn!(%error, "recording the CA; trying again"),
            }
        }
        let missing = step(ctx, api, &keys, overlap).await;
        if missing != told {
            tell(&missing);
            told = missing;
        }
        let rotating = keys.authority.as_ref().is_some_and(Authority::is_rotating);
        let pause = if rotating || ids != recorded { LOOK } else { QUIET };
        tokio::select! { () = changed.notified() => {} () = tokio::time::sleep(pause) => {} }
    }
}

/// Takes the next step if it is time; gives the services that are waited for.
async fn step(ctx: &Context, api: &Api<Secret>, keys: &Keys, overlap: Duration) -> Vec<Key> {
    let Some(authority) = &keys.authority else { return Vec::new() };
    let (missing, arrived) = match authority.stage {
        Stage::Idle => Default::default(),
        Stage::Introduced(_) | Stage::Switched(_) => {
            ctx.arrivals.missing(&keys.epoch(), concerned(ctx), overlap, Instant::now())
        }
    };
    if let Some(step) = authority.due(arrived, clock::now()) {
        match write(api, &keys.epoch(), step).await {
            Ok(true) => tracing::warn!(step = step.as_str(), "the CA is being replaced"),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(%error, step = step.as_str(), "a step of the CA's rotation; trying again");
            }
        }
    }
    missing
}

/// One PUT of the version that was looked at. Whoever is faster wins, and the watch tells what came of it.
async fn write(api: &Api<Secret>, epoch: &str, step: authority::Step) -> Result<bool, Error> {
    let Some(secret) = api.get_opt(CA_SECRET).await? else { return Ok(false) };
    if Authority::of(&secret)?.epoch() != epoch {
        return Ok(false);
    }
    let next = authority::after(secret, step, clock::now())?;
    match api.replace(CA_SECRET, &params(), &next).await {
        Err(kube::Error::Api(status)) if status.is_conflict() => Ok(false),
        other => Ok(other.map(|_| true)?),
    }
}

/// The services whose certificates come from the CA, and which the operator may work on.
fn concerned(ctx: &Context) -> Vec<Key> {
    let is_concerned = |key: &Key| {
        let of = ObjectRef::new(&key.name).within(&key.namespace);
        let service = ctx.services.newest(&of);
        let service = service.as_deref().and_then(|service| service.0.as_ref().ok());
        let namespace = ctx.cache.namespace(&key.namespace).unwrap_or_default();
        service.is_some_and(|s| s.metadata.deletion_timestamp.is_none() && is_self_signed(s))
            && namespace.allowed_hosts.is_some()
            && !namespace.terminating
            && namespace.secrets == Secrets::Known
    };
    ctx.services.within(None).into_iter().filter(is_concerned).collect()
}

fn is_self_signed(service: &HardenedService) -> bool {
    matches!(Issuer::of(service), Issuer::SelfSigned)
}

fn tell(missing: &[Key]) {
    if missing.is_empty() {
        return;
    }
    let names: Vec<_> =
        missing.iter().take(NAMED).map(|key| format!("{}/{}", key.namespace, key.name)).collect();
    tracing::info!(
        count = missing.len(),
        services = names.join(", "),
        "the rotation of the CA waits for services"
    );
}

/// How far a service is.
pub struct Standing {
    /// For status.
    pub phase: CaPhase,
    /// When it is to be looked at again, if pods are waited for.
    pub again: Option<Duration>,
    /// Why its pods are not seen.
    pub problem: Option<Problem>,
}

/// How far the service is, while the CA is replaced.
pub async fn look(
    pass: &Pass<'_>,
    keys: &Keys,
    applied: &Applied,
    host: &str,
) -> Result<Option<Standing>, Error> {
    let Some(authority) = keys.authority.as_ref().filter(|_| is_self_signed(pass.service)) else {
        return Ok(None);
    };
    let [before, behind] = match authority.stage {
        Stage::Idle => return Ok(None),
        Stage::Introduced(_) => [CaPhase::Publish, CaPhase::TrustEverywhere],
        Stage::Switched(_) => [CaPhase::Switch, CaPhase::Retire],
    };
    let epoch = keys.epoch();
    if pass.ctx.arrivals.has(&epoch, pass.key) {
        return Ok(Some(Standing { phase: behind, again: None, problem: None }));
    }
    let waiting = |problem| Some(Standing { phase: before, again: Some(LOOK), problem });
    Ok(match is_seen(pass, applied, host).await {
        Ok(true) => {
            pass.ctx.arrivals.note(&epoch, pass.key, Instant::now());
            Some(Standing { phase: behind, again: None, problem: None })
        }
        Ok(false) => waiting(None),
        Err(Error::Api(error)) if let Some(refusal) = Refusal::of_error(&error) => {
            waiting(Some(refusal.problem()))
        }
        Err(error) => return Err(error),
    })
}

/// Whether what the stage asks for is written, and every ready pod was seen with it.
async fn is_seen(pass: &Pass<'_>, applied: &Applied, host: &str) -> Result<bool, Error> {
    let holds = |kind| applied.outcomes.iter().filter(move |outcome| outcome.kind == kind);
    let mut written = holds(Kind::ConfigMap).chain(holds(Kind::Secret));
    if !written.all(|outcome| outcome.state == ChildState::Applied) || applied.tls_problem.is_some() {
        return Ok(false);
    }
    let secret = render::child_name(&pass.key.name, "tls");
    let note = pass.ctx.cache.note(Kind::Secret, &pass.key.namespace, &secret).secret;
    let Some(leaf) = note.and_then(|note| note.leaf) else { return Ok(false) };
    let server = (host, render::https_port(pass.service));
    let seen = served::everywhere(pass.ctx, pass.key, server, &leaf.fingerprint).await?;
    if let Err(why) = &seen {
        tracing::debug!(why, "waiting for pods");
    }
    Ok(seen.is_ok())
}
