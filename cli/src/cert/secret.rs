//! The certificate of a Secret. It reads one Secret and shows none of its values but certificates.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;

use super::material::{self, Anchors, Half, Key, Material};
use crate::cluster::{client, plain};

/// Reads `tls.crt`, `tls.key` and `ca.crt`.
pub async fn read(name: &str, namespace: Option<&str>, context: Option<&str>) -> Result<Material> {
    ensure!(!name.is_empty() && !name.contains('/'), "TARGET secret/NAME needs the name of a Secret");
    let (client, default) = client(context).await?;
    let namespace = namespace.unwrap_or(&default);
    let secrets = Api::<Secret>::namespaced(client, namespace);
    let secret = secrets.get_opt(name).await.map_err(plain)?;
    of(name, &secret.with_context(|| format!("the namespace {namespace} has no Secret {name}"))?)
}

fn of(name: &str, secret: &Secret) -> Result<Material> {
    let value = |key| secret.data.as_ref().and_then(|data| data.get(key)).map(|value| value.0.as_slice());
    let place = |key| format!("{key} of secret/{name}");
    let certificate = value("tls.crt").with_context(|| format!("secret/{name} has no tls.crt"))?;
    let chain = material::chain(&place("tls.crt"), certificate)?;
    let key = value("tls.key").and_then(|bytes| material::key(&place("tls.key"), bytes));
    // A Secret with a tls.crt is for a server, which needs the key.
    let key = key.unwrap_or_else(|| Key { place: place("tls.key"), half: Half::Unusable });
    let anchors = value("ca.crt").filter(|bytes| !bytes.is_empty()).map(|bytes| {
        let certificates = material::certificates(&place("ca.crt"), bytes)?;
        anyhow::Ok(Anchors { place: place("ca.crt"), certificates })
    });
    Ok(Material {
        target: format!("secret/{name}"),
        chain,
        key: Some(key),
        anchors: anchors.transpose()?,
        name: None,
        connection: None,
    })
}
