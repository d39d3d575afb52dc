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
