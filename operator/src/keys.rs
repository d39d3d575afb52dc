//! The operator's own keys: CA and HMAC. Created once; a lost one is reported and never replaced in silence.

use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
    jiff::Timestamp,
};
use kube::{Api, Client, api::PostParams};
use secrecy::{ExposeSecret, SecretSlice};

use crate::error::Error;
use crate::issuer::SecretValues;
use crate::pki::{self, Ca};

/// Secret with the CA's certificate and key.
pub const CA_SECRET: &str = "hardened-operator-ca";
/// Secret with the key of the restart hash.
pub const HMAC_SECRET: &str = "hardened-operator-hmac";
/// ConfigMap that remembers which keys were made: with it a lost Secret is told from a first start.
pub const KEY_IDS: &str = "hardened-operator-keys";

/// The keys in memory; no Debug, no Serialize.
pub struct Keys {
    /// Signs leaf certificates; `None` when its Secret is gone.
    pub ca: Option<Ca>,
    /// The CA's certificate (PEM), which clients go on trusting also when the key is gone.
    pub bundle: String,
    hmac: SecretSlice<u8>,
    hmac_id: String,
}

impl Keys {
    /// Reads the keys of the namespace, or makes them at the very first start. Two operators that start at once
    /// agree: the POST of one wins, the other reads.
    pub async fn load(client: &Client, namespace: &str, now: Timestamp) -> Result<Self, Error> {
        let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let markers: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
        let marker = markers.get_opt(KEY_IDS).await?;
        let first = marker.is_none();
        let ca = match secrets.get_opt(CA_SECRET).await? {
            None if first => Some(create(&secrets, CA_SECRET, pki::new_ca(now)?).await?),
            found => found,
        };
        let hmac = match secrets.get_opt(HMAC_SECRET).await? {
            None if first => create(&secrets, HMAC_SECRET, vec![("key", new_hmac_key()?)]).await?,
            None => return Err(Error::KeyLost(HMAC_SECRET)),
            Some(secret) => secret,
        };
        let ca = ca.map(|secret| Ca::from_secret(&secret)).transpose()?;
        let key = hmac.data.as_ref().and_then(|d| d.get("key")).filter(|k| k.0.len() >= 32);
        let key = key.ok_or(Error::KeyUnusable(HMAC_SECRET))?.0.clone();
        let hmac_id = fingerprint(&key);
        let recorded = marker.and_then(|m| m.data).unwrap_or_default();
        let bundle = ca.as_ref().map(|ca| &ca.pem).or(recorded.get("ca.crt")).cloned().unwrap_or_default();
        if first {
            let ids = ConfigMap {
                metadata: named(KEY_IDS),
                data: Some(
                    [
                        ("ca", ca.as_ref().map(|c| c.id.clone()).unwrap_or_default()),
                        ("ca.crt", bundle.clone()),
                        ("hmac", hmac_id.clone()),
                    ]
                    .map(|(k, v)| (k.to_owned(), v))
                    .into(),
                ),
                ..ConfigMap::default()
            };
            match markers.create(&params(), &ids).await {
                Err(kube::Error::Api(s)) if s.is_already_exists() => {}
                other => drop(other?),
            }
        } else if let Some(ca) = &ca
            && recorded.get("ca").is_some_and(|id| *id != ca.id)
        {
            tracing::warn!(
                ca = ca.id,
                recorded = recorded.get("ca"),
                "the CA differs from the one recorded at first start"
            );
        }
        Ok(Self { ca, bundle, hmac: SecretSlice::from(key), hmac_id })
    }

    /// `v1:KEYID:HMAC` over named inputs; it tells that something changed and gives nothing away about what (E2).
    pub fn restart_hash(&self, inputs: &[(&str, &[u8])]) -> String {
        self.hmac(inputs.iter().copied())
    }

    /// The same over the values of a TLS Secret of this service: who has not the key cannot seal others.
    pub fn seal(&self, service_uid: &str, values: &SecretValues) -> String {
        let purpose = [(crds::SEAL_ANNOTATION, service_uid.as_bytes())];
        self.hmac(purpose.into_iter().chain(values.inputs()))
    }

    fn hmac<'n, 'v>(&self, inputs: impl Iterator<Item = (&'n str, &'v [u8])>) -> String {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, self.hmac.expose_secret());
        let mut context = aws_lc_rs::hmac::Context::with_key(&key);
        for (name, value) in inputs {
            for part in [name.as_bytes(), value] {
                context.update(&(part.len() as u64).to_be_bytes());
                context.update(part);
            }
        }
        format!("v1:{}:{}", self.hmac_id, pki::hex(&context.sign().as_ref()[..16]))
    }
}

async fn create(
    secrets: &Api<Secret>,
    name: &'static str,
    data: Vec<(&str, Vec<u8>)>,
) -> Result<Secret, Error> {
    let secret = Secret {
        metadata: named(name),
        type_: Some("Opaque".into()),
        data: Some(data.into_iter().map(|(k, v)| (k.to_owned(), ByteString(v))).collect()),
        ..Secret::default()
    };
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

fn params() -> PostParams {
    PostParams { field_manager: Some(crds::MANAGER.into()), ..PostParams::default() }
}

fn new_hmac_key() -> Result<Vec<u8>, Error> {
    let mut key = vec![0; 32];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| Error::Random)?;
    Ok(key)
}

/// The first eight hex digits of a key's SHA-256: enough to tell keys apart, useless for anything else.
fn fingerprint(key: &[u8]) -> String {
    pki::hex(&aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key).as_ref()[..4])
}
