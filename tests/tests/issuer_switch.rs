//! Does another issuer in the spec fail no handshake of clients that trust only the published `ca.crt`, also when the
//! operator dies meanwhile? With the real image on the real node. Needs root, and no other node on this host.
//!
//! Vault is left out: what is kept is read from the TLS Secret, whoever filled it, and `vault_pki.rs` has its switches.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};
use testbed::certificate::{Pair, ca, tls_secret};
use testbed::cluster::OPERATOR_NAMESPACE;
use testbed::handshakes::Handshakes;
use testbed::load::served_certificate;
use testbed::operator::Options;
use testbed::provided::{Provided, SOURCE};
use testbed::stage::{NAME, Stage};
use testbed::{Look, wait_until};

const RATE: u32 = 50;
/// How often clients read their file again.
const READ: Duration = Duration::from_millis(500);
/// A kubelet brings a changed Secret into its volume within its sync period of a minute and a half.
const SERVED: Duration = Duration::from_mins(4);
/// As long the new certificate alone is watched after each switch.
const AFTER: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn switching_issuers_fails_no_handshake_and_the_served_certificate_changes_once_a_switch() -> Result<()>
{
    let Some(mut stage) = Stage::set(Options::default()).await? else { return Ok(()) };
    let (pods, client) = (stage.pods().await?, stage.cluster.client.clone());
    let provided = Provided::for_names(&["studio.example.com", &stage.target().await?.host])?;
    let secrets = Api::<Secret>::namespaced(client.clone(), &stage.namespace.name);
    secrets.create(&PostParams::default(), &provided.secret(SOURCE, NAME)).await?;
    let own = ca(&client, OPERATOR_NAMESPACE).await?;
    let load = Handshakes::start(stage.target().await?, RATE)?;
    let user = json!({"selfSigned": null, "secret": {"name": SOURCE}});
    let operator = json!({"secret": null, "selfSigned": {}});
    for (issuer, root, dies) in [(&user, &provided.root, false), (&operator, &own, true)] {
        let took = switch(&mut stage, &load, issuer, dies).await?;
        ensure!(stage.target().await?.ca.trim() == root.trim(), "ca.crt is not the issuer's alone");
        ensure!(stage.pods().await? == pods, "another issuer needs no new pod");
        println!("SOAK {issuer}: served by every pod after {} s", took.as_secs());
    }
    println!("SOAK end: {} handshakes, 0 failed", load.end_without_failure()?);
    Ok(())
}

/// Names another issuer, lets the operator die once the new pair is written if it should, and waits until every pod
/// serves it and clients trust its issuer alone. Meanwhile clients read their file again and again.
async fn switch(stage: &mut Stage, load: &Handshakes, issuer: &Value, dies: bool) -> Result<Duration> {
    let (client, namespace) = (stage.cluster.client.clone(), stage.namespace.name.clone());
    let serial = async || Pair::of(&tls_secret(&client, &namespace, NAME).await?)?.serial();
    let before = serial().await?;
    let mut seen = BTreeSet::from([served_certificate(&stage.target().await?)?.to_vec()]);
    stage.service.patch(&json!({"spec": {"tls": {"issuer": issuer}}})).await?;
    wait_until(SERVED, "the new pair", async || match serial().await {
        Ok(now) if now != before => Look::Done(()),
        other => Look::NotYet(format!("{other:?}")),
    })
    .await?;
    if dies {
        stage.operator.kill().await?;
        stage.operator.restart().await?;
    }
    let begin = Instant::now();
    let mut settled: Option<Instant> = None;
    while settled.is_none_or(|at| at.elapsed() < AFTER) {
        tokio::time::sleep(READ).await;
        let target = stage.target().await?;
        load.read_again(&target.ca)?;
        seen.insert(served_certificate(&target)?.to_vec());
        let alone = target.ca.matches("BEGIN CERTIFICATE").count() == 1;
        if settled.is_none() && alone && stage.serves_secret(&target).await? {
            settled = Some(Instant::now());
        }
        ensure!(begin.elapsed() < SERVED, "not served after {SERVED:?}; {:?}", load.failures().last());
    }
    ensure!(seen.len() == 2, "{} certificates were served", seen.len());
    Ok(settled.context("never settled")?.duration_since(begin))
}
