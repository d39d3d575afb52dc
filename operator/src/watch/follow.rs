//! One watch, followed for ever, also through refusals. What its objects mean is its caller's business.

use std::time::Duration;

use futures::StreamExt;
use kube::{
    Api, Resource,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};

use super::Scope;
use crate::refusal::Refusal;

/// First and longest pause before a refused watch is tried again.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(30)];
/// A watch that was refused before counts as open when it is not refused again within this time.
const PROOF: Duration = Duration::from_secs(2);

/// What a watch shows.
pub enum Change<K> {
    /// Everything that there is.
    Listed(Vec<K>),
    /// New, or another version.
    Apply(K),
    /// Gone.
    Delete(K),
    /// Nothing, until the right comes back; then comes a list.
    Denied(Refusal),
    /// Nothing, until the API server has the kind; then comes a list.
    Absent,
}

/// Hands on what a watch shows. kube's watcher tries a refused watch again by itself, but does not tell when it is open:
/// so a refusal ends it here, and a new one begins, with a list.
pub async fn follow<K>(
    api: Api<K>,
    config: watcher::Config,
    scope: &Scope,
    mut take: impl FnMut(Change<K>) + Send,
) where
    K: Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let [first, longest] = PAUSES;
    let (mut pause, mut doubtful) = (first, false);
    loop {
        let mut listed = false;
        let end = until_ended(&api, &config, scope, doubtful, |change| {
            listed = true;
            take(change);
        })
        .await;
        if listed {
            pause = first;
        }
        doubtful = matches!(&end, End::Denied(refusal) if refusal.verb == "watch");
        take(match end {
            End::Denied(refusal) => Change::Denied(refusal),
            End::Absent => Change::Absent,
        });
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}

/// Why a watch shows nothing any more.
enum End {
    /// The API server refuses it.
    Denied(Refusal),
    /// The API server does not have the kind, or not any more.
    Absent,
}

async fn until_ended<K>(
    api: &Api<K>,
    config: &watcher::Config,
    scope: &Scope,
    doubtful: bool,
    mut take: impl FnMut(Change<K>) + Send,
) -> End
where
    K: Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let events = watcher(api.clone(), config.clone()).default_backoff().peekable();
    let mut events = std::pin::pin!(events);
    let mut list = Vec::new();
    while let Some(event) = events.next().await {
        match event {
            Err(error) => {
                if let Some(end) = end(&error, scope) {
                    return end;
                }
                tracing::warn!(%error, what = scope.what, "watch");
            }
            Ok(Event::Init) => list.clear(),
            Ok(Event::InitApply(object)) => list.push(object),
            Ok(Event::InitDone) => {
                // A list that succeeds says nothing about the watch, which is opened after it.
                if doubtful
                    && let Ok(Some(Err(error))) = tokio::time::timeout(PROOF, events.as_mut().peek()).await
                    && let Some(end) = end(error, scope)
                {
                    return end;
                }
                take(Change::Listed(std::mem::take(&mut list)));
            }
            Ok(Event::Apply(object)) => take(Change::Apply(object)),
            Ok(Event::Delete(object)) => take(Change::Delete(object)),
        }
    }
    // The watcher's stream has no end.
    std::future::pending().await
}

/// A proxy before the API server may refuse in words of its own.
fn end(error: &watcher::Error, scope: &Scope) -> Option<End> {
    use watcher::Error as E;
    let (verb, status) = match error {
        E::InitialListFailed(kube::Error::Api(status)) => ("list", status),
        E::WatchStartFailed(kube::Error::Api(status)) | E::WatchError(status) => ("watch", status),
        _ => return None,
    };
    // Of a group that it does not know the server says so in plain text, which has no reason.
    if status.code == 404 {
        return Some(End::Absent);
    }
    status.is_forbidden().then(|| {
        End::Denied(Refusal::of(status).unwrap_or_else(|| Refusal {
            verb: verb.into(),
            resource: scope.what.into(),
            namespace: scope.namespace.clone(),
        }))
    })
}
