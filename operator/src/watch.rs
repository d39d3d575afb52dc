//! Watches that feed the cache and the queue: services, namespaces, every kind of child by our label, and the
//! metadata of Secrets in each onboarded namespace.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use crds::{ALLOWED_HOSTS_ANNOTATION, HardenedService, SERVICE_LABEL};
use futures::{Stream, StreamExt, channel::mpsc::UnboundedSender};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Api, Resource, ResourceExt,
    core::{DeserializeGuard, DynamicObject, PartialObjectMeta},
    runtime::{
        WatchStreamExt,
        controller::ReconcileRequest,
        reflector::{ObjectRef, store::Writer},
        watcher::{self, Event, watcher},
    },
};
use render::Kind;
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    Context,
    cache::{Key, Secrets},
    key_of,
};

/// The resource as the queue carries it: one that cannot be read must not stop the watch of the others.
pub type Guarded = DeserializeGuard<HardenedService>;

/// Sends services to the queue.
#[derive(Clone)]
pub struct Queue(pub UnboundedSender<ReconcileRequest<Guarded>>);

impl Queue {
    fn push(&self, keys: impl IntoIterator<Item = Key>) {
        for key in keys {
            // The receiver is gone only while the operator shuts down.
            let _ = self.0.unbounded_send(ObjectRef::new(&key.name).within(&key.namespace).into());
        }
    }
}

/// The watches whose first list is still missing, by what they watch.
#[derive(Clone)]
pub struct Pending(Arc<watch::Sender<BTreeSet<&'static str>>>);

impl Pending {
    /// With everything that `start` watches but Secrets, whose watches come and go with their namespaces.
    pub fn new() -> Self {
        let kinds = Kind::ALL.into_iter().filter(|k| *k != Kind::Secret).map(Kind::as_str);
        Self(Arc::new(watch::Sender::new(kinds.chain([SERVICES, NAMESPACES]).collect())))
    }

    /// What is still missing.
    pub fn missing(&self) -> Vec<&'static str> {
        self.0.borrow().iter().copied().collect()
    }

    /// Waits until every first list has arrived.
    pub async fn done(&self) {
        // The sender lives in self: the channel cannot close.
        let _ = self.0.subscribe().wait_for(BTreeSet::is_empty).await;
    }

    fn arrived(&self, what: &'static str) {
        self.0.send_if_modified(|missing| missing.remove(what));
    }
}

const SERVICES: &str = "HardenedService";
const NAMESPACES: &str = "Namespace";

fn labelled() -> watcher::Config {
    watcher::Config::default().labels(SERVICE_LABEL)
}

/// A watch with backoff; an error is logged once and tried again.
fn events<K>(api: Api<K>, config: watcher::Config, what: &'static str) -> impl Stream<Item = Event<K>> + Send
where
    K: Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    watcher(api, config).default_backoff().filter_map(move |event| async move {
        event.inspect_err(|error| tracing::warn!(%error, what, "watch")).ok()
    })
}

/// Watches the services; the writer's store is what the queue reads.
pub async fn services(ctx: Arc<Context>, queue: Queue, pending: Pending, mut writer: Writer<Guarded>) {
    let api: Api<Guarded> = Api::all(ctx.client.clone());
    let mut stream = std::pin::pin!(events(api, watcher::Config::default(), SERVICES));
    while let Some(event) = stream.next().await {
        writer.apply_watcher_event(&event);
        match event {
            Event::Apply(service) | Event::InitApply(service) => {
                ctx.forget_older(&service);
                queue.push([key_of(&service)]);
            }
            Event::Delete(service) => ctx.forget(&key_of(&service)),
            Event::InitDone => pending.arrived(SERVICES),
            Event::Init => {}
        }
        ctx.metrics.services.set(i64::try_from(writer.as_reader().len()).unwrap_or(i64::MAX));
    }
}

/// Watches one kind of child in all namespaces.
pub async fn children(ctx: Arc<Context>, queue: Queue, pending: Pending, kind: Kind) {
    let api: Api<DynamicObject> = Api::all_with(ctx.client.clone(), &kind.api_resource());
    let mut stream = std::pin::pin!(events(api, labelled(), kind.as_str()));
    let mut list = Vec::new();
    while let Some(event) = stream.next().await {
        let touched = match event {
            Event::Init => {
                list.clear();
                BTreeSet::new()
            }
            Event::InitApply(object) => {
                list.push(object);
                BTreeSet::new()
            }
            Event::InitDone => {
                let touched = ctx.cache.replace(kind, None, std::mem::take(&mut list));
                pending.arrived(kind.as_str());
                touched
            }
            Event::Apply(object) => ctx.cache.insert(kind, object),
            Event::Delete(object) => ctx.cache.remove(kind, &object),
        };
        queue.push(touched);
    }
}

