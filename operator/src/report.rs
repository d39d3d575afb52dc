//! Last verb: write the status when it differs, and tell of transitions by events.

use crds::{ConditionType, HardenedService, HardenedServiceStatus, Reason};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use render::{Applied, Facts, Problem};
use serde_json::json;

use crate::{
    Context,
    compare::digest,
    error::Error,
    events::{Happening, Severity, severity},
    key_of, metrics,
    refusal::Refusal,
};

/// What became of a status.
pub enum Written {
    /// It is there, or the next pass brings it.
    Done,
    /// The operator may not write it.
    Denied,
    /// It would do harm.
    Withheld,
}

/// Writes the status if it differs from the live one.
pub async fn report(
    ctx: &Context,
    service: &HardenedService,
    status: HardenedServiceStatus,
) -> Result<Written, Error> {
    let old = service.status.as_ref();
    if old == Some(&status) {
        return Ok(Written::Done);
    }
    let namespace = service.namespace().unwrap_or_default();
    let api: Api<HardenedService> = Api::namespaced(ctx.client.clone(), &namespace);
    // With the resourceVersion a status that was computed from an older object is refused instead of written.
    let patch = json!({"metadata": {"resourceVersion": service.resource_version()}, "status": status});
    match api.patch_status(&service.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await {
        Ok(written) => ctx.services.answered(written),
        // Gone, or changed meanwhile: the watch brings the next pass.
        Err(kube::Error::Api(s)) if s.is_not_found() || s.is_conflict() => return Ok(Written::Done),
        Err(kube::Error::Api(s)) if let Some(refusal) = Refusal::of(&s) => {
            ctx.metrics.statuses_denied.inc();
            tell(ctx, service, &status, &refusal.problem()).await;
            return Ok(Written::Denied);
        }
        Err(error) => return Err(error.into()),
    }
    ctx.unwritten().remove(&key_of(service));
    count_restarts(ctx, old, &status);
    announce(ctx, service, old, &status).await;
    Ok(Written::Done)
}

/// Tells of a status that is not written, because under an older definition that would take fields from the service.
async fn withhold(ctx: &Context, service: &HardenedService, status: &HardenedServiceStatus) -> Written {
    let message = "the status is not written: with it the service would lose what the older definition hides";
    let why = Problem { reason: Reason::CrdOutdated, message: message.into() };
    tell(ctx, service, status, &why).await;
    Written::Withheld
}

/// Where the status cannot tell, the log and an event do, once for each change.
async fn tell(ctx: &Context, service: &HardenedService, status: &HardenedServiceStatus, why: &Problem) {
    let Some(ready) = find(status, ConditionType::Ready) else { return };
    let Problem { reason, message } = why;
    let text = digest(&json!([message, ready.status, ready.reason, ready.message]));
    if ctx.unwritten().insert(key_of(service), text) == Some(text) {
        return;
    }
    tracing::error!(why = message, ready = ready.status, reason = ready.reason, "status not written");
    let note = format!("{message}. Ready would be {} ({}): {}", ready.status, ready.reason, ready.message);
    let happening =
        Happening { severity: Severity::Warning, reason: reason.as_str(), action: "Report", note };
    ctx.events.publish(service, happening).await;
}

/// Reports a problem that keeps the service from being worked on; the rest of the status stays.
pub async fn report_blocked(
    ctx: &Context,
    service: &HardenedService,
    problem: Problem,
    now: Timestamp,
) -> Result<Written, Error> {
    let applied = Applied { blocked: Some(problem), ..Applied::default() };
    let status = render::status(service, &applied, &Facts::default(), now);
    if ctx.crd.hides_some_of(service) {
        return Ok(withhold(ctx, service, &status).await);
    }
    report(ctx, service, status).await
}

/// An entry counts when it is first written: what status had before was counted then, maybe by another operator.
fn count_restarts(ctx: &Context, old: Option<&HardenedServiceStatus>, new: &HardenedServiceStatus) {
    let known = |entry| old.is_some_and(|o| o.restarts.contains(entry));
    for restart in new.restarts.iter().filter(|entry| !known(*entry)) {
        ctx.metrics.restarts.get_or_create(&metrics::Cause { cause: restart.cause.as_str() }).inc();
    }
}

/// One event for each transition of Ready's status or reason, and one for each new word about a certificate that
/// comes from elsewhere: status remembers the last one, so that a restart repeats nothing.
async fn announce(
    ctx: &Context,
    service: &HardenedService,
    old: Option<&HardenedServiceStatus>,
    new: &HardenedServiceStatus,
) {
    let changed = |type_: ConditionType, same: fn(&Condition, &Condition) -> bool| {
        let (before, now) = (old.and_then(|old| find(old, type_)), find(new, type_)?);
        (!before.is_some_and(|before| same(&before, &now))).then_some(now)
    };
    let ready = changed(ConditionType::Ready, |a, b| a.status == b.status && a.reason == b.reason);
    // A fight was told when it began, with its object.
    let ready = ready.filter(|now| now.reason != Reason::FieldFight.as_str());
    if let Some(now) = &ready {
        tracing::info!(ready = now.status, reason = now.reason, message = now.message, "service");
    }
    let tls = changed(ConditionType::TLSReady, |a, b| a.reason == b.reason && a.message == b.message);
    let of_others = [
        Reason::CertificateInvalid,
        Reason::CertificateExpiring,
        Reason::VaultUnreachable,
        Reason::VaultLoginRefused,
        Reason::VaultRefused,
        Reason::CertificateNotReady,
    ];
    let of_others = of_others.map(Reason::as_str);
    let told = |now: &Condition| ready.as_ref().is_some_and(|ready| ready.message == now.message);
    let tls = tls.filter(|now| of_others.contains(&&*now.reason) && !told(now));
    for now in ready.iter().chain(&tls) {
        let severity = reason(&now.reason).map_or(Severity::Normal, severity);
        let happening =
            Happening { severity, reason: &now.reason, action: "Reconcile", note: now.message.clone() };
        ctx.events.publish(service, happening).await;
    }
}

fn find(status: &HardenedServiceStatus, type_: ConditionType) -> Option<Condition> {
    status.conditions.iter().find(|c| c.type_ == type_.as_str()).cloned()
}

fn reason(name: &str) -> Option<Reason> {
    serde_json::from_value(json!(name)).ok()
}
