//! Does the control plane do what tests rely on? Nothing here is about the operator.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "an object of another shape fails the test")]

use std::pin::pin;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, ServiceAccount};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{DeleteParams, ListParams, ObjectMeta, PostParams, WatchEvent, WatchParams};
use kube::{Api, Client};
use rustix::process::Signal;
use serde_json::json;
use testbed::process::{self, birth};
use testbed::{Cluster, FaultProxy, Look, PrivateTestbed, cluster, lifecycle, parts, wait_until};

const SOON: Duration = Duration::from_secs(20);

fn config_map(name: &str) -> ConfigMap {
    ConfigMap { metadata: named(name), ..ConfigMap::default() }
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() }
}

fn config_maps(client: &Client, namespace: &str) -> Api<ConfigMap> {
    Api::namespaced(client.clone(), namespace)
}

#[tokio::test]
async fn a_fresh_namespace_is_onboarded_and_goes_with_its_test() -> Result<()> {
    let cluster = Cluster::get().await?;
    let (first, second) = (cluster.namespace("fresh").await?, cluster.namespace("fresh").await?);
    ensure!(first.name != second.name, "two tests got one namespace");
    let namespaces = Api::<Namespace>::all(cluster.client.clone());
    let found = namespaces.get(&first.name).await?.metadata;
    assert_eq!(found.annotations.unwrap()["hardened.dev/allowed-hosts"], "*.example.com");
    assert_eq!(found.labels.unwrap()["pod-security.kubernetes.io/enforce"], "restricted");
    let binding =
        Api::<RoleBinding>::namespaced(cluster.client.clone(), &first.name).get("hardened-operator").await?;
    assert_eq!(binding.role_ref.name, "hardened-operator-namespace");
    let name = first.name.clone();
    drop(first);
    wait_until(SOON, "the namespace to go", async || match namespaces.get_opt(&name).await {
        Ok(None) => Look::Done(()),
        other => Look::NotYet(format!("{other:?}")),
    })
    .await
}

#[tokio::test]
async fn a_namespace_refuses_a_pod_that_is_not_restricted() -> Result<()> {
    let cluster = Cluster::get().await?;
    let namespace = cluster.namespace("restricted").await?;
    let accounts = Api::<ServiceAccount>::namespaced(cluster.client.clone(), &namespace.name);
    wait_until(SOON, "the default service account", async || match accounts.get_opt("default").await {
        Ok(Some(_)) => Look::Done(()),
        other => Look::NotYet(format!("{other:?}")),
    })
    .await?;
    let pod =
        json!({"metadata": {"name": "open"}, "spec": {"containers": [{"name": "app", "image": "app"}]}});
    let pods = Api::<Pod>::namespaced(cluster.client.clone(), &namespace.name);
    let refused = pods.create(&PostParams::default(), &serde_json::from_value(pod)?).await.unwrap_err();
    assert!(refused.to_string().contains("violates PodSecurity \"restricted"), "{refused}");
    Ok(())
}

#[tokio::test]
async fn the_audit_log_counts_what_a_client_did_and_nothing_else() -> Result<()> {
    let cluster = Cluster::get().await?;
    let Some(audit) = cluster.audit() else { return Ok(()) };
    let (namespace, other) = (cluster.namespace("counted").await?, cluster.namespace("uncounted").await?);
    let maps = config_maps(&cluster.client, &namespace.name);
    maps.create(&PostParams::default(), &config_map("before")).await?;

    let mark = audit.mark().await?;
    maps.create(&PostParams::default(), &config_map("one")).await?;
    maps.create(&PostParams { dry_run: true, ..PostParams::default() }, &config_map("two")).await?;
    maps.get("one").await?;
    maps.list(&ListParams::default()).await?;
    maps.delete("one", &DeleteParams::default()).await?;
    config_maps(&cluster.client, &other.name).create(&PostParams::default(), &config_map("one")).await?;
    let seen = audit.since(mark).await?.by("admin").within(&namespace.name);

    assert_eq!(seen.count(), 5, "{seen}");
    assert_eq!(seen.clone().writes().count(), 2, "{seen}");
    assert_eq!(seen.clone().dry_runs().count(), 1, "{seen}");
    assert_eq!(seen.clone().verb("get").resource("configmaps").count(), 1, "{seen}");
    assert_eq!(seen.clone().subresource("configmaps", "status").count(), 0, "{seen}");
    let names: Vec<_> = seen.clone().verb("delete").0.into_iter().map(|request| request.name).collect();
    assert_eq!(names, ["one"], "{seen}");
    Ok(())
}

