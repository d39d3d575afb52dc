//! Does every custom resource that the API server accepts give pods that it admits where Pod Security `restricted` is
//! enforced? Random resources, asked by dry run; no operator runs here. `PSA_CASES` sets how many, `PSA_SEED` which.

#![allow(clippy::unwrap_used, reason = "the random services are made by code that only tests use")]

#[path = "../../render/tests/arbitrary/mod.rs"]
mod arbitrary;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use crds::HardenedService;
use futures::StreamExt;
use kube::{Client, ResourceExt};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use render::{Facts, desired};
use serde_json::{Value, json};
use testbed::Cluster;

const CASES: usize = 2000;
/// Requests at once: enough to keep a small machine busy, too few for the API server to refuse any.
const AT_ONCE: usize = 16;
/// Wrong answers that are shown in full.
const SHOWN: usize = 3;

/// What a pod must not have, one thing each, as a change of its spec.
fn loosened() -> Vec<(&'static str, Value)> {
    let container = |part: Value| json!({"containers": [{"securityContext": part}]});
    vec![
        ("host network", json!({"hostNetwork": true})),
        ("host processes", json!({"hostPID": true})),
        ("host IPC", json!({"hostIPC": true})),
        ("a folder of the node", json!({"volumes": [{"name": "node", "hostPath": {"path": "/"}}]})),
        (
            "a port of the node",
            json!({"containers": [{"ports": [{"containerPort": 8443, "hostPort": 8443}]}]}),
        ),
        ("privileged", container(json!({"privileged": true, "allowPrivilegeEscalation": true}))),
        ("escalation", container(json!({"allowPrivilegeEscalation": true}))),
        ("a capability added", container(json!({"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}}))),
        ("capabilities kept", container(json!({"capabilities": null}))),
        ("may be root", container(json!({"runAsNonRoot": false}))),
        ("root", container(json!({"runAsUser": 0}))),
        ("no seccomp profile", json!({"securityContext": {"seccompProfile": null}})),
        ("a sysctl", json!({"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}})),
        ("an SELinux user", json!({"securityContext": {"seLinuxOptions": {"user": "system_u"}}})),
    ]
}

#[tokio::test]
async fn every_accepted_resource_gives_pods_that_are_admitted() -> Result<()> {
    let cluster = Cluster::get().await?;
    cluster.install().await?;
    let namespace = cluster.foreign_namespace("restricted").await?;
    let (cases, seed) = (setting("PSA_CASES", CASES)?, setting("PSA_SEED", fresh_seed())?);
    eprintln!("{cases} random resources, PSA_SEED={seed}");
    let start = Instant::now();
    let wrong: Vec<String> = futures::stream::iter(random_services(seed).take(cases))
        .map(|service| fault(&cluster.client, &namespace.name, service))
        .buffer_unordered(AT_ONCE)
        .filter_map(async |fault| fault)
        .collect()
        .await;
    eprintln!("{cases} resources and their pods asked about in {:.1} s", start.elapsed().as_secs_f64());
    let shown = wrong.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("\n\n");
    ensure!(wrong.is_empty(), "{} of {cases} with PSA_SEED={seed}:\n{shown}", wrong.len());
    Ok(())
}

#[tokio::test]
async fn a_pod_that_is_looser_in_one_point_is_refused() -> Result<()> {
    let cluster = Cluster::get().await?;
    let namespace = cluster.foreign_namespace("restricted").await?;
    let service =
        random_services(fresh_seed()).find(|s| !s.spec.workload.user_namespaces.unwrap_or_default());
    let pod = pod_of(&service.context("none without a user namespace")?)?;
    ensure!(ask(&cluster.client, &namespace.name, &pod).await?.is_ok(), "the pod itself is refused: {pod}");
    for (what, change) in loosened() {
        let mut pod = pod.clone();
        merge(&mut pod["spec"], &change);
        let answer = ask(&cluster.client, &namespace.name, &pod).await?;
        let refusal = answer.err().with_context(|| format!("{what}: admitted"))?;
        ensure!(refusal.contains("violates PodSecurity \"restricted"), "{what}: {refusal}");
    }
    Ok(())
}

/// What the API server refuses of a resource or of its pods.
async fn fault(client: &Client, namespace: &str, service: HardenedService) -> Option<String> {
    let asked = json!(HardenedService::new(&service.name_any(), service.spec.clone()));
    let answers = async {
        if let Err(refusal) = ask(client, namespace, &asked).await? {
            return Ok(Some(format!("the resource is refused: {refusal}")));
        }
        let refusal = ask(client, namespace, &pod_of(&service)?).await?.err();
        anyhow::Ok(refusal.map(|refusal| format!("the pod is refused: {refusal}")))
    };
    let fault = answers.await.unwrap_or_else(|error| Some(format!("no answer: {error:#}")))?;
    Some(format!("{fault}\n{asked:#}"))
}

/// A pod from the template of the service's Deployment.
fn pod_of(service: &HardenedService) -> Result<Value> {
    let template = desired(service, &Facts::default()).deployment.spec.template;
    let mut pod =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": template.metadata, "spec": template.spec});
    pod["metadata"]["name"] = json!("pod");
    // These name objects that are not there; Pod Security does not look at them.
    let spec = pod["spec"].as_object_mut().context("no spec")?;
    spec.retain(|key, _| !["serviceAccountName", "serviceAccount", "priorityClassName"].contains(&&**key));
    Ok(pod)
}

/// A dry run of a POST, as `kubectl apply` asks: unknown fields are refused. The inner error is the server's refusal.
async fn ask(client: &Client, namespace: &str, object: &Value) -> Result<Result<(), String>> {
    let folder = match object["kind"].as_str() {
        Some("Pod") => format!("/api/v1/namespaces/{namespace}/pods"),
        _ => format!("/apis/hardened.dev/v1alpha1/namespaces/{namespace}/hardenedservices"),
    };
    let request = http::Request::post(format!("{folder}?dryRun=All&fieldValidation=Strict"))
        .header("content-type", "application/json")
        .body(object.to_string().into_bytes())?;
    match client.request::<Value>(request).await {
        Ok(_) => Ok(Ok(())),
        Err(kube::Error::Api(status)) if status.code < 500 => Ok(Err(status.message)),
        Err(error) => Err(error.into()),
    }
}

/// The same seed gives the same services.
fn random_services(seed: u64) -> impl Iterator<Item = HardenedService> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let services = arbitrary::service();
    std::iter::repeat_with(move || services.new_tree(&mut runner).unwrap().current())
}

fn fresh_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap_or(Duration::ZERO).as_secs()
}

fn setting<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    name: &str,
    default: T,
) -> Result<T> {
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name}={text}")),
        Err(_) => Ok(default),
    }
}

/// As a JSON merge patch (RFC 7396), but lists item by item, so that the first container is changed and not replaced;
/// what a list does not have is added.
fn merge(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(target.entry(key).or_insert(Value::Null), value);
            }
            target.retain(|_, value| !value.is_null());
        }
        (Value::Array(target), Value::Array(patch)) if patch[0].get("name").is_none() => {
            merge(&mut target[0], &patch[0]);
        }
        (Value::Array(target), Value::Array(patch)) => target.extend(patch.iter().cloned()),
        (target, patch) => *target = patch.clone(),
    }
}
