//! Can a service read what another team's services may read? Vault itself must say no, because it is asked as the account
//! of the service's own namespace.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use render::Kind;
use serde_json::{Value, json};
use testbed::fixture::Service;
use testbed::pieces::pieces;
use testbed::vault::platform::LOGIN;
use testbed::vault::values::{Scene, until_told, values};
use testbed::{Namespace, Operator};

const CANARY: &str = "canary-of-team-b-5f0c1e";

/// Namespace `b` with values of its own in both engines, and a service that has them.
async fn team_b(scene: &Scene) -> Result<(Namespace, Service)> {
    let namespace = scene.cluster.namespace("team-b").await?;
    scene.grant_in(&namespace, &scene.rights().await?).await?;
    let path = format!("{}/shop", namespace.name);
    for (mount, version) in testbed::vault::values::MOUNTS {
        scene.vault.write_kv(mount, version, &path, &json!({"PASSWORD": CANARY}))?;
    }
    scene.let_read(&namespace.name)?;
    scene.let_log_in(&namespace.name, "shop", &namespace.name)?;
    let mut service = testbed::fixture::named("secrets", "shop")?;
    let secrets = json!({"refreshInterval": "5s", "sources": [{"vault": {"path": path}}]});
    service.spec.secrets = serde_json::from_value(secrets)?;
    let service = Service::create(&scene.cluster, &namespace.name, &service).await?;
    service.made().await?;
    let api = Api::<Secret>::namespaced(scene.cluster.client.clone(), &namespace.name);
    ensure!(values(&api.get("shop-secrets").await?)["PASSWORD"] == CANARY);
    Ok((namespace, service))
}

/// Who Vault refused this path, as name and namespace of their accounts.
fn refused(scene: &Scene, path: &str) -> Result<Vec<[String; 2]>> {
    let denied = |answer: &Value| answer["error"].as_str().is_some_and(|e| e.contains("permission denied"));
    let who = |answer: Value| {
        ["name", "namespace"].map(|field| {
            let value = &answer["auth"]["metadata"][format!("service_account_{field}")];
            value.as_str().unwrap_or_default().to_owned()
        })
    };
    Ok(scene.answers(path)?.into_iter().filter(denied).map(who).collect())
}

/// Gives the service this place of Vault.
async fn source(service: &Service, place: &Value) -> Result<()> {
    let patch = json!({"spec": {"secrets": {"sources": [{"vault": place}]}}});
    service.patch(&patch).await.map(drop)
}

/// Everything in a namespace that the operator writes, Secrets too.
async fn written(scene: &Scene, service: &Service) -> Result<String> {
    let (client, namespace) = (&scene.cluster.client, &service.namespace);
    let mut texts = vec![serde_json::to_string(&service.get().await?)?];
    texts.extend(service.children().await?.into_iter().map(|(_, child)| child.to_string()));
    let events = Api::<Event>::namespaced(client.clone(), namespace).list(&ListParams::default()).await?;
    let secrets = Api::<Secret>::namespaced(client.clone(), namespace).list(&ListParams::default()).await?;
    let maps = Api::<ConfigMap>::namespaced(client.clone(), namespace).list(&ListParams::default()).await?;
    texts.extend([
        serde_json::to_string(&events.items)?,
        serde_json::to_string(&secrets.items)?,
        serde_json::to_string(&maps.items)?,
    ]);
    Ok(texts.join("\n"))
}

