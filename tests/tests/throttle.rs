//! Does the operator keep the pause that the apiserver asks for?

use std::time::{Duration, Instant};

use anyhow::Result;
use testbed::fixture::{Service, example};
use testbed::operator::Options;
use testbed::{Cluster, Fault, FaultProxy, Look, Operator, wait_until};

const PAUSE: u32 = 5;

#[tokio::test]
async fn nothing_is_asked_for_as_long_as_retry_after_says_and_the_lead_is_kept() -> Result<()> {
    let cluster = Cluster::get().await?;
    let proxy = FaultProxy::start(&cluster).await?;
    let options = Options { kubeconfig: Some(proxy.kubeconfig()), ..Options::default() };
    let operator = Operator::start_with(&cluster, options).await?;
    let namespace = cluster.namespace("throttle").await?;
    proxy.fault_after(&namespace.name, 2, Fault::Throttle(PAUSE));
    let service = Service::create(&cluster, &namespace.name, &example("minimal-development")?).await?;
    wait_until(Duration::from_secs(20), "the refusal", async || {
        Look::when(proxy.faults_left(), Vec::is_empty)
    })
    .await?;
    let (start, asked) = (Instant::now(), proxy.asked().len());
    let next = wait_until(Duration::from_secs(20), "the next request", async || {
        Look::when(proxy.asked(), |now| now.len() > asked)
    })
    .await?;
    let paused = start.elapsed();
    println!("paused for {paused:?}, then {:?}", next.last());
    assert!(paused > Duration::from_secs(u64::from(PAUSE) - 1), "{paused:?}: {:?}", next.last());
    service.made().await?;
    assert!(operator.leads().await?, "{}", operator.log());
    Ok(())
}
