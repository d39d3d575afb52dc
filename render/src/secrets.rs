//! The plan of the Secret with the values of `spec.secrets`, and how the container gets them. The values are the operator's.

use std::borrow::Cow;

use crds::{Delivery, HardenedService, SecretKey, Secrets, SecretsRestart};
use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, SecretEnvSource, Volume, VolumeMount};
use kube::ResourceExt;

use crate::{
    Facts, SecretPlan, container,
    meta::{self, Component},
    volumes,
};

/// Where files lie.
const DIR: &str = "/etc/hardened/secrets";
const VOLUME: &str = "secrets";

/// Name of the operator's Secret with the values.
pub fn secret_name(service: &HardenedService) -> String {
    meta::child_name(&service.name_any(), "secrets")
}

/// That Secret, without values; nothing without `spec.secrets`.
pub fn secret(service: &HardenedService) -> Option<SecretPlan> {
    Some(SecretPlan {
        metadata: meta::named_with(service, "secrets", Component::Secrets),
        type_: "Opaque",
        keys: declared(service.spec.secrets.as_ref()?),
    })
}

/// Name of the Secret with the values before.
pub fn before_name(service: &HardenedService) -> String {
    meta::child_name(&service.name_any(), "secrets-before")
}

/// The Secret with the values before, while a restart for new ones is under way.
pub fn before(service: &HardenedService, facts: &Facts) -> Option<SecretPlan> {
    (facts.keeps_values_before && service.spec.secrets.is_some()).then(|| SecretPlan {
        metadata: meta::named_with(service, "secrets-before", Component::Secrets),
        type_: "Opaque",
        keys: Vec::new(),
    })
}

/// How the workload gets them; nothing without `spec.secrets`.
pub fn delivery(service: &HardenedService) -> Option<Delivery> {
    service.spec.secrets.as_ref().map(|secrets| secrets.delivery.unwrap_or_default())
}

/// Whether a new value of this name restarts the pods.
pub fn restarts(secrets: &Secrets, name: &str) -> bool {
    let by_default = match secrets.delivery.unwrap_or_default() {
        Delivery::Env => SecretsRestart::OnChange,
        Delivery::Files => SecretsRestart::Never,
    };
    secrets.restart.unwrap_or(by_default) == SecretsRestart::OnChange
        && !secrets.without_restart.iter().any(|without| without == name)
}

/// The names that the spec gives; a source without a list of keys adds its own.
fn declared(secrets: &Secrets) -> Vec<Cow<'static, str>> {
    let name = |key: &SecretKey| key.name.clone().unwrap_or_else(|| key.key.clone());
    let of_vault = secrets.sources.iter().filter_map(|source| source.vault.as_ref()).flat_map(|v| &v.keys);
    let of_secrets = secrets.sources.iter().filter_map(|source| source.secret.as_ref()).flat_map(|s| &s.keys);
    let composed = secrets.templates.iter().map(|template| template.name.clone());
    let all = of_vault.chain(of_secrets).map(name).chain(composed).chain(secrets.required.iter().cloned());
    let mut names: Vec<_> = all.map(Cow::Owned).collect();
    names.sort();
    names.dedup();
    names
}

/// Variables of the container, all of the Secret: a new name needs no other pod template.
pub fn env_from(service: &HardenedService) -> Option<Vec<EnvFromSource>> {
    let all = SecretEnvSource { name: secret_name(service), ..SecretEnvSource::default() };
    let by_env = delivery(service) == Some(Delivery::Env);
    by_env.then(|| vec![EnvFromSource { secret_ref: Some(all), ..EnvFromSource::default() }])
}

/// Where the files are, for the container.
pub fn env(service: &HardenedService) -> Option<EnvVar> {
    by_files(service).then(|| container::var("SECRETS_DIR", DIR))
}

/// The files.
pub fn mounted(service: &HardenedService) -> Option<(Volume, VolumeMount)> {
    let volume = || Volume {
        name: VOLUME.into(),
        secret: Some(volumes::secret(&secret_name(service))),
        ..Volume::default()
    };
    by_files(service).then(|| (volume(), volumes::read_only(VOLUME, DIR)))
}

fn by_files(service: &HardenedService) -> bool {
    delivery(service) == Some(Delivery::Files)
}
