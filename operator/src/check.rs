//! `check URL`: asks until the answer is 200, for images without a shell. Plain HTTP to one address and nothing more.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use crate::Check;

const PAUSE: Duration = Duration::from_secs(1);
const ONE_ANSWER: Duration = Duration::from_secs(3);

/// Ends well as soon as the answer is 200; at the limit the error is the last answer.
pub async fn check(args: Check) -> anyhow::Result<()> {
    let rest = args.url.strip_prefix("http://").context("the URL must begin with http://")?;
    let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
    let end = Instant::now() + Duration::from_secs(args.timeout);
    loop {
        let result = match timeout(ONE_ANSWER, ask(address, path)).await {
            Ok(result) => result,
            Err(_) => Err(anyhow::anyhow!("no answer within {} s", ONE_ANSWER.as_secs())),
        };
        match result {
            Ok(body) => {
                tracing::info!(url = args.url, body, "answered 200");
                return Ok(());
            }
            Err(error) if Instant::now() + PAUSE > end => return Err(error.context(args.url)),
            Err(error) => tracing::info!(url = args.url, error = format!("{error:#}"), "not yet"),
        }
        sleep(PAUSE).await;
    }
}

/// The body of a 200; HTTP/1.0, so that the end of the stream is the end of the body.
async fn ask(address: &str, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
    stream.write_all(format!("GET /{path} HTTP/1.0\r\nhost: {address}\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.take(64 * 1024).read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    let line = head.lines().next().unwrap_or_default();
    ensure!(line.split(' ').nth(1) == Some("200"), "{line}: {}", body.trim());
    Ok(body.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A server that gives these answers, one for each connection.
    async fn server(answers: &'static [&'static str]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/readyz", listener.local_addr().unwrap());
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 256];
                let read = stream.read(&mut request).await.unwrap();
                assert!(request[..read].starts_with(b"GET /readyz HTTP/1.0\r\n"));
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        url
    }

    #[tokio::test]
    async fn it_asks_until_the_answer_is_200() {
        let url =
            server(&["HTTP/1.1 503 Service Unavailable\r\n\r\nwaiting", "HTTP/1.1 200 OK\r\n\r\nok"]).await;
        check(Check { url, timeout: 10 }).await.unwrap();
    }

    #[tokio::test]
    async fn at_the_limit_it_fails_with_the_last_answer() {
        let url = server(&["HTTP/1.1 503 Service Unavailable\r\n\r\nlists: waiting"]).await;
        let error = format!("{:#}", check(Check { url: url.clone(), timeout: 0 }).await.unwrap_err());
        assert!(error.contains(&url) && error.contains("503") && error.contains("lists: waiting"), "{error}");
        let error = check(Check { url: "https://localhost/".into(), timeout: 0 }).await.unwrap_err();
        assert!(error.to_string().contains("http://"), "{error}");
    }
}
