//! The write path of one child: create, compare, dry run, replace, delete. Foreign objects are never touched.

use crds::{ChildState, MANAGER, Reason};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, PostParams, Preconditions},
    core::{DynamicObject, Status},
};
use render::{Child, Kind, Outcome, Problem};
use serde_json::Value;

use crate::{
    apply::Pass,
    compare::{self, digest, essence},
    drift,
    error::{Error, problem},
    events::{Happening, Severity},
    metrics,
    ownership::{conflict_message, is_ours},
};

/// How often a PUT that lost a race is tried in one pass; the watch brings the next one.
const ATTEMPTS: usize = 3;

/// Writes one child of one service.
pub struct Writer<'a> {
    /// The pass.
    pub pass: &'a Pass<'a>,
    /// The child.
    pub child: &'a Child,
}

impl Writer<'_> {
    fn api(&self) -> Api<DynamicObject> {
        let resource = self.child.kind.api_resource();
        Api::namespaced_with(self.pass.ctx.client.clone(), &self.pass.key.namespace, &resource)
    }

    /// The outcome of this child.
    pub fn outcome(&self, uid: Option<String>, state: ChildState, problem: Option<Problem>) -> Outcome {
        Outcome { kind: self.child.kind, name: self.child.name.clone(), uid, state, problem }
    }

    /// POST. When the name is taken, the object decides by its owner what happens.
    pub async fn create(&self, desired: &Value) -> Result<Outcome, Error> {
        let new = object(desired).map_err(kube::Error::SerdeError)?;
        match self.api().create(&params(false), &new).await {
            Ok(live) => {
                self.count("create");
                Ok(self.done(live, Some(compare::digest(desired))))
            }
            Err(kube::Error::Api(s)) if s.is_already_exists() => {
                match self.api().get_opt(&self.child.name).await? {
                    None => Ok(self.refused(None, None)),
                    Some(live) => self.settle(live, desired).await,
                }
            }
            Err(kube::Error::Api(s)) => Ok(self.refused(Some(&s), None)),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a live object what it should be, if it is ours and differs.
    pub async fn settle(&self, mut live: DynamicObject, desired: &Value) -> Result<Outcome, Error> {
        for _ in 0..ATTEMPTS {
            if !is_ours(&live.metadata, self.pass.service) {
                let message = conflict_message(self.child.kind.as_str(), &live.metadata, self.pass.service);
                let problem = Problem { reason: Reason::NameConflict, message };
                return Ok(self.outcome(None, ChildState::Conflict, Some(problem)));
            }
            if live.metadata.deletion_timestamp.is_some() {
                return Ok(self.leaving(&live));
            }
            match self.replace(&live, desired).await {
                Ok(outcome) => return Ok(outcome),
                Err(kube::Error::Api(s)) if s.is_conflict() => {}
                Err(kube::Error::Api(s)) if s.is_not_found() => {}
                Err(kube::Error::Api(s)) if s.is_invalid() => {
                    return self.immutable(&live, desired, &s).await;
                }
                Err(kube::Error::Api(s)) => return Ok(self.refused(Some(&s), live.uid())),
                Err(error) => return Err(error.into()),
            }
            match self.api().get_opt(&self.child.name).await? {
                Some(again) => live = again,
                None => return Box::pin(self.create(desired)).await,
            }
        }
        Ok(self.refused(None, live.uid()))
    }

    async fn replace(&self, live: &DynamicObject, desired: &Value) -> Result<Outcome, kube::Error> {
        let (kind, namespace, name) = (self.child.kind, &self.pass.key.namespace, &self.child.name);
        let before = compare::json(live);
        let target = compare::target(kind, &before, desired, self.pass.rules);
        let wanted = digest(desired);
        let live_essence = essence(&before);
        if essence(&target) == live_essence {
            return Ok(self.done(live.clone(), Some(wanted)));
        }
        let note = self.pass.ctx.cache.note(kind, namespace, name);
        let normal = (digest(&live_essence), digest(&essence(&target)));
        if note.normal == Some(normal) {
            return Ok(self.done(live.clone(), Some(wanted)));
        }
        let put = object(&target).map_err(kube::Error::SerdeError)?;
        let answer = self.api().replace(name, &params(true), &put).await?;
        let answer_essence = essence(&compare::json(&answer));
        if answer_essence == live_essence {
            self.pass.ctx.cache.remember(kind, namespace, name, |n| n.normal = Some(normal));
            return Ok(self.done(live.clone(), Some(wanted)));
        }
        let after = self.api().replace(name, &params(false), &put).await?;
        self.count("update");
        let outcome = self.done(after, Some(wanted));
        if self.is_drift(note.target, wanted) {
            self.report_drift(&before, &compare::paths(&live_essence, &answer_essence)).await;
        }
        Ok(outcome)
    }

    /// The same target as at the last write: the difference is somebody else's. After a restart nothing is remembered;
    /// then it is drift unless the spec changed meanwhile.
    fn is_drift(&self, last: Option<compare::Digest>, wanted: compare::Digest) -> bool {
        let service = self.pass.service;
        let seen = service.status.as_ref().and_then(|s| s.observed_generation);
        last.map_or(seen == service.metadata.generation, |last| last == wanted)
    }

    async fn report_drift(&self, before: &Value, paths: &[String]) {
        let fields = drift::managed_fields(before);
        let manager = drift::manager(&fields);
        let kind = self.child.kind.as_str();
        let labels = metrics::Drift { kind, manager: drift::label(manager) };
        self.pass.ctx.metrics.drift.get_or_create(&labels).inc();
        let note = drift::note(kind, &self.child.name, paths, manager);
        tracing::warn!(kind, manager, ?paths, "drift undone");
        let happening =
            Happening { severity: Severity::Warning, reason: "DriftReverted", action: "Restore", note };
        self.pass.ctx.events.publish(self.pass.service, happening).await;
    }

    /// `immutable: true` planted on our Secret or ConfigMap, or another Secret type: make the object anew. Elsewhere a
    /// new object would be a new workload or a new address, which only the user may decide.
    async fn immutable(
        &self,
        live: &DynamicObject,
        desired: &Value,
        status: &Status,
    ) -> Result<Outcome, Error> {
        if !matches!(self.child.kind, Kind::Secret | Kind::ConfigMap) {
            let immutable = status.message.contains("field is immutable");
            let reason = if immutable { Reason::ImmutableField } else { Reason::Refused };
            let problem =
                Problem { reason, message: format!("{}: {}", self.child.kind.as_str(), status.message) };
            return Ok(self.outcome(live.uid(), ChildState::Failed, Some(problem)));
        }
        let before = compare::json(live);
        let target = compare::target(self.child.kind, &before, desired, self.pass.rules);
        self.delete(live).await?;
        self.report_drift(&before, &compare::paths(&essence(&before), &essence(&target))).await;
        Box::pin(self.create(desired)).await
    }

    /// DELETE of exactly this version of exactly this object.
    pub async fn delete(&self, live: &DynamicObject) -> Result<(), Error> {
        let preconditions = Preconditions { uid: live.uid(), resource_version: live.resource_version() };
        let params = DeleteParams::background().preconditions(preconditions);
        match self.api().delete(&self.child.name, &params).await {
            Err(kube::Error::Api(s)) if s.is_not_found() || s.is_conflict() => Ok(()),
            Err(error) => Err(error.into()),
            Ok(_) => {
                self.count("delete");
                Ok(())
            }
        }
    }

    fn done(&self, live: DynamicObject, target: Option<compare::Digest>) -> Outcome {
        let uid = live.uid();
        let version = (uid.clone(), live.resource_version());
        let (kind, namespace) = (self.child.kind, &self.pass.key.namespace);
        self.pass.ctx.cache.remember(kind, namespace, &self.child.name, |n| {
            n.target = target;
            n.version = version;
        });
        self.pass.ctx.cache.insert_answer(kind, without_values(kind, live));
        self.outcome(uid, ChildState::Applied, None)
    }

    fn leaving(&self, live: &DynamicObject) -> Outcome {
        let finalizers = live.finalizers().join(", ");
        let message = format!(
            "{} {} is being deleted and waits for finalizers: {finalizers}",
            self.child.kind.as_str(),
            self.child.name
        );
        self.outcome(live.uid(), ChildState::Failed, Some(Problem { reason: Reason::Progressing, message }))
    }

    /// The server's refusal, or (without one) a race that was lost too often.
    fn refused(&self, status: Option<&Status>, uid: Option<String>) -> Outcome {
        let (kind, namespace) = (self.child.kind, &self.pass.key.namespace);
        let problem = match status {
            Some(status) => problem(status, kind, namespace),
            None => Problem {
                reason: Reason::ApiError,
                message: format!(
                    "{} {} keeps being changed by others; trying again",
                    kind.as_str(),
                    self.child.name
                ),
            },
        };
        self.outcome(uid, ChildState::Failed, Some(problem))
    }

    fn count(&self, verb: &'static str) {
        let labels = metrics::Write { kind: self.child.kind.as_str(), verb };
        self.pass.ctx.metrics.writes.get_or_create(&labels).inc();
        tracing::info!(kind = labels.kind, name = self.child.name, verb, "child written");
    }
}

/// Secret values do not enter the cache.
fn without_values(kind: Kind, mut live: DynamicObject) -> DynamicObject {
    if kind == Kind::Secret {
        live.data = Value::Object(serde_json::Map::new());
    }
    live
}

fn object(value: &Value) -> Result<DynamicObject, serde_json::Error> {
    serde_json::from_value(value.clone())
}

fn params(dry_run: bool) -> PostParams {
    PostParams { dry_run, field_manager: Some(MANAGER.into()) }
}
