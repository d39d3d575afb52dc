//! How long a client is waited for: less where many have to be waited for. What one of them holds is memory, 35 KiB for
//! an HTTP/2 connection and 10 KiB for an answer on it, so attackers could otherwise multiply it by the whole limit.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

/// So many get the whole limit: 140 MiB of connections without a request, 40 MiB of answers that nobody takes.
const PLENTY: usize = 4096;

/// Who is being waited for, over all connections of the process.
#[derive(Debug, Default)]
pub struct Patience(AtomicUsize);

impl Patience {
    /// The limit, by as much shorter as there are more than enough: twice as many wait half as long.
    pub fn shortened(&self, limit: Duration) -> Duration {
        let waiting = self.0.load(Relaxed).max(PLENTY);
        // Both are far below 2^52, where f64 counts exactly.
        #[expect(clippy::cast_precision_loss, reason = "a number of connections or streams")]
        limit.mul_f64(PLENTY as f64 / waiting as f64)
    }
}

/// One who is waited for, until this is dropped.
#[derive(Debug)]
pub struct Waiting(Arc<Patience>);

impl Waiting {
    pub fn new(patience: &Arc<Patience>) -> Self {
        patience.0.fetch_add(1, Relaxed);
        Self(patience.clone())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_who_wait_get_less_and_few_the_whole() {
        let patience = Arc::default();
        let limit = Duration::from_secs(30);
        let mut all: Vec<_> = (0..PLENTY).map(|_| Waiting::new(&patience)).collect();
        assert_eq!(patience.shortened(limit), limit);
        all.extend((0..2 * PLENTY).map(|_| Waiting::new(&patience)));
        assert_eq!(patience.shortened(limit), limit / 3);
        all.clear();
        assert_eq!(patience.shortened(limit), limit);
    }
}
