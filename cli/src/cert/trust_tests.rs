//! Tests of what a client says: anchors and names.

use rcgen::{BasicConstraints, DnType, ExtendedKeyUsagePurpose, IsCa};

use super::super::recipe::{Recipe, at, checks, name as named, now, problem};
use super::super::report::Check;

#[test]
fn a_chain_of_another_root_is_not_trusted() {
    let mut material = Recipe::new().material();
    material.anchors.as_mut().expect("anchors").certificates = vec![Recipe::new().made().root];
    let found = problem(&material);
    assert!(found.contains("of another key than the issuer of that name has"), "{found}");
    let other = Recipe::but(|r| r.root.distinguished_name.push(DnType::CommonName, "other")).made().root;
    material.anchors.as_mut().expect("anchors").certificates = vec![other];
    let found = problem(&material);
    assert!(found.contains("does not lead to a certificate of ca.crt"), "{found}");
    assert!(!super::super::examine::examine(&material, now()).expect("report").trust.expect("trust").trusted);
    material.anchors.as_mut().expect("anchors").certificates.clear();
    assert_eq!(checks(&material), [Check::Trust], "nobody is trusted");
}

#[test]
fn a_missing_link_is_found_with_the_anchor_only() {
    let mut material = Recipe::new().material();
    material.chain.truncate(1);
    let found = problem(&material);
    assert!(found.contains("serve the certificates between the two"), "{found}");
    material.anchors = None;
    assert_eq!(checks(&material), []);
}

#[test]
fn expiry_of_the_leaf_does_not_hide_that_it_is_not_trusted() {
    for recipe in [Recipe::but(|r| r.leaf.not_after = at(-60)), Recipe::but(|r| r.leaf.not_before = at(60))] {
        let mut material = recipe.material();
        assert_eq!(checks(&material), [Check::Expiry]);
        material.anchors.as_mut().expect("anchors").certificates = vec![Recipe::new().made().root];
        assert_eq!(checks(&material), [Check::Expiry, Check::Trust]);
    }
}

#[test]
fn a_self_signed_leaf_is_trusted_by_its_own_file_and_an_authority_is_no_server() {
    let own = |spoil: fn(&mut Recipe)| {
        let recipe = Recipe::but(spoil);
        let leaf: rustls::pki_types::CertificateDer<'static> =
            recipe.leaf.self_signed(&recipe.key).expect("leaf").into();
        let mut material = recipe.material();
        material.chain = vec![leaf.clone()];
        material.anchors.as_mut().expect("anchors").certificates = vec![leaf];
        material
    };
    assert_eq!(checks(&own(|_| ())), []);
    let mut strange = own(|_| ());
    strange.anchors = Recipe::new().material().anchors;
    let found = problem(&strange);
    assert!(found.contains("signed by itself, and is none of ca.crt; name it with --ca"), "{found}");
    let found = problem(&own(|r| r.leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)));
    assert!(found.contains("an authority's (CA:TRUE)"), "{found}");
}

#[test]
fn a_certificate_for_something_else_than_a_server_is_refused() {
    let client = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let found = problem(&Recipe::but(|r| r.leaf.extended_key_usages = client).material());
    assert!(found.contains("lacks serverAuth"), "{found}");
}

#[test]
fn the_name_must_be_covered() {
    let mut material = Recipe::new().material();
    for (name, covered) in [
        ("studio.example.com", true),
        ("a.apps.example.com", true),
        ("10.0.0.1", true),
        ("apps.example.com", false),
        ("a.b.apps.example.com", false),
        ("10.0.0.2", false),
        ("::1", false),
        ("studio", false),
    ] {
        material.name = Some(named(name));
        let expected: &[Check] = if covered { &[] } else { &[Check::Name] };
        assert_eq!(checks(&material), expected, "{name}");
    }
    let found = problem(&material);
    assert!(found.contains("does not cover studio; have it issued with studio as subjectAltName"), "{found}");
    material.name = None;
    assert_eq!(checks(&material), []);
}

#[test]
fn the_common_name_is_no_name() {
    let found = Recipe::but(|r| r.leaf.subject_alt_names.clear()).material();
    assert_eq!(checks(&found), [Check::Name]);
}
