//! Last verb: write the status when it differs, and tell of transitions by events.

use crds::{ConditionType, HardenedService, HardenedServiceStatus, Reason, RestartCause};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
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

fn count_restarts(ctx: &Context, old: Option<&HardenedServiceStatus>, new: &HardenedServiceStatus) {
    let known = |at| old.is_some_and(|o| o.restarts.iter().any(|r| r.at == at));
    for restart in new.restarts.iter().filter(|r| !known(r.at.clone())) {
        let cause = match restart.cause {
            RestartCause::Manual => "manual",
        };
        ctx.metrics.restarts.get_or_create(&metrics::Cause { cause }).inc();
    }
}

/// One event for each transition of Ready's status or reason.
async fn announce(
    ctx: &Context,
    service: &HardenedService,
    old: Option<&HardenedServiceStatus>,
    new: &HardenedServiceStatus,
) {
    let ready = |s: &HardenedServiceStatus| {
        s.conditions.iter().find(|c| c.type_ == ConditionType::Ready.as_str()).cloned()
    };
    let Some(now) = ready(new) else { return };
    let same = |before: &Condition| before.status == now.status && before.reason == now.reason;
    if old.and_then(ready).is_some_and(|before| same(&before)) {
        return;
    }
    let severity = reason(&now.reason).map_or(Severity::Normal, severity);
    tracing::info!(ready = now.status, reason = now.reason, message = now.message, "service");
    let happening =
        Happening { severity, reason: &now.reason, action: "Reconcile", note: now.message.clone() };
    ctx.events.publish(service, happening).await;
}

fn reason(name: &str) -> Option<Reason> {
    serde_json::from_value(json!(name)).ok()
}
