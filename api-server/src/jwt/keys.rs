//! The service's own keys: one to sign with, and those of before, which only check. They follow the secrets; what is
//! refused leaves the last good ones in force.

use std::sync::Arc;

use arc_swap::ArcSwap;
use jsonwebtoken::jwk::JwkSet;
use secrecy::{ExposeSecret as _, SecretString};
use thiserror::Error;

use super::key::{KeyError, PublicKey, SigningKey};
use crate::{config::Environment, secrets::Secrets};

const SIGNING: &str = "JWT_SIGNING_KEY";
const PREVIOUS: &str = "JWT_PREVIOUS_KEYS";
/// More former keys than anybody keeps.
const MOST_PREVIOUS: usize = 16;

/// Which secret is refused and why; nothing of its value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{secret} {reason}")]
pub struct KeysError {
    secret: &'static str,
    reason: KeyError,
}

/// The keys in force.
#[derive(Debug)]
pub struct KeySet {
    signing: Option<Arc<SigningKey>>,
    previous: Vec<PublicKey>,
    published: String,
}

impl KeySet {
    /// Reads what the secrets hold; `spare` signs where they hold no key for that.
    fn read(
        signing: Option<&SecretString>,
        previous: Option<&SecretString>,
        spare: Option<&Arc<SigningKey>>,
    ) -> Result<Self, KeysError> {
        let refused = |secret| move |reason| KeysError { secret, reason };
        let signing = match signing {
            Some(text) => {
                Some(Arc::new(SigningKey::from_pem(text.expose_secret()).map_err(refused(SIGNING))?))
            }
            None => spare.cloned(),
        };
        let previous = previous.map(|text| PublicKey::all_from_pem(text.expose_secret())).transpose();
        let previous = previous.map_err(refused(PREVIOUS))?.unwrap_or_default();
        if previous.len() > MOST_PREVIOUS {
            return Err(refused(PREVIOUS)(KeyError::Many));
        }
        let own = signing.as_ref().map(|key| key.public());
        let others = previous.iter().filter(|key| own.is_none_or(|own| own.kid() != key.kid()));
        let keys = own.into_iter().chain(others).map(|key| key.jwk().clone()).collect();
        // A set of strings cannot fail to become JSON.
        let published = serde_json::to_string(&JwkSet { keys }).unwrap_or_default();
        Ok(Self { signing, previous, published })
    }

    /// The key of that name.
    pub fn find(&self, kid: &str) -> Option<&PublicKey> {
        let own = self.signing.as_ref().map(|key| key.public());
        own.into_iter().chain(&self.previous).find(|key| key.kid() == kid)
    }

    /// The key to sign with.
    pub fn signing(&self) -> Option<Arc<SigningKey>> {
        self.signing.clone()
    }

    /// The public keys as a JWK Set.
    pub fn published(&self) -> &str {
        &self.published
    }
}

/// The own keys, which may change while the service runs.
#[derive(Debug)]
pub struct OwnKeys {
    current: ArcSwap<KeySet>,
    /// Signs in development where no key is given.
    spare: Option<Arc<SigningKey>>,
}

impl OwnKeys {
    /// Reads the secrets.
    pub fn new(environment: Environment, secrets: &Secrets) -> Result<Self, KeysError> {
        let (signing, previous) = (secrets.get(SIGNING), secrets.get(PREVIOUS));
        let spare = match environment {
            Environment::Development if signing.is_none() => {
                tracing::warn!(
                    "{SIGNING} is not set: signing with a new key, tokens do not survive a restart"
                );
                let key = SigningKey::generate().map_err(|reason| KeysError { secret: SIGNING, reason })?;
                Some(Arc::new(key))
            }
            _ => None,
        };
        let keys = KeySet::read(signing.as_ref(), previous.as_ref(), spare.as_ref())?;
        Ok(Self { current: ArcSwap::from_pointee(keys), spare })
    }

    /// The keys in force.
    pub fn current(&self) -> Arc<KeySet> {
        self.current.load_full()
    }

    /// Takes other keys. What is refused changes nothing.
    fn take(&self, signing: Option<&SecretString>, previous: Option<&SecretString>) {
        match KeySet::read(signing, previous, self.spare.as_ref()) {
            Ok(keys) if keys.published == self.current.load().published => {}
            Ok(keys) => {
                let kid = keys.signing.as_ref().map(|key| key.public().kid().to_owned());
                tracing::info!(kid, previous = keys.previous.len(), "token keys changed, new ones in force");
                self.current.store(Arc::new(keys));
            }
            Err(error) => tracing::error!(%error, "token keys refused, last good ones stay in force"),
        }
    }

    /// Follows the secrets for as long as there are any.
    pub async fn follow(&self, secrets: &Secrets) {
        secrets
            .each_change(|| self.take(secrets.get(SIGNING).as_ref(), secrets.get(PREVIOUS).as_ref()))
            .await;
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256, SignatureAlgorithm};
    use serde_json::Value;

    use super::*;

    fn pair(algorithm: &'static SignatureAlgorithm) -> KeyPair {
        KeyPair::generate_for(algorithm).unwrap()
    }

    fn secret(text: &str) -> SecretString {
        text.into()
    }

