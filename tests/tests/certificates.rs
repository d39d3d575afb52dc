//! Does whatever is wrong with a TLS Secret cost exactly one new certificate, and what is no fault of it none?
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "an object of another shape fails the test")]

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use crds::{HardenedService, RestartCause};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use testbed::certificate::{self, History, Pair};
use testbed::cluster::OPERATOR_NAMESPACE;
use testbed::fixture::{Service, named};
use testbed::{Cluster, Look, Operator, wait_until};

const UNDONE: Duration = Duration::from_secs(5);

type Corrupt = fn(Pair, &Pair) -> Pair;

/// Name of the service, what is done to its Secret (the second pair is a neighbour's), and how many certificates of
/// our own CA the Secret held in the end, the first and any neighbour's included.
const CASES: [(&str, Corrupt, usize); 9] = [
    ("truncated", |p, _| Pair { certificate: p.certificate[..p.certificate.len() / 2].into(), ..p }, 2),
    ("empty", |p, _| Pair { certificate: String::new(), ..p }, 2),
    ("two-pems", |p, other| Pair { certificate: p.certificate + &other.certificate, ..p }, 2),
    ("key-of-another", |p, other| Pair { key: other.key.clone(), ..p }, 2),
    ("key-empty", |p, _| Pair { key: String::new(), ..p }, 2),
    ("another-service", |_, other| other.clone(), 3),
    ("stranger", |p, _| forged(&p), 3),
    ("ca-swapped", |p, _| Pair { ca: forged(&p).ca, ..p }, 1),
    ("ca-empty", |p, _| Pair { ca: String::new(), ..p }, 1),
];

fn forged(pair: &Pair) -> Pair {
    Pair::forged(&pair.names().unwrap()).unwrap()
}

#[tokio::test]
async fn whatever_is_wrong_with_a_tls_secret_costs_exactly_one_new_certificate() -> Result<()> {
    let cluster = Cluster::get().await?;
    let namespace = cluster.namespace("corrupt").await?;
    let mut operator = Operator::start(&cluster).await?;
    let history = History::watch(&cluster.client, &namespace.name);
    let neighbour = service(&cluster, &namespace.name, "neighbour").await?;
    neighbour.made().await?;
    let other = Pair::of(&certificate::tls_secret(&cluster.client, &namespace.name, "neighbour").await?)?;
    let ca = certificate::ca(&cluster.client, OPERATOR_NAMESPACE).await?;
    let (cluster, namespace, other, ca) = (&cluster, &namespace.name, &other, &ca);
    let services = try_join_all(CASES.map(async |(name, corrupt, _)| {
        let service = service(cluster, namespace, name).await?;
        service.made().await?;
        let before = certificate::tls_secret(&cluster.client, namespace, name).await?;
        let pair = Pair::of(&before)?;
        let names = pair.names()?;
        let api = Api::<Secret>::namespaced(cluster.client.clone(), namespace);
        let patch = Patch::Merge(json!({"data": corrupt(pair, other).data()}));
        let corrupted = api.patch(&before.name_any(), &PatchParams::default(), &patch).await?;
        ensure!(corrupted.data != before.data, "{name}: nothing was corrupted");
        wait_until(UNDONE, &format!("{name} to have a good certificate"), async || {
            match certificate::tls_secret(&cluster.client, namespace, name).await.and_then(|s| Pair::of(&s)) {
                Ok(now) => now.check(ca, &names).map_or_else(|e| Look::NotYet(format!("{e:#}")), Look::Done),
                Err(error) => Look::NotYet(format!("{error:#}")),
            }
        })
        .await?;
        anyhow::Ok(service)
    }))
    .await?;
    // The operator looks at everything again: what is good now must stay.
    operator.kill().await?;
    operator.restart().await?;
    try_join_all(services.iter().map(Service::made)).await?;
    let found: BTreeMap<_, _> = CASES.map(|(name, ..)| (name, history.serials(name).len())).into();
    assert_eq!(found, CASES.map(|(name, _, count)| (name, count)).into());
    Ok(())
}

