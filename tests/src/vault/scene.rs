//! A service whose certificate comes from a Vault of the test's own. It judges nothing.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use serde_json::{Value, json};

use super::platform::{LOGIN, Platform};
use crate::certificate::{Pair, tls_secret};
use crate::fixture::{Service, named};
use crate::wait::{Look, wait_until};

/// What clients call the service.
pub const HOST: &str = "shop.example.com";
/// The role that the platform lets services use.
pub const ROLE: &str = "web";
/// The path of the login, of the signature and of the end of the token.
pub const PATHS: [&str; 3] = [LOGIN, "pki/sign/web", "auth/token/revoke-self"];
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
    /// The certificate (PEM) that clients trust in the end.
    pub root: String,
    platform: Platform,
}

impl Deref for Scene {
    type Target = Platform;

    fn deref(&self) -> &Platform {
        &self.platform
    }
}

impl DerefMut for Scene {
    fn deref_mut(&mut self) -> &mut Platform {
        &mut self.platform
    }
}

impl Scene {
    /// Everything that a platform prepares. `role` is what is special about the role for certificates.
    pub async fn set(prefix: &str, role: &Value) -> Result<Self> {
        let platform = Platform::prepare(prefix, &json!({"pki": {"roles": [ROLE]}})).await?;
        let vault = &platform.vault;
        let root = vault.enable_pki()?;
        vault.pki_role(ROLE, &[HOST], role)?;
        vault
            .policy("certificates", &format!(r#"{SIGN} path "{REVOKE}" {{ capabilities = ["update"] }}"#))?;
        let scene = Self { root, platform };
        scene.let_in("shop")?;
        scene.vault.enable_audit()?;
        Ok(scene)
    }

    /// Lets the account of a service log in, to a role of its own.
    pub fn let_in(&self, service: &str) -> Result<()> {
        self.let_log_in(&self.namespace.name, service, "certificates")
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

    /// How many answers there are for each of [`PATHS`], and how many requests for all paths together; what the test asks
    /// itself does not count.
    pub fn counts(&self) -> Result<[usize; 4]> {
        let [log_in, sign, end] = PATHS.map(|path| self.answers(path).map(|answers| answers.len()));
        Ok([log_in?, sign?, end?, self.asked()?.len()])
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
