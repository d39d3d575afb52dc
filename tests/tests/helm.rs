//! Does the chart live as its README says: upgrade its definitions, keep them, refuse a second release, end in listed
//! namespaces, and free services before it goes? The real Helm against real API servers without nodes.
#![allow(clippy::unwrap_used, reason = "an object of another shape fails the test")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::ApiResource;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use testbed::release::Helm;
use testbed::state::checkout;
use testbed::{Look, wait_until};

const SYSTEM: &str = "hardened-system";
const CRD: &str = "crd/hardenedservices.hardened.dev";
/// Columns of `kubectl get hsvc`.
const COLUMNS: &str = "jsonpath={.spec.versions[0].additionalPrinterColumns[*].name}";
const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_release_upgrades_its_definitions_and_leaves_them_and_the_services_when_it_goes() -> Result<()> {
    let helm = Helm::start().await?;
    let folder = tempfile::tempdir()?;
    let older = older_chart(folder.path())?;
    helm.release(SYSTEM, Some(&older), &[])?;
    let before = helm.kubectl(&["get", CRD, "-o", COLUMNS])?;
    ensure!(!before.contains("OLD") && !before.is_empty(), "{before}");
    let services = services(&helm)?;
    let first = make(&services, "kept", &[]).await?;
    hold_lease(&helm).await?;

    helm.release(SYSTEM, None, &[])?;
    let after = helm.kubectl(&["get", CRD, "-o", COLUMNS])?;
    assert_eq!(after.split(' ').count(), before.split(' ').count() + 1, "{before} then {after}");
    assert_eq!(holder(&helm).await?.as_deref(), Some("hardened-system/pod"), "the upgrade took the lease");

    helm.run(&["uninstall", "hardened-operator", "-n", SYSTEM, "--no-hooks"])?;
    assert_eq!(services.get("kept").await?.uid(), first.uid(), "the service went with the release");
    let left = helm.kubectl(&["get", "clusterroles,validatingadmissionpolicies", "-o", "name"])?;
    ensure!(!left.contains("hardened-operator"), "{left}");
    assert_eq!(holder(&helm).await.ok(), None, "the Lease stayed");

    helm.release(SYSTEM, None, &["crds.keep=false"])?;
    assert_eq!(services.get("kept").await?.uid(), first.uid(), "installing again replaced the service");
    helm.run(&["uninstall", "hardened-operator", "-n", SYSTEM, "--no-hooks"])?;
    wait_until(SOON, "the definition to go", async || match helm.kubectl(&["get", "crd", "-o", "name"]) {
        Ok(names) if names.is_empty() => Look::Done(()),
        other => Look::NotYet(format!("{other:?}")),
    })
    .await
}

#[tokio::test]
async fn a_second_release_is_refused_and_leaves_nothing() -> Result<()> {
    let helm = Helm::start().await?;
    helm.release(SYSTEM, None, &[])?;
    // The same names first; then with everything renamed that can be.
    for (sets, object) in [
        (vec![], "invalid ownership metadata"),
        (
            vec!["fullnameOverride=\"other\"", "crds.enabled=false"],
            "Lease \"hardened-operator\" in namespace \"kube-system\"",
        ),
    ] {
        let refused = format!("{:#}", helm.release("elsewhere", None, &sets).unwrap_err());
        for part in [object, "exists and cannot be imported", "current value is \"hardened-system\""] {
            assert!(refused.contains(part), "{sets:?}: {refused}");
        }
    }
    let made = helm.kubectl(&["get", "deployments,serviceaccounts", "-n", "elsewhere", "-o", "name"]);
    assert!(!made.unwrap_or_default().contains("operator"), "the refused release left something");

    // What an uninstall kept remembers its release; who moves it says so.
    helm.run(&["uninstall", "hardened-operator", "-n", SYSTEM, "--no-hooks"])?;
    let refused = format!("{:#}", helm.release("elsewhere", None, &[]).unwrap_err());
    assert!(refused.contains("hardenedservices.hardened.dev"), "{refused}");
    helm.run(&[
        "upgrade",
        "--install",
        "hardened-operator",
        checkout().join("charts/hardened-operator").to_str().unwrap(),
        "-n",
        "elsewhere",
        "--create-namespace",
        "--take-ownership",
    ])?;
    Ok(())
}

