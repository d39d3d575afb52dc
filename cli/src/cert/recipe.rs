//! Certificates for the tests: a good chain of three, made from parameters that a test spoils.

use k8s_openapi::jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType, SignatureAlgorithm,
};
use rustls::pki_types::{CertificateDer, ServerName};
use time::OffsetDateTime;

use super::examine::examine;
use super::material::{self, Anchors, Material};
use super::report::Check;

pub const NOW: i64 = 1_800_000_000;
pub const DAY: i64 = 86_400;

/// What a chain is made of; a test spoils one field.
pub struct Recipe {
    pub root: CertificateParams,
    pub middle: CertificateParams,
    pub leaf: CertificateParams,
    pub key: KeyPair,
}

/// The certificates that come of it.
#[derive(Clone)]
pub struct Made {
    pub leaf: CertificateDer<'static>,
    pub middle: CertificateDer<'static>,
    pub root: CertificateDer<'static>,
}

pub fn now() -> Timestamp {
    Timestamp::from_second(NOW).expect("time")
}

pub fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(NOW + seconds).expect("time")
}

fn params(name: &str, end: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (at(-DAY), at(end));
    params
}

fn authority(name: &str, end: i64) -> CertificateParams {
    let mut params = params(name, end);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

impl Recipe {
    pub fn new() -> Self {
        let mut leaf = params("studio", 90 * DAY);
        leaf.subject_alt_names = ["studio.example.com", "*.apps.example.com"]
            .map(|name| SanType::DnsName(name.try_into().expect("name")))
            .into();
        leaf.subject_alt_names.push(SanType::IpAddress([10, 0, 0, 1].into()));
        leaf.is_ca = IsCa::ExplicitNoCa;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let (root, middle) = (authority("root", 3650 * DAY), authority("middle", 1825 * DAY));
        Self { root, middle, leaf, key: KeyPair::generate().expect("key") }
    }

    /// With one part spoilt.
    pub fn but(spoil: impl FnOnce(&mut Self)) -> Self {
        let mut recipe = Self::new();
        spoil(&mut recipe);
        recipe
    }

    pub fn made(&self) -> Made {
        self.made_for(&self.key)
    }

    /// With a leaf of some public key.
    pub fn made_for(&self, key: &impl PublicKeyData) -> Made {
        let [root_key, middle_key] = [(); 2].map(|()| KeyPair::generate().expect("key"));
        let root = self.root.self_signed(&root_key).expect("root");
        let issuer = Issuer::from_params(&self.root, &root_key);
        let middle = self.middle.signed_by(&middle_key, &issuer).expect("middle");
        let leaf = self.leaf.signed_by(key, &Issuer::from_params(&self.middle, &middle_key)).expect("leaf");
        Made { leaf: leaf.into(), middle: middle.into(), root: root.into() }
    }

    /// As a client sees it that trusts the root.
    pub fn material(&self) -> Material {
        self.made().material(Some(&self.key))
    }
}

impl Made {
    pub fn material(self, key: Option<&KeyPair>) -> Material {
        let key = key.and_then(|key| material::key("key.pem", key.serialize_pem().as_bytes()));
        Material {
            target: "tls.crt".into(),
            chain: vec![self.leaf, self.middle],
            key,
            anchors: Some(Anchors { place: "ca.crt".into(), certificates: vec![self.root] }),
            name: Some(name("studio.example.com")),
            connection: None,
        }
    }
}

/// A public key without its private half.
pub struct PublicKey(pub Vec<u8>, pub &'static SignatureAlgorithm);

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }
    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.1
    }
}

pub fn name(name: &str) -> ServerName<'static> {
    ServerName::try_from(name.to_owned()).expect("name")
}

/// The checks that found something.
pub fn checks(material: &Material) -> Vec<Check> {
    examine(material, now()).expect("report").findings.into_iter().map(|finding| finding.check).collect()
}

/// The one problem, and its fix.
pub fn problem(material: &Material) -> String {
    let findings = examine(material, now()).expect("report").findings;
    assert_eq!(findings.len(), 1, "{findings:?}");
    format!("{}; {}", findings[0].problem, findings[0].fix)
}
