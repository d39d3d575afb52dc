//! Is the CA replaced twice in a row without one failed handshake of clients that trust only `ca.crt` and read it again
//! now and then? With the real image on the real node. Needs root, and no other node on this host.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use testbed::certificate;
use testbed::cluster::OPERATOR_NAMESPACE;
use testbed::handshakes::Handshakes;
use testbed::operator::Options;
use testbed::stage::Stage;

/// Clients read their file so often, half of what the operator gives them.
const READ: Duration = Duration::from_secs(30);
const OVERLAP: &str = "60";
/// Twice the kubelet's minute and a half, twice the overlap, and some more.
const ROTATION: Duration = Duration::from_mins(8);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "soak: ten minutes"]
async fn two_rotations_in_a_row_fail_no_handshake_of_50_a_second() -> Result<()> {
    let args = vec!["--ca-overlap".to_owned(), OVERLAP.to_owned()];
    let Some(stage) = Stage::set(Options { args, ..Options::default() }).await? else { return Ok(()) };
    let pods = stage.pods().await?;
    let load = Handshakes::start(stage.target().await?, 50)?;
    for count in 1..=2 {
        let took = rotate(&stage, &load).await?;
        println!(
            "SOAK rotation {count}: {} s; {} handshakes, {} failed",
            took.as_secs(),
            load.made(),
            load.failures().len()
        );
    }
    let trusted = stage.target().await?.ca;
    ensure!(
        trusted == certificate::ca(&stage.cluster.client, OPERATOR_NAMESPACE).await?,
        "an old CA is left"
    );
    ensure!(stage.serves_secret(&stage.target().await?).await?, "something else is served");
    ensure!(stage.pods().await? == pods, "a new CA needs no new pod");
    println!("SOAK end: {} handshakes, 0 failed", load.end_without_failure()?);
    Ok(())
}

/// Asks for another CA and waits until it is alone, while clients read their file again now and then.
async fn rotate(stage: &Stage, load: &Handshakes) -> Result<Duration> {
    let client = &stage.cluster.client;
    let before = certificate::ca(client, OPERATOR_NAMESPACE).await?;
    certificate::ask_for_another_ca(client, OPERATOR_NAMESPACE, "").await?;
    let begin = Instant::now();
    let mut read = begin;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if read.elapsed() >= READ {
            read = Instant::now();
            load.read_again(&stage.target().await?.ca)?;
        }
        if certificate::is_replaced(client, OPERATOR_NAMESPACE, &before).await? {
            return Ok(begin.elapsed());
        }
        ensure!(begin.elapsed() < ROTATION, "not replaced after {ROTATION:?}");
    }
}
