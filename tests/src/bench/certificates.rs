//! What certificates cost beside the services that they are for: services stand and rest, then all of their TLS Secrets
//! are deleted at once. It judges nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use crds::HardenedService;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt};

use super::{AT_ONCE, Bench, Beside, LIMIT, passes};
use crate::certificate::Pair;
use crate::figures;
use crate::process;
use crate::progress::Progress;

/// What new certificates for all services took.
#[derive(Clone, Debug)]
pub struct Renewed {
    /// How many.
    pub certificates: usize,
    /// From the first DELETE until status of the last service names its new certificate.
    pub time: Duration,
    /// CPU of the operator until it had nothing more to do.
    pub cpu: Duration,
    /// Passes of the operator over the services.
    pub passes: usize,
    /// Requests of the operator by verb and resource, its Lease aside.
    pub requests: BTreeMap<String, usize>,
    /// What a restart afterwards wrote.
    pub restart_writes: usize,
}

impl Renewed {
    /// Requests that read or write the service's own resource, or all the others.
    pub fn of_service(&self, own: bool) -> usize {
        let is_own = |what: &str| what.contains("hardenedservices");
        self.requests.iter().filter(|(what, _)| is_own(what) == own).map(|(_, count)| count).sum()
    }
}

/// Measures so many certificates so often, beside the controllers and without them; gives a table in Markdown.
pub async fn run(runs: usize, certificates: usize) -> Result<String> {
    let progress = Progress::start();
    let mut renewed = [Vec::new(), Vec::new()];
    for number in 1..=runs {
        for (beside, figures) in [Beside::Controllers, Beside::ApiServer].into_iter().zip(&mut renewed) {
            let mut bench = Bench::start(beside).await?;
            bench.create(certificates).await?;
            let figure = bench.renew().await?;
            progress.step(&format!("run {number} of {runs}, beside {beside:?}: {figure:?}"));
            figures.push(figure);
        }
    }
    Ok(figures::certificates(&renewed))
}

type Serials = BTreeMap<(String, String), String>;

impl Bench {
    /// Takes the TLS Secret of every service away and waits until each has another certificate.
    async fn renew(&mut self) -> Result<Renewed> {
        let services = Api::<HardenedService>::all(self.cluster.client.clone());
        let list = services.list(&ListParams::default()).await?;
        let before: Serials = list.items.iter().map(|service| (id(service), serial(service))).collect();
        let version = list.metadata.resource_version.context("a list without a version")?;
        let (mark, cpu) = (self.audit.mark().await?, process::cpu(self.operator.pid())?);
        let passes_before = passes(&self.operator).await?;
        let start = Instant::now();
        let delete = futures::stream::iter(before.keys().map(Ok::<_, anyhow::Error>))
            .try_for_each_concurrent(AT_ONCE, async |(namespace, name)| {
                let secrets = Api::<Secret>::namespaced(self.cluster.client.clone(), namespace);
                secrets.delete(&render::child_name(name, "tls"), &DeleteParams::default()).await?;
                Ok(())
            });
        let is_new = |service: &HardenedService| {
            let serial = serial(service);
            !serial.is_empty() && before.get(&id(service)).is_some_and(|before| *before != serial)
        };
        let names = before.keys().map(|(_, name)| name.clone()).collect();
        let renewed = self.until(&services, &version, names, is_new);
        tokio::time::timeout(LIMIT, async { tokio::try_join!(delete, renewed) }).await??;
        let time = start.elapsed();
        self.rest().await?;
        let cpu = process::cpu(self.operator.pid())?.saturating_sub(cpu);
        let passes = passes(&self.operator).await? - passes_before;
        let mut requests = BTreeMap::<String, usize>::new();
        for request in self.seen(mark).await?.0 {
            let parts = [&*request.resource, &*request.subresource];
            let of = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
            *requests.entry(format!("{} {of}", request.verb)).or_default() += 1;
        }
        self.check(&services).await?;
        let restart_writes = self.restart().await?.writes;
        Ok(Renewed { certificates: before.len(), time, cpu, passes, requests, restart_writes })
    }

    /// What status says is what the Secrets hold.
    async fn check(&self, services: &Api<HardenedService>) -> Result<()> {
        let services = services.list(&ListParams::default()).await?;
        let checks = futures::stream::iter(&services.items).map(|service| async {
            let (namespace, name) = id(service);
            let secret = crate::certificate::tls_secret(&self.cluster.client, &namespace, &name).await?;
            let held = Pair::of(&secret)?.serial()?.replace(':', "");
            let told = serial(service);
            ensure!(held == told, "{namespace}/{name} has {held}, and status says {told}");
            Ok(())
        });
        checks.buffer_unordered(AT_ONCE).try_collect().await
    }
}

fn id(service: &HardenedService) -> (String, String) {
    (service.namespace().unwrap_or_default(), service.name_any())
}

fn serial(service: &HardenedService) -> String {
    let tls = service.status.as_ref().and_then(|status| status.tls.as_ref());
    tls.and_then(|tls| tls.serial.clone()).unwrap_or_default()
}
