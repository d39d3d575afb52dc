//! What a Vault's answer makes the operator say. Vault's own texts are left out: they may repeat what they were sent.

use crds::Reason;
use render::Problem;
use vault_kv::Fault;

use super::{Connection, Identity};

/// Where a request failed.
pub enum Step {
    /// At the login.
    LogIn,
    /// At the signature.
    Sign {
        /// Role of the engine.
        role: String,
        /// Names that were asked for.
        names: String,
    },
    /// At the revocation.
    Revoke {
        /// Of the certificate with this serial number.
        serial: String,
    },
    /// Nowhere: there was no answer in time.
    Answer,
}

impl Connection {
    /// What is wrong, and what to do.
    pub fn explain(&self, step: Step, identity: &Identity, fault: &Fault) -> Problem {
        let (settings, role) = (&self.settings, &identity.role);
        let Some(code) = fault.refusal() else { return self.no_answer(&step, fault) };
        let (reason, message) = match step {
            Step::Sign { role: signer, names } => (
                Reason::VaultRefused,
                format!(
                    "Vault refuses to sign with {}/sign/{signer} ({code}); its admin lets the policy of login role {role} \
                     update that path, and the role sign this kind of key for {names}",
                    settings.pki.mount
                ),
            ),
            Step::Revoke { serial } => (
                Reason::VaultRefused,
                format!(
                    "Vault refuses {}/revoke-with-key ({code}); its admin lets the policy of login role {role} update that \
                     path, and revokes the certificate {serial}",
                    settings.pki.mount
                ),
            ),
            Step::LogIn | Step::Answer => (
                Reason::VaultLoginRefused,
                format!(
                    "Vault refuses the login of ServiceAccount {}/{} ({code}); its admin makes role {role} of auth/{} with \
                     this account, this namespace and the audience {}",
                    identity.namespace, identity.account, settings.kubernetes_auth.mount, settings.audience
                ),
            ),
        };
        Problem { reason, message }
    }

    /// What does not depend on what was asked for.
    fn no_answer(&self, step: &Step, fault: &Fault) -> Problem {
        let address = self.address.as_str();
        let (reason, message) = match (fault, step) {
            (Fault::Status { code, .. }, _) => {
                (Reason::VaultUnreachable, format!("Vault at {address} answers {code}: {}", meaning(*code)))
            }
            (Fault::Silence, _) => (
                Reason::VaultUnreachable,
                format!(
                    "Vault at {address} does not answer; a platform admin looks at its address, caBundle and the network \
                     in between"
                ),
            ),
            // For example of one whose end has come by Vault's clock.
            (Fault::Foreign, Step::Revoke { serial }) => (
                Reason::VaultRefused,
                format!("Vault at {address} gives no time at which it revoked the certificate {serial}"),
            ),
            (Fault::Foreign, _) => (
                Reason::VaultRefused,
                format!(
                    "what answers at {address} is no Vault; a platform admin corrects the connection's address"
                ),
            ),
            (Fault::TooLong, _) => (
                Reason::VaultRefused,
                format!(
                    "what Vault at {address} answers is longer than 2 MiB and was not read; no Secret holds more than 1 MiB"
                ),
            ),
        };
        Problem { reason, message }
    }
}

/// What Vault means by it, and who mends it.
fn meaning(code: u16) -> &'static str {
    match code {
        300..=399 => {
            "it is a standby, or the address is not its own; a platform admin gives an address that leads to the active one, \
             whichever that is"
        }
        // A standby says it of its health only, which is never asked for.
        429 => {
            "too many requests; its admin raises its rate limit quota, or that of a proxy before it, if this lasts"
        }
        472..=474 => {
            "it is a standby that answers no requests; a platform admin gives an address that leads to the active one"
        }
        501 => "it is not initialized; its admin initializes it",
        503 => "it is sealed or overloaded; its admin unseals it",
        502 | 504 => "a proxy before it does not reach it; its admin looks whether it runs",
        _ => "an error of its own; its admin finds it in its log",
    }
}

/// Nobody can log in as an account that is not there.
pub fn no_account(Identity { namespace, account, .. }: &Identity) -> Problem {
    Problem {
        reason: Reason::VaultLoginRefused,
        message: format!(
            "there is no ServiceAccount {account}, with which the operator logs in to Vault; make it: kubectl create \
             serviceaccount {account} -n {namespace}, or a platform admin corrects kubernetesAuth.serviceAccount of the connection"
        ),
    }
}

/// The API server gave no token of the account.
pub fn no_token(identity: &Identity, answer: &str) -> Problem {
    Problem {
        reason: Reason::ApiError,
        message: format!(
            "no token of ServiceAccount {}, with which the operator logs in to Vault: the API server answers {answer}",
            identity.account
        ),
    }
}
