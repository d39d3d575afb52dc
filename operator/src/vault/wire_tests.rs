//! What a Vault could do to whoever asks it: send without an end, send elsewhere, or give a token that fits in no header.

use vaultrs::api::token::requests::LookupTokenSelfRequest;

use super::*;
use crate::vault::fake::{self, Fake};

async fn outcome(status: u16, body: String) -> Result<usize, Fault> {
    let fake = Fake::start(move |_| (status, body.clone())).await;
    let token = SecretString::from("the-token");
    let answer = fake.connection.wire(Some(&token)).ask(&LookupTokenSelfRequest {}).await;
    let [asked] = fake.asked().try_into().unwrap();
    assert_eq!((&*asked.path, &*asked.token), ("auth/token/lookup-self", "the-token"));
    answer.map(|body| body.len())
}

#[tokio::test]
async fn an_answer_is_read_up_to_a_limit_and_no_further() {
    assert!(outcome(200, "a".repeat(MOST)).await.is_ok_and(|length| length == MOST));
    for status in [200, 500] {
        assert!(matches!(outcome(status, "a".repeat(MOST + 1)).await, Err(Fault::TooLong)), "{status}");
    }
}

#[tokio::test]
async fn an_answer_of_no_announced_length_has_the_same_limit() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
        let chunk = [b"10000\r\n".as_slice(), &vec![b'a'; 0x1_0000], b"\r\n"].concat();
        let mut sent = 0;
        // Without an end: until nobody reads any more.
        while stream.write_all(&chunk).await.is_ok() {
            sent += 1;
        }
        sent
    });
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let wire = Wire { http: &http, address: &address, namespace: None, token: None };
    assert!(matches!(wire.ask(&LookupTokenSelfRequest {}).await, Err(Fault::TooLong)));
    assert!(server.await.unwrap() < 1000, "it was read on and on");
}

#[tokio::test]
async fn the_status_of_a_refusal_is_kept_and_a_redirect_is_not_followed() {
    for status in [307, 403, 503] {
        let answer = outcome(status, r#"{"errors": ["quoted"]}"#.into()).await;
        assert!(matches!(answer, Err(Fault::Status { code, .. }) if code == status), "{status}");
    }
}

#[tokio::test]
async fn what_is_no_answer_of_vault_is_none_and_a_token_that_fits_in_no_header_is_not_taken() {
    let token = |token: &str| fake::auth(token, 60, true);
    for (body, fits) in [
        (token("hvs.A"), true),
        (token("a\nb"), false),
        (token("ä"), false),
        ("<html>".into(), false),
        (r#"{"auth": null}"#.into(), false),
    ] {
        let fake = Fake::start(move |_| (200, body.clone())).await;
        let auth = fake.connection.wire(None).auth(&LookupTokenSelfRequest {}).await;
        assert_eq!(auth.is_ok(), fits);
        assert!(fits || matches!(auth, Err(Fault::Foreign)));
    }
    let odd = SecretString::from("a\nb");
    let wire = fake::connection();
    assert!(wire.wire(Some(&odd)).ask(&LookupTokenSelfRequest {}).await.is_err(), "it does not panic");
}

#[tokio::test]
async fn nobody_there_is_silence() {
    let mut connection = fake::connection();
    connection.address = "http://127.0.0.1:1/".parse().unwrap();
    let answer = connection.wire(None).ask(&LookupTokenSelfRequest {}).await;
    assert!(matches!(answer, Err(Fault::Silence)));
}
