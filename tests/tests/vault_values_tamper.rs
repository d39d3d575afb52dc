//! What somebody does to the operator's Secret with a workload's values: is it undone, without a restart, and does no pod
//! start with a value that is nobody's?

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use crds::RestartCause::SpecChanged;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams};
use render::Kind;
use serde_json::{Value, json};
use testbed::drift::{MALLORY, attack, essence, remove, told, undone};
use testbed::fixture::Service;
use testbed::ledger::complete;
use testbed::vault::values::{SECRET, Scene, until_told, values};
use testbed::{Look, Operator, wait_until};

const GOOD: &[(&str, &str)] = &[("PASSWORD", "good"), ("USER", "app")];
/// As long as Vault answers, nobody waits for it.
const SOON: Duration = Duration::from_secs(10);

async fn made(scene: &Scene) -> Result<Service> {
    scene.put(&json!({"PASSWORD": "good", "USER": "app"}))?;
    let service = scene.service(&json!({})).await?;
    service.made().await?;
    complete(&scene.cluster, &service, 1).await?;
    Ok(service)
}

async fn plant(scene: &Scene, change: Value) -> Result<()> {
    let params = PatchParams { field_manager: Some(MALLORY.into()), ..PatchParams::default() };
    scene.secrets().patch(SECRET, &params, &Patch::Merge(change)).await?;
    Ok(())
}

/// Waits until the Secret is exactly as it was.
async fn until_restored(scene: &Scene, before: &Secret, what: &str) -> Result<()> {
    // One that was deleted is a new one.
    let essence = |secret: &Secret| {
        let mut essence = essence(&serde_json::to_value(secret).unwrap_or_default());
        remove(&mut essence, "/metadata", &["uid", "creationTimestamp"]);
        essence
    };
    let wanted = essence(before);
    wait_until(SOON, what, async || match scene.secret().await {
        Ok(now) if essence(&now) == wanted => Look::Done(()),
        other => {
            Look::NotYet(other.map(|now| essence(&now).to_string()).map_err(|error| format!("{error:#}")))
        }
    })
    .await
}

#[tokio::test]
async fn a_changed_or_deleted_secret_is_restored_and_restarts_nothing() -> Result<()> {
    let scene = Scene::set("values-tamper").await?;
    let mut operator = Operator::start_with(&scene.cluster, scene.options()).await?;
    let service = made(&scene).await?;
    let before = scene.until_values(GOOD).await?;
    let seal = crds::SEAL_ANNOTATION;
    let planted = json!({"stringData": {"PASSWORD": "planted"}});
    for (what, change) in [
        ("a planted value", Some(planted.clone())),
        ("a planted name", Some(json!({"stringData": {"LD_PRELOAD": "/tmp/evil.so"}}))),
        ("a value that is gone", Some(json!({"data": {"USER": null}}))),
        ("no values", Some(json!({"data": null}))),
        ("no seal", Some(json!({"metadata": {"annotations": {seal: null}}}))),
        ("another seal", Some(json!({"metadata": {"annotations": {seal: "00"}}}))),
        ("no Secret", None),
    ] {
        match change {
            Some(change) => plant(&scene, change).await?,
            None => drop(scene.secrets().delete(SECRET, &DeleteParams::default()).await?),
        }
        until_restored(&scene, &before, what).await?;
        let ledger = complete(&scene.cluster, &service, 1).await?;
        ensure!(ledger.is_empty(), "{what}: {ledger:#?}");
    }
    told(&scene.cluster, &service, "DriftReverted", &[SECRET, "PASSWORD"]).await?;

    // The next operator remembers nothing of it.
    operator.kill().await?;
    plant(&scene, planted).await?;
    operator.restart().await?;
    until_restored(&scene, &before, "a value that was planted while nobody looked").await?;
    let ledger = complete(&scene.cluster, &service, 1).await?;
    ensure!(ledger.is_empty(), "{ledger:#?}");
    Ok(())
}

#[tokio::test]
async fn while_vault_is_gone_no_pod_starts_with_a_planted_value() -> Result<()> {
    let mut scene = Scene::set("values-planted").await?;
    let _operator = Operator::start_with(&scene.cluster, scene.options()).await?;
    let service = made(&scene).await?;
    let before = scene.until_values(GOOD).await?;
    scene.vault.stop();
    // What was read a moment ago would restore it.
    until_told(&service, "VaultUnreachable", "").await?;
    plant(&scene, json!({"stringData": {"PASSWORD": "planted"}})).await?;
    let (status, message) = until_told(&service, "VaultUnreachable", "changed by somebody else").await?;
    ensure!(status == "False" && message.contains(SECRET), "{message}");
    // Whoever changes the Deployment is put right all the same.
    let live = service.child(Kind::Deployment, "shop").await?.context("no Deployment")?;
    let evil = json!({"spec": {"template": {"metadata": {"annotations": {"evil": "restart"}}}}});
    ensure!(attack(&service, Kind::Deployment, "shop", &Patch::Merge(evil)).await?.is_ok());
    undone(&service, Kind::Deployment, "shop", |now| essence(now) == essence(&live)).await?;
    // A change of the spec, and a Deployment that somebody deleted, would each start pods with it.
    let changed = json!({"spec": {"workload": {"env": [{"name": "MODE", "value": "new"}]}}});
    service.patch(&changed).await?;
    let held = service.until("the Deployment to be held", |service| {
        let children = service.status.iter().flat_map(|status| &status.children);
        let mut deployments = children.filter(|child| child.kind == "Deployment");
        let seen = service.status.as_ref().and_then(|status| status.observed_generation);
        seen == service.metadata.generation && deployments.all(|d| d.state == crds::ChildState::Held)
    });
    held.await?;
    let live = service.child(Kind::Deployment, "shop").await?.context("no Deployment")?;
    ensure!(!live.to_string().contains("MODE"), "new pods: {live}");
    service.children_api(Kind::Deployment).delete("shop", &DeleteParams::default()).await?;
    tokio::time::sleep(SOON).await;
    ensure!(service.child(Kind::Deployment, "shop").await?.is_none(), "pods with a planted value");
    ensure!(values(&scene.secret().await?)["PASSWORD"] == "planted", "there is nothing to restore it with");

    scene.start_again().await?;
    scene.furnish()?;
    scene.put(&json!({"PASSWORD": "good", "USER": "app"}))?;
    scene.until_values(GOOD).await?;
    let made = service.made().await?;
    ensure!(
        made.status.is_some_and(|s| s.restarts.iter().all(|entry| entry.cause != SpecChanged)),
        "a new Deployment"
    );
    until_restored(&scene, &before, "all to be as before").await?;
    let live = service.child(Kind::Deployment, "shop").await?.context("no Deployment")?;
    ensure!(live.to_string().contains("MODE"), "{live}");
    Ok(())
}
