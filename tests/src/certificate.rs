//! Certificates as tests look at them and as an attacker forges them. It knows the operator's CA by its Secret only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;
use tokio::task::JoinHandle;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::{Pem, parse_x509_pem};

/// Name of the Secret that holds the operator's CA.
pub const CA_SECRET: &str = "hardened-operator-ca";

/// What a TLS Secret holds, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// `ca.crt`.
    pub ca: String,
    /// `tls.crt`.
    pub certificate: String,
    /// `tls.key`.
    pub key: String,
}

/// Every certificate that ever stood in the TLS Secrets of a namespace, from a watch: no version is missed.
pub struct History {
    seen: Arc<Mutex<BTreeMap<String, BTreeSet<String>>>>,
    watch: JoinHandle<()>,
}

impl Pair {
    /// Reads a TLS Secret.
    pub fn of(secret: &Secret) -> Result<Self> {
        let text = |key: &str| -> Result<String> {
            let value =
                secret.data.as_ref().and_then(|data| data.get(key)).with_context(|| format!("no {key}"))?;
            Ok(String::from_utf8(value.0.clone())?)
        };
        Ok(Self { ca: text("ca.crt")?, certificate: text("tls.crt")?, key: text("tls.key")? })
    }

    /// A pair for these names from a CA that nobody trusts.
    pub fn forged(names: &[String]) -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // The real CA's name: a check of names alone would be fooled.
        params.distinguished_name.push(rcgen::DnType::CommonName, "hardened-operator CA");
        let ca = params.self_signed(&key)?.pem();
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(names)?.signed_by(&key, &issuer)?.pem();
        Ok(Self { ca, certificate, key: key.serialize_pem() })
    }

    /// As the `data` of a Secret.
    pub fn data(&self) -> BTreeMap<String, ByteString> {
        let entries = [("ca.crt", &self.ca), ("tls.crt", &self.certificate), ("tls.key", &self.key)];
        entries.map(|(key, value)| (key.to_owned(), ByteString(value.clone().into_bytes()))).into()
    }

    /// Fails unless this is one certificate for exactly these names, signed by that CA, with its own key.
    pub fn check(&self, ca: &str, names: &[String]) -> Result<()> {
        ensure!(self.ca == ca, "ca.crt is another CA's");
        ensure!(self.certificate.matches("BEGIN CERTIFICATE").count() == 1, "not exactly one certificate");
        let (leaf, ca) = (pem(&self.certificate)?, pem(ca)?);
        let (leaf, ca) = (leaf.parse_x509()?, ca.parse_x509()?);
        leaf.verify_signature(Some(ca.public_key())).context("another CA signed it")?;
        let key = KeyPair::from_pem(&self.key).context("the key cannot be read")?;
        ensure!(
            rcgen::PublicKeyData::subject_public_key_info(&key) == leaf.public_key().raw,
            "another's key"
        );
        ensure!(self.names()? == names, "it names {:?}", self.names()?);
        Ok(())
    }

    /// The DNS names of the certificate.
    pub fn names(&self) -> Result<Vec<String>> {
        let leaf = pem(&self.certificate)?;
        let leaf = leaf.parse_x509()?;
        let names = leaf.subject_alternative_name()?.context("no names")?;
        let texts = names.value.general_names.iter().map(|name| match name {
            GeneralName::DNSName(name) => (*name).to_owned(),
            other => format!("{other:?}"),
        });
        Ok(texts.collect())
    }

    /// From the begin of the certificate to its end.
    pub fn seconds(&self) -> Result<i64> {
        let leaf = pem(&self.certificate)?;
        let validity = leaf.parse_x509()?.validity().clone();
        Ok(validity.not_after.timestamp() - validity.not_before.timestamp())
    }

    /// The serial number of the certificate.
    pub fn serial(&self) -> Result<String> {
        Ok(pem(&self.certificate)?.parse_x509()?.raw_serial_as_string())
    }
}

fn pem(text: &str) -> Result<Pem> {
    Ok(parse_x509_pem(text.as_bytes()).context("no certificate")?.1)
}

/// The TLS Secret of a service as it is now.
pub async fn tls_secret(client: &Client, namespace: &str, service: &str) -> Result<Secret> {
    let name = render::child_name(service, "tls");
    Ok(Api::namespaced(client.clone(), namespace).get(&name).await?)
}

/// The certificate of the operator's CA.
pub async fn ca(client: &Client, namespace: &str) -> Result<String> {
    let secret: Secret = Api::namespaced(client.clone(), namespace).get(CA_SECRET).await?;
    let certificate =
        secret.data.unwrap_or_default().remove("tls.crt").context("the CA has no certificate")?;
    Ok(String::from_utf8(certificate.0)?)
}

/// Asks the operator for another CA; `emergency` is one at once.
pub async fn ask_for_another_ca(client: &Client, namespace: &str, how: &str) -> Result<()> {
    let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
    let patch = Patch::Merge(json!({"metadata": {"annotations": {crds::ROTATE_CA_ANNOTATION: how}}}));
    secrets.patch(CA_SECRET, &PatchParams::default(), &patch).await?;
    Ok(())
}

/// Whether there is another CA than this, alone.
pub async fn is_replaced(client: &Client, namespace: &str, before: &str) -> Result<bool> {
    let secret: Secret = Api::namespaced(client.clone(), namespace).get(CA_SECRET).await?;
    let data = secret.data.unwrap_or_default();
    Ok(data.len() == 2 && data.get("tls.crt").is_some_and(|now| now.0 != before.as_bytes()))
}

impl History {
    /// Begins to watch.
    pub fn watch(client: &Client, namespace: &str) -> Self {
        let seen = Arc::<Mutex<BTreeMap<String, BTreeSet<String>>>>::default();
        let (api, seen_by_watch) = (Api::<Secret>::namespaced(client.clone(), namespace), Arc::clone(&seen));
        let watch = tokio::spawn(async move {
            let mut secrets = std::pin::pin!(watcher(api, watcher::Config::default()).applied_objects());
            while let Some(Ok(secret)) = secrets.next().await {
                if let (Ok(Ok(serial)), Ok(mut seen)) =
                    (Pair::of(&secret).map(|pair| pair.serial()), seen_by_watch.lock())
                {
                    seen.entry(secret.name_any()).or_default().insert(serial);
                }
            }
        });
        Self { seen, watch }
    }

    /// Serial numbers that were seen in the TLS Secret of a service.
    pub fn serials(&self, service: &str) -> BTreeSet<String> {
        let name = render::child_name(service, "tls");
        self.seen.lock().ok().and_then(|seen| seen.get(&name).cloned()).unwrap_or_default()
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.watch.abort();
    }
}
