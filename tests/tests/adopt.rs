//! Who may take over an object that was there before, and what does it take? Everything here runs on a control plane
//! without nodes.

use std::time::Duration;

use anyhow::{Context, Result};
use crds::{HardenedService, RestartCause, SERVICE_LABEL};
use kube::ResourceExt;
use kube::api::{DynamicObject, PostParams};
use render::Kind;
use serde_json::{Value, json};
use testbed::audit::Mark;
use testbed::drift::{essence, told};
use testbed::fixture::{self, OPERATOR, Service, condition, example, named};
use testbed::{Cluster, Operator};

/// A foreign object is looked at every 10 s: so long must show that nothing is asked again.
const TWO_LOOKS: Duration = Duration::from_secs(22);

/// An object that somebody made before the service came.
async fn before(service: &Service, kind: Kind, name: &str, mut object: Value) -> Result<DynamicObject> {
    let resource = kind.api_resource();
    object["apiVersion"] = json!(resource.api_version);
    object["kind"] = json!(resource.kind);
    object["metadata"]["name"] = json!(name);
    let object = serde_json::from_value(object)?;
    Ok(service.children_api(kind).create(&PostParams::default(), &object).await?)
}

/// A Deployment as `kubectl apply` leaves it, with the selector that a child has or another one.
fn deployment(selector: &Value) -> Value {
    json!({"spec": {
        "replicas": 4,
        "selector": {"matchLabels": selector},
        "template": {
            "metadata": {"labels": selector},
            "spec": {"containers": [{"name": "old", "image": "registry.local/old:1"}]},
        },
    }})
}

fn service(name: &str) -> Result<HardenedService> {
    named("minimal-production", name)
}

/// A handle on a service that does not exist yet.
async fn create(cluster: &Cluster, namespace: &str, name: &str) -> Result<Service> {
    Service::create(cluster, namespace, &service(name)?).await
}

fn message(service: &HardenedService) -> Result<String> {
    Ok(condition(service, "Ready").context("no Ready")?.message.clone())
}

fn entry(kind: Kind, name: &str, uid: &str) -> Value {
    json!({"kind": kind.as_str(), "name": name, "uid": uid})
}

async fn mark(cluster: &Cluster, namespace: &str) -> Result<Option<Mark>> {
    match cluster.audit() {
        Some(audit) => {
            fixture::rest(&audit, namespace).await?;
            audit.mark().await.map(Some)
        }
        None => Ok(None),
    }
}

#[tokio::test]
async fn a_running_deployment_is_taken_over_in_one_rollout_after_its_changes_were_told() -> Result<()> {
    let cluster = Cluster::get().await?;
    let namespace = cluster.namespace("adopt").await?;
    let _operator = Operator::start(&cluster).await?;
    // Suspended, so that the old Deployment is there before the operator works.
    let mut asleep = service("shop")?;
    asleep.spec.suspend = true;
    let shop = Service::create(&cluster, &namespace.name, &asleep).await?;
    let old = before(&shop, Kind::Deployment, "shop", deployment(&json!({SERVICE_LABEL: "shop"}))).await?;
    let uid = old.uid().context("no uid")?;
    shop.patch(&json!({"spec": {"suspend": false}})).await?;
    let conflict = message(&shop.until_reason("NameConflict").await?)?;
    let wanted = format!("{{kind: Deployment, name: shop, uid: {uid}}} in spec.adopt, which changes ");
    assert!(
        conflict.contains(&wanted) && conflict.contains("spec.template.spec.containers[old]"),
        "{conflict}"
    );
    let live = shop.child(Kind::Deployment, "shop").await?.context("gone")?;
    assert_eq!(essence(&live), essence(&serde_json::to_value(&old)?), "an offer changed the object");

    shop.patch(&json!({"spec": {"adopt": [entry(Kind::Deployment, "shop", &uid)]}})).await?;
    let adopted = shop.made().await?;
    told(&cluster, &shop, "Adopting", &["Deployment shop", &uid, "spec.template.spec.containers[old]"])
        .await?;
    let live = shop.child(Kind::Deployment, "shop").await?.context("gone")?;
    assert_eq!(live["metadata"]["uid"], json!(uid), "it was made anew");
    assert_eq!(live["spec"]["replicas"], 4, "who scaled it is not overruled");
    assert_eq!(live["metadata"]["ownerReferences"][0]["uid"], json!(adopted.uid()));
    let containers = live["spec"]["template"]["spec"]["containers"].as_array().context("containers")?;
    assert_eq!(containers.iter().map(|c| &c["name"]).collect::<Vec<_>>(), ["app"]);
    let ledger = shop
        .until("the adoption in the ledger", |s| s.status.as_ref().is_some_and(|s| !s.restarts.is_empty()))
        .await?;
    let restarts = ledger.status.context("no status")?.restarts;
    let entries: Vec<_> = restarts.iter().map(|r| (r.revision, r.cause)).collect();
    assert_eq!(entries, [(Some(2), RestartCause::Adopted)]);
    assert!(restarts[0].keys.iter().any(|key| key == "spec.template.spec.containers[old]"), "{restarts:?}");

    // The entry has done its work: it may stay or go.
    let mark = mark(&cluster, &namespace.name).await?;
    shop.patch(&json!({"metadata": {"annotations": {"look": "again"}}})).await?;
    shop.patch(&json!({"spec": {"adopt": null}})).await?;
    shop.made().await?;
    if let (Some(audit), Some(mark)) = (cluster.audit(), mark) {
        fixture::rest(&audit, &namespace.name).await?;
        let seen = audit.since(mark).await?.by(OPERATOR).within(&namespace.name);
        let seen = seen.only(|r| r.is_write() && !["hardenedservices", "events"].contains(&&*r.resource));
        assert_eq!(seen.count(), 0, "{seen}");
    }
    Ok(())
}

