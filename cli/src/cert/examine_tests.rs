//! Tests of the judgement: what is good passes, and each thing that is wrong is found by its own check.

use rcgen::{BasicConstraints, IsCa, Issuer, KeyPair, SanType};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::super::recipe::{DAY, NOW, PublicKey, Recipe, at, checks, now, problem};
use super::super::report::Connection;
use super::*;

fn spoilt(spoil: impl FnOnce(&mut Recipe)) -> Vec<Check> {
    checks(&Recipe::but(spoil).material())
}

#[test]
fn a_good_chain_with_its_key_has_no_findings_and_is_told_in_full() {
    let report = examine(&Recipe::new().material(), now()).expect("report");
    assert!(report.ok && report.findings.is_empty(), "{:?}", report.findings);
    let [leaf, middle] = report.certificates.as_slice() else { panic!("two certificates") };
    assert_eq!((leaf.subject.as_str(), leaf.issuer.as_str()), ("CN=studio", "CN=middle"));
    assert_eq!((leaf.signed_by, leaf.signature_verified, leaf.authority), (Some(2), true, false));
    assert_eq!((middle.signed_by, middle.signature_verified, middle.authority), (None, false, true));
    assert_eq!(leaf.names, ["studio.example.com", "*.apps.example.com", "10.0.0.1"]);
    let life = [leaf.not_before, leaf.not_after].map(|time| time.to_string());
    assert_eq!(
        (life, leaf.days_left),
        (["2027-01-14T08:00:00Z", "2027-04-15T08:00:00Z"].map(Into::into), 90)
    );
    assert_eq!((leaf.key.words().as_str(), leaf.signature.as_str()), ("ECDSA P-256", "ECDSA with SHA-256"));
    assert_eq!(report.private_key.expect("key").matches, Some(true));
    assert!(report.trust.expect("trust").trusted && report.name.expect("name").covered);
}

#[test]
fn each_certificate_must_live_now_to_its_last_second() {
    assert_eq!(spoilt(|r| r.leaf.not_after = at(0)), [], "the last second is within");
    assert_eq!(spoilt(|r| r.leaf.not_before = at(0)), [], "the first second is within");
    assert_eq!(spoilt(|r| r.leaf.not_after = at(-1)), [Check::Expiry]);
    assert_eq!(spoilt(|r| r.leaf.not_before = at(1)), [Check::Expiry]);
    assert_eq!(spoilt(|r| r.middle.not_after = at(-1)), [Check::Expiry]);
    assert_eq!(spoilt(|r| r.middle.not_before = at(1)), [Check::Expiry]);
    assert_eq!(spoilt(|r| r.root.not_after = at(-1)), [Check::Expiry]);
    let recipe = Recipe::but(|r| r.root.not_after = at(-1));
    let (made, mut material) = (recipe.made(), recipe.material());
    material.anchors.as_mut().expect("anchors").certificates = vec![made.root.clone()];
    material.chain = vec![made.leaf, made.middle, made.root];
    assert_eq!(checks(&material), [Check::Expiry], "an anchor in the chain is told once");
    let ended = Recipe::but(|r| (r.leaf.not_before, r.leaf.not_after) = (at(-9 * DAY), at(-3 * DAY)));
    let ended = problem(&ended.material());
    assert!(
        ended.starts_with("certificate 1 (CN=studio) ended on 2027-01-12 08:00 UTC, 3 days ago"),
        "{ended}"
    );
    let early = problem(&Recipe::but(|r| r.leaf.not_before = at(DAY)).material());
    assert!(early.starts_with("certificate 1 (CN=studio) begins only on 2027-01-16 08:00 UTC"), "{early}");
    let report = examine(&Recipe::but(|r| r.leaf.not_after = at(-1)).material(), now()).expect("report");
    assert_eq!(report.certificates[0].days_left, -1);
}

