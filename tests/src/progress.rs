//! Lines on standard error that say what goes on and for how long. Results go to standard output, never here.

use std::io::Write;
use std::time::{Duration, Instant};

/// Writes one line per step with the time since the start.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    start: Instant,
}

impl Progress {
    /// Starts the clock.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Says that a step is done or begins.
    pub fn step(&self, what: &str) {
        eprintln!("[{:>6.1} s] {what}", self.start.elapsed().as_secs_f64());
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

/// Says that a check could not be made here. The test runner shows it also when the test passes: it captures only what
/// the print macros write.
pub fn not_checked(why: &str) {
    // A note that cannot be written must not fail a test.
    let _ = writeln!(std::io::stderr(), "NOT CHECKED: {why}");
}

/// A duration as people say it: `3m10s`.
pub fn spoken(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds => format!("{}m{:02}s", seconds / 60, seconds % 60),
    }
}
