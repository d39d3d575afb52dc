//! The keys of encrypted columns, derived from one secret, and from a second one while it takes the first one's place. They
//! travel to Postgres as bound values, never as SQL text.

use std::fmt;

use aws_lc_rs::{hkdf, hmac};
use secrecy::{ExposeSecret as _, SecretString};
use thiserror::Error;

use crate::{headers::hex, secrets::Secrets};

/// The secret that new rows are encrypted with.
pub const CURRENT: &str = "ENCRYPTION_KEY";
/// The secret that rows may still be encrypted with.
pub const PREVIOUS: &str = "ENCRYPTION_KEY_PREVIOUS";

/// Below this a key can be guessed.
const SHORTEST: usize = 32;

/// The key that is written with, and another one that is read with while there are rows of it.
pub struct Keys {
    current: Key,
    previous: Option<Key>,
}

/// A secret's keys for one purpose each (HKDF, RFC 5869), so that a digest tells nothing of the column key.
struct Key {
    id: [u8; 8],
    column: SecretString,
    digest: hmac::Key,
}

/// With what rows are read: those that say that they are of the key `id` with `its`, all others with `otherwise`.
#[derive(Clone, Copy)]
pub struct Reading<'a> {
    /// A key's fingerprint, where there are two keys.
    pub id: Option<&'a [u8]>,
    /// That key.
    pub its: Option<&'a str>,
    /// The other one.
    pub otherwise: &'a str,
}

