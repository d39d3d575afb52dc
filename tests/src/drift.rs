//! Changing children as somebody else would, and looking whether the change is gone. What must be gone, tests say.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::events::v1::Event;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::core::Status;
use kube::{Api, ResourceExt};
use render::Kind;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::fixture::Service;
use crate::wait::{Look, wait_until};

/// Within this a change by others is undone and told.
pub const UNDONE: Duration = Duration::from_secs(5);
/// Who makes the changes, as managedFields have it.
pub const MALLORY: &str = "mallory";
/// Where the Deployment controller counts.
const REVISION: &str = "deployment.kubernetes.io/revision";

/// The object without its status and without what the server, the Deployment controller and the ledger of restarts keep
/// in it for themselves.
pub fn essence(object: &Value) -> Value {
    let mut essence = object.clone();
    remove(&mut essence, "", &["status"]);
    remove(&mut essence, "/metadata", &["managedFields", "resourceVersion", "generation"]);
    remove(&mut essence, "/metadata/annotations", &[REVISION, crds::LAST_CHANGE_ANNOTATION]);
    if essence
        .pointer("/metadata/annotations")
        .and_then(Value::as_object)
        .is_some_and(serde_json::Map::is_empty)
    {
        remove(&mut essence, "/metadata", &["annotations"]);
    }
    essence
}

/// Removes keys of the map at a place, where there is one.
pub fn remove(object: &mut Value, pointer: &str, keys: &[&str]) {
    if let Some(map) = object.pointer_mut(pointer).and_then(Value::as_object_mut) {
        map.retain(|key, _| !keys.contains(&key.as_str()));
    }
}

/// Patches a child under another manager's name: the server's answer, or its refusal.
pub async fn attack(
    service: &Service,
    kind: Kind,
    name: &str,
    patch: &Patch<Value>,
) -> Result<Result<Value, Box<Status>>> {
    let params = PatchParams { field_manager: Some(MALLORY.into()), ..PatchParams::default() };
    match service.children_api(kind).patch(name, &params, patch).await {
        Ok(object) => Ok(Ok(serde_json::to_value(object)?)),
        Err(kube::Error::Api(refusal)) if refusal.code < 500 => Ok(Err(refusal)),
        Err(error) => Err(error.into()),
    }
}

/// Makes an object that claims to be a child, like a child that is there, under another name.
pub async fn plant(service: &Service, kind: Kind, like: &str, name: &str) -> Result<()> {
    let mut planted = essence(&service.child(kind, like).await?.context("no such child")?);
    remove(&mut planted, "/spec", &["clusterIP", "clusterIPs"]);
    if kind == Kind::Job {
        // The server makes them of the Job's own uid.
        remove(&mut planted, "/spec", &["selector"]);
        remove(&mut planted, "/spec/template/metadata", &["labels"]);
    }
    remove(&mut planted, "/metadata", &["uid", "creationTimestamp", "annotations"]);
    planted["metadata"]["name"] = name.into();
    service.children_api(kind).create(&PostParams::default(), &serde_json::from_value(planted)?).await?;
    Ok(())
}

/// Waits until a child passes a test; says how long that took.
pub async fn undone(
    service: &Service,
    kind: Kind,
    name: &str,
    test: impl Fn(&Value) -> bool,
) -> Result<Duration> {
    let start = Instant::now();
    let what = format!("{} {name} to be as it was", kind.as_str());
    wait_until(UNDONE, &what, async || match service.child(kind, name).await {
        Ok(Some(live)) if test(&live) => Look::Done(()),
        Ok(live) => Look::NotYet(live.map(|live| essence(&live).to_string())),
        Err(error) => Look::NotYet(Some(error.to_string())),
    })
    .await?;
    Ok(start.elapsed())
}

/// Waits for an event about the service whose note has all these parts.
pub async fn told(cluster: &Cluster, service: &Service, reason: &str, parts: &[&str]) -> Result<String> {
    let api = Api::<Event>::namespaced(cluster.client.clone(), &service.namespace);
    wait_until(UNDONE, &format!("an event {reason} with {parts:?}"), async || {
        match notes(&api, service, reason).await {
            Ok(notes) => match notes.iter().find(|note| parts.iter().all(|part| note.contains(part))) {
                Some(note) => Look::Done(note.clone()),
                None => Look::NotYet(notes),
            },
            Err(error) => Look::NotYet(vec![error.to_string()]),
        }
    })
    .await
}

async fn notes(api: &Api<Event>, service: &Service, reason: &str) -> Result<Vec<String>> {
    let about = |event: &Event| {
        let name = event.regarding.as_ref().and_then(|regarding| regarding.name.as_ref());
        event.reason.as_deref() == Some(reason) && name == Some(&service.name)
    };
    let events = api.list(&ListParams::default()).await?.items.into_iter();
    Ok(events.filter(about).filter_map(|event| event.note).collect())
}

