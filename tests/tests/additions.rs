//! Is what somebody adds to a child gone soon, and does an event say who added what? One line for each addition of
//! which an attack is known.

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PostParams};
use render::Kind;
use serde_json::{Value, json};
use testbed::drift::{MALLORY, attack, essence, remove, told, undone};
use testbed::fixture::{Service, example};
use testbed::{Cluster, Namespace, Operator};

const POD: &str = "/spec/template/spec";
const APP: &str = "/spec/template/spec/containers/0";
/// Attacks run one after the other on each of so many services.
const SERVICES: usize = 8;

/// An addition: to which child (`NAME-suffix`), by which JSON patch, and the path that the event must name.
struct Addition(Kind, &'static str, Value, &'static str);

fn add(path: &str, value: impl Into<Value>) -> Value {
    let value = value.into();
    json!([{"op": "add", "path": path, "value": value}])
}

fn pod(path: &str, value: Value, told: &'static str) -> Addition {
    Addition(Kind::Deployment, "", add(&format!("{POD}{path}"), value), told)
}

fn app(path: &str, value: Value, told: &'static str) -> Addition {
    Addition(Kind::Deployment, "", add(&format!("{APP}{path}"), value), told)
}

fn of(kind: Kind, path: &str, value: Value, told: &'static str) -> Addition {
    Addition(kind, "", add(path, value), told)
}

fn pods() -> Vec<Addition> {
    let evil = || json!({"name": "evil", "image": "registry.example/evil:1"});
    let volume = json!([
        {"op": "add", "path": format!("{POD}/volumes/-"), "value": {"name": "host", "hostPath": {"path": "/"}}},
        {"op": "add", "path": format!("{APP}/volumeMounts/-"), "value": {"name": "host", "mountPath": "/host"}},
    ]);
    let privileged = json!([
        {"op": "add", "path": format!("{APP}/securityContext/privileged"), "value": true},
        {"op": "remove", "path": format!("{APP}/securityContext/allowPrivilegeEscalation")},
    ]);
    let from = json!([{"secretRef": {"name": "other"}}]);
    vec![
        pod("/containers/-", evil(), "spec.template.spec.containers[evil]"),
        pod("/initContainers", json!([evil()]), "spec.template.spec.initContainers"),
        pod("/hostNetwork", json!(true), "spec.template.spec.hostNetwork"),
        pod("/hostPID", json!(true), "spec.template.spec.hostPID"),
        pod("/hostIPC", json!(true), "spec.template.spec.hostIPC"),
        pod("/shareProcessNamespace", json!(true), "spec.template.spec.shareProcessNamespace"),
        pod(
            "/hostAliases",
            json!([{"ip": "10.0.0.1", "hostnames": ["db"]}]),
            "spec.template.spec.hostAliases",
        ),
        pod("/automountServiceAccountToken", json!(true), "spec.template.spec.automountServiceAccountToken"),
        pod("/securityContext/sysctls", json!([{"name": "a.b", "value": "1"}]), "securityContext.sysctls"),
        Addition(Kind::Deployment, "", volume.clone(), "spec.template.spec.volumes[host]"),
        Addition(Kind::Deployment, "", volume, "spec.template.spec.containers[app].volumeMounts[host]"),
        Addition(Kind::Deployment, "", privileged, "securityContext.privileged"),
        app(
            "/securityContext/runAsUser",
            json!(0),
            "spec.template.spec.containers[app].securityContext.runAsUser",
        ),
        app("/securityContext/capabilities/add", json!(["SYS_ADMIN"]), "securityContext.capabilities.add"),
        app("/command", json!(["/bin/sh"]), "spec.template.spec.containers[app].command"),
        app("/args", json!(["-c", "evil"]), "spec.template.spec.containers[app].args"),
        app("/env/-", json!({"name": "LD_PRELOAD", "value": "/tmp/x.so"}), "containers[app].env[LD_PRELOAD]"),
        app("/envFrom", from, "spec.template.spec.containers[app].envFrom"),
        app("/lifecycle/postStart", json!({"exec": {"command": ["/x"]}}), "lifecycle.postStart"),
        pod("/nodeName", json!("node"), "spec.template.spec.nodeName"),
        of(Kind::Deployment, "/spec/minReadySeconds", json!(9), "spec.minReadySeconds"),
        of(
            Kind::Deployment,
            "/spec/template/metadata/annotations/container.apparmor.security.beta.kubernetes.io~1app",
            json!("unconfined"),
            "spec.template.metadata.annotations.container.apparmor.security.beta.kubernetes.io/app",
        ),
    ]
}

