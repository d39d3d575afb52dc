//! The time of day. A debug build may be told another one, so that years pass in a test.

use k8s_openapi::jiff::Timestamp;

/// The time.
pub fn now() -> Timestamp {
    #[cfg(debug_assertions)]
    if let Some(shift) = shift() {
        return Timestamp::now().checked_add(shift).unwrap_or(Timestamp::MAX);
    }
    Timestamp::now()
}

/// `HARDENED_CLOCK`: how far the clock is ahead (or, with a minus, behind), as `1440h`.
#[cfg(debug_assertions)]
fn shift() -> Option<k8s_openapi::jiff::SignedDuration> {
    static SHIFT: std::sync::LazyLock<Option<k8s_openapi::jiff::SignedDuration>> =
        std::sync::LazyLock::new(|| std::env::var("HARDENED_CLOCK").ok()?.parse().ok());
    *SHIFT
}
