//! What a TLS Secret holds of a Vault: which connection gave it, and the proof with which it can be revoked.

use k8s_openapi::{api::core::v1::Secret, jiff::Timestamp};

use super::{kept, text};
use crate::{keys::Keys, vault::Proof};

/// A certificate that a Vault gave. The seal tells whose; the spec may name something else by now, or be unreadable.
pub struct Given {
    /// Name of the connection.
    pub connection: String,
    /// The certificate with its key.
    pub proof: Proof,
    /// End of its life.
    pub end: Timestamp,
}

impl Given {
    /// Nothing unless it was sealed for the service with this uid as from a Vault.
    pub fn read(keys: &Keys, uid: &str, secret: &Secret) -> Option<Self> {
        let kept::Own { content, asked, .. } = kept::sealed(keys, uid, secret)?;
        let (connection, _) = asked.strip_prefix("vaultPki/")?.split_once('/')?;
        let (certificate, key) = (text(secret, "tls.crt")?, content.values.key()?);
        let proof = Proof { certificate, key, serial: colons(&content.leaf.serial) };
        Some(Self { connection: connection.to_owned(), proof, end: content.leaf.not_after })
    }
}

/// A serial number as Vault writes it.
fn colons(serial: &str) -> String {
    let bytes = serial.as_bytes().chunks(2).map(String::from_utf8_lossy);
    bytes.skip_while(|byte| byte == "00").collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_number_is_shown_as_vault_takes_it() {
        assert_eq!(colons("00e5107f00"), "e5:10:7f:00");
        assert_eq!(colons("0a01"), "0a:01");
    }
}
