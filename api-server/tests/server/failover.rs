//! The database fails over to a standby (reliability scenario L7): the address stays, as a Service's does, and leads
//! elsewhere.

use std::{
    io,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::json;
use testbed::postgres::Postgres;

use crate::{
    backed::Backed,
    client::{Answer, get},
    process::wait_until,
};

/// One address that leads where it is told. Connections stay where they were made, as through kube-proxy.
struct Address {
    port: u16,
    leads_to: Arc<Mutex<SocketAddr>>,
}

impl Address {
    fn of(postgres: &Postgres) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let leads_to = Arc::new(Mutex::new(postgres.address()));
        let now = leads_to.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let to = *now.lock().unwrap();
                // A server that is away refuses; so does this address.
                let Ok(server) = TcpStream::connect(to) else { continue };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    thread::spawn(move || {
                        let _ = io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        Self { port, leads_to }
    }

    fn lead_to(&self, postgres: &Postgres) {
        *self.leads_to.lock().unwrap() = postgres.address();
    }

    fn url(&self, postgres: &Postgres) -> String {
        postgres.url().replace(&postgres.address().to_string(), &format!("127.0.0.1:{}", self.port))
    }
}

fn is_503_that_says_when(answer: &Answer) -> bool {
    answer.status == 503 && !answer.header("retry-after").is_empty()
}

#[test]
fn a_standby_is_503_and_not_ready_until_it_is_promoted_and_nothing_committed_is_lost() {
    let (mut backed, address) = behind_an_address();
    let anna = backed.account("anna@example.com", "editor");
    let video = anna.video("first");
    let standby = backed.postgres.standby().unwrap();
    backed.postgres.stop();
    address.lead_to(&standby);
    let write = || anna.post("/videos", &json!({ "title": "second", "url": "https://files.example/b.mp4" }));
    // Until the pool has connections to the standby, they cannot be made; then the standby takes no writes.
    wait_until("a read from the standby", || (anna.get("/videos").status == 200).then_some(()));
    let refused = write();
    assert!(is_503_that_says_when(&refused), "{refused:?}");
    let api = backed.service.api;
    wait_until("the standby to be noticed", || (get(api, "/readyz").status == 503).then_some(()));
    assert_eq!(get(api, "/livez").status, 200);
    standby.sql("postgres", "SELECT pg_promote()").unwrap();
    wait_until("a write", || (write().status == 201).then_some(()));
    wait_until("readiness", || (get(api, "/readyz").status == 200).then_some(()));
    let id = video["id"].as_str().unwrap();
    assert_eq!(anna.get(&format!("/videos/{id}")).status, 200, "what was committed before");
}

#[test]
fn connections_to_a_standby_are_given_up_when_the_address_leads_to_the_primary_again() {
    let (backed, address) = behind_an_address();
    let anna = backed.account("anna@example.com", "editor");
    let standby = backed.postgres.standby().unwrap();
    address.lead_to(&standby);
    // The server ends the connections that there are, and new ones go where the address leads now.
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'api-server'";
    backed.postgres.sql("postgres", end).unwrap();
    let write = || anna.post("/videos", &json!({ "title": "late", "url": "https://files.example/b.mp4" }));
    wait_until("a refused write", || is_503_that_says_when(&write()).then_some(()));
    address.lead_to(&backed.postgres);
    wait_until("a write", || (write().status == 201).then_some(()));
}

fn behind_an_address() -> (Backed, Address) {
    let mut address = None;
    let backed = Backed::reached(&[], |postgres| address.insert(Address::of(postgres)).url(postgres));
    (backed, address.unwrap())
}
