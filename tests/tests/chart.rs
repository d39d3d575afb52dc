//! That the chart says what the operator's code says. It reads charts/install.yaml, which is rendered from the chart,
//! and needs no cluster.

use anyhow::{Context, Result};
use render::Settings;
use serde_json::Value;
use testbed::state::checkout;

#[test]
fn the_charts_default_settings_are_the_operators() -> Result<()> {
    let map = object("ConfigMap", "hardened-operator-settings")?;
    let text = map["data"]["settings.yaml"].as_str().context("no settings.yaml")?;
    let settings: Settings = serde_saphyr::from_str(text)?;
    assert_eq!(settings, Settings::default());
    Ok(())
}

#[test]
fn nobody_but_an_onboarded_namespace_gives_the_operator_secrets() -> Result<()> {
    let granted: Vec<_> = objects()?
        .into_iter()
        .filter(|object| grants(object, "secrets"))
        .map(|object| format!("{} {}", text(&object, "/kind"), text(&object, "/metadata/name")))
        .collect();
    assert_eq!(granted, ["ClusterRole hardened-operator-namespace", "Role hardened-operator"]);
    let bound = objects()?;
    let bound: Vec<_> = bound
        .iter()
        .filter(|o| o["kind"] == "ClusterRoleBinding")
        .map(|o| text(o, "/roleRef/name"))
        .collect();
    assert_eq!(bound, ["hardened-operator-cluster"]);
    Ok(())
}

#[test]
fn in_its_own_namespace_the_operator_reads_two_secrets_by_name() -> Result<()> {
    let role = object("Role", "hardened-operator")?;
    let rules = role["rules"].as_array().context("no rules")?;
    for rule in rules.iter().filter(|rule| rule["verbs"] != serde_json::json!(["create"])) {
        assert_eq!(rule["verbs"], serde_json::json!(["get"]), "{rule}");
        assert!(rule["resourceNames"].as_array().is_some_and(|names| !names.is_empty()), "{rule}");
    }
    Ok(())
}

fn grants(object: &Value, resource: &str) -> bool {
    let rules = object["rules"].as_array().map_or(&[][..], Vec::as_slice);
    rules
        .iter()
        .filter_map(|rule| rule["resources"].as_array())
        .flatten()
        .any(|name| name == resource || name == "*")
}

fn text(object: &Value, pointer: &str) -> String {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn object(kind: &str, name: &str) -> Result<Value> {
    let found = objects()?.into_iter().find(|o| o["kind"] == kind && o["metadata"]["name"] == name);
    found.with_context(|| format!("no {kind} {name} in charts/install.yaml"))
}

fn objects() -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(checkout().join("charts/install.yaml"))?;
    Ok(serde_saphyr::from_multiple(&text)?)
}
