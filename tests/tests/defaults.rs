//! What render writes is what the API server answers, so that the operator's compare is plain equality. No operator
//! runs here.

#![allow(clippy::unwrap_used, reason = "the random services are made by code that only tests use")]

#[path = "../../render/tests/arbitrary/mod.rs"]
mod arbitrary;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use crds::HardenedService;
use kube::ResourceExt;
use kube::api::{Api, DynamicObject, PostParams};
use kube::core::ApiResource;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use render::{Body, Child, DatabaseJob, Facts, Jobs, Settings, desired};
use serde_json::{Value, json};
use testbed::{Cluster, Namespace};

/// Enough for every value of every field to come up several times, few enough for a quarter of a minute.
const RANDOM_SERVICES: usize = 60;
/// What the server and the Deployment's controller add to metadata.
const ADDED: [&str; 6] =
    ["annotations", "uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"];
/// What a Service carries from one write to the next.
const CARRIED: [&str; 4] = ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"];

/// What the server adds to a Job's pods.
const JOB_LABELS: [&str; 4] =
    ["batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name", "controller-uid", "job-name"];

#[tokio::test]
async fn every_child_of_every_example_comes_back_as_it_was_sent() -> Result<()> {
    let cluster = Cluster::get().await?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut seen = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let context = || path.display().to_string();
        // Not onboarded, so that no operator that another test runs touches the children.
        let namespace = cluster.foreign_namespace("defaults").await?;
        let mut service: HardenedService =
            serde_saphyr::from_str(&fs::read_to_string(&path)?).with_context(context)?;
        service.metadata.namespace = Some(namespace.name.clone());
        for child in desired(&service, &facts(&service)).into_objects() {
            let kind = child.kind.as_str();
            let api = api(&cluster, &namespace, &child.kind.api_resource());
            let sent = whole(child);
            post(&api, &sent, false).await.with_context(context)?;
            let back = serde_json::to_value(api.get(sent["metadata"]["name"].as_str().unwrap_or("")).await?)?;
            assert_eq!(differences(&sent, &comparable(back), ""), "", "{kind} of {}", path.display());
            seen += 1;
        }
    }
    ensure!(seen >= 7 * 10, "only {seen} children");
    Ok(())
}

#[tokio::test]
async fn every_child_of_random_services_comes_back_as_it_was_sent() -> Result<()> {
    let cluster = Cluster::get().await?;
    let namespace = cluster.foreign_namespace("defaults").await?;
    install_crd(&cluster).await?;
    let custom = ApiResource::erase::<HardenedService>(&());
    for service in random_services(&namespace) {
        let shown = || serde_json::to_string_pretty(&service.spec).unwrap_or_default();
        let asked = json!(HardenedService::new(&service.name_any(), service.spec.clone()));
        post(&api(&cluster, &namespace, &custom), &asked, true).await.with_context(shown)?;
        for child in desired(&service, &Facts::default()).into_objects() {
            let kind = child.kind.as_str();
            let api = api(&cluster, &namespace, &child.kind.api_resource());
            let sent = whole(child);
            let back = post(&api, &sent, true).await.with_context(shown)?;
            assert_eq!(differences(&sent, &comparable(back), ""), "", "{kind} of {}", shown());
        }
    }
    Ok(())
}

/// With everything that comes and goes when values change, or when a database is looked at.
fn facts(service: &HardenedService) -> Facts {
    let changed = !render::login::logins(service).is_empty();
    let jobs = Jobs { image: Some("example.com/operator:1".into()), alter_system: false };
    Facts {
        settings: Settings { jobs, ..Settings::default() },
        login: changed.then(|| "0123456789".into()),
        database: Some(DatabaseJob { run: "0a1b2c3d4e".into(), verify_only: true }),
        keeps_values_before: changed,
        ..Facts::default()
    }
}

/// Always the same ones: a failure is found again by running it again.
fn random_services(namespace: &Namespace) -> Vec<HardenedService> {
    let mut runner = TestRunner::deterministic();
    let services = arbitrary::service();
    let mut service = || {
        let mut service = services.new_tree(&mut runner).unwrap().current();
        service.metadata.namespace = Some(namespace.name.clone());
        service.metadata.uid = None;
        service
    };
    (0..RANDOM_SERVICES).map(|_| service()).collect()
}

async fn install_crd(cluster: &Cluster) -> Result<()> {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
    use kube::api::{Patch, PatchParams};
    use kube::runtime::wait::{await_condition, conditions::is_crd_established};

    let api = Api::<CustomResourceDefinition>::all(cluster.client.clone());
    for crd in crds::all() {
        let name = crd.name_any();
        api.patch(&name, &PatchParams::apply("testbed").force(), &Patch::Apply(&crd)).await?;
        let established = await_condition(api.clone(), &name, is_crd_established());
        tokio::time::timeout(std::time::Duration::from_secs(20), established).await??;
    }
    Ok(())
}

fn api(cluster: &Cluster, namespace: &Namespace, resource: &ApiResource) -> Api<DynamicObject> {
    Api::namespaced_with(cluster.client.clone(), &namespace.name, resource)
}

async fn post(api: &Api<DynamicObject>, object: &Value, dry_run: bool) -> Result<Value> {
    let params = PostParams { dry_run, ..PostParams::default() };
    let answer = api.create(&params, &serde_json::from_value(object.clone())?).await;
    Ok(serde_json::to_value(answer.with_context(|| format!("create {object:#}"))?)?)
}

/// The object as the operator would send it; a Secret with values of no meaning.
fn whole(child: Child) -> Value {
    match child.body {
        Body::Object(value) => value,
        Body::Secret(plan) => {
            let data: serde_json::Map<_, _> =
                plan.keys.iter().map(|key| (key.to_string(), json!("eA=="))).collect();
            let mut whole =
                json!({"apiVersion": "v1", "kind": "Secret", "type": plan.type_, "metadata": plan.metadata});
            if !data.is_empty() {
                whole["data"] = data.into();
            }
            whole
        }
    }
}

/// The answer without what the server owns.
fn comparable(mut object: Value) -> Value {
    let remove = |part: Option<&mut Value>, keys: &[&str]| {
        if let Some(map) = part.and_then(Value::as_object_mut) {
            map.retain(|key, _| !keys.contains(&key.as_str()));
        }
    };
    let kind = object["kind"].clone();
    remove(object.get_mut("metadata"), &ADDED);
    remove(Some(&mut object), &["status"]);
    if kind == "Job" {
        remove(object.get_mut("spec"), &["selector"]);
        remove(object.pointer_mut("/spec/template/metadata/labels"), &JOB_LABELS);
    }
    if kind == "Service" {
        remove(object.get_mut("spec"), &CARRIED);
    }
    object
}

/// One line for each place where the answer differs.
fn differences(sent: &Value, answer: &Value, path: &str) -> String {
    match (sent, answer) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<_> = a.keys().chain(b.keys()).collect();
            let at = |key: &String| differences(&sent[key], &answer[key], &format!("{path}.{key}"));
            keys.into_iter().map(at).collect()
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => a
            .iter()
            .zip(b)
            .enumerate()
            .map(|(i, (a, b))| differences(a, b, &format!("{path}[{i}]")))
            .collect(),
        _ if sent == answer => String::new(),
        _ => format!("{path}: sent {sent}, answer {answer}\n"),
    }
}
