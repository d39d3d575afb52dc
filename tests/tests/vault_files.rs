//! Does a signing key that changes in Vault count in every running pod when it comes as a file, without a restart? With the
//! real image on the real node, and a real Vault. Needs root, and no other node on this host.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use crds::HardenedService;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData as _};
use render::Kind;
use serde_json::{Value, json};
use testbed::load::Load;
use testbed::stage::{NAME, READY, Stage};
use testbed::vault::onstage::OnStage;
use testbed::{Look, wait_until};

const RATE: u32 = 50;
/// The operator looks every 5 s, the kubelet every 60 to 90 s, and the service every 2 s.
const TAKEN: Duration = Duration::from_mins(2);

#[tokio::test(flavor = "multi_thread")]
async fn a_signing_key_in_a_file_is_replaced_in_every_pod_without_a_restart() -> Result<()> {
    let [first, second] = [KeyPair::generate_for(&PKCS_ED25519)?, KeyPair::generate_for(&PKCS_ED25519)?];
    let only = json!({"JWT_SIGNING_KEY": first.serialize_pem()});
    let Some(scene) = OnStage::set(&only).await? else { return Ok(()) };
    scene.take_values(&json!({"delivery": "files"}), &json!({"workload": {"replicas": 2}})).await?;
    let stage = &scene.stage;
    until_published(stage, &[&first]).await?;
    stage.ready().await?;
    until_published(stage, &[&first]).await?;
    let before = state(stage).await?;

    let load = Load::start(stage.target().await?, RATE);
    // Tokens of the former key stay good: its public part comes as one more file.
    scene.write(
        &json!({"JWT_SIGNING_KEY": second.serialize_pem(), "JWT_PREVIOUS_KEYS": first.public_key_pem()}),
    )?;
    let begin = Instant::now();
    until_published(stage, &[&second, &first]).await?;
    let took = begin.elapsed();
    let report = tokio::task::spawn_blocking(|| load.end()).await??;
    println!("SOAK every pod signs with the new key after {:.1} s; {report}", took.as_secs_f32());
    ensure!(state(stage).await? == before, "{:#?} was {before:#?}", state(stage).await?);
    ensure!(report.failed == 0 && report.sent > 100, "{report}");
    Ok(())
}

/// Waits until two pods, and no others, publish exactly these keys, the one that signs first.
async fn until_published(stage: &Stage, keys: &[&KeyPair]) -> Result<()> {
    let wanted: Vec<_> = keys.iter().map(|key| point(key)).collect::<Result<_>>()?;
    let what = format!("{} keys in every pod", keys.len());
    wait_until(TAKEN.max(READY), &what, async || match published(stage).await {
        Ok(found) => Look::when(found, |found| found.len() == 2 && found.values().all(|x| *x == wanted)),
        Err(error) => Look::NotYet(BTreeMap::from([(format!("{error:#}"), Vec::new())])),
    })
    .await
    .map(drop)
}

/// The keys of each pod, which are no secret.
async fn published(stage: &Stage) -> Result<BTreeMap<String, Vec<String>>> {
    let keys = |set: &str| -> Result<Vec<String>> {
        let set: Value = serde_json::from_str(set)?;
        let keys = set["keys"].as_array().context("no keys")?;
        Ok(keys.iter().filter_map(|key| key["x"].as_str().map(str::to_owned)).collect())
    };
    let answers = stage.ask_pods("/.well-known/jwks.json").await?;
    answers.into_iter().map(|(pod, set)| Ok((pod, keys(&set)?))).collect()
}

/// A public key as RFC 8037 writes it.
fn point(key: &KeyPair) -> Result<String> {
    let base64 = serde_json::to_value(ByteString(key.der_bytes().to_vec()))?;
    let base64 = base64.as_str().context("no text")?;
    Ok(base64.trim_end_matches('=').replace('+', "-").replace('/', "_"))
}

/// What a restart would change: pods and how often their containers began, the Deployment's template and revision, and
/// the restarts in status.
#[derive(Debug, PartialEq)]
struct State {
    pods: BTreeSet<(String, String, i32)>,
    deployment: [Value; 3],
    status: (Option<i64>, usize),
}

async fn state(stage: &Stage) -> Result<State> {
    let pods = Api::<Pod>::namespaced(stage.cluster.client.clone(), &stage.namespace.name);
    let pods = pods.list(&ListParams::default()).await?.into_iter().map(|pod| {
        let began = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
        (pod.name_any(), pod.uid().unwrap_or_default(), began.map(|container| container.restart_count).sum())
    });
    let live = stage.service.child(Kind::Deployment, NAME).await?.context("no Deployment")?;
    let revision = &live["metadata"]["annotations"]["deployment.kubernetes.io/revision"];
    let deployment = [&live["metadata"]["generation"], revision, &live["spec"]["template"]].map(Value::clone);
    let HardenedService { status, .. } = stage.service.get().await?;
    let status = status.context("no status")?;
    Ok(State { pods: pods.collect(), deployment, status: (status.revision, status.restarts.len()) })
}
