//! The log: JSON lines on standard output.

use tracing_subscriber::EnvFilter;

/// Sets it up; `RUST_LOG` takes the place of `filter`.
pub fn init(filter: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(filter));
    tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter).init();
}
