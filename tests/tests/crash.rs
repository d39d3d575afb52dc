//! Does the operator reach the same end with the same key, wherever in its first writes it dies, loses an answer, or is
//! refused?

use std::time::Duration;

use anyhow::{Context, Result};
use crds::HardenedService;
use futures::future::try_join_all;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::ListParams;
use render::Kind;
use serde_json::{Value, json};
use testbed::drift::remove;
use testbed::fixture::{Service, example};
use testbed::home::home;
use testbed::operator::Options;
use testbed::{Cluster, Fault, FaultProxy, Look, Operator, wait_until};

/// Longer than the operator waits before it tries again what was refused.
const SAME_LIMIT: Duration = Duration::from_mins(1);
/// How often the answer to the Secret's write is lost.
const CHANCES: usize = 12;
/// Writes of a first start: CA, HMAC key, and the ConfigMap that remembers them.
const KEYS: usize = 3;

#[tokio::test]
async fn killed_after_each_write_of_the_first_reconcile_it_ends_the_same() -> Result<()> {
    let cluster = Cluster::get().await?;
    let proxy = FaultProxy::start(&cluster).await?;
    let mut operator = Operator::start_with(&cluster, through(&proxy)).await?;
    let (namespace, clean) = reference(&cluster, &proxy).await?;
    let writes = first_reconcile(&proxy, &namespace.name);
    // The namespaces stay until the end: each restart must also find the earlier services in order.
    let mut namespaces = vec![namespace];
    for count in 1..=writes.len() {
        let namespace = cluster.namespace("killed").await?;
        proxy.kill_after_writes(count, operator.pid());
        let service = Service::create(&cluster, &namespace.name, &studio()?).await?;
        operator.wait_end().await.with_context(|| format!("write {count}: {}", writes[count - 1]))?;
        operator.restart().await?;
        same(&service, &clean, &proxy)
            .await
            .with_context(|| format!("killed after {}", writes[count - 1]))?;
        namespaces.push(namespace);
    }
    println!("killed after each of {} writes: {writes:#?}", writes.len());
    Ok(())
}

#[tokio::test]
async fn killed_after_each_write_of_the_very_first_start_it_has_one_ca_and_one_hmac_key() -> Result<()> {
    let cluster = Cluster::get().await?;
    for count in 1..=KEYS {
        let home = home(&cluster, "home").await?;
        let proxy = FaultProxy::start(&cluster).await?;
        let options = Options { args: testbed::home::at(&home), ..through(&proxy) };
        // The proxy runs on this very thread: nothing passes it between the start and the next await.
        let mut operator = Operator::launch(&cluster, options).await?;
        proxy.kill_after_writes(count, operator.pid());
        operator.wait_end().await?;
        operator.restart().await?;
        let (_, ready) = operator.get("/readyz").await?;
        assert!(ready.contains("ca: ok"), "{ready}");
        let path = format!("/api/v1/namespaces/{}/", home.name);
        let posts = ["secrets", "secrets", "configmaps"].map(|resource| format!("POST {path}{resource}"));
        assert_eq!(proxy.writes(), posts, "killed after {count}: each key is made once");
        let secrets = Api::<Secret>::namespaced(cluster.client.clone(), &home.name);
        assert_eq!(secrets.list(&ListParams::default()).await?.items.len(), 2, "killed after {count}");
        let marker = Api::<ConfigMap>::namespaced(cluster.client.clone(), &home.name);
        assert!(marker.get_opt("hardened-operator-keys").await?.is_some(), "killed after {count}");
    }
    Ok(())
}

#[tokio::test]
async fn each_write_may_lose_its_answer_or_be_refused_once_and_it_ends_the_same() -> Result<()> {
    let cluster = Cluster::get().await?;
    let proxy = FaultProxy::start(&cluster).await?;
    let _operator = Operator::start_with(&cluster, through(&proxy)).await?;
    let (namespace, clean) = reference(&cluster, &proxy).await?;
    let writes = first_reconcile(&proxy, &namespace.name);
    let faults =
        [Fault::LoseAnswer, Fault::Refuse(409), Fault::Refuse(429), Fault::Refuse(500), Fault::Refuse(503)];
    let cases = writes.iter().enumerate().flat_map(|(good, write)| faults.map(|fault| (good, write, fault)));
    // Whether the watch or the next pass comes first is chance; where a second key is at stake it gets many.
    let secret =
        writes.iter().position(|write| write.ends_with("/secrets")).context("no Secret is written")?;
    let cases = cases.chain(std::iter::repeat_n((secret, &writes[secret], Fault::LoseAnswer), CHANCES));
    let (cluster, proxy, clean) = (&cluster, &proxy, &clean);
    let one = async |(good, write, fault): (usize, &String, Fault)| {
        let namespace = cluster.namespace("fault").await?;
        proxy.fault_after(&namespace.name, good, fault);
        let service = Service::create(cluster, &namespace.name, &studio()?).await?;
        same(&service, clean, proxy).await.with_context(|| format!("{fault:?} at {write}"))?;
        anyhow::Ok(namespace)
    };
    // A 429 asks the whole operator for a pause: many at once would only wait for each other.
    let (pauses, others): (Vec<_>, Vec<_>) = cases.partition(|(_, _, fault)| *fault == Fault::Refuse(429));
    // The namespaces are kept until all are done, so that the deletion of one does not slow the others.
    let mut namespaces = try_join_all(others.into_iter().map(&one)).await?;
    for case in pauses {
        namespaces.push(one(case).await?);
    }
    assert_eq!(proxy.faults_left(), Vec::<String>::new(), "these faults never happened");
    Ok(())
}

