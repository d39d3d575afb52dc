//! Values out of a Secret that somebody else writes: does the workload get them while the label allows it, at once, and
//! keep what it has when they are gone?

use std::time::Duration;

use anyhow::{Result, ensure};
use crds::RestartCause::SecretsChanged;
use crds::SERVICE_LABEL;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use render::Kind;
use serde_json::{Value, json};
use testbed::audit::Audit;
use testbed::fixture::{OPERATOR, Service, named, rest};
use testbed::ledger::complete;
use testbed::vault::values::{SECRET, synced, until_told, until_values};
use testbed::{Cluster, Look, Namespace, Operator, wait_until};

/// A watch tells of it.
const SOON: Duration = Duration::from_secs(5);

struct Scene {
    cluster: Cluster,
    audit: Audit,
    namespace: Namespace,
    secrets: Api<Secret>,
    service: Service,
    _operator: Operator,
}

/// Two of its values are chosen.
fn db(values: &Value) -> Value {
    json!({"metadata": {"name": "db"}, "stringData": values})
}

fn label(value: &Value) -> Value {
    json!({"metadata": {"labels": {SERVICE_LABEL: value}}})
}

impl Scene {
    /// A Secret that nobody labelled, and a service that names it.
    async fn set() -> Result<Option<Self>> {
        let cluster = Cluster::get().await?;
        let Some(audit) = cluster.audit() else { return Ok(None) };
        let operator = Operator::start(&cluster).await?;
        let namespace = cluster.namespace("sources").await?;
        let secrets = Api::<Secret>::namespaced(cluster.client.clone(), &namespace.name);
        let first = serde_json::from_value(db(&json!({"user": "app", "password": "one", "more": "x"})))?;
        secrets.create(&PostParams::default(), &first).await?;
        let mut service = named("secrets", "shop")?;
        let keys = json!([{"key": "user", "name": "USER"}, {"key": "password", "name": "PASSWORD"}]);
        let source = json!({"sources": [{"secret": {"name": "db", "keys": keys}}]});
        service.spec.secrets = serde_json::from_value(source)?;
        let service = Service::create(&cluster, &namespace.name, &service).await?;
        Ok(Some(Self { cluster, audit, namespace, secrets, service, _operator: operator }))
    }

    async fn until_values(&self, wanted: &[(&str, &str)]) -> Result<()> {
        until_values(&self.secrets, SOON, wanted).await.map(drop)
    }

    async fn until_well(&self) -> Result<()> {
        self.service.until("all to be well", |service| synced(service).0 == "True").await.map(drop)
    }

