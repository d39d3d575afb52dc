//! May an author use a Secret that they may not read? The chart's admission policy is asked on the real API server; that
//! without it the label on the Secret still holds the pods is tests/onboarding.rs.
#![allow(clippy::unwrap_used, reason = "an object of another shape fails the test")]

mod fields;

use std::time::Duration;

use anyhow::{Context as _, Result};
use crds::HardenedService;
use fields::{fields, sources, volumes};
use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, Validation, Variable};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use testbed::cluster::unique;
use testbed::{Cluster, Look, Namespace, fixture, wait_until};

/// The API server learns of policies and roles by watches of its own.
const SOON: Duration = Duration::from_secs(20);

struct Author {
    user: String,
    services: Api<HardenedService>,
    namespace: String,
    cluster: Cluster,
}

impl Author {
    /// Somebody who may write services and nothing else.
    async fn new(cluster: &Cluster, namespace: &Namespace) -> Result<Self> {
        let user = unique("author");
        let services = Api::namespaced(cluster.client_as(&user)?, &namespace.name);
        let author = Self { user, services, namespace: namespace.name.clone(), cluster: cluster.clone() };
        let verbs = ["get", "create", "update", "patch", "delete"];
        let rule = json!({"apiGroups": ["hardened.dev"], "resources": ["hardenedservices"], "verbs": verbs});
        author.grant("services", &rule).await?;
        wait_until(SOON, "the author's right", async || match author.services.get_opt("none").await {
            Ok(None) => Look::Done(()),
            other => Look::NotYet(format!("{other:?}")),
        })
        .await?;
        Ok(author)
    }

    async fn grant(&self, what: &str, rights: &Value) -> Result<()> {
        let name = format!("{}-{what}", self.user);
        let role = json!({"metadata": {"name": name}, "rules": [rights]});
        let api = "rbac.authorization.k8s.io";
        let binding = json!({
            "metadata": {"name": name},
            "roleRef": {"apiGroup": api, "kind": "Role", "name": name},
            "subjects": [{"kind": "User", "apiGroup": api, "name": self.user}],
        });
        let params = PostParams::default();
        let roles = Api::<Role>::namespaced(self.cluster.client.clone(), &self.namespace);
        roles.create(&params, &serde_json::from_value(role)?).await?;
        let bindings = Api::<RoleBinding>::namespaced(self.cluster.client.clone(), &self.namespace);
        bindings.create(&params, &serde_json::from_value(binding)?).await?;
        Ok(())
    }

    async fn may_read(&self, what: &str, secrets: &[String]) -> Result<()> {
        let rule =
            json!({"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": secrets});
        self.grant(what, &rule).await
    }

    /// `Ok`, or the message of the refusal; nothing is stored.
    async fn try_create(&self, spec: &Value) -> Result<Result<(), String>> {
        let params = PostParams { dry_run: true, ..PostParams::default() };
        Ok(refusal(self.services.create(&params, &service(spec)?).await)?)
    }

    async fn try_patch(&self, name: &str, patch: &Value) -> Result<Result<(), String>> {
        let params = PatchParams { dry_run: true, ..PatchParams::default() };
        Ok(refusal(self.services.patch(name, &params, &Patch::Merge(patch)).await)?)
    }

    /// Waits until the policy answers so, because it and the roles arrive a moment later.
    async fn until_create(&self, spec: &Value, wanted: impl Fn(&Result<(), String>) -> bool) -> Result<()> {
        wait_until(SOON, "the policy's answer", async || match self.try_create(spec).await {
            Ok(answer) if wanted(&answer) => Look::Done(()),
            other => Look::NotYet(format!("{other:?}")),
        })
        .await
    }
}

fn refusal<T>(answer: kube::Result<T>) -> kube::Result<Result<(), String>> {
    match answer {
        Ok(_) => Ok(Ok(())),
        Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(Err(status.message.clone())),
        Err(error) => Err(error),
    }
}

