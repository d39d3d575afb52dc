//! Who issues the certificate of a service: one file for each issuer, behind one enum. It writes nothing.

mod cert_manager;
mod handover;
mod kept;
mod renewal;
mod secret;
mod self_signed;
mod vault_pki;

use std::{collections::BTreeMap, sync::Arc};

pub use vault_pki::Given;

use crds::{HardenedService, IssuerRef, TlsStatus, VaultPki};
use k8s_openapi::{ByteString, api::core::v1::Secret, jiff::Timestamp};
use render::{Facts, Problem};
use secrecy::{ExposeSecret, SecretString};

use self::handover::Longer;
use crate::{
    Context,
    cache::Key,
    compare::Digest,
    error::Error,
    keys::Keys,
    observe::TlsSecret,
    pki::{IssueReason, Leaf, Pair},
    refusal::Refusal,
    vault::Vaults,
};

/// What an issuer decides from.
pub struct Case<'a> {
    /// Client, caches.
    pub ctx: &'a Context,
    /// The keys of the pass.
    pub keys: &'a Arc<Keys>,
    /// The service.
    pub service: &'a HardenedService,
    /// Its name.
    pub key: &'a Key,
    /// What was observed.
    pub facts: &'a Facts,
    /// The time of the pass.
    pub now: Timestamp,
}