    fn read(signing: &str, previous: &str) -> Result<KeySet, KeysError> {
        KeySet::read(Some(&secret(signing)), Some(&secret(previous)).filter(|_| !previous.is_empty()), None)
    }

    fn own(signing: &str) -> OwnKeys {
        OwnKeys { current: ArcSwap::from_pointee(read(signing, "").unwrap()), spare: None }
    }

    fn kid(keys: &KeySet) -> String {
        keys.signing().unwrap().public().kid().to_owned()
    }

    #[test]
    fn both_kinds_of_key_are_read_and_only_their_public_part_is_published() {
        for algorithm in [&PKCS_ED25519, &PKCS_RSA_SHA256] {
            let (now, before) = (pair(algorithm), pair(algorithm));
            let keys = read(&now.serialize_pem(), &before.public_key_pem()).unwrap();
            let set: Value = serde_json::from_str(keys.published()).unwrap();
            let set = set["keys"].as_array().unwrap();
            assert_eq!(set.len(), 2);
            assert_eq!(set[0]["kid"], kid(&keys));
            for key in set {
                let names: Vec<_> = key.as_object().unwrap().keys().map(String::as_str).collect();
                let public = ["alg", "crv", "e", "kid", "kty", "n", "use", "x"];
                assert!(names.iter().all(|name| public.contains(name)), "{names:?}");
                assert!(keys.find(key["kid"].as_str().unwrap()).is_some());
            }
        }
    }

    #[test]
    fn a_former_private_key_only_checks_and_the_key_in_force_stands_once() {
        let (now, before) = (pair(&PKCS_ED25519).serialize_pem(), pair(&PKCS_ED25519).serialize_pem());
        let keys = read(&now, &format!("{now}\n{before}")).unwrap();
        let set: Value = serde_json::from_str(keys.published()).unwrap();
        assert_eq!(set["keys"].as_array().unwrap().len(), 2);
        assert_eq!(kid(&keys), kid(&read(&now, "").unwrap()));
        assert!(keys.find(&kid(&read(&before, "").unwrap())).is_some());
    }

    #[test]
    fn a_bad_key_is_refused_by_name_and_without_its_text() {
        let good = pair(&PKCS_ED25519);
        let (ec, text) = (pair(&PKCS_ECDSA_P256_SHA256).serialize_pem(), good.serialize_pem());
        let cut = text.replacen('M', "", 1);
        for (signing, previous, secret, reason) in [
            ("hunter2", "", SIGNING, KeyError::Pem),
            (&*good.public_key_pem(), "", SIGNING, KeyError::Public),
            (&*format!("{text}{text}"), "", SIGNING, KeyError::Many),
            (&*ec, "", SIGNING, KeyError::Kind),
            (&*text, "hunter2", PREVIOUS, KeyError::Pem),
            (&*text, &*ec, PREVIOUS, KeyError::Kind),
            (&*text, &*text.repeat(17), PREVIOUS, KeyError::Many),
        ] {
            let error = read(signing, previous).map(|_| ()).unwrap_err();
            assert_eq!(error, KeysError { secret, reason });
            assert!(!error.to_string().contains("hunter2") && error.to_string().starts_with(secret));
        }
        assert!(read(&cut, "").is_err());
    }

    #[test]
    fn a_new_key_takes_over_and_a_bad_one_changes_nothing() {
        let (first, second) = (pair(&PKCS_ED25519).serialize_pem(), pair(&PKCS_ED25519).serialize_pem());
        let keys = own(&first);
        let (old, new) = (kid(&keys.current()), kid(&read(&second, "").unwrap()));
        keys.take(Some(&secret("hunter2")), None);
        assert_eq!(kid(&keys.current()), old);
        keys.take(Some(&secret(&second)), Some(&secret(&first)));
        assert_eq!(kid(&keys.current()), new);
        assert!(keys.current().find(&old).is_some(), "its tokens still count");
        keys.take(Some(&secret(&second)), None);
        assert!(keys.current().find(&old).is_none(), "taken out of the previous keys: revoked");
        keys.take(None, None);
        assert!(keys.current().signing().is_none());
    }

    #[test]
    fn only_development_signs_with_a_key_that_nobody_gave() {
        let empty = Secrets::from_environment();
        assert!(OwnKeys::new(Environment::Production, &empty).unwrap().current().signing().is_none());
        assert!(OwnKeys::new(Environment::Staging, &empty).unwrap().current().signing().is_none());
        let keys = OwnKeys::new(Environment::Development, &empty).unwrap();
        let spare = kid(&keys.current());
        keys.take(None, None);
        assert_eq!(kid(&keys.current()), spare);
        keys.take(Some(&secret(&pair(&PKCS_ED25519).serialize_pem())), None);
        assert_ne!(kid(&keys.current()), spare);
    }

    #[test]
    fn debug_shows_no_key() {
        let pair = pair(&PKCS_ED25519);
        let shown = format!("{:?}", own(&pair.serialize_pem()));
        let der = format!("{:?}", pair.serialized_der());
        assert!(!shown.contains(&der[1..60]) && shown.contains("redacted"), "{shown}");
    }
}
