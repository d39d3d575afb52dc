//! Does an upgrade from the previous operator, and the way back, leave pods, keys and resources as they are? The earlier
//! operator and its chart come from the repository's history; the control plane is the test's own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use crds::{ChildState, HardenedService, SERVICE_LABEL};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Secret, Service as KubeService};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use testbed::audit::Requests;
use testbed::cluster::OPERATOR_NAMESPACE;
use testbed::fixture::{OPERATOR, rest};
use testbed::gobuild::hex;
use testbed::operator::Options;
use testbed::previous::{self, Previous};
use testbed::state::checkout;
use testbed::{Cluster, Look, Namespace, Operator, PrivateTestbed, install, wait_until};

/// Twenty services with RSA keys among them, on a busy machine.
const CONVERGED: Duration = Duration::from_mins(3);
const SERVICES: usize = 20;
const NOTHING: [&str; 0] = [];
/// Writes that the newer version has a reason for: verb and resource. Everything else must stay as it is.
const FORWARD: [(&str, &str); 0] = [];
/// The same on the way back.
const BACK: [(&str, &str); 0] = [];
/// What the examples take out of Secrets that others write.
const VALUES: [(&str, &str); 5] = [
    ("url", "redis://redis"),
    ("username", "app"),
    ("password", "one"),
    ("signing-key.pem", "two"),
    ("api-key", "three"),
];

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_and_the_way_back_roll_nothing_out_and_change_no_key() -> Result<()> {
    let Some(previous) = previous::build()? else { return Ok(()) };
    let testbed = PrivateTestbed::new()?;
    testbed.run(&["up", "--control-plane"])?;
    let cluster = Cluster::of(&testbed).await?;
    let old_objects = install::install_chart(&cluster, &previous.chart())?;
    let mut operator = Operator::start_with(&cluster, old(&previous)).await?;
    let scene = Scene::set(&cluster, &previous).await?;
    let before = scene.look().await?;
    for (kind, least) in
        [("HardenedService ", SERVICES), ("ReplicaSet ", SERVICES), ("Secret ", SERVICES + 2)]
    {
        let found = before.keys().filter(|name| name.starts_with(kind)).count();
        assert!(found >= least, "{found} of {kind}");
    }

    operator.stop().await?;
    let new_objects = install::install_chart(&cluster, &checkout().join("charts/hardened-operator"))?;
    install::remove_all_but(&cluster, &old_objects, &new_objects)?;
    let forward = scene.run(&mut operator, &cluster, Options::default()).await?;
    assert_eq!(changed(&before, &scene.look().await?), NOTHING, "the upgrade changed these");
    explained(&forward, &FORWARD);

    operator.stop().await?;
    install::install_chart(&cluster, &previous.chart())?;
    install::remove_all_but(&cluster, &new_objects, &old_objects)?;
    let back = scene.run(&mut operator, &cluster, old(&previous)).await?;
    assert_eq!(changed(&before, &scene.look().await?), NOTHING, "the way back changed these");
    explained(&back, &BACK);
    println!("{SERVICES} services, 0 rollouts, 0 key changes; there: {forward}back: {back}");
    Ok(())
}

fn old(previous: &Previous) -> Options {
    Options { program: Some(previous.program()), ..Options::default() }
}

fn explained(writes: &Requests, reasons: &[(&str, &str)]) {
    let without = writes.clone().only(|write| !reasons.contains(&(&*write.verb, &*write.resource)));
    assert_eq!(without.count(), 0, "no reason is known for these writes: {without}");
}

/// The services in their namespace.
struct Scene {
    client: Client,
    audit: testbed::Audit,
    namespace: Namespace,
}

/// What an upgrade must not touch, by kind and name: specs and uids, pod templates, addresses, `ReplicaSet`s, because a
/// rollout is a new one, and Secrets by their hash, so that no key is printed.
type Kept = BTreeMap<String, Value>;

impl Scene {
    /// Makes the services and lives with them for a while, as people do.
    async fn set(cluster: &Cluster, previous: &Previous) -> Result<Self> {
        let audit = cluster.audit().context("a control plane of the test's own has an audit log")?;
        let namespace = cluster.namespace("upgrade").await?;
        let scene = Self { client: cluster.client.clone(), audit, namespace };
        for service in services(previous)? {
            for (_, name) in render::referenced_secrets(&service) {
                let labels = json!({SERVICE_LABEL: service.name_any()});
                let values: BTreeMap<_, _> = VALUES.into();
                let secret = json!({"metadata": {"name": name, "labels": labels}, "stringData": values});
                scene
                    .api::<Secret>()
                    .create(&PostParams::default(), &serde_json::from_value(secret)?)
                    .await?;
            }
            scene.api().create(&PostParams::default(), &service).await?;
        }
        scene.converged().await?;
        let restarted = json!({"kubectl.kubernetes.io/restartedAt": "2026-01-02T03:04:05Z"});
        let template = json!({"spec": {"template": {"metadata": {"annotations": restarted}}}});
        scene.patch::<Deployment>("restarted", &template).await?;
        scene.patch::<Deployment>("scaled", &json!({"spec": {"replicas": 5}})).await?;
        let unscaled = json!({"spec": {"workload": {"autoscaling": null}}});
        scene.patch::<HardenedService>("unscaled", &unscaled).await?;
        scene.patch::<HardenedService>("suspended", &json!({"spec": {"suspend": true}})).await?;
        scene.converged().await?;
        Ok(scene)
    }

