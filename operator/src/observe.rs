//! First verb: what is there. Reads caches; the only request is a GET of a Secret whose version is new.

use crds::{HardenedService, SERVICE_LABEL};
use k8s_openapi::{api::core::v1::Secret, jiff::Timestamp};
use kube::{Api, ResourceExt};
use render::{Facts, Kind};

use crate::{
    Context,
    cache::{Key, SecretNote},
    compare::Digest,
    error::Error,
    mint,
    ownership::is_ours,
};

/// What a pass starts from.
pub struct Observed {
    /// Facts for render, except what mint adds.
    pub facts: Facts,
    /// The TLS Secret.
    pub tls: TlsSecret,
    /// Digest of everything that the TLS Secret must agree with.
    pub expected: Digest,
    /// Secrets that the spec names and that do not carry the service's label: field and name.
    pub unlabelled: Vec<(String, String)>,
}

/// State of the TLS Secret.
pub enum TlsSecret {
    /// It does not exist.
    Absent,
    /// It belongs to somebody else.
    Foreign,
    /// It was read at this version before and is as it should be.
    Known(SecretNote),
    /// It was read now.
    Read(Box<Secret>),
}

/// Looks at everything that the pass needs.
pub async fn observe(
    ctx: &Context,
    service: &HardenedService,
    key: &Key,
    now: Timestamp,
) -> Result<Observed, Error> {
    let namespace = ctx.cache.namespace(&key.namespace).unwrap_or_default();
    let facts = Facts {
        settings: ctx.settings.clone(),
        allowed_hosts: namespace.allowed_hosts.unwrap_or_default(),
        ca_bundle: ctx.keys.bundle.clone(),
        restart_hash: String::new(),
    };
    let expected = mint::expected(ctx, service, &facts);
    let tls = tls_secret(ctx, service, key, expected, now).await?;
    let unlabelled = render::referenced_secrets(service)
        .into_iter()
        .filter(|(_, name)| {
            let secret = ctx.cache.get(Kind::Secret, &key.namespace, name);
            secret.is_none_or(|s| s.labels().get(SERVICE_LABEL) != Some(&key.name))
        })
        .map(|(field, name)| (field.to_owned(), name))
        .collect();
    Ok(Observed { facts, tls, expected, unlabelled })
}

async fn tls_secret(
    ctx: &Context,
    service: &HardenedService,
    key: &Key,
    expected: Digest,
    now: Timestamp,
) -> Result<TlsSecret, Error> {
    let name = render::child_name(&key.name, "tls");
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), &key.namespace);
    let Some(meta) = ctx.cache.get(Kind::Secret, &key.namespace, &name) else {
        // Without its label the watch does not show it, and right after a POST whose answer was lost not yet: a second
        // key would replace the first. So a new key is made only after a look by name.
        return Ok(match api.get_opt(&name).await? {
            Some(secret) if is_ours(&secret.metadata, service) => TlsSecret::Read(Box::new(secret)),
            Some(_) => TlsSecret::Foreign,
            None => TlsSecret::Absent,
        });
    };
    if !is_ours(&meta.metadata, service) {
        return Ok(TlsSecret::Foreign);
    }
    let version = (meta.uid(), meta.resource_version());
    if let Some(note) = ctx.cache.note(Kind::Secret, &key.namespace, &name).secret
        && note.version == version
        && note.expected == expected
        && now < mint::renew_at(service, &note.leaf)
    {
        return Ok(TlsSecret::Known(note));
    }
    Ok(match api.get_opt(&name).await? {
        Some(secret) if is_ours(&secret.metadata, service) => TlsSecret::Read(Box::new(secret)),
        Some(_) => TlsSecret::Foreign,
        None => TlsSecret::Absent,
    })
}
