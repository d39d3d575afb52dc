//! The way back from values with which the pods do not start: those before are kept until the restart is done, and put in
//! place again when its deadline is over.

use crds::{REJECTED_ANNOTATION, Reason};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};
use render::{Kind, Problem};
use serde::{Deserialize, Serialize};

use super::{
    Content, Decision, Plan,
    pending::{Pending, restart_hash, restart_hash_of},
    sync::Sync,
    values::{Sealed, Values},
};
use crate::{
    error::Error,
    fleet::{self, Standing},
    ownership::is_ours,
};

/// What becomes of the Secret with the values before.
#[derive(Default)]
pub enum Before {
    /// It is not needed (any more).
    #[default]
    Gone,
    /// It holds what it should.
    Keep,
    /// It should hold these.
    Write(Sealed),
}

/// Values that the pods could not start with. It stands in an annotation of the operator's Secret; nothing can be learned
/// from it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Rejected {
    seal: String,
    /// The annotation by which somebody forces a sync, then: another one has them tried again.
    forced: Option<String>,
}

impl Rejected {
    /// As the operator's Secret has it.
    pub fn of(live: &Secret) -> Option<Self> {
        serde_json::from_str(live.annotations().get(REJECTED_ANNOTATION)?).ok()
    }

    /// Whether these values are not to be tried again.
    pub fn is(&self, seal: &str, forced: Option<&String>) -> bool {
        self.seal == seal && self.forced.as_ref() == forced
    }

    /// The value of the annotation.
    pub fn annotation(&self) -> String {
        // It holds strings only: serialising it cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What is said of values that were rejected.
pub fn rejected(names: &[String]) -> Problem {
    Problem {
        reason: Reason::RotationReverted,
        message: format!(
            "the restart with the new values of {} failed its deadline, and those before are in place again; write others to \
             the source, or have these tried again with another value of the annotation {}",
            names.join(", "),
            crds::FORCE_SYNC_ANNOTATION
        ),
    }
}

impl Sync<'_> {
    /// How the restart for the newest values stands.
    fn standing(&self) -> Standing {
        let case = self.case;
        let live = case.ctx.cache.get(Kind::Deployment, &case.key.namespace, &case.key.name);
        let Some(live) = live.filter(|live| is_ours(&live.metadata, case.service)) else {
            return Standing::Settled;
        };
        let awaited = Pending::of(case).map(|pending| pending.awaited(case.keys, self.serial));
        if awaited.is_some_and(|awaited| awaited.is_for(&live)) {
            return Standing::UnderWay;
        }
        fleet::standing(&live)
    }

    fn before_is_there(&self) -> bool {
        let name = render::secrets::before_name(self.case.service);
        let live = self.case.ctx.cache.get(Kind::Secret, &self.case.key.namespace, &name);
        live.is_some_and(|live| is_ours(&live.metadata, self.case.service))
    }

    /// What was before stays at hand until the restart is done.
    pub fn kept_before(&self) -> Before {
        let is_needed = self.before_is_there() && self.standing() != Standing::Settled;
        if is_needed { Before::Keep } else { Before::Gone }
    }

    /// The same for values that are about to be replaced. Those of a restart that is not done are not proven: what was
    /// before them stays.
    pub fn next_before(&self, own: Values) -> Before {
        if self.standing() == Standing::Settled {
            Before::Write(self.sealed(own))
        } else {
            self.kept_before()
        }
    }

    /// The values before, when the pods did not start with those that are in place.
    pub async fn revert(&self) -> Result<Option<Decision>, Error> {
        // Most passes end here: a look into the cache, and no HMAC.
        if !self.before_is_there() {
            return Ok(None);
        }
        let Standing::GivenUp(why) = self.standing() else { return Ok(None) };
        let (namespace, service) = (&self.case.key.namespace, self.case.service);
        let Some(live) = self.live().await? else { return Ok(None) };
        let api: Api<Secret> = Api::namespaced(self.case.ctx.client.clone(), namespace);
        let before = api.get_opt(&render::secrets::before_name(service)).await?;
        let before = before.filter(|before| is_ours(&before.metadata, service));
        let (Some(own), Some(before)) = (self.own(&live), before.and_then(|before| self.own(&before))) else {
            return Ok(None);
        };
        let (bad, mut note) = (self.note(&own), self.note(&before));
        let deployment = self.case.ctx.cache.get(Kind::Deployment, namespace, &self.case.key.name);
        let has = deployment.as_deref().and_then(restart_hash_of);
        let ran = restart_hash(self.case.keys, self.serial, bad.restart.as_deref());
        if has != Some(&ran) || bad.restart == note.restart {
            return Ok(None);
        }
        let names = before.differing(&own);
        tracing::warn!(?names, why, "the restart failed: the values before are put in place again");
        let old = service.status.as_ref().and_then(|status| status.secrets.as_ref());
        note.source_version = old.and_then(|old| old.version.clone()).unwrap_or_default();
        let problem = rejected(&names);
        Ok(Some(Decision {
            restart: note.restart.clone(),
            again: Some(self.case.now),
            plan: Plan::Write(Box::new(Content {
                values: before,
                live: Some(live),
                pending: Some(Pending { before: bad.restart, names: names.clone(), reverted: true }),
                rejected: Some(Rejected { seal: bad.seal, forced: self.forced.cloned() }),
                changed: Some(names),
                note,
            })),
            problem: Some(problem),
            warning: None,
            before: Before::Keep,
            login: None,
        }))
    }
}
