//! Is the CA replaced without a moment in which what is served is not trusted, wherever the operator is killed? Does an
//! emergency drop the old one at once, and does time alone bring what is due, once?

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use crds::HardenedService;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use testbed::certificate::{self, CA_SECRET, History, Pair};
use testbed::cluster::NAMESPACE_ROLE;
use testbed::fixture::{OPERATOR, Service, condition, named, rest};
use testbed::home::home;
use testbed::operator::Options;
use testbed::rights;
use testbed::trust::{self, Trust};
use testbed::{Cluster, Look, Namespace, Operator, wait_until};

const LIMIT: Duration = Duration::from_mins(1);
const SERVICES: [&str; 3] = ["one", "two", "three"];

#[tokio::test]
async fn a_rotation_that_is_killed_at_each_step_never_serves_what_clients_do_not_trust() -> Result<()> {
    let stage = Stage::set("rotate", &[]).await?;
    let mut operator = stage.operator().await?;
    let services = stage.services().await?;
    let (history, trust) = (History::watch(&stage.cluster.client, &stage.namespace.name), stage.watch());
    let first = stage.ca().await?;
    stage.ask("").await?;
    for (step, holds, lacks) in
        [("the next CA", "next.crt", "previous.crt"), ("it to sign", "previous.crt", "next.crt")]
    {
        stage.until(step, |keys| keys.contains_key(holds) && !keys.contains_key(lacks)).await?;
        operator.kill().await?;
        operator.restart().await?;
    }
    stage.until("the end", |keys| keys.len() == 2).await?;
    operator.kill().await?;
    operator.restart().await?;
    let last = stage.ca().await?;
    ensure!(first != last, "the same CA");
    let maps = Api::<ConfigMap>::namespaced(stage.cluster.client.clone(), &stage.home.name);
    let recorded = maps.get("hardened-operator-keys").await?.data.unwrap_or_default();
    ensure!(recorded.get("ca.crt") == Some(&last), "after a loss clients would trust another CA");
    for service in &services {
        let name = &service.name;
        wait_until(LIMIT, &format!("{name} to serve the new CA's"), async || {
            let secret = certificate::tls_secret(&stage.cluster.client, &stage.namespace.name, name).await;
            let checked = secret.and_then(|secret| {
                let pair = Pair::of(&secret)?;
                pair.check(&last, &pair.names()?)
            });
            checked.map_or_else(|error| Look::NotYet(format!("{error:#}")), Look::Done)
        })
        .await?;
        service.until("the phase to end", |s| phase(s).is_none()).await?;
        // Without pods to wait for, a certificate that shows the trust and one of the new CA.
        assert_eq!(history.serials(name).len(), 3, "{name}");
    }
    let seen = trust.end();
    ensure!(seen.len() > 5 * SERVICES.len(), "{} versions", seen.len());
    trust::check(&seen)
}

#[tokio::test]
async fn in_an_emergency_the_old_ca_is_gone_at_once_and_a_rotation_under_way_with_it() -> Result<()> {
    let stage = Stage::set("emergency", &["--ca-overlap", "3600"]).await?;
    let _operator = stage.operator().await?;
    let services = stage.services().await?;
    let first = stage.ca().await?;
    stage.ask("").await?;
    stage.until("the next CA", |keys| keys.contains_key("next.crt")).await?;
    for service in &services {
        service.until("TrustEverywhere", |s| phase(s).as_deref() == Some("TrustEverywhere")).await?;
    }
    stage.ask("emergency").await?;
    stage.until("one CA", |keys| keys.len() == 2).await?;
    let last = stage.ca().await?;
    ensure!(first != last);
    for service in &services {
        service.until("the phase to end", |s| phase(s).is_none()).await?;
        let secret =
            certificate::tls_secret(&stage.cluster.client, &stage.namespace.name, &service.name).await?;
        let pair = Pair::of(&secret)?;
        pair.check(&last, &pair.names()?)?;
    }
    let Some(audit) = stage.cluster.audit() else { return Ok(()) };
    rest(&audit, &stage.namespace.name).await
}