/// A secret is no key.
#[derive(Debug, Error)]
#[error("{0}: shorter than {SHORTEST} characters; make one with: openssl rand -base64 32")]
pub struct TooShort(&'static str);

struct Length<const N: usize>;

impl<const N: usize> hkdf::KeyType for Length<N> {
    fn len(&self) -> usize {
        N
    }
}

impl Keys {
    /// The keys that the secrets give; nothing without `ENCRYPTION_KEY`.
    pub fn read(secrets: &Secrets) -> Result<Option<Self>, TooShort> {
        let Some(current) = secrets.get(CURRENT) else { return Ok(None) };
        Self::derive(&current, secrets.get(PREVIOUS).as_ref()).map(Some)
    }

    /// Derives the keys.
    pub fn derive(current: &SecretString, previous: Option<&SecretString>) -> Result<Self, TooShort> {
        let current = Key::derive(CURRENT, current)?;
        let previous = previous.map(|secret| Key::derive(PREVIOUS, secret)).transpose()?;
        // The same one twice is one: nothing is to be told apart.
        let previous = previous.filter(|previous| previous.id != current.id);
        Ok(Self { current, previous })
    }

    /// The passphrase of `pgp_sym_encrypt`.
    pub fn column(&self) -> &SecretString {
        &self.current.column
    }

    /// The fingerprint that goes with it.
    pub fn id(&self) -> &[u8] {
        &self.current.id
    }

    /// The fingerprint of the key before.
    pub fn previous_id(&self) -> Option<&[u8]> {
        Some(&self.previous.as_ref()?.id)
    }

    /// What an address is found by from now on. Addresses that differ in case are one.
    pub fn email_digest(&self, email: &str) -> Vec<u8> {
        self.current.email_digest(email)
    }

    /// What an address may be found by: one digest of each key.
    pub fn email_digests(&self, email: &str) -> Vec<Vec<u8>> {
        [&self.current].into_iter().chain(&self.previous).map(|key| key.email_digest(email)).collect()
    }

    /// How to read a row, and how to read it where that cannot decrypt it. The two differ only in rows that do not say their
    /// key. Where there are two keys, such a row is nearly always of the previous one.
    pub fn readings(&self) -> (Reading<'_>, Option<Reading<'_>>) {
        let current = self.current.column.expose_secret();
        let Some(previous) = &self.previous else {
            return (Reading { id: None, its: None, otherwise: current }, None);
        };
        let before = previous.column.expose_secret();
        (
            Reading { id: Some(&self.current.id), its: Some(current), otherwise: before },
            Some(Reading { id: Some(&previous.id), its: Some(before), otherwise: current }),
        )
    }
}

impl Key {
    fn derive(name: &'static str, secret: &SecretString) -> Result<Self, TooShort> {
        let secret = secret.expose_secret().trim();
        if secret.len() < SHORTEST {
            return Err(TooShort(name));
        }
        let source = hkdf::Salt::new(hkdf::HKDF_SHA256, b"api-server").extract(secret.as_bytes());
        let column = part::<32>(&source, b"column").map(|key| hex(&key));
        let digest = part::<32>(&source, b"email digest").map(|key| hmac::Key::new(hmac::HMAC_SHA256, &key));
        let id = part(&source, b"key id");
        // HKDF fails for lengths above 255 hashes only.
        let too_short = || TooShort(name);
        Ok(Self {
            id: id.ok_or_else(too_short)?,
            column: column.ok_or_else(too_short)?.into(),
            digest: digest.ok_or_else(too_short)?,
        })
    }

    fn email_digest(&self, email: &str) -> Vec<u8> {
        hmac::sign(&self.digest, email.to_lowercase().as_bytes()).as_ref().to_vec()
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

fn part<const N: usize>(source: &hkdf::Prk, purpose: &[u8]) -> Option<[u8; N]> {
    let mut key = [0; N];
    source.expand(&[purpose], Length::<N>).ok()?.fill(&mut key).ok()?;
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(current: &str, previous: Option<&str>) -> Result<Keys, TooShort> {
        let previous = previous.map(|secret| secret.to_owned().into());
        Keys::derive(&current.to_owned().into(), previous.as_ref())
    }

    #[test]
    fn one_address_in_any_case_has_one_digest_and_another_key_another_one() {
        let (one, two) = (keys(&"a".repeat(32), None).unwrap(), keys(&"b".repeat(32), None).unwrap());
        assert_eq!(one.email_digest("A@example.com"), one.email_digest("a@EXAMPLE.com"));
        assert_ne!(one.email_digest("a@example.com"), one.email_digest("b@example.com"));
        assert_ne!(one.email_digest("a@example.com"), two.email_digest("a@example.com"));
        assert_ne!(one.column().expose_secret(), two.column().expose_secret());
        assert_ne!(one.id(), two.id());
    }

    #[test]
    fn a_short_key_is_refused_by_name_and_no_key_is_shown() {
        let (short, long) = ("a".repeat(31), "a".repeat(32));
        assert!(keys(&short, None).unwrap_err().to_string().starts_with("ENCRYPTION_KEY:"));
        let previous = keys(&long, Some(&short)).unwrap_err().to_string();
        assert!(previous.starts_with("ENCRYPTION_KEY_PREVIOUS:"), "{previous}");
        assert_eq!(format!("{:?}", keys(&long, None).unwrap()), "Keys");
    }

    #[test]
    fn a_key_has_one_fingerprint_of_which_its_other_parts_are_no_part() {
        let keys = keys(&"a".repeat(32), None).unwrap();
        // Written down: another fingerprint would make every row one of a foreign key.
        assert_eq!(hex(keys.id()), "71c636ed3ff16846");
        assert!(!keys.column().expose_secret().contains(&hex(keys.id())));
    }

    #[test]
    fn the_same_key_twice_is_one_and_two_are_read_in_either_order() {
        let (a, b) = ("a".repeat(32), "b".repeat(32));
        let twice = keys(&a, Some(&a)).unwrap();
        assert!(twice.readings().1.is_none() && twice.email_digests("a@example.com").len() == 1);
        let both = keys(&b, Some(&a)).unwrap();
        let (first, second) = both.readings();
        let second = second.unwrap();
        assert_eq!((first.its, first.otherwise), (Some(second.otherwise), second.its.unwrap()));
        assert_eq!((first.id, second.id), (Some(both.id()), both.previous_id()));
        let alone = |secret| keys(secret, None).unwrap().email_digest("a@example.com");
        assert_eq!(both.email_digests("a@example.com"), [alone(&b), alone(&a)]);
    }
}
