//! While Vault does not answer, refuses, or has nothing: does the workload keep what it has, is nothing asked too often,
//! and does all go on by itself?

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};
use testbed::Operator;
use testbed::fixture::words;
use testbed::ledger::complete;
use testbed::provided::Provided;
use testbed::vault::outage::{kept, never_made, synced_service, until_well};
use testbed::vault::values::{Scene, force, synced, until_told};

#[tokio::test]
async fn while_vault_answers_nobody_the_last_values_stay_and_it_goes_on_by_itself() -> Result<()> {
    let mut scene = Scene::set("values-silent").await?;
    let _operator = Operator::start_with(&scene.cluster, scene.options()).await?;
    let (service, before) = synced_service(&scene).await?;
    let ready = words(&service.get().await?, "Ready");
    for fault in ["stopped", "sealed", "gone"] {
        match fault {
            "stopped" => scene.vault.signal(Signal::STOP),
            "sealed" => scene.vault.seal()?,
            _ => scene.vault.stop(),
        }
        let (status, message) = until_told(&service, "VaultUnreachable", "").await?;
        ensure!(status == "True", "the values in use are good: {message}");
        ensure!(fault != "sealed" || message.contains("it is sealed"), "{message}");
        let late = scene.named(fault, &json!({})).await?;
        let (status, message) = until_told(&late, "VaultUnreachable", "").await?;
        ensure!(status == "False", "it has no values: {message}");
        tokio::time::sleep(Duration::from_secs(10)).await;
        kept(&scene, &service, &before, fault).await?;
        never_made(&late).await?;
        ensure!(words(&service.get().await?, "Ready") == ready, "{fault}: no reason to page somebody");
        match fault {
            "stopped" => scene.vault.signal(Signal::CONT),
            "sealed" => scene.vault.unseal()?,
            // It has forgotten everything, the operator's token too.
            _ => {
                scene.start_again().await?;
                scene.furnish()?;
                scene.put(&json!({"PASSWORD": "first"}))?;
            }
        }
        scene.let_in(fault)?;
        until_well(&service).await?;
        until_well(&late).await?;
        late.made().await?;
        kept(&scene, &service, &before, fault).await?;
        late.api().delete(fault, &kube::api::DeleteParams::default()).await?;
    }
    scene.put(&json!({"PASSWORD": "second"}))?;
    scene.until_values(&[("PASSWORD", "second")]).await?;
    ensure!(complete(&scene.cluster, &service, 2).await?.len() == 1);
    Ok(())
}

#[tokio::test]
async fn a_vault_whose_certificate_is_of_another_authority_is_asked_for_nothing() -> Result<()> {
    let scene = Scene::set("values-authority").await?;
    let mut operator = Operator::start_with(&scene.cluster, scene.options()).await?;
    let (service, before) = synced_service(&scene).await?;
    let other = Provided::new()?.root;
    operator.stop().await?;
    let wrong = scene.options_with(|connection| connection["caBundle"] = json!(other))?;
    let asked = scene.asked()?.len();
    operator.restart_with(&scene.cluster, wrong).await?;
    let (status, message) = until_told(&service, "VaultUnreachable", "caBundle").await?;
    ensure!(status == "True", "{message}");
    scene.let_in("late")?;
    let late = scene.named("late", &json!({})).await?;
    let (status, message) = until_told(&late, "VaultUnreachable", "caBundle").await?;
    ensure!(status == "False", "{message}");
    never_made(&late).await?;
    kept(&scene, &service, &before, "another authority").await?;
    ensure!(scene.asked()?.len() == asked, "{:#?}", scene.vault.audited()?);
    operator.stop().await?;
    operator.restart_with(&scene.cluster, scene.options()).await?;
    until_well(&service).await?;
    until_well(&late).await?;
    kept(&scene, &service, &before, "the right authority").await
}

