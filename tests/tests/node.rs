//! Does the node run pods, and does it leave the host as it was? Needs root, and no other node on this host.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::PostParams;
use rustix::process::Signal;
use serde_json::json;
use testbed::state::State;
use testbed::{Look, PrivateTestbed, cluster, image, node, parts, process, wait_until};

const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_restricted_pod_becomes_ready_and_down_leaves_the_host_as_it_was() -> Result<()> {
    if !node::is_free() {
        return Ok(());
    }
    parts::all()?;
    let own = PrivateTestbed::new()?;
    let state = &own.state;
    let before = host();
    let start = Instant::now();
    own.run(&["up"])?;
    ensure!(start.elapsed() < Duration::from_mins(1), "the start took {:?}", start.elapsed());
    run_pods(state).await?;
    let folder = run_database(&own)?;
    let started = process::running(state);
    own.run(&["down"])?;
    assert_eq!(started.len(), 9, "{started:?}");
    ensure!(!folder.exists(), "down left {}", folder.display());
    assert!(started.iter().all(|(_, pid)| process::birth(*pid).is_none()), "down left {started:?}");
    assert_eq!(host(), before);
    Ok(())
}

/// It is started once, and again with its data when it was killed; gives the folder of that data.
fn run_database(own: &PrivateTestbed) -> Result<PathBuf> {
    own.run(&["database"])?;
    let first = process::pid(&own.state, "postgres").context("no database")?;
    own.run(&["database"])?;
    assert_eq!(process::pid(&own.state, "postgres"), Some(first), "started twice");
    let note = || fs::read_to_string(own.state.path("database.json"));
    let before = note()?;
    process::signal(first, Signal::KILL);
    process::wait_gone(first)?;
    own.run(&["database"])?;
    assert_eq!(note()?, before, "another database");
    Ok(fs::read_to_string(own.state.path("database.folder"))?.into())
}

async fn run_pods(state: &State) -> Result<()> {
    let client = cluster::client_of(&state.kubeconfig()).await?;
    let namespace = json!({"metadata": {
        "name": "pods", "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
    }});
    Api::<Namespace>::all(client.clone())
        .create(&PostParams::default(), &serde_json::from_value(namespace)?)
        .await?;
    let image = image::load(state, "sleeper:1", &parts::pause()?.join("pause"))?;
    let deployments = Api::<Deployment>::namespaced(client, "pods");
    deployments.create(&PostParams::default(), &deployment(&image)?).await?;
    wait_until(SOON, "two pods to be ready", async || {
        let status = deployments.get("sleeper").await.ok().and_then(|found| found.status);
        Look::when(status, |status| status.as_ref().is_some_and(|status| status.ready_replicas == Some(2)))
    })
    .await
    .map(drop)
}

fn deployment(image: &str) -> Result<Deployment> {
    Ok(serde_json::from_value(json!({
        "metadata": {"name": "sleeper"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "sleeper"}},
            "template": {"metadata": {"labels": {"app": "sleeper"}}, "spec": {
                "automountServiceAccountToken": false,
                "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [{"name": "sleeper", "image": image, "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]},
                }}],
            }},
        },
    }))?)
}

/// What a node changes on its host: mounts, namespaces, links, routes, firewall, control groups, kernel settings and
/// the folders that containerd and the kubelet have whatever their settings say.
fn host() -> Vec<(&'static str, String)> {
    let script = |line| {
        let output = Command::new("sh").args(["-c", line]).output();
        (line, output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default())
    };
    vec![
        ("mounts", mounts()),
        script("ip netns list"),
        script("ip -o link show | cut -d: -f2"),
        script("ip route show"),
        script("nft list ruleset"),
        script("find /sys/fs/cgroup -name 'hardened-testbed*' -o -name 'kubepods*'"),
        script(
            "find /run/containerd /var/lib/kubelet /var/lib/cni /var/log/containers /var/log/pods 2>/dev/null",
        ),
        script(
            "sysctl vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops net.ipv4.ip_forward",
        ),
    ]
}

fn mounts() -> String {
    let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut lines: Vec<_> = table.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}