#[tokio::test]
async fn the_api_server_itself_refuses_a_tls_secret_without_its_key() -> Result<()> {
    let cluster = Cluster::get().await?;
    let namespace = cluster.namespace("keyless").await?;
    let _operator = Operator::start(&cluster).await?;
    service(&cluster, &namespace.name, "keyless").await?.made().await?;
    let api = Api::<Secret>::namespaced(cluster.client.clone(), &namespace.name);
    let patch = Patch::Merge(json!({"data": {"tls.key": null}}));
    let refused = api.patch("keyless-tls", &PatchParams::default(), &patch).await.unwrap_err();
    assert!(refused.to_string().contains("tls.key"), "{refused}");
    Ok(())
}

#[tokio::test]
async fn another_life_in_the_spec_costs_one_certificate_of_that_life() -> Result<()> {
    let cluster = Cluster::get().await?;
    let namespace = cluster.namespace("life").await?;
    let _operator = Operator::start(&cluster).await?;
    let history = History::watch(&cluster.client, &namespace.name);
    let service = service(&cluster, &namespace.name, "life").await?;
    service.made().await?;
    let api = Api::<HardenedService>::namespaced(cluster.client.clone(), &namespace.name);
    let patch = Patch::Merge(json!({"spec": {"tls": {"duration": "5h"}}}));
    api.patch("life", &PatchParams::default(), &patch).await?;
    let life = async || {
        let secret = certificate::tls_secret(&cluster.client, &namespace.name, "life").await?;
        Pair::of(&secret)?.seconds()
    };
    wait_until(UNDONE, "a certificate of 5 hours", async || match life().await {
        Ok(seconds) if seconds == 5 * 3600 + 300 => Look::Done(()),
        other => Look::NotYet(other.ok()),
    })
    .await?;
    let events = Api::<Event>::namespaced(cluster.client.clone(), &namespace.name);
    wait_until(UNDONE, "an event that names the reason", async || {
        let notes = events.list(&ListParams::default()).await.map(|all| all.items).unwrap_or_default();
        let notes: Vec<_> = notes.into_iter().filter_map(|event| event.note).collect();
        let told = notes.iter().any(|note| note.contains("(DurationChanged)"));
        if told { Look::Done(()) } else { Look::NotYet(notes) }
    })
    .await?;
    assert_eq!(history.serials("life").len(), 2);
    Ok(())
}

#[tokio::test]
async fn a_workload_that_cannot_reload_is_restarted_once_for_a_new_certificate() -> Result<()> {
    let cluster = Cluster::get().await?;
    let namespace = cluster.namespace("on-renew").await?;
    let mut operator = Operator::start(&cluster).await?;
    let mut wanted = named("minimal-development", "on-renew")?;
    wanted.spec.tls = Some(serde_json::from_value(json!({"restart": "OnRenew"}))?);
    let service = Service::create(&cluster, &namespace.name, &wanted).await?;
    service.made().await?;
    let causes = |service: &HardenedService| {
        let restarts = service.status.iter().flat_map(|status| &status.restarts);
        restarts.map(|restart| restart.cause).collect::<Vec<_>>()
    };
    // By another operator, which remembers nothing.
    for count in 1..=2 {
        operator.kill().await?;
        let api = Api::<HardenedService>::namespaced(cluster.client.clone(), &namespace.name);
        let patch = Patch::Merge(json!({"spec": {"tls": {"duration": format!("{}h", 5 + count)}}}));
        api.patch("on-renew", &PatchParams::default(), &patch).await?;
        operator.restart().await?;
        let expected = vec![RestartCause::CertificateRenewed; count];
        service.until(&format!("{count} restarts"), |s| causes(s) == expected).await?;
    }
    Ok(())
}

async fn service(cluster: &Cluster, namespace: &str, name: &str) -> Result<Service> {
    Service::create(cluster, namespace, &named("minimal-development", name)?).await
}
