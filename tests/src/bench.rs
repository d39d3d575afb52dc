//! What services cost the operator and the API server: requests, writes, CPU, memory, time. Each run has a control
//! plane of its own and a release build of the operator. It measures and judges nothing.

pub mod certificates;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use crds::{ChildState, HardenedService};
use futures::{StreamExt, TryStreamExt};
use kube::api::{ListParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, ResourceExt};
use rustix::process::Signal;
use serde_json::json;

use crate::audit::{Audit, Mark, Requests};
use crate::cluster::{Cluster, Namespace};
use crate::fixture::{self, OPERATOR};
use crate::operator::{Operator, Options};
use crate::private::PrivateTestbed;
use crate::progress::Progress;
use crate::wait::until_still;
use crate::{figures, install, process};

/// Services are spread over so many namespaces, as many teams would have them.
const NAMESPACES: usize = 10;
/// Requests of the one who creates them that are under way at once.
const AT_ONCE: usize = 50;
/// The operator has nothing to do any more when it has looked at no service for so long.
const QUIET: Duration = Duration::from_secs(3);
const LIMIT: Duration = Duration::from_mins(5);

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How often services are created on a fresh control plane.
    pub runs: usize,
    /// How many at once.
    pub services: usize,
    /// Numbers of services at which memory is measured, rising, in one more run.
    pub many: Vec<usize>,
}

/// What one creation of many services took.
#[derive(Clone, Debug)]
pub struct Created {
    /// How many services.
    pub services: usize,
    /// Until every child of the last one was applied, from the first request on.
    pub time: Duration,
    /// CPU of the operator until it had nothing more to do.
    pub cpu: Duration,
    /// Requests of the operator, watches included, its Lease aside.
    pub requests: usize,
    /// Those of them that changed something, events aside.
    pub writes: usize,
    /// Those of them that were events.
    pub events: usize,
    /// Resident memory afterwards, in KiB.
    pub resident: u64,
}

/// What a restart with so many services took.
#[derive(Clone, Debug)]
pub struct Restarted {
    /// How many services.
    pub services: usize,
    /// Pages of lists.
    pub lists: usize,
    /// Watches opened.
    pub watches: usize,
    /// Reads of TLS Secrets.
    pub secrets: usize,
    /// Everything else, its Lease aside.
    pub others: usize,
    /// Those of all that changed something, events included.
    pub writes: usize,
}

impl Restarted {
    /// All of them.
    pub fn requests(&self) -> usize {
        self.lists + self.watches + self.secrets + self.others
    }
}

/// What works beside the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beside {
    /// etcd, kube-apiserver, kube-controller-manager and kube-scheduler.
    Controllers,
    /// etcd and kube-apiserver only, so that every request is the operator's or the creator's.
    ApiServer,
}

/// One control plane with an operator, and what it has to do.
struct Bench {
    // Dropped in this order: the operator before the cluster.
    operator: Operator,
    namespaces: Vec<Namespace>,
    cluster: Cluster,
    audit: Audit,
    shape: HardenedService,
    made: usize,
    testbed: PrivateTestbed,
}

/// Measures everything; gives a table in Markdown.
pub async fn run(plan: &Plan) -> Result<String> {
    let progress = Progress::start();
    let (mut created, mut alone) = (Vec::new(), Vec::new());
    let mut restarted = Vec::new();
    for number in 1..=plan.runs {
        let mut bench = Bench::start(Beside::Controllers).await?;
        created.push(bench.create(plan.services).await?);
        progress.step(&format!("run {number} of {}: {:?}", plan.runs, created[number - 1]));
        restarted.push(bench.restart().await?);
        progress.step(&format!("restart: {:?}", restarted[number - 1]));
        drop(bench);
        alone.push(Bench::start(Beside::ApiServer).await?.create(plan.services).await?);
        progress.step(&format!("beside the API server alone: {:?}", alone[number - 1]));
    }
    let mut grown = Vec::new();
    if !plan.many.is_empty() {
        let mut bench = Bench::start(Beside::Controllers).await?;
        for many in &plan.many {
            let more = many.checked_sub(bench.made).context("the numbers must rise")?;
            grown.push((*many, bench.create(more).await?.resident));
            progress.step(&format!("{many} services: {} MiB", grown[grown.len() - 1].1 / 1024));
        }
        restarted.push(bench.restart().await?);
        progress.step(&format!("restart: {:?}", restarted[restarted.len() - 1]));
    }
    let children = fixture::wanted(&shape()?).len();
    Ok(figures::table(children, &created, &alone, &restarted, &grown))
}

/// A service with every child that there can be today.
fn shape() -> Result<HardenedService> {
    let mut shape = fixture::example("studio")?;
    shape.spec.workload.autoscaling =
        serde_json::from_value(json!({"minReplicas": 2, "maxReplicas": 10})).context("autoscaling")?;
    Ok(shape)
}

impl Bench {
    async fn start(beside: Beside) -> Result<Self> {
        let testbed = PrivateTestbed::new()?;
        testbed.run(&["up", "--control-plane"])?;
        let cluster = Cluster::of(&testbed).await?;
        let installed = cluster.clone();
        tokio::task::spawn_blocking(move || install::install(&installed)).await??;
        let audit = cluster.audit().context("no audit log")?;
        let mut namespaces = Vec::new();
        for _ in 0..NAMESPACES {
            namespaces.push(cluster.namespace("bench").await?);
        }
        let operator = Operator::start_with(&cluster, Options::default()).await?;
        let bench = Self { operator, namespaces, cluster, audit, shape: shape()?, made: 0, testbed };
        bench.rest().await?;
        if beside == Beside::ApiServer {
            bench.stop_controllers()?;
        }
        Ok(bench)
    }

