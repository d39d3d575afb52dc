//! Is there always one operator that writes, and never two?

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use render::Kind;
use rustix::process::Signal;
use serde_json::json;
use testbed::fixture::{Service, named};
use testbed::operator::Options;
use testbed::{Cluster, FaultProxy, Look, Namespace, Operator, wait_until};

const LEASE: &str = "hardened-operator";
/// Promised for a leader that was killed.
const FAILOVER: Duration = Duration::from_secs(20);
const SOON: Duration = Duration::from_secs(40);
/// Services that the leader works on when it is stopped, and after how many writes.
const MANY: usize = 8;
const STOPPED_AFTER: usize = 25;

/// Two operators of one install: the first leads, the second stands by.
async fn pair(cluster: &Cluster, first: Options) -> Result<(Operator, Operator)> {
    let leader = Operator::start_with(cluster, instance("first", first)).await?;
    until_leading(&leader).await?;
    let second = Options { beside: true, ..Options::default() };
    let standby = Operator::start_with(cluster, instance("second", second)).await?;
    let body = "standby: hardened-system/first leads\n";
    assert_eq!(standby.get("/readyz").await?, (200, body.to_owned()));
    assert!(leader.leads().await? && !standby.leads().await?);
    Ok((leader, standby))
}

fn instance(name: &str, options: Options) -> Options {
    Options { env: vec![("HARDENED_INSTANCE".into(), name.into())], ..options }
}

async fn until_leading(operator: &Operator) -> Result<()> {
    wait_until(SOON, "the operator to lead", async || match operator.leads().await {
        Ok(true) => Look::Done(()),
        other => Look::NotYet(format!("{other:?}")),
    })
    .await
}

fn lease(cluster: &Cluster) -> Api<Lease> {
    Api::namespaced(cluster.client.clone(), "kube-system")
}

async fn create(cluster: &Cluster, namespace: &Namespace, name: &str) -> Result<Service> {
    Service::create(cluster, &namespace.name, &named("minimal-development", name)?).await
}

#[tokio::test]
async fn a_killed_leader_is_followed_within_twenty_seconds_and_a_stopped_one_at_once() -> Result<()> {
    let cluster = Cluster::get().await?;
    let namespace = cluster.namespace("failover").await?;
    let (mut first, mut second) = pair(&cluster, Options::default()).await?;
    create(&cluster, &namespace, "before").await?.made().await?;
    first.kill().await?;
    let start = Instant::now();
    create(&cluster, &namespace, "after-kill").await?.made().await?;
    let killed = start.elapsed();
    let standby = Options { beside: true, ..Options::default() };
    first.restart_with(&cluster, instance("third", standby)).await?;
    second.stop().await?;
    let start = Instant::now();
    create(&cluster, &namespace, "after-stop").await?.made().await?;
    println!("made {killed:?} after a SIGKILL of the leader, {:?} after a SIGTERM", start.elapsed());
    ensure!(killed < FAILOVER, "{killed:?}");
    // Without its lease being given back this would take as long as after a kill.
    ensure!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    Ok(())
}

/// The leader is stopped in the middle of its first pass, and goes on when another one has long finished it.
async fn zombie(cluster: &Cluster) -> Result<()> {
    let namespace = cluster.namespace("zombie").await?;
    let proxy = FaultProxy::start(cluster).await?;
    let through = Options { kubeconfig: Some(proxy.kubeconfig()), ..Options::default() };
    let (first, second) = pair(cluster, through).await?;
    let pid = first.pid();
    proxy.after_writes(STOPPED_AFTER, move || testbed::process::signal(pid, Signal::STOP));
    // Many passes are under way, so that some go on before the term is taken down around them.
    let names = (0..MANY).map(|number| format!("zombie{number}"));
    let services = try_join_all(names.map(async |name| create(cluster, &namespace, &name).await)).await?;
    until_leading(&second).await?;
    for service in &services {
        service.made().await?;
    }
    let service = &services[0];
    // It has work in its hands, and all that it would find by itself: something is missing, something is new.
    service.children_api(Kind::Service).delete(&service.name, &DeleteParams::default()).await?;
    let late = create(cluster, &namespace, "late").await?;
    late.made().await?;
    let before = proxy.asked();
    first.signal(Signal::CONT);
    wait_until(SOON, "the first to stand by", async || match first.get("/readyz").await {
        Ok((200, body)) if body.contains("second leads") => Look::Done(()),
        other => Look::NotYet(format!("{other:?}")),
    })
    .await?;
    service.made().await?;
    let asked: Vec<_> = proxy.asked().into_iter().skip(before.len()).collect();
    let writes: Vec<_> = asked.iter().filter(|request| !request.starts_with("GET ")).collect();
    assert!(writes.is_empty(), "a leader whose time has passed wrote: {writes:#?}\n{}", first.log());
    assert!(before.len() >= STOPPED_AFTER, "it was stopped in the middle of a pass: {before:#?}");
    Ok(())
}

#[tokio::test]
async fn a_leader_that_was_stopped_for_longer_than_its_lease_writes_nothing() -> Result<()> {
    zombie(&Cluster::get().await?).await
}

#[tokio::test]
#[ignore = "soak: three times as long"]
async fn it_writes_nothing_three_times_in_a_row() -> Result<()> {
    let cluster = Cluster::get().await?;
    for round in 1..=3 {
        zombie(&cluster).await.with_context(|| format!("round {round}"))?;
    }
    Ok(())
}

#[tokio::test]
async fn a_lease_that_somebody_deletes_or_takes_does_not_stop_the_operator_for_good() -> Result<()> {
    let cluster = Cluster::get().await?;
    let namespace = cluster.namespace("lease").await?;
    let operator = Operator::start(&cluster).await?;
    lease(&cluster).delete(LEASE, &DeleteParams::default()).await?;
    wait_until(SOON, "the lease to be there again", async || match lease(&cluster).get_opt(LEASE).await {
        Ok(Some(lease)) => Look::Done(lease),
        other => Look::NotYet(format!("{other:?}")),
    })
    .await?;
    ensure!(operator.leads().await?, "it lost the lead:\n{}", operator.log());
    let taken = json!({"spec": {"holderIdentity": "hardened-system/somebody"}});
    lease(&cluster).patch(LEASE, &PatchParams::default(), &Patch::Merge(&taken)).await?;
    wait_until(SOON, "the operator to stand by", async || match operator.leads().await {
        Ok(false) => Look::Done(()),
        other => Look::NotYet(format!("{other:?}")),
    })
    .await?;
    // Nobody renews it, so it is free again after its duration.
    create(&cluster, &namespace, "after").await?.made().await?;
    Ok(())
}

#[tokio::test]
async fn a_second_install_stands_aside_and_says_so() -> Result<()> {
    let cluster = Cluster::get().await?;
    let first = Operator::start(&cluster).await?;
    until_leading(&first).await?;
    let home = testbed::home::home(&cluster, "other").await?;
    let args = vec!["--namespace".into(), home.name.clone()];
    let second = Operator::launch(&cluster, Options { args, beside: true, ..Options::default() }).await?;
    let body = wait_until(SOON, "the second install to say why", async || {
        Look::when(second.get("/readyz").await.unwrap_or_default(), |(code, body)| {
            *code == 503 && body.contains("another install")
        })
    })
    .await?
    .1;
    assert!(body.contains("hardened-system/test") && body.contains("uninstall one of the two"), "{body}");
    Ok(())
}
