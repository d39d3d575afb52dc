//! A service whose certificate comes from a Vault of the test's own: Vault, the login of the service's own account, and
//! the operator's settings and rights. It judges nothing.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::Api;
use serde_json::{Value, json};

use super::Vault;
use crate::certificate::{Pair, tls_secret};
use crate::cluster::{CLUSTER_ROLE, Cluster, NAMESPACE_ROLE, Namespace, unique};
use crate::fixture::{OPERATOR, Service, named};
use crate::install::{kubectl, render};
use crate::operator::Options;
use crate::rights::{self, Right};
use crate::wait::{Look, wait_until};

/// What clients call the service.
pub const HOST: &str = "shop.example.com";
/// The role that the platform lets services use.
pub const ROLE: &str = "web";
/// The path of the login, of the signature and of the end of the token.
pub const PATHS: [&str; 3] = ["auth/kubernetes/login", "pki/sign/web", "auth/token/revoke-self"];
/// The path of a revocation.
pub const REVOKE: &str = "pki/revoke-with-key";
/// What the policy of its login lets a service do without a revocation.
pub const SIGN: &str = r#"path "pki/sign/web" { capabilities = ["update"] }"#;
const LIMIT: Duration = Duration::from_mins(3);

/// `spec.tls` with a role of Vault as its issuer.
pub fn issuer(role: &str) -> Value {
    json!({"issuer": {"vaultPki": {"role": role}}})
}

/// All of it; the service is not made yet.
pub struct Scene {
    /// The server.
    pub vault: Vault,
    /// The certificate (PEM) that clients trust in the end.
    pub root: String,
    /// The cluster.
    pub cluster: Cluster,
    /// The service's namespace.
    pub namespace: Namespace,
    settings: PathBuf,
    /// Vault's own account lives there.
    _reviewers: Namespace,
}

