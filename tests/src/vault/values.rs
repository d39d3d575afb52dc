//! A service whose values come from a Vault of the test's own: an engine of each version, and for each namespace a policy
//! that lets it read what lies below its own name. It judges nothing.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use anyhow::{Context as _, Result};
use crds::HardenedService;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use serde_json::{Value, json};

use super::Vault;
use super::platform::{LOGIN, Platform};
use crate::fixture::{Service, named, words};
use crate::wait::{Look, wait_until};

/// The engines and their versions; the first is that of services that name none.
pub const MOUNTS: [(&str, u8); 2] = [("secret", 2), ("legacy", 1)];
/// The operator's Secret.
pub const SECRET: &str = "shop-secrets";
/// Vault is read every five seconds, and the longest pause after failures is a minute.
const LIMIT: Duration = Duration::from_secs(70);

/// All of it; Vault holds no values, and the service is not made yet.
pub struct Scene {
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
    /// Everything that a platform prepares.
    pub async fn set(prefix: &str) -> Result<Self> {
        Self::set_with(Vault::start()?, prefix).await
    }

    /// The same with this server, which holds nothing yet.
    pub async fn set_with(vault: Vault, prefix: &str) -> Result<Self> {
        let engines = json!({"kv": {"mounts": MOUNTS.map(|(mount, _)| mount)}});
        let scene = Self { platform: Platform::prepare_with(vault, prefix, &engines).await? };
        scene.furnish()?;
        Ok(scene)
    }

    /// The engines, the policy and the login of `shop`, for a Vault that has nothing yet.
    pub fn furnish(&self) -> Result<()> {
        for (mount, version) in MOUNTS {
            self.vault.enable_kv(mount, version)?;
        }
        self.let_read(&self.namespace.name)?;
        self.let_in("shop")?;
        self.vault.enable_audit()
    }

    /// Lets services of a namespace read what lies below its name, by a policy that is called like it.
    pub fn let_read(&self, namespace: &str) -> Result<()> {
        let path = |path: &str| format!(r#"path "{path}/{namespace}/*" {{ capabilities = ["read"] }}"#);
        self.vault.policy(namespace, &["secret/data", "legacy"].map(path).join("\n"))
    }

    /// Lets the account of a service log in.
    pub fn let_in(&self, service: &str) -> Result<()> {
        self.let_log_in(&self.namespace.name, service, &self.namespace.name)
    }

    /// A path of the namespace's own, as a source has it.
    pub fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.namespace.name)
    }

    /// Writes the values of `shop`.
    pub fn put(&self, values: &Value) -> Result<()> {
        self.vault.write_kv("secret", 2, &self.path("shop"), values)
    }

    /// Has the engine do this with versions of them: `delete`, `undelete` or `destroy`.
    pub fn versions(&self, action: &str, versions: &[u64]) -> Result<()> {
        let path = format!("secret/{action}/{}", self.path("shop"));
        self.vault.call("POST", &path, &json!({ "versions": versions })).map(drop)
    }

    /// The service `shop` with all values of its path, unless its `secrets` say otherwise.
    pub async fn service(&self, secrets: &Value) -> Result<Service> {
        self.named("shop", secrets).await
    }

    /// The same under another name.
    pub async fn named(&self, name: &str, secrets: &Value) -> Result<Service> {
        let mut spec = json!({"refreshInterval": "5s", "sources": [{"vault": {"path": self.path("shop")}}]});
        for (field, value) in secrets.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        let mut service = named("secrets", name)?;
        service.spec.secrets = serde_json::from_value(spec)?;
        Service::create(&self.cluster, &self.namespace.name, &service).await
    }

    /// The namespace's Secrets.
    pub fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.cluster.client.clone(), &self.namespace.name)
    }

    /// The operator's Secret of `shop`.
    pub async fn secret(&self) -> Result<Secret> {
        self.secrets().get(SECRET).await.context("the operator's Secret")
    }

    /// Waits until it holds exactly these values.
    pub async fn until_values(&self, wanted: &[(&str, &str)]) -> Result<Secret> {
        until_values(&self.secrets(), LIMIT, wanted).await
    }

    /// How often the account of `shop` or another has logged in, or tried to.
    pub fn logins(&self) -> Result<usize> {
        Ok(self.asked()?.iter().filter(|path| *path == LOGIN).count())
    }

    /// How often the values of `shop` were asked for.
    pub fn reads(&self) -> Result<usize> {
        let path = format!("secret/data/{}", self.path("shop"));
        Ok(self.asked()?.iter().filter(|asked| **asked == path).count())
    }

    /// Waits until they were asked for so many times more, whatever the answers were.
    pub async fn until_read(&self, more: usize) -> Result<()> {
        let before = self.reads()?;
        wait_until(LIMIT, &format!("{more} readings"), async || match self.reads() {
            Ok(now) if now >= before + more => Look::Done(()),
            other => Look::NotYet(format!("{other:?} after {before}")),
        })
        .await
    }
}

/// What a Secret holds, as text.
pub fn values(secret: &Secret) -> BTreeMap<String, String> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    secret.data.iter().flatten().map(|(name, value)| (name.clone(), text(&value.0))).collect()
}

/// Waits until the operator's Secret of `shop` holds exactly these values.
pub async fn until_values(secrets: &Api<Secret>, limit: Duration, wanted: &[(&str, &str)]) -> Result<Secret> {
    let wanted = wanted.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    wait_until(limit, "the values", async || match secrets.get(SECRET).await {
        Ok(secret) if values(&secret) == wanted => Look::Done(secret),
        other => Look::NotYet(other.map(|secret| values(&secret)).map_err(|error| error.to_string())),
    })
    .await
}

/// Status, reason and message of `SecretsReady`; empty without one.
pub fn synced(service: &HardenedService) -> (String, String, String) {
    words(service, "SecretsReady")
}

/// Waits until `SecretsReady` has this reason and a message with these words; gives its status and the message.
pub async fn until_told(service: &Service, reason: &str, part: &str) -> Result<(String, String)> {
    let what = format!("SecretsReady to say {reason} with {part:?}");
    let told = |service: &HardenedService| {
        let (_, found, message) = synced(service);
        found == reason && message.contains(part)
    };
    let (status, _, message) = wait_until(LIMIT, &what, async || match service.get().await {
        Ok(service) if told(&service) => Look::Done(synced(&service)),
        other => Look::NotYet(format!("{:?}", other.map(|service| synced(&service)))),
    })
    .await?;
    Ok((status, message))
}

/// Has all sources read at once.
pub async fn force(service: &Service, mark: &str) -> Result<()> {
    let annotations = json!({crds::FORCE_SYNC_ANNOTATION: mark});
    service.patch(&json!({"metadata": {"annotations": annotations}})).await.map(drop)
}
