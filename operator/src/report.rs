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
    error::Error,
    events::{Happening, Severity, severity},
    metrics,
};

/// Writes the status if it differs from the live one.
pub async fn report(
    ctx: &Context,
    service: &HardenedService,
    status: HardenedServiceStatus,
) -> Result<(), Error> {
    let old = service.status.as_ref();
    if old == Some(&status) {
        return Ok(());
    }
    let namespace = service.namespace().unwrap_or_default();
    let api: Api<HardenedService> = Api::namespaced(ctx.client.clone(), &namespace);
    // With the resourceVersion a status that was computed from an older object is refused instead of written.
    let patch = json!({"metadata": {"resourceVersion": service.resource_version()}, "status": status});
    match api.patch_status(&service.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await {
        Ok(written) => ctx.remember(written),
        // Gone, or changed meanwhile: the watch brings the next pass.
        Err(kube::Error::Api(s)) if s.is_not_found() || s.is_conflict() => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    count_restarts(ctx, old, &status);
    announce(ctx, service, old, &status).await;
    Ok(())
}

/// Reports a problem that keeps the service from being worked on; the rest of the status stays.
pub async fn report_blocked(
    ctx: &Context,
    service: &HardenedService,
    problem: Problem,
    now: Timestamp,
) -> Result<(), Error> {
    let applied = Applied { blocked: Some(problem), ..Applied::default() };
    report(ctx, service, render::status(service, &applied, &Facts::default(), now)).await
}

/// An entry counts when it is first written: what status had before was counted then, maybe by another operator.
fn count_restarts(ctx: &Context, old: Option<&HardenedServiceStatus>, new: &HardenedServiceStatus) {
    let known = |entry| old.is_some_and(|o| o.restarts.contains(entry));
    for restart in new.restarts.iter().filter(|entry| !known(*entry)) {
        ctx.metrics.restarts.get_or_create(&metrics::Cause { cause: restart.cause.as_str() }).inc();
    }
}

/// One event for each transition of Ready's status or reason, and one for each new word about a certificate that
/// somebody provides: status remembers the last one, so that a restart repeats nothing.
async fn announce(
    ctx: &Context,
    service: &HardenedService,
    old: Option<&HardenedServiceStatus>,
    new: &HardenedServiceStatus,
) {
    let find = |status: &HardenedServiceStatus, type_: ConditionType| {
        status.conditions.iter().find(|c| c.type_ == type_.as_str()).cloned()
    };
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
    let of_provided = [Reason::CertificateInvalid.as_str(), Reason::CertificateExpiring.as_str()];
    let told = |now: &Condition| ready.as_ref().is_some_and(|ready| ready.message == now.message);
    let tls = tls.filter(|now| of_provided.contains(&&*now.reason) && !told(now));
    for now in ready.iter().chain(&tls) {
        let severity = reason(&now.reason).map_or(Severity::Normal, severity);
        let happening =
            Happening { severity, reason: &now.reason, action: "Reconcile", note: now.message.clone() };
        ctx.events.publish(service, happening).await;
    }
}

fn reason(name: &str) -> Option<Reason> {
    serde_json::from_value(json!(name)).ok()
}