/// Takes back every token that a login gave; the test's own is none.
fn revoke_tokens(scene: &Scene) -> Result<usize> {
    let all = scene.vault.call("LIST", "auth/token/accessors", &Value::Null)?;
    let mut count = 0;
    for accessor in all["data"]["keys"].as_array().context("no accessors")? {
        let body = json!({ "accessor": accessor });
        let found = scene.vault.call("POST", "auth/token/lookup-accessor", &body)?;
        if found["data"]["path"] == testbed::vault::platform::LOGIN {
            scene.vault.call("POST", "auth/token/revoke-accessor", &body)?;
            count += 1;
        }
    }
    Ok(count)
}

#[tokio::test]
async fn a_revoked_token_costs_one_login_and_what_vault_then_refuses_is_told() -> Result<()> {
    let scene = Scene::set("values-refused").await?;
    let _operator = Operator::start_with(&scene.cluster, scene.options()).await?;
    let (service, before) = synced_service(&scene).await?;
    let namespace = &scene.namespace.name;
    ensure!(revoke_tokens(&scene)? == 1);
    // One that is refused, one with the new token, and two more.
    scene.until_read(4).await?;
    ensure!(scene.logins()? == 2, "{:#?}", scene.asked()?);
    ensure!(synced(&service.get().await?).1 == "Ready", "it was mended before anybody could see it");

    scene.vault.call("DELETE", &format!("sys/policies/acl/{namespace}"), &Value::Null)?;
    let mark = (scene.logins()?, scene.reads()?);
    let (status, message) =
        until_told(&service, "VaultRefused", &format!("secret/data/{}", scene.path("shop"))).await?;
    ensure!(status == "False" && message.contains(&format!("hardened-{namespace}-shop")), "{message}");
    scene.until_read(4).await?;
    let (logins, reads) = (scene.logins()? - mark.0, scene.reads()? - mark.1);
    ensure!(logins <= reads.div_ceil(2), "{logins} logins for {reads} readings, two for each failure");
    kept(&scene, &service, &before, "no policy").await?;
    scene.let_read(namespace)?;
    until_well(&service).await?;

    scene.vault.call("DELETE", &scene.login_role("shop"), &Value::Null)?;
    revoke_tokens(&scene)?;
    let mark = (scene.logins()?, std::time::Instant::now());
    let (status, message) = until_told(&service, "VaultLoginRefused", &format!("{namespace}/shop")).await?;
    ensure!(status == "False", "{message}");
    tokio::time::sleep(Duration::from_secs(20)).await;
    // The pauses are 5, 10 and 20 s, a fifth shorter by chance.
    let logins = scene.logins()? - mark.0;
    ensure!((1..=4).contains(&logins), "{logins} in {:?}", mark.1.elapsed());
    kept(&scene, &service, &before, "no login").await?;
    scene.let_in("shop")?;
    until_well(&service).await?;
    kept(&scene, &service, &before, "all well").await
}

