//! The worker: takes due jobs, does them, and says what came out. Every replica has one; the table decides who gets what.

mod provider;

use std::time::Duration;

use actix_web::web::Data;
use serde_json::{Value, json};
use sqlx::{PgPool, postgres::PgListener};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use self::provider::Provider;
use crate::{
    database::{
        jobs::{self, CHANNEL, Kind, MAX_ATTEMPTS, Taken},
        tokens,
    },
    headers::random,
    metrics::JobResult,
    state::State,
};

/// Jobs at once: they wait for the provider most of the time.
const AT_ONCE: usize = 4;
/// New jobs are announced; this is how late one may be whose time has come, or whose announcement was lost.
const POLL: Duration = Duration::from_secs(2);
/// How often old refresh tokens are removed.
const SWEEP: Duration = Duration::from_hours(1);

/// Why an attempt failed, in words for the job's owner.
enum Trouble {
    /// It may go better later.
    Passing(&'static str),
    /// It never will.
    Lasting(&'static str),
}

/// Works until the drain begins; what is under way then gets until the process ends, and is somebody else's after that.
pub async fn run(state: Data<State>) {
    let provider = match Provider::new(&state.config) {
        Ok(provider) => provider.map(std::sync::Arc::new),
        Err(error) => {
            tracing::error!(error, "no AI provider: jobs that need it fail");
            None
        }
    };
    let lease = Duration::from_secs(state.config.job_lease);
    let mut under_way = JoinSet::new();
    let mut listener = None;
    let mut swept = None;
    while !state.draining() {
        if let Ok(pool) = state.pool() {
            while under_way.len() < AT_ONCE {
                let Some(job) = take(&pool, lease).await else { break };
                under_way.spawn(work(state.clone(), provider.clone(), pool.clone(), job));
            }
            if swept.is_none_or(|at: std::time::Instant| at.elapsed() > SWEEP) {
                // A sweep that failed is done by the next one.
                let _ = tokens::sweep(&pool).await;
                swept = Some(std::time::Instant::now());
            }
            tokio::select! {
                () = announcement(&mut listener, &pool), if under_way.len() < AT_ONCE => {}
                Some(_) = under_way.join_next() => {}
                () = sleep(POLL) => {}
                () = state.drain_begun() => {}
            }
        } else {
            tokio::select! {
                () = sleep(POLL) => {}
                () = state.drain_begun() => {}
            }
        }
    }
    while under_way.join_next().await.is_some() {}
}

async fn take(pool: &PgPool, lease: Duration) -> Option<Taken> {
    match jobs::take(pool, lease).await {
        Ok(job) => job,
        Err(error) => {
            // Readiness and the health probe tell of it; here it would come every two seconds.
            tracing::debug!(%error, "no job taken");
            None
        }
    }
}

/// Ends when somebody announces a job.
async fn announcement(listener: &mut Option<PgListener>, pool: &PgPool) {
    if listener.is_none() {
        let Ok(mut new) = PgListener::connect_with(pool).await else { return sleep(POLL).await };
        if new.listen(CHANNEL).await.is_err() {
            return sleep(POLL).await;
        }
        *listener = Some(new);
    }
    if let Some(open) = listener
        && open.recv().await.is_err()
    {
        *listener = None;
    }
}

async fn work(state: Data<State>, provider: Option<std::sync::Arc<Provider>>, pool: PgPool, job: Taken) {
    let outcome = if job.attempts > MAX_ATTEMPTS {
        Err(Trouble::Lasting("Each worker that took the job was lost."))
    } else {
        // Given up before the lease ends: nobody does a job twice at once.
        let time = Duration::from_secs(state.config.job_lease).mul_f64(0.8);
        let done = timeout(time, perform(&state, provider.as_deref(), &pool, &job)).await;
        done.unwrap_or(Err(Trouble::Passing("It took too long.")))
    };
    let (result, kept) = match outcome {
        Ok(value) => (JobResult::Succeeded, jobs::succeed(&pool, &job, &value).await),
        Err(Trouble::Passing(why)) if job.attempts < MAX_ATTEMPTS => {
            (JobResult::Retried, jobs::fail(&pool, &job, why, Some(pause(job.attempts))).await)
        }
        Err(Trouble::Passing(why) | Trouble::Lasting(why)) => {
            (JobResult::Failed, jobs::fail(&pool, &job, why, None).await)
        }
    };
    state.metrics.worked(job.kind, result);
    match kept {
        Ok(true) => {
            tracing::info!(job = %job.id, kind = ?job.kind, attempt = job.attempts, result = result.as_str(), "job");
        }
        Ok(false) => {
            tracing::info!(job = %job.id, "job removed or taken over meanwhile, its result is dropped");
        }
        // The lease ends, and the job is done again.
        Err(error) => tracing::warn!(job = %job.id, %error, "the job's result could not be kept"),
    }
}

async fn perform(
    state: &State,
    provider: Option<&Provider>,
    pool: &PgPool,
    job: &Taken,
) -> Result<Value, Trouble> {
    match (job.kind, provider) {
        (Kind::Publish, _) => match jobs::publish(pool, job.video).await {
            Ok(_) => Ok(json!({ "status": "published" })),
            Err(_) => Err(Trouble::Passing("The database did not answer.")),
        },
        (Kind::Transcribe | Kind::Analyze, Some(provider)) => provider.perform(state, pool, job).await,
        (Kind::Transcribe | Kind::Analyze, None) => {
            Err(Trouble::Passing("No AI provider is set up in this replica."))
        }
    }
}

/// 2, 8, 32 and 128 seconds, each longer by up to a half, so that jobs which failed together do not come back together.
fn pause(attempts: i32) -> Duration {
    let base = 2_u32.saturating_mul(4_u32.saturating_pow(attempts.saturating_sub(1).unsigned_abs().min(6)));
    let jitter = f64::from(random::<1>().map_or(0, |[byte]| byte)) / 512.0;
    Duration::from_secs(base.into()).mul_f64(1.0 + jitter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_waits_four_times_longer_each_time_and_never_less_than_it_says() {
        for (attempts, seconds) in [(1, 2), (2, 8), (3, 32), (4, 128)] {
            let pause = pause(attempts);
            let shortest = Duration::from_secs(seconds);
            assert!((shortest..=shortest.mul_f64(1.5)).contains(&pause), "{attempts}: {pause:?}");
        }
    }
}
