//! Tests of the checks of the chain, and of what clients trust.

use rcgen::{
    BasicConstraints, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyUsagePurpose, NameConstraints,
};

use crate::provided_certificate::{
    Refusal, TYPE,
    recipe::{Files, Recipe, checks, look, message, spoilt},
};

#[test]
fn without_ca_crt_clients_trust_the_last_of_the_chain_or_the_self_signed_leaf() {
    let files = Recipe::new().made();
    let trusted = |chain: &str| files.look(chain, None).map(|provided| provided.ca_bundle);
    let same = |bundle: Result<String, Refusal>, pem: &str| {
        let bundle = bundle.unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(bundle.lines().collect::<Vec<_>>(), pem.lines().collect::<Vec<_>>());
    };
    same(trusted(&files.chain()), &files.middle);
    same(trusted(&format!("{}{}", files.chain(), files.root)), &files.root);
    let recipe = Recipe::new();
    let leaf = recipe.leaf.self_signed(&recipe.key).expect("leaf").pem();
    let provided = look(TYPE, &leaf, &recipe.key.serialize_pem(), None);
    same(provided.map(|provided| provided.ca_bundle), &leaf);
}

#[test]
fn a_chain_in_another_order_fails_order_and_the_message_says_the_right_one() {
    let files = Recipe::new().made();
    let Files { leaf, middle, root, .. } = &files;
    for (chain, order) in [
        (format!("{middle}{leaf}"), "2, 1"),
        (format!("{leaf}{root}{middle}"), "1, 3, 2"),
        (format!("{root}{middle}{leaf}"), "3, 2, 1"),
    ] {
        let result = files.look(&chain, Some(root));
        assert_eq!(checks(files.look(&chain, Some(root))), ["order"]);
        let text = message(result);
        assert!(text.ends_with(&format!("its issuer: {order}")), "{text}");
    }
}

#[test]
fn a_chain_that_does_not_hold_together_fails_chain() {
    let (files, other) = (Recipe::new().made(), Recipe::new().made());
    // Told by what is wrong, not only by what a client answers.
    let chain = |chain: String, ca: Option<&str>, advice: &str| {
        assert_eq!(checks(files.look(&chain, ca)), ["chain"], "{chain}");
        let text = message(files.look(&chain, ca));
        assert!(text.contains(advice), "{text}");
    };
    let Files { leaf, middle, root, .. } = &files;
    chain(leaf.clone(), None, "(CN=middle), which clients must trust; add it as ca.crt");
    chain(leaf.clone(), Some(root), "put its issuer there");
    chain(format!("{leaf}{middle}"), Some(&other.root), "put its issuer there");
    // The same names, another key.
    chain(format!("{leaf}{}", other.middle), Some(&other.root), "certificate 2 (CN=middle) is no part");
    chain(format!("{leaf}{root}"), Some(root), "add what is missing");
    chain(format!("{leaf}{middle}{}", other.root), Some(root), "certificate 3 (CN=root) is no part");
    assert_eq!(spoilt(|r| r.middle.is_ca = IsCa::NoCa), ["chain"]);
    assert_eq!(spoilt(|r| r.middle.key_usages = vec![KeyUsagePurpose::DigitalSignature]), ["chain"]);
}

#[test]
fn what_only_a_client_notices_fails_chain_too() {
    assert_eq!(spoilt(|r| r.middle.is_ca = IsCa::Ca(BasicConstraints::Constrained(0))), [""; 0]);
    let elsewhere = NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName("elsewhere.example".into())],
        excluded_subtrees: Vec::new(),
    };
    assert_eq!(spoilt(|r| r.middle.name_constraints = Some(elsewhere)), ["chain"]);
    assert_eq!(
        spoilt(|r| r.middle.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]),
        ["chain"],
        "an issuer for clients only"
    );
}
