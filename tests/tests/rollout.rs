//! Does traffic through the Service lose a request while pods are replaced? With the real image on the real node; the
//! clients stand in the node's network and reach the pods by kube-proxy. Needs root, and no other node on this host.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use crds::{HardenedService, SERVICE_LABEL};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service as KubeService};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;
use testbed::certificate::{Pair, tls_secret};
use testbed::fixture::{Service, condition, example};
use testbed::load::{Load, Report, Target, served_certificate};
use testbed::state::checkout;
use testbed::{
    Cluster, Look, Namespace, Operator, PrivateTestbed, image, install, network, node, parts, wait_until,
};

const NAME: &str = "studio";
const READY: Duration = Duration::from_mins(2);
/// A kubelet brings a changed Secret into its volume within its sync period of a minute and a half.
const CERTIFICATE: Duration = Duration::from_mins(4);
/// As many new connections in a row meet both pods, but for one case in half a million.
const LOOKS: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_update_at_200_requests_a_second_fails_none_of_2000() -> Result<()> {
    let Some(stage) = Stage::set().await? else { return Ok(()) };
    let load = Load::start(stage.target().await?, 200);
    stage.update(1).await?;
    let report = finish(load, 2000).await?;
    println!("{report}");
    check(&report);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "soak: six minutes"]
async fn ten_updates_a_drain_and_a_new_certificate_fail_none_of_100000() -> Result<()> {
    let Some(stage) = Stage::set().await? else { return Ok(()) };
    let load = Load::start(stage.target().await?, 300);
    let seen = |what: &str| println!("SOAK {what}: {}", load.report());
    for count in 1..=10 {
        stage.update(count).await?;
        seen(&format!("update {count}"));
    }
    stage.drain().await?;
    seen("kubectl drain");
    let took = stage.change_certificate().await?;
    seen(&format!("new certificate, on every connection after {} s", took.as_secs()));
    let report = finish(load, 100_000).await?;
    println!("SOAK end: {report}");
    check(&report);
    Ok(())
}

fn check(report: &Report) {
    assert_eq!(report.failed, 0, "{report}");
    let answered: usize = report.versions.values().sum();
    assert_eq!((answered, report.versions.len()), (report.sent, 2), "{report}");
    assert!(report.connections * 4 < report.sent, "connections were not kept: {report}");
}

async fn finish(load: Load, requests: usize) -> Result<Report> {
    let limit = Duration::from_mins(10);
    wait_until(limit, "the last requests", async || Look::when(load.sent(), |sent| *sent >= requests))
        .await?;
    tokio::task::spawn_blocking(|| load.end()).await?
}

/// A service that is ready, on a node of its own. Fields are dropped in this order.
struct Stage {
    _operator: Operator,
    service: Service,
    namespace: Namespace,
    cluster: Cluster,
    _testbed: PrivateTestbed,
}

impl Stage {
    async fn set() -> Result<Option<Self>> {
        if !node::is_free() {
            return Ok(None);
        }
        let program = checkout().join("dist/api-server");
        ensure!(program.exists(), "{} is missing: run hack/images.sh", program.display());
        parts::all()?;
        let testbed = PrivateTestbed::new()?;
        testbed.run(&["up"])?;
        let cluster = Cluster::of(&testbed).await?;
        install::install(&cluster)?;
        let operator = Operator::start(&cluster).await?;
        let namespace = cluster.namespace("rollout").await?;
        let mut wanted = example(NAME)?;
        wanted.spec.workload.image = image::load(&testbed.state, "api-server:1", &program)?;
        let service = Service::create(&cluster, &namespace.name, &wanted).await?;
        let stage = Self { _operator: operator, service, namespace, cluster, _testbed: testbed };
        stage.ready().await?;
        let target = stage.target().await?;
        // kube-proxy learns of the first endpoints a moment after everybody else.
        wait_until(READY, "the first connection", async || match served_certificate(&target) {
            Ok(_) => Look::Done(()),
            Err(error) => Look::NotYet(format!("{error:#}")),
        })
        .await?;
        Ok(Some(stage))
    }