#[tokio::test]
async fn what_vault_has_no_more_is_told_and_what_the_workload_has_stays() -> Result<()> {
    let scene = Scene::set("values-gone").await?;
    let _operator = Operator::start_with(&scene.cluster, scene.options()).await?;
    let (service, before) = synced_service(&scene).await?;
    let path = scene.path("shop");
    // What is done, what is said of it, and how it is mended.
    let again = || scene.put(&json!({"PASSWORD": "first"}));
    for (number, what) in
        ["deleted", "destroyed", "empty", "gone", "unmounted", "remounted"].into_iter().enumerate()
    {
        let at = |way: &str| format!("secret/{way}/{path}");
        let newest = || {
            let found = scene.vault.call("GET", &at("metadata"), &Value::Null)?;
            found["data"]["current_version"].as_u64().context("no version")
        };
        let words = match what {
            "deleted" => {
                scene.versions("delete", &[newest()?])?;
                format!("version {} of secret/{path} was deleted", newest()?)
            }
            "destroyed" => {
                scene.versions("destroy", &[newest()?])?;
                format!("version {} of secret/{path} was destroyed", newest()?)
            }
            "empty" => {
                scene.put(&json!({}))?;
                "holds no values".to_owned()
            }
            "gone" => {
                scene.vault.call("DELETE", &at("metadata"), &Value::Null)?;
                format!("nothing at secret/{path}")
            }
            _ => {
                scene.vault.call("DELETE", "sys/mounts/secret", &Value::Null)?;
                format!("nothing at secret/{path}")
            }
        };
        force(&service, &number.to_string()).await?;
        let (status, message) = until_told(&service, "SourceDeleted", &words).await.context(what)?;
        ensure!(status == "False", "{what}: {message}");
        kept(&scene, &service, &before, what).await?;
        match what {
            "deleted" => scene.versions("undelete", &[newest()?])?,
            "unmounted" => {
                scene.vault.enable_kv("secret", 2)?;
                again()?;
            }
            "remounted" => {
                // The same place in an engine of the other version has another path for policies.
                let namespace = &scene.namespace.name;
                scene.vault.enable_kv("secret", 1)?;
                let rules = format!(r#"path "secret/{namespace}/*" {{ capabilities = ["read"] }}"#);
                scene.vault.policy(namespace, &rules)?;
                scene.vault.write_kv("secret", 1, &path, &json!({"PASSWORD": "first"}))?;
            }
            _ => again()?,
        }
        until_well(&service).await.context(what)?;
        kept(&scene, &service, &before, what).await?;
    }
    scene.vault.write_kv("secret", 1, &path, &json!({"PASSWORD": "second"}))?;
    scene.until_values(&[("PASSWORD", "second")]).await?;
    let version = service.get().await?.status.and_then(|status| status.secrets).and_then(|s| s.version);
    ensure!(version.as_deref() == Some("-"), "{version:?}");
    ensure!(complete(&scene.cluster, &service, 2).await?.len() == 1);
    Ok(())
}

#[tokio::test]
async fn what_no_workload_can_have_is_refused_by_its_name_and_nothing_of_it_is_written() -> Result<()> {
    const CANARY: &str = "canary-in-a-bad-value";
    let scene = Scene::set("values-bad").await?;
    let _operator = Operator::start_with(&scene.cluster, scene.options()).await?;
    let (service, before) = synced_service(&scene).await?;
    let long = CANARY.repeat(200 * 1024 / CANARY.len() + 1);
    // A status with all of it would be refused.
    let long_name = "N".repeat(40_000);
    for (number, (name, value)) in [
        ("a b", json!(CANARY)),
        ("1a", json!(CANARY)),
        ("PATH", json!(CANARY)),
        ("LD_PRELOAD", json!(CANARY)),
        ("KUBERNETES_SERVICE_HOST", json!(CANARY)),
        ("", json!(CANARY)),
        ("NOTHING", json!(null)),
        (&long_name, json!(null)),
        ("LIST", json!([CANARY])),
        ("MAP", json!({ CANARY: CANARY })),
        ("LONG", json!(long)),
        ("ZERO", json!(format!("{CANARY}\0"))),
    ]
    .into_iter()
    .enumerate()
    {
        scene.put(&json!({"PASSWORD": "second", name: value}))?;
        force(&service, &number.to_string()).await?;
        let short: String = name.chars().take(64).collect();
        let (status, message) = until_told(&service, "SecretsInvalid", &format!("{short:?}")).await?;
        ensure!(
            status == "False" && !message.contains(CANARY) && message.len() < 500,
            "{short:?}: {message}"
        );
        let live = service.get().await?;
        ensure!(!serde_json::to_string(&live.status)?.contains(CANARY), "{short:?}: {:#?}", live.status);
        kept(&scene, &service, &before, &short).await?;
    }
    scene.put(&json!({"PASSWORD": "second"}))?;
    scene.until_values(&[("PASSWORD", "second")]).await?;
    until_well(&service).await
}
