//! What the children of each service were last rendered to, by digest, and from what. While nothing of that changes, a
//! pass over children that are all in place renders nothing: most passes follow a change of somebody's status.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crds::HardenedService;
use kube::ResourceExt;
use render::{Body, Child, Facts, Kind};
use serde_json::json;

use crate::{
    cache::Key,
    compare::{Digest, digest},
};

/// All services of one term; the settings, which rendering depends on too, are the same throughout.
#[derive(Default)]
pub struct Rendered(Mutex<HashMap<Key, (Digest, Children)>>);

/// In the order in which they are applied.
pub type Children = Arc<[Last]>;

/// One child.
pub struct Last {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Digest of its desired form; nothing for the TLS Secret, whose content is decided elsewhere.
    pub digest: Option<Digest>,
}

impl Rendered {
    /// What was rendered from exactly this.
    pub fn get(&self, key: &Key, from: Digest) -> Option<Children> {
        let (last, children) = self.all().get(key)?.clone();
        (last == from).then_some(children)
    }

    /// Remembers children and what they were rendered from.
    pub fn set(&self, key: &Key, from: Digest, children: Children) {
        self.all().insert(key.clone(), (from, children));
    }

    /// The service is gone.
    pub fn forget(&self, key: &Key) {
        self.all().remove(key);
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Key, (Digest, Children)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Digests of rendered children.
pub fn digests(children: &[Child]) -> Children {
    let last = |child: &Child| Last {
        kind: child.kind,
        name: child.name.clone(),
        digest: match &child.body {
            Body::Object(desired) => Some(digest(desired)),
            Body::Secret(_) => None,
        },
    };
    children.iter().map(last).collect()
}

/// Everything that rendering depends on and that can change in a term. The generation stands for the whole spec; labels,
/// annotations and status of the service reach no child.
pub fn source(service: &HardenedService, facts: &Facts) -> Digest {
    let Facts { settings: _, allowed_hosts, ca_bundle, restart_hash, live_replicas } = facts;
    let service = (service.namespace(), service.name_any(), service.uid(), service.metadata.generation);
    digest(&json!([service, allowed_hosts, ca_bundle, restart_hash, live_replicas]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(generation: i64, uid: &str) -> HardenedService {
        let spec = json!({"environment": "staging", "workload": {"image": "a:1"}});
        let metadata = json!({"name": "a", "namespace": "b", "uid": uid, "generation": generation});
        serde_json::from_value(json!({
            "apiVersion": "hardened.dev/v1alpha1", "kind": "HardenedService", "metadata": metadata, "spec": spec
        }))
        .unwrap()
    }

    #[test]
    fn whatever_rendering_depends_on_makes_another_source() {
        let facts = Facts { ca_bundle: "pem".into(), live_replicas: Some(2), ..Facts::default() };
        let last = source(&service(1, "u"), &facts);
        assert_eq!(last, source(&service(1, "u"), &facts.clone()));
        let others = [
            source(&service(2, "u"), &facts),
            source(&service(1, "v"), &facts),
            source(&service(1, "u"), &Facts { ca_bundle: "other".into(), ..facts.clone() }),
            source(&service(1, "u"), &Facts { restart_hash: "v1".into(), ..facts.clone() }),
            source(&service(1, "u"), &Facts { live_replicas: Some(3), ..facts.clone() }),
            source(&service(1, "u"), &Facts { allowed_hosts: vec!["a.example".into()], ..facts.clone() }),
        ];
        assert!(others.iter().all(|other| *other != last));
    }

    #[test]
    fn what_was_rendered_from_something_else_is_not_given() {
        let (rendered, key) = (Rendered::default(), Key { namespace: "a".into(), name: "b".into() });
        rendered.set(&key, [1; 32], Arc::new([]));
        assert!(rendered.get(&key, [1; 32]).is_some() && rendered.get(&key, [2; 32]).is_none());
        rendered.forget(&key);
        assert!(rendered.get(&key, [1; 32]).is_none());
    }
}
