//! The process: settings, identity, terms of leadership one after another, and its end.

use std::{future::Future, path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use futures::FutureExt;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use render::Settings;

use crate::{
    Run, admin,
    controller::{self, Term},
    fence::Fence,
    gate::Gate,
    lease::{Election, Held},
    vault::Vaults,
    view::View,
};

/// No answer to a request about the lease takes longer; others have the deadline of their pass.
const LEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs the operator until SIGTERM or SIGINT.
pub async fn run(args: Run) -> anyhow::Result<()> {
    let (settings, vaults) = read_settings(&args)?;
    let config = client_config(args.kubeconfig.as_deref()).await?;
    let stop = shutdown().shared();
    let view = Arc::new(View::default());
    let admin = admin::serve(args.admin_bind, view.clone(), stop.clone())?;
    let process = Process { args, settings, vaults: Arc::new(vaults), config, view };
    if process.args.leader_elect {
        process.lead(stop).await?;
    } else {
        process.term(Arc::new(Fence::open()), stop).await?;
    }
    tracing::info!("stopped");
    admin.await.context("admin server")?.context("admin server")
}

struct Process {
    args: Run,
    settings: Settings,
    vaults: Arc<Vaults>,
    config: Config,
    view: Arc<View>,
}

/// How a term ends.
enum End {
    Lost(String),
    Done(anyhow::Result<()>),
}

impl Process {
    /// Stands for election again and again. A lost term ends with everything that ran in it; the next one starts from
    /// fresh lists.
    async fn lead(&self, stop: impl Future<Output = ()> + Send + Clone + 'static) -> anyhow::Result<()> {
        let mut config = self.config.clone();
        config.default_retry = false;
        config.read_timeout = Some(LEASE_TIMEOUT);
        config.reset_reader_on_write = true;
        let client = Client::try_from(config).context("building the client for the lease")?;
        let identity = format!("{}/{}", self.args.namespace, self.args.instance());
        let election = Election::new(client, &self.args.lease_namespace, identity);
        loop {
            let mut held = tokio::select! {
                held = election.acquire(|wait| self.view.stand_by(&self.args.namespace, wait)) => held,
                () = stop.clone() => return Ok(()),
            };
            tracing::info!("leading");
            match self.under(&election, &mut held, stop.clone()).await {
                End::Lost(why) => {
                    tracing::error!(why, "the lease is lost: nothing is written any more");
                    // Who only stands by needs neither tokens nor values.
                    self.vaults.end().await;
                }
                End::Done(result) => {
                    election.release(&held).await;
                    return result;
                }
            }
        }
    }

    async fn under(
        &self,
        election: &Election,
        held: &mut Held,
        stop: impl Future<Output = ()> + Send + Clone + 'static,
    ) -> End {
        let fence = held.fence.clone();
        let end = tokio::select! {
            why = election.keep(held) => End::Lost(why),
            result = self.term(fence.clone(), stop) => End::Done(result),
        };
        // What is left of the term on another thread meets a closed fence.
        fence.close();
        self.view.not_leading();
        end
    }

    async fn term(
        &self,
        fence: Arc<Fence>,
        stop: impl Future<Output = ()> + Send + Clone + 'static,
    ) -> anyhow::Result<()> {
        let client = Gate::new(fence).client(&self.config).context("building the Kubernetes client")?;
        let term = Term {
            client,
            args: &self.args,
            settings: self.settings.clone(),
            vaults: self.vaults.clone(),
            view: self.view.clone(),
        };
        controller::serve(term, stop).await
    }
}

/// What is left in the settings is for the children: each pass has a copy of that.
fn read_settings(args: &Run) -> anyhow::Result<(Settings, Vaults)> {
    let Some(path) = &args.settings else { return Ok(Default::default()) };
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let settings: Result<Settings, _> = serde_saphyr::from_str(&text);
    let mut settings = settings.with_context(|| format!("{} is not valid settings YAML", path.display()))?;
    let connections = std::mem::take(&mut settings.vault_connections);
    let vaults = Vaults::new(connections).with_context(|| format!("checking {}", path.display()))?;
    Ok((settings, vaults))
}

/// From this file, or from where the process runs.
pub async fn client_config(kubeconfig: Option<&Path>) -> anyhow::Result<Config> {
    match kubeconfig {
        Some(path) => {
            let kubeconfig =
                Kubeconfig::read_from(path).with_context(|| format!("reading {}", path.display()))?;
            Ok(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)
        }
        None => Config::infer().await.context("no service account and no kubeconfig; set --kubeconfig"),
    }
}

/// Resolves at SIGTERM (the kubelet) or SIGINT (a terminal).
fn shutdown() -> impl Future<Output = ()> + Send {
    use tokio::signal::unix::{SignalKind, signal};
    let terminate = signal(SignalKind::terminate());
    let interrupt = signal(SignalKind::interrupt());
    async move {
        match (terminate, interrupt) {
            (Ok(mut terminate), Ok(mut interrupt)) => {
                tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
            }
            // Without signals the process still ends by SIGKILL, and every state is safe to be killed in.
            _ => std::future::pending().await,
        }
    }
}
