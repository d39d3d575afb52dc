//! Live children by service, fed by watches and by the answers to our own writes. No requests.

mod note;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use crds::SERVICE_LABEL;
use kube::{ResourceExt, core::DynamicObject};
use render::Kind;

pub use note::{Note, ProvidedNote, SecretNote, ValuesNote};

use crate::{
    compare, drift,
    refusal::Refusal,
    version::{exactly, progress},
};

/// A service by namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Everything that watches have seen of the children, indexed by the service whose label they carry.
#[derive(Default)]
pub struct Cache {
    inner: RwLock<Inner>,
}

#[derive(Default)]
struct Inner {
    objects: HashMap<Id, (Arc<DynamicObject>, Key)>,
    services: HashMap<Key, BTreeSet<(Kind, String)>>,
    namespaces: BTreeMap<String, Namespace>,
    notes: HashMap<Id, Note>,
    /// How far the watch of a kind has come in a namespace.
    watched: HashMap<(Kind, String), u128>,
}

type Id = (Kind, String, String);

/// What the operator knows of a namespace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Namespace {
    /// The annotation's host patterns; `None` when the namespace is not onboarded.
    pub allowed_hosts: Option<Vec<String>>,
    /// Its deletion has begun: nothing can be created there any more (V10).
    pub terminating: bool,
    /// Whether the list of its Secrets has arrived.
    pub secrets: Secrets,
}

/// State of the watch on a namespace's Secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Secrets {
    /// The list has not arrived yet.
    #[default]
    Unknown,
    /// The list is complete.
    Known,
    /// The API server refuses the list (the RoleBinding is missing) or the watch.
    Denied(Refusal),
}

impl Cache {
    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in an object that the watch shows; returns the services that it concerns. An older version than the known
    /// one changes nothing: a watch may run behind the answer to our own write.
    pub fn insert(&self, kind: Kind, object: DynamicObject) -> BTreeSet<Key> {
        let mut inner = self.write();
        inner.pass(kind, &object);
        inner.insert(kind, object)
    }

    /// Takes in the answer to our own write. When the watch is further and does not have the object, then it is gone
    /// or lost its label meanwhile, and nothing would ever correct a cache that still had it.
    pub fn insert_answer(&self, kind: Kind, object: DynamicObject) {
        let namespace = object.namespace().unwrap_or_default();
        let mut inner = self.write();
        let known = inner.objects.contains_key(&(kind, namespace.clone(), object.name_any()));
        let watched = inner.watched.get(&(kind, namespace)).copied().unwrap_or_default();
        if known || progress(&object) > watched {
            inner.insert(kind, object);
        }
    }

    /// Forgets an object; returns the services that it concerned.
    pub fn remove(&self, kind: Kind, object: &DynamicObject) -> BTreeSet<Key> {
        let id = (kind, object.namespace().unwrap_or_default(), object.name_any());
        let mut inner = self.write();
        inner.pass(kind, object);
        if inner.objects.get(&id).is_some_and(|(known, _)| progress(&**known) > progress(object)) {
            return BTreeSet::new();
        }
        inner.notes.remove(&id);
        inner.forget(&id)
    }

    /// Replaces everything of one kind (in one namespace, or in all) by a complete list.
    pub fn replace(&self, kind: Kind, namespace: Option<&str>, objects: Vec<DynamicObject>) -> BTreeSet<Key> {
        let mut inner = self.write();
        let listed: BTreeSet<Id> =
            objects.iter().map(|o| (kind, o.namespace().unwrap_or_default(), o.name_any())).collect();
        let gone: Vec<Id> = inner
            .objects
            .keys()
            .filter(|id| id.0 == kind && namespace.is_none_or(|n| n == id.1) && !listed.contains(*id))
            .cloned()
            .collect();
        let mut touched: BTreeSet<Key> = gone
            .iter()
            .flat_map(|id| {
                inner.notes.remove(id);
                inner.forget(id)
            })
            .collect();
        for object in objects {
            inner.pass(kind, &object);
            touched.extend(inner.insert(kind, object));
        }
        touched
    }

    /// One object by name.
    pub fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<Arc<DynamicObject>> {
        let id = (kind, namespace.to_owned(), name.to_owned());
        self.read().objects.get(&id).map(|(object, _)| object.clone())
    }

    /// Every object with the label of this service.
    pub fn of(&self, key: &Key) -> Vec<(Kind, Arc<DynamicObject>)> {
        let inner = self.read();
        let ids = inner.services.get(key).into_iter().flatten();
        ids.filter_map(|(kind, name)| {
            let id = (*kind, key.namespace.clone(), name.clone());
            inner.objects.get(&id).map(|(object, _)| (*kind, object.clone()))
        })
        .collect()
    }

