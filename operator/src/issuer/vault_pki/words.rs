//! What a certificate of Vault makes the operator say: what is wrong, and what to do. Never a secret.

use super::{Problem, Reason, Source, kept};

const FIELD: &str = "spec.tls.issuer.vaultPki";

impl Source<'_> {
    pub fn unknown(&self) -> Problem {
        Problem {
            reason: Reason::VaultConnectionUnknown,
            message: format!(
                "{FIELD}.connection: the operator's settings have no vaultConnections.{}; name another connection, or ask the \
                 platform for it",
                self.name()
            ),
        }
    }

    pub fn not_allowed(&self) -> Problem {
        Problem {
            reason: Reason::VaultRoleNotAllowed,
            message: format!(
                "{FIELD}.role: vaultConnections.{}.pki.roles of the operator's settings does not list {}; name another role, \
                 or ask the platform to allow it",
                self.name(),
                self.spec.role
            ),
        }
    }

    pub fn foreign(&self) -> Problem {
        Problem {
            reason: Reason::NameConflict,
            message: format!(
                "Secret {} already exists and belongs to somebody else; delete or rename it, or rename HardenedService {}",
                kept::child(self.case),
                self.case.key.name
            ),
        }
    }

    pub fn no_good(&self, failures: &str) -> Problem {
        Problem {
            reason: Reason::VaultRefused,
            message: format!("what Vault signed as {} is no good: {failures}", self.issuer()),
        }
    }

    /// While somebody keeps taking away what Vault gives.
    pub fn answered(&self) -> Problem {
        Problem {
            reason: Reason::Progressing,
            message: format!(
                "Vault signed a certificate as {} a moment ago, and it is in use no more; the next one comes after a pause",
                self.issuer()
            ),
        }
    }
}
