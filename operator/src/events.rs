//! Kubernetes events about a service. Equal ones are counted up, different notes stay apart.

mod delivery;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crds::{HardenedService, MANAGER, Reason};
use k8s_openapi::{
    api::{
        core::v1::ObjectReference,
        events::v1::{Event, EventSeries},
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::{SignedDuration, Timestamp},
};
use kube::{Resource, ResourceExt};
use tokio::sync::mpsc;

pub use delivery::Delivery;
use delivery::{Body, Letter, QUEUE};

/// Equal events within this time are one event with a count.
const WINDOW: SignedDuration = SignedDuration::from_mins(6);

/// Publishes events; kube's own recorder tells events apart by reason only, so that of two different drifts within
/// its window the second would be shown with the text of the first.
pub struct Events {
    instance: String,
    recent: Arc<Recent>,
    letters: mpsc::Sender<Letter>,
}

/// When each event was published last, and how often, by its name.
#[derive(Default)]
struct Recent(Mutex<HashMap<String, (Timestamp, i32)>>);

/// Kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// For information.
    Normal,
    /// Somebody should look.
    Warning,
}

/// One thing that happened.
pub struct Happening<'a> {
    /// Normal or warning.
    pub severity: Severity,
    /// Why it was reported, CamelCase.
    pub reason: &'a str,
    /// What the operator did, CamelCase.
    pub action: &'static str,
    /// In words; never a secret.
    pub note: String,
}

impl Events {
    /// Events reported by this instance, and who delivers them.
    pub fn new(instance: String) -> (Self, Delivery) {
        let (letters, receiver) = mpsc::channel(QUEUE);
        let recent = Arc::<Recent>::default();
        (Self { instance, recent: recent.clone(), letters }, Delivery::new(receiver, recent))
    }

    /// Publishes one event. A pass does not wait for its delivery, only for room in the queue.
    pub async fn publish(&self, service: &impl Resource, mut happening: Happening<'_>) {
        // events.k8s.io allows 1024 bytes.
        happening.note.truncate(happening.note.floor_char_boundary(1000));
        let now = Timestamp::now();
        let name = event_name(service, &happening);
        let body = match self.recent.count(&name, now) {
            1 => Body::First(Box::new(self.event(service, &happening, &name, now))),
            count => Body::Again(EventSeries { count, last_observed_time: MicroTime(now) }),
        };
        let namespace = service.namespace().unwrap_or_default();
        // Nobody receives only while the operator shuts down.
        let _ = self.letters.send(Letter { namespace, name, body }).await;
    }

    fn event(&self, service: &impl Resource, happening: &Happening<'_>, name: &str, now: Timestamp) -> Event {
        let regarding = ObjectReference {
            api_version: Some(HardenedService::api_version(&()).into_owned()),
            kind: Some(HardenedService::kind(&()).into_owned()),
            name: Some(service.name_any()),
            namespace: service.namespace(),
            uid: service.uid(),
            ..ObjectReference::default()
        };
        Event {
            metadata: ObjectMeta {
                name: Some(name.into()),
                namespace: service.namespace(),
                ..ObjectMeta::default()
            },
            action: Some(happening.action.into()),
            reason: Some(happening.reason.into()),
            type_: Some(if happening.severity == Severity::Warning { "Warning" } else { "Normal" }.into()),
            note: Some(happening.note.clone()),
            regarding: Some(regarding),
            event_time: Some(MicroTime(now)),
            reporting_controller: Some(format!("hardened.dev/{MANAGER}")),
            reporting_instance: Some(self.instance.clone()),
            ..Event::default()
        }
    }
}

impl Recent {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Timestamp, i32)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, name: &str, now: Timestamp) -> i32 {
        let mut recent = self.lock();
        recent.retain(|_, (at, _)| now.duration_since(*at) < WINDOW);
        let entry = recent.entry(name.to_owned()).or_insert((now, 0));
        *entry = (now, entry.1 + 1);
        entry.1
    }
}

/// The same happening has the same name, so that a repetition finds the first event.
fn event_name(service: &impl Resource, happening: &Happening<'_>) -> String {
    let text = format!(
        "{}\n{}\n{}\n{}",
        service.uid().unwrap_or_default(),
        happening.reason,
        happening.action,
        happening.note
    );
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    format!("{}.{}", service.name_any(), crate::pki::hex(&hash.as_ref()[..8]))
}

/// Severity of a reason.
pub fn severity(reason: Reason) -> Severity {
    if reason.needs_user()
        || matches!(
            reason,
            Reason::RolloutFailed
                | Reason::CertificateExpiring
                | Reason::VaultUnreachable
                | Reason::CertificateNotReady
                | Reason::ApiError
                | Reason::InternalError
        )
    {
        Severity::Warning
    } else {
        Severity::Normal
    }
}
