//! Does a private key, or a piece of one, ever reach a place where somebody without the right to read Secrets sees it?

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use testbed::certificate::{self, CA_SECRET};
use testbed::fixture::{Service, example};
use testbed::home::home;
use testbed::operator::Options;
use testbed::pieces::{objects, pieces};
use testbed::provided::{Provided, Scene, tls};
use testbed::{Cluster, Look, Operator, wait_until};

#[tokio::test]
async fn no_byte_of_a_key_reaches_logs_events_status_metrics_or_anything_but_secrets_in_etcd() -> Result<()> {
    let cluster = Cluster::get().await?;
    let store = cluster.store()?;
    let before = if let Some(store) = &store { store.revision().await? } else { 0 };
    let (home, namespace) = (home(&cluster, "home").await?, cluster.namespace("canary").await?);
    let options = Options {
        args: testbed::home::at(&home),
        env: vec![("RUST_LOG".into(), "trace".into())],
        ..Options::default()
    };
    let mut operator = Operator::start_with(&cluster, options).await?;
    let service = Service::create(&cluster, &namespace.name, &example("studio")?).await?;
    service.made().await?;
    let first = certificate::tls_secret(&cluster.client, &namespace.name, "studio").await?;
    let second = broken(&cluster, &namespace.name, &first).await?;
    service.made().await?;
    let user = a_user_s_key(&cluster).await?;
    let (_, metrics) = operator.get("/metrics").await?;
    operator.stop().await?;

    let own = Api::<Secret>::namespaced(cluster.client.clone(), &home.name);
    let hmac = own.get("hardened-operator-hmac").await?.data.context("no data")?["key"].0.clone();
    let keys = [
        ("old TLS", key(&first)?),
        ("new TLS", key(&second)?),
        ("CA", key(&own.get(CA_SECRET).await?)?),
        ("HMAC", hmac),
        ("user's", user.key.into_bytes()),
    ];
    let pieces: Vec<_> =
        keys.iter().flat_map(|(name, key)| pieces(key).into_iter().map(move |p| (*name, p))).collect();
    let found = |text: &str| pieces.iter().find(|(_, piece)| text.contains(piece)).map(|(name, _)| *name);
    // The search itself works: it finds every key where it belongs.
    assert_eq!(found(&serde_json::to_string(&second)?), Some("new TLS"));
    assert_eq!(found(&format!("{:?}", keys[3].1)), Some("HMAC"), "as Debug prints bytes");

    let log = operator.log();
    assert!(log.contains(r#""level":"TRACE""#), "the log does not trace");
    let places = [
        ("log", log),
        ("metrics", metrics),
        ("status", serde_json::to_string(&service.get().await?)?),
        ("status of the user's", serde_json::to_string(&user.scene.service.get().await?)?),
    ];
    let objects = [objects(&cluster, &service).await?, objects(&cluster, &user.scene.service).await?];
    for (place, text) in places.into_iter().chain(objects.into_iter().flatten()) {
        assert_eq!(found(&text), None, "a key is in the {place}");
    }
    match &store {
        Some(store) => store.has_only_in_secrets(before, &keys).await,
        None => Ok(()),
    }
}

/// The certificate that follows when somebody breaks the first: a Secret that cannot be read is what parsers like to quote.
async fn broken(cluster: &Cluster, namespace: &str, first: &Secret) -> Result<Secret> {
    let api = Api::<Secret>::namespaced(cluster.client.clone(), namespace);
    let broken = Patch::Merge(json!({"data": {"tls.crt": ""}, "stringData": {"planted": "value"}}));
    api.patch("studio-tls", &PatchParams::default(), &broken).await?;
    wait_until(std::time::Duration::from_secs(10), "a new certificate", async || {
        match api.get("studio-tls").await {
            Ok(now) if key(&now).ok() != key(first).ok() => Look::Done(now),
            other => Look::NotYet(format!("{:?}", other.map(|secret| secret.metadata))),
        }
    })
    .await
}

/// A key that somebody provides, and the service that uses it.
struct User {
    scene: Scene,
    key: String,
}

/// The key is used, then it slips into what is published, and then it can be read no more.
async fn a_user_s_key(cluster: &Cluster) -> Result<User> {
    let good = Provided::new()?;
    let scene = Scene::new(cluster, "canary", Some(&good)).await?;
    scene.until_copied(&good).await?;
    let slipped = Provided { root: format!("{}{}", good.root, good.key), ..good.clone() };
    scene.provide(&slipped).await?;
    let told = |text: &'static str| move |service: &_| tls(service).2.contains(text);
    scene.service.until("ca.crt to be refused", told("ca.crt holds something else")).await?;
    let marked = good.key.replacen("PRIVATE KEY-----\n", "PRIVATE KEY-----\n-----BEGIN ", 1);
    scene.provide(&Provided { key: marked, ..good.clone() }).await?;
    scene.service.until("tls.key to be refused", told("tls.key is not exactly one")).await?;
    Ok(User { scene, key: good.key })
}

fn key(secret: &Secret) -> Result<Vec<u8>> {
    Ok(secret.data.as_ref().context("no data")?["tls.key"].0.clone())
}
