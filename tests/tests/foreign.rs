//! Does the operator leave alone what belongs to somebody else, wait with what depends on it, and go on when it goes?

use std::time::Duration;

use anyhow::{Context, Result};
use crds::{ChildState, HardenedService};
use futures::future::try_join_all;
use kube::api::{DeleteParams, DynamicObject, PostParams};
use kube::{Api, ResourceExt};
use render::Kind;
use serde_json::{Value, json};
use testbed::fixture::{Service, condition, example, wanted};
use testbed::{Cluster, Look, Operator, wait_until};

/// The operator does not watch what is not its own: it looks again every 10 s.
const HEAL_LIMIT: Duration = Duration::from_secs(30);
const SOON: Duration = Duration::from_secs(20);
/// The label by which the operator finds its children.
const LABEL: &str = "hardened.dev/service";

/// Kind of the foreign object, which child's place it takes, and whether pods must wait for it.
const CASES: [(Kind, &str, bool); 9] = [
    (Kind::ServiceAccount, "", true),
    (Kind::NetworkPolicy, "", true),
    (Kind::ConfigMap, "-ca", true),
    (Kind::ConfigMap, "-policy", true),
    (Kind::Secret, "-tls", true),
    (Kind::Deployment, "", false),
    (Kind::Service, "", false),
    (Kind::PodDisruptionBudget, "", false),
    (Kind::HorizontalPodAutoscaler, "", false),
];

/// Whose the foreign object is.
#[derive(Clone, Copy, Debug)]
enum Owner {
    /// Nobody's, without a label.
    Nobody,
    /// Nobody's, with the label and every other sign of a child but the owner.
    Lookalike,
    /// Another live HardenedService's, with the victim's label.
    Another,
}

struct Case {
    kind: Kind,
    child: String,
    holds: bool,
    owner: Owner,
    victim: Value,
    foreign: DynamicObject,
    api: Api<DynamicObject>,
}

#[tokio::test]
async fn a_foreign_object_survives_holds_what_depends_on_it_and_heals_when_it_goes() -> Result<()> {
    let cluster = Cluster::get().await?;
    let namespace = cluster.namespace("foreign").await?;
    let _operator = Operator::start(&cluster).await?;
    let other = service(&cluster, &namespace.name, "other").await?.made().await?;
    let mut making = Vec::new();
    for (index, (kind, suffix, holds)) in CASES.into_iter().enumerate() {
        for owner in [Owner::Nobody, Owner::Lookalike, Owner::Another] {
            let victim = format!("{}{index}", format!("{owner:?}").to_lowercase());
            making.push(prepare(&cluster, &namespace.name, (kind, suffix, holds), owner, victim, &other));
        }
    }
    try_join_all(
        making.into_iter().map(async |case| Box::pin(check(&cluster, &namespace.name, case.await?)).await),
    )
    .await?;
    Ok(())
}

/// Makes the foreign object and waits until the cluster's own controllers are done with it.
async fn prepare(
    cluster: &Cluster,
    namespace: &str,
    (kind, suffix, holds): (Kind, &str, bool),
    owner: Owner,
    victim: String,
    other: &HardenedService,
) -> Result<Case> {
    let child = format!("{victim}{suffix}");
    let resource = kind.api_resource();
    let mut object = body(kind);
    object["apiVersion"] = json!(resource.api_version);
    object["kind"] = json!(resource.kind);
    object["metadata"] = json!({"name": child, "annotations": {"example.com/owner": "somebody"}});
    if !matches!(owner, Owner::Nobody) {
        object["metadata"]["labels"] =
            json!({LABEL: victim, "app.kubernetes.io/managed-by": "hardened-operator"});
    }
    if matches!(owner, Owner::Another) {
        object["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "hardened.dev/v1alpha1", "kind": "HardenedService", "controller": true,
            "name": other.name_any(), "uid": other.uid().context("the other service has no uid")?,
        }]);
    }
    let api = Api::<DynamicObject>::namespaced_with(cluster.client.clone(), namespace, &resource);
    api.create(&PostParams::default(), &serde_json::from_value(object)?).await.context(child.clone())?;
    let settled = |object: &DynamicObject| match kind {
        Kind::Deployment => object.data["status"]["conditions"].as_array().is_some_and(|all| all.len() == 2),
        Kind::PodDisruptionBudget | Kind::HorizontalPodAutoscaler => {
            object.data["status"]["conditions"].is_array()
        }
        _ => true,
    };
    let foreign =
        wait_until(SOON, "the cluster's controllers to see it", async || match api.get(&child).await {
            Ok(object) if settled(&object) => Look::Done(object),
            other => Look::NotYet(format!("{other:?}")),
        })
        .await?;
    Ok(Case { kind, child, holds, owner, victim: busy(&victim)?, foreign, api })
}