    /// Starts this operator, waits until it is done, and gives what it wrote besides status.
    async fn run(&self, operator: &mut Operator, cluster: &Cluster, options: Options) -> Result<Requests> {
        let mark = self.audit.mark().await?;
        operator.restart_with(cluster, options).await?;
        self.converged().await?;
        let writes = self.audit.since(mark).await?.by(OPERATOR).writes();
        // The leader's Lease is the operator's own business.
        Ok(writes.only(|write| write.subresource.is_empty() && write.resource != "leases"))
    }

    async fn converged(&self) -> Result<()> {
        wait_until(CONVERGED, "every service to be done", async || {
            match self.api::<HardenedService>().list(&ListParams::default()).await {
                Ok(all) => {
                    let open: Vec<_> = all.into_iter().filter(|service| !is_done(service)).collect();
                    Look::when(
                        open.iter().map(|s| (s.name_any(), s.status.clone())).collect::<Vec<_>>(),
                        Vec::is_empty,
                    )
                }
                Err(error) => Look::NotYet(vec![(error.to_string(), None)]),
            }
        })
        .await?;
        rest(&self.audit, "").await
    }

    async fn look(&self) -> Result<Kept> {
        let mut kept = Kept::new();
        note(&mut kept, &self.api(), |service: &HardenedService| json!(service.spec)).await?;
        note(&mut kept, &self.api(), |set: &ReplicaSet| json!(set.spec.replicas)).await?;
        note(&mut kept, &self.api(), |found: &Deployment| json!([found.spec.replicas, found.spec.template]))
            .await?;
        note(&mut kept, &self.api(), |service: &KubeService| {
            json!(service.spec.as_ref().and_then(|spec| spec.cluster_ip.clone()))
        })
        .await?;
        note(&mut kept, &self.api(), hash).await?;
        // The operator's own keys.
        note(&mut kept, &Api::namespaced(self.client.clone(), OPERATOR_NAMESPACE), hash).await?;
        Ok(kept)
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace.name)
    }

    async fn patch<K>(&self, name: &str, patch: &Value) -> Result<()>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        self.api::<K>().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }
}

/// Notes uid and something more of every object that an API has.
async fn note<K>(kept: &mut Kept, api: &Api<K>, more: impl Fn(&K) -> Value) -> Result<()>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    for object in api.list(&ListParams::default()).await? {
        let name = format!("{} {}", K::kind(&()), object.name_any());
        kept.insert(name, json!([object.uid(), more(&object)]));
    }
    Ok(())
}

/// What came, went or is another.
fn changed(before: &Kept, after: &Kept) -> Vec<String> {
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    names.into_iter().filter(|name| before.get(*name) != after.get(*name)).cloned().collect()
}

/// Every example of the earlier version, and some that people have changed since.
fn services(previous: &Previous) -> Result<Vec<HardenedService>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(previous.examples())? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|stem| stem.to_str()).context("an example without a name")?;
        let service = named(&path, name)?;
        // Others issue the certificates of the rest; here is nobody else.
        let issuer = service.spec.tls.as_ref().and_then(|tls| tls.issuer.as_ref());
        if issuer.is_none_or(|issuer| issuer.self_signed.is_some()) {
            all.push(service);
        }
    }
    let with_values = all.iter().filter(|service| service.spec.secrets.is_some()).count();
    ensure!(with_values > 1, "no example has values");
    let example = |file: &str| previous.examples().join(file);
    let longest = "a".repeat(40);
    for name in ["restarted", "scaled", "suspended", &longest] {
        all.push(named(&example("minimal-production.yaml"), name)?);
    }
    all.push(named(&example("autoscaling.yaml"), "unscaled")?);
    let mut one = named(&example("studio.yaml"), "one")?;
    one.spec.workload.replicas = Some(1);
    all.push(one);
    Ok(all)
}

fn named(example: &Path, name: &str) -> Result<HardenedService> {
    let text = fs::read_to_string(example)?;
    let read: HardenedService =
        serde_saphyr::from_str(&text).with_context(|| format!("read {}", example.display()))?;
    Ok(HardenedService::new(name, read.spec))
}

/// Whether the operator has looked at the present spec and has nothing left to do. Pods never run here.
fn is_done(service: &HardenedService) -> bool {
    service.status.as_ref().is_some_and(|status| {
        status.observed_generation == service.metadata.generation
            && !status.children.is_empty()
            && status.children.iter().all(|child| child.state == ChildState::Applied)
    })
}

fn hash(secret: &Secret) -> Value {
    let parts = json!([secret.type_, secret.data, secret.metadata.labels]);
    hex(&Sha256::digest(parts.to_string())).into()
}
