//! What the API server accepts and refuses of a `HardenedService`. It asks by dry-run and needs no operator.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::wait::{await_condition, conditions::is_crd_established};
use kube::{Client, ResourceExt};
use serde::Deserialize;
use serde_json::{Value, json};
use testbed::wait::{Look, wait_until};
use testbed::{Cluster, Namespace};

const LIMIT: Duration = Duration::from_secs(20);
/// Hangs on the name, which cannot change: it can never lock an object that exists already.
const FROZEN_ROOT_RULE: &str =
    "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= 63";

#[derive(Deserialize)]
struct Invalid {
    title: String,
    spec: Value,
    field: String,
    fix: String,
}

#[tokio::test]
async fn each_invalid_resource_is_refused_with_its_field_and_the_fix() -> Result<()> {
    let (cluster, namespace) = ready().await?;
    let table: Vec<Invalid> = serde_saphyr::from_str(&read("fixtures/invalid.yaml")?)?;
    assert!(table.len() >= 40, "only {} entries", table.len());
    let mut answers = String::new();
    let mut wrong = Vec::new();
    for case in &table {
        let mut object = minimal("invalid");
        merge(&mut object["spec"], &case.spec);
        match dry_run(&cluster.client, &namespace, &object).await {
            Ok(()) => wrong.push(format!("{}: accepted", case.title)),
            Err(answer) if answer.contains(&case.field) && answer.contains(&case.fix) => answers += &answer,
            Err(answer) => wrong.push(format!("{}: {answer}", case.title)),
        }
    }
    assert!(wrong.is_empty(), "{} of {} are wrong:\n{}", wrong.len(), table.len(), wrong.join("\n"));
    let untested: Vec<_> =
        messages(&crd()?).into_iter().filter(|message| !answers.contains(message)).collect();
    assert!(untested.is_empty(), "no entry of the table meets these rules: {untested:#?}");
    Ok(())
}

#[tokio::test]
async fn names_of_1_40_and_63_characters_are_accepted_and_others_refused() -> Result<()> {
    let (cluster, namespace) = ready().await?;
    for length in [1, 40, 63] {
        let answer = dry_run(&cluster.client, &namespace, &minimal(&"a".repeat(length))).await;
        assert_eq!(answer, Ok(()), "{length} characters");
    }
    for name in ["a".repeat(64), "a.b".into(), "1a".into()] {
        let answer = dry_run(&cluster.client, &namespace, &minimal(&name)).await.expect_err(&name);
        assert!(
            answer.contains("metadata.name") && answer.contains("choose a shorter name"),
            "{name}: {answer}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn every_example_is_accepted() -> Result<()> {
    let (cluster, namespace) = ready().await?;
    let mut count = 0;
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples"))? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        for object in serde_saphyr::from_multiple::<Value>(&std::fs::read_to_string(&path)?)? {
            if object["kind"] != "HardenedService" {
                continue;
            }
            let answer = dry_run(&cluster.client, &namespace, &object).await;
            assert_eq!(answer, Ok(()), "{}", path.display());
            count += 1;
        }
    }
    assert!(count > 0, "no example found");
    Ok(())
}

#[tokio::test]
async fn nulls_are_dropped_and_a_new_object_says_that_nobody_has_looked_yet() -> Result<()> {
    let (cluster, namespace) = ready().await?;
    let mut object = minimal("nulls");
    object["spec"]["workload"]["autoscaling"] = json!({"maxReplicas": 3, "minReplicas": null});
    object["spec"]["tls"] = Value::Null;
    object["status"] = json!({"observedGeneration": 9});
    let created = services(&cluster, &namespace, &crd()?)
        .create(&PostParams::default(), &serde_json::from_value(object)?)
        .await?;
    assert_eq!(created.data["spec"]["workload"]["autoscaling"], json!({"maxReplicas": 3}));
    assert_eq!(created.data["spec"].get("tls"), None);
    assert_eq!(created.data["status"], json!({"observedGeneration": -1}));
    Ok(())
}

#[tokio::test]
async fn an_object_that_a_newer_schema_refuses_can_still_be_labelled_reported_and_deleted() -> Result<()> {
    let (cluster, namespace) = ready().await?;
    let strict = old_kind(crd()?);
    let mut lax = strict.clone();
    for version in &mut lax.spec.versions {
        let schema = version.schema.as_mut().and_then(|s| s.open_api_v3_schema.as_mut()).context("schema")?;
        let root: Value = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        schema.properties.get_or_insert_default().insert("spec".into(), serde_json::from_value(root)?);
    }
    install(&cluster.client, &lax).await?;
    let api = services(&cluster, &namespace, &lax);
    let mut object = minimal("old");
    object["kind"] = json!(lax.spec.names.kind);
    object["apiVersion"] = json!("old.hardened.dev/v1alpha1");
    object["metadata"]["finalizers"] = json!(["hardened.dev/test"]);
    object["spec"]["workload"]["image"] = json!("UPPER CASE");
    object["spec"]["workload"]["ports"] = json!({"http": 80});
    let old = api.create(&PostParams::default(), &serde_json::from_value(object.clone())?).await?;

    install(&cluster.client, &strict).await?;
    object["metadata"]["name"] = json!("new");
    let new: DynamicObject = serde_json::from_value(object)?;
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    wait_until(LIMIT, "the strict schema", async || {
        Look::when(api.create(&dry_run, &new).await.is_err(), |refused| *refused)
    })
    .await?;
    let merge = PatchParams::default();
    api.patch(&old.name_any(), &merge, &Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}}))).await?;
    let status = json!({"status": {"observedGeneration": 1, "url": "https://old.example.com"}});
    api.patch_status(&old.name_any(), &merge, &Patch::Merge(status)).await?;
    api.delete(&old.name_any(), &DeleteParams::default()).await?;
    api.patch(&old.name_any(), &merge, &Patch::Merge(json!({"metadata": {"finalizers": null}}))).await?;
    assert!(api.get_opt(&old.name_any()).await?.is_none(), "the object is still there");
    Ok(())
}

