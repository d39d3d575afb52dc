//! Is a change of values one restart, and does it come to its end, wherever between the Secret and the Deployment the
//! operator dies or a write fails, and when the next change comes meanwhile?

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use crds::{Restart, RestartCause::SecretsChanged};
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use render::Kind;
use serde_json::{Value, json};
use testbed::fixture::Service;
use testbed::ledger::complete;
use testbed::operator::Options;
use testbed::vault::values::{Scene, force, values};
use testbed::{Fault, FaultProxy, Look, Operator, wait_until};

const SOON: Duration = Duration::from_secs(20);

/// The service in its first revision, with an operator behind the proxy.
struct Running {
    scene: Scene,
    proxy: FaultProxy,
    operator: Operator,
    service: Service,
}

impl Running {
    async fn new(prefix: &str) -> Result<Self> {
        let scene = Scene::set(prefix).await?;
        let proxy = FaultProxy::start(&scene.cluster).await?;
        let options = Options { kubeconfig: Some(proxy.kubeconfig()), ..scene.options() };
        let operator = Operator::start_with(&scene.cluster, options).await?;
        scene.put(&json!({"A": "1", "B": "2"}))?;
        let service = scene.service(&json!({})).await?;
        service.made().await?;
        complete(&scene.cluster, &service, 1).await?;
        Ok(Self { scene, proxy, operator, service })
    }

    /// Has the operator killed after it wrote this, and changes the values.
    async fn killed_after(&mut self, child: &str, change: &Value) -> Result<()> {
        let path = format!("/namespaces/{}/{child}", self.service.namespace);
        self.proxy.kill_after_write(&path, self.operator.pid());
        self.scene.put(change)?;
        self.operator.wait_end().await.map(drop)
    }

    /// The ledger in the end, in which nothing is anything but a change of values.
    async fn ledger(&self, revision: i64) -> Result<Vec<Restart>> {
        let ledger = complete(&self.scene.cluster, &self.service, revision).await?;
        ensure!(ledger.iter().all(|entry| entry.cause == SecretsChanged), "{ledger:#?}");
        let events = Api::<Event>::namespaced(self.scene.cluster.client.clone(), &self.service.namespace);
        let events = events.list(&ListParams::default()).await?.items;
        let drift: Vec<_> = events.iter().filter(|e| e.reason.as_deref() == Some("DriftReverted")).collect();
        ensure!(drift.is_empty(), "{drift:#?}");
        Ok(ledger)
    }

    async fn generation(&self) -> Result<i64> {
        let live =
            self.service.child(Kind::Deployment, &self.service.name).await?.context("no Deployment")?;
        live["metadata"]["generation"].as_i64().context("no generation")
    }
}

#[tokio::test]
async fn killed_between_the_secret_and_the_deployment_it_restarts_the_pods_once_and_says_why() -> Result<()> {
    let mut running = Running::new("values-killed").await?;
    let before = running.generation().await?;
    running.killed_after("secrets/shop-secrets", &json!({"A": "one", "B": "2"})).await?;
    ensure!(running.generation().await? == before, "killed too late");
    running.operator.restart().await?;
    let ledger = running.ledger(2).await?;
    ensure!(ledger.len() == 1 && ledger[0].keys == ["A"], "{ledger:#?}");
    ensure!(running.generation().await? == before + 1, "more than one change of the Deployment");

    // After the Deployment there is nothing left to do but the status.
    running.killed_after("deployments/shop", &json!({"A": "one", "B": "two"})).await?;
    running.operator.restart().await?;
    let ledger = running.ledger(3).await?;
    ensure!(ledger.len() == 2 && ledger[1].keys == ["B"], "{ledger:#?}");
    ensure!(running.generation().await? == before + 2);
    Ok(())
}

#[tokio::test]
async fn what_changes_again_while_no_operator_runs_is_one_restart_with_all_names_or_none() -> Result<()> {
    let mut running = Running::new("values-again").await?;
    running.killed_after("secrets/shop-secrets", &json!({"A": "one", "B": "2"})).await?;
    running.scene.put(&json!({"A": "one", "B": "two"}))?;
    running.operator.restart().await?;
    running.scene.until_values(&[("A", "one"), ("B", "two")]).await?;
    let ledger = running.ledger(2).await?;
    ensure!(ledger.len() == 1 && ledger[0].keys == ["A", "B"], "{ledger:#?}");

    // Back to what the pods have.
    let before = running.generation().await?;
    running.killed_after("secrets/shop-secrets", &json!({"A": "1", "B": "2"})).await?;
    running.scene.put(&json!({"A": "one", "B": "two"}))?;
    running.operator.restart().await?;
    running.scene.until_values(&[("A", "one"), ("B", "two")]).await?;
    running.scene.until_read(1).await?;
    ensure!(
        running.ledger(2).await? == ledger && running.generation().await? == before,
        "a restart for nothing"
    );
    Ok(())
}

#[tokio::test]
async fn a_write_that_fails_or_loses_its_answer_is_made_up_for_by_one_restart() -> Result<()> {
    let running = Running::new("values-faults").await?;
    let namespace = &running.scene.namespace.name;
    let before = running.generation().await?;
    let faults = [
        (0, Fault::LoseAnswer),
        (0, Fault::Refuse(500)),
        (0, Fault::Refuse(409)),
        (1, Fault::LoseAnswer),
        (1, Fault::Refuse(500)),
    ];
    for (count, (good, fault)) in faults.into_iter().enumerate() {
        running.proxy.fault_after(namespace, good, fault);
        let wanted = format!("value {count}");
        running.scene.put(&json!({"A": wanted, "B": "2"}))?;
        force(&running.service, &wanted.replace(' ', "-")).await?;
        running.scene.until_values(&[("A", &wanted), ("B", "2")]).await?;
        let revision = i64::try_from(count)? + 2;
        let ledger = running.ledger(revision).await.with_context(|| format!("{fault:?} after {good}"))?;
        ensure!(
            ledger.last().is_some_and(|entry| entry.keys == ["A"]),
            "{fault:?} after {good}: {ledger:#?}"
        );
        ensure!(running.generation().await? == before + revision - 1, "{fault:?} after {good}");
    }
    ensure!(running.proxy.faults_left().is_empty(), "a fault that never happened");
    Ok(())
}

#[tokio::test]
async fn changes_in_quick_succession_come_to_the_newest() -> Result<()> {
    let running = Running::new("values-quick").await?;
    for round in 0..5 {
        running.scene.put(&json!({"A": format!("value {round}"), "B": "2"}))?;
        force(&running.service, &format!("round-{round}")).await?;
    }
    wait_until(SOON, "the newest", async || match running.scene.secret().await {
        Ok(secret) if values(&secret)["A"] == "value 4" => Look::Done(()),
        other => Look::NotYet(other.map(|secret| values(&secret)).map_err(|error| format!("{error:#}"))),
    })
    .await?;
    let ledger = running.ledger(2).await?;
    ensure!((1..=5).contains(&ledger.len()), "one for each value at most: {ledger:#?}");
    ensure!(ledger.iter().all(|entry| entry.keys == ["A"]), "{ledger:#?}");
    // The pods have the newest: nothing is left to do.
    let before = running.generation().await?;
    running.scene.until_read(2).await?;
    ensure!(running.ledger(2).await? == ledger && running.generation().await? == before);
    Ok(())
}
