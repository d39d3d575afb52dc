//! New TLS connections at a fixed rate, by clients that trust one file and read it again when they are told to. It counts
//! what fails and hides nothing.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use rustls::ClientConfig;

use crate::load::{Target, enter, handshake, trust};

/// A handshake without an end for so long has failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// Threads that connect in turn, so that one that waits holds no other up.
const CLIENTS: u32 = 10;

/// Handshakes that are being made.
#[derive(Debug)]
pub struct Handshakes {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Result<()>>>,
}

#[derive(Debug)]
struct Shared {
    target: Target,
    start: Instant,
    stop: AtomicBool,
    trusted: Mutex<Arc<ClientConfig>>,
    made: AtomicUsize,
    failures: Mutex<Vec<String>>,
}

impl Handshakes {
    /// Begins to connect so many times a second, trusting what the target's file holds now.
    pub fn start(target: Target, rate: u32) -> Result<Self> {
        let trusted = Mutex::new(Arc::new(trust(&target.ca)?));
        let shared = Arc::new(Shared {
            target,
            start: Instant::now(),
            stop: AtomicBool::new(false),
            trusted,
            made: AtomicUsize::new(0),
            failures: Mutex::default(),
        });
        let threads = (0..CLIENTS).map(|client| {
            let shared = Arc::clone(&shared);
            let pause = Duration::from_secs(1) * CLIENTS / rate;
            std::thread::spawn(move || shared.connect(pause * client / CLIENTS, pause))
        });
        Ok(Self { threads: threads.collect(), shared })
    }

    /// The clients read their file again.
    pub fn read_again(&self, ca: &str) -> Result<()> {
        let trusted = Arc::new(trust(ca)?);
        *self.shared.trusted.lock().unwrap_or_else(PoisonError::into_inner) = trusted;
        Ok(())
    }

    /// How many succeeded by now.
    pub fn made(&self) -> usize {
        self.shared.made.load(Ordering::Relaxed)
    }

    /// What failed by now, and when.
    pub fn failures(&self) -> Vec<String> {
        self.shared.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends it; gives how many succeeded. It is an error if one failed.
    pub fn end_without_failure(self) -> Result<usize> {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().map_err(|_| anyhow!("a thread of the handshakes died"))??;
        }
        let failures =
            std::mem::take(&mut *self.shared.failures.lock().unwrap_or_else(PoisonError::into_inner));
        let made = self.shared.made.load(Ordering::Relaxed);
        let first = &failures[..failures.len().min(5)];
        ensure!(failures.is_empty(), "{} of {made} failed: {first:#?}", failures.len());
        Ok(made)
    }
}

impl Shared {
    fn connect(&self, delay: Duration, pause: Duration) -> Result<()> {
        enter(self.target.netns)?;
        let mut next = Instant::now() + delay;
        while !self.stop.load(Ordering::Relaxed) {
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            next += pause;
            let trusted = Arc::clone(&self.trusted.lock().unwrap_or_else(PoisonError::into_inner));
            match handshake(&self.target, trusted, PATIENCE) {
                Ok(_) => drop(self.made.fetch_add(1, Ordering::Relaxed)),
                Err(error) => {
                    let told = format!("after {:.1?}: {error:#}", self.start.elapsed());
                    self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(told);
                }
            }
        }
        Ok(())
    }
}
