//! The end of a process: not ready first, then no new connections, then the exit.

use std::{io::Read as _, net::TcpStream};

use crate::{
    client::{connect, get, send},
    headers,
    process::{Service, wait_until},
};

#[test]
fn sigterm_turns_readiness_off_while_requests_are_still_served() {
    let mut service = Service::start(&[("DRAIN_DELAY", "3")]);
    assert_eq!(get(service.api, "/readyz").status, 200);
    service.terminate();
    let ready = wait_until("readiness off", || Some(get(service.api, "/readyz")).filter(|a| a.status == 503));
    headers::check(&ready);
    assert_eq!(ready.json()["detail"], "The service is shutting down.");
    assert_eq!(get(service.api, "/").status, 200, "new connections are served");
    assert_eq!(get(service.api, "/livez").status, 200, "a restart would cut the drain short");
    assert!(service.exit().success());
}

#[test]
fn after_sigterm_an_idle_connection_does_not_hold_the_end_up() {
    let mut service = Service::start(&[("SHUTDOWN_TIMEOUT", "60")]);
    let mut idle = connect(service.api);
    send(&mut idle, "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n");
    service.terminate();
    assert_eq!(idle.read(&mut [0]).unwrap(), 0, "closed");
    assert!(service.exit().success());
    assert!(TcpStream::connect(service.api).is_err());
}