/// The issuer that the spec names.
pub enum Issuer<'a> {
    /// The operator's own CA.
    SelfSigned,
    /// A Vault of the platform's.
    VaultPki(&'a VaultPki),
    /// An issuer of cert-manager.
    CertManager(&'a IssuerRef),
    /// A Secret of this name, which somebody else writes.
    Secret(&'a str),
}

/// What an issuer says of a service's certificate.
pub struct Certificate {
    /// The TLS Secret as it was found.
    pub found: TlsSecret,
    /// What apply does with it.
    pub plan: Plan,
    /// Digest of everything that the TLS Secret must agree with.
    pub expected: Digest,
    /// Certificates (PEM) that clients should trust.
    pub ca_bundle: String,
    /// What they should trust instead for a while.
    pub longer: Option<Longer>,
    /// When to look again without an event.
    pub again: Option<Timestamp>,
    /// The certificate in use, for status.
    pub status: Option<TlsStatus>,
    /// What keeps `TLSReady` from being true.
    pub problem: Option<Problem>,
    /// What somebody should know although it is true.
    pub warning: Option<Problem>,
    /// What keeps apply from asking cert-manager for one.
    pub unasked: Option<Problem>,
}

/// What apply does with the TLS Secret.
pub enum Plan {
    /// It is right, and has this uid: no request.
    Keep(Option<String>),
    /// Its content should be this.
    Content(Content),
    /// There is nothing to write. What is there stays; pods may start with it only if it is trusted.
    Leave {
        /// Whether what is there is known to be the operator's own.
        trusted: bool,
    },
}

/// Content of a TLS Secret.
pub struct Content {
    /// Values by key.
    pub values: SecretValues,
    /// HMAC over them, when an annotation is to carry one.
    pub seal: Option<String>,
    /// The certificate among them.
    pub leaf: Leaf,
    /// Why it was issued, when that was just now.
    pub issued: Option<IssueReason>,
    /// The TLS Secret holds other values, and they are the operator's own: the difference is no drift.
    pub replaces_own: bool,
}

impl<'a> Issuer<'a> {
    /// The issuer of a service.
    pub fn of(service: &'a HardenedService) -> Self {
        let issuer = service.spec.tls.as_ref().and_then(|tls| tls.issuer.as_ref());
        let vault = issuer.and_then(|issuer| issuer.vault_pki.as_ref()).map(Self::VaultPki);
        vault
            .or_else(|| render::cert_manager::issuer_ref(service).map(Self::CertManager))
            .or_else(|| render::provided_certificate(service).map(Self::Secret))
            .unwrap_or(Self::SelfSigned)
    }

    /// Whether a Vault is asked for the certificate; nothing when the spec names one that the platform does not have or
    /// does not let services use like this.
    pub fn is_asked_at(&self, vaults: &Vaults) -> Option<bool> {
        match self {
            Self::VaultPki(spec) => {
                let connection = vaults.get(vault_pki::connection(spec))?;
                connection.allows(&spec.role).then_some(true)
            }
            Self::SelfSigned | Self::CertManager(_) | Self::Secret(_) => Some(false),
        }
    }

    /// Decides about the certificate, and about what clients trust meanwhile.
    pub async fn certificate(&self, case: &Case<'_>) -> Result<Certificate, Error> {
        handover::keep_trust(case, self.decide(case).await?).await
    }

    async fn decide(&self, case: &Case<'_>) -> Result<Certificate, Error> {
        if let Some(refusal) = case.ctx.cache.refused_secrets(&case.key.namespace) {
            return Ok(self.unread(case, &refusal));
        }
        if !matches!(self, Self::VaultPki(_)) {
            case.ctx.asked.clear(case.key);
        }
        let certificate = match self {
            Self::SelfSigned => self_signed::certificate(case).await,
            Self::VaultPki(spec) => vault_pki::Source { case, spec }.certificate().await,
            Self::CertManager(reference) => cert_manager::Source { case, reference }.certificate().await,
            Self::Secret(name) => secret::Source { case, name, issued: None }.certificate().await,
        };
        match certificate {
            // An issuer asks the API server for nothing but Secrets.
            Err(Error::Api(error)) if let Some(refusal) = Refusal::of_error(&error) => {
                Ok(self.unread(case, &refusal))
            }
            other => other,
        }
    }

    /// Without a sight of the TLS Secret it is neither written nor trusted.
    fn unread(&self, case: &Case<'_>, refusal: &Refusal) -> Certificate {
        Certificate {
            found: TlsSecret::Absent,
            plan: Plan::Leave { trusted: false },
            expected: Digest::default(),
            ca_bundle: match self {
                Self::SelfSigned => case.keys.bundle.clone(),
                Self::VaultPki(_) | Self::CertManager(_) | Self::Secret(_) => kept::published_bundle(case),
            },
            longer: None,
            again: None,
            status: case.service.status.as_ref().and_then(|status| status.tls.clone()),
            problem: Some(refusal.problem()),
            warning: None,
            unasked: Some(refusal.problem()),
        }
    }
}

/// Secret values by key; no Debug, no Serialize.
pub struct SecretValues(BTreeMap<&'static str, SecretString>);

impl SecretValues {
    /// Certificate, key, and what clients should trust.
    pub fn new(pair: Pair, ca_bundle: &str) -> Self {
        Self(BTreeMap::from([
            ("ca.crt", ca_bundle.to_owned().into()),
            ("tls.crt", pair.certificate.into()),
            ("tls.key", pair.key),
        ]))
    }

    /// As the `data` of a Secret, for the one request that carries it.
    pub fn data(&self) -> BTreeMap<String, ByteString> {
        self.0
            .iter()
            .map(|(k, v)| ((*k).to_owned(), ByteString(v.expose_secret().as_bytes().to_vec())))
            .collect()
    }

    /// The private key.
    pub fn key(&self) -> Option<SecretString> {
        self.0.get("tls.key").cloned()
    }

    /// Names and values, for an HMAC.
    pub fn inputs(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        self.0.iter().map(|(k, v)| (*k, v.expose_secret().as_bytes()))
    }
}

/// A value of a Secret as text.
fn text(secret: &Secret, key: &str) -> Option<String> {
    let bytes = secret.data.as_ref()?.get(key)?;
    String::from_utf8(bytes.0.clone()).ok()
}

fn pair(secret: &Secret) -> Option<Pair> {
    Some(Pair { certificate: text(secret, "tls.crt")?, key: text(secret, "tls.key")?.into() })
}
