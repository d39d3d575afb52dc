//! Watches that feed the cache and the queue: services, namespaces, every kind of child by our label, the metadata of
//! Secrets in each onboarded namespace, our `CustomResourceDefinition`, and cert-manager's Certificates where they are used.

mod certificates;
mod follow;
mod namespaces;
mod states;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use crds::{HardenedService, SERVICE_LABEL};
use futures::channel::mpsc::UnboundedSender;
use kube::{
    Api, ResourceExt,
    core::{DeserializeGuard, DynamicObject},
    runtime::{
        controller::ReconcileRequest,
        reflector::{ObjectRef, store::Writer},
        watcher::{self, Event},
    },
};
use render::Kind;
use tokio::task::JoinSet;

use crate::{Context, cache::Key, crd, key_of, version::progress};

pub use certificates::{Wanted, are_seen};
pub use follow::{Change, follow};
pub use states::{DEFINITION, NAMESPACES, SERVICES, Scope, State, Watches};

/// The resource as the queue carries it: one that cannot be read must not stop the watch of the others.
pub type Guarded = DeserializeGuard<HardenedService>;

/// Sends services to the queue.
#[derive(Clone)]
pub struct Queue(pub UnboundedSender<ReconcileRequest<Guarded>>);

impl Queue {
    /// Asks for a pass over each.
    pub fn push(&self, keys: impl IntoIterator<Item = Key>) {
        for key in keys {
            // The receiver is gone only while the operator shuts down.
            let _ = self.0.unbounded_send(ObjectRef::new(&key.name).within(&key.namespace).into());
        }
    }
}

/// What a watch works with.
pub struct Feed {
    /// Caches and client.
    pub ctx: Arc<Context>,
    /// The queue.
    pub queue: Queue,
    /// What it watches.
    pub scope: Scope,
}

impl Feed {
    /// Notes how far the watch is. Services wait for what was refused: they are looked at when it is, and when it is
    /// not any more.
    pub fn set(&self, state: State) {
        let Some(before) = self.ctx.watches.set(&self.scope, &state) else { return };
        let what = self.scope.what;
        match (state, before) {
            (State::Denied(refusal), _) => tracing::error!(%refusal, "watch refused; trying again"),
            (State::Absent, _) => tracing::warn!(what, "the API server does not have it; looking again"),
            (_, State::Denied(refusal)) => tracing::info!(%refusal, "watch allowed again"),
            (_, State::Absent) => tracing::info!(what, "the API server has it now"),
            _ if what != Kind::Certificate.as_str() => return,
            _ => {}
        }
        let denied = self.ctx.watches.denied().len();
        self.ctx.metrics.watches_denied.set(i64::try_from(denied).unwrap_or(i64::MAX));
        self.queue.push(if what == Kind::Certificate.as_str() {
            self.ctx.certificates.within(&self.scope)
        } else {
            self.ctx.services.within(self.scope.namespace.as_deref())
        });
    }
}

/// Starts every watch, in all namespaces or in the listed ones. They end with what this gives.
pub fn start(
    ctx: &Arc<Context>,
    queue: &Queue,
    namespaces: &[String],
    mut writer: Writer<Guarded>,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    ctx.metrics.watches_denied.set(0);
    let feed = |what, namespace: &Option<String>| Feed {
        ctx: ctx.clone(),
        queue: queue.clone(),
        scope: Scope { what, namespace: namespace.clone() },
    };
    // The queue waits for the store to be ready; whether it is full, the watches' states tell.
    for event in [Event::Init, Event::InitDone] {
        writer.apply_watcher_event(&event);
    }
    let writer = Arc::new(Mutex::new(writer));
    tasks.spawn(crd::watch(feed(DEFINITION, &None)));
    for place in states::places(namespaces) {
        tasks.spawn(services(feed(SERVICES, &place), writer.clone()));
        tasks.spawn(namespaces::namespaces(feed(NAMESPACES, &place)));
        for kind in ctx.settings.kinds().filter(|k| *k != Kind::Secret) {
            let feed = feed(kind.as_str(), &place);
            tasks.spawn(async move { children(&feed, kind).await });
        }
        // Without an issuer in the settings there is no right to see them either.
        if !ctx.settings.cert_manager.issuers.is_empty() {
            tasks.spawn(certificates::certificates(feed(Kind::Certificate.as_str(), &place)));
        }
    }
    tasks
}

