//! What a live Deployment says about its rollout.

use crds::Reason;
use k8s_openapi::{api::apps::v1::Deployment, apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use crate::{status::Problem, whole_seconds};

/// Annotation by which `kubectl rollout restart` restarts pods.
pub const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// `None` when every replica is up to date and available.
pub(crate) fn problem(deployment: Option<&Deployment>) -> Option<Problem> {
    let progressing = |message: String| Some(Problem { reason: Reason::Progressing, message });
    let Some(deployment) = deployment else {
        return progressing("waiting for the Deployment".into());
    };
    let wanted = deployment.spec.replicas.unwrap_or(1);
    let waiting = format!("waiting for {wanted} replicas to be up to date and available");
    let Some(status) = &deployment.status else {
        return progressing(waiting);
    };
    if status.observed_generation < deployment.metadata.generation {
        return progressing(waiting);
    }
    let condition = |type_: &str, value: &str| {
        status
            .conditions
            .iter()
            .flatten()
            .find(|c| c.type_.as_deref() == Some(type_) && c.status.as_deref() == Some(value))
    };
    // The truth about Pod Security, quota and admission refusals stands here only (V12).
    let failed = condition("ReplicaFailure", "True").or_else(|| {
        condition("Progressing", "False").filter(|c| c.reason.as_deref() == Some("ProgressDeadlineExceeded"))
    });
    if let Some(failed) = failed {
        return Some(Problem {
            reason: Reason::RolloutFailed,
            message: failed.message.clone().unwrap_or_else(|| "the rollout failed".into()),
        });
    }
    let at_least = |count: Option<i32>| count.unwrap_or(0) >= wanted;
    let complete = at_least(status.updated_replicas)
        && at_least(status.available_replicas)
        && status.replicas.unwrap_or(0) <= wanted;
    if complete { None } else { progressing(waiting) }
}

/// When somebody last asked for a restart, to the second.
pub(crate) fn restarted_at(deployment: &Deployment) -> Option<Time> {
    let annotations = deployment.spec.template.metadata.as_ref()?.annotations.as_ref()?;
    let at: Timestamp = annotations.get(RESTARTED_AT)?.parse().ok()?;
    Some(whole_seconds(at))
}
