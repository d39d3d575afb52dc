//! Brings events to the API server, one after the other and beside the passes: a service is ready as soon as its status
//! says so, and a burst of services is not slowed by what is told of it.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::events::v1::{Event, EventSeries};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::Recent;
use crate::refusal::Refusal;

/// Events that may wait. With more of them the passes wait, so that none is lost.
pub const QUEUE: usize = 1024;
/// An API server that does not answer holds up the next event no longer than this.
const PATIENCE: Duration = Duration::from_secs(5);

/// One event on its way.
pub struct Letter {
    /// Namespace of the service.
    pub namespace: String,
    /// Name of the event.
    pub name: String,
    /// What to write.
    pub body: Body,
}

/// What to write of an event.
pub enum Body {
    /// It, whole.
    First(Box<Event>),
    /// How often it happened by now.
    Again(EventSeries),
}

/// Delivers events.
pub struct Delivery {
    letters: mpsc::Receiver<Letter>,
    recent: Arc<Recent>,
    denied: bool,
}

impl Delivery {
    pub(super) fn new(letters: mpsc::Receiver<Letter>, recent: Arc<Recent>) -> Self {
        Self { letters, recent, denied: false }
    }

    /// Delivers until `last` resolves, and then what still waits.
    pub async fn run(mut self, client: Client, mut last: oneshot::Receiver<()>) {
        loop {
            let letter = tokio::select! {
                letter = self.letters.recv() => letter,
                _ = &mut last, if !self.letters.is_closed() => {
                    self.letters.close();
                    continue;
                }
            };
            let Some(letter) = letter else { return };
            self.deliver(&client, letter).await;
        }
    }

    /// A failure is logged and stops nothing: in a namespace that is being deleted, for example, events are refused (V10).
    async fn deliver(&mut self, client: &Client, Letter { namespace, name, body }: Letter) {
        let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
        let answer = timeout(PATIENCE, async {
            match body {
                Body::First(event) => api.create(&PostParams::default(), &event).await,
                Body::Again(series) => {
                    let patch = Patch::Merge(serde_json::json!({"series": series}));
                    api.patch(&name, &PatchParams::default(), &patch).await
                }
            }
        });
        match answer.await {
            Ok(Ok(_)) => self.denied = false,
            Ok(Err(kube::Error::Api(s))) if s.is_already_exists() => {}
            failure => {
                // The next one like it is the first that anybody sees.
                self.recent.lock().remove(&name);
                if let Ok(Err(error)) = failure {
                    self.failed(&error, &name);
                } else {
                    tracing::warn!(name, ?PATIENCE, "event not written: no answer in time");
                }
            }
        }
    }

    /// A missing right is worth a warning, once: no status tells of it.
    fn failed(&mut self, error: &kube::Error, name: &str) {
        match Refusal::of_error(error) {
            Some(refusal) if !std::mem::replace(&mut self.denied, true) => {
                tracing::warn!(%refusal, "events are not written");
            }
            _ => tracing::debug!(%error, name, "event not written"),
        }
    }
}