#[tokio::test]
async fn what_is_another_team_s_is_refused_by_vault_as_the_service_s_own_account() -> Result<()> {
    let scene = Scene::set("team-a").await?;
    // There are values too, in an engine that the platform does not let services read.
    scene.vault.enable_kv("platform", 2)?;
    let operator = Operator::start_with(&scene.cluster, scene.options()).await?;
    let (b, other) = team_b(&scene).await?;
    let (a, path) = (&scene.namespace.name, format!("{}/shop", b.name));
    scene.vault.write_kv("platform", 2, &path, &json!({"PASSWORD": CANARY}))?;
    scene.vault.policy(a, &format!(
        r#"path "platform/*" {{ capabilities = ["read"] }} path "secret/data/{a}/*" {{ capabilities = ["read"] }} path "legacy/{a}/*" {{ capabilities = ["read"] }}"#
    ))?;
    scene.put(&json!({"PASSWORD": "of team a"}))?;
    let service = scene.service(&json!({"sources": [{"vault": {"path": path}}]})).await?;

    // The operator has just read it for the other team, and gives nobody else what it read.
    for (mount, policy_path) in
        [("secret", format!("secret/data/{path}")), ("legacy", format!("legacy/{path}"))]
    {
        source(&service, &json!({"mount": mount, "path": path})).await?;
        let (status, message) = until_told(&service, "VaultRefused", &policy_path).await?;
        ensure!(status == "False" && message.contains("(403)"), "{message}");
        let who = refused(&scene, &policy_path)?;
        ensure!(!who.is_empty() && who.iter().all(|who| *who == ["shop", a]), "{policy_path}: {who:?}");
    }

    // What the platform does not list is asked for by nobody, although Vault would give it.
    let before = scene.asked()?;
    source(&service, &json!({"mount": "platform", "path": path})).await?;
    let (status, message) = until_told(&service, "VaultMountNotAllowed", "mount platform").await?;
    ensure!(status == "False", "{message}");
    source(&service, &json!({"connection": "theirs", "path": path})).await?;
    until_told(&service, "VaultConnectionUnknown", "vaultConnections.theirs").await?;
    let asked: Vec<_> = scene.asked()?.split_off(before.len());
    ensure!(!asked.iter().any(|path| path.contains("platform")), "{asked:#?}");

    for (kind, name) in [(Kind::Secret, "shop-secrets"), (Kind::Deployment, "shop")] {
        ensure!(service.child(kind, name).await?.is_none(), "{name} was made");
    }
    let (_, metrics) = operator.get("/metrics").await?;
    let texts = [written(&scene, &service).await?, operator.log(), metrics];
    ensure!(texts[0].contains(a) && written(&scene, &other).await?.contains(&pieces(CANARY.as_bytes())[0]));
    for piece in pieces(CANARY.as_bytes()) {
        ensure!(
            !texts.iter().any(|text| text.contains(&piece)),
            "{piece:?}, which is team b's, is in a's reach"
        );
    }
    source(&service, &json!({"path": scene.path("shop")})).await?;
    scene.until_values(&[("PASSWORD", "of team a")]).await?;
    Ok(())
}

#[tokio::test]
async fn a_login_that_is_made_for_another_account_lets_nobody_in() -> Result<()> {
    let scene = Scene::set("team-a").await?;
    let mut operator = Operator::start_with(&scene.cluster, scene.options()).await?;
    let (b, _other) = team_b(&scene).await?;
    let (a, path) = (&scene.namespace.name, format!("{}/shop", b.name));
    // The role of service `shop` in namespace `A-x` is called like that of service `x-shop` in `A`.
    scene.let_log_in(&format!("{a}-x"), "shop", &b.name)?;
    scene.vault.call("GET", &scene.login_role("x-shop"), &Value::Null).context("another role")?;
    let service = scene.named("x-shop", &json!({"sources": [{"vault": {"path": path}}]})).await?;
    let (status, message) =
        until_told(&service, "VaultLoginRefused", &format!("ServiceAccount {a}/x-shop")).await?;
    ensure!(status == "False", "{message}");

    // Settings with team b's role for everybody: only who is bound to it gets in.
    operator.stop().await?;
    let role = format!("hardened-{}-shop", b.name);
    let theirs = scene.options_with(|connection| connection["kubernetesAuth"]["role"] = json!(role))?;
    operator.restart_with(&scene.cluster, theirs).await?;
    until_told(&service, "VaultLoginRefused", &format!("role {role}")).await?;
    let logins = scene.answers(LOGIN)?;
    let failed = logins.iter().filter(|answer| answer.get("error").is_some()).count();
    ensure!(failed >= 2, "{logins:#?}");
    ensure!(service.child(Kind::Secret, "x-shop-secrets").await?.is_none());
    let text = written(&scene, &service).await?;
    let found = pieces(CANARY.as_bytes()).into_iter().find(|piece| text.contains(piece));
    ensure!(found.is_none(), "{found:?}");
    Ok(())
}

#[tokio::test]
async fn the_token_that_vault_is_shown_is_the_service_s_own_for_vault_alone_and_short() -> Result<()> {
    let scene = Scene::set("audience").await?;
    let _operator = Operator::start_with(&scene.cluster, scene.options()).await?;
    // The role asks for another audience than the operator's tokens have.
    let mut role = scene.vault.call("GET", &scene.login_role("shop"), &Value::Null)?["data"].take();
    role["audience"] = json!("kubernetes");
    scene.vault.call("POST", &scene.login_role("shop"), &role)?;
    let service = scene.service(&json!({})).await?;
    until_told(&service, "VaultLoginRefused", "the audience vault").await?;
    role["audience"] = json!("vault");
    scene.vault.call("POST", &scene.login_role("shop"), &role)?;
    scene.put(&json!({"PASSWORD": "one"}))?;
    scene.until_values(&[("PASSWORD", "one")]).await?;
    let logins = scene.answers(LOGIN)?;
    let account = &logins.last().context("no login")?["auth"]["metadata"];
    ensure!(account["service_account_namespace"] == scene.namespace.name.as_str(), "{account}");
    ensure!(account["service_account_name"] == "shop", "{account}");
    tokio::time::sleep(Duration::from_secs(6)).await;
    ensure!(scene.logins()? == logins.len(), "one login is enough");
    Ok(())
}