#[test]
fn a_key_of_another_certificate_is_found() {
    let other = KeyPair::generate().expect("key");
    let mut material = Recipe::new().made().material(Some(&other));
    assert_eq!(checks(&material), [Check::KeyMatch]);
    assert_eq!(examine(&material, now()).expect("report").private_key.expect("key").matches, Some(false));
    for (half, expected) in [
        (Half::Encrypted, &[Check::KeyMatch][..]),
        (Half::Unusable, &[Check::KeyMatch]),
        (Half::Unread("it is another user's".into()), &[]),
    ] {
        material.key = Some(Key { place: "key.pem".into(), half });
        assert_eq!(checks(&material), expected);
        assert_eq!(examine(&material, now()).expect("report").private_key.expect("key").matches, None);
    }
}

#[test]
fn the_order_and_the_links_of_the_chain_are_verified() {
    let recipe = Recipe::new();
    let (made, stranger) = (recipe.made(), Recipe::new().made());
    let of = |chain: &[&rustls::pki_types::CertificateDer<'static>]| {
        let chain = chain.iter().map(|der| (*der).clone()).collect();
        Material { chain, anchors: None, ..made.clone().material(Some(&recipe.key)) }
    };
    for good in [&[&made.leaf][..], &[&made.leaf, &made.middle], &[&made.leaf, &made.middle, &made.root]] {
        assert_eq!(checks(&of(good)), []);
    }
    let order = problem(&of(&[&made.root, &made.leaf, &made.middle]));
    assert!(order.contains("out of order") && order.contains("each one its issuer: 2, 3, 1"), "{order}");
    // The same names, and other keys.
    let foreign = problem(&of(&[&made.leaf, &stranger.middle]));
    assert!(
        foreign.contains("names certificate 2 (CN=middle) as its issuer, but the signature is of another"),
        "{foreign}"
    );
    let gap = problem(&of(&[&made.leaf, &made.root]));
    assert!(gap.contains("certificate 1 (CN=studio) is signed by no other here"), "{gap}");
    let after = problem(&of(&[&made.leaf, &made.middle, &made.root, &stranger.leaf]));
    assert!(after.contains("certificate 3 (CN=root) is signed by itself, so that certificate 4"), "{after}");
    let report = examine(&of(&[&made.leaf, &made.middle, &made.root]), now()).expect("report");
    let links: Vec<_> =
        report.certificates.iter().map(|all| (all.signed_by, all.signature_verified)).collect();
    assert_eq!(links, [(Some(2), true), (Some(3), true), (Some(3), true)]);
}

#[test]
fn anchors_side_by_side_are_no_broken_chain() {
    let roots = vec![Recipe::new().made().root, Recipe::new().made().root];
    let material = Recipe::new().material();
    let bundle = Material { chain: roots, key: None, anchors: None, name: None, ..material };
    assert_eq!(checks(&bundle), []);
}

#[test]
fn who_is_no_authority_may_not_sign() {
    let chain = |spoil: fn(&mut Recipe)| Material { anchors: None, ..Recipe::but(spoil).material() };
    assert_eq!(checks(&chain(|r| r.middle.is_ca = IsCa::ExplicitNoCa)), [Check::Chain]);
    let no_usage = |r: &mut Recipe| r.middle.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    assert_eq!(checks(&chain(no_usage)), [Check::Chain]);
    assert_eq!(checks(&chain(|r| r.middle.key_usages.clear())), [], "without keyUsage nothing is forbidden");
}

#[test]
fn keys_and_signatures_that_clients_refuse_are_found() {
    let p521 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).expect("key");
    let found = problem(&Recipe::but(|r| r.key = p521).material());
    assert!(
        found.contains("clients refuse (ECDSA P-521); make a key of RSA of 2048 to 8192 bits"),
        "{found}"
    );
    // An RSA key of 1024 bits: SEQUENCE of modulus and exponent 65537 (RFC 8017, A.1.1).
    let modulus = [vec![0x02, 0x81, 0x81, 0x00], vec![0xc5; 128]].concat();
    let rsa = [vec![0x30, 0x81, 0x89], modulus, vec![0x02, 0x03, 0x01, 0x00, 0x01]].concat();
    let made = Recipe::new().made_for(&PublicKey(rsa, &rcgen::PKCS_RSA_SHA256));
    let mut material = made.material(None);
    material.key = Some(Key { place: "key.pem".into(), half: Half::Unusable });
    let found = problem(&material);
    assert!(found.contains("RSA, 1024 bits"), "{found}");
}

