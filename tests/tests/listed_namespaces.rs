//! Does an operator that was given a list of namespaces work there with rights in these alone, and ask for nothing else?

use anyhow::{Context, Result, ensure};
use testbed::cluster::NAMESPACE_ROLE;
use testbed::fixture::{Service, example};
use testbed::home;
use testbed::operator::Options;
use testbed::progress::not_checked;
use testbed::rights::{self, Right};
use testbed::{Cluster, Namespace, Operator};

const USER: &str = "listed-operator";
/// Watched by name, whoever lists them.
const BY_NAME: [&str; 2] = ["namespaces", "customresourcedefinitions"];

#[tokio::test]
async fn with_rights_in_two_namespaces_it_works_there_and_asks_for_nothing_else() -> Result<()> {
    let cluster = Cluster::get().await?;
    let home = home::home(&cluster, "listed-home").await?;
    let mut listed = Vec::new();
    for prefix in ["listed-a", "listed-b"] {
        listed.push(cluster.namespace(prefix).await?);
    }
    let other = cluster.namespace("unlisted").await?;
    allow(&cluster, &home, &listed).await?;
    let Some(audit) = cluster.audit() else {
        not_checked("what the operator asks for is read from the audit log");
        return Ok(());
    };
    let mark = audit.mark().await?;

    let names: Vec<_> = listed.iter().map(|namespace| namespace.name.clone()).collect();
    let mut args = home::at(&home);
    args.extend(["--namespaces".into(), names.join(",")]);
    let kubeconfig = Some(rights::kubeconfig_as(&cluster, USER)?);
    let mut operator =
        Operator::start_with(&cluster, Options { kubeconfig, args, ..Options::default() }).await?;
    let service = example("autoscaling")?;
    let unseen = Service::create(&cluster, &other.name, &service).await?;
    for namespace in &listed {
        Service::create(&cluster, &namespace.name, &service).await?.made().await?;
    }
    // The list of one namespace must not take the services of the other away.
    operator.stop().await?;
    operator.restart().await?;
    let added = Service::create(&cluster, &listed[0].name, &example("minimal-production")?).await?;
    added.made().await?;
    let (code, body) = operator.get("/readyz").await?;
    ensure!(code == 200 && !body.contains("denied"), "{code} {body}");
    let (_, metrics) = operator.get("/metrics").await?;
    ensure!(metrics.contains("hardened_services 3"), "{metrics}");
    ensure!(
        unseen.get().await?.status.is_some_and(|status| status.conditions.is_empty()),
        "it was looked at"
    );

    let seen = audit.since(mark).await?.by(USER);
    ensure!(seen.count() > 50, "too few requests: {seen}");
    let own = |namespace: &str| namespace == home.name || names.iter().any(|name| name == namespace);
    let elsewhere = seen.clone().only(|request| {
        let by_name = BY_NAME.contains(&&*request.resource) && !request.name.is_empty();
        // Version and API groups are no resources.
        !(own(&request.namespace) || by_name || request.resource.is_empty())
    });
    ensure!(elsewhere.count() == 0, "asked for outside the list: {elsewhere}");
    let denied = seen.only(|request| request.code == 403);
    ensure!(denied.count() == 0, "denied: {denied}");
    Ok(())
}

/// Everything that the chart grants, but in these namespaces, and of the cluster only what can be named.
async fn allow(cluster: &Cluster, home: &Namespace, listed: &[Namespace]) -> Result<()> {
    let everywhere = rights::of_cluster_role(cluster, "hardened-operator-cluster").await?;
    let (named, inside): (Vec<_>, Vec<_>) =
        everywhere.into_iter().partition(|right| BY_NAME.contains(&&*right.resource));
    let mut inside: Vec<Right> = inside;
    inside.extend(rights::of_cluster_role(cluster, NAMESPACE_ROLE).await?);
    for namespace in listed {
        rights::grant(cluster, &namespace.name, USER, USER, rights::rules(&inside)).await?;
    }
    let named = named.into_iter().flat_map(|right| {
        let places: Vec<_> = match &right.name {
            Some(name) => vec![name.clone()],
            None => listed.iter().map(|namespace| namespace.name.clone()).collect(),
        };
        places.into_iter().map(move |name| Right { name: Some(name), ..right.clone() })
    });
    let named: Vec<_> = named.collect();
    ensure!(named.len() == 6, "{named:?}");
    let owner = rights::owned_by_namespace(cluster, &home.name).await?;
    rights::grant_everywhere(cluster, &home.name, USER, &rights::rules(&named), &owner).await?;
    let roles = rights::of_roles(cluster, &home.name).await?;
    rights::grant(cluster, &home.name, USER, USER, rights::rules(&roles)).await?;
    let last = roles.last().context("no rights for the keys")?;
    rights::until_allowed(cluster, USER, Some(&home.name), last, true).await
}
