//! Services that come together. A Deployment sets controllers and kubelets to work, about 27 requests for each on the API
//! server, and while they are at it a Service waits long: kube-apiserver makes one `ClusterIP` after the other, each with a
//! request to itself. So the Deployments of a burst wait for the other children of all of it. On two cores 100 services
//! were applied in 5.4 s instead of 14.6 s that way, and the last of their pods existed after 11.5 s instead of 14 s.

use std::time::Duration;

use tokio::{sync::watch, time::timeout};

/// No Deployment waits longer for other services.
const PATIENCE: Duration = Duration::from_secs(2);

/// Counts the new services whose other children are under way.
#[derive(Default)]
pub struct Burst {
    under_way: watch::Sender<usize>,
}

/// A new service until its Deployment's turn comes, or until its pass ends.
pub struct Newcomer<'a>(&'a Burst);

impl Burst {
    /// A new service begins.
    pub fn join(&self) -> Newcomer<'_> {
        self.under_way.send_modify(|count| *count += 1);
        Newcomer(self)
    }
}

impl Newcomer<'_> {
    /// Only the Deployment is missing: waits for the others of the burst, 2 s at most.
    pub async fn wait_for_the_others(self) {
        let mut others = self.0.under_way.subscribe();
        drop(self);
        // The sender lives as long as the burst: only time ends this early.
        let _ = timeout(PATIENCE, others.wait_for(|count| *count == 0)).await;
    }
}

impl Drop for Newcomer<'_> {
    fn drop(&mut self) {
        self.0.under_way.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test]
    async fn a_service_that_comes_alone_waits_for_nobody() {
        assert!(Burst::default().join().wait_for_the_others().now_or_never().is_some());
    }

    #[tokio::test]
    async fn the_first_one_waits_for_the_last_one_and_not_for_one_that_failed() {
        let burst = Burst::default();
        let [first, second, failed] = [burst.join(), burst.join(), burst.join()];
        let mut first = std::pin::pin!(first.wait_for_the_others());
        assert!(first.as_mut().now_or_never().is_none());
        drop(failed);
        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.wait_for_the_others().now_or_never().is_some());
        assert!(first.as_mut().now_or_never().is_some());
    }

    #[tokio::test]
    async fn one_that_hangs_holds_the_others_up_for_two_seconds() {
        let (burst, start) = (Burst::default(), Instant::now());
        let _hangs = burst.join();
        burst.join().wait_for_the_others().await;
        assert!((PATIENCE..PATIENCE * 3).contains(&start.elapsed()), "{:?}", start.elapsed());
    }
}
