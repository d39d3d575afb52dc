//! A service's Jobs as caches have them, and what their pods said when they ended. What a word of theirs is worth is its
//! reader's business.

use std::sync::Arc;

use crds::Reason;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::{Api, api::ListParams, core::DynamicObject};
use render::{Kind, Problem};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{error::Error, issuer::Case, ownership::is_ours};

const OF_JOB: &str = "batch.kubernetes.io/job-name";

/// An object of the service's own that is not being deleted.
pub fn live(case: &Case<'_>, kind: Kind, name: &str) -> Option<Arc<DynamicObject>> {
    let live = case.ctx.cache.get(kind, &case.key.namespace, name)?;
    let is_here = is_ours(&live.metadata, case.service) && live.metadata.deletion_timestamp.is_none();
    is_here.then_some(live)
}

/// Whether a Job has this condition: `Complete`, `Failed`.
pub fn is(job: &DynamicObject, condition: &str) -> bool {
    let conditions = job.data.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|c| c["type"] == condition && c["status"] == "True")
}

/// Well or not.
pub fn has_ended(job: &DynamicObject) -> bool {
    is(job, "Complete") || is(job, "Failed")
}

/// The pods that say they are a Job's.
pub async fn pods(case: &Case<'_>, job: &str) -> Result<Vec<Pod>, Error> {
    let api: Api<Pod> = Api::namespaced(case.ctx.client.clone(), &case.key.namespace);
    Ok(api.list(&ListParams::default().labels(&format!("{OF_JOB}={job}"))).await?.items)
}

/// What a container said when it ended, where that has the form of a report.
pub fn report<R: DeserializeOwned>(container: &ContainerStatus) -> Option<R> {
    let ended = container.state.as_ref()?.terminated.as_ref()?;
    serde_json::from_str(ended.message.as_ref()?).ok()
}

/// What is said where a field needs Jobs and the platform lets none run.
pub fn not_allowed(reason: Reason, field: &str, more: &str) -> Problem {
    let message = format!(
        "{field}: the operator's settings name no image for Jobs (jobs.image); ask the platform{more}"
    );
    Problem { reason, message }
}
