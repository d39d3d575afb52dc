//! Certificates for the tests of the checks: a good chain of three, made from parameters that a test spoils.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use k8s_openapi::ByteString;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType, SignatureAlgorithm,
};
use time::OffsetDateTime;

use super::*;

pub const NOW: i64 = 1_800_000_000;
pub const DAY: i64 = 86_400;

/// What the Secret of a test is made of; a test spoils one field.
pub struct Recipe {
    pub root: CertificateParams,
    pub middle: CertificateParams,
    pub leaf: CertificateParams,
    pub key: KeyPair,
}

/// The files that come of it.
#[derive(Clone)]
pub struct Files {
    pub type_: &'static str,
    pub leaf: String,
    pub middle: String,
    pub root: String,
    pub key: String,
}

pub fn params(name: &str, end: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = at(-DAY);
    params.not_after = at(end);
    params
}

pub fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(NOW + seconds).expect("time")
}

pub fn authority(name: &str, end: i64) -> CertificateParams {
    let mut params = params(name, end);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

pub fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().expect("name"))
}

impl Recipe {
    pub fn new() -> Self {
        let mut leaf = params("studio", 90 * DAY);
        leaf.subject_alt_names = vec![dns("studio.example.com"), dns("*.apps.example.com")];
        leaf.is_ca = IsCa::ExplicitNoCa;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        Self {
            root: authority("root", 3650 * DAY),
            middle: authority("middle", 1825 * DAY),
            leaf,
            key: KeyPair::generate().expect("key"),
        }
    }

    pub fn made(self) -> Files {
        let key = self.key.serialize_pem();
        Files { key, ..self.for_key(&self.key) }
    }

    /// With a leaf of some public key.
    pub fn for_key(&self, key: &impl PublicKeyData) -> Files {
        let [root_key, middle_key] = [(); 2].map(|()| KeyPair::generate().expect("key"));
        let root = self.root.self_signed(&root_key).expect("root");
        let root_issuer = Issuer::from_params(&self.root, &root_key);
        let middle = self.middle.signed_by(&middle_key, &root_issuer).expect("middle");
        let leaf = self.leaf.signed_by(key, &Issuer::from_params(&self.middle, &middle_key)).expect("leaf");
        let (leaf, middle, root) = (leaf.pem(), middle.pem(), root.pem());
        Files { type_: TYPE, leaf, middle, root, key: String::new() }
    }
}

pub struct PublicKey(pub Vec<u8>, pub &'static SignatureAlgorithm);

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }
    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.1
    }
}

impl Files {
    pub fn chain(&self) -> String {
        format!("{}{}", self.leaf, self.middle)
    }

    pub fn look(&self, chain: &str, ca: Option<&str>) -> Result<Provided, Refusal> {
        look(self.type_, chain, &self.key, ca)
    }

    /// The failed checks, with leaf and intermediate as chain and the root as `ca.crt`.
    pub fn failed(&self) -> Vec<&'static str> {
        checks(self.look(&self.chain(), Some(&self.root)))
    }
}

pub fn look(type_: &str, chain: &str, key: &str, ca: Option<&str>) -> Result<Provided, Refusal> {
    let data = [("tls.crt", Some(chain)), ("tls.key", Some(key)), ("ca.crt", ca)];
    let data = data.into_iter().filter_map(|(k, v)| Some((k.to_owned(), ByteString(v?.as_bytes().to_vec()))));
    let secret = Secret {
        type_: Some(type_.into()),
        data: Some(data.collect::<BTreeMap<_, _>>()),
        ..Secret::default()
    };
    examine(&secret, &wanted(), now())
}

pub fn now() -> Timestamp {
    Timestamp::from_second(NOW).expect("time")
}

pub fn wanted() -> Wanted {
    Wanted {
        client_names: vec!["studio.example.com".into()],
        own_names: vec!["studio".into(), "studio.team.svc".into(), "studio.example.com".into()],
        allowed_hosts: vec![
            "studio.example.com".into(),
            "*.apps.example.com".into(),
            "*.team.example".into(),
        ],
    }
}

pub fn checks(result: Result<Provided, Refusal>) -> Vec<&'static str> {
    let failures = result.err().map(|refusal| refusal.failures).unwrap_or_default();
    failures.iter().map(|failure| failure.check.as_str()).collect()
}

pub fn message(result: Result<Provided, Refusal>) -> String {
    result.err().map(|refusal| refusal.to_string()).unwrap_or_default()
}

pub fn spoilt(spoil: impl FnOnce(&mut Recipe)) -> Vec<&'static str> {
    let mut recipe = Recipe::new();
    spoil(&mut recipe);
    recipe.made().failed()
}

pub fn block(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64_STANDARD.encode(der))
}
