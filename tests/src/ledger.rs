//! The restarts that status knows beside the revisions that the Deployment controller counts. It judges nothing but that
//! the two agree.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use crds::Restart;
use render::Kind;

use crate::cluster::Cluster;
use crate::fixture::{Service, rest};
use crate::wait::{Look, wait_until};

const SOON: Duration = Duration::from_secs(30);

/// Waits until this revision is there and the operator at rest; gives the ledger, in which no revision may be missing
/// or stand twice.
pub async fn complete(cluster: &Cluster, service: &Service, at_least: i64) -> Result<Vec<Restart>> {
    wait_until(SOON, &format!("revision {at_least} in the ledger"), async || match state(service).await {
        Ok((made, Some(entered))) if made == entered && made >= at_least => Look::Done(()),
        other => Look::NotYet(format!("{other:?}")),
    })
    .await?;
    if let Some(audit) = cluster.audit() {
        rest(&audit, &service.namespace).await?;
    }
    let (made, _) = state(service).await?;
    let ledger = service.get().await?.status.context("no status")?.restarts;
    let revisions: Vec<_> = ledger.iter().filter_map(|entry| entry.revision).collect();
    ensure!(revisions == (2..=made).collect::<Vec<_>>(), "{made} revisions: {ledger:#?}");
    Ok(ledger)
}

/// The newest revision, as the Deployment controller counts and as status knows.
pub async fn state(service: &Service) -> Result<(i64, Option<i64>)> {
    let live = service.child(Kind::Deployment, &service.name).await?.context("no Deployment")?;
    let revision = live["metadata"]["annotations"]["deployment.kubernetes.io/revision"].as_str();
    let entered = service.get().await?.status.context("no status")?.revision;
    Ok((revision.context("no revision yet")?.parse()?, entered))
}
