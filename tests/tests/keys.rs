//! Does the operator make its own keys once, never replace a lost one in silence, and agree with a second operator?

use anyhow::Result;
use crds::HardenedService;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ListParams, ObjectMeta, PostParams};
use kube::{Api, ResourceExt};
use render::Kind;
use testbed::certificate::{self, CA_SECRET, Pair};
use testbed::fixture::{Service, condition, example, rest};
use testbed::home::home;
use testbed::operator::Options;
use testbed::{Cluster, Namespace, Operator};

const HMAC_SECRET: &str = "hardened-operator-hmac";
/// Rounds in which two operators may miss each other before the race is called untested.
const ROUNDS: usize = 20;

#[tokio::test]
async fn a_lost_ca_is_reported_and_neither_replaced_nor_felt_by_what_runs() -> Result<()> {
    let cluster = Cluster::get().await?;
    let (home, namespace) = (home(&cluster, "home").await?, cluster.namespace("lost").await?);
    let mut operator = Operator::start_with(&cluster, at(&home)).await?;
    let service = Service::create(&cluster, &namespace.name, &named("before")?).await?;
    let before = service.made().await?;
    let bundle = service.child(Kind::ConfigMap, "before-ca").await?;
    let secret = certificate::tls_secret(&cluster.client, &namespace.name, "before").await?;
    operator.kill().await?;
    let lost = take(&cluster, &home, CA_SECRET).await?;

    operator.restart().await?;
    assert_eq!(operator.get("/readyz").await?, (200, "lists: ok\nca: lost\n".to_owned()));
    let now = service.until("TLSReady to say CaLost", |s| reason(s, "TLSReady") == "CaLost").await?;
    assert_eq!(condition(&now, "TLSReady").map(|c| c.status.as_str()), Some("False"));
    assert_eq!(
        now.status.and_then(|s| s.tls),
        before.status.and_then(|s| s.tls),
        "the certificate is still in use"
    );
    let new = Service::create(&cluster, &namespace.name, &named("after")?).await?;
    new.until_reason("CaLost").await?;
    assert!(new.child(Kind::Deployment, "after").await?.is_none(), "pods without a certificate");
    assert!(new.child(Kind::Secret, "after-tls").await?.is_none(), "a certificate from nowhere");
    assert_eq!(
        service.child(Kind::ConfigMap, "before-ca").await?,
        bundle,
        "clients would trust nobody any more"
    );
    assert_eq!(certificate::tls_secret(&cluster.client, &namespace.name, "before").await?, secret);
    assert_eq!(secrets(&cluster, &home).await?, [HMAC_SECRET], "a new CA was made");

    operator.kill().await?;
    let restored = Secret { metadata: named_only(CA_SECRET), ..lost };
    api(&cluster, &home).create(&PostParams::default(), &restored).await?;
    operator.restart().await?;
    new.made().await?;
    service.until("TLSReady to be good again", |s| reason(s, "TLSReady") == "Ready").await?;
    assert_eq!(certificate::tls_secret(&cluster.client, &namespace.name, "before").await?, secret);
    Ok(())
}

#[tokio::test]
async fn without_its_hmac_key_the_operator_refuses_to_start_and_says_what_to_do() -> Result<()> {
    let cluster = Cluster::get().await?;
    let home = home(&cluster, "home").await?;
    let mut operator = Operator::start_with(&cluster, at(&home)).await?;
    operator.stop().await?;
    take(&cluster, &home, HMAC_SECRET).await?;
    // The turn is given back before the next one is taken.
    drop(operator);
    let mut operator = Operator::launch(&cluster, at(&home)).await?;
    assert!(!operator.wait_end().await?.success());
    let log = operator.log();
    assert!(log.contains(&format!("secret {HMAC_SECRET} is gone")) && log.contains("restore it"), "{log}");
    assert_eq!(secrets(&cluster, &home).await?, [CA_SECRET], "a new key would restart every workload");
    Ok(())
}

#[tokio::test]
async fn two_operators_that_start_at_once_agree_on_one_ca() -> Result<()> {
    let cluster = Cluster::get().await?;
    let Some(audit) = cluster.audit() else { return Ok(()) };
    for round in 1..=ROUNDS {
        let home = home(&cluster, "home").await?;
        let mark = audit.mark().await?;
        // With an election only one of them would look for keys at a time.
        let args = [at(&home).args, vec!["--leader-elect=false".into()]].concat();
        let options = Options { args, ..Options::default() };
        let first = Operator::launch(&cluster, options.clone()).await?;
        let second = Operator::launch(&cluster, Options { beside: true, ..options }).await?;
        first.wait_ready().await?;
        second.wait_ready().await?;
        let posts = audit.since(mark).await?.within(&home.name).verb("create").resource("secrets");
        let lost = posts.clone().only(|request| request.code == 409).count();
        assert_eq!(posts.count() - lost, 2, "one CA and one HMAC key: {posts}");
        if lost == 0 {
            continue;
        }
        let namespace = cluster.namespace("two").await?;
        let service = Service::create(&cluster, &namespace.name, &named("two")?).await?;
        service.made().await?;
        // With two CAs each operator would undo the other's certificate for ever.
        rest(&audit, &namespace.name).await?;
        let pair = Pair::of(&certificate::tls_secret(&cluster.client, &namespace.name, "two").await?)?;
        pair.check(&certificate::ca(&cluster.client, &home.name).await?, &pair.names()?)?;
        println!("{lost} of {} posts lost a race in round {round}", posts.count());
        return Ok(());
    }
    anyhow::bail!("in {ROUNDS} rounds no two operators met");
}

fn at(home: &Namespace) -> Options {
    Options { args: testbed::home::at(home), ..Options::default() }
}

fn api(cluster: &Cluster, home: &Namespace) -> Api<Secret> {
    Api::namespaced(cluster.client.clone(), &home.name)
}

/// Deletes a key and gives it back.
async fn take(cluster: &Cluster, home: &Namespace, name: &str) -> Result<Secret> {
    let secret = api(cluster, home).get(name).await?;
    api(cluster, home).delete(name, &DeleteParams::default()).await?;
    Ok(secret)
}

async fn secrets(cluster: &Cluster, home: &Namespace) -> Result<Vec<String>> {
    Ok(api(cluster, home).list(&ListParams::default()).await?.iter().map(ResourceExt::name_any).collect())
}

fn reason<'a>(service: &'a HardenedService, type_: &str) -> &'a str {
    condition(service, type_).map_or("", |condition| &condition.reason)
}

fn named(name: &str) -> Result<HardenedService> {
    let mut service = example("minimal-development")?;
    service.metadata = named_only(name);
    Ok(service)
}

fn named_only(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() }
}
