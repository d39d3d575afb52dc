//! The write of the operator's Secret with the values of `spec.secrets`: the one place where they meet a request.

use crds::{ChildState, LAST_CHANGE_ANNOTATION, SEAL_ANNOTATION, SecretsStatus};
use k8s_openapi::api::core::v1::Secret;
use render::{Applied, Child, Kind, Outcome, SecretPlan, whole_seconds};

use super::{Content, Decision, Plan};
use crate::{
    apply::Pass,
    cache::ValuesNote,
    drift,
    error::Error,
    events::{Happening, Severity},
    ownership::is_ours,
    write::Writer,
};

/// Does what was decided, and says what status shows of it.
pub async fn write(
    pass: &Pass<'_>,
    child: &Child,
    plan: &SecretPlan,
    decision: &Decision,
    applied: &mut Applied,
) -> Result<Outcome, Error> {
    let writer = Writer { pass, child };
    let old = pass.service.status.as_ref().and_then(|status| status.secrets.clone());
    applied.secrets_problem.clone_from(&decision.problem);
    applied.secrets_warning.clone_from(&decision.warning);
    match &decision.plan {
        Plan::Keep(note) => {
            applied.secrets = Some(status(pass, note, old, false));
            Ok(writer.outcome(note.version.0.clone(), ChildState::Applied, None))
        }
        Plan::Leave => {
            applied.secrets = old;
            let live = pass.ctx.cache.get(child.kind, &pass.key.namespace, &child.name);
            let live = live.filter(|live| is_ours(&live.metadata, pass.service));
            let uid = live.and_then(|live| live.metadata.uid.clone());
            Ok(writer.outcome(uid, ChildState::Failed, decision.problem.clone()))
        }
        Plan::Write(content) => {
            applied.secrets.clone_from(&old);
            let outcome = put(pass, &writer, plan, content).await?;
            if outcome.state == ChildState::Applied {
                let is_new = content.changed.as_ref().is_none_or(|names| !names.is_empty());
                pass.ctx.cache.remember(child.kind, &pass.key.namespace, &child.name, |n| {
                    let version = n.version.clone();
                    n.values = Some(ValuesNote { version, ..content.note.clone() });
                });
                applied.secrets = Some(status(pass, &content.note, old, is_new));
                if is_new {
                    announce(pass, content).await;
                }
            }
            Ok(outcome)
        }
    }
}

async fn put(
    pass: &Pass<'_>,
    writer: &Writer<'_>,
    plan: &SecretPlan,
    content: &Content,
) -> Result<Outcome, Error> {
    if content.changed.is_some() {
        // After a restart no target is remembered, and values that changed meanwhile would be taken for drift.
        pass.ctx.cache.expect_change(Kind::Secret, &pass.key.namespace, &writer.child.name);
    }
    writer.settle_secret(content.live.as_ref(), &desired(plan, content)).await
}

fn desired(plan: &SecretPlan, content: &Content) -> Secret {
    let mut metadata = plan.metadata.clone();
    let pending = content.pending.iter().map(|p| (LAST_CHANGE_ANNOTATION.to_owned(), p.annotation()));
    let seal = (SEAL_ANNOTATION.to_owned(), content.note.seal.clone());
    metadata.annotations.get_or_insert_default().extend(pending.chain([seal]));
    Secret {
        metadata,
        type_: Some(plan.type_.into()),
        data: Some(content.values.data()),
        ..Secret::default()
    }
}

fn status(pass: &Pass<'_>, note: &ValuesNote, old: Option<SecretsStatus>, is_new: bool) -> SecretsStatus {
    let before = old.and_then(|old| old.synced_at).filter(|_| !is_new);
    SecretsStatus {
        synced_at: Some(before.unwrap_or_else(|| whole_seconds(pass.now))),
        version: Some(note.source_version.clone()),
        keys: note.names.clone(),
    }
}

/// Names only.
async fn announce(pass: &Pass<'_>, content: &Content) {
    let names = content.changed.as_ref().unwrap_or(&content.note.names);
    let note = format!("values of spec.secrets synced: {}", drift::shown(names, 16));
    let happening = Happening { severity: Severity::Normal, reason: "SecretsSynced", action: "Sync", note };
    pass.ctx.events.publish(pass.service, happening).await;
}
