//! A certificate is revoked by whoever has its key. By its serial number a policy would let one tenant revoke the
//! certificates of all others of the mount.

use kube::Client;
use rustify::{
    endpoint::Endpoint,
    enums::{RequestMethod, RequestType, ResponseType},
    errors::ClientError,
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use vaultrs::api::pki::responses::RevokeCertificateResponse;

use super::{Connection, Failure, words::Step};
use crate::cache::Key;

/// A certificate that is used no more, and its key; no Debug.
pub struct Proof {
    /// The certificate (PEM).
    pub certificate: String,
    /// Its key (PEM). Vault, which is known by its certificate, gets to see it.
    pub key: SecretString,
    /// Its serial number, for words.
    pub serial: String,
}

impl Connection {
    /// Has it revoked, as the service's own account. One that is revoked already is a success.
    pub async fn revoke(&self, client: &Client, service: &Key, proof: Proof) -> Result<(), Failure> {
        let step = Step::Revoke { serial: proof.serial.clone() };
        let request = RevokeWithKey { mount: self.settings.pki.mount.clone(), proof };
        self.ask(client, service, step, request).await.map(drop)
    }
}

/// `POST MOUNT/revoke-with-key`, which vaultrs does not have.
struct RevokeWithKey {
    mount: String,
    proof: Proof,
}

impl Endpoint for RevokeWithKey {
    type Response = RevokeCertificateResponse;
    const REQUEST_BODY_TYPE: RequestType = RequestType::JSON;
    const RESPONSE_BODY_TYPE: ResponseType = ResponseType::JSON;

    fn path(&self) -> String {
        format!("{}/revoke-with-key", self.mount)
    }

    fn method(&self) -> RequestMethod {
        RequestMethod::POST
    }

    fn body(&self) -> Result<Option<Vec<u8>>, ClientError> {
        let Proof { certificate, key, .. } = &self.proof;
        let body = json!({"certificate": certificate, "private_key": key.expose_secret()});
        Ok(Some(body.to_string().into_bytes()))
    }
}