fn through(proxy: &FaultProxy) -> Options {
    Options { kubeconfig: Some(proxy.kubeconfig()), ..Options::default() }
}

fn studio() -> Result<HardenedService> {
    example("studio")
}

/// A service that nothing happened to: its namespace and its end state.
async fn reference(cluster: &Cluster, proxy: &FaultProxy) -> Result<(testbed::Namespace, Value)> {
    let namespace = cluster.namespace("clean").await?;
    let service = Service::create(cluster, &namespace.name, &studio()?).await?;
    service.made().await?;
    let clean = wait_until(SAME_LIMIT, "the first revision", async || match end(&service, proxy).await {
        Ok(end) if end["revision"] == "1" => Look::Done(end),
        other => Look::NotYet(other.map_err(|error| format!("{error:#}"))),
    })
    .await?;
    Ok((namespace, clean))
}

/// The writes up to the first status.
fn first_reconcile(proxy: &FaultProxy, namespace: &str) -> Vec<String> {
    let mut writes = writes(proxy, namespace);
    let status = writes.iter().position(|write| write.ends_with("/status"));
    writes.truncate(status.map_or(0, |status| status + 1));
    assert!(writes.len() > 8, "children and status: {writes:#?}");
    writes
}

fn writes(proxy: &FaultProxy, namespace: &str) -> Vec<String> {
    let within = format!("/namespaces/{namespace}/");
    proxy.writes().into_iter().filter(|write| write.contains(&within)).collect()
}

/// Waits until a service has the end state of the clean run.
async fn same(service: &Service, clean: &Value, proxy: &FaultProxy) -> Result<()> {
    service.made().await?;
    wait_until(SAME_LIMIT, "the same end", async || match end(service, proxy).await {
        Ok(end) if end == *clean => Look::Done(()),
        Ok(end) => Look::NotYet(differences(&end, clean)),
        Err(error) => Look::NotYet(vec![format!("{error:#}")]),
    })
    .await
}

/// Everything that must be the same whatever happened on the way, in a normal form.
async fn end(service: &Service, proxy: &FaultProxy) -> Result<Value> {
    let children = service.children().await?;
    let sets = Api::<ReplicaSet>::namespaced(service.api().into_client(), &service.namespace);
    let deployment = service.child(Kind::Deployment, &service.name).await?.context("no Deployment")?;
    // Whatever is written to a TLS Secret is a key: one write is one key.
    let keys = writes(proxy, &service.namespace).iter().filter(|write| write.contains("/secrets")).count();
    Ok(json!({
        "keys": keys,
        "revision": deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "replicaSets": sets.list(&ListParams::default()).await?.items.len(),
        "children": children.into_iter().map(|(_, child)| normal(child, &service.namespace)).collect::<Vec<_>>(),
    }))
}

/// A child without what differs between any two runs.
fn normal(mut child: Value, namespace: &str) -> String {
    remove(&mut child, "", &["status"]);
    remove(&mut child, "/metadata", &["uid", "resourceVersion", "creationTimestamp", "managedFields"]);
    remove(&mut child, "/metadata/ownerReferences/0", &["uid"]);
    remove(&mut child, "/spec", &["clusterIP", "clusterIPs"]);
    for key in ["tls.crt", "tls.key"] {
        if let Some(value) = child.pointer_mut(&format!("/data/{key}")) {
            *value = json!("present");
        }
    }
    child.to_string().replace(namespace, "NAMESPACE")
}

fn differences(left: &Value, right: &Value) -> Vec<String> {
    let parts = |end: &Value| -> Vec<String> {
        let children = end["children"].as_array().into_iter().flatten().map(Value::to_string);
        let counts = ["keys", "revision", "replicaSets"].iter().map(|key| format!("{key}: {}", end[*key]));
        counts.chain(children).collect()
    };
    let right = parts(right);
    parts(left).into_iter().filter(|part| !right.contains(part)).collect()
}
