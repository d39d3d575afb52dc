//! Does a value of Vault, or a token with which it is read, ever reach a place where somebody without the right to read
//! Secrets sees it?

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::ReplicaSet;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use testbed::Operator;
use testbed::fixture::Service;
use testbed::ledger::complete;
use testbed::operator::Options;
use testbed::pieces::{objects, pieces};
use testbed::vault::values::{Scene, force, until_told};

/// Values that the workload gets, one after the other, and one that is composed of another.
const GOOD: [(&str, &str); 4] = [
    ("first", "canary-first-7f3a91c2e5d8"),
    ("second", "canary-second-c41b60a9f772"),
    ("number", "739481156209384"),
    ("composed", "amqp://canary-user-e81d22f0:"),
];
/// Values that nobody can get.
const BAD: [(&str, &str); 3] = [
    ("in a list", "canary-list-0d9c3b7a1e54"),
    ("under a bad name", "canary-name-5e2f8c6d4b90"),
    ("too long", "canary-long-a17e5d3c9b28"),
];

#[tokio::test]
async fn no_value_and_no_token_reaches_logs_events_status_metrics_or_anything_but_secrets_in_etcd()
-> Result<()> {
    let scene = Scene::set("values-canary").await?;
    let store = scene.cluster.store()?;
    let before = if let Some(store) = &store { store.revision().await? } else { 0 };
    let env = vec![("RUST_LOG".into(), "trace,vaultrs=trace,rustify=trace".into())];
    let mut operator = Operator::start_with(&scene.cluster, Options { env, ..scene.options() }).await?;
    scene.put(&all(GOOD[0].1)?)?;
    let composed = json!([{"name": "URL", "template": "amqp://{{USER}}:{{PASSWORD|urlencode}}@mq"}]);
    let service = scene.service(&json!({ "templates": composed })).await?;
    service.made().await?;
    scene.put(&all(GOOD[1].1)?)?;
    complete(&scene.cluster, &service, 2).await?;

    go_wrong(&scene, &service).await?;
    let (_, metrics) = operator.get("/metrics").await?;
    operator.stop().await?;

    let log = operator.log();
    ensure!(log.contains(r#""level":"TRACE""#), "the log does not trace");
    let sets = Api::<ReplicaSet>::namespaced(scene.cluster.client.clone(), &scene.namespace.name);
    let sets = sets.list(&ListParams::default()).await?.items;
    ensure!(sets.len() == 2, "{sets:#?}");
    let mut places = vec![
        ("log", log),
        ("metrics", metrics),
        ("status", serde_json::to_string(&service.get().await?)?),
        ("history", serde_json::to_string(&sets)?),
        ("annotations of the Secret", format!("{:?}", scene.secret().await?.annotations())),
    ];
    places.extend(objects(&scene.cluster, &service).await?);
    if scene.cluster.audit().is_some() {
        let text = std::fs::read_to_string(scene.cluster.state().path("audit.log"))?;
        let own: Vec<_> = text.lines().filter(|line| line.contains(&scene.namespace.name)).collect();
        ensure!(own.iter().any(|line| line.contains("shop-secrets")), "nothing to search");
        places.push(("audit log of the API server", own.join("\n")));
    }
    let wanted = wanted();
    let found = |text: &str| {
        let piece = |(name, pieces): &(&'static str, Vec<String>)| {
            pieces.iter().find(|piece| text.contains(*piece)).map(|piece| (*name, piece.clone()))
        };
        wanted.iter().find_map(piece)
    };
    // The search itself works: it finds a value where it belongs.
    ensure!(found(&serde_json::to_string(&scene.secret().await?.data)?).is_some());
    for (place, text) in places {
        let found = found(&text);
        let at = found.as_ref().and_then(|(_, piece)| text.find(piece.as_str())).unwrap_or_default();
        let shown: String =
            text.get(at.saturating_sub(300)..).unwrap_or_default().chars().take(400).collect();
        ensure!(found.is_none(), "{found:?} is in the {place}: {shown}");
    }
    let kept = GOOD.map(|(name, value)| (name, value.as_bytes().to_vec()));
    match &store {
        Some(store) => store.has_only_in_secrets(before, &kept).await,
        None => Ok(()),
    }
}

/// What Vault holds, with this password.
fn all(password: &str) -> Result<Value> {
    let number: u64 = GOOD[2].1.parse()?;
    Ok(json!({"PASSWORD": password, "NUMBER": number, "USER": "canary-user-e81d22f0"}))
}

/// What goes wrong likes to be quoted.
async fn go_wrong(scene: &Scene, service: &Service) -> Result<()> {
    for (number, (name, value)) in
        [("LIST", json!([BAD[0].1])), ("a b", json!(BAD[1].1)), ("LONG", json!(BAD[2].1.repeat(6000)))]
            .into_iter()
            .enumerate()
    {
        let mut values = all(GOOD[1].1)?;
        values[name] = value;
        scene.put(&values)?;
        force(service, &number.to_string()).await?;
        until_told(service, "SecretsInvalid", &format!("{name:?}")).await?;
    }
    scene.vault.call("DELETE", &format!("sys/policies/acl/{}", scene.namespace.name), &Value::Null)?;
    force(service, "no-policy").await?;
    until_told(service, "VaultRefused", "").await?;
    scene.vault.call("DELETE", &scene.login_role("shop"), &Value::Null)?;
    force(service, "no-login").await?;
    until_told(service, "VaultLoginRefused", "").await?;
    scene.vault.seal()?;
    force(service, "sealed").await?;
    until_told(service, "VaultUnreachable", "").await?;
    scene.vault.unseal()?;
    Ok(())
}

/// Pieces of everything that may be nowhere, by its name.
fn wanted() -> Vec<(&'static str, Vec<String>)> {
    let values = GOOD.iter().chain(&BAD).map(|(name, value)| (*name, pieces(value.as_bytes())));
    // JSON web tokens begin with the first, tokens of Vault with the second.
    let tokens = ["eyJhbGciOi", "hvs."].map(|start| ("a token", vec![start.to_owned()]));
    values.chain(tokens).collect()
}
