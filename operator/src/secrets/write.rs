//! The write of the operator's Secret with the values of `spec.secrets`: the one place where they meet a request.

use crds::{ChildState, LAST_CHANGE_ANNOTATION, REJECTED_ANNOTATION, Reason, SEAL_ANNOTATION, SecretsStatus};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use render::{Applied, Child, Kind, Outcome, SecretPlan, whole_seconds};

use super::{Content, Decision, Plan, revert::Before, values::Sealed};
use crate::{
    apply::Pass,
    cache::ValuesNote,
    drift,
    error::Error,
    events::{Happening, Severity},
    ownership::is_ours,
    write::{Writer, whole_secret},
};

/// Writes one of the Secrets that hold values: the operator's own, or one beside it.
pub async fn write(
    pass: &Pass<'_>,
    child: &Child,
    plan: &SecretPlan,
    decision: Option<&Decision>,
    applied: &mut Applied,
) -> Result<Outcome, Error> {
    let Some(decision) = decision else {
        // Render makes none without a decision.
        return Ok(Writer { pass, child }.outcome(None, ChildState::Held, None));
    };
    if child.name == render::secrets::secret_name(pass.service) {
        return write_own(pass, child, plan, decision, applied).await;
    }
    let values = match &decision.before {
        _ if child.name != render::secrets::before_name(pass.service) => {
            // What the Job reads. Other values have another name: one that is there has them.
            let is_there = pass.ctx.cache.get(Kind::Secret, &pass.key.namespace, &child.name).is_some();
            decision.login.as_ref().and_then(|(_, values)| values.as_ref()).filter(|_| !is_there)
        }
        Before::Write(values) => Some(values),
        Before::Gone | Before::Keep => None,
    };
    beside(pass, child, plan, values).await
}

/// Does what was decided, and says what status shows of it.
async fn write_own(
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

/// A Secret beside the operator's own; without values it stays as it is.
async fn beside(
    pass: &Pass<'_>,
    child: &Child,
    plan: &SecretPlan,
    values: Option<&Sealed>,
) -> Result<Outcome, Error> {
    let writer = Writer { pass, child };
    let namespace = &pass.key.namespace;
    let meta = pass.ctx.cache.get(Kind::Secret, namespace, &child.name);
    let Some(Sealed { values, seal }) = values else {
        let meta = meta.filter(|meta| is_ours(&meta.metadata, pass.service));
        let state = if meta.is_some() { ChildState::Applied } else { ChildState::Held };
        return Ok(writer.outcome(meta.and_then(|meta| meta.metadata.uid.clone()), state, None));
    };
    let live = match meta {
        Some(_) => Api::<Secret>::namespaced(pass.ctx.client.clone(), namespace).get_opt(&child.name).await?,
        None => None,
    };
    pass.ctx.cache.expect_change(Kind::Secret, namespace, &child.name);
    let seal = (SEAL_ANNOTATION.to_owned(), seal.clone());
    writer.settle_secret(live.as_ref(), &whole_secret(plan, [seal], values.data())).await
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
    let pending = content.pending.iter().map(|p| (LAST_CHANGE_ANNOTATION.to_owned(), p.annotation()));
    let seal = (SEAL_ANNOTATION.to_owned(), content.note.seal.clone());
    let rejected = content.rejected.iter().map(|r| (REJECTED_ANNOTATION.to_owned(), r.annotation()));
    whole_secret(plan, pending.chain(rejected).chain([seal]), content.values.data())
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
    let names = drift::shown(content.changed.as_ref().unwrap_or(&content.note.names), 16);
    let happening = if content.rejected.is_some() {
        let note =
            format!("the pods did not start with the new values of {names}: those before are in place again");
        let reason = Reason::RotationReverted.as_str();
        Happening { severity: Severity::Warning, reason, action: "Revert", note }
    } else {
        let note = format!("values of spec.secrets synced: {names}");
        Happening { severity: Severity::Normal, reason: "SecretsSynced", action: "Sync", note }
    };
    pass.ctx.events.publish(pass.service, happening).await;
}