#[tokio::test]
async fn the_rights_end_at_the_listed_namespaces() -> Result<()> {
    let helm = Helm::start().await?;
    for namespace in ["a", "b", "c"] {
        helm.kubectl(&["create", "namespace", namespace])?;
    }
    helm.release(SYSTEM, None, &[r#"namespaces=["a","b"]"#])?;
    let crd = "customresourcedefinitions.apiextensions.k8s.io";
    for (allowed, verb, resource, namespace, name) in [
        (true, "list", "deployments.apps", "a", ""),
        (true, "watch", "hardenedservices.hardened.dev", "b", ""),
        (true, "create", "secrets", "b", ""),
        (false, "list", "deployments.apps", "c", ""),
        (false, "list", "deployments.apps", "", ""),
        (false, "list", "hardenedservices.hardened.dev", "", ""),
        (false, "get", "secrets", "c", ""),
        (false, "create", "events.events.k8s.io", "c", ""),
        (true, "watch", "namespaces", "", "a"),
        (false, "watch", "namespaces", "", "c"),
        (false, "list", "namespaces", "", ""),
        (true, "watch", crd, "", "hardenedservices.hardened.dev"),
        (false, "list", crd, "", ""),
        (true, "update", "leases.coordination.k8s.io", SYSTEM, "hardened-operator"),
        (false, "update", "leases.coordination.k8s.io", "kube-system", "hardened-operator"),
    ] {
        until_allowed(&helm, allowed, verb, resource, namespace, name).await?;
    }
    // The authorizer knows the name of a list by its field selector alone.
    let own = helm.kubeconfig_of(SYSTEM, "hardened-operator")?;
    let namespaces =
        Api::<k8s_openapi::api::core::v1::Namespace>::all(testbed::cluster::client_of(&own).await?);
    assert_eq!(namespaces.list(&ListParams::default().fields("metadata.name=a")).await?.items.len(), 1);
    assert!(namespaces.list(&ListParams::default()).await.is_err(), "all namespaces were listed");

    helm.release(SYSTEM, None, &[r#"namespaces=["a","b"]"#, "rbac.bindNamespaces=false"])?;
    until_allowed(&helm, false, "create", "secrets", "b", "").await?;
    until_allowed(&helm, true, "list", "deployments.apps", "b", "").await?;

    helm.release(SYSTEM, None, &["namespaces=[]"])?;
    until_allowed(&helm, true, "list", "deployments.apps", "", "").await?;
    until_allowed(&helm, false, "get", "secrets", "a", "").await?;
    let lease = "leases.coordination.k8s.io";
    until_allowed(&helm, true, "create", lease, "kube-system", "hardened-operator").await?;
    until_allowed(&helm, false, "update", lease, SYSTEM, "hardened-operator").await?;
    its_own_lease_is_all_that_it_can_make(&helm).await
}

/// Tools that leave Leases out when they apply a chart are no obstacle: a Lease can be made by PUT, under one name.
async fn its_own_lease_is_all_that_it_can_make(helm: &Helm) -> Result<()> {
    let own = testbed::cluster::client_of(&helm.kubeconfig_of(SYSTEM, "hardened-operator")?).await?;
    helm.kubectl(&["delete", "lease", "hardened-operator", "-n", "kube-system"])?;
    let leases = Api::<Lease>::namespaced(own, "kube-system");
    let lease = |name: &str| serde_json::from_value::<Lease>(json!({"metadata": {"name": name}}));
    leases.replace("hardened-operator", &PostParams::default(), &lease("hardened-operator")?).await?;
    let again =
        leases.replace("hardened-operator", &PostParams::default(), &lease("hardened-operator")?).await;
    assert!(matches!(&again, Err(kube::Error::Api(status)) if status.is_invalid()), "overwrote: {again:?}");
    let other = leases.replace("kube-scheduler", &PostParams::default(), &lease("kube-scheduler")?).await;
    assert!(matches!(&other, Err(kube::Error::Api(status)) if status.is_forbidden()), "{other:?}");
    let posted = leases.create(&PostParams::default(), &lease("cert-manager-controller")?).await;
    assert!(matches!(&posted, Err(kube::Error::Api(status)) if status.is_forbidden()), "{posted:?}");
    Ok(())
}

#[tokio::test]
async fn an_uninstall_takes_our_finalizers_off_every_service_first() -> Result<()> {
    let helm = Helm::start().await?;
    helm.release(SYSTEM, None, &[])?;
    let services = services(&helm)?;
    make(&services, "free", &[]).await?;
    make(&services, "held", &["hardened.dev/vault", "example.com/backup"]).await?;
    make(&services, "leaving", &["hardened.dev/vault"]).await?;
    services.delete("leaving", &DeleteParams::default()).await?;
    assert!(services.get("leaving").await?.metadata.deletion_timestamp.is_some());
    let versions = async || anyhow::Ok(services.get("free").await?.resource_version());
    let before = versions().await?;

    let mut uninstall = Command::new(testbed::parts::clients()?.join("helm"))
        .env("KUBECONFIG", helm.kubeconfig())
        .args(["uninstall", "hardened-operator", "-n", SYSTEM, "--timeout", "60s"])
        .spawn()?;
    let done = run_the_job(&helm).await;
    if done.is_err() {
        uninstall.kill()?;
    }
    let status = uninstall.wait()?;
    let log = done?;
    ensure!(status.success(), "helm uninstall: {status}; the Job printed: {log}");
    ensure!(log.contains("finalizers removed") && log.contains("\"services\":2"), "{log}");

    assert_eq!(services.get("held").await?.finalizers(), ["example.com/backup"]);
    assert!(services.get_opt("leaving").await?.is_none(), "it waited for our finalizer alone");
    assert_eq!(versions().await?, before, "a service without finalizers was written");
    let left = Api::<ClusterRole>::all(helm.client.clone()).get_opt("hardened-operator-uninstall").await?;
    assert!(left.is_none(), "the hook's rights stayed");
    Ok(())
}

/// Plays the kubelet for the hook's pod: its program with its account's rights, then its end.
async fn run_the_job(helm: &Helm) -> Result<String> {
    let pods = Api::<Pod>::namespaced(helm.client.clone(), SYSTEM);
    let list = ListParams::default().labels("job-name=hardened-operator-uninstall");
    let pod = wait_until(SOON, "the pod of the hook", async || match pods.list(&list).await {
        Ok(found) if !found.items.is_empty() => Look::Done(found.items[0].clone()),
        other => Look::NotYet(format!("{other:?}")),
    })
    .await?;
    let spec = pod.spec.clone().context("no spec")?;
    let account = spec.service_account_name.context("no account")?;
    let kubeconfig = helm.kubeconfig_of(SYSTEM, &account)?;
    let output = Command::new(testbed::operator::program()?)
        .args(spec.containers[0].args.clone().unwrap_or_default())
        .env("HARDENED_KUBECONFIG", kubeconfig)
        .output()?;
    let log = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(output.status.success(), "{log}");
    let ended = Patch::Merge(json!({"status": {"phase": "Succeeded"}}));
    pods.patch_status(&pod.name_any(), &PatchParams::default(), &ended).await?;
    Ok(log)
}

/// The chart with one column fewer in its definition, as a version before this one may have had.
fn older_chart(folder: &Path) -> Result<PathBuf> {
    let (from, to) = (checkout().join("charts/hardened-operator"), folder.join("older"));
    let copied = Command::new("cp").arg("-r").args([&from, &to]).status()?;
    ensure!(copied.success(), "cp: {copied}");
    let file = to.join("files/crds/hardened.dev_hardenedservices.yaml");
    let mut crd: Value = serde_saphyr::from_str(&std::fs::read_to_string(&file)?)?;
    let columns = crd["spec"]["versions"][0]["additionalPrinterColumns"].as_array_mut();
    columns.context("no columns")?.pop();
    std::fs::write(&file, crd.to_string())?;
    Ok(to)
}

/// Services of the namespace `default`, once they are served.
fn services(helm: &Helm) -> Result<Api<DynamicObject>> {
    helm.kubectl(&["wait", "--for=condition=Established", "--timeout=30s", CRD])?;
    let kind = ApiResource::erase::<crds::HardenedService>(&());
    Ok(Api::namespaced_with(helm.client.clone(), "default", &kind))
}

async fn make(services: &Api<DynamicObject>, name: &str, finalizers: &[&str]) -> Result<DynamicObject> {
    let object = json!({
        "apiVersion": "hardened.dev/v1alpha1",
        "kind": "HardenedService",
        "metadata": {"name": name, "finalizers": finalizers},
        "spec": {"environment": "development", "workload": {"image": "registry.local/app:1"}},
    });
    Ok(services.create(&PostParams::default(), &serde_json::from_value(object)?).await?)
}

fn lease(helm: &Helm) -> Api<Lease> {
    Api::namespaced(helm.client.clone(), "kube-system")
}

async fn hold_lease(helm: &Helm) -> Result<()> {
    let mut taken = lease(helm).get("hardened-operator").await?;
    taken.spec.get_or_insert_default().holder_identity = Some("hardened-system/pod".into());
    let params = PostParams { field_manager: Some("hardened-operator".into()), ..PostParams::default() };
    lease(helm).replace("hardened-operator", &params, &taken).await?;
    Ok(())
}

async fn holder(helm: &Helm) -> Result<Option<String>> {
    let lease = lease(helm).get("hardened-operator").await?;
    Ok(lease.spec.and_then(|spec| spec.holder_identity))
}

/// Waits until the authorizer says so about the operator's ServiceAccount: it learns of roles by a watch of its own.
async fn until_allowed(
    helm: &Helm,
    allowed: bool,
    verb: &str,
    resource: &str,
    namespace: &str,
    name: &str,
) -> Result<()> {
    let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
    let user = format!("system:serviceaccount:{SYSTEM}:hardened-operator");
    let review: SubjectAccessReview =
        serde_json::from_value(json!({"spec": {"user": user, "resourceAttributes": {
            "verb": verb, "group": group, "resource": resource, "namespace": namespace, "name": name,
        }}}))?;
    let reviews = Api::<SubjectAccessReview>::all(helm.client.clone());
    let what = format!("{verb} {resource} {name} in {namespace:?} to be allowed: {allowed}");
    wait_until(SOON, &what, async || match reviews.create(&PostParams::default(), &review).await {
        Ok(answer) if answer.status.as_ref().is_some_and(|status| status.allowed == allowed) => {
            Look::Done(())
        }
        other => Look::NotYet(format!("{other:?}")),
    })
    .await
}