#[tokio::test]
async fn every_kind_but_a_secret_can_be_taken_over() -> Result<()> {
    let cluster = Cluster::get().await?;
    let namespace = cluster.namespace("kinds").await?;
    let _operator = Operator::start(&cluster).await?;
    let mut busy = example("autoscaling")?;
    busy.spec.suspend = true;
    let busy = Service::create(&cluster, &namespace.name, &busy).await?;
    let name = busy.name.clone();
    let selector = json!({"matchLabels": {"app": "old"}});
    let objects = [
        (Kind::ServiceAccount, name.clone(), json!({"automountServiceAccountToken": true})),
        (Kind::NetworkPolicy, name.clone(), json!({"spec": {"podSelector": {}, "policyTypes": ["Egress"]}})),
        (Kind::ConfigMap, format!("{name}-policy"), json!({"data": {"theirs": "value"}})),
        (Kind::Service, name.clone(), json!({"spec": {"selector": {"app": "old"}, "ports": [{"port": 80}]}})),
        (
            Kind::PodDisruptionBudget,
            name.clone(),
            json!({"spec": {"selector": selector, "maxUnavailable": 2}}),
        ),
        (
            Kind::HorizontalPodAutoscaler,
            name.clone(),
            json!({"spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"}}}),
        ),
    ];
    let mut entries = Vec::new();
    for (kind, name, object) in objects {
        let uid = before(&busy, kind, &name, object).await?.uid().context("no uid")?;
        entries.push(entry(kind, &name, &uid));
    }
    busy.patch(&json!({"spec": {"suspend": false, "adopt": entries}})).await?;
    let live = busy.made().await?;
    let children = &live.status.as_ref().context("no status")?.children;
    for entry in &entries {
        let child =
            children.iter().find(|c| json!(c.kind) == entry["kind"] && json!(c.name) == entry["name"]);
        assert_eq!(json!(child.context("no such child")?.uid), entry["uid"], "{entry}");
    }
    Ok(())
}

