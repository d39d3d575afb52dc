//! Pieces of secrets as they could show somewhere, and the places where others would see them. It judges nothing.

use anyhow::{Result, ensure};
use k8s_openapi::ByteString;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use render::Kind;
use serde_json::json;
use x509_parser::pem::parse_x509_pem;

use crate::cluster::Cluster;
use crate::fixture::Service;

/// As much of a secret as nobody writes by accident.
const PIECE: usize = 12;

/// Everything in the namespace that others may read.
pub async fn objects(cluster: &Cluster, service: &Service) -> Result<Vec<(&'static str, String)>> {
    let events = Api::<Event>::namespaced(cluster.client.clone(), &service.namespace)
        .list(&ListParams::default())
        .await?;
    ensure!(!events.items.is_empty(), "no events to search");
    let mut texts = vec![("events", serde_json::to_string(&events.items)?)];
    for (kind, child) in service.children().await? {
        if kind != Kind::Secret {
            texts.push((kind.as_str(), child.to_string()));
        }
    }
    Ok(texts)
}

/// Pieces of what is secret in a key.
pub fn pieces(key: &[u8]) -> Vec<String> {
    match scalar(key) {
        Some(scalar) => [forms(&scalar), forms(&key[78..120])].concat(),
        None => forms(key),
    }
}

/// The same where bytes are stored as they are: also pieces of what is in a PEM, or of a key that is none.
pub fn bytes(key: &[u8]) -> Vec<Vec<u8>> {
    let raw = scalar(key).unwrap_or_else(|| key.to_vec());
    let raw = raw.chunks_exact(PIECE).map(<[u8]>::to_vec);
    pieces(key).into_iter().map(String::into_bytes).chain(raw).collect()
}

/// What is secret in a PEM of P-256 (RFC 5915 in RFC 5208): what stands before it is the same in every key, and what
/// follows is public.
fn scalar(key: &[u8]) -> Option<Vec<u8>> {
    let (_, pem) = parse_x509_pem(key).ok()?;
    Some(pem.contents[36..68].to_vec())
}

/// Pieces of bytes as text, as base64 (as in the JSON of a Secret), as hexadecimal and as Debug prints bytes.
fn forms(bytes: &[u8]) -> Vec<String> {
    let base64 = json!(ByteString(bytes.to_vec()));
    let hex = bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    let texts = [base64.as_str().unwrap_or_default().trim_end_matches('='), &*hex].map(str::to_owned);
    let lines = String::from_utf8(bytes.to_vec()).unwrap_or_default();
    let texts = texts.into_iter().chain(lines.lines().map(str::to_owned));
    let mut all: Vec<_> = texts.flat_map(|text| cut(&text)).collect();
    all.extend(bytes.chunks_exact(PIECE / 2).map(|chunk| format!("{chunk:?}").replace(['[', ']'], "")));
    all
}

fn cut(text: &str) -> Vec<String> {
    text.as_bytes().chunks_exact(PIECE).map(|piece| String::from_utf8_lossy(piece).into_owned()).collect()
}