#[test]
fn the_only_rule_at_the_root_is_the_frozen_one_on_the_name() -> Result<()> {
    let schema = serde_json::to_value(crd()?)?;
    let rules = &schema["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["x-kubernetes-validations"];
    assert_eq!(rules.as_array().context("rules")?.len(), 1);
    assert_eq!(rules[0]["rule"], FROZEN_ROOT_RULE);
    Ok(())
}

fn crd() -> Result<CustomResourceDefinition> {
    crds::all().pop().context("one CRD")
}

/// The same schema under another name: changing the real one would disturb every other test.
fn old_kind(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    crd.spec.group = "old.hardened.dev".into();
    crd.metadata.name = Some(format!("{}.{}", crd.spec.names.plural, crd.spec.group));
    crd.spec.names.short_names = None;
    crd.spec.names.categories = None;
    crd
}

async fn ready() -> Result<(Cluster, Namespace)> {
    let cluster = Cluster::get().await?;
    install(&cluster.client, &crd()?).await?;
    let namespace = cluster.namespace("schema").await?;
    Ok((cluster, namespace))
}

async fn install(client: &Client, crd: &CustomResourceDefinition) -> Result<()> {
    let api = Api::<CustomResourceDefinition>::all(client.clone());
    let name = crd.name_any();
    api.patch(&name, &PatchParams::apply("testbed").force(), &Patch::Apply(crd)).await?;
    tokio::time::timeout(LIMIT, await_condition(api, &name, is_crd_established())).await??;
    Ok(())
}

fn services(cluster: &Cluster, namespace: &Namespace, crd: &CustomResourceDefinition) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk(&crd.spec.group, "v1alpha1", &crd.spec.names.kind);
    let resource = ApiResource::from_gvk_with_plural(&kind, &crd.spec.names.plural);
    Api::namespaced_with(cluster.client.clone(), &namespace.name, &resource)
}

/// As `kubectl apply` asks: unknown fields are refused. The error is the server's message.
async fn dry_run(client: &Client, namespace: &Namespace, object: &Value) -> Result<(), String> {
    let mut object = object.clone();
    object["metadata"]["namespace"] = json!(namespace.name);
    let uri = format!(
        "/apis/hardened.dev/v1alpha1/namespaces/{}/hardenedservices?dryRun=All&fieldValidation=Strict",
        namespace.name
    );
    let request = http::Request::post(uri).header("content-type", "application/json");
    let request = request.body(object.to_string().into_bytes()).map_err(|error| error.to_string())?;
    match client.request::<Value>(request).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => Err(status.message),
        Err(error) => Err(format!("no answer: {error}")),
    }
}

fn minimal(name: &str) -> Value {
    json!({
        "apiVersion": "hardened.dev/v1alpha1",
        "kind": "HardenedService",
        "metadata": {"name": name},
        "spec": {"environment": "development", "workload": {"image": "ghcr.io/acme/studio:1.4.2"}},
    })
}

/// JSON merge patch (RFC 7396).
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    let mut members = target.as_object().cloned().unwrap_or_default();
    for (key, value) in patch {
        if value.is_null() {
            members.remove(key);
        } else {
            merge(members.entry(key).or_insert(Value::Null), value);
        }
    }
    *target = Value::Object(members);
}

/// Messages of all rules under `spec`.
fn messages(crd: &CustomResourceDefinition) -> BTreeSet<String> {
    fn walk(schema: &Value, found: &mut BTreeSet<String>) {
        let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
        found.extend(rules.filter_map(|rule| rule["message"].as_str().map(str::to_owned)));
        let properties = schema["properties"].as_object().into_iter().flat_map(|map| map.values());
        let inner =
            [&schema["items"], &schema["additionalProperties"]].into_iter().filter(|child| child.is_object());
        for child in properties.chain(inner) {
            walk(child, found);
        }
    }
    let crd = serde_json::to_value(crd).unwrap_or_default();
    let mut found = BTreeSet::new();
    walk(&crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"], &mut found);
    found
}

fn read(path: &str) -> Result<String> {
    Ok(std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))?)
}