    async fn change(&self, patch: &Value) -> Result<()> {
        self.secrets.patch("db", &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// Waits until the condition says so, and the operator is done.
    async fn told(&self, reason: &str, part: &str) -> Result<()> {
        let (status, message) = until_told(&self.service, reason, part).await?;
        ensure!(status == "False", "{message}");
        rest(&self.audit, &self.namespace.name).await
    }

    async fn not_allowed(&self) -> Result<()> {
        self.told("SecretNotAllowed", &format!("label secret db {SERVICE_LABEL}=shop")).await
    }

    /// With the label and the first values; the service is in its first revision.
    async fn let_use(&self) -> Result<()> {
        self.change(&label(&json!("shop"))).await?;
        self.until_values(&[("USER", "app"), ("PASSWORD", "one")]).await?;
        self.service.made().await?;
        ensure!(complete(&self.cluster, &self.service, 1).await?.is_empty());
        Ok(())
    }
}

#[tokio::test]
async fn a_secret_is_a_source_from_the_moment_on_at_which_its_owner_labels_it() -> Result<()> {
    let Some(scene) = Scene::set().await? else { return Ok(()) };
    scene.not_allowed().await?;
    for (kind, name) in [(Kind::Secret, SECRET), (Kind::Deployment, "shop")] {
        ensure!(scene.service.child(kind, name).await?.is_none(), "{name} was made");
    }
    scene.let_use().await?;
    scene.change(&db(&json!({"password": "two", "more": "y"}))).await?;
    scene.until_values(&[("USER", "app"), ("PASSWORD", "two")]).await?;
    let ledger = complete(&scene.cluster, &scene.service, 2).await?;
    ensure!(ledger[0].cause == SecretsChanged && ledger[0].keys == ["PASSWORD"], "{ledger:#?}");
    Ok(())
}

#[tokio::test]
async fn what_came_of_a_secret_stays_while_it_is_not_allowed_or_has_no_values() -> Result<()> {
    let Some(scene) = Scene::set().await? else { return Ok(()) };
    scene.let_use().await?;
    let (mark, kept) = (scene.audit.mark().await?, scene.secrets.get(SECRET).await?);
    // Nothing of it was chosen.
    scene.change(&db(&json!({"more": "z"}))).await?;
    for no_label in [json!(null), json!("another")] {
        scene.change(&label(&no_label)).await?;
        scene.not_allowed().await?;
    }
    scene.change(&db(&json!({"password": "two"}))).await?;
    scene.not_allowed().await?;
    scene.change(&db(&json!({"password": "one"}))).await?;
    scene.change(&label(&json!("shop"))).await?;
    scene.until_well().await?;

    for (reason, part, change) in [
        ("SourceDeleted", "Secret db is empty", json!({"data": null})),
        ("SecretsInvalid", "\"user\"", json!({"data": {"user": null}})),
    ] {
        scene.change(&change).await?;
        scene.told(reason, part).await?;
        scene.change(&db(&json!({"user": "app", "password": "one"}))).await?;
        scene.until_well().await?;
    }
    scene.secrets.delete("db", &DeleteParams::default()).await?;
    scene.not_allowed().await?;
    let mut again: Secret = serde_json::from_value(db(&json!({"user": "app", "password": "one"})))?;
    again.metadata.labels = Some([(SERVICE_LABEL.to_owned(), "shop".to_owned())].into());
    scene.secrets.create(&PostParams::default(), &again).await?;
    scene.until_well().await?;

    ensure!(complete(&scene.cluster, &scene.service, 1).await?.is_empty(), "a restart");
    let writes = scene.audit.since(mark).await?.by(OPERATOR).within(&scene.namespace.name).writes();
    let writes = writes.only(|request| request.resource != "hardenedservices");
    ensure!(writes.count() == 0 && scene.secrets.get(SECRET).await? == kept, "{writes}");
    Ok(())
}

/// A window of an hour, UTC, that begins so many hours from now.
fn window(hours: i64) -> Result<Value> {
    let at = |hours: i64| {
        let second = Timestamp::now().as_second() + hours * 3600;
        Timestamp::from_second(second).map(|at| at.strftime("%H:%M").to_string())
    };
    Ok(json!([{"from": at(hours)?, "to": at(hours + 1)?}]))
}

#[tokio::test]
async fn outside_of_its_windows_a_change_waits_and_within_one_it_is_one_restart() -> Result<()> {
    let Some(scene) = Scene::set().await? else { return Ok(()) };
    scene.let_use().await?;
    let windows = async |hours: i64| {
        let windows = json!({"spec": {"secrets": {"changeWindows": window(hours)?}}});
        scene.service.patch(&windows).await
    };
    windows(2).await?;
    scene.until_well().await?;
    let kept = scene.secrets.get(SECRET).await?;
    scene.change(&db(&json!({"password": "two"}))).await?;
    let (status, message) =
        until_told(&scene.service, "OutsideChangeWindow", "changeWindows opens at").await?;
    ensure!(status == "True", "{message}");
    rest(&scene.audit, &scene.namespace.name).await?;
    ensure!(scene.secrets.get(SECRET).await? == kept, "written outside of the window");
    ensure!(complete(&scene.cluster, &scene.service, 1).await?.is_empty());

    windows(0).await?;
    scene.until_values(&[("USER", "app"), ("PASSWORD", "two")]).await?;
    let ledger = complete(&scene.cluster, &scene.service, 2).await?;
    ensure!(ledger.len() == 1 && ledger[0].cause == SecretsChanged, "{ledger:#?}");
    Ok(())
}

#[tokio::test]
async fn a_secret_of_the_operator_s_own_is_no_source() -> Result<()> {
    let cluster = Cluster::get().await?;
    let _operator = Operator::start(&cluster).await?;
    let namespace = cluster.namespace("own-source").await?;
    for own in ["shop-tls", SECRET] {
        let mut service = named("secrets", "shop")?;
        service.spec.secrets = serde_json::from_value(json!({"sources": [{"secret": {"name": own}}]}))?;
        let service = Service::create(&cluster, &namespace.name, &service).await?;
        let reason = if own == SECRET { "SecretNotAllowed" } else { "SecretsInvalid" };
        let (status, message) = until_told(&service, reason, own).await?;
        ensure!(status == "False", "{message}");
        ensure!(service.child(Kind::Deployment, "shop").await?.is_none(), "pods with the operator's own key");
        service.api().delete("shop", &DeleteParams::default()).await?;
        wait_until(Duration::from_mins(1), "it to go", async || {
            match service.child(Kind::Secret, "shop-tls").await {
                Ok(None) => Look::Done(()),
                other => Look::NotYet(format!("{:?}", other.map(|found| found.is_some()))),
            }
        })
        .await?;
    }
    Ok(())
}