async fn check(cluster: &Cluster, namespace: &str, case: Case) -> Result<()> {
    let what = format!("{} {} ({:?})", case.kind.as_str(), case.child, case.owner);
    let service = Service::create(cluster, namespace, &serde_json::from_value(case.victim.clone())?).await?;
    let stalled = service.until_reason("NameConflict").await?;
    let message = &condition(&stalled, "Ready").context("no Ready")?.message;
    assert!(message.contains(case.kind.as_str()) && message.contains(&case.child), "{what}: {message}");
    assert_eq!(condition(&stalled, "Stalled").map(|c| c.status.as_str()), Some("True"), "{what}");
    for child in &stalled.status.as_ref().context("no status")?.children {
        let expected = match (child.kind == case.kind.as_str() && child.name == case.child, &*child.kind) {
            (true, _) => ChildState::Conflict,
            (_, "Deployment") if case.holds => ChildState::Held,
            _ => ChildState::Applied,
        };
        assert_eq!(child.state, expected, "{what}: {} {}", child.kind, child.name);
    }
    let deployment = service.child(Kind::Deployment, &service.name).await?;
    assert_eq!(deployment.is_some(), !case.holds, "{what}: the Deployment is there or not");
    let now = case.api.get(&case.child).await?;
    assert_eq!(serde_json::to_value(&now)?, serde_json::to_value(&case.foreign)?, "{what} was touched");

    case.api.delete(&case.child, &DeleteParams::background()).await?;
    let healed =
        wait_until(HEAL_LIMIT, &format!("{what} to be replaced by the child"), async || {
            match service.get().await {
                Ok(live) if all_applied(&live) => Look::Done(live),
                other => Look::NotYet(format!("{:#?}", other.map(|s| s.status))),
            }
        })
        .await?;
    assert_eq!(condition(&healed, "Stalled").map(|c| c.status.as_str()), Some("False"), "{what}");
    for (kind, name) in wanted(&healed) {
        assert!(service.child(kind, &name).await?.is_some(), "{what}: {} {name} is missing", kind.as_str());
    }
    Ok(())
}

fn all_applied(service: &HardenedService) -> bool {
    let children = service.status.as_ref().map(|status| &*status.children).unwrap_or_default();
    children.len() == wanted(service).len() && children.iter().all(|child| child.state == ChildState::Applied)
}

#[tokio::test]
async fn what_already_runs_keeps_running_when_a_foreign_object_takes_the_place_of_a_child() -> Result<()> {
    let cluster = Cluster::get().await?;
    let namespace = cluster.namespace("taken").await?;
    let mut operator = Operator::start(&cluster).await?;
    let mut taken = Vec::new();
    for (index, (kind, suffix, _)) in CASES.into_iter().enumerate().filter(|(_, (_, _, holds))| *holds) {
        let service = service(&cluster, &namespace.name, &format!("taken{index}")).await?;
        let child = format!("{}{suffix}", service.name);
        service.made().await?;
        taken.push((service, kind, child));
    }
    let mut before = Vec::new();
    for (service, ..) in &taken {
        before.push(deployed(service).await?);
    }
    operator.kill().await?;
    for (service, kind, child) in &taken {
        let api = service.children_api(*kind);
        api.delete(child, &DeleteParams::background()).await?;
        let mut object = body(*kind);
        object["metadata"] = json!({"name": child});
        api.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
    }
    operator.restart().await?;
    for ((service, kind, child), before) in taken.iter().zip(before) {
        let stalled = service.until_reason("NameConflict").await?;
        let message = &condition(&stalled, "Ready").context("no Ready")?.message;
        assert!(message.contains(kind.as_str()) && message.contains(child), "{message}");
        assert_eq!(deployed(service).await?, before, "{child}: what runs was touched");
    }
    Ok(())
}

/// What must not change of a running Deployment: uid, generation, spec.
async fn deployed(service: &Service) -> Result<Value> {
    let live = service.child(Kind::Deployment, &service.name).await?.context("no Deployment")?;
    Ok(json!([live["metadata"]["uid"], live["metadata"]["generation"], live["spec"]]))
}

async fn service(cluster: &Cluster, namespace: &str, name: &str) -> Result<Service> {
    Service::create(cluster, namespace, &serde_json::from_value(busy(name)?)?).await
}

/// A service with every kind of child.
fn busy(name: &str) -> Result<Value> {
    let mut service = serde_json::to_value(example("autoscaling")?)?;
    service["metadata"]["name"] = json!(name);
    Ok(service)
}

/// A valid object of the kind that no child looks like.
fn body(kind: Kind) -> Value {
    let selector = json!({"matchLabels": {"app": "foreign"}});
    match kind {
        Kind::ServiceAccount => json!({"automountServiceAccountToken": true}),
        Kind::NetworkPolicy => json!({"spec": {"podSelector": selector, "policyTypes": ["Egress"]}}),
        Kind::ConfigMap => json!({"data": {"theirs": "value"}}),
        Kind::Secret => json!({"type": "Opaque", "stringData": {"theirs": "value"}}),
        Kind::Service => json!({"spec": {"selector": {"app": "foreign"}, "ports": [{"port": 80}]}}),
        Kind::PodDisruptionBudget => json!({"spec": {"selector": selector, "maxUnavailable": 2}}),
        Kind::HorizontalPodAutoscaler => json!({"spec": {
            "maxReplicas": 3,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "nobody"},
        }}),
        Kind::Deployment => json!({"spec": {
            "replicas": 0,
            "selector": selector,
            "template": {
                "metadata": {"labels": {"app": "foreign"}},
                "spec": {"containers": [{"name": "app", "image": "registry.local/foreign:1"}]},
            },
        }}),
        // Not in every cluster, and not of every service: cert_manager_faults.rs, least_privilege.rs.
        Kind::Certificate | Kind::Job => Value::Null,
    }
}
