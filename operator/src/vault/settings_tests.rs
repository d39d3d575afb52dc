//! Which settings are refused, and with which words.

use serde_json::{Value, json};

use super::*;
use crate::pki;

fn settings() -> Value {
    let ca = pki::new_ca(k8s_openapi::jiff::Timestamp::UNIX_EPOCH).unwrap().certificate;
    json!({
        "address": "https://vault.example:8200", "caBundle": ca, "namespace": "team/",
        "kubernetesAuth": {"mount": "kubernetes", "role": "hardened-{namespace}-{name}", "serviceAccount": "{name}"},
        "pki": {"mount": "pki/inner", "roles": ["web", "a.b_c-1"]}, "kv": {"mounts": ["/team-{namespace}/kv/", "old"]},
    })
}

fn check(name: &str, settings: Value) -> Result<Connection, String> {
    let settings: VaultConnection = serde_json::from_value(settings).map_err(|error| error.to_string())?;
    Connection::new(name, settings).map_err(|error| format!("{error:#}"))
}

#[test]
fn good_settings_are_taken_and_what_is_left_out_has_a_default() {
    let mut given = settings();
    let made = check("default", given.clone()).ok().unwrap();
    assert_eq!(made.settings.namespace.as_deref(), Some("team"));
    assert!(made.allows("web") && !made.allows("other"));
    assert_eq!(made.settings.kv.mounts, ["team-{namespace}/kv", "old"]);
    let fields = given.as_object_mut().unwrap();
    fields.retain(|field, _| ["address", "caBundle"].contains(&&**field));
    fields.insert("kubernetesAuth".into(), json!({"role": "web"}));
    let made = check("main.1", given).ok().unwrap();
    let service = crate::cache::Key { namespace: "team".into(), name: "shop".into() };
    assert_eq!((made.account(&service), made.mount(&service, None)), ("shop".into(), None));
    let made = made.settings;
    assert_eq!(
        (&*made.audience, &*made.kubernetes_auth.mount, &*made.pki.mount, made.pki.roles.len()),
        ("vault", "kubernetes", "pki", 0)
    );
}

#[test]
fn bad_settings_are_refused_with_field_problem_and_fix() {
    for (pointer, value, field, fix) in [
        ("/address", json!("http://vault.example:8200"), "address: ", "write https://HOST:PORT"),
        ("/address", json!("https://me:word@vault.example"), "address: ", "without user"),
        ("/address", json!("https://vault.example/v1"), "address: ", "without user, path and query"),
        ("/address", json!("https://vault.example?a=b"), "address: ", "query"),
        ("/address", json!("vault.example:8200"), "address: ", "write https://HOST:PORT"),
        ("/caBundle", json!("no certificate"), "caBundle: ", "as a block BEGIN CERTIFICATE"),
        ("/namespace", json!("a/../b"), "namespace: ", "use names"),
        ("/kubernetesAuth/mount", json!("kube rnetes"), "kubernetesAuth.mount: ", "use names"),
        (
            "/kubernetesAuth/role",
            json!("{namespace}/{name}"),
            "kubernetesAuth.role: ",
            "{namespace} and {name}",
        ),
        ("/kubernetesAuth/role", json!("{uid}"), "kubernetesAuth.role: ", "{namespace} and {name}"),
        (
            "/kubernetesAuth/serviceAccount",
            json!("Vault"),
            "kubernetesAuth.serviceAccount: ",
            "lowercase letters",
        ),
        (
            "/kubernetesAuth/serviceAccount",
            json!("{uid}"),
            "kubernetesAuth.serviceAccount: ",
            "{namespace} and",
        ),
        ("/kubernetesAuth/serviceAccount", json!("a/b"), "kubernetesAuth.serviceAccount: ", "lowercase"),
        ("/kubernetesAuth/serviceAccount", json!(""), "kubernetesAuth.serviceAccount: ", "lowercase"),
        ("/kv/mounts", json!(["secret", "a/../b"]), "kv.mounts: ", "use names"),
        ("/kv/mounts", json!(["{name}"]), "kv.mounts: ", "{namespace} for the service's own"),
        ("/pki/mount", json!("pki/.."), "pki.mount: ", "use names"),
        ("/pki/mount", json!(""), "pki.mount: ", "use names"),
        ("/pki/roles", json!(["web", ".."]), "pki.roles: ", "letters, digits"),
    ] {
        let mut given = settings();
        *given.pointer_mut(pointer).unwrap() = value.clone();
        let refused = check("main", given).err().unwrap_or_default();
        assert!(refused.starts_with(&format!("vaultConnections.main.{field}")), "{value}: {refused}");
        assert!(refused.contains(fix), "{value}: {refused}");
        assert!(!refused.contains("word"), "a password is shown: {refused}");
    }
    let refused = check("a/b", settings()).err().unwrap_or_default();
    assert!(refused.starts_with(r#"vaultConnections: "a/b" is no name"#), "{refused}");
    let mut given = settings();
    given["tokn"] = json!("a");
    assert!(check("main", given).is_err_and(|refused| refused.contains("tokn")), "a field that nobody knows");
}

#[test]
fn a_name_leads_nowhere_else_and_is_as_vault_takes_it() {
    let long = "a".repeat(64);
    for name in ["a", "_", "a.b", "Web-1_x", &long[1..]] {
        assert!(is_name(name), "{name}");
    }
    for name in ["", ".", "..", "a/b", "a b", "-a", "a-", "a%2fb", "a?b", "a#b", "ä", "a\n", &long] {
        assert!(!is_name(name), "{name:?}");
    }
}

#[test]
fn a_login_role_holds_the_service_s_own_names() {
    assert_eq!(filled("hardened-{namespace}.{name}", "team", "shop"), "hardened-team.shop");
    assert_eq!(filled("web", "team", "shop"), "web");
    assert_eq!(filled("{name}{name}", "team", "shop"), "shopshop");
}

#[test]
fn an_account_is_named_as_kubernetes_names_them_with_the_service_s_own_names_in_it() {
    for name in ["a", "hardened-vault", "a.b-1.c", &"a".repeat(253)] {
        assert!(is_account(name), "{name}");
    }
    for name in ["", "-a", "a-", "a..b", ".a", "a.", "A", "a_b", "a/b", "{name}", &"a".repeat(254)] {
        assert!(!is_account(name), "{name:?}");
    }
    let mut given = settings();
    given["kubernetesAuth"]["serviceAccount"] = json!("vault-{namespace}.{name}");
    let service = crate::cache::Key { namespace: "team".into(), name: "shop".into() };
    let identity = check("main", given).ok().unwrap().identity(&service);
    assert_eq!(
        [identity.namespace, identity.account, identity.role],
        ["team", "vault-team.shop", "hardened-team-shop"]
    );
}

#[test]
fn a_path_below_a_mount_is_of_names_and_leads_nowhere_else() {
    let deep = ["a"; 16].join("/");
    let long = "a".repeat(512);
    for path in ["a", "shop/db", "data/shop/db", "A.b_c-1/_x", &deep, &long] {
        assert!(is_deep_path(path), "{path}");
    }
    let (deeper, longer) = (format!("{deep}/a"), format!("{long}a"));
    for path in
        ["", "/", "/a", "a/", "a//b", "..", "a/..", "a/./b", "%2e%2e", "a?b", "a#b", "a b", &deeper, &longer]
    {
        assert!(!is_deep_path(path), "{path:?}");
    }
}