/// Names of a service's `ReplicaSets`, the one that runs now first. How many pods each has says nothing where no node
/// makes a pod ready: there the controller waits for ever before it takes old pods away.
pub async fn revisions(cluster: &Cluster, service: &Service) -> Result<Vec<String>> {
    let deployments = Api::<Deployment>::namespaced(cluster.client.clone(), &service.namespace);
    wait_until(UNDONE, "the Deployment controller to have seen the newest template", async || {
        match deployments.get(&service.name).await {
            Ok(live) if is_seen(&live) => Look::Done(()),
            Ok(live) => Look::NotYet(format!("{:?}", live.status)),
            Err(error) => Look::NotYet(error.to_string()),
        }
    })
    .await?;
    let sets = Api::<ReplicaSet>::namespaced(cluster.client.clone(), &service.namespace);
    let params = ListParams::default().labels(&format!("{}={}", crds::SERVICE_LABEL, service.name));
    let number =
        |set: &ReplicaSet| set.annotations().get(REVISION).and_then(|number| number.parse::<u64>().ok());
    let mut sets = sets.list(&params).await?.items;
    sets.sort_by_key(|set| std::cmp::Reverse(number(set)));
    Ok(sets.iter().map(ResourceExt::name_any).collect())
}

fn is_seen(deployment: &Deployment) -> bool {
    let status = deployment.status.as_ref();
    status.is_some_and(|status| status.observed_generation == deployment.metadata.generation)
}

/// Every leaf that a manager owns, as a JSON pointer into the object, and whether it is a single value (otherwise the
/// map or list item that holds more leaves).
pub fn owned(object: &Value, manager: &str) -> Result<Vec<(String, bool)>> {
    let mut found = Vec::new();
    for entry in object["metadata"]["managedFields"].as_array().into_iter().flatten() {
        if entry["manager"] == manager && entry["subresource"].is_null() {
            walk(&entry["fieldsV1"], object, "", &mut found)?;
        }
    }
    Ok(found)
}

fn walk(fields: &Value, live: &Value, at: &str, found: &mut Vec<(String, bool)>) -> Result<()> {
    for (key, below) in fields.as_object().into_iter().flatten() {
        if key == "." {
            found.push((at.to_owned(), false));
            continue;
        }
        let Some(step) = step(key, live)? else { bail!("{at} has no {key}") };
        let pointer = format!("{at}/{}", step.replace('~', "~0").replace('/', "~1"));
        if below.as_object().is_some_and(serde_json::Map::is_empty) {
            found.push((pointer, true));
        } else {
            let index = step.parse().ok().and_then(|index: usize| live.get(index));
            let next = live.get(&step).or(index).unwrap_or(&Value::Null);
            walk(below, next, &pointer, found)?;
        }
    }
    Ok(())
}

/// A step of fieldsV1 as one of a JSON pointer: `f:` is a field, `k:` the item of a list with these keys, `v:` the
/// item with this value.
fn step(key: &str, live: &Value) -> Result<Option<String>> {
    let Some((how, what)) = key.split_once(':') else { bail!("unknown step {key}") };
    let items = || live.as_array().into_iter().flatten();
    let index = match how {
        "f" => return Ok(Some(what.to_owned())),
        "k" => {
            let keys: Value = serde_json::from_str(what)?;
            let same =
                |item: &Value| keys.as_object().into_iter().flatten().all(|(key, value)| item[key] == *value);
            items().position(same)
        }
        "v" => {
            let value: Value = serde_json::from_str(what)?;
            items().position(|item| *item == value)
        }
        _ => bail!("unknown step {key}"),
    };
    Ok(index.map(|index| index.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn owned_fields_become_pointers_of_values_and_of_what_holds_them() -> Result<()> {
        let fields = json!({"f:data": {".": {}, "f:a/b": {}}, "f:list": {"k:{\"name\":\"y\"}": {".": {}, "f:name": {}}}, "f:set": {"v:2": {}}});
        let object = json!({
            "metadata": {"managedFields": [{"manager": "us", "fieldsV1": fields}, {"manager": "them", "fieldsV1": {"f:x": {}}}]},
            "data": {"a/b": 1}, "list": [{"name": "x"}, {"name": "y"}], "set": [1, 2], "x": 1,
        });
        let expected = [
            ("/data", false),
            ("/data/a~1b", true),
            ("/list/1", false),
            ("/list/1/name", true),
            ("/set/1", true),
        ];
        assert_eq!(owned(&object, "us")?, expected.map(|(pointer, leaf)| (pointer.to_owned(), leaf)));
        Ok(())
    }
}
