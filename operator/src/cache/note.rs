//! What is remembered of a child beside the object itself. No value of a Secret.

use k8s_openapi::jiff::Timestamp;
use render::Problem;

use crate::{adopt::Offer, compare::Digest, pki::Leaf, secrets::Login, version::Version};

/// What the operator remembers of a child besides the object itself, so that a quiet pass asks nothing.
#[derive(Clone, Debug, Default)]
pub struct Note {
    /// Digest of the target that was last written or found in place: with the same target, a difference is drift.
    pub target: Option<Digest>,
    /// Its uid and resourceVersion then. The cache may be further already, at a change that nobody has looked at.
    pub version: Version,
    /// The server answered a dry run of this target (second) with this live object (first): its normal form.
    pub normal: Option<(Digest, Digest)>,
    /// What taking over the foreign object in the child's place would change.
    pub offer: Option<Offer>,
    /// For TLS Secrets: what was found at which version. No value.
    pub secret: Option<SecretNote>,
    /// For the Secret with the values of `spec.secrets`: what was found at which version. No value.
    pub values: Option<ValuesNote>,
    /// For Secrets that provide a certificate: what the checks said of which version.
    pub provided: Option<ProvidedNote>,
}

/// A TLS Secret whose content was read.
#[derive(Clone, Debug, PartialEq)]
pub struct SecretNote {
    /// Its uid and resourceVersion then.
    pub version: Version,
    /// Digest of everything that it was checked against and agrees with.
    pub expected: Digest,
    /// The certificate in it; nothing when it is not the operator's own.
    pub leaf: Option<Leaf>,
    /// Certificates (PEM) that clients should trust with it.
    pub ca_bundle: String,
}

/// A Secret with a provided certificate whose content was read and checked.
#[derive(Clone, Debug, PartialEq)]
pub struct ProvidedNote {
    /// Its uid and resourceVersion then.
    pub version: Version,
    /// Digest of everything that it was checked against.
    pub wanted: Digest,
    /// When time alone changes what the checks say.
    pub until: Option<Timestamp>,
    /// The certificate in it, or what the failed checks say.
    pub verdict: Result<Leaf, String>,
}

/// The operator's Secret with the values of `spec.secrets`, whose content was read or written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ValuesNote {
    /// Its uid and resourceVersion then.
    pub version: Version,
    /// HMAC over the values.
    pub seal: String,
    /// HMAC over those whose change restarts the pods.
    pub restart: Option<String>,
    /// Their names.
    pub names: Vec<String>,
    /// Versions of the sources, as status shows them.
    pub source_version: String,
    /// Digest of what was asked for when they were gathered; that of nothing when they are what was there.
    pub asked: Digest,
    /// The value of the annotation by which somebody forces a sync, then.
    pub forced: Option<String>,
    /// The login to Postgres with newer values, which is under way or failed.
    pub login: Option<Login>,
    /// Why newer values are not in it yet.
    pub waits: Option<Problem>,
    /// When a Vault is to be read again.
    pub refresh_at: Option<Timestamp>,
}
