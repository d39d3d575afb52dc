//! Installs what an operator outside the cluster needs: the chart's custom resources, Lease, admission policy and
//! rights, the latter given to the operator's user as well. It never installs the operator itself.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::cluster::{Cluster, OPERATOR_NAMESPACE, unique};
use crate::parts;
use crate::pki::OPERATOR_USER;
use crate::state::checkout;
use crate::wait::{Look, wait_until};

const COLLECTED: Duration = Duration::from_mins(2);
const KINDS: [&str; 8] = [
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "Lease",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
];

/// Applies these parts of the checkout's chart and waits until the custom resources are served.
pub fn install(cluster: &Cluster) -> Result<()> {
    install_chart(cluster, &checkout().join("charts/hardened-operator")).map(drop)
}

/// The same with these values.
pub fn install_with(cluster: &Cluster, values: &Value) -> Result<()> {
    let file = cluster.state().write(&format!("settings/{}.yaml", unique("values")), values.to_string())?;
    let file = file.to_str().context("the state folder's path is not UTF-8")?;
    apply(cluster, objects_of(&checkout().join("charts/hardened-operator"), &["--values", file])?).map(drop)
}

/// The same with another chart; gives the objects that it has.
pub fn install_chart(cluster: &Cluster, chart: &Path) -> Result<Vec<Value>> {
    apply(cluster, objects_of(chart, &[])?)
}

fn apply(cluster: &Cluster, own: Vec<Value>) -> Result<Vec<Value>> {
    // Two processes that apply at once would see each other's conflicts.
    let _lock = cluster.state().lock("lock")?;
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": OPERATOR_NAMESPACE}});
    let mut objects = vec![namespace];
    objects.extend(own);
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    let field_manager = "--field-manager=testbed";
    kubectl(
        cluster,
        &["apply", "--server-side", "--force-conflicts", field_manager, "-f", "-"],
        &list.to_string(),
    )?;
    let crd = "crd/hardenedservices.hardened.dev";
    kubectl(cluster, &["wait", "--for=condition=Established", "--timeout=30s", crd], "")?;
    Ok(objects)
}

/// Deletes what the chart before had and this one has not, as an upgrade by Helm does; custom resources stay.
pub fn remove_all_but(cluster: &Cluster, before: &[Value], now: &[Value]) -> Result<()> {
    let id = |object: &Value| {
        [&object["kind"], &object["metadata"]["namespace"], &object["metadata"]["name"]].map(Value::to_string)
    };
    let kept: Vec<_> = now.iter().map(id).collect();
    let gone = before.iter().filter(|object| !kept.contains(&id(object)));
    let gone: Vec<_> = gone.filter(|object| object["kind"] != "CustomResourceDefinition").collect();
    if gone.is_empty() {
        return Ok(());
    }
    let list = json!({"apiVersion": "v1", "kind": "List", "items": gone});
    kubectl(cluster, &["delete", "--ignore-not-found", "-f", "-"], &list.to_string()).map(drop)
}

/// Waits until the garbage collector knows the custom resources: it looks for new ones every 30 s only, and until then
/// it collects nothing of theirs.
pub async fn garbage_is_collected(cluster: &Cluster) -> Result<()> {
    let name = unique("orphan");
    let orphan = json!({"metadata": {"name": name, "ownerReferences": [{
        "apiVersion": "hardened.dev/v1alpha1",
        "kind": "HardenedService",
        "name": "never-existed",
        "uid": "00000000-0000-4000-8000-000000000000",
    }]}});
    let maps = Api::<ConfigMap>::namespaced(cluster.client.clone(), OPERATOR_NAMESPACE);
    maps.create(&PostParams::default(), &serde_json::from_value(orphan)?).await?;
    wait_until(COLLECTED, "the garbage collector", async || match maps.get_metadata_opt(&name).await {
        Ok(None) => Look::Done(()),
        other => Look::NotYet(other.map(|_| "still there").map_err(|error| error.to_string())),
    })
    .await
}

/// Runs kubectl as the administrator with this on its standard input, and returns what it printed.
pub fn kubectl(cluster: &Cluster, arguments: &[&str], input: &str) -> Result<String> {
    client("kubectl", cluster.kubeconfig().as_deref(), arguments, input)
}

/// Runs `kubectl` or `helm` with a kubeconfig, and returns what it printed.
pub fn client(program: &str, kubeconfig: Option<&Path>, arguments: &[&str], input: &str) -> Result<String> {
    let mut command = Command::new(parts::clients()?.join(program));
    if let Some(kubeconfig) = kubeconfig {
        command.env("KUBECONFIG", kubeconfig);
    }
    let pipes = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().with_context(|| format!("start {program}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("{program} {} failed: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The chart's objects of those kinds.
fn objects_of(chart: &Path, arguments: &[&str]) -> Result<Vec<Value>> {
    let objects = render_chart(chart, arguments)?;
    let kept = objects.into_iter().filter(|object| KINDS.iter().any(|kind| object["kind"] == *kind));
    Ok(kept.map(with_user).collect())
}

/// The objects of the checkout's chart, without those of hooks, as `helm template` prints them with more arguments.
pub fn render(arguments: &[&str]) -> Result<Vec<Value>> {
    render_chart(&checkout().join("charts/hardened-operator"), arguments)
}

fn render_chart(chart: &Path, arguments: &[&str]) -> Result<Vec<Value>> {
    let chart = chart.to_str().context("the checkout's path is not UTF-8")?;
    let fixed = ["template", "hardened-operator", chart, "--namespace", OPERATOR_NAMESPACE, "--no-hooks"];
    let text = client("helm", None, &[&fixed, arguments].concat(), "")?;
    serde_saphyr::from_multiple(&text).context("read the rendered chart")
}

/// Adds the operator's user to the subjects of a binding.
fn with_user(mut object: Value) -> Value {
    if let Some(subjects) = object.get_mut("subjects").and_then(Value::as_array_mut) {
        subjects
            .push(json!({"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": OPERATOR_USER}));
    }
    object
}
