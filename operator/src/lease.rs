//! Leader election by a `Lease` (coordination.k8s.io/v1). Times of two machines are never compared: a candidate takes the
//! lease when it has not seen it change for its whole duration, by its own clock.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, Client, api::PostParams};

use crate::fence::{Fence, Moment};

/// Name of the Lease.
pub const NAME: &str = crds::MANAGER;
/// How long it is good without being renewed.
const DURATION: Duration = Duration::from_secs(12);
/// For so long after a renewal the leader writes: it stops three seconds before another may begin, so that its last
/// request has arrived by then.
const TERM: Duration = Duration::from_secs(9);
/// How often the leader renews it.
const RENEW: Duration = Duration::from_secs(3);
/// How often a candidate looks at it, and the leader tries again after a failure.
const LOOK: Duration = Duration::from_secs(1);
/// Longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(4);

/// The Lease, and who we are.
pub struct Election {
    api: Api<Lease>,
    /// `NAMESPACE/INSTANCE`, in holderIdentity.
    identity: String,
}

/// The lease in our hands.
pub struct Held {
    lease: Lease,
    /// Open while the lease is ours.
    pub fence: Arc<Fence>,
}

/// Why a candidate waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    /// This instance leads, `NAMESPACE/INSTANCE`.
    Holder(String),
    /// The lease cannot be read or taken.
    Trouble(String),
}

impl Election {
    /// With a client of its own, so that no other traffic delays a renewal.
    pub fn new(client: Client, namespace: &str, identity: String) -> Self {
        Self { api: Api::namespaced(client, namespace), identity }
    }