#[tokio::test]
async fn the_audit_log_counts_a_watch_once_and_keeps_events_apart_from_writes() -> Result<()> {
    let cluster = Cluster::get().await?;
    let Some(audit) = cluster.audit() else { return Ok(()) };
    let namespace = cluster.namespace("watched").await?;
    let mark = audit.mark().await?;
    let maps = config_maps(&cluster.client, &namespace.name);
    let stream = maps.watch(&kube::api::WatchParams::default().timeout(1), "0").await?;
    let events: Vec<_> = stream.collect().await;
    assert!(!events.is_empty(), "the watch said nothing");
    let event = json!({
        "metadata": {"name": "happened", "namespace": namespace.name},
        "involvedObject": {"kind": "Namespace", "name": namespace.name, "namespace": namespace.name},
    });
    let events =
        Api::<k8s_openapi::api::core::v1::Event>::namespaced(cluster.client.clone(), &namespace.name);
    events.create(&PostParams::default(), &serde_json::from_value(event)?).await?;
    let seen = audit.since(mark).await?.by("admin").within(&namespace.name);
    assert_eq!(seen.clone().verb("watch").count(), 1, "{seen}");
    assert_eq!(seen.clone().besides_watches().count(), 1, "{seen}");
    assert_eq!(seen.clone().writes().count(), 0, "{seen}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_proxy_counts_writes_and_acts_before_the_answer() -> Result<()> {
    let cluster = Cluster::get().await?;
    cluster.install().await?;
    let namespace = cluster.namespace("proxied").await?;
    let proxy = FaultProxy::start(&cluster).await?;
    let maps = config_maps(&cluster::client_of(&proxy.kubeconfig()).await?, &namespace.name);
    let order = Arc::new(Mutex::new(Vec::new()));
    let (direct, note) = (config_maps(&cluster.client, &namespace.name), Arc::clone(&order));
    let runtime = tokio::runtime::Handle::current();
    proxy.after_writes(2, move || {
        let stored = tokio::task::block_in_place(|| runtime.block_on(direct.get_opt("second")));
        note.lock().unwrap().push(if stored.unwrap().is_some() { "committed" } else { "missing" });
    });
    maps.create(&PostParams::default(), &config_map("first")).await?;
    maps.create(&PostParams { dry_run: true, ..PostParams::default() }, &config_map("second")).await?;
    maps.get("first").await?;
    assert!(order.lock().unwrap().is_empty(), "a dry run or a read counted as a write");
    maps.create(&PostParams::default(), &config_map("second")).await?;
    order.lock().unwrap().push("answered");
    maps.create(&PostParams::default(), &config_map("second")).await.unwrap_err();
    assert_eq!(*order.lock().unwrap(), ["committed", "answered"]);
    let path = format!("POST /api/v1/namespaces/{}/configmaps", namespace.name);
    assert_eq!(proxy.writes(), [path.clone(), path]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_proxy_kills_a_client_after_its_second_write() -> Result<()> {
    let cluster = Cluster::get().await?;
    cluster.install().await?;
    let namespace = cluster.namespace("killed").await?;
    let proxy = FaultProxy::start(&cluster).await?;
    let items: Vec<_> = ["a", "b", "c"].map(config_map).into();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items.iter().map(|map| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": map.metadata})
    }).collect::<Vec<_>>()});
    let file = cluster.state().write(&format!("proxy/{}.json", namespace.name), list.to_string())?;
    let mut client = Command::new(parts::clients()?.join("kubectl"))
        .args(["create", "--validate=false", "-n", &namespace.name, "-f"])
        .arg(file)
        .env("KUBECONFIG", proxy.kubeconfig())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()?;
    proxy.kill_after_writes(2, i32::try_from(client.id())?);
    let status = tokio::task::block_in_place(|| client.wait())?;
    assert!(!status.success(), "the client ended by itself");
    let maps = config_maps(&cluster.client, &namespace.name);
    let found =
        maps.list(&ListParams::default()).await?.items.into_iter().filter_map(|map| map.metadata.name);
    let found: Vec<_> = found.filter(|name| name.len() == 1).collect();
    assert_eq!(found, ["a", "b"]);
    Ok(())
}

