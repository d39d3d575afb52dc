//! One term of leadership: keys, watches, the queue and its passes, from fresh lists to an orderly end.

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use crds::{HardenedService, Reason};
use futures::{FutureExt, StreamExt, channel::mpsc};
use kube::{
    Client, ResourceExt,
    runtime::{
        controller::{Action, Config as QueueConfig, Error as QueueError, applier},
        reflector::{self, ObjectRef},
    },
};
use render::{Problem, Settings};
use tokio::sync::oneshot;
use tracing::Instrument;

use crate::{
    Context, Run,
    backoff::{self, Asked, Backoff},
    burst::Burst,
    cache::Cache,
    clock,
    error::Error,
    events::Events,
    fleet::Fleet,
    gate::Closed,
    key_of,
    keys::Keys,
    leave,
    metrics::Outcome,
    reconcile::{Next, reconcile},
    report::report_blocked,
    rotation,
    services::Services,
    task::Task,
    turns::Turns,
    vault::Vaults,
    view::View,
    watch::{self, Guarded, Queue, Watches},
};

/// A pass that takes longer is given up, so that a service that hangs keeps its turn no longer than this (B3).
const DEADLINE: Duration = Duration::from_secs(30);
/// For the status that tells of a pass that was given up.
const LAST_WORD: Duration = Duration::from_secs(5);
/// For the events that still wait when the last pass has ended; meanwhile tokens of Vaults are given back.
const FAREWELL: Duration = Duration::from_secs(3);
/// Pause between attempts to read the operator's keys.
const KEYS_RETRY: Duration = Duration::from_secs(2);

/// What a term starts from.
pub struct Term<'a> {
    /// Writes through the fence of this term.
    pub client: Client,
    /// Command line.
    pub args: &'a Run,
    /// The platform's settings.
    pub settings: Settings,
    /// The Vaults that they name.
    pub vaults: Arc<Vaults>,
    /// Where the process shows itself.
    pub view: Arc<View>,
}

/// Works until `stop` resolves. Dropped before, everything that it started ends with it.
pub async fn serve(
    term: Term<'_>,
    stop: impl Future<Output = ()> + Send + Clone + 'static,
) -> anyhow::Result<()> {
    let keys = tokio::select! {
        keys = load_keys(&term) => keys?,
        () = stop.clone() => return Ok(()),
    };
    let keys = Arc::new(ArcSwap::from_pointee(keys));
    let (store, writer) = reflector::store();
    let (events, delivery) = Events::new(term.args.instance());
    let ctx = Arc::new(context(&term, keys.clone(), events, Services::new(store.clone())));
    let (sender, requests) = mpsc::unbounded();
    let queue = Queue(sender);
    let vaults = ctx.vaults.clone();
    let mut watches = watch::start(&ctx, &queue, &term.args.namespaces, writer);
    watches.spawn(vaults.clone().tidy());
    term.view.lead(ctx.watches.clone(), keys);
    tokio::select! {
        () = ctx.watches.done() => tracing::info!("every list has arrived or was refused"),
        () = stop.clone() => return Ok(()),
    }
    let (last, is_last) = oneshot::channel();
    let mut delivery = Task(tokio::spawn(delivery.run(ctx.client.clone(), is_last)));
    watches.spawn(end_turns(ctx.clone(), stop.clone()));
    watches.spawn(rotation::keep(ctx.clone(), queue, Duration::from_secs(term.args.ca_overlap)));
    let passes = applier(
        |service: Arc<Guarded>, ctx: Arc<Context>| pass(service, ctx).boxed(),
        |service: Arc<Guarded>, error: &Error, ctx: Arc<Context>| failed(&service, error, &ctx),
        ctx,
        store,
        requests.map(Ok::<_, Error>).take_until(stop),
        QueueConfig::default(),
    );
    passes.for_each(|result| async move { log(result) }).await;
    drop(last);
    let (delivered, ()) = tokio::join!(tokio::time::timeout(FAREWELL, &mut delivery.0), vaults.end());
    if delivered.is_err() {
        tracing::warn!(after = ?FAREWELL, "some events were not delivered");
    }
    Ok(())
}

/// What passes of this term share; nothing of an earlier one.
fn context(term: &Term<'_>, keys: Arc<ArcSwap<Keys>>, events: Events, services: Services) -> Context {
    Context {
        events,
        client: term.client.clone(),
        namespace: term.args.namespace.clone(),
        since: crate::clock::now(),
        settings: term.settings.clone(),
        vaults: term.vaults.clone(),
        asked: Asked::default(),
        syncs: Asked::default(),
        keys,
        arrivals: crate::arrivals::Arrivals::default(),
        cache: Cache::default(),
        services,
        watches: Arc::new(Watches::new(&term.args.namespaces, term.settings.kinds())),
        certificates: watch::Wanted::default(),
        crd: crate::crd::Installed::default(),
        unwritten: std::sync::Mutex::default(),
        turns: Turns::new(term.args.concurrency.into()),
        burst: Burst::default(),
        backoff: Backoff::default(),
        metrics: term.view.metrics.clone(),
        fights: crate::fight::Fights::default(),
        fleet: Fleet::new(term.settings.restarts.at_once.get()),
    }
}

