//! The services as the operator knows them: the newer of what the watch shows and what our last status write answered.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crds::HardenedService;
use kube::{
    ResourceExt,
    core::DeserializeGuard,
    runtime::reflector::{ObjectRef, Store},
};

use crate::{cache::Key, key_of, version::progress, watch::Guarded};

/// Without the answers, a pass that runs before the watch has caught up would write the same status again.
pub struct Services {
    watched: Store<Guarded>,
    written: Mutex<HashMap<Key, Arc<Guarded>>>,
}

impl Services {
    /// With the store that the watch fills.
    pub fn new(watched: Store<Guarded>) -> Self {
        Self { watched, written: Mutex::default() }
    }

    /// The newest version known; `None` when the service is gone.
    pub fn newest(&self, of: &ObjectRef<Guarded>) -> Option<Arc<Guarded>> {
        // In this order: an answer goes only after the watch has shown it, so one of the two has it at any time.
        let written = self.written().get(&key(of)).cloned();
        let seen = self.watched.get(of)?;
        Some(match written {
            Some(written) if written.uid() == seen.uid() && progress(&*written) > progress(&*seen) => written,
            _ => seen,
        })
    }

    /// Remembers the answer to a status write.
    pub fn answered(&self, service: HardenedService) {
        self.written().insert(key_of(&service), Arc::new(DeserializeGuard(Ok(service))));
    }

    /// Whether the watch shows exactly what our last status write answered. The pass that wrote it knew all of it.
    pub fn is_answer(&self, seen: &Guarded) -> bool {
        let written = self.written();
        let written = written.get(&key_of(seen));
        written.is_some_and(|written| written.uid() == seen.uid() && progress(&**written) == progress(seen))
    }

    /// The store has this version now: an answer that is not newer is not needed any more.
    pub fn caught_up(&self, key: &Key, seen: u128) {
        let mut written = self.written();
        if written.get(key).is_some_and(|written| progress(&**written) <= seen) {
            written.remove(key);
        }
    }

    /// The service is gone.
    pub fn forget(&self, key: &Key) {
        self.written().remove(key);
    }

    /// Those of one namespace, or all.
    pub fn within(&self, namespace: Option<&str>) -> Vec<Key> {
        let all = self.watched.state();
        let keys = all.iter().map(|service| key_of(&**service));
        keys.filter(|key| namespace.is_none_or(|name| key.namespace == name)).collect()
    }

    fn written(&self) -> MutexGuard<'_, HashMap<Key, Arc<Guarded>>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(of: &ObjectRef<Guarded>) -> Key {
    Key { namespace: of.namespace.clone().unwrap_or_default(), name: of.name.clone() }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use kube::runtime::{reflector, watcher::Event};
    use serde_json::json;

    use super::*;

    fn service(version: u64, uid: &str) -> HardenedService {
        let metadata =
            json!({"name": "shop", "namespace": "acme", "uid": uid, "resourceVersion": version.to_string()});
        let spec = json!({"environment": "staging", "workload": {"image": "registry.example/shop:1"}});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
    }

    fn guarded(version: u64, uid: &str) -> Guarded {
        DeserializeGuard(Ok(service(version, uid)))
    }

    #[test]
    fn the_newer_of_watch_and_answer_counts_but_not_the_answer_of_a_namesake() {
        let (store, mut writer) = reflector::store();
        let services = Services::new(store);
        let of = ObjectRef::from_obj(&guarded(9, "a"));
        services.answered(service(9, "a"));
        assert!(services.newest(&of).is_none(), "an answer for a service that the watch does not have");
        for (watched, uid, newest) in [(8, "a", 9), (10, "a", 10), (2, "b", 2)] {
            writer.apply_watcher_event(&Event::Apply(guarded(watched, uid)));
            assert_eq!(services.newest(&of).map(|service| progress(&*service)), Some(newest));
        }
        assert_eq!(services.within(Some("acme")), [key(&of)]);
        assert!(services.within(Some("other")).is_empty());
    }

    #[test]
    fn only_the_very_version_of_the_answer_is_no_news() {
        let services = Services::new(reflector::store().0);
        assert!(!services.is_answer(&guarded(9, "a")), "nothing was written");
        services.answered(service(9, "a"));
        let news =
            [(9, "a"), (8, "a"), (10, "a"), (9, "b")].map(|(v, uid)| !services.is_answer(&guarded(v, uid)));
        assert_eq!(news, [false, true, true, true]);
    }

    /// A pass that begins in the moment in which the watch catches up would compute from the version before, and the
    /// server would refuse its status (409): one request for nothing.
    #[test]
    fn nobody_sees_an_older_version_than_the_last_answer_while_the_watch_catches_up() {
        let (store, mut writer) = reflector::store();
        writer.apply_watcher_event(&Event::Apply(guarded(0, "a")));
        let (services, last) = (Services::new(store), AtomicU64::new(0));
        let of = ObjectRef::from_obj(&guarded(0, "a"));
        std::thread::scope(|threads| {
            let watch = threads.spawn(|| {
                for next in 1..20_000 {
                    services.answered(service(next, "a"));
                    last.store(next, Ordering::SeqCst);
                    writer.apply_watcher_event(&Event::Apply(guarded(next, "a")));
                    services.caught_up(&key(&of), next.into());
                }
            });
            while !watch.is_finished() {
                let answered = last.load(Ordering::SeqCst);
                let newest = services.newest(&of).map(|service| progress(&*service));
                assert!(newest >= Some(answered.into()), "{newest:?} after {answered}");
            }
        });
    }
}
