//! The ledger of restarts: each new revision of the pod template is entered once, with its cause. It changes nothing.

use crds::{HardenedServiceStatus, LAST_CHANGE_ANNOTATION, Restart, RestartCause};
use k8s_openapi::{api::apps::v1::Deployment, apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    Applied, Kind, meta, whole_seconds,
    workload::{RESTARTED_AT, restarted_at},
};

/// Restarts that status remembers.
const RESTARTS: usize = 10;
/// Names in one entry, and bytes of each.
const KEYS: usize = 16;
const KEY: usize = 253;
/// Where the Deployment controller counts.
const REVISION: &str = "deployment.kubernetes.io/revision";

/// The operator's last change of a pod template. It stands in an annotation of the Deployment and is written together
/// with the template itself: the revision that follows has its cause also when the operator dies between the two.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    at: Time,
    cause: RestartCause,
    keys: Vec<String>,
    /// Digest of the template that came of it: with another one in place, somebody else made the newest revision.
    template: String,
    /// The revision before.
    after: i64,
    /// The `kubectl rollout restart` that was entered before.
    restarted_at: Option<Time>,
}

impl Change {
    /// `None` when the template stays the same: then nothing restarts.
    pub fn new(
        cause: RestartCause,
        mut keys: Vec<String>,
        (live, next): (&Deployment, &Deployment),
        ledger: &[Restart],
        now: Timestamp,
    ) -> Option<Self> {
        let template = digest(next);
        if template == digest(live) {
            return None;
        }
        let after = revision(live).unwrap_or(0);
        let last = Self::of(live);
        let known = |at: &Time| is_entered(ledger, at) || is_noted(last.as_ref(), at);
        let restarted_at = restarted_at(live).filter(known);
        // Two changes of which the controller makes one revision are one entry.
        if let Some(last) = last.filter(|last| last.cause == cause && last.after == after) {
            keys.extend(last.keys);
            keys.sort();
            keys.dedup();
        }
        Some(Self { at: whole_seconds(now), cause, keys: bounded(&keys), template, after, restarted_at })
    }

    /// The value of the annotation.
    pub fn annotation(&self) -> String {
        // It holds strings and numbers only: serialising it cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    fn of(deployment: &Deployment) -> Option<Self> {
        let text = deployment.metadata.annotations.as_ref()?.get(LAST_CHANGE_ANNOTATION)?;
        serde_json::from_str(text).ok()
    }
}

/// The ledger and the revision that it has come to, from what status says and what the Deployment shows.
pub(crate) fn ledger(
    old: &HardenedServiceStatus,
    applied: &Applied,
    now: Timestamp,
) -> (Vec<Restart>, Option<i64>) {
    let mut entries = old.restarts.clone();
    let Some(deployment) = &applied.deployment else { return (entries, old.revision) };
    let newest = revision(deployment);
    let known = old.revision.filter(|_| is_same(old, deployment));
    // A new Deployment has the first revision or will have it: said at once, its number costs no write of its own.
    let known = known.or_else(|| newest.is_none_or(|newest| newest == 1).then_some(1));
    let Some(newest) = newest else { return (entries, known) };
    let change = Change::of(deployment);
    let is_old = |at: &Time| is_entered(&entries, at) || is_noted(change.as_ref(), at);
    let mut by_hand = restarted_at(deployment).filter(|at| !is_old(at));
    let ours = change.filter(|c| c.template == digest(deployment));
    if ours.is_none() && by_hand.is_none() && !applied.deployment_is_settled {
        // Somebody else's template, maybe an attack: its cause is known when it is restored, or found to be in order.
        return (entries, known);
    }
    let from = match (known, &ours) {
        (Some(known), _) => known,
        // The first revision is no restart.
        (None, Some(change)) => change.after.max(1),
        (None, None) => newest.saturating_sub(by_hand.is_some().into()),
    };
    // Whoever writes the controller's number himself gets a few wrong entries, and no endless loop.
    let new: Vec<_> = (from..=newest).rev().take_while(|revision| *revision > from).take(RESTARTS).collect();
    for revision in new.into_iter().rev() {
        let (at, cause, keys) = match (by_hand.take(), &ours) {
            (Some(at), _) => (at, RestartCause::Manual, Vec::new()),
            (None, Some(change)) => (change.at.clone(), change.cause, bounded(&change.keys)),
            (None, None) => (whole_seconds(now), RestartCause::Manual, Vec::new()),
        };
        entries.push(Restart { at, cause, keys, revision: Some(revision) });
    }
    let surplus = entries.len().saturating_sub(RESTARTS);
    entries.drain(..surplus);
    (entries, Some(newest))
}

/// Whether status speaks of this very Deployment: a new one counts its revisions from the start.
fn is_same(old: &HardenedServiceStatus, deployment: &Deployment) -> bool {
    let mut known = old.children.iter().filter(|child| child.kind == Kind::Deployment.as_str());
    known.any(|child| child.uid == deployment.metadata.uid)
}

fn is_entered(ledger: &[Restart], at: &Time) -> bool {
    ledger.iter().any(|entry| entry.cause == RestartCause::Manual && entry.at == *at)
}

/// The entry of a restart may have left the ledger; the last change still knows it.
fn is_noted(change: Option<&Change>, at: &Time) -> bool {
    change.is_some_and(|change| change.restarted_at.as_ref() == Some(at))
}

/// What fits the schema of status; anybody can write an annotation.
fn bounded(keys: &[String]) -> Vec<String> {
    let cut = |key: &String| key[..key.floor_char_boundary(KEY)].to_owned();
    keys.iter().take(KEYS).map(cut).collect()
}

fn revision(deployment: &Deployment) -> Option<i64> {
    deployment.metadata.annotations.as_ref()?.get(REVISION)?.parse().ok()
}

/// Digest of a template, a restart by hand aside.
fn digest(deployment: &Deployment) -> String {
    let mut template = deployment.spec.template.clone();
    if restarted_at(deployment).is_some()
        && let Some(annotations) = template.metadata.as_mut().and_then(|m| m.annotations.as_mut())
    {
        annotations.remove(RESTARTED_AT);
    }
    meta::short_hash(&serde_json::to_string(&template).unwrap_or_default(), 8)
}
