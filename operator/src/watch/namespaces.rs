//! The watch of the namespaces, and of the metadata of Secrets in each that is onboarded.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use crds::ALLOWED_HOSTS_ANNOTATION;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Api, ResourceExt,
    core::{DynamicObject, PartialObjectMeta},
    runtime::watcher,
};
use render::Kind;

use super::{Change, Feed, Queue, Scope, State, follow, labelled};
use crate::{
    Context,
    cache::{Key, Secrets},
    task::Task,
};

/// Watches the namespaces, or one of them by its name, and keeps a watch of Secrets in each that is onboarded.
pub async fn namespaces(feed: Feed) {
    let api: Api<PartialObjectMeta<Namespace>> = Api::all(feed.ctx.client.clone());
    let config = feed.scope.namespace.as_ref().map_or_else(watcher::Config::default, |name| {
        watcher::Config::default().fields(&format!("metadata.name={name}"))
    });
    let secrets = SecretWatches::default();
    follow(api, config, &feed.scope, |change| match change {
        Change::Listed(list) => {
            let listed: BTreeSet<String> = list.iter().map(ResourceExt::name_any).collect();
            for namespace in &list {
                seen(&feed, &secrets, namespace);
            }
            let known = feed.ctx.cache.namespaces().into_iter().filter(|name| feed.scope.covers(name));
            for name in known.filter(|name| !listed.contains(name)) {
                gone(&feed, &secrets, &name);
            }
            feed.set(State::Listed);
        }
        Change::Apply(namespace) => seen(&feed, &secrets, &namespace),
        Change::Delete(namespace) => gone(&feed, &secrets, &namespace.name_any()),
        Change::Denied(refusal) => feed.set(State::Denied(refusal)),
        Change::Absent => feed.set(State::Absent),
    })
    .await;
}

fn seen(feed: &Feed, secrets: &SecretWatches, namespace: &PartialObjectMeta<Namespace>) {
    let name = namespace.name_any();
    let hosts = namespace.annotations().get(ALLOWED_HOSTS_ANNOTATION).map(|hosts| patterns(hosts));
    let onboarded = hosts.is_some();
    let terminating = namespace.metadata.deletion_timestamp.is_some();
    let changed = feed.ctx.cache.set_namespace(&name, |n| {
        n.allowed_hosts = hosts;
        n.terminating = terminating;
    });
    secrets.keep(onboarded && !terminating, &name, &feed.ctx, &feed.queue);
    if changed {
        feed.queue.push(feed.ctx.services.within(Some(&name)));
    }
}

fn gone(feed: &Feed, secrets: &SecretWatches, name: &str) {
    secrets.keep(false, name, &feed.ctx, &feed.queue);
    feed.ctx.cache.remove_namespace(name);
}

/// `a.example, *.b.example` as a list.
fn patterns(annotation: &str) -> Vec<String> {
    annotation.split(',').map(str::trim).filter(|p| !p.is_empty()).map(str::to_ascii_lowercase).collect()
}

#[derive(Default)]
struct SecretWatches(Mutex<HashMap<String, Task<()>>>);

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
    let scope = Scope { what: Kind::Secret.as_str(), namespace: Some(namespace.clone()) };
    let set = |secrets: Secrets| {
        let changed = ctx.cache.set_namespace(&namespace, |n| n.secrets = secrets);
        if changed { ctx.services.within(Some(&namespace)) } else { Vec::new() }
    };
    follow(api, labelled(), &scope, |change| {
        let mut touched: BTreeSet<Key> = BTreeSet::new();
        match change {
            Change::Listed(list) => {
                let list = list.into_iter().map(as_dynamic).collect();
                touched.extend(ctx.cache.replace(Kind::Secret, Some(&namespace), list));
                touched.extend(set(Secrets::Known));
            }
            Change::Apply(secret) => touched.extend(ctx.cache.insert(Kind::Secret, as_dynamic(secret))),
            Change::Delete(secret) => touched.extend(ctx.cache.remove(Kind::Secret, &as_dynamic(secret))),
            Change::Denied(refusal) => {
                tracing::debug!(%refusal, "watch refused");
                touched.extend(set(Secrets::Denied(refusal)));
            }
            // Every API server has them.
            Change::Absent => {}
        }
        queue.push(touched);
    })
    .await;
}

fn as_dynamic(secret: PartialObjectMeta<Secret>) -> DynamicObject {
    DynamicObject {
        types: None,
        metadata: secret.metadata,
        data: serde_json::Value::Object(serde_json::Map::new()),
    }
}
