//! Requests of all kinds that read or write encrypted columns, one after the other on each replica, while something happens.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use serde_json::json;

use super::scene;
use crate::{
    backed::{Client, refresh},
    process::Service,
};

/// What went wrong.
pub struct Report {
    pub failures: Vec<String>,
}

/// One that holds a thread's loop until it is dropped, also when the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub fn during(services: [&Service; 2], happens: impl FnOnce(&dyn Fn() -> usize)) -> Report {
    let (end, sent, failures) = (AtomicBool::new(false), AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        let _ends = Ends(&end);
        for (lane, service) in services.into_iter().enumerate() {
            let (end, sent, failures, other) = (&end, &sent, &failures, services[1 - lane]);
            scope.spawn(move || {
                let mut number = lane;
                while !end.load(Ordering::Relaxed) {
                    for (what, status) in round(service, other, number) {
                        sent.fetch_add(1, Ordering::Relaxed);
                        if !(200..300).contains(&status) {
                            failures.lock().unwrap().push(format!("{what} of {number}: {status}"));
                        }
                    }
                    number = (number + 2) % 10;
                }
            });
        }
        happens(&|| sent.load(Ordering::Relaxed));
    });
    Report { failures: failures.into_inner().unwrap() }
}

/// Logs in here, and goes on there and here by turns: what one has written the other one reads.
fn round(here: &Service, there: &Service, number: usize) -> Vec<(&'static str, u16)> {
    let client = scene::client(here, number);
    let mut statuses = vec![("login", 200)];
    let (mut token, access) = (client.refresh, client.access);
    for service in [there, here].into_iter().cycle().take(10) {
        let client = Client { api: service.api, access: access.clone(), refresh: String::new() };
        let key = json!({ "key": format!("sk-provider-key-of-{number}") });
        statuses.push(("provider key", client.ask("PUT", "/provider-key", Some(&key)).status));
        let next = refresh(service.api, &token);
        statuses.push(("refresh", next.status));
        if next.status != 200 {
            break;
        }
        next.json()["refreshToken"].as_str().unwrap().clone_into(&mut token);
    }
    statuses
}
