//! Starts keys, watches, queue and the admin server, and ends them in order.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures::{FutureExt, StreamExt, channel::mpsc};
use k8s_openapi::jiff::Timestamp;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
    runtime::{
        controller::{Action, Config as QueueConfig, Error as QueueError, applier},
        reflector::{self, ObjectRef},
    },
};
use render::{Kind, Settings};
use tokio::sync::Semaphore;

use crate::{
    Context, Run, admin,
    cache::Cache,
    error::Error,
    events::Events,
    keys::Keys,
    metrics::{Metrics, Outcome},
    reconcile::reconcile,
    watch::{self, Guarded, Pending, Queue},
};

/// Pause before a failed pass is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Runs the operator until SIGTERM or SIGINT.
pub async fn run(args: Run) -> anyhow::Result<()> {
    let settings = read_settings(&args)?;
    let config = client_config(&args).await?;
    let client = Client::try_from(config).context("building the Kubernetes client")?;
    let keys = Keys::load(&client, &args.namespace, Timestamp::now())
        .await
        .context("loading the operator's keys")?;
    if keys.ca.is_none() {
        tracing::error!(
            secret = crate::keys::CA_SECRET,
            "the CA is gone; no certificate is issued until it is restored"
        );
    }
    let (store, writer) = reflector::store();
    let instance = std::env::var("HOSTNAME").unwrap_or_else(|_| crds::MANAGER.into());
    let ctx = Arc::new(Context {
        events: Events::new(client.clone(), instance),
        client,
        namespace: args.namespace.clone(),
        settings,
        keys: Arc::new(keys),
        cache: Cache::default(),
        services: store.clone(),
        written: std::sync::Mutex::default(),
        turns: Semaphore::new(args.concurrency.into()),
        metrics: Metrics::default(),
    });
    let (sender, requests) = mpsc::unbounded();
    let (queue, pending) = (Queue(sender), Pending::new());
    tokio::spawn(watch::services(ctx.clone(), queue.clone(), pending.clone(), writer));
    tokio::spawn(watch::namespaces(ctx.clone(), queue.clone(), pending.clone(), store.clone()));
    for kind in Kind::ALL.into_iter().filter(|k| *k != Kind::Secret) {
        tokio::spawn(watch::children(ctx.clone(), queue.clone(), pending.clone(), kind));
    }
    let stop = shutdown().shared();
    let admin = admin::serve(args.admin_bind, ctx.clone(), pending.clone(), stop.clone())?;
    tokio::select! {
        () = pending.done() => tracing::info!("every list has arrived"),
        () = stop.clone() => return Ok(()),
    }
    tokio::spawn(end_turns(ctx.clone(), stop.clone()));
    // The queue's own limit holds what waits in a hash set and takes the first of it, so that under load the same
    // services wait again and again. A semaphore is served in the order of asking.
    let passes = applier(
        |service: Arc<Guarded>, ctx: Arc<Context>| pass(service, ctx).boxed(),
        |_, error: &Error, _| {
            tracing::warn!(%error, "pass failed");
            Action::requeue(RETRY)
        },
        ctx.clone(),
        store,
        requests.map(Ok::<_, Error>).take_until(stop),
        QueueConfig::default(),
    );
    passes.for_each(|result| async move { log(result) }).await;
    tracing::info!("stopped");
    admin.await.context("admin server")?.context("admin server")
}

/// What waits for its turn when the operator is asked to end does not get one.
async fn end_turns(ctx: Arc<Context>, stop: impl Future<Output = ()>) {
    stop.await;
    ctx.turns.close();
}

/// One pass with its measurements.
async fn pass(service: Arc<Guarded>, ctx: Arc<Context>) -> Result<Action, Error> {
    let Ok(_turn) = ctx.turns.acquire().await else { return Ok(Action::await_change()) };
    // It may have changed or gone while it waited.
    let Some(service) = ctx.services.get(&ObjectRef::from_obj(&*service)) else {
        return Ok(Action::await_change());
    };
    let start = Instant::now();
    let result = match &service.0 {
        Ok(service) => reconcile(Arc::new(service.clone()), &ctx).await,
        Err(invalid) => Err(Error::Unreadable(Box::new(invalid.clone()))),
    };
    ctx.metrics.duration.observe(start.elapsed().as_secs_f64());
    let label = result.as_ref().err().map_or("ok", |e| e.class().as_str());
    ctx.metrics.reconciles.get_or_create(&Outcome { result: label }).inc();
    result
}

fn log<T>(result: Result<T, QueueError<Error, Error>>) {
    match result {
        // A request for a service that is gone meanwhile.
        Ok(_) | Err(QueueError::ObjectNotFound(_) | QueueError::ReconcilerFailed(..)) => {}
        Err(error) => tracing::warn!(%error, "queue"),
    }
}

fn read_settings(args: &Run) -> anyhow::Result<Settings> {
    let Some(path) = &args.settings else { return Ok(Settings::default()) };
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    serde_saphyr::from_str(&text).with_context(|| format!("{} is not valid settings YAML", path.display()))
}

async fn client_config(args: &Run) -> anyhow::Result<Config> {
    match &args.kubeconfig {
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
