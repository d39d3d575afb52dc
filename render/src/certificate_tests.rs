//! Tests of the Certificate: what it asks cert-manager for, and who gets none.

use serde_json::{Value, json};

use super::*;
use crate::{AllowedIssuer, CertManagerSettings, Kind, Settings, desired};

fn service(tls: &Value) -> HardenedService {
    serde_json::from_value(json!({
        "metadata": {"name": "shop", "namespace": "team", "uid": "3c6e0b8a-9c15-424a-8f0d-6c2b7f1d5e90"},
        "spec": {
            "environment": "staging", "workload": {"image": "registry.example/shop:1"}, "tls": tls,
            "exposure": {"hostnames": ["shop.example.com", "shop.elsewhere.org"]},
        },
    }))
    .unwrap()
}

fn facts(issuers: Vec<AllowedIssuer>) -> Facts {
    let cert_manager = CertManagerSettings { issuers };
    let settings = Settings { cert_manager, ..Settings::default() };
    Facts { settings, allowed_hosts: vec!["*.example.com".into()], ..Facts::default() }
}

fn issuer(kind: IssuerKind, name: &str, group: &str) -> AllowedIssuer {
    AllowedIssuer { kind, name: name.into(), group: group.into(), host_names_only: false }
}

fn named(reference: &Value) -> Value {
    json!({"issuer": {"certManager": {"issuerRef": reference}}})
}

/// As the operator would write it.
fn rendered(service: &HardenedService, facts: &Facts) -> Option<Value> {
    desired(service, facts).certificate.map(|certificate| serde_json::to_value(certificate).unwrap())
}

#[test]
fn the_whole_certificate_with_every_default() {
    let facts = facts(vec![issuer(IssuerKind::Issuer, "internal", "cert-manager.io")]);
    let labels = json!({
        "app.kubernetes.io/component": "tls", "app.kubernetes.io/instance": "shop",
        "app.kubernetes.io/managed-by": "hardened-operator", "app.kubernetes.io/name": "shop",
        "app.kubernetes.io/part-of": "shop", "hardened.dev/service": "shop",
    });
    let owner = json!({
        "apiVersion": "hardened.dev/v1alpha1", "kind": "HardenedService", "name": "shop",
        "uid": "3c6e0b8a-9c15-424a-8f0d-6c2b7f1d5e90", "controller": true, "blockOwnerDeletion": true,
    });
    assert_eq!(
        rendered(&service(&named(&json!({"name": "internal"}))), &facts),
        Some(json!({
            "apiVersion": "cert-manager.io/v1",
            "kind": "Certificate",
            "metadata": {
                "name": "shop-issued", "namespace": "team", "labels": labels, "ownerReferences": [owner],
            },
            "spec": {
                "secretName": "shop-issued",
                "secretTemplate": {"labels": {"hardened.dev/service": "shop"}},
                "dnsNames": ["shop", "shop.team", "shop.team.svc", "shop.team.svc.cluster.local", "shop.example.com"],
                "duration": "2160h",
                "privateKey": {"algorithm": "ECDSA", "size": 256, "encoding": "PKCS8", "rotationPolicy": "Always"},
                "usages": ["digital signature", "server auth"],
                "revisionHistoryLimit": 1,
                "issuerRef": {"kind": "Issuer", "name": "internal", "group": "cert-manager.io"},
            },
        }))
    );
}

#[test]
fn key_life_and_renewal_of_the_spec_are_passed_on() {
    let facts = facts(vec![issuer(IssuerKind::ClusterIssuer, "corporate", "pki.example.com")]);
    let reference = json!({"kind": "ClusterIssuer", "name": "corporate", "group": "pki.example.com"});
    let mut tls = named(&reference);
    tls["privateKey"] = json!({"algorithm": "RSA", "size": 4096, "rotationPolicy": "Never"});
    tls["duration"] = json!("36h30m");
    tls["renewBefore"] = json!("90m");
    let spec = rendered(&service(&tls), &facts).unwrap()["spec"].take();
    assert_eq!(
        (&spec["privateKey"], &spec["duration"], &spec["renewBefore"], &spec["issuerRef"]),
        (
            &json!({"algorithm": "RSA", "size": 4096, "encoding": "PKCS8", "rotationPolicy": "Never"}),
            &json!("36h30m"),
            &json!("1h30m"),
            &reference,
        )
    );
    assert_eq!(spec["usages"], json!(["digital signature", "server auth", "key encipherment"]));
    tls["privateKey"] = json!({"algorithm": "RSA"});
    assert_eq!(rendered(&service(&tls), &facts).unwrap()["spec"]["privateKey"]["size"], 3072);
    tls["privateKey"] = json!({"algorithm": "Ed25519"});
    assert_eq!(rendered(&service(&tls), &facts).unwrap()["spec"]["privateKey"].get("size"), None);
}

#[test]
fn nothing_is_asked_of_an_issuer_that_the_platform_does_not_list_by_kind_name_and_group() {
    let listed = issuer(IssuerKind::ClusterIssuer, "corporate", "cert-manager.io");
    for reference in [
        json!({"kind": "ClusterIssuer", "name": "corporate-2"}),
        json!({"kind": "Issuer", "name": "corporate"}),
        json!({"name": "corporate"}),
        json!({"kind": "ClusterIssuer", "name": "corporate", "group": "pki.example.com"}),
    ] {
        let service = service(&named(&reference));
        assert_eq!(rendered(&service, &facts(vec![listed.clone()])), None, "{reference}");
        assert_eq!(rendered(&service, &Facts::default()), None, "{reference}");
    }
    let right = service(&named(&json!({"kind": "ClusterIssuer", "name": "corporate"})));
    assert!(rendered(&right, &facts(vec![listed])).is_some());
    assert_eq!(rendered(&service(&json!({"issuer": {"selfSigned": {}}})), &facts(Vec::new())), None);
}

#[test]
fn an_issuer_of_public_names_is_not_asked_for_those_of_the_cluster() {
    let mut public = issuer(IssuerKind::ClusterIssuer, "letsencrypt", "cert-manager.io");
    public.host_names_only = true;
    let service = service(&named(&json!({"kind": "ClusterIssuer", "name": "letsencrypt"})));
    let spec = rendered(&service, &facts(vec![public])).unwrap()["spec"].take();
    assert_eq!(spec["dnsNames"], json!(["shop.example.com"]), "nor for a host that is not allowed");
}

#[test]
fn it_comes_before_the_secret_that_waits_for_it() {
    let facts = facts(vec![issuer(IssuerKind::Issuer, "internal", "cert-manager.io")]);
    let objects = desired(&service(&named(&json!({"name": "internal"}))), &facts).into_objects();
    let place = |kind| objects.iter().position(|child| child.kind == kind).unwrap();
    assert!(place(Kind::Certificate) < place(Kind::Secret));
    assert_eq!(objects[place(Kind::Certificate)].name, "shop-issued");
}
