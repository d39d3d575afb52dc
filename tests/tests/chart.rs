//! That the chart says what the operator's code says, and that its values are what they say. It reads charts/install.yaml,
//! which is rendered from the chart, asks the real Helm for more, and needs no cluster.
#![allow(clippy::unwrap_used, reason = "an object of another shape fails the test")]

use anyhow::{Context, Result};
use render::{Jobs, Settings};
use serde_json::Value;
use testbed::install::render;
use testbed::state::checkout;

#[test]
fn the_charts_default_settings_are_the_operators() -> Result<()> {
    let map = object("ConfigMap", "hardened-operator-settings")?;
    let yaml = map["data"]["settings.yaml"].as_str().context("no settings.yaml")?;
    let settings: Settings = serde_saphyr::from_str(yaml)?;
    // The one thing that only the chart knows.
    let deployment = object("Deployment", "hardened-operator")?;
    let image = text(&deployment, "/spec/template/spec/containers/0/image");
    assert_eq!(
        settings,
        Settings { jobs: Jobs { image: Some(image), alter_system: false }, ..Settings::default() }
    );
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
fn in_its_own_namespace_the_operator_reads_two_secrets_by_name_and_may_replace_the_ca() -> Result<()> {
    let role = object("Role", "hardened-operator")?;
    let rules = role["rules"].as_array().context("no rules")?;
    for rule in rules.iter().filter(|rule| rule["verbs"] != serde_json::json!(["create"])) {
        let is_ca = rule["resourceNames"] == serde_json::json!(["hardened-operator-ca"]);
        let is_id = rule["resourceNames"] == serde_json::json!(["hardened-operator-keys"]);
        let verbs = match (is_ca, is_id) {
            (true, _) => serde_json::json!(["list", "watch", "update"]),
            (_, true) => serde_json::json!(["get", "update"]),
            _ => serde_json::json!(["get"]),
        };
        assert_eq!(rule["verbs"], verbs, "{rule}");
        assert!(rule["resourceNames"].as_array().is_some_and(|names| !names.is_empty()), "{rule}");
    }
    Ok(())
}

#[test]
fn with_listed_namespaces_nothing_but_names_is_granted_everywhere() -> Result<()> {
    let objects = render(&["--set", "namespaces={shop,studio}"])?;
    let everywhere: Vec<_> = objects
        .iter()
        .filter(|o| o["kind"] == "ClusterRoleBinding")
        .map(|o| text(o, "/roleRef/name"))
        .collect();
    assert_eq!(everywhere, ["hardened-operator-cluster"]);
    let role = objects.iter().find(|o| o["kind"] == "ClusterRole" && o["metadata"]["name"] == everywhere[0]);
    for rule in role.context("no role")?["rules"].as_array().context("no rules")? {
        assert!(rule["resourceNames"].as_array().is_some_and(|names| !names.is_empty()), "{rule}");
        assert_eq!(rule["verbs"], serde_json::json!(["list", "watch"]));
    }
    Ok(())
}

#[test]
fn the_plain_manifest_has_no_hook() -> Result<()> {
    let hooks: Vec<_> = objects()?.into_iter().filter(|o| o.to_string().contains("helm.sh/hook")).collect();
    assert_eq!(hooks, [] as [Value; 0], "kubectl would run it");
    Ok(())
}

#[test]
fn common_labels_and_annotations_reach_every_object_and_replace_none_of_ours() -> Result<()> {
    let plain = render(&["--set", "namespaces={shop}"])?;
    let more = [
        "commonLabels.team=shop",
        "commonLabels.app\\.kubernetes\\.io/name=evil",
        "commonAnnotations.owner=me",
    ];
    let more: Vec<&str> = more.iter().flat_map(|set| ["--set", set]).collect();
    let changed = render(&[&["--set", "namespaces={shop}"], &more[..]].concat())?;
    assert_eq!(plain.len(), changed.len());
    for (plain, mut changed) in plain.into_iter().zip(changed) {
        let metadata = changed["metadata"].as_object_mut().context("no metadata")?;
        assert_eq!(metadata["labels"]["team"], "shop", "{metadata:?}");
        assert_eq!(metadata["annotations"]["owner"], "me", "{metadata:?}");
        assert_eq!(metadata["labels"]["app.kubernetes.io/name"], "hardened-operator");
        let selector = |object: &Value| object["spec"]["selector"].clone();
        assert_eq!(selector(&plain), selector(&changed));
    }
    Ok(())
}

#[test]
fn one_replica_has_no_disruption_budget_and_two_have_one_that_lets_a_drain_pass() -> Result<()> {
    let budgets = |replicas: &str| -> Result<Vec<Value>> {
        let objects = render(&["--set", replicas])?;
        Ok(objects.into_iter().filter(|o| o["kind"] == "PodDisruptionBudget").collect())
    };
    assert_eq!(budgets("replicas=1")?, [] as [Value; 0]);
    assert_eq!(budgets("replicas=2")?[0]["spec"]["maxUnavailable"], 1);
    Ok(())
}

#[test]
fn nonsense_is_refused_with_the_key_and_the_rule() {
    for (set, words) in [
        ("replicas=0", "at '/replicas': minimum: got 0, want 1"),
        ("replica=2", "additional properties 'replica' not allowed"),
        ("settings.ingress=x", "at '/settings': additional properties 'ingress' not allowed"),
        ("image.digest=sha256:abc", "at '/image/digest': 'sha256:abc' does not match pattern"),
        ("namespaces={Shop}", "at '/namespaces/0': 'Shop' does not match pattern"),
        ("namespaces={shop,shop}", "at '/namespaces': items at 0 and 1 are equal"),
        ("leaderElection.namespace=a/b", "at '/leaderElection/namespace'"),
        ("uninstall.timeoutSeconds=0", "at '/uninstall/timeoutSeconds': minimum: got 0, want 10"),
        ("metrics.podMonitor.interval=often", "at '/metrics/podMonitor/interval'"),
        ("metrics.podMonitor.enabled=true,metrics.serviceMonitor.enabled=true", "enable one of them"),
    ] {
        let refused = format!("{:#}", render(&["--set", set]).unwrap_err());
        assert!(refused.contains(words), "{set}: {refused}");
    }
}

#[test]
fn the_schema_knows_every_value_and_nothing_else() -> Result<()> {
    let chart = checkout().join("charts/hardened-operator");
    let values: Value = serde_saphyr::from_str(&std::fs::read_to_string(chart.join("values.yaml"))?)?;
    let schema: Value = serde_json::from_slice(&std::fs::read(chart.join("values.schema.json"))?)?;
    let mut known = Vec::new();
    paths(&schema, &schema["$defs"], "", &mut known)?;
    // Helm's own, and one whose default follows the release's namespace.
    known.retain(|path| path != "/global" && path != "/settings/prober");
    for path in &known {
        assert!(values.pointer(path).is_some(), "values.yaml has no {path}");
    }
    assert!(known.len() > 40, "{known:?}");
    Ok(())
}

/// Pointers to the values that a schema names; every object that names some must refuse others. That it names all of
/// values.yaml is what Helm checks at every rendering.
fn paths(schema: &Value, shared: &Value, path: &str, found: &mut Vec<String>) -> Result<()> {
    let name = schema["$ref"].as_str().and_then(|name| name.strip_prefix("#/$defs/"));
    let schema = name.map_or(schema, |name| &shared[name]);
    let Some(properties) = schema["properties"].as_object() else {
        found.push(path.to_owned());
        return Ok(());
    };
    assert_eq!(schema["additionalProperties"], false, "{path}");
    for (key, value) in properties {
        paths(value, shared, &format!("{path}/{key}"), found)?;
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
