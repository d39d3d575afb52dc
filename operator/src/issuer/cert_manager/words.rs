//! What a certificate of cert-manager makes the operator say: what is wrong, and what to do. Never a secret.

use super::{Problem, Reason, Source, named};

const FIELD: &str = "spec.tls.issuer.certManager";

/// The cluster does not serve Certificates.
pub fn missing() -> Problem {
    Problem {
        reason: Reason::CertManagerMissing,
        message: format!(
            "{FIELD}: the cluster does not serve certificates.cert-manager.io in version v1; a platform admin installs \
             cert-manager with its CustomResourceDefinitions, or choose another issuer. It is noticed within a minute"
        ),
    }
}

impl Source<'_> {
    pub fn not_allowed(&self) -> Problem {
        let (kind, name, group) = named(self.reference);
        let kind = kind.as_str();
        Problem {
            reason: Reason::CertManagerIssuerNotAllowed,
            message: format!(
                "{FIELD}.issuerRef: certManager.issuers of the operator's settings does not list {{kind: {kind}, name: {name}, \
                 group: {group}}}; name another issuer, or ask the platform to allow it"
            ),
        }
    }

    pub fn occupied(&self, name: &str) -> Problem {
        Problem {
            reason: Reason::NameConflict,
            message: format!(
                "Secret {name} already exists, and cert-manager did not make it for Certificate {name}: it would write over it; \
                 delete or rename the Secret, or rename HardenedService {}",
                self.case.key.name
            ),
        }
    }

    pub fn not_ready(&self, words: &str) -> Problem {
        Problem {
            reason: Reason::CertificateNotReady,
            message: format!(
                "{FIELD}: Certificate {} is not ready: {words}",
                render::issued_name(self.case.service)
            ),
        }
    }
}
