//! When another operator takes the lead, or comes back with other words for the same settings: does a service with values
//! of Vault keep its Secret and its pods, and is a change of values meanwhile one restart?

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use render::Kind;
use serde_json::{Value, json};
use testbed::fixture::Service;
use testbed::ledger::complete;
use testbed::operator::Options;
use testbed::vault::outage::{kept, synced_service, until_well};
use testbed::vault::values::{Scene, force};
use testbed::{Look, Operator, wait_until};

/// A lease of a leader that was killed ends within 20 s; the machine may be busy.
const LEADS: Duration = Duration::from_secs(40);

/// An operator of the same install with a name of its own.
fn instance(name: &str, beside: bool, options: Options) -> Options {
    Options { env: vec![("HARDENED_INSTANCE".into(), name.into())], beside, ..options }
}

async fn until_leading(operator: &Operator) -> Result<()> {
    wait_until(LEADS, "the operator to lead", async || match operator.leads().await {
        Ok(true) => Look::Done(()),
        other => Look::NotYet(format!("{other:?}")),
    })
    .await
}

/// The service as it was before.
struct Before {
    service: Service,
    secret: Secret,
    generation: i64,
}

impl Before {
    async fn of(scene: &Scene) -> Result<Self> {
        let (service, secret) = synced_service(scene).await?;
        let generation = generation(&service).await?;
        Ok(Self { service, secret, generation })
    }

    /// Fails unless the operator that is there now has read the values by a login of its own, and changed nothing.
    async fn kept_by(&self, scene: &Scene, logins: usize, what: &str) -> Result<()> {
        force(&self.service, &what.replace(' ', "-")).await?;
        scene.until_read(2).await?;
        until_well(&self.service).await?;
        ensure!(scene.logins()? == logins, "{what}: {:#?}", scene.asked()?);
        kept(scene, &self.service, &self.secret, what).await?;
        let generation = generation(&self.service).await?;
        ensure!(generation == self.generation, "{what}: {} became {generation}", self.generation);
        Ok(())
    }

    /// Fails unless there was one restart for the value, and no other write of the Deployment.
    async fn restarted_once(&self, scene: &Scene, value: &str) -> Result<()> {
        scene.until_values(&[("PASSWORD", value)]).await?;
        let ledger = complete(&scene.cluster, &self.service, 2).await?;
        ensure!(ledger.len() == 1 && ledger[0].keys == ["PASSWORD"], "{ledger:#?}");
        ensure!(generation(&self.service).await? == self.generation + 1, "more than one change");
        Ok(())
    }
}

async fn generation(service: &Service) -> Result<i64> {
    let live = service.child(Kind::Deployment, &service.name).await?.context("no Deployment")?;
    live["metadata"]["generation"].as_i64().context("no generation")
}

#[tokio::test]
async fn neither_a_stopped_nor_a_killed_leader_costs_a_restart_and_its_follower_makes_the_one_that_is_due()
-> Result<()> {
    let scene = Scene::set("handover").await?;
    let mut first = Operator::start_with(&scene.cluster, instance("first", false, scene.options())).await?;
    let mut second = Operator::start_with(&scene.cluster, instance("second", true, scene.options())).await?;
    let before = Before::of(&scene).await?;
    ensure!(first.leads().await? && !second.leads().await?);

    first.stop().await?;
    until_leading(&second).await?;
    before.kept_by(&scene, 2, "stopped").await?;

    first.restart_with(&scene.cluster, instance("third", true, scene.options())).await?;
    ensure!(!first.leads().await?);
    second.kill().await?;
    until_leading(&first).await?;
    before.kept_by(&scene, 3, "killed").await?;

    // What changes while nobody leads is the next leader's.
    second.restart_with(&scene.cluster, instance("fourth", true, scene.options())).await?;
    first.kill().await?;
    scene.put(&json!({"PASSWORD": "second"}))?;
    ensure!(!second.leads().await?, "it took over before the change");
    until_leading(&second).await?;
    before.restarted_once(&scene, "second").await
}

#[tokio::test]
async fn an_operator_that_is_replaced_with_the_same_settings_in_another_order_restarts_nothing() -> Result<()>
{
    let scene = Scene::set("replaced").await?;
    let mut operator = Operator::start_with(&scene.cluster, instance("old", false, scene.options())).await?;
    let before = Before::of(&scene).await?;
    operator.stop().await?;

    let args = scene.options().args;
    let settings = std::fs::read_to_string(args.last().context("no settings")?)?;
    let other = turned_around(&serde_json::from_str(&settings)?);
    ensure!(
        other != settings
            && serde_json::from_str::<Value>(&other)? == serde_json::from_str::<Value>(&settings)?
    );
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), other)?;
    let args = vec!["--settings".to_owned(), file.path().display().to_string()];
    let options = Options { args, ..scene.options() };
    operator.restart_with(&scene.cluster, instance("new", false, options)).await?;
    until_leading(&operator).await?;
    before.kept_by(&scene, 2, "replaced").await?;
    scene.put(&json!({"PASSWORD": "second"}))?;
    before.restarted_once(&scene, "second").await
}

/// The same JSON with the last field of each map first.
fn turned_around(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let field = |(name, value)| format!("{}: {}", json!(name), turned_around(value));
            let fields: Vec<_> = fields.iter().rev().map(field).collect();
            format!("{{{}}}", fields.join(", "))
        }
        other => other.to_string(),
    }
}
