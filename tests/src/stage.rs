//! A service that is ready on a node of its own, with the real image, and how clients reach it. It looks and changes
//! nothing. Needs root, and no other node on this host.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use crds::{HardenedService, SERVICE_LABEL};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service as KubeService};
use k8s_openapi::serde::{Serialize, de::DeserializeOwned};
use kube::api::ListParams;
use kube::{Api, Resource, ResourceExt};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;
use tempfile::NamedTempFile;

use crate::certificate::{Pair, tls_secret};
use crate::fixture::{Service, condition, example};
use crate::https;
use crate::load::{Target, enter, served_certificate, trust};
use crate::operator::Options;
use crate::state::checkout;
use crate::{
    Cluster, Look, Namespace, Operator, PrivateTestbed, image, install, network, node, parts, wait_until,
};

/// Name of the service.
pub const NAME: &str = "studio";
/// Within this a service is ready.
pub const READY: Duration = Duration::from_mins(2);
/// Where a pod listens.
const HTTPS_PORT: u16 = 8443;
/// As many new connections in a row meet both pods, but for one case in half a million.
const LOOKS: usize = 20;

/// A service that is ready, on a node of its own. Fields are dropped in this order.
pub struct Stage {
    /// The operator.
    pub operator: Operator,
    /// The service.
    pub service: Service,
    /// Its namespace.
    pub namespace: Namespace,
    /// The cluster.
    pub cluster: Cluster,
    testbed: PrivateTestbed,
    _settings: Option<NamedTempFile>,
}

impl Stage {
    /// Starts everything, the operator with these options. Nothing where another node is.
    pub async fn set(options: Options) -> Result<Option<Self>> {
        if !node::is_free() {
            return Ok(None);
        }
        parts::all()?;
        let testbed = PrivateTestbed::new()?;
        testbed.run(&["up"])?;
        let cluster = Cluster::of(&testbed).await?;
        install::install(&cluster)?;
        let operator = Operator::start_with(&cluster, options).await?;
        let namespace = cluster.namespace("rollout").await?;
        let mut wanted = example(NAME)?;
        wanted.spec.workload.image = image_of(&testbed, "api-server:1", "api-server")?;
        let service = Service::create(&cluster, &namespace.name, &wanted).await?;
        let stage = Self { operator, service, namespace, cluster, testbed, _settings: None };
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

    /// The same with an operator that lets services have Jobs, of the real image.
    pub async fn with_jobs() -> Result<Option<Self>> {
        let settings = NamedTempFile::new()?;
        fs::write(settings.path(), "{}")?;
        let args = vec!["--settings".to_owned(), settings.path().display().to_string()];
        let Some(mut stage) = Self::set(Options { args, ..Options::default() }).await? else {
            return Ok(None);
        };
        // The node takes an image when it is there, so only now.
        let image = stage.image("hardened-operator:1", "hardened-operator")?;
        fs::write(settings.path(), json!({"jobs": {"image": image}}).to_string())?;
        stage.operator.stop().await?;
        stage.operator.restart().await?;
        Ok(Some(Self { _settings: Some(settings), ..stage }))
    }

    /// Objects of a kind in the service's namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.cluster.client.clone(), &self.namespace.name)
    }

    /// Fails when fewer objects of a kind are there, or one of them has a secret in it.
    pub async fn shows_none_of<K>(&self, secrets: &[&str], at_least: usize) -> Result<()>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + Serialize
            + Debug,
    {
        let all = self.api::<K>().list(&ListParams::default()).await?.items;
        let text = serde_json::to_value(&all)?.to_string();
        let kind = K::kind(&());
        ensure!(all.len() >= at_least, "{} of {kind}", all.len());
        ensure!(!secrets.iter().any(|secret| text.contains(secret)), "{kind} shows a secret: {text}");
        Ok(())
    }

    /// Where clients go, and whom they trust now.
    pub async fn target(&self) -> Result<Target> {
        let services = self.api::<KubeService>();
        let spec = services.get(NAME).await?.spec;
        let address = spec.and_then(|spec| spec.cluster_ip).context("the Service has no address")?;
        let bundles = self.api::<ConfigMap>();
        let data = bundles.get(&format!("{NAME}-ca")).await?.data;
        Ok(Target {
            address: SocketAddr::new(address.parse()?, 443),
            host: format!("{NAME}.{}.svc", self.namespace.name),
            ca: data.and_then(|mut data| data.remove("ca.crt")).context("no bundle")?,
            netns: network::NETNS,
        })
    }