    fn stop_controllers(&self) -> Result<()> {
        for name in ["kube-controller-manager", "kube-scheduler"] {
            let pid = process::pid(&self.testbed.state, name).with_context(|| format!("no {name}"))?;
            process::signal(pid, Signal::KILL);
            process::wait_gone(pid)?;
        }
        Ok(())
    }

    /// Creates so many more services at once and waits until all are applied and the operator rests.
    async fn create(&mut self, more: usize) -> Result<Created> {
        let numbers = self.made..self.made + more;
        let services: Vec<_> = numbers.map(|number| self.service(number)).collect();
        let (mark, cpu) = (self.audit.mark().await?, process::cpu(self.operator.pid())?);
        let everywhere = Api::<HardenedService>::all(self.cluster.client.clone());
        let from = everywhere.list_metadata(&ListParams::default().limit(1)).await?.metadata;
        let from = from.resource_version.context("a list without a version")?;
        let start = Instant::now();
        let create = futures::stream::iter(services.iter().map(Ok::<_, anyhow::Error>))
            .try_for_each_concurrent(AT_ONCE, async |service| {
                let namespace = service.namespace().unwrap_or_default();
                let api = Api::<HardenedService>::namespaced(self.cluster.client.clone(), &namespace);
                api.create(&PostParams::default(), service).await?;
                Ok(())
            });
        let names = services.iter().map(ResourceExt::name_any).collect();
        let children = fixture::wanted(&self.shape).len();
        let is_applied = |service: &HardenedService| {
            let status = service.status.iter().flat_map(|status| &status.children);
            status.filter(|child| child.state == ChildState::Applied).count() == children
        };
        let applied = self.until(&everywhere, &from, names, is_applied);
        tokio::time::timeout(LIMIT, async { tokio::try_join!(create, applied) }).await??;
        let time = start.elapsed();
        self.made += more;
        self.rest().await?;
        let seen = self.seen(mark).await?;
        Ok(Created {
            services: more,
            time,
            cpu: process::cpu(self.operator.pid())?.saturating_sub(cpu),
            requests: seen.count(),
            events: seen.clone().only(|request| request.resource == "events").count(),
            writes: seen.writes().count(),
            resident: process::resident(self.operator.pid())?,
        })
    }

    fn service(&self, number: usize) -> HardenedService {
        let mut service = self.shape.clone();
        service.metadata.name = Some(format!("bench-{number}"));
        service.metadata.namespace = Some(self.namespaces[number % NAMESPACES].name.clone());
        service
    }

    /// Waits until each of these services has passed a test.
    async fn until(
        &self,
        api: &Api<HardenedService>,
        from: &str,
        mut names: BTreeSet<String>,
        test: impl Fn(&HardenedService) -> bool,
    ) -> Result<()> {
        let params = WatchParams::default().timeout(290);
        let mut from = from.to_owned();
        let mut events = api.watch(&params, &from).await?.boxed();
        while !names.is_empty() {
            let Some(event) = events.try_next().await? else {
                // The API server ends the watch of a client that does not keep up.
                events = api.watch(&params, &from).await?.boxed();
                continue;
            };
            let (WatchEvent::Added(service) | WatchEvent::Modified(service)) = event else { continue };
            from = service.resource_version().unwrap_or(from);
            if test(&service) {
                names.remove(&service.name_any());
            }
        }
        Ok(())
    }

    /// Restarts the operator and waits until it has looked at everything.
    async fn restart(&mut self) -> Result<Restarted> {
        self.operator.stop().await?;
        let mark = self.audit.mark().await?;
        self.operator.restart().await?;
        self.rest().await?;
        let looked = passes(&self.operator).await?;
        ensure!(looked >= self.made, "only {looked} passes over {} services", self.made);
        let seen = self.seen(mark).await?;
        let secret = |name: &str| name.starts_with("bench-");
        let secrets = seen.clone().verb("get").resource("secrets").only(|get| secret(&get.name)).count();
        let [lists, watches] = ["list", "watch"].map(|verb| seen.clone().verb(verb).count());
        Ok(Restarted {
            services: self.made,
            lists,
            watches,
            secrets,
            others: seen.count() - lists - watches - secrets,
            writes: seen.only(|request| request.is_write() && !request.is_dry_run()).count(),
        })
    }

    /// What the operator has asked since then. Its Lease goes by the clock, not by the services.
    async fn seen(&self, mark: Mark) -> Result<Requests> {
        Ok(self.audit.since(mark).await?.by(OPERATOR).only(|request| request.resource != "leases"))
    }

    /// Waits until the operator has looked at no service for a moment.
    async fn rest(&self) -> Result<()> {
        until_still(LIMIT, "the operator to rest", QUIET, async || {
            // Seldom, because the operator's answers are its CPU too.
            tokio::time::sleep(QUIET / 10).await;
            passes(&self.operator).await.map(|count| (count, format!("{count} passes")))
        })
        .await
    }
}

/// How many passes the operator has made, by its own count.
async fn passes(operator: &Operator) -> Result<usize> {
    Ok(operator.counted("hardened_reconciles_total").await?.try_into()?)
}
