//! Objects of others in the place of a child: whether the spec takes them over, and what to tell the user. Only the
//! dry run of an offer is asked here.

use crds::{ChildState, HardenedService, Reason};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{ResourceExt, core::DynamicObject};
use render::{Kind, Outcome, Problem};
use serde_json::Value;

use crate::{
    compare::{self, Digest, digest, essence},
    drift,
    error::Error,
    events::{Happening, Severity},
    refusal::Refusal,
    write::{Writer, object, params},
};

/// Why an object that is not ours stays as it is.
#[derive(Debug, PartialEq, Eq)]
pub enum Foreign {
    /// Another object of that name is listed, by this uid.
    OtherUid(String),
    /// The spec does not list it.
    Unlisted,
    /// It has a controller, named here: it is never taken over.
    Controlled(String),
    /// Of this kind nothing is ever taken over.
    Never,
}

/// What an adoption would change, asked once for each version of the object and of the child.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    pair: (Digest, Digest),
    text: String,
}

/// Whether `spec.adopt` lists the object.
pub fn listed(service: &HardenedService, kind: Kind, metadata: &ObjectMeta) -> Result<(), Foreign> {
    let controller = metadata.owner_references.iter().flatten().find(|r| r.controller == Some(true));
    if let Some(controller) = controller {
        return Err(Foreign::Controlled(format!("{} {}", controller.kind, controller.name)));
    }
    // With a Certificate came the Secret that cert-manager writes for it.
    if matches!(kind, Kind::Secret | Kind::Certificate) {
        return Err(Foreign::Never);
    }
    let mut entries = service.spec.adopt.iter().filter(|entry| entry.kind.as_str() == kind.as_str());
    match entries.find(|entry| Some(&entry.name) == metadata.name.as_ref()) {
        None => Err(Foreign::Unlisted),
        Some(entry) if Some(&entry.uid) == metadata.uid.as_ref() => Ok(()),
        Some(entry) => Err(Foreign::OtherUid(entry.uid.clone())),
    }
}

impl Writer<'_> {
    /// The object stays as it is; the message shows the ways out.
    pub async fn conflict(
        &self,
        live: &DynamicObject,
        desired: &Value,
        foreign: Foreign,
    ) -> Result<Outcome, Error> {
        let service = self.pass.service.name_any();
        let (kind, name) = (self.child.kind.as_str(), &self.child.name);
        let message = match foreign {
            Foreign::Controlled(controller) => format!(
                "{kind} {name} already exists and belongs to {controller}; what has a controller is never taken over: delete or \
                 rename it, or rename HardenedService {service}"
            ),
            Foreign::OtherUid(uid) => format!(
                "{kind} {name} already exists and belongs to somebody else; spec.adopt lists it with the uid {uid}, but its uid is \
                 {}: look at it, then correct the entry, delete the object or rename it",
                live.uid().unwrap_or_default()
            ),
            Foreign::Never => format!(
                "{kind} {name} already exists and belongs to somebody else; delete or rename it, or rename HardenedService {service}"
            ),
            Foreign::Unlisted => format!(
                "{kind} {name} already exists and belongs to somebody else; delete or rename it, rename HardenedService {service}, or \
                 take it over by the entry {{kind: {kind}, name: {name}, uid: {}}} in spec.adopt, {}",
                live.uid().unwrap_or_default(),
                self.offer(live, desired).await?
            ),
        };
        let problem = Problem { reason: Reason::NameConflict, message };
        Ok(self.outcome(None, ChildState::Conflict, Some(problem)))
    }

    /// What taking the object over would change.
    async fn offer(&self, live: &DynamicObject, desired: &Value) -> Result<String, Error> {
        let (cache, namespace) = (&self.pass.ctx.cache, &self.pass.key.namespace);
        let (kind, name) = (self.child.kind, &self.child.name);
        let before = compare::json(live);
        let target = compare::target(kind, &before, desired, self.pass.rules);
        let pair = (digest(&essence(&before)), digest(&essence(&target)));
        if let Some(offer) = cache.note(kind, namespace, name).offer.filter(|offer| offer.pair == pair) {
            return Ok(offer.text);
        }
        let put = object(&target).map_err(kube::Error::SerdeError)?;
        let text = match self.api().replace(name, &params(true), &put).await {
            Ok(answer) => {
                let paths = compare::paths(&essence(&before), &essence(&compare::json(&answer)));
                format!("which changes {}", changed(paths))
            }
            Err(kube::Error::Api(s)) if s.is_invalid() => {
                format!("which is not possible: {}", self.unchangeable(&s.message))
            }
            // It changed or went meanwhile; the next pass asks again.
            Err(kube::Error::Api(s)) if s.is_conflict() || s.is_not_found() => {
                return Ok("which changes it".into());
            }
            Err(kube::Error::Api(s)) if let Some(refusal) = Refusal::of(&s) => {
                return Ok(format!("which the operator may not ask: {refusal}"));
            }
            Err(kube::Error::Api(s)) => format!("which the API server refuses: {}", s.message),
            Err(error) => return Err(error.into()),
        };
        cache.remember(kind, namespace, name, |n| n.offer = Some(Offer { pair, text: text.clone() }));
        Ok(text)
    }

    /// Why an existing object cannot become the child, and what to do.
    pub fn unchangeable(&self, refusal: &str) -> String {
        let (kind, name, namespace) = (self.child.kind.as_str(), &self.child.name, &self.pass.key.namespace);
        if self.child.kind == Kind::Deployment && refusal.contains("spec.selector") {
            return format!(
                "{kind} {name}: its selector differs from {{{}: {}}} and cannot be changed; to keep its pods until the new ones are ready, remove \
                 the Deployment alone: kubectl -n {namespace} delete deployment {name} --cascade=orphan",
                crds::SERVICE_LABEL,
                self.pass.key.name
            );
        }
        format!("{kind} {name}: {refusal}")
    }

    /// Told before it happens: afterwards nobody can look at what was there.
    pub async fn announce_adoption(&self, live: &DynamicObject, paths: &[String]) {
        let (kind, name) = (self.child.kind.as_str(), &self.child.name);
        let uid = live.uid().unwrap_or_default();
        let note = format!("taking over {kind} {name} (uid {uid}); this changes {}", changed(paths.to_vec()));
        tracing::info!(kind, name, uid, ?paths, "adopting");
        let happening = Happening { severity: Severity::Normal, reason: "Adopting", action: "Adopt", note };
        self.pass.ctx.events.publish(self.pass.service, happening).await;
    }
}

