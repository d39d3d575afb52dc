//! Does a service that waits get its turn, however many others change meanwhile?

use anyhow::{Context, Result};
use testbed::fixture::{Service, example, named};
use testbed::operator::Options;
use testbed::{Cluster, FaultProxy, Operator};

/// Far more than get a turn while they are made.
const SERVICES: usize = 40;
/// Places by which a service may be served early or late, on average. What arrives within one millisecond has no order
/// in the queue, and a busy machine delivers a dozen at once; served at random the average is 13, give or take 1.3.
const DISPLACED: usize = 6;

#[tokio::test]
async fn services_are_served_in_the_order_in_which_they_came() -> Result<()> {
    let cluster = Cluster::get().await?;
    let proxy = FaultProxy::start(&cluster).await?;
    let one_at_a_time = vec!["--concurrency".into(), "1".into()];
    let options = Options { kubeconfig: Some(proxy.kubeconfig()), args: one_at_a_time, ..Options::default() };
    let _operator = Operator::start_with(&cluster, options).await?;
    let namespace = cluster.namespace("fair").await?;
    // Until the list of the namespace's Secrets has arrived, services wait for it and then come all at once.
    Service::create(&cluster, &namespace.name, &example("minimal-development")?).await?.made().await?;
    let mut services = Vec::new();
    for index in 0..SERVICES {
        let service = named("minimal-development", &format!("fair{index}"))?;
        services.push(Service::create(&cluster, &namespace.name, &service).await?);
    }
    for service in &services {
        service.made().await?;
    }
    // The last write of a pass is the status, and its path has the name.
    let statuses: Vec<_> = proxy.writes().into_iter().filter(|write| write.ends_with("/status")).collect();
    let mut first = Vec::new();
    for service in &services {
        let path = format!("/{}/status", service.name);
        first.push(statuses.iter().position(|write| write.ends_with(&path)).context("no status")?);
    }
    let mut order: Vec<_> = (0..SERVICES).collect();
    order.sort_by_key(|index| first[*index]);
    let displaced: usize = order.iter().enumerate().map(|(place, index)| place.abs_diff(*index)).sum();
    println!("displaced by {displaced} places in all: {order:?}");
    assert!(displaced <= DISPLACED * SERVICES, "displaced by {displaced} places in all: {order:?}");
    Ok(())
}
