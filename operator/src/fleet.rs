//! How many services restart at the same time because values changed: a path of Vault that two hundred share must not take
//! all of their pods at once, and a value that breaks them must not break them all.
//!
//! What restarts is read from the Deployments themselves, so that the count is right also after a crash.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crds::{LAST_CHANGE_ANNOTATION, Reason, RestartCause};
use kube::{ResourceExt, core::DynamicObject};
use render::{Kind, Problem};
use serde_json::Value;

use crate::cache::{Cache, Key};

/// The budget.
pub struct Fleet {
    most: usize,
    /// Admitted, and not in the cache yet.
    admitted: Mutex<BTreeSet<Key>>,
}

/// The right to restart, until the restart has been written.
pub struct Admission<'a> {
    fleet: &'a Fleet,
    key: &'a Key,
}

impl Fleet {
    /// With so many at once.
    pub fn new(most: usize) -> Self {
        Self { most, admitted: Mutex::default() }
    }

    /// Whether one more may restart now.
    pub fn admit<'a>(&'a self, cache: &Cache, key: &'a Key) -> Result<Admission<'a>, Problem> {
        let mut admitted = self.admitted();
        let mut busy: BTreeSet<Key> = cache
            .all(Kind::Deployment)
            .into_iter()
            .filter_map(|(service, live)| is_restarting(&live).then_some(service))
            .collect();
        busy.extend(admitted.iter().cloned());
        busy.remove(key);
        if busy.len() >= self.most {
            return Err(self.full());
        }
        admitted.insert(key.clone());
        drop(admitted);
        Ok(Admission { fleet: self, key })
    }

    fn full(&self) -> Problem {
        Problem {
            reason: Reason::RestartWaits,
            message: format!(
                "the restart for new values of spec.secrets waits: {} other services restart for theirs (settings \
                 restarts.atOnce)",
                self.most
            ),
        }
    }

    fn admitted(&self) -> MutexGuard<'_, BTreeSet<Key>> {
        self.admitted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        self.fleet.admitted().remove(self.key);
    }
}

/// How the restart of a Deployment's pods for new values stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is done, or the pods' last change was for something else.
    Settled,
    /// New values are on their way to the pods.
    UnderWay,
    /// Its deadline is over; the message is the Deployment's.
    GivenUp(String),
}

/// One that has given up is on its way no more.
fn is_restarting(live: &DynamicObject) -> bool {
    standing(live) == Standing::UnderWay
}

/// As the Deployment's status tells.
pub fn standing(live: &DynamicObject) -> Standing {
    let change = live.annotations().get(LAST_CHANGE_ANNOTATION);
    let cause = change.and_then(|change| serde_json::from_str::<Value>(change).ok()?.get("cause").cloned());
    if cause.and_then(|cause| serde_json::from_value(cause).ok()) != Some(RestartCause::SecretsChanged) {
        return Standing::Settled;
    }
    let number = |path: &str| live.data.pointer(path).and_then(Value::as_i64);
    let wanted = number("/spec/replicas").unwrap_or(1);
    let seen = number("/status/observedGeneration") >= live.metadata.generation;
    let count = |name: &str| number(&format!("/status/{name}")).unwrap_or(0);
    let done = count("updatedReplicas") >= wanted
        && count("availableReplicas") >= wanted
        && count("replicas") <= count("updatedReplicas");
    match seen.then(|| given_up(&live.data)).flatten() {
        _ if seen && done => Standing::Settled,
        Some(message) => Standing::GivenUp(message.to_owned()),
        None => Standing::UnderWay,
    }
}

fn given_up(deployment: &Value) -> Option<&str> {
    let conditions = deployment.pointer("/status/conditions")?.as_array()?;
    let exceeded = |c: &&Value| c["type"] == "Progressing" && c["reason"] == "ProgressDeadlineExceeded";
    Some(conditions.iter().find(exceeded)?["message"].as_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(name: &str) -> Key {
        Key { namespace: "team".into(), name: name.into() }
    }

    fn deployment(name: &str, version: u32, cause: &str, status: &Value) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 2}, "status": status,
            "metadata": {
                "name": name, "namespace": "team", "generation": 4, "resourceVersion": version.to_string(),
                "labels": {"hardened.dev/service": name},
                "annotations": {"hardened.dev/last-change": json!({"cause": cause}).to_string()},
            },
        }))
        .unwrap()
    }

    fn half() -> Value {
        json!({"observedGeneration": 4, "replicas": 3, "updatedReplicas": 1, "availableReplicas": 2})
    }

    fn done() -> Value {
        json!({"observedGeneration": 4, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2})
    }

    #[test]
    fn a_deployment_restarts_until_its_pods_are_all_new_and_there_or_it_gave_up() {
        let of = |cause: &str, status: Value| is_restarting(&deployment("a", 1, cause, &status));
        assert!(of("SecretsChanged", half()) && !of("SpecChanged", half()));
        assert!(!of("SecretsChanged", done()));
        let mut unseen = done();
        unseen["observedGeneration"] = json!(3);
        assert!(of("SecretsChanged", unseen) && of("SecretsChanged", Value::Null));
        let mut given_up = half();
        given_up["conditions"] = json!([{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]);
        assert!(!of("SecretsChanged", given_up));
    }

    #[test]
    fn one_more_is_admitted_when_another_is_done_and_who_restarts_already_is_not_counted_twice() {
        let (cache, fleet) = (Cache::default(), Fleet::new(2));
        cache.insert(Kind::Deployment, deployment("a", 1, "SecretsChanged", &half()));
        let (b, c, a) = (key("b"), key("c"), key("a"));
        let admitted = fleet.admit(&cache, &b);
        assert!(admitted.is_ok() && fleet.admit(&cache, &c).is_err());
        assert!(fleet.admit(&cache, &a).is_ok(), "it restarts already");
        drop(admitted);
        assert!(fleet.admit(&cache, &c).is_ok(), "the write of b failed");
        cache.insert(Kind::Deployment, deployment("b", 2, "SecretsChanged", &half()));
        assert!(fleet.admit(&cache, &c).is_err());
        cache.insert(Kind::Deployment, deployment("a", 3, "SecretsChanged", &done()));
        assert!(fleet.admit(&cache, &c).is_ok());
    }
}
