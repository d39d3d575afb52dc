//! Does the issuer before stay trusted as long as a ready pod serves another certificate than the new one, and nobody
//! else's CA with it? The pod is one that is said to be ready and that nobody can connect to.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use testbed::certificate::{Pair, ask_for_another_ca, ca};
use testbed::fixture::{OPERATOR, rest};
use testbed::operator::Options;
use testbed::provided::{COPY, Provided, SOURCE, Scene};
use testbed::{Cluster, Look, Namespace, Operator, wait_until};

const LIMIT: Duration = Duration::from_secs(30);
const BUNDLE: &str = "shop-ca";

#[tokio::test]
async fn the_issuer_before_is_trusted_until_every_ready_pod_serves_the_new_certificate() -> Result<()> {
    let (stage, mut operator) = Stage::set("handover").await?;
    let own = stage.own_ca().await?;
    stage.scene.until_copied(&stage.user).await?;
    stage.switch(&json!({"secret": null, "selfSigned": {}})).await?;
    stage.until_trusted("the own CA alone: no pod is waited for", &[&own]).await?;

    stage.pod().await?;
    stage.switch(&json!({"selfSigned": null, "secret": {"name": SOURCE}})).await?;
    stage.until_trusted("both, the older first", &[&own, &stage.user.root]).await?;
    stage.scene.until_copied(&stage.user).await?;
    operator.kill().await?;
    operator.restart().await?;
    stage.rest().await?;
    stage.until_trusted("both after a restart", &[&own, &stage.user.root]).await?;

    // What is written beside it is not the operator's, with its seal or with another.
    let stranger = Provided::new()?.root;
    let added = [&*own, &stranger, &stage.user.root].concat();
    for seal in [None, Some("v1:0:0")] {
        let mut patch = json!({"data": {"ca.crt": added}});
        if let Some(seal) = seal {
            patch["metadata"] = json!({"annotations": {crds::SEAL_ANNOTATION: seal}});
        }
        stage.maps.patch(BUNDLE, &PatchParams::default(), &Patch::Merge(patch)).await?;
        stage.until_lacks(&stranger).await?;
    }
    Ok(())
}

#[tokio::test]
async fn it_is_trusted_no_more_when_the_last_pod_is_seen_and_after_an_emergency_at_once() -> Result<()> {
    let (stage, _operator) = Stage::set("handover-end").await?;
    let own = stage.own_ca().await?;
    stage.scene.until_copied(&stage.user).await?;
    stage.pod().await?;
    stage.switch(&json!({"secret": null, "selfSigned": {}})).await?;
    stage.until_trusted("both", &[&stage.user.root, &own]).await?;
    stage.pods.delete("straggler", &DeleteParams::default().grace_period(0)).await?;
    stage.until_trusted("the own CA alone", &[&own]).await?;
    ensure!(!stage.bundle().await?.annotations().contains_key(crds::SEAL_ANNOTATION), "the seal is left");
    stage.scene.no_drift().await?;
    if let Some(audit) = stage.cluster.audit() {
        stage.rest().await?;
        let mark = audit.mark().await?;
        stage.scene.service.patch(&json!({"metadata": {"labels": {"looked-at": "again"}}})).await?;
        stage.rest().await?;
        let seen =
            audit.since(mark).await?.by(OPERATOR).within(&stage.scene.namespace.name).besides_watches();
        ensure!(seen.clone().count() == 0, "pods are still looked at: {seen}");
    }

    stage.pod().await?;
    stage.switch(&json!({"selfSigned": null, "secret": {"name": SOURCE}})).await?;
    stage.until_trusted("both again", &[&own, &stage.user.root]).await?;
    ask_for_another_ca(&stage.cluster.client, &stage.home.name, "emergency").await?;
    stage.until_trusted("the user's alone", &[&stage.user.root]).await
}

/// A service whose user provides a certificate, and keys of the operator that are the test's own. Fields are dropped in
/// this order.
struct Stage {
    scene: Scene,
    home: Namespace,
    cluster: Cluster,
    user: Provided,
    maps: Api<ConfigMap>,
    pods: Api<Pod>,
}

impl Stage {
    /// The operator first: that of another test, with keys of its own, must not have seen the service before.
    async fn set(name: &str) -> Result<(Self, Operator)> {
        let (cluster, user) = (Cluster::get().await?, Provided::new()?);
        let home = testbed::home::home(&cluster, "home").await?;
        let args = testbed::home::at(&home);
        let operator = Operator::start_with(&cluster, Options { args, ..Options::default() }).await?;
        let scene = Scene::new(&cluster, name, Some(&user)).await?;
        let namespace = &scene.namespace.name;
        let maps = Api::namespaced(cluster.client.clone(), namespace);
        let pods = Api::namespaced(cluster.client.clone(), namespace);
        Ok((Self { scene, home, cluster, user, maps, pods }, operator))
    }

    async fn own_ca(&self) -> Result<String> {
        ca(&self.cluster.client, &self.home.name).await
    }

    async fn rest(&self) -> Result<()> {
        match self.cluster.audit() {
            Some(audit) => rest(&audit, &self.scene.namespace.name).await,
            None => Ok(()),
        }
    }

    /// A pod of the service that is ready, where nothing listens.
    async fn pod(&self) -> Result<()> {
        let restricted = json!({
            "allowPrivilegeEscalation": false, "runAsNonRoot": true, "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        });
        let pod = json!({
            "metadata": {"name": "straggler", "labels": {crds::SERVICE_LABEL: "shop"}},
            "spec": {"containers": [{"name": "app", "image": "none", "securityContext": restricted}],
                "automountServiceAccountToken": false},
        });
        self.pods.create(&PostParams::default(), &serde_json::from_value(pod)?).await?;
        let ready = json!({"status": {
            "podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}],
            "conditions": [{"type": "Ready", "status": "True"}],
        }});
        self.pods.patch_status("straggler", &PatchParams::default(), &Patch::Merge(ready)).await?;
        Ok(())
    }

    async fn switch(&self, issuer: &Value) -> Result<()> {
        let serial = async || Pair::of(&self.scene.secrets.get(COPY).await?)?.serial();
        let before = serial().await?;
        self.scene.service.patch(&json!({"spec": {"tls": {"issuer": issuer}}})).await?;
        wait_until(LIMIT, "another certificate", async || match serial().await {
            Ok(now) if now != before => Look::Done(()),
            other => Look::NotYet(format!("{other:?}")),
        })
        .await
    }

    async fn bundle(&self) -> Result<ConfigMap> {
        Ok(self.maps.get(BUNDLE).await?)
    }

    async fn trusted(&self) -> Result<String> {
        Ok(self.bundle().await?.data.and_then(|mut data| data.remove("ca.crt")).unwrap_or_default())
    }

    async fn until_trusted(&self, what: &str, cas: &[&str]) -> Result<()> {
        let wanted: Vec<_> = cas.concat().lines().map(str::to_owned).collect();
        wait_until(LIMIT, what, async || match self.trusted().await {
            Ok(now) if now.lines().eq(&wanted) => Look::Done(()),
            other => Look::NotYet(format!("{other:?}")),
        })
        .await
    }

    async fn until_lacks(&self, ca: &str) -> Result<()> {
        wait_until(LIMIT, "a stranger's CA to go", async || match self.trusted().await {
            Ok(now) if !now.contains(ca.trim()) => Look::Done(()),
            other => Look::NotYet(format!("{other:?}")),
        })
        .await
    }
}
