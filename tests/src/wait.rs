//! Waiting for a condition with a limit in seconds. It never sleeps for a fixed time and then hopes.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const POLL: Duration = Duration::from_millis(50);

/// One look at what is waited for.
#[derive(Debug)]
pub enum Look<T, S> {
    /// It is there.
    Done(T),
    /// Not yet; the value is shown when the time is up.
    NotYet(S),
}

/// Looks every 50 ms until the condition holds and returns its value. When the time is up, the error shows
/// what was seen last.
pub async fn wait_until<T, S: Debug, F, Fut>(limit: Duration, what: &str, mut look: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Look<T, S>>,
{
    let start = Instant::now();
    loop {
        match look().await {
            Look::Done(value) => return Ok(value),
            Look::NotYet(seen) if start.elapsed() > limit => {
                bail!("waited {} s for {what}; last seen: {seen:#?}", limit.as_secs());
            }
            Look::NotYet(_) => tokio::time::sleep(POLL).await,
        }
    }
}

/// Waits until a number has stayed the same for a while; what comes with it is shown when the time is up.
pub async fn until_still(
    limit: Duration,
    what: &str,
    quiet: Duration,
    mut look: impl AsyncFnMut() -> Result<(usize, String)>,
) -> Result<()> {
    let (start, mut since, mut last) = (Instant::now(), Instant::now(), 0);
    loop {
        let seen = match look().await {
            Ok((now, seen)) => {
                if now != last {
                    (since, last) = (Instant::now(), now);
                }
                if since.elapsed() > quiet {
                    return Ok(());
                }
                seen
            }
            Err(error) => error.to_string(),
        };
        if start.elapsed() > limit {
            bail!("waited {} s for {what}; last seen: {seen}", limit.as_secs());
        }
        tokio::time::sleep(POLL).await;
    }
}

impl<V> Look<V, V> {
    /// Done with the value when the test holds, otherwise the value is what was seen.
    pub fn when(value: V, test: impl FnOnce(&V) -> bool) -> Self {
        if test(&value) { Look::Done(value) } else { Look::NotYet(value) }
    }
}
