//! Kubernetes events about a service. Equal ones are counted up, different notes stay apart.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
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
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};

use crate::refusal::Refusal;

/// Equal events within this time are one event with a count.
const WINDOW: SignedDuration = SignedDuration::from_mins(6);

/// Publishes events; kube's own recorder tells events apart by reason only, so that of two different drifts within
/// its window the second would be shown with the text of the first.
pub struct Events {
    client: Client,
    instance: String,
    recent: Mutex<HashMap<String, (Timestamp, i32)>>,
    denied: AtomicBool,
}

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
    /// Events reported by this instance.
    pub fn new(client: Client, instance: String) -> Self {
        Self { client, instance, recent: Mutex::default(), denied: AtomicBool::default() }
    }

    /// Publishes one event. A failure is logged and never stops a pass: in a namespace that is being deleted, for
    /// example, events are refused (V10).
    pub async fn publish(&self, service: &HardenedService, mut happening: Happening<'_>) {
        // events.k8s.io allows 1024 bytes.
        happening.note.truncate(happening.note.floor_char_boundary(1000));
        let now = Timestamp::now();
        let name = event_name(service, &happening);
        let count = self.count(&name, now);
        let api: Api<Event> = Api::namespaced(self.client.clone(), &service.namespace().unwrap_or_default());
        let result = if count == 1 {
            api.create(&PostParams::default(), &self.event(service, &happening, &name, now)).await.map(drop)
        } else {
            let series = EventSeries { count, last_observed_time: MicroTime(now) };
            let patch = Patch::Merge(serde_json::json!({"series": series}));
            api.patch(&name, &PatchParams::default(), &patch).await.map(drop)
        };
        match result {
            Err(kube::Error::Api(s)) if s.is_already_exists() => {}
            Err(error) => {
                // The next one like it is the first that anybody sees.
                self.recent().remove(&name);
                self.failed(&error, happening.reason);
            }
            Ok(()) => self.denied.store(false, Ordering::Relaxed),
        }
    }

    /// A missing right is worth a warning, once: no status tells of it.
    fn failed(&self, error: &kube::Error, reason: &str) {
        match Refusal::of_error(error) {
            Some(refusal) if !self.denied.swap(true, Ordering::Relaxed) => {
                tracing::warn!(%refusal, "events are not written");
            }
            _ => tracing::debug!(%error, reason, "event not written"),
        }
    }

    fn recent(&self) -> MutexGuard<'_, HashMap<String, (Timestamp, i32)>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, name: &str, now: Timestamp) -> i32 {
        let mut recent = self.recent();
        recent.retain(|_, (at, _)| now.duration_since(*at) < WINDOW);
        let entry = recent.entry(name.to_owned()).or_insert((now, 0));
        *entry = (now, entry.1 + 1);
        entry.1
    }

    fn event(
        &self,
        service: &HardenedService,
        happening: &Happening<'_>,
        name: &str,
        now: Timestamp,
    ) -> Event {
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

/// The same happening has the same name, so that a repetition finds the first event.
fn event_name(service: &HardenedService, happening: &Happening<'_>) -> String {
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
                | Reason::ApiError
                | Reason::InternalError
        )
    {
        Severity::Warning
    } else {
        Severity::Normal
    }
}
