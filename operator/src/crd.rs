//! Does the cluster's `CustomResourceDefinition` know every field of ours? A server prunes fields that its schema lacks:
//! what they ask for would be taken away from running services, and a status of theirs written for ever (V14).

mod schema;

use std::{
    sync::{PoisonError, RwLock},
    time::Duration,
};

use crds::{HardenedService, Reason};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps,
};
use kube::{Api, CustomResourceExt, ResourceExt, runtime::watcher};
use render::Problem;

use crate::watch::{Change, Feed, State, follow};

/// Every API server takes up a new schema by itself; until all have, one may still answer by the old one.
const SETTLE: Duration = Duration::from_secs(5);

/// What is known of the cluster's definition.
#[derive(Default)]
pub struct Installed(RwLock<Option<Outdated>>);

/// A definition that is older than ours.
#[derive(Clone, PartialEq)]
struct Outdated {
    /// The first thing that it lacks.
    missing: String,
    /// What it has for `spec`.
    spec: Option<JSONSchemaProps>,
}

impl Installed {
    /// Why the operator must not act, if so.
    pub fn problem(&self) -> Option<Problem> {
        let outdated = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let missing = &outdated.as_ref()?.missing;
        Some(Problem {
            reason: Reason::CrdOutdated,
            message: format!(
                "CustomResourceDefinition {} is older than the operator: it lacks {missing}; nothing is made or changed \
                 until a platform admin upgrades it the way it was installed: helm upgrade with crds.enabled=true, or \
                 kubectl hardened crds | kubectl apply --server-side -f -",
                HardenedService::crd_name()
            ),
        })
    }

    /// Whether the service asks for something that the definition hides. It is still stored, and comes back with the
    /// upgrade; but any write, that of a status too, would store the service without it.
    pub fn hides_some_of(&self, service: &HardenedService) -> bool {
        let outdated = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let Some(spec) = outdated.as_ref().and_then(|o| o.spec.as_ref()) else { return false };
        let fields = service.managed_fields().iter().filter_map(|entry| entry.fields_v1.as_ref());
        fields.filter_map(|fields| fields.0.get("f:spec")).any(|fields| schema::hides(spec, fields))
    }

    fn set(&self, outdated: Option<Outdated>) -> bool {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let changed = *known != outdated;
        *known = outdated;
        changed
    }

    fn is_outdated(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

/// Watches the one definition. Without the right to read it nothing is known, and the operator goes on.
pub async fn watch(feed: Feed) {
    let api: Api<CustomResourceDefinition> = Api::all(feed.ctx.client.clone());
    let config = watcher::Config::default().fields(&format!("metadata.name={}", HardenedService::crd_name()));
    let ours = crds::all();
    let (found, mut lacks) = tokio::sync::watch::channel(None);
    let compare = |theirs: &CustomResourceDefinition| {
        let missing = ours.iter().find_map(|ours| schema::missing(ours, theirs));
        let outdated = missing.map(|missing| Outdated { missing, spec: schema::spec(theirs).cloned() });
        // At once: a pass that is about to begin may read a service that was pruned.
        if outdated.is_some() {
            note(&feed, outdated.clone());
        }
        found.send_replace(outdated);
    };
    let watched = follow(api, config, &feed.scope, |change| match change {
        Change::Listed(list) => {
            list.iter().for_each(&compare);
            feed.set(State::Listed);
        }
        Change::Apply(definition) => compare(&definition),
        // With the definition the services go.
        Change::Delete(_) => {}
        Change::Denied(refusal) => feed.set(State::Denied(refusal)),
        Change::Absent => feed.set(State::Absent),
    });
    let upgrades = async {
        while lacks.changed().await.is_ok() {
            if feed.ctx.crd.is_outdated() && lacks.borrow_and_update().is_none() {
                tokio::time::sleep(SETTLE).await;
                // What the old schema hid of the services comes without a new version: only a list shows it.
                feed.ctx.watches.relist_services();
                feed.ctx.watches.done().await;
            }
            let outdated = lacks.borrow().clone();
            note(&feed, outdated);
        }
    };
    tokio::join!(watched, upgrades);
}

fn note(feed: &Feed, outdated: Option<Outdated>) {
    if !feed.ctx.crd.set(outdated) {
        return;
    }
    if let Some(problem) = feed.ctx.crd.problem() {
        tracing::error!(why = problem.message, "nothing is made or changed");
    } else {
        tracing::info!("the CustomResourceDefinition has every field");
    }
    feed.queue.push(feed.ctx.services.within(None));
}