/// A small service with this merged into its spec.
fn service(spec: &Value) -> Result<HardenedService> {
    let mut object = json!({
        "apiVersion": "hardened.dev/v1alpha1",
        "kind": "HardenedService",
        "metadata": {"name": "guarded"},
        "spec": {"environment": "development", "workload": {"image": "registry.local/guarded:1"}},
    });
    merge(&mut object["spec"], spec);
    Ok(serde_json::from_value(object)?)
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

#[tokio::test]
async fn an_author_cannot_use_a_secret_that_they_may_not_read() -> Result<()> {
    let cluster = Cluster::get().await?;
    cluster.install().await?;
    let namespace = cluster.namespace("guarded").await?;
    let author = Author::new(&cluster, &namespace).await?;
    author.until_create(&volumes(&["db".into()]), Result::is_err).await?;
    assert_eq!(author.try_create(&json!({})).await?, Ok(()), "a service without Secrets was refused");
    for (field, spec) in fields("db") {
        let message = author.try_create(&spec).await?.unwrap_err();
        let fix = "name a Secret that you may read, or ask for a Role with verb get on secrets and resourceNames db";
        assert!(message.contains(field) && message.contains(fix), "{field}: {message}");
        assert!(message.contains(&author.user) && message.contains("Secret db in namespace"), "{message}");
    }

    author.may_read("db", &["db".into()]).await?;
    for (field, spec) in fields("db") {
        author.until_create(&spec, Result::is_ok).await.map_err(|error| error.context(field))?;
    }
    let other = author.try_create(&volumes(&["db".into(), "other".into()])).await?.unwrap_err();
    assert!(other.contains("Secret other"), "{other}");
    Ok(())
}

#[tokio::test]
async fn what_a_write_does_not_add_passes_for_everybody() -> Result<()> {
    let cluster = Cluster::get().await?;
    cluster.install().await?;
    let namespace = cluster.namespace("unchanged").await?;
    let used = json!({"workload": {
        "volumes": [{"name": "v", "mountPath": "/data", "secret": {"secretName": "db"}}],
        "imagePullSecrets": [{"name": "registry"}],
    }});
    let service = fixture::Service::create(&cluster, &namespace.name, &service(&used)?).await?;
    let author = Author::new(&cluster, &namespace).await?;
    author.until_create(&used, Result::is_err).await?;

    let name = &service.name;
    for harmless in [
        json!({"metadata": {"labels": {"team": "x"}}}),
        json!({"metadata": {"finalizers": ["example.com/backup"]}}),
        json!({"spec": {"workload": {"image": "registry.local/guarded:2"}}}),
        json!({"spec": {"workload": {"imagePullSecrets": []}}}),
    ] {
        assert_eq!(author.try_patch(name, &harmless).await?, Ok(()), "{harmless}");
    }
    for (what, patch) in [
        ("a new name", json!({"spec": volumes(&["other".into()])})),
        ("beside the old one", json!({"spec": volumes(&["db".into(), "other".into()])})),
        // A pull secret is the kubelet's alone; a volume is the container's.
        ("a known name in another field", json!({"spec": volumes(&["registry".into()])})),
    ] {
        let message = author.try_patch(name, &patch).await?.unwrap_err();
        assert!(message.contains("spec.workload.volumes.secret.secretName"), "{what}: {message}");
    }
    Ok(())
}

#[tokio::test]
async fn as_many_secrets_as_a_service_can_name_are_all_checked() -> Result<()> {
    let cluster = Cluster::get().await?;
    cluster.install().await?;
    let namespace = cluster.namespace("many").await?;
    let author = Author::new(&cluster, &namespace).await?;
    let names = |what, count| (0..count).map(|i| format!("{what}-{i}")).collect::<Vec<String>>();
    let (mounted, pulled, sourced) = (names("mounted", 16), names("pulled", 4), names("sourced", 4));
    let mut most = volumes(&mounted);
    merge(&mut most, &sources(&sourced));
    merge(
        &mut most,
        &json!({
            "workload": {"imagePullSecrets": pulled.iter().map(|name| json!({"name": name})).collect::<Vec<_>>()},
            "rateLimits": {"store": {"redis": {"secretRef": {"name": "store", "key": "url"}}}},
            "tls": {"issuer": {"secret": {"name": "certificate"}}},
        }),
    );
    let store = ["store".to_owned()];
    author.may_read("all", &[&mounted[..], &pulled, &sourced, &store].concat()).await?;
    let last =
        |answer: &Result<(), String>| answer.as_ref().is_err_and(|m| m.contains("Secret certificate in"));
    author.until_create(&most, last).await?;
    author.may_read("certificate", &["certificate".into()]).await?;
    author.until_create(&most, Result::is_ok).await?;
    // One right on all of them by name is asked for 26 times at most; more are refused, and never passed unasked.
    let (field, database) = fields("admin").pop().context("no field")?;
    merge(&mut most, &database);
    let message = author.try_create(&most).await?.unwrap_err();
    assert!(message.contains("names more than 26 Secrets"), "{field}: {message}");
    Ok(())
}

#[tokio::test]
async fn the_server_finds_nothing_to_say_about_the_policy_s_types() -> Result<()> {
    let cluster = Cluster::get().await?;
    cluster.install().await?;
    // The server checks a policy once: copies are checked now, when it serves the resource. Of variables it says nothing,
    // so the copy asks for them in a rule. That a wrong field is found shows that it looks.
    let wrong = |text: String| text.replace("?volumes", "?volumez");
    wait_until(SOON, "the type check", async || match warnings(&cluster, wrong).await {
        Ok(found) if found.contains("undefined field 'volumez'") => Look::Done(()),
        other => Look::NotYet(format!("{other:?}")),
    })
    .await?;
    assert_eq!(warnings(&cluster, |text| text).await?, "[]");
    Ok(())
}

/// What the server says about the types of a changed copy of the policy.
async fn warnings(cluster: &Cluster, change: impl Fn(String) -> String) -> Result<String> {
    let policies = Api::<ValidatingAdmissionPolicy>::all(cluster.client.clone());
    let mut spec = policies.get("hardened-operator-secrets").await?.spec.unwrap();
    let rule = |variable: &Variable| Validation {
        expression: change(format!("size({}) >= 0", variable.expression)),
        ..Validation::default()
    };
    let lists = spec.variables.iter().flatten().filter(|v| ["used", "before"].contains(&&*v.name));
    let rules: Vec<_> = lists.map(rule).collect();
    assert_eq!(rules.len(), 2);
    spec.validations.get_or_insert_default().extend(rules);
    let name = unique("copy");
    let copy = serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec}))?;
    policies.create(&PostParams::default(), &copy).await?;
    let checked = wait_until(SOON, "the status of a policy", async || match policies.get(&name).await {
        Ok(policy) => match policy.status {
            Some(status) if status.observed_generation.is_some() => Look::Done(status),
            other => Look::NotYet(format!("{other:?}")),
        },
        Err(error) => Look::NotYet(error.to_string()),
    })
    .await;
    policies.delete(&name, &DeleteParams::default()).await?;
    let found = checked?.type_checking.and_then(|check| check.expression_warnings).unwrap_or_default();
    Ok(serde_json::to_string(&found)?)
}

#[test]
fn every_field_that_names_a_secret_stands_in_the_policy() -> Result<()> {
    let text = std::fs::read_to_string(testbed::state::checkout().join("charts/install.yaml"))?;
    let definition = serde_json::to_value(crds::all().remove(0))?;
    let spec = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let mut found = Vec::new();
    secrets(spec, "spec", false, &mut found);
    assert!(found.len() > 2, "{found:?}");
    for field in found {
        assert!(text.contains(&format!("'{field}'")), "the policy does not know {field}");
    }
    Ok(())
}

/// Fields with the name of a Secret: `secretName`, or `name` below something that is called a secret.
fn secrets(schema: &Value, path: &str, inside: bool, found: &mut Vec<String>) {
    let schema = schema.get("items").unwrap_or(schema);
    for (key, value) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{key}");
        if key == "secretName" || (inside && key == "name") {
            found.push(path);
        } else {
            secrets(value, &path, key.to_lowercase().contains("secret"), found);
        }
    }
}