#[test]
fn a_signature_by_sha_1_or_md5_is_found_except_a_roots_own() {
    let key = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).expect("key");
    let recipe = Recipe::new();
    let root = recipe.root.self_signed(&key).expect("root");
    let leaf = recipe.leaf.signed_by(&recipe.key, &Issuer::from_params(&recipe.root, &key)).expect("leaf");
    // 1.2.840.113549.1.1.N: 11 is SHA-256, 5 SHA-1, 4 MD5. It stands twice; that the signature fits no more does not
    // matter, because nobody verifies such a one.
    let sha256 = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
    let signed = |der: &[u8], by: u8| {
        let mut der = der.to_vec();
        let places: Vec<_> = (0..der.len() - 9).filter(|i| der[*i..i + 9] == sha256).collect();
        assert_eq!(places.len(), 2);
        for place in places {
            der[place + 8] = by;
        }
        der.into()
    };
    let of = |leaf_by, root_by| {
        let chain = vec![signed(leaf.der(), leaf_by), signed(root.der(), root_by)];
        Material { chain, anchors: None, ..recipe.material() }
    };
    assert_eq!(checks(&of(0x0b, 0x0b)), []);
    assert_eq!(checks(&of(0x0b, 0x05)), []);
    for (weak, name) in [(0x05, "RSA with SHA-1"), (0x04, "RSA with MD5")] {
        let found = problem(&of(weak, 0x0b));
        assert!(found.contains(&format!("clients refuse ({name})")), "{found}");
    }
}

#[test]
fn a_handshake_that_broke_off_is_a_finding() {
    let mut material = Recipe::new().material();
    let error = Some("received fatal alert".to_owned());
    material.connection = Some(Connection { error, ..Connection::default() });
    assert_eq!(checks(&material), [Check::Handshake]);
    material.connection = Some(Connection::default());
    assert_eq!(checks(&material), []);
}

#[test]
fn findings_come_in_the_order_of_their_checks() {
    let recipe = Recipe::but(|r| r.leaf.not_after = at(-1));
    let mut material = recipe.made().material(Some(&KeyPair::generate().expect("key")));
    material.anchors.as_mut().expect("anchors").certificates = vec![Recipe::new().made().root];
    material.name = Some(super::super::recipe::name("other.example.com"));
    assert_eq!(checks(&material), [Check::Expiry, Check::Name, Check::KeyMatch, Check::Trust]);
}

#[test]
fn a_broken_certificate_is_named() {
    let mut material = Recipe::new().material();
    material.chain[1] = material.chain[1][..100].to_vec().into();
    let error = examine(&material, now()).err().expect("broken").to_string();
    assert_eq!(error, "certificate 2 of tls.crt is broken");
}

#[test]
fn what_others_chose_cannot_write_to_the_terminal() {
    let recipe = Recipe::but(|r| {
        r.leaf.distinguished_name.push(rcgen::DnType::CommonName, "a\u{1b}[2Jb\n\u{202e}c");
        r.leaf.subject_alt_names.push(SanType::URI("x:\u{7}y".try_into().expect("uri")));
        r.leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    let mut material = recipe.material();
    material.key = None;
    let report = examine(&material, now()).expect("report");
    let text = report.text().expect("text");
    assert!(!text.contains(['\u{1b}', '\u{202e}', '\u{7}']), "{text:?}");
    assert_eq!(report.certificates[0].subject, "CN=a?[2Jb??c");
}

#[test]
fn days_left_are_whole_days() {
    let left = |end: i64| {
        let material = Recipe::but(|r| r.leaf.not_after = at(end)).material();
        examine(&material, now()).expect("report").certificates[0].days_left
    };
    assert_eq!([left(DAY), left(DAY - 1), left(0), left(-1), left(-DAY - 1)], [1, 0, 0, -1, -2]);
    let made = Recipe::new().made();
    let (_, leaf) = X509Certificate::from_der(&made.leaf).expect("leaf");
    assert_eq!(ends(&leaf).as_second(), NOW + 90 * DAY);
}