    /// Waits until the lease is ours; `waiting` is told why it is not yet, whenever that changes.
    pub async fn acquire(&self, mut waiting: impl FnMut(Wait)) -> Held {
        let mut seen: Option<(String, Moment)> = None;
        let mut said = None;
        loop {
            let wait = match self.attempt(&mut seen).await {
                Ok(held) => return held,
                Err(wait) => wait,
            };
            if said.as_ref() != Some(&wait) {
                waiting(wait.clone());
                said = Some(wait);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn attempt(&self, seen: &mut Option<(String, Moment)>) -> Result<Held, Wait> {
        let lease = answer(self.api.get_opt(NAME)).await.map_err(Wait::Trouble)?;
        let now = Moment::now();
        let lease = lease.unwrap_or_else(|| Lease {
            metadata: ObjectMeta { name: Some(NAME.into()), ..ObjectMeta::default() },
            ..Lease::default()
        });
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        if seen.as_ref().is_none_or(|(known, _)| *known != version) {
            *seen = Some((version, now));
        }
        let since = seen.as_ref().map_or(now, |(_, since)| *since);
        if let Some(holder) = in_the_way(&lease, &self.identity, now.since(since)) {
            return Err(Wait::Holder(holder));
        }
        let fence = Arc::new(Fence::default());
        let lease = self.write(&lease, &fence).await.map_err(Wait::Trouble)?;
        Ok(Held { lease, fence })
    }

    /// Renews the lease until it is lost; then nobody can write through this term's fence any more.
    pub async fn keep(&self, held: &mut Held) -> String {
        loop {
            tokio::time::sleep(RENEW).await;
            while let Err(trouble) = self.renew(held).await {
                if !held.fence.holds(Moment::now()) {
                    return trouble;
                }
                tracing::warn!(trouble, "the lease was not renewed; trying again");
                tokio::time::sleep(LOOK).await;
            }
            // The process may have been stopped for longer than the lease lasts.
            if !held.fence.holds(Moment::now()) {
                return "it was not renewed in time".into();
            }
        }
    }

    async fn renew(&self, held: &mut Held) -> Result<(), String> {
        if !held.fence.holds(Moment::now()) {
            return Err("it was not renewed in time".into());
        }
        match self.write(&held.lease, &held.fence).await {
            Ok(lease) => held.lease = lease,
            Err(trouble) => {
                // Somebody wrote to it, or it is gone: whose is it now?
                let live = answer(self.api.get_opt(NAME)).await?;
                held.lease = live.unwrap_or_else(|| without_version(&held.lease));
                if let Some(holder) = in_the_way(&held.lease, &self.identity, Duration::ZERO) {
                    held.fence.close();
                    return Err(format!("{holder} holds it"));
                }
                return Err(trouble);
            }
        }
        Ok(())
    }

    /// Gives the lease back, so that the next one need not wait for its end.
    pub async fn release(&self, held: &Held) {
        let mut lease = held.lease.clone();
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = None;
            spec.lease_duration_seconds = Some(1);
        }
        if let Err(trouble) = answer(self.api.replace(NAME, &PostParams::default(), &lease)).await {
            tracing::info!(trouble, "the lease was not given back; it ends by itself");
        }
    }

    /// Writes the lease as ours, and moves the fence: the lease counts from before the request was sent. A PUT without a
    /// version makes a Lease that does not exist, and nothing else: so the right to create it can be narrowed to its name.
    async fn write(&self, lease: &Lease, fence: &Fence) -> Result<Lease, String> {
        let (start, lease) = (Moment::now(), ours(lease, &self.identity, Timestamp::now()));
        let params = PostParams { field_manager: Some(crds::MANAGER.into()), ..PostParams::default() };
        let written = answer(self.api.replace(NAME, &params, &lease)).await?;
        fence.extend(start.after(TERM));
        Ok(written)
    }
}

/// The holder whom a candidate must wait for, when it has seen no change for this long.
fn in_the_way(lease: &Lease, me: &str, unchanged: Duration) -> Option<String> {
    let spec = lease.spec.as_ref()?;
    let holder = spec.holder_identity.as_deref().filter(|holder| !holder.is_empty() && *holder != me)?;
    let duration = spec.lease_duration_seconds.and_then(|s| u64::try_from(s).ok());
    let duration = duration.map_or(DURATION, Duration::from_secs);
    (unchanged < duration).then(|| holder.to_owned())
}

fn ours(lease: &Lease, me: &str, now: Timestamp) -> Lease {
    let spec = lease.spec.clone().unwrap_or_default();
    let mine = spec.holder_identity.as_deref() == Some(me);
    Lease {
        metadata: ObjectMeta { managed_fields: None, ..lease.metadata.clone() },
        spec: Some(LeaseSpec {
            holder_identity: Some(me.into()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: spec.acquire_time.filter(|_| mine).or(Some(MicroTime(now))),
            renew_time: Some(MicroTime(now)),
            lease_transitions: Some(spec.lease_transitions.unwrap_or(0) + i32::from(!mine)),
            ..LeaseSpec::default()
        }),
    }
}

fn without_version(lease: &Lease) -> Lease {
    let metadata = ObjectMeta { name: lease.metadata.name.clone(), ..ObjectMeta::default() };
    Lease { metadata, ..lease.clone() }
}

async fn answer<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, String> {
    match tokio::time::timeout(ANSWER, request).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {ANSWER:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held_by(holder: &str) -> Lease {
        ours(&Lease::default(), holder, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_candidate_waits_for_the_whole_duration_by_its_own_clock() {
        let lease = held_by("a/1");
        assert_eq!(in_the_way(&lease, "a/2", Duration::from_millis(11_999)), Some("a/1".into()));
        assert_eq!(in_the_way(&lease, "a/2", DURATION), None);
    }

    #[test]
    fn an_empty_lease_and_ones_own_are_taken_at_once() {
        assert_eq!(in_the_way(&Lease::default(), "a/1", Duration::ZERO), None);
        assert_eq!(in_the_way(&held_by(""), "a/1", Duration::ZERO), None);
        assert_eq!(in_the_way(&held_by("a/1"), "a/1", Duration::ZERO), None);
    }

    #[test]
    fn transitions_count_new_holders_only() {
        let transitions = |lease: &Lease| lease.spec.as_ref().and_then(|s| s.lease_transitions);
        let first = held_by("a/1");
        let again = ours(&first, "a/1", Timestamp::UNIX_EPOCH);
        let other = ours(&again, "a/2", Timestamp::UNIX_EPOCH);
        assert_eq!([&first, &again, &other].map(transitions), [Some(1), Some(1), Some(2)]);
    }

    #[test]
    fn the_leader_stops_before_anybody_else_may_start() {
        assert!(TERM > RENEW + ANSWER, "one slow renewal would end a term");
        assert!(TERM + Duration::from_secs(2) < DURATION);
    }
}