impl Scene {
    /// Everything that a platform prepares. `role` is what is special about the role for certificates.
    pub async fn set(prefix: &str, role: &Value) -> Result<Self> {
        let (vault, cluster) = (Vault::start()?, Cluster::get().await?);
        cluster.install().await?;
        let namespace = cluster.namespace(prefix).await?;
        let reviewers = cluster.foreign_namespace("reviewer").await?;
        vault.enable_kubernetes(&cluster, &reviewers.name).await?;
        let root = vault.enable_pki()?;
        vault.pki_role(ROLE, &[HOST], role)?;
        vault
            .policy("certificates", &format!(r#"{SIGN} path "{REVOKE}" {{ capabilities = ["update"] }}"#))?;
        let scene = Self {
            settings: settings(&cluster, &vault)?,
            vault,
            root,
            cluster,
            namespace,
            _reviewers: reviewers,
        };
        scene.let_in("shop")?;
        scene.vault.enable_audit()?;
        scene.grant(&scene.rights().await?).await?;
        Ok(scene)
    }

    /// Lets the account of a service log in, to a role of its own.
    pub fn let_in(&self, service: &str) -> Result<()> {
        let login = json!({
            "bound_service_account_names": service, "bound_service_account_namespaces": self.namespace.name,
            "audience": "vault", "token_policies": "certificates", "token_ttl": "5m", "token_type": "service",
        });
        self.vault.call("POST", &self.login_role(service), &login).map(drop)
    }

    /// Where Vault keeps the role of that login.
    pub fn login_role(&self, service: &str) -> String {
        format!("auth/kubernetes/role/hardened-{}-{service}", self.namespace.name)
    }

    /// How the operator is started.
    pub fn options(&self) -> Options {
        let args = vec!["--settings".to_owned(), self.settings.display().to_string()];
        Options { args, ..Options::default() }
    }

    /// The service `shop` with this issuer and what else its `tls` has.
    pub async fn service(&self, tls: &Value) -> Result<Service> {
        self.named("shop", tls).await
    }

    /// The same under another name.
    pub async fn named(&self, name: &str, tls: &Value) -> Result<Service> {
        let mut service = named("tls-secret", name)?;
        service.spec.tls = serde_json::from_value(tls.clone())?;
        Service::create(&self.cluster, &self.namespace.name, &service).await
    }

    /// The names of its certificate.
    pub fn names(&self) -> Vec<String> {
        let namespace = &self.namespace.name;
        let own = ["", ".NS", ".NS.svc", ".NS.svc.cluster.local"];
        let own = own.map(|suffix| format!("shop{}", suffix.replace("NS", namespace)));
        own.into_iter().chain([HOST.to_owned()]).collect()
    }

    /// The TLS Secret now.
    pub async fn secret(&self) -> Result<Secret> {
        tls_secret(&self.cluster.client, &self.namespace.name, "shop").await
    }

    /// Waits until it holds a good certificate of Vault with another serial number than this.
    pub async fn until_issued(&self, before: &str) -> Result<Pair> {
        wait_until(LIMIT, "a certificate of Vault", async || {
            let pair = self.secret().await.and_then(|secret| Pair::of(&secret));
            match pair.and_then(|pair| self.check(&pair).map(|serial| (pair, serial))) {
                Ok((pair, serial)) if serial != before => Look::Done(pair),
                other => Look::NotYet(format!("{:?}", other.map(|(_, serial)| serial))),
            }
        })
        .await
    }

    /// Fails unless clients that trust Vault's root take it: leaf and issuer, without the root, for exactly the names.
    pub fn check(&self, pair: &Pair) -> Result<String> {
        ensure!(pair.ca.trim() == self.root.trim(), "ca.crt is another CA's");
        ensure!(pair.certificate.matches("BEGIN CERTIFICATE").count() == 2, "not leaf and issuer");
        let chain: Vec<_> = x509_parser::pem::Pem::iter_from_buffer(pair.certificate.as_bytes())
            .collect::<Result<_, _>>()
            .context("the chain cannot be read")?;
        let issuer = chain[1].parse_x509()?;
        chain[0].parse_x509()?.verify_signature(Some(issuer.public_key())).context("another signed it")?;
        let root = x509_parser::pem::parse_x509_pem(self.root.as_bytes())?.1;
        issuer.verify_signature(Some(root.parse_x509()?.public_key())).context("another root")?;
        let key = rcgen::KeyPair::from_pem(&pair.key).context("the key cannot be read")?;
        let public = rcgen::PublicKeyData::subject_public_key_info(&key);
        ensure!(chain[0].parse_x509()?.public_key().raw == public, "another's key");
        let (mut found, mut wanted) = (pair.names()?, self.names());
        found.sort();
        wanted.sort();
        ensure!(found == wanted, "it names {found:?}");
        pair.serial()
    }

    /// Vault's answers to requests for this path, by its audit log.
    pub fn answers(&self, path: &str) -> Result<Vec<Value>> {
        let of = |line: &Value| line["type"] == "response" && line["request"]["path"] == path;
        Ok(self.vault.audited()?.into_iter().filter(of).collect())
    }

    /// How many there are for each of [`PATHS`], and for all paths together; what the test asks itself does not count.
    pub fn counts(&self) -> Result<[usize; 4]> {
        let [log_in, sign, end] = PATHS.map(|path| self.answers(path).map(|answers| answers.len()));
        // The log begins with a line that Vault writes to try the file.
        let own = |line: &&Value| {
            line["auth"]["display_name"] == "root" || line["request"]["path"] == "sys/audit/test"
        };
        let others = |line: &&Value| line["type"] == "request" && !own(line);
        Ok([log_in?, sign?, end?, self.vault.audited()?.iter().filter(others).count()])
    }

    /// The right that the chart gives in an onboarded namespace, and the one that it gives everywhere, when its settings
    /// name a Vault.
    pub async fn rights(&self) -> Result<[Right; 2]> {
        let file = self.settings.display().to_string();
        let objects = render(&["--values", &with_settings(&self.cluster, &file)?])?;
        let mut more = Vec::new();
        for name in [NAMESPACE_ROLE, CLUSTER_ROLE] {
            let role = objects.iter().find(|o| o["kind"] == "ClusterRole" && o["metadata"]["name"] == name);
            let role: ClusterRole = serde_json::from_value(role.context("no ClusterRole")?.clone())?;
            let usual = rights::of_cluster_role(&self.cluster, name).await?;
            let given = rights::rights(&role.rules.unwrap_or_default());
            more.extend(given.into_iter().filter(|right| !usual.contains(right)));
        }
        more.try_into().map_err(|more| anyhow!("{more:?}"))
    }

    /// Gives the operator these of them, each by a Role of the namespace, and so as with listed namespaces.
    pub async fn grant(&self, rights: &[Right]) -> Result<()> {
        let namespace = &self.namespace.name;
        rights::grant(&self.cluster, namespace, "vault", OPERATOR, rights::rules(rights)).await?;
        for right in rights {
            rights::until_allowed(&self.cluster, OPERATOR, Some(namespace), right, true).await?;
        }
        Ok(())
    }

    /// Whether the `ConfigMap` that clients read has this.
    pub async fn published(&self) -> Result<String> {
        let maps = Api::<k8s_openapi::api::core::v1::ConfigMap>::namespaced(
            self.cluster.client.clone(),
            &self.namespace.name,
        );
        maps.get("shop-ca").await?.data.and_then(|mut data| data.remove("ca.crt")).context("no ca.crt")
    }
}

impl Drop for Scene {
    /// The operator ended before: nobody would take the finalizers off, and the namespace would stay.
    fn drop(&mut self) {
        let (cluster, namespace) = (&self.cluster, &*self.namespace.name);
        let ask = |arguments: &[&str]| kubectl(cluster, &[arguments, &["-n", namespace]].concat(), "");
        let _ = ask(&["delete", "namespace", namespace, "--wait=false", "--ignore-not-found"]);
        let services = ask(&["get", "hardenedservices", "-o", "name"]).unwrap_or_default();
        for service in services.lines() {
            let free = r#"{"metadata": {"finalizers": null}}"#;
            let _ = ask(&["patch", service, "--type=merge", "-p", free]);
        }
    }
}

/// The platform's settings, as the operator reads them.
fn settings(cluster: &Cluster, vault: &Vault) -> Result<PathBuf> {
    let connection = json!({
        "address": vault.address(), "caBundle": std::fs::read_to_string(vault.ca_file())?,
        "kubernetesAuth": {"role": "hardened-{namespace}-{name}"}, "pki": {"roles": [ROLE]},
    });
    let text = json!({"vaultConnections": {"default": connection}}).to_string();
    cluster.state().write(&format!("settings/{}.yaml", unique("vault")), text)
}

/// The same as values of the chart.
fn with_settings(cluster: &Cluster, file: &str) -> Result<String> {
    let settings: Value = serde_json::from_str(&std::fs::read_to_string(file)?)?;
    let values = json!({"settings": settings}).to_string();
    Ok(cluster.state().write(&format!("settings/{}.yaml", unique("values")), values)?.display().to_string())
}
