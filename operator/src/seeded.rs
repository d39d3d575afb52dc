//! Faults that a test asks for by environment, `HARDENED_FAULT=panic=NAME,hang=NAME`. A release build has none of this.

use std::future::pending;

/// Panics or hangs for the service of that name.
#[expect(clippy::panic, reason = "a panic is what the test asks for")]
pub async fn fault(name: &str) {
    let faults = std::env::var("HARDENED_FAULT").unwrap_or_default();
    for fault in faults.split(',') {
        match fault.split_once('=') {
            Some(("panic", wanted)) if wanted == name => panic!("asked for by a test"),
            Some(("hang", wanted)) if wanted == name => pending::<()>().await,
            _ => {}
        }
    }
}