    /// Waits until it is ready.
    pub async fn ready(&self) -> Result<()> {
        wait_until(READY, "the service to be ready", async || match self.service.get().await {
            Ok(service) => Look::when(Some(service), |service| service.as_ref().is_some_and(is_ready)),
            Err(_) => Look::NotYet(None),
        })
        .await
        .map(drop)
    }

    /// Has the node know an image of this program; gives its reference by digest.
    pub fn image(&self, reference: &str, program: &str) -> Result<String> {
        image_of(&self.testbed, reference, program)
    }

    /// Waits until the service is ready with so many pods that all have this variable in their environment.
    pub async fn until_everywhere(&self, name: &str, value: &str, replicas: usize) -> Result<()> {
        self.until_in_pods(name, value, replicas).await?;
        self.ready().await
    }

    /// The same, whether it is ready or not.
    pub async fn until_in_pods(&self, name: &str, value: &str, replicas: usize) -> Result<()> {
        wait_until(READY, &format!("{name}={value:?} in every pod"), async || {
            let pods = self.pods().await.unwrap_or_default();
            let all = environments(&self.namespace.name).unwrap_or_default();
            let has =
                |pod: &String| all.get(pod).is_some_and(|all| all.get(name).is_some_and(|v| v == value));
            Look::when((pods.clone(), all.len()), |_| pods.len() == replicas && pods.iter().all(has))
        })
        .await
        .map(drop)
    }

    /// What each of its pods answers to a GET of this path, by the pod's name.
    pub async fn ask_pods(&self, path: &str) -> Result<BTreeMap<String, String>> {
        let pods = self.api::<Pod>();
        let ours = ListParams::default().labels(&format!("{SERVICE_LABEL}={NAME}"));
        let target = self.target().await?;
        let mut answers = BTreeMap::new();
        for pod in pods.list(&ours).await? {
            let ip = pod.status.as_ref().and_then(|status| status.pod_ip.as_ref()).context("no address")?;
            let address = SocketAddr::new(ip.parse()?, HTTPS_PORT);
            answers.insert(pod.name_any(), get(Target { address, ..target.clone() }, path)?);
        }
        Ok(answers)
    }

    /// Names of its pods.
    pub async fn pods(&self) -> Result<BTreeSet<String>> {
        let pods = self.api::<Pod>();
        let ours = ListParams::default().labels(&format!("{SERVICE_LABEL}={NAME}"));
        Ok(pods.list(&ours).await?.iter().map(ResourceExt::name_any).collect())
    }

    /// Whether every new connection gets the certificate that stands in the Secret.
    pub async fn serves_secret(&self, target: &Target) -> Result<bool> {
        let secret = tls_secret(&self.cluster.client, &self.namespace.name, NAME).await?;
        let wanted = CertificateDer::from_pem_slice(Pair::of(&secret)?.certificate.as_bytes())?;
        let served: Result<Vec<_>> = (0..LOOKS).map(|_| served_certificate(target)).collect();
        Ok(served?.iter().all(|served| *served == wanted))
    }
}

fn image_of(testbed: &PrivateTestbed, reference: &str, program: &str) -> Result<String> {
    let program = checkout().join("dist").join(program);
    ensure!(program.exists(), "{} is missing: run hack/images.sh", program.display());
    image::load(&testbed.state, reference, &program)
}

/// The variables of each pod of a namespace, as its process was given them.
fn environments(namespace: &str) -> Result<BTreeMap<String, BTreeMap<String, String>>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        // Processes come and go.
        let Ok(environment) = fs::read(entry?.path().join("environ")) else { continue };
        let all: BTreeMap<String, String> = environment
            .split(|byte| *byte == 0)
            .filter_map(|variable| std::str::from_utf8(variable).ok()?.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        if all.get("POD_NAMESPACE").is_some_and(|found| found == namespace)
            && let Some(pod) = all.get("POD_NAME").cloned()
        {
            found.insert(pod, all);
        }
    }
    Ok(found)
}

/// From the clients' network namespace, which its thread does not leave again.
fn get(target: Target, path: &str) -> Result<String> {
    let path = path.to_owned();
    let ask = move || {
        enter(target.netns)?;
        https::get_from(target.address, &target.host, Arc::new(trust(&target.ca)?), &path)
    };
    std::thread::spawn(ask).join().map_err(|_| anyhow!("the thread of the request died"))?
}

fn is_ready(service: &HardenedService) -> bool {
    condition(service, "Ready").is_some_and(|ready| {
        ready.status == "True" && ready.observed_generation == service.metadata.generation
    })
}
