//! First verb: what is there. Reads caches; the only request is a GET of a Secret whose version is new.

use std::sync::Arc;

use crds::{HardenedService, Reason, SERVICE_LABEL};
use k8s_openapi::{api::core::v1::Secret, jiff::SignedDuration};
use kube::{Api, ResourceExt, core::DynamicObject};
use render::{Facts, Kind, Problem};

use crate::{
    Context,
    cache::{Key, SecretNote},
    error::Error,
    issuer::Case,
    ownership::is_ours,
    version::{Version, exactly},
};

/// What a pass starts from.
pub struct Observed {
    /// Facts for render, except what mint adds.
    pub facts: Facts,
    /// The first Secret that the spec lets the pods mount and that does not carry the service's label.
    pub not_allowed: Option<Problem>,
}

/// State of the TLS Secret.
pub enum TlsSecret {
    /// It does not exist.
    Absent,
    /// It belongs to somebody else.
    Foreign,
    /// It was read at this version before.
    Known(SecretNote),
    /// It was read now.
    Read(Box<Secret>),
}

/// Looks at everything that the pass needs.
pub fn observe(ctx: &Context, service: &HardenedService, key: &Key) -> Observed {
    let namespace = ctx.cache.namespace(&key.namespace).unwrap_or_default();
    let facts = Facts {
        settings: ctx.settings.clone(),
        allowed_hosts: namespace.allowed_hosts.unwrap_or_default(),
        live_replicas: live_replicas(ctx, service, key),
        ..Facts::default()
    };
    let mounted = render::referenced_secrets(service).into_iter();
    let not_allowed = mounted
        .filter(|(field, _)| render::is_mounted(field))
        .find(|(_, name)| labelled(ctx, key, name).is_none())
        .map(|(field, name)| not_allowed(field, &name, key));
    Observed { facts, not_allowed }
}

fn live_replicas(ctx: &Context, service: &HardenedService, key: &Key) -> Option<i32> {
    let live = ctx.cache.get(Kind::Deployment, &key.namespace, &key.name)?;
    let replicas = live.data.pointer("/spec/replicas").filter(|_| is_ours(&live.metadata, service))?;
    replicas.as_i64().and_then(|replicas| replicas.try_into().ok())
}

/// A Secret that its owner lets this service use: metadata only.
pub fn labelled(ctx: &Context, key: &Key, name: &str) -> Option<Arc<DynamicObject>> {
    let secret = ctx.cache.get(Kind::Secret, &key.namespace, name)?;
    carries_label(&*secret, key).then_some(secret)
}

/// Its version, by which a change of it is told.
pub fn labelled_version(ctx: &Context, key: &Key, name: &str) -> Option<Version> {
    labelled(ctx, key, name).map(|secret| exactly(&*secret))
}

/// Whether it carries the label of this service.
pub fn carries_label(secret: &impl ResourceExt, key: &Key) -> bool {
    secret.labels().get(SERVICE_LABEL) == Some(&key.name)
}

/// How soon the service's own account, which a login to Vault needs, is looked for again.
pub const ACCOUNT: SignedDuration = SignedDuration::from_secs(1);

/// Why the service cannot log in to Vault as itself yet. Whoever may name a service must not log in as an account of
/// somebody else that has the same name: the account must be the service's child.
pub fn no_account(case: &Case<'_>) -> Option<Problem> {
    let Case { ctx, key, service, .. } = case;
    let account = ctx.cache.get(Kind::ServiceAccount, &key.namespace, &key.name);
    (!account.is_some_and(|account| is_ours(&account.metadata, service))).then(|| Problem {
        reason: Reason::Held,
        message: format!("the login to Vault waits for ServiceAccount {}", key.name),
    })
}

/// The watch shows labelled Secrets only: one without the label looks like one that does not exist.
pub fn not_allowed(field: &str, name: &str, key: &Key) -> Problem {
    Problem {
        reason: Reason::SecretNotAllowed,
        message: format!(
            "{field}: Secret {name} does not exist or does not carry the label {SERVICE_LABEL}: {}; whoever may write that Secret adds it: \
             kubectl -n {} label secret {name} {SERVICE_LABEL}={}",
            key.name, key.namespace, key.name
        ),
    }
}

/// The TLS Secret of a service. What was found at its present version before is enough when it fits.
pub async fn tls_secret(case: &Case<'_>, fits: impl Fn(&SecretNote) -> bool) -> Result<TlsSecret, Error> {
    let Case { ctx, service, key, .. } = case;
    let name = render::child_name(&key.name, "tls");
    if let Some(meta) = ctx.cache.get(Kind::Secret, &key.namespace, &name) {
        if !is_ours(&meta.metadata, service) {
            return Ok(TlsSecret::Foreign);
        }
        let version = exactly(&*meta);
        let note = ctx.cache.note(Kind::Secret, &key.namespace, &name).secret;
        if let Some(note) = note.filter(|note| note.version == version && fits(note)) {
            return Ok(TlsSecret::Known(note));
        }
    }
    // Without its label the watch does not show it, and right after a POST whose answer was lost not yet: a second
    // key would replace the first. So a new key is made only after a look by name.
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), &key.namespace);
    Ok(match api.get_opt(&name).await? {
        Some(secret) if is_ours(&secret.metadata, service) => TlsSecret::Read(Box::new(secret)),
        Some(_) => TlsSecret::Foreign,
        None => TlsSecret::Absent,
    })
}
