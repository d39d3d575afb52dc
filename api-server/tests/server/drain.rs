//! The end of a process: not ready first, then no new connections, then the exit.

use std::{io::Read as _, net::TcpStream};

use crate::{
    client::{connect, get, send},
    headers,
    process::{Service, wait_until},
    tls,
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

#[test]
fn after_sigterm_an_http_1_connection_ends_behind_an_answer_that_says_so() {
    let mut service = Service::start(&[("DRAIN_DELAY", "3")]);
    let mut open = connect(service.api);
    let request = "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
    assert!(send(&mut open, request).headers.iter().all(|(name, _)| name != "connection"));
    service.terminate();
    wait_until("the drain", || (get(service.api, "/readyz").status == 503).then_some(()));
    let last = send(&mut open, request);
    assert_eq!((last.status, last.header("connection")), (200, "close"));
    assert_eq!(open.read(&mut [0]).unwrap(), 0, "closed");
    assert!(service.exit().success());
}

#[tokio::test]
async fn after_sigterm_an_http_2_client_is_told_to_leave_and_its_requests_are_answered() {
    let (authority, _dir, _, mut service) = tls::start_with(&[("DRAIN_DELAY", "3")]);
    let (client, connection) = h2::client::handshake(authority.http2(&service).await).await.unwrap();
    let (idle, other) = h2::client::handshake(authority.http2(&service).await).await.unwrap();
    let other = tokio::spawn(other);
    let answer = async |request| {
        let (response, _) = client.clone().send_request(request, true).unwrap();
        response.await.unwrap().status()
    };
    let request = || http::Request::get("https://studio.example/").body(()).unwrap();
    let mut connection = tokio::spawn(connection);
    assert_eq!(answer(request()).await, 200);
    service.terminate();
    // A client does not know at once: requests until then are on their way when the server says farewell.
    let mut answered = 0;
    while let Ok((response, _)) = client.clone().send_request(request(), true) {
        assert_eq!(response.await.unwrap().status(), 200);
        answered += 1;
    }
    assert!(answered > 0, "no request met the drain");
    drop(client);
    // Both ends only because the client was told: the server's own limits are far away.
    (&mut connection).await.unwrap().unwrap();
    drop(idle);
    other.await.unwrap().unwrap();
    tokio::task::spawn_blocking(move || assert!(service.exit().success())).await.unwrap();
}

#[test]
fn a_connection_that_was_opened_last_has_its_first_request_answered() {
    let mut service = Service::start(&[("DRAIN_DELAY", "1"), ("WORKERS", "1")]);
    service.terminate();
    wait_until("the drain", || (get(service.api, "/readyz").status == 503).then_some(()));
    let mut last = connect(service.api);
    // The one worker takes connections in turn, so it has the one before too.
    assert_eq!(get(service.api, "/").status, 200);
    wait_until("no new connections", || TcpStream::connect(service.api).is_err().then_some(()));
    let answer = send(&mut last, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
    assert_eq!((answer.status, answer.header("connection")), (405, "close"));
    assert!(service.exit().success());
}