#[tokio::test]
async fn an_object_is_not_taken_over_by_a_wrong_uid_nor_from_another_controller() -> Result<()> {
    let cluster = Cluster::get().await?;
    let namespace = cluster.namespace("not").await?;
    let _operator = Operator::start(&cluster).await?;
    let other = create(&cluster, &namespace.name, "other").await?.made().await?;
    let mut asleep = service("wrong")?;
    asleep.spec.suspend = true;
    let wrong = Service::create(&cluster, &namespace.name, &asleep).await?;
    let object = json!({"spec": {"selector": {"app": "old"}, "ports": [{"port": 80}]}});
    let live = before(&wrong, Kind::Service, "wrong", object.clone()).await?;
    let uid = live.uid().context("no uid")?;
    let another = "11111111-2222-3333-4444-555555555555";
    let adopt = json!([entry(Kind::Service, "wrong", another)]);
    wrong.patch(&json!({"spec": {"suspend": false, "adopt": adopt}})).await?;
    let text = message(&wrong.until_reason("NameConflict").await?)?;
    assert!(text.contains(another) && text.contains(&uid) && text.contains("correct the entry"), "{text}");

    asleep.metadata.name = Some("taken".into());
    let taken = Service::create(&cluster, &namespace.name, &asleep).await?;
    let mut theirs = object;
    theirs["metadata"] = json!({"ownerReferences": [{
        "apiVersion": "hardened.dev/v1alpha1", "kind": "HardenedService", "controller": true,
        "name": "other", "uid": other.uid(),
    }]});
    let theirs = before(&taken, Kind::Service, "taken", theirs).await?;
    let adopt = json!([entry(Kind::Service, "taken", &theirs.uid().context("no uid")?)]);
    taken.patch(&json!({"spec": {"suspend": false, "adopt": adopt}})).await?;
    let text = message(&taken.until_reason("NameConflict").await?)?;
    assert!(text.contains("HardenedService other") && text.contains("never taken over"), "{text}");
    for (service, before) in [(&wrong, live), (&taken, theirs)] {
        let now = service.child(Kind::Service, &service.name).await?.context("gone")?;
        assert_eq!(now, serde_json::to_value(before)?, "{}", service.name);
    }
    Ok(())
}

#[tokio::test]
async fn a_deployment_with_another_selector_cannot_be_taken_over_and_the_message_says_what_to_do()
-> Result<()> {
    let cluster = Cluster::get().await?;
    let namespace = cluster.namespace("selector").await?;
    let _operator = Operator::start(&cluster).await?;
    let mut asleep = service("shop")?;
    asleep.spec.suspend = true;
    let shop = Service::create(&cluster, &namespace.name, &asleep).await?;
    let old = before(&shop, Kind::Deployment, "shop", deployment(&json!({"app": "shop"}))).await?;
    let uid = old.uid().context("no uid")?;
    shop.patch(&json!({"spec": {"suspend": false}})).await?;
    let text = message(&shop.until_reason("NameConflict").await?)?;
    assert!(text.contains("which is not possible") && text.contains("--cascade=orphan"), "{text}");
    shop.patch(&json!({"spec": {"adopt": [entry(Kind::Deployment, "shop", &uid)]}})).await?;
    let refused = shop.until_reason("ImmutableField").await?;
    let text = message(&refused)?;
    assert!(text.contains("its selector differs") && text.contains("--cascade=orphan"), "{text}");
    let children = refused.status.context("no status")?.children;
    let child = children.iter().find(|child| child.kind == "Deployment").context("no Deployment")?;
    assert_eq!(child.uid, None, "by its uid in status a foreign object would count as ours");
    let live = shop.child(Kind::Deployment, "shop").await?.context("gone")?;
    assert_eq!(essence(&live), essence(&serde_json::to_value(&old)?), "it was touched");
    Ok(())
}

#[tokio::test]
async fn what_an_adoption_would_change_is_asked_once() -> Result<()> {
    let cluster = Cluster::get().await?;
    let Some(audit) = cluster.audit() else { return Ok(()) };
    let namespace = cluster.namespace("once").await?;
    let _operator = Operator::start(&cluster).await?;
    let mut asleep = service("shop")?;
    asleep.spec.suspend = true;
    let shop = Service::create(&cluster, &namespace.name, &asleep).await?;
    before(&shop, Kind::ConfigMap, "shop-policy", json!({"data": {"theirs": "value"}})).await?;
    let start = audit.mark().await?;
    shop.patch(&json!({"spec": {"suspend": false}})).await?;
    let text = message(&shop.until_reason("NameConflict").await?)?;
    assert!(text.contains("data.theirs"), "{text}");
    tokio::time::sleep(TWO_LOOKS).await;
    let seen = audit.since(start).await?.by(OPERATOR).within(&namespace.name);
    let asked = seen.clone().resource("configmaps").dry_runs();
    assert_eq!(asked.count(), 1, "{asked}");
    let looked = seen.clone().resource("configmaps").verb("get");
    assert!(looked.count() >= 2, "the test saw no second look: {looked}");
    let status = seen.subresource("hardenedservices", "status").writes();
    assert!(status.count() <= 3, "{status}");
    Ok(())
}