/// Watches the namespaces, and keeps a watch of Secrets in each that is onboarded.
pub async fn namespaces(
    ctx: Arc<Context>,
    queue: Queue,
    pending: Pending,
    services: kube::runtime::reflector::Store<Guarded>,
) {
    let api: Api<PartialObjectMeta<Namespace>> = Api::all(ctx.client.clone());
    let mut stream = std::pin::pin!(events(api, watcher::Config::default(), NAMESPACES));
    let secrets = SecretWatches::default();
    while let Some(event) = stream.next().await {
        match event {
            Event::Apply(namespace) | Event::InitApply(namespace) => {
                let name = namespace.name_any();
                let hosts =
                    namespace.annotations().get(ALLOWED_HOSTS_ANNOTATION).map(|hosts| patterns(hosts));
                let onboarded = hosts.is_some();
                let terminating = namespace.metadata.deletion_timestamp.is_some();
                let changed = ctx.cache.set_namespace(&name, |n| {
                    n.allowed_hosts = hosts;
                    n.terminating = terminating;
                });
                secrets.keep(onboarded && !terminating, &name, &ctx, &queue);
                if changed {
                    queue.push(services.state().iter().map(|s| key_of(&**s)).filter(|k| k.namespace == name));
                }
            }
            Event::Delete(namespace) => {
                secrets.keep(false, &namespace.name_any(), &ctx, &queue);
                ctx.cache.remove_namespace(&namespace.name_any());
            }
            Event::InitDone => pending.arrived(NAMESPACES),
            Event::Init => {}
        }
    }
}

/// `a.example, *.b.example` as a list.
fn patterns(annotation: &str) -> Vec<String> {
    annotation.split(',').map(str::trim).filter(|p| !p.is_empty()).map(str::to_ascii_lowercase).collect()
}

#[derive(Default)]
struct SecretWatches(Mutex<HashMap<String, Task>>);

/// A task that ends when this is dropped.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl SecretWatches {
    /// Starts or ends the watch of one namespace. Rights on Secrets come by a RoleBinding in each: one watch for all
    /// would need them everywhere.
    fn keep(&self, wanted: bool, namespace: &str, ctx: &Arc<Context>, queue: &Queue) {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted && !running.contains_key(namespace) {
            let task = tokio::spawn(secrets(ctx.clone(), queue.clone(), namespace.to_owned()));
            running.insert(namespace.to_owned(), Task(task));
        } else if !wanted && running.remove(namespace).is_some() {
            let touched = ctx.cache.replace(Kind::Secret, Some(namespace), Vec::new());
            ctx.cache.set_namespace(namespace, |n| n.secrets = Secrets::Unknown);
            queue.push(touched);
        }
    }
}

/// Watches the metadata of the labelled Secrets of one namespace; values are never listed.
async fn secrets(ctx: Arc<Context>, queue: Queue, namespace: String) {
    let api: Api<PartialObjectMeta<Secret>> = Api::namespaced(ctx.client.clone(), &namespace);
    let mut stream = std::pin::pin!(watcher(api, labelled()).default_backoff());
    let mut list = Vec::new();
    while let Some(event) = stream.next().await {
        let touched: BTreeSet<Key> = match event {
            Err(error) => {
                tracing::warn!(%error, namespace, "watch of secrets");
                if !denied(&error) || !ctx.cache.set_namespace(&namespace, |n| n.secrets = Secrets::Denied) {
                    continue;
                }
                ctx.services_of(&namespace).into_iter().collect()
            }
            Ok(Event::Init) => {
                list.clear();
                continue;
            }
            Ok(Event::InitApply(secret)) => {
                list.push(as_dynamic(secret));
                continue;
            }
            Ok(Event::InitDone) => {
                let mut touched =
                    ctx.cache.replace(Kind::Secret, Some(&namespace), std::mem::take(&mut list));
                if ctx.cache.set_namespace(&namespace, |n| n.secrets = Secrets::Known) {
                    touched.extend(ctx.services_of(&namespace));
                }
                touched
            }
            Ok(Event::Apply(secret)) => ctx.cache.insert(Kind::Secret, as_dynamic(secret)),
            Ok(Event::Delete(secret)) => ctx.cache.remove(Kind::Secret, &as_dynamic(secret)),
        };
        queue.push(touched);
    }
}

fn denied(error: &watcher::Error) -> bool {
    use watcher::Error as E;
    match error {
        E::InitialListFailed(kube::Error::Api(s))
        | E::WatchStartFailed(kube::Error::Api(s))
        | E::WatchError(s) => s.is_forbidden(),
        _ => false,
    }
}

fn as_dynamic(secret: PartialObjectMeta<Secret>) -> DynamicObject {
    DynamicObject {
        types: None,
        metadata: secret.metadata,
        data: serde_json::Value::Object(serde_json::Map::new()),
    }
}
