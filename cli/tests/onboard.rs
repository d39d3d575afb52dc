//! `kubectl hardened onboard` against a real API server: what it writes, and that it writes nothing twice.

use std::process::Command;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Namespace as KubeNamespace;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;
use testbed::{Cluster, Namespace};

#[tokio::test(flavor = "multi_thread")]
async fn onboarding_writes_the_annotation_and_the_binding_once() -> Result<()> {
    let cluster = Cluster::get().await?;
    let namespace = cluster.foreign_namespace("onboard").await?;

    let answer = onboard(&cluster, &namespace, &["--hosts", "a.example.com,*.example.org", "--dry-run"])?;
    assert!(answer.contains("created") && answer.contains("nothing was written"), "{answer}");
    assert_eq!(state(&cluster, &namespace).await?, (None, None), "a dry run wrote");

    let answer = onboard(&cluster, &namespace, &["--hosts", "a.example.com,*.example.org"])?;
    assert!(answer.contains("rolebinding/hardened-operator") && answer.contains("(was not set)"), "{answer}");
    let (hosts, binding) = state(&cluster, &namespace).await?;
    assert_eq!(hosts.as_deref(), Some("a.example.com,*.example.org"));
    let binding = binding.context("no RoleBinding")?;
    assert_eq!(binding.role_ref.name, "hardened-operator-namespace");
    let subjects = serde_json::to_value(&binding.subjects)?;
    let operator =
        json!([{"kind": "ServiceAccount", "name": "hardened-operator", "namespace": "hardened-system"}]);
    assert_eq!(subjects, operator);

    let answer = onboard(&cluster, &namespace, &["--hosts", "a.example.com,*.example.org"])?;
    assert_eq!(answer.matches("unchanged").count(), 2, "{answer}");
    let (_, again) = state(&cluster, &namespace).await?;
    assert_eq!(again.context("no RoleBinding")?.metadata.resource_version, binding.metadata.resource_version);

    let answer = onboard(&cluster, &namespace, &["--hosts", "", "--operator-service-account", "other"])?;
    assert!(answer.contains("subjects replaced") && answer.contains("(was \"a.example.com"), "{answer}");
    let (hosts, binding) = state(&cluster, &namespace).await?;
    assert_eq!(hosts.as_deref(), Some(""));
    assert_eq!(serde_json::to_value(binding.context("no RoleBinding")?.subjects)?[0]["name"], "other");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binding_to_another_role_is_left_alone() -> Result<()> {
    let cluster = Cluster::get().await?;
    let namespace = cluster.foreign_namespace("onboard").await?;
    let foreign = json!({
        "metadata": {"name": "hardened-operator"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
    });
    let bindings = Api::<RoleBinding>::namespaced(cluster.client.clone(), &namespace.name);
    bindings.create(&PostParams::default(), &serde_json::from_value(foreign)?).await?;

    let refused = onboard(&cluster, &namespace, &["--hosts", "a.example.com"]);
    let message = refused.err().context("onboarded over a foreign binding")?.to_string();
    assert!(message.contains("binds ClusterRole view") && message.contains("delete it"), "{message}");
    let (hosts, binding) = state(&cluster, &namespace).await?;
    assert_eq!(hosts, None, "the annotation was written without the rights");
    assert_eq!(binding.context("no RoleBinding")?.role_ref.name, "view");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_does_not_exist_is_named_with_the_command_that_makes_it() -> Result<()> {
    let cluster = Cluster::get().await?;
    let refused = run(&cluster, &["onboard", "no-such-namespace", "--hosts", "a.example.com"]);
    let message = refused.err().context("onboarded nothing")?.to_string();
    assert!(message.contains("kubectl create namespace no-such-namespace"), "{message}");
    Ok(())
}

fn onboard(cluster: &Cluster, namespace: &Namespace, arguments: &[&str]) -> Result<String> {
    run(cluster, &[&["onboard", &namespace.name], arguments].concat())
}

fn run(cluster: &Cluster, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-hardened"));
    command.args(arguments);
    command.envs(cluster.kubeconfig().map(|path| ("KUBECONFIG", path)));
    let output = command.output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

async fn state(cluster: &Cluster, namespace: &Namespace) -> Result<(Option<String>, Option<RoleBinding>)> {
    let object = Api::<KubeNamespace>::all(cluster.client.clone()).get(&namespace.name).await?;
    let hosts = object.metadata.annotations.and_then(|mut all| all.remove("hardened.dev/allowed-hosts"));
    let bindings = Api::<RoleBinding>::namespaced(cluster.client.clone(), &namespace.name);
    Ok((hosts, bindings.get_opt("hardened-operator").await?))
}