fn labelled() -> watcher::Config {
    watcher::Config::default().labels(SERVICE_LABEL)
}

/// Watches the services; the writer's store is what the queue reads.
async fn services(feed: Feed, writer: Arc<Mutex<Writer<Guarded>>>) {
    let client = feed.ctx.client.clone();
    let api: Api<Guarded> = match &feed.scope.namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let mut relists = feed.ctx.watches.relists();
    loop {
        let watched = follow(api.clone(), watcher::Config::default(), &feed.scope, |change| {
            let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
            take(&feed, &mut writer, change);
            let count = writer.as_reader().len();
            feed.ctx.metrics.services.set(i64::try_from(count).unwrap_or(i64::MAX));
        });
        tokio::select! {
            () = watched => {}
            _ = relists.changed() => {}
        }
    }
}

fn take(feed: &Feed, writer: &mut Writer<Guarded>, change: Change<Guarded>) {
    match change {
        Change::Listed(mut list) => {
            list.iter_mut().for_each(forget_status_fields);
            let listed: BTreeSet<Key> = list.iter().map(key_of).collect();
            let known = writer.as_reader().state();
            let gone = known.iter().map(|service| (service, key_of(&**service)));
            for (service, key) in gone.filter(|(_, key)| feed.scope.covers(&key.namespace)) {
                if !listed.contains(&key) {
                    writer.apply_watcher_event(&Event::Delete((**service).clone()));
                    feed.ctx.forget(&key);
                }
            }
            for service in list {
                show(feed, writer, service);
            }
            feed.set(State::Listed);
            feed.queue.push(listed);
        }
        Change::Apply(mut service) => {
            forget_status_fields(&mut service);
            let is_answer = feed.ctx.services.is_answer(&service);
            let key = show(feed, writer, service);
            if !is_answer {
                feed.queue.push([key]);
            }
        }
        Change::Delete(service) => {
            let key = key_of(&service);
            writer.apply_watcher_event(&Event::Delete(service));
            feed.ctx.forget(&key);
        }
        Change::Denied(refusal) => feed.set(State::Denied(refusal)),
        Change::Absent => feed.set(State::Absent),
    }
}

fn show(feed: &Feed, writer: &mut Writer<Guarded>, service: Guarded) -> Key {
    let (key, version) = (key_of(&service), progress(&service));
    writer.apply_watcher_event(&Event::Apply(service));
    feed.ctx.services.caught_up(&key, version);
    key
}

/// Of managedFields only those of the spec are ever read; those of our own status are the larger part of a service.
fn forget_status_fields(service: &mut Guarded) {
    let Ok(service) = &mut service.0 else { return };
    for entry in service.managed_fields_mut().iter_mut().filter(|entry| entry.subresource.is_some()) {
        entry.fields_v1 = None;
    }
}

/// Watches one kind of child.
async fn children(feed: &Feed, kind: Kind) {
    let (client, resource) = (feed.ctx.client.clone(), kind.api_resource());
    let api: Api<DynamicObject> = match &feed.scope.namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
        None => Api::all_with(client, &resource),
    };
    let cache = &feed.ctx.cache;
    follow(api, labelled(), &feed.scope, |change| {
        let touched = match change {
            Change::Listed(list) => {
                let touched = cache.replace(kind, feed.scope.namespace.as_deref(), list);
                feed.set(State::Listed);
                touched
            }
            Change::Apply(object) => cache.insert(kind, object),
            Change::Delete(object) => cache.remove(kind, &object),
            Change::Denied(refusal) => {
                feed.set(State::Denied(refusal));
                BTreeSet::new()
            }
            Change::Absent => {
                let touched = cache.replace(kind, feed.scope.namespace.as_deref(), Vec::new());
                feed.set(State::Absent);
                touched
            }
        };
        feed.queue.push(touched);
    })
    .await;
}
