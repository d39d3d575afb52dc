//! The sources of `spec.secrets` in their order, all of them or none.

use crds::{Reason, SecretKey, SecretSource, SecretValuesOf, Secrets, VaultKv};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use render::Problem;
use secrecy::ExposeSecret;
use tokio::time::Instant;
use vault_kv::{KvValue, Place};

use super::values::{Values, shortened};
use crate::{
    issuer::Case,
    observe,
    ownership::is_ours,
    refusal::Refusal,
    vault::{self, Failure},
};

/// What the sources have.
pub struct Gathered {
    /// The values, fit for the workload.
    pub values: Values,
    /// Versions of the sources, as status shows them.
    pub version: String,
    /// When the oldest of them was read from a Vault; nothing without a Vault.
    pub read_at: Option<Instant>,
}

/// Reads what was read from a Vault before `not_before`, and every Secret.
pub async fn gather(case: &Case<'_>, spec: &Secrets, not_before: Instant) -> Result<Gathered, Failure> {
    let mut values = Values::default();
    let (mut versions, mut read_at) = (Vec::new(), None::<Instant>);
    for source in &spec.sources {
        let version = match source {
            SecretSource { vault: Some(vault), .. } => {
                let (version, at) = of_vault(case, vault, not_before, &mut values).await?;
                read_at = read_at.into_iter().chain([at]).min();
                version
            }
            SecretSource { secret: Some(secret), .. } => {
                of_secret(case, secret, &mut values).await?;
                None
            }
            // The schema refuses it.
            SecretSource { vault: None, secret: None } => None,
        };
        versions.push(version.map_or_else(|| "-".to_owned(), |version| version.to_string()));
    }
    for template in &spec.templates {
        values.compose(template).map_err(invalid)?;
    }
    values.check(case.service).map_err(invalid)?;
    Ok(Gathered { values, version: versions.join(","), read_at })
}

/// Why nothing can be asked of a Vault yet, where a service's own account logs in.
pub fn no_account(case: &Case<'_>, spec: &Secrets) -> Option<Problem> {
    let connections = spec.sources.iter().filter_map(|source| source.vault.as_ref()).map(connection);
    let mut named = connections.filter_map(|name| case.ctx.vaults.get(name));
    named
        .any(|connection| connection.account(case.key) == case.key.name)
        .then(|| observe::no_account(case))?
}

/// Name of the connection that a source means.
fn connection(source: &VaultKv) -> &str {
    vault::connection_name(source.connection.as_deref())
}

async fn of_vault(
    case: &Case<'_>,
    source: &VaultKv,
    not_before: Instant,
    values: &mut Values,
) -> Result<(Option<u64>, Instant), Failure> {
    let name = connection(source);
    let connection = case.ctx.vaults.get(name).ok_or_else(|| {
        told(
            Reason::VaultConnectionUnknown,
            format!("spec.secrets.sources: the operator's settings have no vaultConnections.{name}; correct the name, or ask the platform"),
        )
    })?;
    let mount = connection.mount(case.key, source.mount.as_deref()).ok_or_else(|| {
        let asked = source.mount.as_deref().map_or("any mount".to_owned(), |mount| format!("mount {mount}"));
        told(
            Reason::VaultMountNotAllowed,
            format!(
                "spec.secrets.sources: the operator's settings do not let services read {asked} (vaultConnections.{name}.kv.mounts); \
                 choose another, or ask the platform"
            ),
        )
    })?;
    let version = source.version.and_then(|version| version.try_into().ok());
    let place = Place { mount, path: source.path.clone(), version };
    let found = connection.read(&case.ctx.client, case.key, &place, not_before).await?;
    let shown = format!("{}/{}", place.mount, place.path);
    for (key, name) in wanted(&source.keys, found.values.keys()) {
        let text = match found.values.get(key) {
            Some(KvValue::Text(text)) => text,
            Some(KvValue::Unusable(what)) => {
                let problem = format!("{shown}: the value of {} is {what}; write it as text", shortened(key));
                return Err(invalid(problem));
            }
            None => return Err(no_key(&shown, key)),
        };
        values.set(name.to_owned(), text.expose_secret().as_bytes().to_vec());
    }
    Ok((found.version, found.read_at))
}

async fn of_secret(case: &Case<'_>, source: &SecretValuesOf, values: &mut Values) -> Result<(), Failure> {
    let name = &*source.name;
    let not_allowed = || Failure::Told(observe::not_allowed(render::SOURCE, name, case.key));
    let meta = observe::labelled(case.ctx, case.key, name).ok_or_else(not_allowed)?;
    if is_ours(&meta.metadata, case.service) {
        return Err(invalid(format!("Secret {name} is the operator's own; name one of somebody else")));
    }
    let api: Api<Secret> = Api::namespaced(case.ctx.client.clone(), &case.key.namespace);
    let secret = api.get_opt(name).await.map_err(|error| match Refusal::of_error(&error) {
        Some(refusal) => Failure::Told(refusal.problem()),
        None => Failure::Pass(error.into()),
    })?;
    // The label may have gone meanwhile.
    let secret = secret.filter(|secret| observe::carries_label(secret, case.key)).ok_or_else(not_allowed)?;
    let data = secret.data.unwrap_or_default();
    if data.is_empty() {
        let message =
            format!("Secret {name} is empty; what the workload has stays until it has values again");
        return Err(told(Reason::SourceDeleted, message));
    }
    for (key, as_name) in wanted(&source.keys, data.keys()) {
        let value = data.get(key).ok_or_else(|| no_key(&format!("Secret {name}"), key))?;
        values.set(as_name.to_owned(), value.0.clone());
    }
    Ok(())
}

/// The keys that the spec chooses with their names, or all with their own.
fn wanted<'a>(
    chosen: &'a [SecretKey],
    all: impl Iterator<Item = &'a String>,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    let own = chosen.is_empty().then_some(all).into_iter().flatten().map(|key| (&**key, &**key));
    let chosen = chosen.iter().map(|chosen| (&*chosen.key, chosen.name.as_deref().unwrap_or(&chosen.key)));
    chosen.chain(own)
}

fn no_key(source: &str, key: &str) -> Failure {
    invalid(format!("{source} has no key {}; write it there, or correct keys", shortened(key)))
}

fn invalid(message: String) -> Failure {
    told(Reason::SecretsInvalid, message)
}

fn told(reason: Reason, message: String) -> Failure {
    Failure::Told(Problem { reason, message })
}
