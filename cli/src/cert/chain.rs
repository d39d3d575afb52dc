//! The chain: which certificate signed which, and what is wrong with their order. Pure.

use x509_parser::prelude::X509Certificate;

use super::algorithm::{Key, Signature};
use super::report::{Check, Finding, numbered};

/// The certificates as they stand there, and how they hang together.
pub struct Chain<'a> {
    pub certificates: Vec<X509Certificate<'a>>,
    /// Who signed each.
    pub links: Vec<Option<Link>>,
    /// From the leaf upwards, as far as it goes; never empty.
    pub path: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    pub by: usize,
    /// Otherwise only the names fit: the kind of signature or key cannot be verified here, and is reported as weak.
    pub verified: bool,
}

impl<'a> Chain<'a> {
    /// The leaf is the certificate of this public key, or the first.
    pub fn new(certificates: Vec<X509Certificate<'a>>, key: Option<&[u8]>) -> Self {
        let is_keys = |certificate: &X509Certificate<'_>| {
            key == Some(&*certificate.public_key().subject_public_key.data)
        };
        let leaf = certificates.iter().position(is_keys).unwrap_or(0);
        let links: Vec<_> = (0..certificates.len()).map(|i| link(&certificates, i)).collect();
        let mut path = vec![leaf];
        while let Some(link) = links[path[path.len() - 1]].filter(|link| !path.contains(&link.by)) {
            path.push(link.by);
        }
        Self { certificates, links, path }
    }

    pub fn leaf(&self) -> &X509Certificate<'a> {
        &self.certificates[self.path[0]]
    }

    pub fn findings(&self) -> Vec<Finding> {
        let all = &self.certificates;
        let name = |index: usize| numbered(all, index);
        let mut findings = Vec::new();
        if self.path.len() == all.len() && !self.path.is_sorted() {
            let order: Vec<_> = self.path.iter().map(|i| (i + 1).to_string()).collect();
            let fix = format!("put the leaf first, and after each one its issuer: {}", order.join(", "));
            findings.push(Finding::new(Check::Order, "the certificates are out of order", fix));
        }
        if let Some(index) = self.path[1..].iter().find(|index| !may_sign(&all[**index])) {
            let problem = format!(
                "{} signed another, but may sign none (basicConstraints CA, keyUsage keyCertSign)",
                name(*index)
            );
            findings.push(Finding::new(Check::Chain, problem, "have the leaf issued by a real authority"));
        }
        findings.extend(self.stray());
        findings
    }

    /// The first certificate that the path does not reach.
    fn stray(&self) -> Option<Finding> {
        let all = &self.certificates;
        let stray = (0..all.len()).find(|index| !self.path.contains(index))?;
        let is_root =
            |index: usize| all[index].is_ca() && self.links[index].is_some_and(|link| link.by == index);
        if (0..all.len()).all(is_root) {
            // A bundle of anchors, as a file for clients during a rotation.
            return None;
        }
        let last = self.path[self.path.len() - 1];
        let (last_name, stray_name) = (numbered(all, last), numbered(all, stray));
        if all[last].issuer().as_raw() == all[stray].subject().as_raw() && self.links[last].is_none() {
            let problem =
                format!("{last_name} names {stray_name} as its issuer, but the signature is of another key");
            return Some(Finding::new(
                Check::Chain,
                problem,
                "put the certificate there of the key that signed it",
            ));
        }
        let why =
            if self.links[last].is_some() { "is signed by itself" } else { "is signed by no other here" };
        let problem = format!("{last_name} {why}, so that {stray_name} is no part of the chain");
        Some(Finding::new(Check::Chain, problem, "put what is missing between the two, or remove the latter"))
    }
}

fn link(all: &[X509Certificate<'_>], index: usize) -> Option<Link> {
    // Itself, then as they stand in the file.
    let mut others = (index..all.len()).chain(0..index);
    others.find_map(|by| signed(&all[index], &all[by]).map(|verified| Link { by, verified }))
}

/// Whether one signed the other: none when it did not, false when nobody can tell.
pub fn signed(certificate: &X509Certificate<'_>, by: &X509Certificate<'_>) -> Option<bool> {
    if certificate.issuer().as_raw() != by.subject().as_raw() {
        return None;
    }
    if certificate.verify_signature(Some(by.public_key())).is_ok() {
        return Some(true);
    }
    let verifiable = Signature::of(certificate).good && Key::of(by.public_key()).good;
    (!verifiable).then_some(false)
}

fn may_sign(certificate: &X509Certificate<'_>) -> bool {
    let usage = certificate.key_usage();
    certificate.is_ca() && usage.is_ok_and(|usage| usage.is_none_or(|usage| usage.value.key_cert_sign()))
}
