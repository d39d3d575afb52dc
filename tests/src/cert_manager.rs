//! A control plane of one test's own with the real controllers of cert-manager (tests/go/cert-manager) and the chart's
//! rights for them, and a service that wants a certificate of an issuer there. It judges nothing.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Namespace as KubeNamespace, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, ResourceExt};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
use render::Kind;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::audit::Audit;
use crate::certificate::{Pair, tls_secret};
use crate::cluster::{Cluster, Namespace};
use crate::daemon::Daemon;
use crate::fixture::{Service, example};
use crate::operator::Options;
use crate::private::PrivateTestbed;
use crate::wait::{Look, wait_until};
use crate::{install, parts};

/// What clients call the service.
pub const HOST: &str = "shop.example.com";
/// The Issuer in the service's namespace that the platform lets services use.
pub const ISSUER: &str = "internal";
/// The `ClusterIssuer` that it keeps to itself.
pub const FORBIDDEN: &str = "corporate";
/// The Certificate, and the Secret that cert-manager writes for it.
pub const ISSUED: &str = "shop-issued";
/// Where cert-manager looks for the Secrets of `ClusterIssuers`.
const HOME: &str = "cert-manager";
const LIMIT: Duration = Duration::from_mins(1);

/// All of it; the service is not made yet.
pub struct Scene {
    /// The cluster.
    pub cluster: Cluster,
    /// The service's namespace.
    pub namespace: Namespace,
    /// The certificate (PEM) of the Issuer.
    pub root: String,
    /// Its audit log.
    pub audit: Audit,
    controllers: Option<Daemon>,
    key: KeyPair,
    settings: String,
    // Last: it ends what the others still talk to.
    _testbed: PrivateTestbed,
}

impl Scene {
    /// Everything with cert-manager.
    pub async fn set(prefix: &str) -> Result<Self> {
        let mut scene = Self::without(prefix).await?;
        scene.bring().await?;
        Ok(scene)
    }

    /// Without cert-manager: neither controllers nor definitions.
    pub async fn without(prefix: &str) -> Result<Self> {
        let testbed = PrivateTestbed::new()?;
        testbed.run(&["up", "--control-plane"])?;
        let cluster = Cluster::of(&testbed).await?;
        let settings = json!({"certManager": {"issuers": [{"kind": "Issuer", "name": ISSUER}]}});
        install::install_with(&cluster, &json!({"settings": settings}))?;
        let namespace = cluster.namespace(prefix).await?;
        let file = cluster.state().write("settings/operator.yaml", settings.to_string())?;
        let (root, key) = authority()?;
        let audit = cluster.audit().context("no audit log")?;
        let (controllers, settings) = (None, file.display().to_string());
        Ok(Self { cluster, namespace, root, audit, controllers, key, settings, _testbed: testbed })
    }

    /// Installs cert-manager, and makes both issuers.
    pub async fn bring(&mut self) -> Result<()> {
        let definitions = parts::cert_manager_definitions()?;
        let definitions = definitions.to_str().context("a path that is not UTF-8")?;
        install::kubectl(&self.cluster, &["apply", "--server-side", "-f", definitions], "")?;
        let wait = ["wait", "--for=condition=Established", "--timeout=30s", "crd", "--all"];
        install::kubectl(&self.cluster, &wait, "")?;
        let home = Api::<KubeNamespace>::all(self.cluster.client.clone());
        home.create(&PostParams::default(), &serde_json::from_value(json!({"metadata": {"name": HOME}}))?)
            .await?;
        self.start_controllers()?;
        self.issuer("Issuer", ISSUER).await?;
        self.issuer("ClusterIssuer", FORBIDDEN).await
    }

    /// Starts cert-manager's controllers.
    pub fn start_controllers(&mut self) -> Result<()> {
        let program = parts::cert_manager()?.join("cert-manager");
        let mut controllers = Daemon::new("cert-manager", program, None, Signal::TERM)?;
        let kubeconfig = self.cluster.kubeconfig().context("no kubeconfig")?;
        controllers.set_args(&[&kubeconfig.display().to_string(), HOME]);
        controllers.start(|_| Ok(()))?;
        self.controllers = Some(controllers);
        Ok(())
    }

    /// Ends them; their objects stay.
    pub fn stop_controllers(&mut self) {
        self.controllers = None;
    }

    /// Makes an issuer that signs with the scene's CA, and waits until it can.
    async fn issuer(&self, kind: &str, name: &str) -> Result<()> {
        let namespace = if kind == "Issuer" { &self.namespace.name } else { HOME };
        let secret = format!("{name}-ca");
        let text = |text: &str| ByteString(text.as_bytes().to_vec());
        let data = json!({"tls.crt": text(&self.root), "tls.key": text(&self.key.serialize_pem())});
        let object = json!({"metadata": {"name": secret}, "type": "kubernetes.io/tls", "data": data});
        let secrets = Api::<Secret>::namespaced(self.cluster.client.clone(), namespace);
        secrets.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
        self.make_issuer(kind, name).await
    }

    async fn make_issuer(&self, kind: &str, name: &str) -> Result<()> {
        let secret = format!("{name}-ca");
        let api = self.issuers(kind);
        let issuer = json!({
            "apiVersion": "cert-manager.io/v1", "kind": kind, "metadata": {"name": name},
            "spec": {"ca": {"secretName": secret}},
        });
        api.create(&PostParams::default(), &serde_json::from_value(issuer)?).await?;
        wait_until(LIMIT, &format!("{kind} {name}"), async || match api.get(name).await {
            Ok(issuer) if issuer.data["status"]["conditions"][0]["status"] == "True" => Look::Done(()),
            other => Look::NotYet(format!("{:?}", other.map(|issuer| issuer.data))),
        })
        .await
    }

