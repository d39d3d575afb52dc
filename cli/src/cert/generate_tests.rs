//! Tests of the certificate that is made, read back by another library than the one that made it.

use std::collections::BTreeSet;

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, ParsedExtension, X509Certificate};

use super::super::algorithm::Key;
use super::*;

const NOW: i64 = 1_800_000_000;

fn made(names: &[&str], key: &KeyPair, days: u16) -> Vec<u8> {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let (begin, end) = life(days, Timestamp::from_second(NOW).expect("now")).expect("life");
    params(&names, begin, end).expect("params").self_signed(key).expect("certificate").der().to_vec()
}

#[test]
fn it_is_a_servers_own_and_signs_nothing_else() {
    let key = new_key(Kind::EcdsaP256).expect("key");
    let der = made(&["localhost", "*.localhost", "127.0.0.1", "::1"], &key, 365);
    let (_, certificate) = X509Certificate::from_der(&der).expect("certificate");
    assert_eq!(certificate.subject().to_string(), "CN=localhost");
    assert_eq!(certificate.issuer().as_raw(), certificate.subject().as_raw());
    certificate.verify_signature(None).expect("signed by itself");
    let names = certificate.subject_alternative_name().expect("one").expect("names");
    assert!(!names.critical, "the subject is not empty");
    let expected = [
        GeneralName::DNSName("localhost"),
        GeneralName::DNSName("*.localhost"),
        GeneralName::IPAddress(&[127, 0, 0, 1]),
        GeneralName::IPAddress(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
    ];
    assert_eq!(names.value.general_names, expected);
    let constraints = certificate.basic_constraints().expect("one").expect("basicConstraints");
    assert!(constraints.critical && !constraints.value.ca);
    let usage = certificate.key_usage().expect("one").expect("keyUsage");
    assert!(usage.critical && usage.value.flags == 1, "digitalSignature only");
    let extended = certificate.extended_key_usage().expect("one").expect("extendedKeyUsage").value;
    assert!(extended.server_auth && !extended.client_auth && !extended.any && extended.other.is_empty());
    let identifiers: Vec<_> = certificate
        .iter_extensions()
        .filter_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0),
            ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0),
            _ => None,
        })
        .collect();
    assert!(identifiers.len() == 2 && identifiers[0] == identifiers[1], "{identifiers:?}");
}

#[test]
fn it_lives_exactly_its_days_and_begins_five_minutes_ago() {
    let key = new_key(Kind::EcdsaP256).expect("key");
    for days in [1, 365, 825] {
        let der = made(&["localhost"], &key, days);
        let (_, certificate) = X509Certificate::from_der(&der).expect("certificate");
        let [begin, end] =
            [certificate.validity().not_before, certificate.validity().not_after].map(|t| t.timestamp());
        assert_eq!(begin, NOW - 300);
        assert_eq!(end + 1 - begin, i64::from(days) * 86_400, "the last second is within");
    }
}

#[test]
fn serial_numbers_are_positive_long_and_never_the_same() {
    let serials: BTreeSet<Vec<u8>> = (0..100).map(|_| serial().expect("serial").to_bytes()).collect();
    assert_eq!(serials.len(), 100);
    for serial in &serials {
        assert!(serial.len() == 16 && (0x40..0x80).contains(&serial[0]), "{serial:02x?}");
    }
    let spread: BTreeSet<_> = serials.iter().map(|serial| serial[0]).collect();
    assert!(spread.len() > 10, "the first byte is random too: {spread:?}");
}

#[test]
fn every_kind_of_key_is_what_its_name_says() {
    for (kind, words, signature) in [
        (Kind::Rsa2048, "RSA, 2048 bits", "RSA with SHA-256"),
        (Kind::Rsa3072, "RSA, 3072 bits", "RSA with SHA-256"),
        (Kind::Rsa4096, "RSA, 4096 bits", "RSA with SHA-256"),
        (Kind::EcdsaP256, "ECDSA P-256", "ECDSA with SHA-256"),
        (Kind::EcdsaP384, "ECDSA P-384", "ECDSA with SHA-384"),
        (Kind::Ed25519, "Ed25519", "Ed25519"),
    ] {
        let der = made(&["localhost"], &new_key(kind).expect("key"), 365);
        let (_, certificate) = X509Certificate::from_der(&der).expect("certificate");
        let key = Key::of(certificate.public_key());
        assert!(key.good && key.words() == words, "{kind:?}: {key:?}");
        let found = super::super::algorithm::Signature::of(&certificate);
        assert!(found.good && found.name == signature, "{kind:?}: {found:?}");
        certificate.verify_signature(None).expect("signed by itself");
    }
}