#[tokio::test]
async fn time_alone_renews_each_certificate_once_and_in_the_end_the_ca() -> Result<()> {
    let stage = Stage::set("time", &[]).await?;
    let mut operator = stage.operator().await?;
    let services = stage.services().await?;
    let history = History::watch(&stage.cluster.client, &stage.namespace.name);
    let first = stage.ca().await?;
    let serials = || SERVICES.map(|name| history.serials(name).len());
    // 90 days are renewed after 60, or up to a twentieth of 30 earlier; clocks that go back, or a bit ahead, change nothing.
    for (clock, expected) in [("-24h", 1), ("1400h", 1), ("1441h", 2), ("1417h", 2), ("1441h", 2)] {
        operator.kill().await?;
        operator.restart_with(&stage.cluster, stage.options(&[("HARDENED_CLOCK", clock)])).await?;
        for service in &services {
            service.made().await?;
        }
        if let Some(audit) = stage.cluster.audit() {
            rest(&audit, &stage.namespace.name).await?;
        }
        assert_eq!(serials(), [expected; 3], "{clock}");
    }
    assert_eq!(stage.ca().await?, first);
    operator.kill().await?;
    operator.restart_with(&stage.cluster, stage.options(&[("HARDENED_CLOCK", "58420h")])).await?;
    stage.until("another CA", |keys| keys.contains_key("previous.crt")).await?;
    stage.until("the end", |keys| keys.len() == 2).await?;
    ensure!(stage.ca().await? != first, "two thirds of ten years have passed");
    Ok(())
}

#[tokio::test]
async fn without_the_right_to_list_pods_the_service_says_so_and_the_old_ca_stays() -> Result<()> {
    let stage = Stage::set("blind", &[]).await?;
    let all = rights::of_cluster_role(&stage.cluster, NAMESPACE_ROLE).await?;
    let namespace = stage.cluster.foreign_namespace("blind").await?;
    let grant = async |rules| rights::grant(&stage.cluster, &namespace.name, OPERATOR, OPERATOR, rules).await;
    grant(rights::rules(all.iter().filter(|right| right.resource != "pods"))).await?;
    stage.cluster.annotate(&namespace, "*.example.com").await?;
    let _operator = stage.operator().await?;
    let service =
        Service::create(&stage.cluster, &namespace.name, &named("minimal-development", "blind")?).await?;
    service.made().await?;
    stage.ask("").await?;
    service
        .until("the right to be named", |s| {
            condition(s, "TLSReady").is_some_and(|c| c.status == "True" && c.message.contains("list pods"))
        })
        .await?;
    stage.until("the next CA", |keys| keys.contains_key("next.crt")).await?;
    grant(rights::rules(&all)).await?;
    stage.until("the end", |keys| keys.len() == 2).await?;
    service.until("the phase to end", |s| phase(s).is_none()).await.map(drop)
}

/// Where the operator has keys of its own. Fields are dropped in this order.
struct Stage {
    namespace: Namespace,
    home: Namespace,
    arguments: Vec<String>,
    cluster: Cluster,
}

impl Stage {
    async fn set(name: &str, more: &[&str]) -> Result<Self> {
        let cluster = Cluster::get().await?;
        let (home, namespace) = (home(&cluster, "home").await?, cluster.namespace(name).await?);
        let overlap = if more.is_empty() { &["--ca-overlap", "1"] } else { more };
        let arguments =
            testbed::home::at(&home).into_iter().chain(overlap.iter().map(|&text| text.to_owned())).collect();
        Ok(Self { namespace, home, arguments, cluster })
    }

    fn options(&self, env: &[(&str, &str)]) -> Options {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Options { args: self.arguments.clone(), env, ..Options::default() }
    }

    async fn operator(&self) -> Result<Operator> {
        Operator::start_with(&self.cluster, self.options(&[])).await
    }

    async fn services(&self) -> Result<Vec<Service>> {
        let mut services = Vec::new();
        for name in SERVICES {
            let wanted = named("minimal-development", name)?;
            let service = Service::create(&self.cluster, &self.namespace.name, &wanted).await?;
            service.made().await?;
            services.push(service);
        }
        Ok(services)
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.cluster.client.clone(), &self.home.name)
    }

    async fn ca(&self) -> Result<String> {
        certificate::ca(&self.cluster.client, &self.home.name).await
    }

    /// Asks for another CA.
    async fn ask(&self, how: &str) -> Result<()> {
        certificate::ask_for_another_ca(&self.cluster.client, &self.home.name, how).await
    }

    async fn until(
        &self,
        what: &str,
        is_so: impl Fn(&BTreeMap<String, k8s_openapi::ByteString>) -> bool,
    ) -> Result<()> {
        wait_until(LIMIT, what, async || match self.secrets().get(CA_SECRET).await {
            Ok(secret) => {
                let data = secret.data.unwrap_or_default();
                let keys: Vec<_> = data.keys().cloned().collect();
                if is_so(&data) { Look::Done(()) } else { Look::NotYet(format!("{keys:?}")) }
            }
            Err(error) => Look::NotYet(error.to_string()),
        })
        .await
    }

    fn watch(&self) -> Trust {
        Trust::watch(&self.cluster.client, &self.namespace.name)
    }
}

fn phase(service: &HardenedService) -> Option<String> {
    let phase = service.status.as_ref()?.tls.as_ref()?.phase?;
    Some(format!("{phase:?}"))
}