    fn issuers(&self, kind: &str) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("cert-manager.io", "v1", kind));
        let client = self.cluster.client.clone();
        match kind {
            "Issuer" => Api::namespaced_with(client, &self.namespace.name, &resource),
            _ => Api::all_with(client, &resource),
        }
    }

    /// Deletes the Issuer that services may use.
    pub async fn remove_issuer(&self) -> Result<()> {
        self.issuers("Issuer").delete(ISSUER, &DeleteParams::default()).await?;
        Ok(())
    }

    /// Makes it again.
    pub async fn restore_issuer(&self) -> Result<()> {
        self.make_issuer("Issuer", ISSUER).await
    }

    /// How the operator is started.
    pub fn options(&self) -> Options {
        Options { args: vec!["--settings".to_owned(), self.settings.clone()], ..Options::default() }
    }

    /// The service `shop` with this `tls`.
    pub async fn service(&self, tls: &Value) -> Result<Service> {
        let mut service = example("tls-secret")?;
        service.spec.tls = serde_json::from_value(tls.clone())?;
        Service::create(&self.cluster, &self.namespace.name, &service).await
    }

    /// Certificates of the namespace.
    pub fn certificates(&self) -> Api<DynamicObject> {
        let resource = Kind::Certificate.api_resource();
        Api::namespaced_with(self.cluster.client.clone(), &self.namespace.name, &resource)
    }

    /// Secrets of the namespace.
    pub fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.cluster.client.clone(), &self.namespace.name)
    }

    /// The TLS Secret now.
    pub async fn secret(&self) -> Result<Secret> {
        tls_secret(&self.cluster.client, &self.namespace.name, "shop").await
    }

    /// The names of its certificate.
    pub fn names(&self) -> Vec<String> {
        let own = ["", ".NS", ".NS.svc", ".NS.svc.cluster.local"];
        let own = own.map(|suffix| format!("shop{}", suffix.replace("NS", &self.namespace.name)));
        own.into_iter().chain([HOST.to_owned()]).collect()
    }

    /// Waits until it holds a certificate of the Issuer for exactly these names, with another serial number than this.
    pub async fn until_issued(&self, before: &str) -> Result<Pair> {
        wait_until(2 * LIMIT, "a certificate of cert-manager", async || {
            let pair = self.secret().await.and_then(|secret| Pair::of(&secret));
            match pair.and_then(|pair| self.check(&pair).map(|serial| (pair, serial))) {
                Ok((pair, serial)) if serial != before => Look::Done(pair),
                Ok((_, serial)) => Look::NotYet(serial),
                Err(error) => Look::NotYet(format!("{error:#}; {:?}", self.said().await)),
            }
        })
        .await
    }

    /// What cert-manager says of the Certificate.
    async fn said(&self) -> Option<Value> {
        let live = self.certificates().get(ISSUED).await.ok()?;
        Some(live.data["status"].clone())
    }

    /// Waits until the requests of Certificates that are gone are collected: the garbage collector learns of new kinds every
    /// 30 s only, and until then a request of the same name is in the way of a new one.
    pub async fn requests_are_collected(&self) -> Result<()> {
        let resource = GroupVersionKind::gvk("cert-manager.io", "v1", "CertificateRequest");
        let (client, resource) = (self.cluster.client.clone(), ApiResource::from_gvk(&resource));
        let requests: Api<DynamicObject> = Api::namespaced_with(client, &self.namespace.name, &resource);
        wait_until(2 * LIMIT, "old requests to go", async || {
            match requests.list(&ListParams::default()).await {
                Ok(list) if list.items.is_empty() => Look::Done(()),
                other => Look::NotYet(format!("{:?}", other.map(|list| list.items.len()))),
            }
        })
        .await
    }

    fn check(&self, pair: &Pair) -> Result<String> {
        // cert-manager writes PEM with lines of another length than rcgen.
        ensure!(der(&pair.ca)? == der(&self.root)?, "ca.crt is another CA's");
        let trusted = Pair { ca: self.root.clone(), ..pair.clone() };
        trusted.check(&self.root, &self.names())?;
        pair.serial()
    }

    /// Has cert-manager issue anew, as `cmctl renew` does.
    pub async fn renew(&self) -> Result<()> {
        let live = self.certificates().get_status(ISSUED).await?;
        let mut conditions = live.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.push(json!({
            "type": "Issuing", "status": "True", "reason": "ManuallyTriggered", "message": "by a test",
            "observedGeneration": live.metadata.generation, "lastTransitionTime": "2026-01-01T00:00:00Z",
        }));
        let patch = Patch::Merge(json!({"status": {"conditions": conditions}}));
        self.certificates().patch_status(ISSUED, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// Deletes cert-manager's definitions, and with them every Certificate.
    pub async fn remove_definitions(&self) -> Result<()> {
        let api = Api::<CustomResourceDefinition>::all(self.cluster.client.clone());
        for definition in api.list(&ListParams::default()).await? {
            if definition.spec.group.ends_with("cert-manager.io") {
                api.delete(&definition.name_any(), &DeleteParams::default()).await?;
            }
        }
        Ok(())
    }

    /// What cert-manager's controllers have logged.
    pub fn log(&self) -> String {
        self.controllers.as_ref().map(Daemon::log).unwrap_or_default()
    }
}

fn authority() -> Result<(String, KeyPair)> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "CA of a platform");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok((params.self_signed(&key)?.pem(), key))
}

fn der(pem: &str) -> Result<Vec<u8>> {
    Ok(x509_parser::pem::parse_x509_pem(pem.as_bytes())?.1.contents)
}
