//! The operator's own keys: CA and HMAC. Created once; a lost one is reported and never replaced in silence.

use std::{collections::BTreeMap, sync::Arc};

use crds::{CA_SECRET, HMAC_SECRET, KEY_IDS};
use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
    jiff::Timestamp,
};
use kube::{Api, Client, api::PostParams};
use secrecy::{ExposeSecret, SecretSlice};

use crate::authority::{self, Authority};
use crate::error::Error;
use crate::issuer::SecretValues;
use crate::pki;

/// The keys in memory; no Debug, no Serialize.
pub struct Keys {
    /// Signs leaf certificates; `None` when its Secret is gone.
    pub authority: Option<Authority>,
    /// The CA's certificate (PEM), which clients go on trusting also when the key is gone.
    pub bundle: String,
    hmac: Arc<Hmac>,
}

struct Hmac {
    key: SecretSlice<u8>,
    id: String,
}

/// What [`KEY_IDS`] holds.
pub type Ids = BTreeMap<String, String>;

impl Keys {
    /// Reads the keys of the namespace, or makes them at the very first start. Two operators that start at once
    /// agree: the POST of one wins, the other reads.
    pub async fn load(client: &Client, namespace: &str, now: Timestamp) -> Result<Self, Error> {
        let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let markers: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
        let marker = markers.get_opt(KEY_IDS).await?;
        let first = marker.is_none();
        let ca = match secrets.get_opt(CA_SECRET).await? {
            None if first => Some(create(&secrets, CA_SECRET, authority::first(now)?).await?),
            found => found,
        };
        let hmac = match secrets.get_opt(HMAC_SECRET).await? {
            None if first => {
                let data = [("key".to_owned(), ByteString(new_hmac_key()?))].into();
                create(&secrets, HMAC_SECRET, data).await?
            }
            None => return Err(Error::KeyLost(HMAC_SECRET)),
            Some(secret) => secret,
        };
        let key = hmac.data.as_ref().and_then(|d| d.get("key")).filter(|k| k.0.len() >= 32);
        let key = key.ok_or(Error::KeyUnusable(HMAC_SECRET))?.0.clone();
        let hmac = Arc::new(Hmac { id: fingerprint(&key), key: SecretSlice::from(key) });
        let recorded = marker.and_then(|m| m.data).unwrap_or_default();
        // Only until there is a CA: without one clients go on trusting what was recorded.
        let bundle = recorded.get("ca.crt").cloned().unwrap_or_default();
        let keys = Self { authority: None, bundle, hmac }.with_ca(ca.as_ref())?;
        if first {
            let ids = ConfigMap { metadata: named(KEY_IDS), data: Some(keys.ids()), ..ConfigMap::default() };
            match markers.create(&params(), &ids).await {
                Err(kube::Error::Api(s)) if s.is_already_exists() => {}
                other => drop(other?),
            }
        } else if keys.authority.is_some() && recorded != keys.ids() {
            tracing::warn!(
                recorded = recorded.get("ca"),
                "the keys are others than those that were recorded"
            );
            keys.record(client, namespace).await?;
        }
        Ok(keys)
    }

    /// The same keys with the CA of this Secret. Without one clients go on trusting what they trusted.
    pub fn with_ca(&self, secret: Option<&Secret>) -> Result<Self, Error> {
        let authority = secret.map(Authority::of).transpose()?;
        let bundle = authority.as_ref().map_or_else(|| self.bundle.clone(), Authority::bundle);
        Ok(Self { authority, bundle, hmac: self.hmac.clone() })
    }

    /// Differs when passes have to do something about the CA.
    pub fn epoch(&self) -> String {
        self.authority.as_ref().map(Authority::epoch).unwrap_or_default()
    }

    /// What tells these keys from others. Without a CA what was recorded of it stays.
    pub fn ids(&self) -> Ids {
        let ca = self.authority.as_ref().map(|authority| authority.ca.id.clone());
        let all =
            [("ca", ca.unwrap_or_default()), ("ca.crt", self.bundle.clone()), ("hmac", self.hmac.id.clone())];
        all.map(|(key, value)| (key.to_owned(), value)).into()
    }

