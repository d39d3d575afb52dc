//! Do values of Vault reach the workload exactly, is a change of them one restart, and does nothing happen while nothing
//! changes?

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use crds::RestartCause::SecretsChanged;
use k8s_openapi::jiff::Timestamp;
use render::Kind;
use rustix::process::Signal;
use serde_json::{Value, json};
use testbed::audit::{Audit, Mark, Requests};
use testbed::fixture::{OPERATOR, Service, rest};
use testbed::ledger::complete;
use testbed::vault::values::{SECRET, Scene, force, synced, until_told, values};
use testbed::{Look, Operator, wait_until};

/// Longer than the operator waits between two looks.
const LOOK: Duration = Duration::from_secs(6);
const SOON: Duration = Duration::from_secs(10);

/// The service with its first values and its first revision.
async fn made(scene: &Scene, secrets: &Value, first: &Value) -> Result<Service> {
    scene.put(first)?;
    let service = scene.service(secrets).await?;
    service.made().await?;
    let ledger = complete(&scene.cluster, &service, 1).await?;
    ensure!(ledger.is_empty(), "the first values are no restart: {ledger:?}");
    Ok(service)
}

/// What the operator wrote in the namespace, but for the status.
async fn written(scene: &Scene, audit: &Audit, mark: Mark) -> Result<Requests> {
    rest(audit, &scene.namespace.name).await?;
    let seen = audit.since(mark).await?.by(OPERATOR).within(&scene.namespace.name).writes();
    Ok(seen.only(|request| request.resource != "hardenedservices"))
}

/// Names of the values for each restart.
async fn restarts(scene: &Scene, service: &Service, revision: i64) -> Result<Vec<Vec<String>>> {
    let ledger = complete(&scene.cluster, service, revision).await?;
    ensure!(ledger.iter().all(|entry| entry.cause == SecretsChanged), "{ledger:#?}");
    Ok(ledger.into_iter().map(|entry| entry.keys).collect())
}

/// Values of every kind in both engines.
fn fill(scene: &Scene) -> Result<()> {
    scene.put(&json!({"password": "before"}))?;
    scene.put(&json!({
        "username": "app", "password": "p@/ ss~\"ö", "port": 5432, "ratio": 0.1, "debug": true, "more": "x",
    }))?;
    scene.vault.write_kv(
        "legacy",
        1,
        &scene.path("keys"),
        &json!({"API_KEY": "multi\nline", "EMPTY": "", "SERIAL": u64::MAX}),
    )
}

/// Chosen ones of the newest version, one of an older version, all of the other engine, and one that is composed.
fn sources(own: &str, keys: &str) -> Value {
    let chosen = json!([
        {"key": "username", "name": "DB_USER"}, {"key": "password", "name": "DB_PASSWORD"}, {"key": "port", "name": "DB_PORT"},
        {"key": "ratio", "name": "RATIO"}, {"key": "debug", "name": "DEBUG"},
    ]);
    let old = json!([{"key": "password", "name": "OLD_PASSWORD"}]);
    let url = "postgres://{{DB_USER}}:{{DB_PASSWORD|urlencode}}@db:{{DB_PORT}}/orders";
    json!({
        "sources": [
            {"vault": {"path": own, "keys": chosen}},
            {"vault": {"mount": "secret", "path": own, "version": 1, "keys": old}},
            {"vault": {"mount": "legacy", "path": keys}},
        ],
        "templates": [{"name": "DATABASE_URL", "template": url}],
        "required": ["DATABASE_URL"],
    })
}

