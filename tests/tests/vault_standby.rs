//! While the address leads to a standby, or Vault's rate limit is reached: does a service that has values keep them, is
//! none made without, is no redirect followed, and does all go on by itself?

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use testbed::fixture::words;
use testbed::ledger::complete;
use testbed::vault::outage::{kept, never_made, synced_service, until_well};
use testbed::vault::values::{Scene, force, synced, until_told};
use testbed::{Operator, Vault};

/// What is said of a standby, and what to do about it.
const STANDBY: &str = "answers 307: it is a standby, or the address is not its own; a platform admin gives an address that leads to the active";
/// The same of the limit.
const LIMIT: &str = "answers 429: too many requests; its admin raises its rate limit quota";
/// As long nothing may happen.
const WHILE: Duration = Duration::from_secs(10);
const QUOTA: &str = "sys/quotas/rate-limit/tests";

#[tokio::test]
async fn a_standby_gives_no_first_values_and_its_redirect_is_not_followed_to_the_active_node() -> Result<()> {
    let scene = Scene::set_with(Vault::start_with_standby()?, "standby-first").await?;
    scene.put(&json!({"PASSWORD": "first"}))?;
    let address = scene.vault.standby_address()?;
    let at_standby = scene.options_with(|connection| connection["address"] = json!(address))?;
    let _operator = Operator::start_with(&scene.cluster, at_standby).await?;
    let service = scene.service(&json!({})).await?;
    let (status, message) = until_told(&service, "VaultUnreachable", STANDBY).await?;
    ensure!(status == "False" && message.contains(&address), "{message}");
    tokio::time::sleep(WHILE).await;
    ensure!(synced(&service.get().await?).1 == "VaultUnreachable");
    never_made(&service).await?;
    ensure!(scene.asked()?.is_empty(), "the active node was asked: {:?}", scene.asked()?);

    // The address is right as soon as its node leads.
    scene.vault.lead(false).await?;
    until_well(&service).await?;
    service.made().await?;
    scene.until_values(&[("PASSWORD", "first")]).await?;
    ensure!(!scene.asked()?.is_empty(), "the log does not show who asks");
    ensure!(complete(&scene.cluster, &service, 1).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn while_another_node_leads_the_last_values_stay_and_it_goes_on_when_the_first_leads_again()
-> Result<()> {
    let scene = Scene::set_with(Vault::start_with_standby()?, "standby-later").await?;
    let _operator = Operator::start_with(&scene.cluster, scene.options()).await?;
    let (service, before) = synced_service(&scene).await?;
    let ready = words(&service.get().await?, "Ready");
    scene.vault.lead(false).await?;
    let asked = scene.asked()?.len();
    let (status, message) = until_told(&service, "VaultUnreachable", STANDBY).await?;
    ensure!(status == "True", "the values in use are good: {message}");
    let late = scene.named("late", &json!({})).await?;
    let (status, message) = until_told(&late, "VaultUnreachable", STANDBY).await?;
    ensure!(status == "False", "it has no values: {message}");
    tokio::time::sleep(WHILE).await;
    kept(&scene, &service, &before, "a standby").await?;
    never_made(&late).await?;
    ensure!(words(&service.get().await?, "Ready") == ready, "no reason to page somebody");
    ensure!(scene.asked()?.len() == asked, "the active node was asked: {:?}", &scene.asked()?[asked..]);

    scene.vault.lead(true).await?;
    until_well(&service).await?;
    kept(&scene, &service, &before, "it leads again").await?;
    scene.put(&json!({"PASSWORD": "second"}))?;
    scene.until_values(&[("PASSWORD", "second")]).await?;
    ensure!(complete(&scene.cluster, &service, 2).await?.len() == 1);
    Ok(())
}

/// One request an hour, then 429.
fn limit(scene: &Scene, mount: &str) -> Result<()> {
    let quota = json!({"path": mount, "rate": 1, "interval": "1h"});
    scene.vault.call("POST", QUOTA, &quota).map(drop)
}

#[tokio::test]
async fn above_the_rate_limit_the_last_values_stay_and_it_goes_on_when_there_is_none() -> Result<()> {
    let scene = Scene::set("standby-limit").await?;
    // Without it nobody could see what is asked in vain.
    let config = json!({"enable_rate_limit_audit_logging": true});
    scene.vault.call("POST", "sys/quotas/config", &config)?;
    let _operator = Operator::start_with(&scene.cluster, scene.options()).await?;
    let (service, before) = synced_service(&scene).await?;
    let ready = words(&service.get().await?, "Ready");

    limit(&scene, "secret/")?;
    force(&service, "limited").await?;
    let (status, message) = until_told(&service, "VaultUnreachable", LIMIT).await?;
    ensure!(status == "True", "the values in use are good: {message}");
    let mark = scene.reads()?;
    tokio::time::sleep(WHILE).await;
    // The pauses are 5, 10 and 20 s, a fifth shorter by chance.
    let more = scene.reads()? - mark;
    ensure!((1..=2).contains(&more), "{more} readings in {WHILE:?}");
    kept(&scene, &service, &before, "a limit of readings").await?;
    ensure!(words(&service.get().await?, "Ready") == ready, "no reason to page somebody");
    never_made_while_limited(&scene, "secret/").await?;
    until_well(&service).await?;
    kept(&scene, &service, &before, "no limit").await?;
    never_made_while_limited(&scene, "auth/kubernetes/").await?;
    kept(&scene, &service, &before, "a limit of logins").await
}

/// Another service has no values before the limit of this mount ends, and then has them.
async fn never_made_while_limited(scene: &Scene, mount: &str) -> Result<()> {
    limit(scene, mount)?;
    let name = mount.split('/').next().unwrap_or_default();
    scene.let_in(name)?;
    // The one that is let through.
    let _ = scene.vault.call("POST", &format!("{mount}login"), &json!({}));
    let late = scene.named(name, &json!({})).await?;
    let (status, message) = until_told(&late, "VaultUnreachable", LIMIT).await?;
    ensure!(status == "False", "it has no values: {message}");
    never_made(&late).await?;
    scene.vault.call("DELETE", QUOTA, &Value::Null)?;
    until_well(&late).await?;
    late.made().await.map(drop)
}