fn others() -> Vec<Addition> {
    let external = json!([
        {"op": "add", "path": "/spec/type", "value": "ExternalName"},
        {"op": "add", "path": "/spec/externalName", "value": "evil.example.com"},
    ]);
    let balancer = "/metadata/annotations";
    let port = json!({"name": "debug", "port": 2345, "targetPort": 2345});
    let key = "data.LD_PRELOAD";
    vec![
        Addition(Kind::Secret, "-tls", add("/data/LD_PRELOAD", json!("eA==")), key),
        Addition(Kind::Secret, "-tls", add("/immutable", json!(true)), "immutable"),
        Addition(Kind::ConfigMap, "-policy", add("/data/LD_PRELOAD", json!("x")), key),
        Addition(Kind::ConfigMap, "-ca", add("/binaryData", json!({"x": "eA=="})), "binaryData"),
        Addition(Kind::ConfigMap, "-policy", add("/immutable", json!(true)), "immutable"),
        of(Kind::Service, "/spec/externalIPs", json!(["192.0.2.1"]), "spec.externalIPs"),
        of(Kind::Service, "/spec/type", json!("NodePort"), "spec.type"),
        of(Kind::Service, "/spec/type", json!("LoadBalancer"), "spec.type"),
        Addition(Kind::Service, "", external, "spec.externalName"),
        of(Kind::Service, "/spec/ports/-", port, "spec.ports[debug]"),
        of(Kind::Service, "/spec/publishNotReadyAddresses", json!(true), "spec.publishNotReadyAddresses"),
        of(
            Kind::Service,
            balancer,
            json!({"service.beta.kubernetes.io/aws-load-balancer-type": "external"}),
            "metadata.annotations",
        ),
        of(Kind::NetworkPolicy, "/spec/ingress/-", json!({}), "spec.ingress"),
        of(Kind::NetworkPolicy, "/spec/egress/-", json!({}), "spec.egress"),
        of(
            Kind::ServiceAccount,
            "/automountServiceAccountToken",
            json!(true),
            "automountServiceAccountToken",
        ),
        of(Kind::ServiceAccount, "/imagePullSecrets", json!([{"name": "x"}]), "imagePullSecrets"),
        of(Kind::ServiceAccount, "/secrets", json!([{"name": "x"}]), "secrets"),
        of(
            Kind::ServiceAccount,
            balancer,
            json!({"eks.amazonaws.com/role-arn": "arn:x"}),
            "metadata.annotations",
        ),
        of(
            Kind::PodDisruptionBudget,
            "/spec/selector/matchLabels/x",
            json!("y"),
            "spec.selector.matchLabels.x",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_addition_is_gone_within_five_seconds_and_an_event_says_by_whom_and_where() -> Result<()> {
    let cluster = Cluster::get().await?;
    let namespace = cluster.namespace("additions").await?;
    let _operator = Operator::start(&cluster).await?;
    let additions: Vec<_> = pods().into_iter().chain(others()).collect();
    let services = try_join_all((0..SERVICES).map(|number| made(&cluster, &namespace, number))).await?;
    let attacks = services.iter().enumerate().map(|(number, service)| {
        let (cluster, mine) = (&cluster, additions.iter().skip(number).step_by(SERVICES));
        async move {
            for addition in mine {
                let what = format!("{} {}", addition.0.as_str(), addition.2);
                add_and_wait(cluster, service, addition).await.context(what)?;
            }
            added_owner(cluster, service).await
        }
    });
    try_join_all(attacks).await?;
    Ok(())
}

async fn made(cluster: &Cluster, namespace: &Namespace, number: usize) -> Result<Service> {
    let mut service = example("studio")?;
    service.metadata.name = Some(format!("studio-{number}"));
    // As the platform's settings would add openings: a policy without any has no list to add to.
    service.spec.network = Some(serde_json::from_value(json!({
        "ingressFrom": [{"podSelector": {"matchLabels": {"app": "frontend"}}}],
        "egressTo": [{"podSelector": {"matchLabels": {"app": "postgres"}}, "ports": [{"port": 5432}]}],
    }))?);
    let made = Service::create(cluster, &namespace.name, &service).await?;
    made.made().await?;
    Ok(made)
}

async fn add_and_wait(
    cluster: &Cluster,
    service: &Service,
    Addition(kind, suffix, patch, field): &Addition,
) -> Result<()> {
    let name = format!("{}{suffix}", service.name);
    let before = service.child(*kind, &name).await?.context("no such child")?;
    let patch: Patch<Value> = Patch::Json(serde_json::from_value(patch.clone())?);
    let after =
        attack(service, *kind, &name, &patch).await?.map_err(|refusal| anyhow::anyhow!(refusal.message))?;
    ensure!(essence(&after) != essence(&before), "the addition changed nothing");
    let wanted = comparable(&before, &after);
    undone(service, *kind, &name, |live| comparable(live, &after) == wanted).await?;
    told(cluster, service, "DriftReverted", &[kind.as_str(), &name, field, MALLORY]).await?;
    Ok(())
}

/// An object that cannot be changed back is made anew, and a Service that lost its address gets another one.
fn comparable(object: &Value, attacked: &Value) -> Value {
    let mut object = essence(object);
    if attacked["immutable"] == true {
        remove(&mut object, "/metadata", &["uid", "creationTimestamp"]);
    }
    if attacked["spec"]["type"] == "ExternalName" {
        remove(&mut object, "/spec", &["clusterIP", "clusterIPs"]);
    }
    object
}

/// A second owner would keep the child alive, or take it along, against its service's will. The owner is a real one:
/// the garbage collector removes a reference to one that is not there by itself.
async fn added_owner(cluster: &Cluster, service: &Service) -> Result<()> {
    let owner =
        service.child(Kind::ConfigMap, &format!("{}-ca", service.name)).await?.context("no CA bundle")?;
    let reference = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"]});
    let addition = add("/metadata/ownerReferences/-", reference);
    add_and_wait(cluster, service, &Addition(Kind::Deployment, "", addition, "metadata.ownerReferences"))
        .await
}

/// Somebody deletes the Secret while the operator is away, and puts one of another type in its place that claims to be
/// the service's.
#[tokio::test]
async fn a_secret_of_another_type_with_a_forged_owner_is_replaced() -> Result<()> {
    let cluster = Cluster::get().await?;
    let namespace = cluster.namespace("forged").await?;
    let mut operator = Operator::start(&cluster).await?;
    let service = made(&cluster, &namespace, 0).await?;
    let name = format!("{}-tls", service.name);
    let before = service.child(Kind::Secret, &name).await?.context("no Secret")?;
    operator.kill().await?;
    let secrets = service.children_api(Kind::Secret);
    secrets.delete(&name, &DeleteParams::default()).await?;
    let metadata = &before["metadata"];
    let forged = json!({
        "metadata": {"name": name, "labels": metadata["labels"], "ownerReferences": metadata["ownerReferences"]},
        "type": "Opaque",
        "data": before["data"],
    });
    let params = PostParams { field_manager: Some(MALLORY.into()), ..PostParams::default() };
    let forged = secrets.create(&params, &serde_json::from_value(forged)?).await?;
    operator.restart().await?;
    undone(&service, Kind::Secret, &name, |live| {
        live["type"] == "kubernetes.io/tls" && live["metadata"]["uid"] != json!(forged.uid())
    })
    .await?;
    told(&cluster, &service, "DriftReverted", &["Secret", &name, "type", MALLORY]).await?;
    Ok(())
}