/// The paths with what runs first: of names and labels there are many, and they matter least.
fn changed(mut paths: Vec<String>) -> String {
    paths.sort_by_key(|path| path.contains("metadata."));
    drift::shown(&paths, 16)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const UID: &str = "11111111-2222-3333-4444-555555555555";

    fn service(adopt: &Value) -> HardenedService {
        serde_json::from_value(json!({
            "apiVersion": "hardened.dev/v1alpha1", "kind": "HardenedService", "metadata": {"name": "studio"},
            "spec": {"environment": "staging", "workload": {"image": "example.com/app:1"}, "adopt": adopt}
        }))
        .expect("a service")
    }

    fn metadata(uid: &str, owners: &Value) -> ObjectMeta {
        serde_json::from_value(json!({"name": "studio", "uid": uid, "ownerReferences": owners}))
            .expect("metadata")
    }

    #[test]
    fn only_kind_name_and_uid_together_take_an_object_over() {
        let named = service(&json!([{"kind": "Service", "name": "studio", "uid": UID}]));
        let of = |kind, uid| listed(&named, kind, &metadata(uid, &json!([])));
        assert_eq!(of(Kind::Service, UID), Ok(()));
        assert_eq!(of(Kind::Service, "another"), Err(Foreign::OtherUid(UID.into())));
        assert_eq!(of(Kind::Deployment, UID), Err(Foreign::Unlisted));
        let other = service(&json!([{"kind": "Service", "name": "studio-2", "uid": UID}]));
        assert_eq!(listed(&other, Kind::Service, &metadata(UID, &json!([]))), Err(Foreign::Unlisted));
    }

    #[test]
    fn what_has_a_controller_is_never_taken_over_and_an_owner_is_no_controller() {
        let named = service(&json!([{"kind": "Service", "name": "studio", "uid": UID}]));
        let owner = |controller| json!([{"apiVersion": "v1", "kind": "App", "name": "shop", "uid": "x", "controller": controller}]);
        let of = |controller| listed(&named, Kind::Service, &metadata(UID, &owner(controller)));
        assert_eq!(of(true), Err(Foreign::Controlled("App shop".into())));
        assert_eq!(of(false), Ok(()));
    }
}