    async fn target(&self) -> Result<Target> {
        let services = Api::<KubeService>::namespaced(self.cluster.client.clone(), &self.namespace.name);
        let spec = services.get(NAME).await?.spec;
        let address = spec.and_then(|spec| spec.cluster_ip).context("the Service has no address")?;
        let bundles = Api::<ConfigMap>::namespaced(self.cluster.client.clone(), &self.namespace.name);
        let data = bundles.get(&format!("{NAME}-ca")).await?.data;
        Ok(Target {
            address: SocketAddr::new(address.parse()?, 443),
            host: format!("{NAME}.{}.svc", self.namespace.name),
            ca: data.and_then(|mut data| data.remove("ca.crt")).context("no bundle")?,
            netns: network::NETNS,
        })
    }

    async fn ready(&self) -> Result<()> {
        wait_until(READY, "the service to be ready", async || match self.service.get().await {
            Ok(service) => Look::when(Some(service), |service| service.as_ref().is_some_and(is_ready)),
            Err(_) => Look::NotYet(None),
        })
        .await
        .map(drop)
    }

    /// Changes the pod template and waits until every pod is a new one and no old one is left.
    async fn update(&self, count: usize) -> Result<()> {
        let before = self.pods().await?;
        let annotations = json!({"example.com/update": count.to_string()});
        self.service.patch(&json!({"spec": {"workload": {"podAnnotations": annotations}}})).await?;
        self.replaced(&before).await
    }

    async fn replaced(&self, before: &BTreeSet<String>) -> Result<()> {
        wait_until(READY, "every pod to be a new one", async || match self.pods().await {
            Ok(now) => Look::when(now, |now| now.len() == before.len() && now.is_disjoint(before)),
            Err(error) => Look::NotYet(BTreeSet::from([error.to_string()])),
        })
        .await?;
        self.ready().await
    }

    async fn pods(&self) -> Result<BTreeSet<String>> {
        let pods = Api::<Pod>::namespaced(self.cluster.client.clone(), &self.namespace.name);
        let ours = ListParams::default().labels(&format!("{SERVICE_LABEL}={NAME}"));
        Ok(pods.list(&ours).await?.iter().map(ResourceExt::name_any).collect())
    }

    /// `kubectl drain` of the only node. The new pods must run there too, so it is opened again once a pod goes; the
    /// drain then waits, by the PodDisruptionBudget, for the first new pod before it takes the second.
    async fn drain(&self) -> Result<()> {
        let before = self.pods().await?;
        let cluster = self.cluster.clone();
        let selector = format!("--pod-selector={SERVICE_LABEL}={NAME}");
        let drain = tokio::task::spawn_blocking(move || {
            let options = ["--delete-emptydir-data", "--timeout=120s"];
            install::kubectl(&cluster, &[&["drain", "node-1", &selector], &options[..]].concat(), "")
        });
        wait_until(READY, "the first eviction", async || {
            Look::when(self.pods().await.unwrap_or_default(), |now| !now.is_subset(&before))
        })
        .await?;
        install::kubectl(&self.cluster, &["uncordon", "node-1"], "")?;
        let printed = drain.await??;
        assert_eq!(printed.matches(" evicted").count(), 2, "{printed}");
        self.replaced(&before).await
    }

    /// Takes the TLS Secret away and waits until every new connection gets the certificate that replaced it.
    async fn change_certificate(&self) -> Result<Duration> {
        let (target, pods) = (self.target().await?, self.pods().await?);
        let namespace = &self.namespace.name;
        assert!(self.serves_secret(&target).await?);
        install::kubectl(&self.cluster, &["delete", "secret", "studio-tls", "--namespace", namespace], "")?;
        let begin = Instant::now();
        wait_until(CERTIFICATE, "the new certificate on every connection", async || {
            match self.serves_secret(&target).await {
                Ok(true) => Look::Done(()),
                other => Look::NotYet(other.map_err(|error| format!("{error:#}"))),
            }
        })
        .await?;
        let took = begin.elapsed();
        assert_eq!(self.pods().await?, pods, "a new certificate needs no new pod");
        Ok(took)
    }

    /// Whether every new connection gets the certificate that stands in the Secret.
    async fn serves_secret(&self, target: &Target) -> Result<bool> {
        let secret = tls_secret(&self.cluster.client, &self.namespace.name, NAME).await?;
        let wanted = CertificateDer::from_pem_slice(Pair::of(&secret)?.certificate.as_bytes())?;
        let served: Result<Vec<_>> = (0..LOOKS).map(|_| served_certificate(target)).collect();
        Ok(served?.iter().all(|served| *served == wanted))
    }
}

fn is_ready(service: &HardenedService) -> bool {
    condition(service, "Ready").is_some_and(|ready| {
        ready.status == "True" && ready.observed_generation == service.metadata.generation
    })
}
