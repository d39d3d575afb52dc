//! Certificates as a user's own CA issues them: leaf, intermediate and root, in a Secret for a service, and a scene in
//! which a service uses it. It judges nothing.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use crds::{HardenedService, SERVICE_LABEL};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::json;
use time::{Duration, OffsetDateTime};

use crate::cluster::{Cluster, Namespace};
use crate::fixture::{Service, example, words};
use crate::wait::{Look, wait_until};

/// Name of the user's Secret.
pub const SOURCE: &str = "shop-certificate";
/// Name of the operator's copy.
pub const COPY: &str = "shop-tls";
const COPIED_LIMIT: std::time::Duration = std::time::Duration::from_mins(1);

/// What a user puts into a Secret, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Provided {
    /// The leaf.
    pub leaf: String,
    /// Its issuer.
    pub middle: String,
    /// The issuer's issuer, which clients trust.
    pub root: String,
    /// The leaf's key.
    pub key: String,
}

impl Provided {
    /// A good certificate for the service `shop` of the example, for 90 days.
    pub fn new() -> Result<Self> {
        Self::for_names(&["shop.example.com"])
    }

    /// The same for other names.
    pub fn for_names(names: &[&str]) -> Result<Self> {
        Self::made(names, &KeyPair::generate()?, |_| {})
    }

    /// The same with another key.
    pub fn of_key(key: &KeyPair) -> Result<Self> {
        Self::made(&["shop.example.com"], key, |_| {})
    }

    /// The same with a leaf that is changed before it is signed.
    pub fn with(change: impl FnOnce(&mut CertificateParams)) -> Result<Self> {
        Self::made(&["shop.example.com"], &KeyPair::generate()?, change)
    }

    fn made(names: &[&str], key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Result<Self> {
        let (root, root_key) = (authority("root of a user"), KeyPair::generate()?);
        let (middle, middle_key) = (authority("issuer of a user"), KeyPair::generate()?);
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut leaf = CertificateParams::new(names)?;
        leaf.not_before = OffsetDateTime::now_utc() - Duration::minutes(1);
        leaf.not_after = OffsetDateTime::now_utc() + Duration::days(90);
        change(&mut leaf);
        Ok(Self {
            leaf: leaf.signed_by(key, &Issuer::from_params(&middle, &middle_key))?.pem(),
            middle: middle.signed_by(&middle_key, &Issuer::from_params(&root, &root_key))?.pem(),
            root: root.self_signed(&root_key)?.pem(),
            key: key.serialize_pem(),
        })
    }

    /// Leaf and intermediate, as a server sends them.
    pub fn chain(&self) -> String {
        format!("{}{}", self.leaf, self.middle)
    }

    /// As the `data` of a Secret.
    pub fn data(&self) -> BTreeMap<String, ByteString> {
        let entries = [("ca.crt", &self.root), ("tls.crt", &self.chain()), ("tls.key", &self.key)];
        entries.map(|(key, value)| (key.to_owned(), ByteString(value.clone().into_bytes()))).into()
    }

    /// A Secret with it, labelled for a service.
    pub fn secret(&self, name: &str, service: &str) -> Secret {
        Secret {
            metadata: ObjectMeta {
                name: Some(name.into()),
                labels: Some([(SERVICE_LABEL.to_owned(), service.to_owned())].into()),
                ..ObjectMeta::default()
            },
            type_: Some("kubernetes.io/tls".into()),
            data: Some(self.data()),
            ..Secret::default()
        }
    }
}

/// The service of `examples/tls-secret.yaml` in a namespace of its own.
pub struct Scene {
    /// The namespace.
    pub namespace: Namespace,
    /// Its Secrets.
    pub secrets: Api<Secret>,
    /// The service.
    pub service: Service,
    events: Api<Event>,
}

impl Scene {
    /// Makes the Secret, if there is one, and the service.
    pub async fn new(cluster: &Cluster, prefix: &str, provided: Option<&Provided>) -> Result<Self> {
        let namespace = cluster.namespace(prefix).await?;
        let secrets = Api::<Secret>::namespaced(cluster.client.clone(), &namespace.name);
        if let Some(provided) = provided {
            secrets.create(&PostParams::default(), &provided.secret(SOURCE, "shop")).await?;
        }
        let service = Service::create(cluster, &namespace.name, &example("tls-secret")?).await?;
        let events = Api::namespaced(cluster.client.clone(), &namespace.name);
        Ok(Self { namespace, secrets, service, events })
    }

    /// Puts another certificate into the Secret, as its owner does.
    pub async fn provide(&self, provided: &Provided) -> Result<Secret> {
        let patch = Patch::Merge(json!({"data": provided.data()}));
        Ok(self.secrets.patch(SOURCE, &PatchParams::default(), &patch).await?)
    }

    /// Waits until the operator's copy holds exactly this.
    pub async fn until_copied(&self, provided: &Provided) -> Result<Secret> {
        wait_until(COPIED_LIMIT, "the copy of a certificate", async || match self.secrets.get(COPY).await {
            Ok(copy) if copy.data == Some(provided.data()) => Look::Done(copy),
            other => Look::NotYet(other.map(|copy| copy.metadata)),
        })
        .await
    }

    /// The events of one reason about the service.
    pub async fn events(&self, reason: &str) -> Result<Vec<Event>> {
        let events = self.events.list(&ListParams::default()).await?;
        Ok(events.items.into_iter().filter(|event| event.reason.as_deref() == Some(reason)).collect())
    }

    /// The same when there are as many as this: an event follows the status that it tells of.
    pub async fn told(&self, reason: &str, count: usize) -> Result<Vec<Event>> {
        wait_until(COPIED_LIMIT, reason, async || match self.events(reason).await {
            Ok(events) if events.len() >= count => Look::Done(events),
            other => Look::NotYet(other),
        })
        .await
    }

    /// Fails when the operator took anything for drift.
    pub async fn no_drift(&self) -> Result<()> {
        let drift = self.events("DriftReverted").await?;
        ensure!(drift.is_empty(), "{drift:#?}");
        Ok(())
    }
}

/// Status, reason and message of `TLSReady`; empty without one.
pub fn tls(service: &HardenedService) -> (String, String, String) {
    words(service, "TLSReady")
}

/// The issuer as status names it; empty without one.
pub fn issued_by(service: &HardenedService) -> String {
    let tls = service.status.as_ref().and_then(|status| status.tls.clone());
    tls.and_then(|tls| tls.issuer).unwrap_or_default()
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}
