//! Tests of the parsing: which files hold what, and that no byte of a key is quoted.

use rcgen::KeyPair;

use super::super::recipe::Recipe;
use super::*;

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

fn half(text: &str) -> Option<Half> {
    key("key.pem", text.as_bytes()).map(|key| key.half)
}

#[test]
fn the_public_half_of_a_key_is_the_certificates() {
    let recipe = Recipe::new();
    let leaf = recipe.made().leaf;
    let (_, leaf) = x509_parser::parse_x509_certificate(&leaf).expect("leaf");
    let expected = leaf.public_key().subject_public_key.data.to_vec();
    let pem = recipe.key.serialize_pem();
    assert_eq!(half(&pem), Some(Half::Public(expected.clone())));
    assert_eq!(half(&format!("{CERTIFICATE}{pem}{CERTIFICATE}")), Some(Half::Public(expected)));
}

#[test]
fn a_key_that_no_server_could_load_is_told_from_none() {
    let pem = KeyPair::generate().expect("key").serialize_pem();
    let other = KeyPair::generate().expect("key").serialize_pem();
    assert_eq!(half(CERTIFICATE), None);
    assert_eq!(half(""), None);
    assert_eq!(half(&format!("{pem}{other}")), Some(Half::Unusable), "two keys");
    assert_eq!(half("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), Some(Half::Unusable));
    assert_eq!(half(&pem.replace("-----END", "----END")), Some(Half::Unusable), "cut off");
    let pkcs8 = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let pkcs1 = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n\
        -----END RSA PRIVATE KEY-----\n";
    assert_eq!([half(pkcs8), half(pkcs1)], [Some(Half::Encrypted), Some(Half::Encrypted)]);
}

#[test]
fn only_certificates_are_taken_and_without_one_the_way_from_der_is_told() {
    let key = KeyPair::generate().expect("key").serialize_pem();
    let found = certificates("a.pem", format!("text before\n{key}{CERTIFICATE}{CERTIFICATE}").as_bytes());
    assert_eq!(found.expect("certificates").len(), 2);
    for nothing in ["", "some text", &key, "\u{30}\u{3}"] {
        let error = certificates("a.pem", nothing.as_bytes()).expect_err("none").to_string();
        assert!(error.contains("a.pem holds no certificate") && error.contains("-inform der"), "{error}");
    }
}

#[test]
fn a_whole_store_is_no_chain() {
    chain("a.pem", CERTIFICATE.repeat(16).as_bytes()).expect("a long chain");
    let error = chain("a.pem", CERTIFICATE.repeat(17).as_bytes()).expect_err("too long").to_string();
    assert!(error.contains("17 certificates, more than the 16"), "{error}");
}

#[test]
fn errors_quote_no_byte_of_a_key() {
    let pem = KeyPair::generate().expect("key").serialize_pem();
    let line = pem.lines().nth(1).expect("a line");
    for broken in [
        pem.replace("-----END", "----END"),
        pem.replacen("-----BEGIN PRIVATE KEY-----\n", &format!("-----BEGIN PRIVATE KEY-----\n!{line}"), 1),
        format!("-----BEGIN {line}"),
    ] {
        // Whole, because a parser may quote bytes as numbers.
        let error = certificates("a.pem", format!("{CERTIFICATE}{broken}").as_bytes()).expect_err("broken");
        assert_eq!(format!("{error:#}"), "a.pem is broken PEM; put it there anew");
    }
}