/// The keys, with patience for an API server that does not answer; a lost key ends the process.
async fn load_keys(term: &Term<'_>) -> anyhow::Result<Keys> {
    loop {
        match Keys::load(&term.client, &term.args.namespace, clock::now()).await {
            Ok(keys) => {
                if keys.authority.is_none() {
                    tracing::error!(
                        secret = crds::CA_SECRET,
                        "the CA is gone; no certificate is issued until it is restored"
                    );
                }
                return Ok(keys);
            }
            Err(error @ Error::Api(_)) => tracing::warn!(%error, "loading the operator's keys; trying again"),
            Err(error) => return Err(error).context("loading the operator's keys"),
        }
        tokio::time::sleep(KEYS_RETRY).await;
    }
}

/// What waits for its turn when the operator is asked to end does not get one.
async fn end_turns(ctx: Arc<Context>, stop: impl Future<Output = ()>) {
    stop.await;
    ctx.turns.close();
}

/// One pass, as a task of its own: the queue looks at all that wait whenever one of them moves, which took a part of the
/// operator's time that grew with their number.
async fn pass(service: Arc<Guarded>, ctx: Arc<Context>) -> Result<Action, Error> {
    let mut task = Task(tokio::spawn(in_turn(service, ctx).in_current_span()));
    match (&mut task.0).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => Err(Error::Panic),
        Err(_) => Ok(Action::await_change()),
    }
}

/// One pass, when its turn has come.
async fn in_turn(service: Arc<Guarded>, ctx: Arc<Context>) -> Result<Action, Error> {
    // The queue's own limit would hold what waits in a hash set and take the first of it, so that under load the same
    // services wait again and again.
    let namespace = service.namespace().unwrap_or_default();
    let Some(_turn) = ctx.turns.take(&namespace).await else { return Ok(Action::await_change()) };
    // It may have changed or gone while it waited.
    let Some(service) = ctx.services.newest(&ObjectRef::from_obj(&*service)) else {
        return Ok(Action::await_change());
    };
    // On the heap, so that the thousands that may wait above are small.
    Box::pin(measured(&service, &ctx)).await
}

async fn measured(service: &Guarded, ctx: &Context) -> Result<Action, Error> {
    let start = Instant::now();
    let result = match &service.0 {
        _ if leave::is_due(ctx, service) => leaving(service, ctx).await,
        Ok(service) => isolated(service, ctx).await,
        Err(invalid) => Err(Error::Unreadable(Box::new(invalid.clone()))),
    };
    ctx.metrics.duration.observe(start.elapsed().as_secs_f64());
    let label = result.as_ref().err().map_or("ok", |e| e.class().as_str());
    ctx.metrics.reconciles.get_or_create(&Outcome { result: label }).inc();
    let key = key_of(service);
    Ok(match result? {
        Next::Change => Action::await_change(),
        Next::After(wait) => {
            ctx.backoff.clear(&key);
            Action::requeue(wait)
        }
        Next::Refused => Action::requeue(ctx.backoff.next(&key, backoff::REFUSED)),
    })
}

/// The last passes over a service, which says nothing in its status any more.
async fn leaving(service: &Guarded, ctx: &Context) -> Result<Next, Error> {
    let work = tokio::time::timeout(DEADLINE, leave::leave(ctx, service));
    work.await.unwrap_or(Err(Error::Deadline(DEADLINE)))
}

/// A pass that panics or hangs ends here, and its service says so.
async fn isolated(service: &HardenedService, ctx: &Context) -> Result<Next, Error> {
    let work = reconcile(service, ctx);
    let error = match AssertUnwindSafe(tokio::time::timeout(DEADLINE, work)).catch_unwind().await {
        Ok(Ok(result)) => return result,
        Ok(Err(_)) => Error::Deadline(DEADLINE),
        Err(_) => Error::Panic,
    };
    let problem = Problem {
        reason: Reason::InternalError,
        message: format!("{error}; what runs keeps running, and the operator tries again"),
    };
    let of = ObjectRef::new(&service.name_any()).within(&service.namespace().unwrap_or_default());
    if let Some(Ok(newest)) = ctx.services.newest(&of).as_deref().map(|service| &service.0) {
        let report = report_blocked(ctx, newest, problem, clock::now());
        // Best effort: the error itself is logged and counted in any case.
        let _ = tokio::time::timeout(LAST_WORD, report).await;
    }
    Err(error)
}

/// When a pass that ended in an error is tried again.
fn failed(service: &Guarded, error: &Error, ctx: &Context) -> Action {
    let key = key_of(service);
    let wait = match error {
        // The server has said when.
        Error::Closed(Closed::Throttled(left)) => *left + Backoff::spread(),
        _ => ctx.backoff.next(&key, backoff::ERROR),
    };
    tracing::warn!(%error, namespace = key.namespace, service = key.name, ?wait, "pass failed");
    Action::requeue(wait)
}

fn log<T>(result: Result<T, QueueError<Error, Error>>) {
    match result {
        // A request for a service that is gone meanwhile.
        Ok(_) | Err(QueueError::ObjectNotFound(_) | QueueError::ReconcilerFailed(..)) => {}
        Err(error) => tracing::warn!(%error, "queue"),
    }
}
