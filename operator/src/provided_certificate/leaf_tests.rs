//! Tests of the checks of single certificates.

use k8s_openapi::{ByteString, api::core::v1::Secret, jiff::Timestamp};
use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};

use crate::provided_certificate::{
    Check, TYPE, Wanted, examine,
    recipe::{
        DAY, Files, NOW, PublicKey, Recipe, at, block, checks, dns, look, message, now, spoilt, wanted,
    },
};

#[test]
fn the_names_of_clients_must_be_covered_and_no_others_claimed() {
    let names = |names: &[&str]| {
        let names: Vec<_> = names.iter().map(|name| dns(name)).collect();
        spoilt(|r| r.leaf.subject_alt_names = names)
    };
    for good in [
        &["studio.example.com"][..],
        &["STUDIO.example.com", "studio", "studio.team.svc", "*.team.example", "a.team.example"],
    ] {
        assert_eq!(names(good), [""; 0], "{good:?}");
    }
    let host = "studio.example.com";
    for bad in [
        &[][..],
        &["a.apps.example.com"],
        &[host, "example.com"],
        &[host, "*.example.com"],
        &[host, "*.a.team.example"],
        &[host, "a*.team.example"],
        &[host, "a.b.team.example"],
        &[host, "kubernetes.default.svc"],
    ] {
        assert_eq!(names(bad), ["names"], "{bad:?}");
    }
    for other in [
        SanType::IpAddress([10, 0, 0, 1].into()),
        SanType::URI("spiffe://a/b".try_into().expect("uri")),
        SanType::Rfc822Name("a@example.com".try_into().expect("mail")),
    ] {
        assert_eq!(spoilt(|r| r.leaf.subject_alt_names.push(other)), ["names"]);
    }
}

#[test]
fn a_wildcard_of_the_platform_s_covers_one_label() {
    let mut recipe = Recipe::new();
    recipe.leaf.subject_alt_names = vec![dns("*.apps.example.com")];
    let files = recipe.made();
    let ask = |host: &str| {
        let wanted = Wanted { client_names: vec![host.into()], ..wanted() };
        let data =
            [("tls.crt", files.chain()), ("tls.key", files.key.clone()), ("ca.crt", files.root.clone())];
        let data = data.map(|(k, v)| (k.to_owned(), ByteString(v.into_bytes()))).into();
        let secret = Secret { type_: Some(TYPE.into()), data: Some(data), ..Secret::default() };
        checks(examine(&secret, &wanted, now()))
    };
    assert_eq!(ask("a.apps.example.com"), [""; 0]);
    assert_eq!(ask("apps.example.com"), ["names"]);
    assert_eq!(ask("a.b.apps.example.com"), ["names"]);
}

#[test]
fn each_certificate_must_live_now_and_the_refusal_says_until_when_it_holds() {
    let refusal = |spoil: &dyn Fn(&mut Recipe)| {
        let mut recipe = Recipe::new();
        spoil(&mut recipe);
        let files = recipe.made();
        let refusal = files.look(&files.chain(), Some(&files.root)).err().expect("refused");
        assert_eq!(refusal.failures.len(), 1, "{refusal}");
        assert_eq!(refusal.failures[0].check, Check::Expiry);
        refusal
    };
    assert_eq!(spoilt(|r| r.leaf.not_after = at(0)), [""; 0], "the last second is within");
    let ended = refusal(&|r| r.leaf.not_after = at(-1));
    assert!(ended.to_string().contains("CN=studio ended on 2027-01-15"), "{ended}");
    let early = refusal(&|r| r.leaf.not_before = at(60));
    assert_eq!(early.until.map(Timestamp::as_second), Some(NOW + 60));
    refusal(&|r| r.middle.not_after = at(-1));
    refusal(&|r| r.root.not_after = at(-1));
    let mut recipe = Recipe::new();
    recipe.middle.not_after = at(DAY);
    let files = recipe.made();
    let provided = files.look(&files.chain(), Some(&files.root)).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(provided.leaf.not_after.as_second(), NOW + DAY, "the chain ends with its first");
}

#[test]
fn keys_and_signatures_that_clients_refuse_fail_algorithm() {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).expect("key");
    assert_eq!(spoilt(|r| r.key = key), ["algorithm"]);
    // An RSA key of 1024 bits: SEQUENCE of modulus and exponent 65537 (RFC 8017, A.1.1).
    let modulus = [vec![0x02, 0x81, 0x81, 0x00], vec![0xc5; 128]].concat();
    let rsa = [vec![0x30, 0x81, 0x89], modulus, vec![0x02, 0x03, 0x01, 0x00, 0x01]].concat();
    let files = Recipe::new().for_key(&PublicKey(rsa, &rcgen::PKCS_RSA_SHA256));
    let files = Files { key: block("RSA PRIVATE KEY", b"of 1024 bits"), ..files };
    assert_eq!(files.failed(), ["algorithm"]);
    assert!(message(files.look(&files.chain(), Some(&files.root))).contains("RSA key of 1024 bits"));
}

#[test]
fn a_leaf_signed_with_sha_1_or_md5_fails_algorithm() {
    let key = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).expect("key");
    let recipe = Recipe::new();
    let root = recipe.root.self_signed(&key).expect("root").pem();
    let leaf = recipe.leaf.signed_by(&recipe.key, &Issuer::from_params(&recipe.root, &key)).expect("leaf");
    // 1.2.840.113549.1.1.N: 11 is SHA-256, 5 SHA-1, 4 MD5. It stands twice; that the signature fits no more does not
    // matter, because nobody verifies such a one.
    let sha256 = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
    for (weak, expected) in [(0x0b, &[][..]), (0x05, &["algorithm"]), (0x04, &["algorithm"])] {
        let mut der = leaf.der().to_vec();
        let places: Vec<_> = (0..der.len() - 9).filter(|i| der[*i..i + 9] == sha256).collect();
        assert_eq!(places.len(), 2);
        for place in places {
            der[place + 8] = weak;
        }
        let chain = block("CERTIFICATE", &der);
        assert_eq!(checks(look(TYPE, &chain, &recipe.key.serialize_pem(), Some(&root))), expected, "{weak}");
    }
}

#[test]
fn a_leaf_that_is_no_server_s_fails_usage() {
    let client = vec![ExtendedKeyUsagePurpose::ClientAuth];
    assert_eq!(spoilt(|r| r.leaf.extended_key_usages = client), ["usage"]);
    assert_eq!(spoilt(|r| r.leaf.key_usages = vec![KeyUsagePurpose::KeyAgreement]), ["usage"]);
    assert_eq!(spoilt(|r| r.leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)), ["usage"]);
    let plain = |r: &mut Recipe| (r.leaf.key_usages, r.leaf.extended_key_usages) = Default::default();
    assert_eq!(spoilt(plain), [""; 0], "neither extension restricts anything when it is absent");
}
