//! What a service of `values` had before its Vault gave no more values, and whether it still has that: no write of its
//! Secret, no restart. It causes no outage.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use render::Kind;
use serde_json::json;

use super::values::{Scene, synced};
use crate::fixture::Service;
use crate::ledger::complete;
use crate::wait::{Look, wait_until};

const FIRST: &[(&str, &str)] = &[("PASSWORD", "first")];
/// Vault's end of an outage shows within a minute; the machine may be busy.
const RESUMED: Duration = Duration::from_secs(65);

/// The service with its first values, its first revision, and the Secret as it is then.
pub async fn synced_service(scene: &Scene) -> Result<(Service, Secret)> {
    scene.put(&json!({"PASSWORD": "first"}))?;
    let service = scene.service(&json!({})).await?;
    service.made().await?;
    complete(&scene.cluster, &service, 1).await?;
    let secret = scene.until_values(FIRST).await?;
    Ok((service, secret))
}

/// Fails unless the service has exactly what it had, in its first revision.
pub async fn kept(scene: &Scene, service: &Service, before: &Secret, what: &str) -> Result<()> {
    ensure!(scene.secret().await? == *before, "{what}: the Secret was written");
    let ledger = complete(&scene.cluster, service, 1).await.with_context(|| what.to_owned())?;
    ensure!(ledger.is_empty(), "{what}: {ledger:#?}");
    Ok(())
}

/// Fails when pods, or values for them, were made for a service that never had any.
pub async fn never_made(service: &Service) -> Result<()> {
    for (kind, name) in
        [(Kind::Secret, format!("{}-secrets", service.name)), (Kind::Deployment, service.name.clone())]
    {
        ensure!(service.child(kind, &name).await?.is_none(), "{name} was made without values");
    }
    Ok(())
}

/// Waits until the condition is well.
pub async fn until_well(service: &Service) -> Result<()> {
    wait_until(RESUMED, "all to be well", async || match service.get().await {
        Ok(service) if synced(&service).0 == "True" && synced(&service).1 == "Ready" => Look::Done(()),
        other => Look::NotYet(format!("{:?}", other.map(|service| synced(&service)))),
    })
    .await
}
