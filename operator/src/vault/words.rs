//! What a Vault's answer makes the operator say. Vault's own texts are left out: they may repeat what they were sent.

use crds::Reason;
use render::Problem;
use rustify::errors::ClientError as Rest;
use vaultrs::error::ClientError;

use super::Connection;
use crate::cache::Key;

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

/// What came of a request.
enum Answer {
    /// Vault says no.
    No(u16),
    /// Vault cannot say anything now.
    Busy(u16),
    /// Something that Vault does not say.
    Other,
    /// Nothing.
    Silence,
}

impl Connection {
    /// What is wrong, and what to do. Without an error it is an answer that cannot be used.
    pub fn explain(&self, step: Step, service: &Key, error: Option<&ClientError>) -> Problem {
        let (address, settings, role) = (self.address.as_str(), &self.settings, self.login_role(service));
        let answer = if matches!(step, Step::Answer) { Answer::Silence } else { answer(error) };
        let (reason, message) = match (answer, step) {
            (Answer::Silence, _) => (
                Reason::VaultUnreachable,
                format!(
                    "Vault at {address} does not answer; a platform admin looks at its address, caBundle and the network \
                     in between"
                ),
            ),
            (Answer::Busy(code), _) => (
                Reason::VaultUnreachable,
                format!(
                    "Vault at {address} answers {code}: it is sealed, a standby or overloaded; its admin mends it"
                ),
            ),
            // For example of one whose end has come by Vault's clock.
            (Answer::Other, Step::Revoke { serial }) => (
                Reason::VaultRefused,
                format!("Vault at {address} gives no time at which it revoked the certificate {serial}"),
            ),
            (Answer::Other, _) => (
                Reason::VaultRefused,
                format!(
                    "what answers at {address} is no Vault; a platform admin corrects the connection's address"
                ),
            ),
            (Answer::No(code), Step::Sign { role: signer, names }) => (
                Reason::VaultRefused,
                format!(
                    "Vault refuses to sign with {}/sign/{signer} ({code}); its admin lets the policy of login role {role} \
                     update that path, and the role sign this kind of key for {names}",
                    settings.pki.mount
                ),
            ),
            (Answer::No(code), Step::Revoke { serial }) => (
                Reason::VaultRefused,
                format!(
                    "Vault refuses {}/revoke-with-key ({code}); its admin lets the policy of login role {role} update that \
                     path, and revokes the certificate {serial}",
                    settings.pki.mount
                ),
            ),
            (Answer::No(code), Step::LogIn | Step::Answer) => (
                Reason::VaultRefused,
                format!(
                    "Vault refuses the login of ServiceAccount {}/{} ({code}); its admin makes role {role} of auth/{} with \
                     this account, this namespace and the audience {}",
                    service.namespace, service.name, settings.kubernetes_auth.mount, settings.audience
                ),
            ),
        };
        Problem { reason, message }
    }
}

fn answer(error: Option<&ClientError>) -> Answer {
    use ClientError::{APIError, ResponseDataEmptyError, ResponseEmptyError, RestClientError};
    match error {
        Some(APIError { code, .. } | RestClientError { source: Rest::ServerResponseError { code, .. } }) => {
            match code {
                429 | 500.. => Answer::Busy(*code),
                _ => Answer::No(*code),
            }
        }
        None
        | Some(
            ResponseEmptyError
            | ResponseDataEmptyError
            | RestClientError { source: Rest::ResponseParseError { .. } },
        ) => Answer::Other,
        Some(_) => Answer::Silence,
    }
}

/// The API server gave no token of the account.
pub fn no_token(service: &Key, answer: &str) -> Problem {
    Problem {
        reason: Reason::ApiError,
        message: format!(
            "no token of ServiceAccount {}, with which the operator logs in to Vault: the API server answers {answer}",
            service.name
        ),
    }
}
