//! What a Vault could do to whoever asks it: send without an end, send elsewhere, or give a token that fits in no header.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use vaultrs::api::token::requests::LookupTokenSelfRequest;

use super::*;

/// Answers one request, whose head is given back.
async fn serve(status: u16, body: String) -> (String, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 4096];
        let length = stream.read(&mut head).await.unwrap();
        let answer = format!("HTTP/1.1 {status} -\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        // Who has seen that it is too long hangs up.
        let _ = stream.write_all(answer.as_bytes()).await;
        String::from_utf8_lossy(&head[..length]).into_owned()
    });
    (address, server)
}

fn http() -> reqwest::Client {
    let never = reqwest::redirect::Policy::none();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder().no_proxy().redirect(never).build().unwrap()
}

async fn outcome(status: u16, body: String) -> Result<usize, Fault> {
    let (address, server) = serve(status, body).await;
    let token = SecretString::from("the-token");
    let wire = Wire { http: &http(), address: &address, namespace: Some("team"), token: Some(&token) };
    let answer = wire.ask(&LookupTokenSelfRequest {}).await;
    let head = server.await.unwrap();
    assert!(head.starts_with("GET /v1/auth/token/lookup-self HTTP/1.1\r\n"), "{head}");
    for header in ["x-vault-token: the-token", "x-vault-namespace: team", "x-vault-request: true"] {
        assert!(head.contains(&format!("\r\n{header}\r\n")), "{header} is not in {head}");
    }
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
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
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
    let wire = Wire { http: &http(), address: &address, namespace: None, token: None };
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
    let token = |token: &str| {
        let auth = serde_json::json!({"client_token": token, "lease_duration": 60, "renewable": true});
        serde_json::json!({ "auth": auth }).to_string()
    };
    for (body, fits) in [
        (token("hvs.A"), true),
        (token("a\nb"), false),
        (token("ä"), false),
        ("<html>".into(), false),
        (r#"{"auth": null}"#.into(), false),
    ] {
        let (address, _server) = serve(200, body).await;
        let wire = Wire { http: &http(), address: &address, namespace: None, token: None };
        let auth = wire.auth(&LookupTokenSelfRequest {}).await;
        assert_eq!(auth.is_ok(), fits);
        assert!(fits || matches!(auth, Err(Fault::Foreign)));
    }
    let odd = SecretString::from("a\nb");
    let wire = Wire { http: &http(), address: "http://127.0.0.1:1/", namespace: None, token: Some(&odd) };
    assert!(wire.ask(&LookupTokenSelfRequest {}).await.is_err(), "it does not panic");
}

#[tokio::test]
async fn nobody_there_is_silence() {
    let wire = Wire { http: &http(), address: "http://127.0.0.1:1/", namespace: None, token: None };
    let answer = wire.ask(&LookupTokenSelfRequest {}).await;
    assert!(matches!(answer, Err(Fault::Silence)));
}