    /// Records what became of the CA, if that is something new.
    pub async fn record(&self, client: &Client, namespace: &str) -> Result<(), Error> {
        let markers: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
        let Some(mut marker) = markers.get_opt(KEY_IDS).await? else { return Ok(()) };
        let recorded = marker.data.replace(self.ids());
        if self.authority.is_some() && recorded != marker.data {
            markers.replace(KEY_IDS, &params(), &marker).await?;
        }
        Ok(())
    }

    /// `v1:KEYID:HMAC` over named inputs; it tells that something changed and gives nothing away about what (E2).
    pub fn restart_hash(&self, inputs: &[(&str, &[u8])]) -> String {
        self.hmac(inputs.iter().copied())
    }

    /// The same over the values of a TLS Secret of this service, and over what was asked for to get them, which follows
    /// after a blank: who has not the key cannot seal others.
    pub fn seal(&self, service_uid: &str, values: &SecretValues, asked: &str) -> String {
        let purpose = [(crds::SEAL_ANNOTATION, service_uid.as_bytes())].into_iter().chain(values.inputs());
        if asked.is_empty() {
            return self.hmac(purpose);
        }
        format!("{} {asked}", self.hmac(purpose.chain([("asked", asked.as_bytes())])))
    }

    /// The same over the values of `spec.secrets` of this service.
    pub fn seal_values<'v>(
        &self,
        service_uid: &'v str,
        values: impl Iterator<Item = (&'v str, &'v [u8])>,
    ) -> String {
        self.hmac([("values of", service_uid.as_bytes())].into_iter().chain(values))
    }

    /// The same over certificates that clients of this service trust for a while, as long as the operator's CA is this one.
    pub fn seal_bundle(&self, service_uid: &str, bundle: &str, ca: &str) -> String {
        let inputs = [("bundle of", service_uid), ("ca.crt", bundle), ("ca", ca)];
        self.hmac(inputs.into_iter().map(|(name, value)| (name, value.as_bytes())))
    }

    fn hmac<'n, 'v>(&self, inputs: impl Iterator<Item = (&'n str, &'v [u8])>) -> String {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, self.hmac.key.expose_secret());
        let mut context = aws_lc_rs::hmac::Context::with_key(&key);
        for (name, value) in inputs {
            for part in [name.as_bytes(), value] {
                context.update(&(part.len() as u64).to_be_bytes());
                context.update(part);
            }
        }
        format!("v1:{}:{}", self.hmac.id, pki::hex(&context.sign().as_ref()[..16]))
    }
}

async fn create(
    secrets: &Api<Secret>,
    name: &'static str,
    data: BTreeMap<String, ByteString>,
) -> Result<Secret, Error> {
    let secret =
        Secret { metadata: named(name), type_: Some("Opaque".into()), data: Some(data), ..Secret::default() };
    match secrets.create(&params(), &secret).await {
        Err(kube::Error::Api(s)) if s.is_already_exists() => Ok(secrets.get(name).await?),
        other => Ok(other?),
    }
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.into()),
        labels: Some([("app.kubernetes.io/managed-by".to_owned(), crds::MANAGER.to_owned())].into()),
        ..ObjectMeta::default()
    }
}

/// Every write of the operator's own objects carries its name.
pub fn params() -> PostParams {
    PostParams { field_manager: Some(crds::MANAGER.into()), ..PostParams::default() }
}

fn new_hmac_key() -> Result<Vec<u8>, Error> {
    let mut key = vec![0; 32];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| Error::Random)?;
    Ok(key)
}

/// The first eight hex digits of a key's SHA-256: enough to tell keys apart, useless for anything else.
fn fingerprint(key: &[u8]) -> String {
    pki::hex(&pki::sha256(key)[..4])
}
