//! What a provided certificate makes the operator say: what is wrong, and what to do. Never a secret.

use crds::Reason;
use k8s_openapi::jiff::SignedDuration;
use render::{PROVIDED_CERTIFICATE, Problem};

use super::Source;
use crate::{issuer::renewal::third, observe, pki::Leaf, provided_certificate::day};

/// From here on a certificate that ends is told of, or in the last third of its life when that is later.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

impl Source<'_> {
    pub fn not_allowed(&self) -> Problem {
        match self.issued {
            None => observe::not_allowed(PROVIDED_CERTIFICATE, self.name, self.case.key),
            Some(_) => self.not_issued(),
        }
    }

    /// cert-manager brings it, or brings it back.
    pub fn not_issued(&self) -> Problem {
        Problem {
            reason: Reason::CertificateNotReady,
            message: format!(
                "{}: cert-manager has not written Secret {} for Certificate {} and this issuer yet; wait, and if it lasts look \
                 at: kubectl -n {} describe certificate {}",
                self.field(),
                self.name,
                self.name,
                self.case.key.namespace,
                self.name
            ),
        }
    }

    fn field(&self) -> &'static str {
        match self.issued {
            None => PROVIDED_CERTIFICATE,
            Some(_) => "spec.tls.issuer.certManager",
        }
    }

    pub fn own_copy(&self) -> Problem {
        Problem {
            reason: Reason::SecretNotAllowed,
            message: format!(
                "{}: Secret {} is the operator's own copy; provide the certificate in a Secret of another name",
                self.field(),
                self.name
            ),
        }
    }

    pub fn invalid(&self, failures: &str) -> Problem {
        let message = format!("{}: Secret {}: {failures}", self.field(), self.name);
        Problem { reason: Reason::CertificateInvalid, message }
    }

    /// When cert-manager renews is its own affair, and that it cannot it says itself.
    pub fn warning(&self, leaf: &Leaf) -> Option<Problem> {
        if self.issued.is_some() {
            return None;
        }
        let left = leaf.not_after.duration_since(self.case.now);
        (left < SOON.min(third(leaf))).then(|| Problem {
            reason: Reason::CertificateExpiring,
            message: format!(
                "the certificate of Secret {} ends on {}, in {} days; put a new one there",
                self.name,
                day(leaf.not_after),
                left.as_hours() / 24
            ),
        })
    }
}
