//! What was served and what was trusted at each revision of a namespace, as somebody else's watches show it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::task::JoinHandle;
use x509_parser::pem::Pem;

use crate::certificate::Pair;

/// What a service's `ca.crt` and certificate were, by the revision in which they came.
pub type Seen = BTreeMap<(String, u64), Version>;

/// One of them.
#[derive(Clone, Debug)]
pub enum Version {
    /// What clients trust.
    Bundle(String),
    /// What is served.
    Certificate(String),
}

/// Every version of the bundles and certificates of a namespace, from watches of somebody else.
#[derive(Debug)]
pub struct Trust {
    seen: Arc<Mutex<Seen>>,
    watches: [JoinHandle<()>; 2],
}

impl Trust {
    /// Begins to watch.
    pub fn watch(client: &Client, namespace: &str) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let note = |seen: &Arc<Mutex<Seen>>| {
            let seen = seen.clone();
            move |name: String, suffix: &str, revision: Option<String>, version: Version| {
                let service = name.strip_suffix(suffix);
                if let (Some(service), Some(Ok(revision))) = (service, revision.map(|text| text.parse())) {
                    seen.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .insert((service.to_owned(), revision), version);
                }
            }
        };
        let (maps, secrets) = (
            Api::<ConfigMap>::namespaced(client.clone(), namespace),
            Api::<Secret>::namespaced(client.clone(), namespace),
        );
        let (noted, noted_too) = (note(&seen), note(&seen));
        let watches = [
            tokio::spawn(async move {
                let mut all = std::pin::pin!(watcher(maps, watcher::Config::default()).applied_objects());
                while let Some(Ok(map)) = all.next().await {
                    let bundle = map.data.as_ref().and_then(|data| data.get("ca.crt")).cloned();
                    if let Some(bundle) = bundle {
                        noted(map.name_any(), "-ca", map.resource_version(), Version::Bundle(bundle));
                    }
                }
            }),
            tokio::spawn(async move {
                let mut all = std::pin::pin!(watcher(secrets, watcher::Config::default()).applied_objects());
                while let Some(Ok(secret)) = all.next().await {
                    if let Ok(pair) = Pair::of(&secret) {
                        let version = Version::Certificate(pair.certificate);
                        noted_too(secret.name_any(), "-tls", secret.resource_version(), version);
                    }
                }
            }),
        ];
        Self { seen, watches }
    }

    /// Everything that was seen.
    pub fn end(self) -> Seen {
        self.watches.iter().for_each(JoinHandle::abort);
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// At each revision the certificate that is there was signed by a CA in the bundle that is there.
pub fn check(seen: &Seen) -> Result<()> {
    let mut now: BTreeMap<&str, [Option<&str>; 2]> = BTreeMap::new();
    for ((service, revision), version) in seen {
        let [bundle, certificate] = now.entry(service).or_default();
        match version {
            Version::Bundle(text) => *bundle = Some(text),
            Version::Certificate(text) => *certificate = Some(text),
        }
        if let (Some(bundle), Some(certificate)) = (*bundle, *certificate) {
            ensure!(trusts(bundle, certificate)?, "{service} at {revision}: served and not trusted");
        }
    }
    Ok(())
}

fn trusts(bundle: &str, certificate: &str) -> Result<bool> {
    let leaf = Pem::iter_from_buffer(certificate.as_bytes()).next().context("no certificate")??;
    let leaf = leaf.parse_x509()?;
    let mut found = false;
    for ca in Pem::iter_from_buffer(bundle.as_bytes()) {
        let ca = ca?;
        found |= leaf.verify_signature(Some(ca.parse_x509()?.public_key())).is_ok();
    }
    Ok(found)
}
