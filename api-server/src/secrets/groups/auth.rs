//! The keys that tokens are signed with: their form and size. It signs nothing.

use aws_lc_rs::{
    rsa::KeyPair as RsaKeyPair,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject as _};
use secrecy::{ExposeSecret as _, SecretString};

use super::Group;
use crate::{
    config::Environment,
    secrets::{Problem, Secrets},
};

const SIGNING: &str = "JWT_SIGNING_KEY";
const PREVIOUS: &str = "JWT_PREVIOUS_KEYS";

/// 2048 bits: the least that RFC 7518 section 3.3 allows for RS256.
const RSA_BYTES: usize = 256;

/// The keys of tokens.
#[derive(Clone, Debug)]
pub struct Auth {
    /// The private key that signs, PEM.
    pub signing_key: SecretString,
    /// Keys of earlier tokens that are still believed, PEM.
    pub previous_keys: Option<SecretString>,
}

impl Group for Auth {
    const NAME: &'static str = "auth";
    const NEEDS: &'static [&'static str] = &[SIGNING];
    const MAY: &'static [&'static str] = &[PREVIOUS];

    fn take(secrets: &Secrets, _: Environment, problems: &mut Vec<Problem>) -> Option<Self> {
        let (signing_key, previous_keys) = (secrets.peek(SIGNING), secrets.peek(PREVIOUS));
        let fix = "make one with `openssl genpkey -algorithm ed25519`";
        if let Some(problem) = signing_key.as_ref().and_then(|key| fault(key.expose_secret())) {
            problems.push(Problem::new(SIGNING, problem, fix));
        }
        let is_pem = |keys: &SecretString| keys.expose_secret().trim_start().starts_with("-----BEGIN ");
        if previous_keys.as_ref().is_some_and(|keys| !is_pem(keys)) {
            problems.push(Problem::new(
                PREVIOUS,
                "holds no PEM",
                "put the earlier keys into it, one after the other",
            ));
        }
        Some(Self { signing_key: signing_key?, previous_keys })
    }
}

/// What is wrong with a private key. A key that can be parsed is no word from an example; its size is what is left.
fn fault(pem: &str) -> Option<&'static str> {
    let Ok(PrivateKeyDer::Pkcs8(key)) = PrivateKeyDer::from_pem_slice(pem.as_bytes()) else {
        return Some("is no private key in PEM (PKCS#8)");
    };
    let der = key.secret_pkcs8_der();
    if Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).is_ok() {
        return None;
    }
    match RsaKeyPair::from_pkcs8(der) {
        Ok(pair) if pair.public_key().modulus_len() >= RSA_BYTES => None,
        Ok(_) => Some("is an RSA key below 2048 bits"),
        Err(_) => Some("is neither an Ed25519 key nor an RSA key from 2048 bits on"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::groups::tests::accepted;

    fn at(key: &str) -> [bool; 3] {
        accepted::<Auth>(&[(SIGNING, key)])
    }

    #[test]
    fn a_key_that_cannot_sign_is_refused_everywhere() {
        let ed25519 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
        let p256 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        assert_eq!(at(&ed25519), [true; 3]);
        assert_eq!(at("kX2v9QmTz7LrB4nYw8HcJ5sDf1GpA6eU"), [false; 3]);
        assert_eq!(at(&p256.serialize_pem()), [false; 3]);
        assert_eq!(at(&p256.public_key_pem()), [false; 3]);
        assert_eq!(accepted::<Auth>(&[(SIGNING, &ed25519), (PREVIOUS, "words")]), [false; 3]);
        assert_eq!(accepted::<Auth>(&[(PREVIOUS, &ed25519)]), [false; 3], "a part of a group");
    }
}
