//! Tests of the checks of the files: each spoils one thing and must fail exactly one check.

use rcgen::KeyPair;
use secrecy::ExposeSecret;

use super::recipe::{DAY, Files, NOW, Recipe, at, block, checks, dns, message, spoilt};
use super::*;

#[test]
fn a_good_pair_passes_byte_for_byte_and_ends_with_its_leaf() {
    let files = Recipe::new().made();
    let provided = files.look(&files.chain(), Some(&files.root)).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(provided.pair.certificate, files.chain());
    assert_eq!(provided.pair.key.expose_secret(), files.key);
    assert_eq!(provided.ca_bundle.lines().collect::<Vec<_>>(), files.root.lines().collect::<Vec<_>>());
    assert_eq!(provided.leaf.not_after.as_second(), NOW + 90 * DAY);
    assert_eq!(provided.until.map(Timestamp::as_second), Some(NOW + 90 * DAY + 1));
}

#[test]
fn every_encoding_and_kind_of_key_that_the_workload_loads_is_accepted() {
    for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
        let key = KeyPair::generate_for(algorithm).expect("key");
        assert_eq!(spoilt(|r| r.key = key), [""; 0]);
    }
    let key = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).expect("key");
    let pkcs8 = key.serialize_der();
    let mut files = Recipe { key, ..Recipe::new() }.made();
    assert_eq!(files.failed(), [""; 0], "PKCS#8");
    // In PKCS#8 the key itself follows 26 bytes that say that it is RSA (RFC 5208).
    files.key = block("RSA PRIVATE KEY", &pkcs8[26..]);
    assert_eq!(files.failed(), [""; 0], "PKCS#1");
    let key = KeyPair::generate().expect("key");
    // Here it is 36 bytes in: without the public key it is the scalar alone (RFC 5915).
    let scalar = key.serialize_der()[36..68].to_vec();
    let mut files = Recipe { key, ..Recipe::new() }.made();
    let head = [0x30, 0x31, 0x02, 0x01, 0x01, 0x04, 0x20];
    let curve = [0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    let sec1 = block("EC PRIVATE KEY", &[&head[..], &scalar, &curve].concat());
    files.key =
        format!("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n{sec1}");
    assert_eq!(files.failed(), [""; 0], "SEC1, as openssl ecparam -genkey writes it");
}

#[test]
fn type_is_checked_first() {
    let files = Files { type_: "Opaque", key: "no key".into(), ..Recipe::new().made() };
    assert_eq!(files.failed(), ["type"]);
    assert!(message(files.look("", None)).contains("kubectl create secret tls"));
}

#[test]
fn too_many_bytes_or_certificates_fail_size() {
    let files = Recipe::new().made();
    let many = format!("{}{}", files.chain(), files.root.repeat(MOST[0]));
    assert_eq!(checks(files.look(&many, None)), ["size"]);
    let long = format!("{}{}", files.chain(), " ".repeat(LARGEST[0]));
    assert_eq!(checks(files.look(&long, None)), ["size"]);
    assert_eq!(checks(files.look(&files.chain(), Some(&files.root.repeat(MOST[1] + 1)))), ["size"]);
    let key = format!("{}{}", files.key, " ".repeat(LARGEST[1]));
    assert_eq!(Files { key, ..files }.failed(), ["size"]);
}

#[test]
fn what_cannot_be_read_fails_parsable_and_is_not_quoted() {
    let files = Recipe::new().made();
    let parsable = |files: &Files| {
        let result = files.look(&files.chain(), Some(&files.root));
        let text = message(result);
        assert!(text.starts_with("check parsable: ") && !text.contains(". check "), "{text}");
        for line in files.key.lines().filter(|line| line.len() > 8 && !line.starts_with('-')) {
            assert!(!text.contains(line), "{text}");
        }
    };
    let half = |text: &str| text[..text.len() / 2].to_owned();
    let encrypted = files.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let broken = files.leaf.replacen("MII", "MIA", 1);
    let no_end = files.key.split("-----END").next().unwrap_or_default().to_owned();
    for key in [String::new(), "hello".into(), half(&files.key), files.key.repeat(2), encrypted, no_end] {
        parsable(&Files { key, ..files.clone() });
    }
    let garbage = block("PRIVATE KEY", b"secret garbage that is no key");
    parsable(&Files { key: garbage, ..files.clone() });
    for leaf in [half(&files.leaf), broken, format!("{}{}", files.leaf, files.key)] {
        parsable(&Files { leaf, ..files.clone() });
    }
    parsable(&Files { leaf: String::new(), middle: String::new(), ..files.clone() });
    parsable(&Files { root: "no PEM".into(), ..files.clone() });
    let trusted = files.root.replace("CERTIFICATE", "TRUSTED CERTIFICATE");
    parsable(&Files { root: format!("{}{trusted}", files.root), ..files.clone() });
    let slipped = Files { root: format!("{}{}", files.root, files.key), ..files };
    parsable(&slipped);
    let text = message(slipped.look(&slipped.chain(), Some(&slipped.root)));
    assert!(text.contains("ca.crt holds something else than certificates"), "{text}");
}

#[test]
fn the_key_of_another_fails_key_match() {
    let other = KeyPair::generate().expect("key").serialize_pem();
    assert_eq!(Files { key: other, ..Recipe::new().made() }.failed(), ["keyMatch"]);
}

#[test]
fn several_faults_are_told_at_once_in_the_order_of_the_checks() {
    let mut recipe = Recipe::new();
    recipe.leaf.not_after = at(-1);
    recipe.leaf.subject_alt_names = vec![dns("other.example.com")];
    let files = recipe.made();
    let text = message(files.look(&files.chain(), Some(&files.root)));
    assert!(text.starts_with("check names: ") && text.contains(". check expiry: "), "{text}");
}