    /// Every object of a kind, by the service whose label it carries.
    pub fn all(&self, kind: Kind) -> Vec<(Key, Arc<DynamicObject>)> {
        let inner = self.read();
        let of_kind = inner.objects.iter().filter(|(id, _)| id.0 == kind);
        of_kind.map(|(_, (object, key))| (key.clone(), object.clone())).collect()
    }

    /// What is remembered of a child.
    pub fn note(&self, kind: Kind, namespace: &str, name: &str) -> Note {
        let id = (kind, namespace.to_owned(), name.to_owned());
        self.read().notes.get(&id).cloned().unwrap_or_default()
    }

    /// Remembers something of a child; forgotten with it.
    pub fn remember(&self, kind: Kind, namespace: &str, name: &str, change: impl FnOnce(&mut Note)) {
        let id = (kind, namespace.to_owned(), name.to_owned());
        change(self.write().notes.entry(id).or_default());
    }

    /// A difference of this child is a change of ours. After a restart no target is remembered, and what changed meanwhile
    /// would be taken for drift.
    pub fn expect_change(&self, kind: Kind, namespace: &str, name: &str) {
        self.remember(kind, namespace, name, |note| {
            note.target.get_or_insert_default();
        });
    }

    /// What is known of a namespace; `None` when it was never seen.
    pub fn namespace(&self, name: &str) -> Option<Namespace> {
        self.read().namespaces.get(name).cloned()
    }

    /// Changes what is known of a namespace; returns whether it changed.
    pub fn set_namespace(&self, name: &str, change: impl FnOnce(&mut Namespace)) -> bool {
        let mut inner = self.write();
        let entry = inner.namespaces.entry(name.to_owned()).or_default();
        let before = entry.clone();
        change(entry);
        *entry != before
    }

    /// Why the Secrets of a namespace are not seen.
    pub fn refused_secrets(&self, namespace: &str) -> Option<Refusal> {
        match &self.read().namespaces.get(namespace)?.secrets {
            Secrets::Denied(refusal) => Some(refusal.clone()),
            Secrets::Known | Secrets::Unknown => None,
        }
    }

    /// Names of all that are known.
    pub fn namespaces(&self) -> Vec<String> {
        self.read().namespaces.keys().cloned().collect()
    }

    /// Forgets a namespace.
    pub fn remove_namespace(&self, name: &str) {
        let mut inner = self.write();
        inner.namespaces.remove(name);
        inner.watched.retain(|(_, namespace), _| namespace != name);
    }
}

impl Inner {
    /// The watch has shown this version.
    fn pass(&mut self, kind: Kind, object: &DynamicObject) {
        let mark = self.watched.entry((kind, object.namespace().unwrap_or_default())).or_default();
        *mark = progress(object).max(*mark);
    }

    fn insert(&mut self, kind: Kind, mut object: DynamicObject) -> BTreeSet<Key> {
        let namespace = object.namespace().unwrap_or_default();
        let id = (kind, namespace.clone(), object.name_any());
        if self.objects.get(&id).is_some_and(|(known, _)| progress(&**known) >= progress(&object)) {
            return BTreeSet::new();
        }
        drift::forget_fields(&mut object.metadata);
        if let Some((known, key)) = self.objects.get_mut(&id)
            && compare::only_status_differs(kind, known, &object)
        {
            let is_read = matches!(kind, Kind::Deployment | Kind::Job | Kind::Certificate);
            // What was found right is right still. Otherwise a pass has yet to look, or lost a race to this change.
            let right = self.notes.get_mut(&id).filter(|note| note.version == exactly(&**known));
            let concerns = is_read || right.is_none();
            if let Some(note) = right {
                note.version = exactly(&object);
            }
            *known = Arc::new(object);
            return concerns.then(|| key.clone()).into_iter().collect();
        }
        let mut touched = self.forget(&id);
        if let Some(service) = object.labels().get(SERVICE_LABEL) {
            let key = Key { namespace, name: service.clone() };
            self.services.entry(key.clone()).or_default().insert((kind, id.2.clone()));
            self.objects.insert(id, (Arc::new(object), key.clone()));
            touched.insert(key);
        }
        touched
    }

    fn forget(&mut self, id: &Id) -> BTreeSet<Key> {
        let Some((_, key)) = self.objects.remove(id) else { return BTreeSet::new() };
        if let Some(names) = self.services.get_mut(&key) {
            names.remove(&(id.0, id.2.clone()));
            if names.is_empty() {
                self.services.remove(&key);
            }
        }
        BTreeSet::from([key])
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
