//! The write path of one child: create, compare, dry run, replace, delete. Foreign objects are never touched.

use std::collections::BTreeMap;

use crds::{ChildState, LAST_CHANGE_ANNOTATION, MANAGER, Reason, RestartCause};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, PostParams, Preconditions},
    core::{DynamicObject, Status},
};
use render::{Child, Kind, Outcome, Problem, SecretPlan};
use serde_json::Value;

use crate::{
    adopt,
    apply::Pass,
    compare::{self, Digest, digest, essence},
    error::{Error, problem},
    metrics,
    ownership::is_ours,
    version::exactly,
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
    /// The API of this kind in the service's namespace.
    pub fn api(&self) -> Api<DynamicObject> {
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
                Ok(self.done(live, Some(digest(desired))))
            }
            Err(kube::Error::Api(s)) if s.is_already_exists() => {
                match self.api().get_opt(&self.child.name).await {
                    Ok(None) => Ok(self.refused(None, None)),
                    Ok(Some(live)) => self.settle(live, desired).await,
                    Err(kube::Error::Api(s)) => Ok(self.refused(Some(&s), None)),
                    Err(error) => Err(error.into()),
                }
            }
            Err(kube::Error::Api(s)) => Ok(self.refused(Some(&s), None)),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether exactly this version was found to be what is wanted, or made so: most passes end here, without a copy.
    pub fn is_settled(&self, live: &DynamicObject, desired: &Value) -> bool {
        let note = self.pass.ctx.cache.note(self.child.kind, &self.pass.key.namespace, &self.child.name);
        note.version == exactly(live)
            && is_ours(&live.metadata, self.pass.service)
            && note.target == Some(digest(desired))
    }

    /// Makes a live object what it should be, if it is ours (or the spec takes it over) and differs.
    pub async fn settle(&self, mut live: DynamicObject, desired: &Value) -> Result<Outcome, Error> {
        for _ in 0..ATTEMPTS {
            let adopting = !is_ours(&live.metadata, self.pass.service);
            if adopting
                && let Err(foreign) = adopt::listed(self.pass.service, self.child.kind, &live.metadata)
            {
                return self.conflict(&live, desired, foreign).await;
            }
            // Status names only what is ours by uid: with it we would know the object for ours for ever.
            let uid = live.uid().filter(|_| !adopting);
            if live.metadata.deletion_timestamp.is_some() {
                return Ok(self.leaving(&live, uid));
            }
            match self.replace(&live, desired, adopting).await {
                Ok(outcome) => return Ok(outcome),
                Err(kube::Error::Api(s)) if s.is_conflict() => {}
                Err(kube::Error::Api(s)) if s.is_not_found() => {}
                Err(kube::Error::Api(s)) if s.is_invalid() => {
                    return self.immutable(&live, desired, &s, adopting).await;
                }
                Err(kube::Error::Api(s)) => return Ok(self.refused(Some(&s), uid)),
                Err(error) => return Err(error.into()),
            }
            match self.api().get_opt(&self.child.name).await {
                Ok(Some(again)) => live = again,
                Ok(None) => return Box::pin(self.create(desired)).await,
                Err(kube::Error::Api(s)) => return Ok(self.refused(Some(&s), live.uid())),
                Err(error) => return Err(error.into()),
            }
        }
        let ours = is_ours(&live.metadata, self.pass.service);
        Ok(self.refused(None, live.uid().filter(|_| ours)))
    }

    /// The same for a Secret that was read, or found missing.
    pub async fn settle_secret(&self, live: Option<&Secret>, desired: &Secret) -> Result<Outcome, Error> {
        let desired = compare::json(desired);
        match live {
            Some(live) => {
                let live = object(&compare::json(live)).map_err(kube::Error::SerdeError)?;
                self.settle(live, &desired).await
            }
            None => self.create(&desired).await,
        }
    }

    async fn replace(
        &self,
        live: &DynamicObject,
        desired: &Value,
        adopting: bool,
    ) -> Result<Outcome, kube::Error> {
        let (kind, namespace, name) = (self.child.kind, &self.pass.key.namespace, &self.child.name);
        let before = compare::json(live);
        let target = compare::target(kind, &before, desired, self.pass.rules);
        let wanted = digest(desired);
        let (live_essence, target_essence) = (essence(&before), essence(&target));
        if target_essence == live_essence {
            return Ok(self.done(live.clone(), Some(wanted)));
        }
        let note = self.pass.ctx.cache.note(kind, namespace, name);
        let pair = (digest(&live_essence), digest(&target_essence));
        if note.normal == Some(pair) {
            return Ok(self.done(live.clone(), Some(wanted)));
        }
        if self.pass.ctx.fights.waits(&self.pass.object(self.child), pair, self.pass.now) {
            return Ok(self.outcome(live.uid(), ChildState::Applied, None));
        }
        let admission = match self.admission(live, (&live_essence, &target_essence)) {
            Ok(admission) => admission,
            Err(why) => return Ok(self.outcome(live.uid(), ChildState::Held, Some(why))),
        };
        let mut put = object(&target).map_err(kube::Error::SerdeError)?;
        let answer = self.api().replace(name, &params(true), &put).await?;
        let answer_essence = essence(&compare::json(&answer));
        if answer_essence == live_essence {
            self.pass.ctx.cache.remember(kind, namespace, name, |n| n.normal = Some(pair));
            return Ok(self.done(live.clone(), Some(wanted)));
        }
        let paths = compare::paths(&live_essence, &answer_essence);
        let cause = self.cause(adopting, note.target, wanted, (live, &paths));
        if cause == RestartCause::DriftReverted && self.must_wait(&before, &paths, pair).await {
            return Ok(self.outcome(live.uid(), ChildState::Applied, None));
        }
        if adopting {
            self.announce_adoption(live, &paths).await;
        }
        if let Some(change) = self.change(cause, &paths, live, &answer) {
            put.annotations_mut().insert(LAST_CHANGE_ANNOTATION.into(), change.annotation());
        }
        let after = self.api().replace(name, &params(false), &put).await?;
        self.count("update");
        let outcome = self.done(after, Some(wanted));
        drop(admission);
        if cause == RestartCause::DriftReverted {
            self.report_drift(&before, &paths).await;
        }
        Ok(outcome)
    }

    /// `immutable: true` planted on our Secret or ConfigMap, another Secret type, or a Job of an earlier operator's image: make
    /// the object anew. Elsewhere a
    /// new object would be a new workload or a new address, which only the user may decide.
    async fn immutable(
        &self,
        live: &DynamicObject,
        desired: &Value,
        status: &Status,
        adopting: bool,
    ) -> Result<Outcome, Error> {
        if adopting || !matches!(self.child.kind, Kind::Secret | Kind::ConfigMap | Kind::Job) {
            let immutable = status.message.contains("field is immutable");
            let reason = if immutable { Reason::ImmutableField } else { Reason::Refused };
            let message = self.unchangeable(&status.message);
            let uid = live.uid().filter(|_| !adopting);
            return Ok(self.outcome(uid, ChildState::Failed, Some(Problem { reason, message })));
        }
        let before = compare::json(live);
        let target = compare::target(self.child.kind, &before, desired, self.pass.rules);
        if let Some(refused) = self.delete(live).await? {
            return Ok(refused);
        }
        self.report_drift(&before, &compare::paths(&essence(&before), &essence(&target))).await;
        Box::pin(self.create(desired)).await
    }

    /// DELETE of exactly this version of exactly this object; gives an outcome only when the server refuses.
    pub async fn delete(&self, live: &DynamicObject) -> Result<Option<Outcome>, Error> {
        let preconditions = Preconditions { uid: live.uid(), resource_version: live.resource_version() };
        let params = DeleteParams::background().preconditions(preconditions);
        match self.api().delete(&self.child.name, &params).await {
            Err(kube::Error::Api(s)) if s.is_not_found() || s.is_conflict() => Ok(None),
            Err(kube::Error::Api(s)) => Ok(Some(self.refused(Some(&s), live.uid()))),
            Err(error) => Err(error.into()),
            Ok(_) => {
                self.count("delete");
                Ok(None)
            }
        }
    }

    fn done(&self, live: DynamicObject, target: Option<Digest>) -> Outcome {
        let (uid, version) = (live.uid(), exactly(&live));
        let (kind, namespace) = (self.child.kind, &self.pass.key.namespace);
        self.pass.ctx.cache.remember(kind, namespace, &self.child.name, |n| {
            n.target = target;
            n.version = version;
        });
        self.pass.ctx.cache.insert_answer(kind, without_values(kind, live));
        self.outcome(uid, ChildState::Applied, None)
    }

    fn leaving(&self, live: &DynamicObject, uid: Option<String>) -> Outcome {
        let finalizers = live.finalizers().join(", ");
        let message = format!(
            "{} {} is being deleted and waits for finalizers: {finalizers}",
            self.child.kind.as_str(),
            self.child.name
        );
        self.outcome(uid, ChildState::Failed, Some(Problem { reason: Reason::Progressing, message }))
    }

    /// The server's refusal, or (without one) a race that was lost too often.
    fn refused(&self, status: Option<&Status>, uid: Option<String>) -> Outcome {
        let kind = self.child.kind;
        let problem = match status {
            Some(status) => problem(status, kind),
            None => Problem {
                reason: Reason::ApiError,
                message: format!(
                    "{} {} keeps being changed by others; trying again",
                    kind.as_str(),
                    self.child.name
                ),
            },
        };
        self.failed(uid, problem)
    }

    /// A child that is left as it is. Status keeps its uid: without the owner reference nothing else tells that it is ours.
    pub fn failed(&self, uid: Option<String>, problem: Problem) -> Outcome {
        let known = self.pass.service.status.iter().flat_map(|s| &s.children);
        let mut known = known.filter(|c| c.kind == self.child.kind.as_str() && c.name == self.child.name);
        let uid = uid.or_else(|| known.find_map(|c| c.uid.clone()));
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

/// An object from JSON.
pub fn object(value: &Value) -> Result<DynamicObject, serde_json::Error> {
    serde_json::from_value(value.clone())
}

/// A Secret as its plan has it, with annotations and the values.
pub fn whole_secret(
    plan: &SecretPlan,
    annotations: impl IntoIterator<Item = (String, String)>,
    data: BTreeMap<String, ByteString>,
) -> Secret {
    let mut metadata = plan.metadata.clone();
    metadata.annotations.get_or_insert_default().extend(annotations);
    metadata.annotations.take_if(|annotations| annotations.is_empty());
    Secret { metadata, type_: Some(plan.type_.into()), data: Some(data), ..Secret::default() }
}

/// Every write carries our name.
pub fn params(dry_run: bool) -> PostParams {
    PostParams { dry_run, field_manager: Some(MANAGER.into()) }
}