#[tokio::test]
async fn values_of_both_engines_arrive_exactly_as_the_spec_asks() -> Result<()> {
    let scene = Scene::set("values").await?;
    fill(&scene)?;
    let _operator = Operator::start_with(&scene.cluster, scene.options()).await?;
    let start = Timestamp::now();
    let (own, keys) = (scene.path("shop"), scene.path("keys"));
    let service = scene.service(&sources(&own, &keys)).await?;
    let made = service.made().await?;
    let wanted = [
        ("API_KEY", "multi\nline"),
        ("DATABASE_URL", "postgres://app:p%40%2F%20ss~%22%C3%B6@db:5432/orders"),
        ("DB_PASSWORD", "p@/ ss~\"ö"),
        ("DB_PORT", "5432"),
        ("DB_USER", "app"),
        ("DEBUG", "true"),
        ("EMPTY", ""),
        ("OLD_PASSWORD", "before"),
        ("RATIO", "0.1"),
        // The engine of version 2 itself keeps numbers as floating-point ones; this one does not.
        ("SERIAL", "18446744073709551615"),
    ];
    let secret = scene.until_values(&wanted).await?;
    assert_eq!(secret.type_.as_deref(), Some("Opaque"));
    let owner = &secret.metadata.owner_references.context("no owner")?[0];
    assert_eq!((&*owner.kind, &*owner.name), ("HardenedService", "shop"));

    let live = service.child(Kind::Deployment, "shop").await?.context("no Deployment")?;
    let container = &live["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["envFrom"], json!([{"secretRef": {"name": SECRET}}]));
    let status = made.status.clone().and_then(|status| status.secrets).context("nothing in status")?;
    assert_eq!(status.keys, wanted.map(|(name, _)| name));
    assert_eq!(status.version.as_deref(), Some("2,1,-"));
    let at = status.synced_at.context("no time")?.0;
    assert!(start.as_second() <= at.as_second() && at <= Timestamp::now(), "{at}");
    assert_eq!(
        (synced(&made).0.as_str(), synced(&made).1.as_str()),
        ("True", "Ready"),
        "{:?}",
        synced(&made)
    );

    let mut asked = scene.asked()?;
    asked.truncate(6);
    asked.sort();
    let (own, keys) = (format!("secret/data/{own}"), format!("legacy/{keys}"));
    let looks = ["sys/internal/ui/mounts/legacy", "sys/internal/ui/mounts/secret"];
    assert_eq!(asked, ["auth/kubernetes/login", &*keys, &*own, &*own, looks[0], looks[1]]);
    Ok(())
}

#[tokio::test]
async fn no_pod_is_made_before_its_values_are_there() -> Result<()> {
    let scene = Scene::set("values-first").await?;
    let Some(audit) = scene.cluster.audit() else { return Ok(()) };
    let _operator = Operator::start_with(&scene.cluster, scene.options()).await?;
    let mark = audit.mark().await?;
    let service = scene.service(&json!({})).await?;
    let (status, message) = until_told(&service, "SourceDeleted", &scene.path("shop")).await?;
    assert_eq!(status, "False", "{message}");
    // Everything else is made, and two more looks change nothing.
    scene.until_read(2).await?;
    rest(&audit, &scene.namespace.name).await?;
    assert!(service.child(Kind::ServiceAccount, "shop").await?.is_some());
    for (kind, name) in [(Kind::Secret, SECRET), (Kind::Deployment, "shop")] {
        assert!(service.child(kind, name).await?.is_none(), "{name} was made without values");
    }
    scene.put(&json!({"PASSWORD": "one"}))?;
    scene.until_values(&[("PASSWORD", "one")]).await?;
    service.made().await?;
    assert_eq!(restarts(&scene, &service, 1).await?, Vec::<Vec<String>>::new());
    let writes = written(&scene, &audit, mark).await?;
    let order: Vec<_> = writes.0.iter().map(|write| (&*write.verb, &*write.resource, &*write.name)).collect();
    let at = |wanted| order.iter().position(|write| *write == wanted).with_context(|| format!("{order:?}"));
    assert!(at(("create", "secrets", SECRET))? < at(("create", "deployments", "shop"))?, "{order:?}");
    Ok(())
}

#[tokio::test]
async fn a_quiet_service_asks_once_per_interval_and_writes_nothing_and_neither_does_a_new_operator()
-> Result<()> {
    let scene = Scene::set("values-quiet").await?;
    let Some(audit) = scene.cluster.audit() else { return Ok(()) };
    let mut operator = Operator::start_with(&scene.cluster, scene.options()).await?;
    let service = made(&scene, &json!({}), &json!({"PASSWORD": "one"})).await?;
    let (before, mark, reads) = (scene.secret().await?, audit.mark().await?, scene.reads()?);
    tokio::time::sleep(4 * LOOK).await;
    let reads = scene.reads()? - reads;
    // Every 4.5 to 5 seconds, by chance.
    assert!((4..=6).contains(&reads), "{reads} readings in {:?}", 4 * LOOK);
    assert_eq!(scene.logins()?, 1);
    let seen = audit.since(mark).await?.by(OPERATOR).within(&scene.namespace.name).besides_watches();
    assert_eq!(seen.count(), 0, "nothing had changed: {seen}");

    operator.kill().await?;
    let mark = audit.mark().await?;
    operator.restart().await?;
    scene.until_read(2).await?;
    rest(&audit, &scene.namespace.name).await?;
    let writes = audit.since(mark).await?.by(OPERATOR).within(&scene.namespace.name).writes();
    let login = |request: &testbed::audit::Request| request.subresource == "token";
    assert_eq!(writes.clone().only(|request| !login(request)).count(), 0, "{writes}");
    assert_eq!(writes.clone().only(login).count(), 1, "one login: {writes}");
    assert_eq!((scene.secret().await?, scene.logins()?), (before, 2));
    assert_eq!(restarts(&scene, &service, 1).await?, Vec::<Vec<String>>::new());
    Ok(())
}

#[tokio::test]
async fn a_changed_value_is_one_write_and_one_restart_and_what_changes_nothing_is_none() -> Result<()> {
    let scene = Scene::set("values-changed").await?;
    let Some(audit) = scene.cluster.audit() else { return Ok(()) };
    let operator = Operator::start_with(&scene.cluster, scene.options()).await?;
    let first = json!({"A": "1", "B": "2", "C": "3", "LEVEL": "info"});
    let service = made(&scene, &json!({"withoutRestart": ["LEVEL"]}), &first).await?;

    let mark = audit.mark().await?;
    scene.put(&json!({"A": "one", "B": "2", "D": "4", "LEVEL": "info"}))?;
    scene.until_values(&[("A", "one"), ("B", "2"), ("D", "4"), ("LEVEL", "info")]).await?;
    assert_eq!(restarts(&scene, &service, 2).await?, [["A", "C", "D"]]);
    let writes = written(&scene, &audit, mark).await?;
    let before = format!("{SECRET}-before");
    let wanted =
        [("create", "secrets", &*before), ("update", "secrets", SECRET), ("update", "deployments", "shop")];
    let found: Vec<_> = writes.0.iter().map(|w| (&*w.verb, &*w.resource, &*w.name)).collect();
    assert_eq!(found, wanted, "{writes}");
    let changed = service.get().await?.status.and_then(|status| status.secrets).context("no status")?;
    assert_eq!((changed.version.as_deref(), changed.keys.join(",")), (Some("2"), "A,B,D,LEVEL".into()));

    // The same again is another version of the engine and nothing else.
    let (before, mark) = (scene.secret().await?, audit.mark().await?);
    scene.put(&json!({"A": "one", "B": "2", "D": "4", "LEVEL": "info"}))?;
    let version = |service: &crds::HardenedService| service.status.clone()?.secrets?.version;
    let seen = service.until("version 3", |service| version(service).as_deref() == Some("3")).await?;
    assert_eq!(seen.status.and_then(|s| s.secrets).and_then(|s| s.synced_at), changed.synced_at);

    // There and back between two looks. The operator is stopped so that it does not look in between.
    operator.signal(Signal::STOP);
    scene.put(&json!({"A": "other"}))?;
    scene.put(&json!({"A": "one", "B": "2", "D": "4", "LEVEL": "info"}))?;
    operator.signal(Signal::CONT);
    service.until("version 5", |service| version(service).as_deref() == Some("5")).await?;
    let writes = written(&scene, &audit, mark).await?;
    assert_eq!((writes.count(), scene.secret().await?), (0, before), "{writes}");

    // A name that restarts nothing.
    let mark = audit.mark().await?;
    scene.put(&json!({"A": "one", "B": "2", "D": "4", "LEVEL": "debug"}))?;
    scene.until_values(&[("A", "one"), ("B", "2"), ("D", "4"), ("LEVEL", "debug")]).await?;
    let writes = written(&scene, &audit, mark).await?;
    assert_eq!(writes.clone().resource("secrets").count(), 1, "{writes}");
    assert_eq!(writes.count(), 1, "only the Secret");
    assert_eq!(restarts(&scene, &service, 2).await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn asked_for_at_once_it_is_read_at_once_and_otherwise_when_it_is_time() -> Result<()> {
    let scene = Scene::set("values-forced").await?;
    let _operator = Operator::start_with(&scene.cluster, scene.options()).await?;
    let service = made(&scene, &json!({"refreshInterval": "24h"}), &json!({"PASSWORD": "one"})).await?;
    assert_eq!(scene.reads()?, 1);
    scene.put(&json!({"PASSWORD": "two"}))?;
    tokio::time::sleep(2 * LOOK).await;
    assert_eq!(scene.reads()?, 1, "too early");
    for (count, mark) in ["a", "b"].into_iter().enumerate() {
        let wanted = format!("forced {mark}");
        scene.put(&json!({ "PASSWORD": wanted }))?;
        force(&service, mark).await?;
        wait_until(SOON, "the new value", async || match scene.secret().await {
            Ok(secret) if values(&secret)["PASSWORD"] == wanted => Look::Done(()),
            other => Look::NotYet(format!("{other:?}")),
        })
        .await?;
        let revision = i64::try_from(count)? + 2;
        assert_eq!(restarts(&scene, &service, revision).await?, vec![["PASSWORD"]; count + 1]);
    }
    // The annotation stays, and asks for nothing more.
    service.patch(&json!({"metadata": {"labels": {"looked-at": "again"}}})).await?;
    tokio::time::sleep(LOOK).await;
    assert_eq!(scene.reads()?, 3);
    Ok(())
}

#[tokio::test]
async fn files_are_mounted_and_a_changed_one_restarts_nothing() -> Result<()> {
    let scene = Scene::set("values-files").await?;
    let Some(audit) = scene.cluster.audit() else { return Ok(()) };
    let _operator = Operator::start_with(&scene.cluster, scene.options()).await?;
    let first = json!({"signing-key.pem": "one", "LD_PRELOAD": "no variable"});
    let service = made(&scene, &json!({"delivery": "files"}), &first).await?;
    let live = service.child(Kind::Deployment, "shop").await?.context("no Deployment")?;
    let container = &live["spec"]["template"]["spec"]["containers"][0];
    assert!(container["envFrom"].is_null(), "{container}");
    let mounts = container["volumeMounts"].as_array().context("no mounts")?;
    let mount =
        mounts.iter().find(|mount| mount["mountPath"] == "/etc/hardened/secrets").context("no mount")?;
    assert_eq!(mount["readOnly"], true, "{mount}");
    let mark = audit.mark().await?;
    scene.put(&json!({"signing-key.pem": "two"}))?;
    scene.until_values(&[("signing-key.pem", "two")]).await?;
    let writes = written(&scene, &audit, mark).await?;
    assert_eq!(writes.clone().resource("secrets").count(), 1, "{writes}");
    assert_eq!(writes.count(), 1, "only the Secret");
    Ok(())
}
