//! The keys of encrypted columns, derived from one secret. They travel to Postgres as bound values, never as SQL text.

use std::fmt;

use aws_lc_rs::{hkdf, hmac};
use secrecy::{ExposeSecret as _, SecretString};
use thiserror::Error;

use crate::headers::hex;

/// Below this a key can be guessed.
const SHORTEST: usize = 32;

/// Keys for one purpose each (HKDF, RFC 5869), so that a digest tells nothing of the column key.
pub struct Keys {
    column: SecretString,
    digest: hmac::Key,
}

/// `ENCRYPTION_KEY` is no key.
#[derive(Debug, Error)]
#[error("ENCRYPTION_KEY: shorter than {SHORTEST} characters; make one with: openssl rand -base64 32")]
pub struct TooShort;

struct Length;

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        32
    }
}

impl Keys {
    /// Derives the keys.
    pub fn derive(secret: &SecretString) -> Result<Self, TooShort> {
        let secret = secret.expose_secret().trim();
        if secret.len() < SHORTEST {
            return Err(TooShort);
        }
        let source = hkdf::Salt::new(hkdf::HKDF_SHA256, b"api-server").extract(secret.as_bytes());
        let column = part(&source, b"column").map(|key| hex(&key));
        let digest = part(&source, b"email digest").map(|key| hmac::Key::new(hmac::HMAC_SHA256, &key));
        // HKDF fails for lengths above 255 hashes only.
        Ok(Self { column: column.ok_or(TooShort)?.into(), digest: digest.ok_or(TooShort)? })
    }

    /// The passphrase of `pgp_sym_encrypt`.
    pub fn column(&self) -> &SecretString {
        &self.column
    }

    /// What an address is found by. Addresses that differ in case are one.
    pub fn email_digest(&self, email: &str) -> Vec<u8> {
        hmac::sign(&self.digest, email.to_lowercase().as_bytes()).as_ref().to_vec()
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

fn part(source: &hkdf::Prk, purpose: &[u8]) -> Option<[u8; 32]> {
    let mut key = [0; 32];
    source.expand(&[purpose], Length).ok()?.fill(&mut key).ok()?;
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(secret: &str) -> Result<Keys, TooShort> {
        Keys::derive(&secret.to_owned().into())
    }

    #[test]
    fn one_address_in_any_case_has_one_digest_and_another_key_another_one() {
        let (one, two) = (keys(&"a".repeat(32)).unwrap(), keys(&"b".repeat(32)).unwrap());
        assert_eq!(one.email_digest("A@example.com"), one.email_digest("a@EXAMPLE.com"));
        assert_ne!(one.email_digest("a@example.com"), one.email_digest("b@example.com"));
        assert_ne!(one.email_digest("a@example.com"), two.email_digest("a@example.com"));
        assert_ne!(one.column().expose_secret(), two.column().expose_secret());
    }

    #[test]
    fn a_short_key_is_refused_and_no_key_is_shown() {
        assert!(keys(&"a".repeat(31)).is_err());
        assert_eq!(format!("{:?}", keys(&"a".repeat(32)).unwrap()), "Keys");
    }
}