#[tokio::test]
async fn a_watch_through_the_proxy_shows_a_change_while_it_is_open() -> Result<()> {
    let cluster = Cluster::get().await?;
    cluster.install().await?;
    let namespace = cluster.namespace("streamed").await?;
    let proxy = FaultProxy::start(&cluster).await?;
    let accounts = |client: Client| Api::<ServiceAccount>::namespaced(client, &namespace.name);
    let watched = accounts(cluster::client_of(&proxy.kubeconfig()).await?);
    let direct = accounts(cluster.client.clone());
    let from = direct.list(&ListParams::default()).await?.metadata.resource_version.unwrap_or_default();
    // The server would close it only after five minutes.
    let params = WatchParams::default().timeout(290);
    let stream = tokio::time::timeout(SOON, watched.watch(&params, &from)).await??;
    let account = ServiceAccount { metadata: named("new"), ..ServiceAccount::default() };
    direct.create(&PostParams::default(), &account).await?;
    let names = stream.filter_map(async |event| match event {
        Ok(WatchEvent::Added(account)) => account.metadata.name,
        _ => None,
    });
    let seen = tokio::time::timeout(SOON, async { pin!(names).any(async |name| name == "new").await }).await;
    ensure!(matches!(seen, Ok(true)), "the watch did not show the new object: {seen:?}");
    Ok(())
}

#[tokio::test]
async fn a_killed_run_is_cleared_by_the_next_and_down_leaves_no_process() -> Result<()> {
    let own = PrivateTestbed::new()?;
    let state = &own.state;
    let start = Instant::now();
    own.run(&["up", "--control-plane"])?;
    ensure!(start.elapsed() < Duration::from_mins(1), "the start took {:?}", start.elapsed());
    let first = process::running(state);
    assert_eq!(first.len(), 4, "{first:?}");
    let etcd = process::pid(state, "etcd").unwrap();
    process::signal(etcd, Signal::KILL);
    process::wait_gone(etcd)?;
    assert!(lifecycle::running(state).is_none(), "a control plane without etcd counts as running");

    own.run(&["up", "--control-plane"])?;
    let second = process::running(state);
    assert_eq!(second.len(), 4, "{second:?}");
    assert!(first.iter().all(|(_, pid)| birth(*pid).is_none()), "the killed run left {first:?}");
    own.run(&["down"])?;
    assert!(second.iter().all(|(_, pid)| birth(*pid).is_none()), "down left {second:?}");
    Ok(())
}

#[tokio::test]
async fn a_control_plane_ends_with_its_last_user() -> Result<()> {
    let own = PrivateTestbed::new()?;
    let state = &own.state;
    let mut user = Command::new("sleep").arg("600").spawn()?;
    let pid = i32::try_from(user.id())?;
    state.write(&format!("users/{pid}"), format!("{pid} {}\n", birth(pid).unwrap()))?;
    own.run(&["up", "--control-plane", "--while-used"])?;
    let parts = process::running(state);
    assert_eq!(parts.len(), 4, "{parts:?}");
    user.kill()?;
    user.wait()?;
    wait_until(SOON, "all parts to end", async || {
        let left: Vec<_> = parts.iter().filter(|(_, pid)| birth(*pid).is_some()).collect();
        if left.is_empty() { Look::Done(()) } else { Look::NotYet(left) }
    })
    .await
}

#[test]
fn a_process_id_that_was_given_to_somebody_else_is_not_taken_for_ours() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let own = i32::try_from(std::process::id())?;
    let note = folder.path().join("note");
    std::fs::write(&note, format!("{own} {}\n", birth(own).unwrap()))?;
    assert_eq!(process::recorded(&note), Some(own));
    std::fs::write(&note, format!("{own} {}\n", birth(own).unwrap() + 1))?;
    assert_eq!(process::recorded(&note), None);
    Ok(())
}
