//! A task that ends with whoever waits for it.

use tokio::task::JoinHandle;

/// Aborts the task when this is dropped.
pub struct Task<T>(pub JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
