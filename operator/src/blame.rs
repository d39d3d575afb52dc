//! Whose difference is it, and what follows: the cause in the ledger of restarts, the wait in a fight, the event. It
//! writes to no child.

use crds::{Reason, RestartCause};
use k8s_openapi::api::apps::v1::Deployment;
use kube::core::DynamicObject;
use render::{Change, Kind, Problem};
use serde_json::Value;

use crate::{
    compare::{self, Digest},
    drift,
    events::{Happening, Severity},
    fight::{Decision, Flip, Pair},
    fleet::Admission,
    harmless, metrics,
    secrets::Awaited,
    write::Writer,
};

impl Writer<'_> {
    /// The same target as at the last write: the difference is somebody else's. After a restart nothing is remembered;
    /// then it is drift unless the spec changed meanwhile.
    pub fn cause(
        &self,
        adopting: bool,
        last: Option<Digest>,
        wanted: Digest,
        (live, paths): (&DynamicObject, &[String]),
    ) -> RestartCause {
        let service = self.pass.service;
        let hash_only = is_hash_only(paths);
        // Also after a crash between the values and the pods' restart, when nothing else is remembered of it.
        if let Some(awaited) = self.awaited(live).filter(|_| hash_only) {
            return if awaited.reverted {
                RestartCause::SecretsReverted
            } else {
                RestartCause::SecretsChanged
            };
        }
        let seen = service.status.as_ref().and_then(|s| s.observed_generation);
        match last.map_or(seen == service.metadata.generation, |last| last == wanted) {
            _ if adopting => RestartCause::Adopted,
            true => RestartCause::DriftReverted,
            false if hash_only => RestartCause::CertificateRenewed,
            false => RestartCause::SpecChanged,
        }
    }

    /// What the ledger will say of a new pod template; nothing when the template stays.
    pub fn change(
        &self,
        cause: RestartCause,
        paths: &[String],
        live: &DynamicObject,
        next: &DynamicObject,
    ) -> Option<Change> {
        if self.child.kind != Kind::Deployment {
            return None;
        }
        let parse = |object: &DynamicObject| object.clone().try_parse::<Deployment>().ok();
        let names = self
            .awaited(live)
            .filter(|_| matches!(cause, RestartCause::SecretsChanged | RestartCause::SecretsReverted));
        let names = names.map(|awaited| awaited.names.clone());
        let changed = || paths.iter().filter(|path| path.starts_with("spec.template.")).cloned().collect();
        let keys = names.unwrap_or_else(changed);
        let ledger = self.pass.service.status.as_ref().map(|s| &*s.restarts).unwrap_or_default();
        Change::new(cause, keys, (&parse(live)?, &parse(next)?), ledger, self.pass.now)
    }

    /// The change of values that this Deployment's pods have not seen.
    fn awaited(&self, live: &DynamicObject) -> Option<&Awaited> {
        let awaited = self.pass.awaited.filter(|_| self.child.kind == Kind::Deployment);
        awaited.filter(|awaited| awaited.is_for(live))
    }

    /// The right to restart the pods, where they would restart for new values only.
    pub fn admission(
        &self,
        live: &DynamicObject,
        (before, after): (&Value, &Value),
    ) -> Result<Option<Admission<'_>>, Problem> {
        // Pods that do not start are not left waiting for those of others.
        let is_new = self.awaited(live).is_some_and(|awaited| !awaited.reverted);
        let for_values = is_new && is_hash_only(&compare::paths(before, after));
        let ctx = self.pass.ctx;
        for_values.then(|| ctx.fleet.admit(&ctx.cache, self.pass.key)).transpose()
    }

    /// Whether a difference that somebody else made stays for a while, because he makes it again and again.
    pub async fn must_wait(&self, before: &Value, paths: &[String], pair: Pair) -> bool {
        let fields = drift::managed_fields(before);
        let security = harmless::is_security(self.child.kind, paths);
        let flip = Flip { paths, security, pair };
        let object = self.pass.object(self.child);
        let (decision, began) =
            self.pass.ctx.fights.decide(&object, drift::manager(&fields), flip, self.pass.now);
        if let Some(note) = began {
            let reason = Reason::FieldFight.as_str();
            let happening = Happening { severity: Severity::Warning, reason, action: "Restore", note };
            self.pass.ctx.events.publish(self.pass.service, happening).await;
        }
        decision == Decision::Wait
    }

    /// Metric, log and event of a difference that was undone.
    pub async fn report_drift(&self, before: &Value, paths: &[String]) {
        let fields = drift::managed_fields(before);
        let manager = drift::manager(&fields);
        let kind = self.child.kind.as_str();
        let (fights, object) = (&self.pass.ctx.fights, self.pass.object(self.child));
        fights.restored(&object, manager, paths, self.pass.now);
        let labels = metrics::Drift { kind, manager: drift::label(manager) };
        self.pass.ctx.metrics.drift.get_or_create(&labels).inc();
        let note = drift::note(kind, &self.child.name, paths, manager);
        tracing::warn!(kind, manager, ?paths, "drift undone");
        let happening =
            Happening { severity: Severity::Warning, reason: "DriftReverted", action: "Restore", note };
        self.pass.ctx.events.publish(self.pass.service, happening).await;
    }
}

/// Whether the pods would restart, and nothing else change.
fn is_hash_only(paths: &[String]) -> bool {
    paths.iter().all(|path| path.ends_with(crds::RESTART_ANNOTATION))
}
