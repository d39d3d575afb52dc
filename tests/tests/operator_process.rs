//! Does the harness start, stop, kill and restart the operator as tests rely on?

use std::time::Duration;

use anyhow::{Result, ensure};
use testbed::{Cluster, Operator, process};

#[tokio::test]
async fn the_operator_is_ready_stops_when_asked_and_starts_again_after_a_kill() -> Result<()> {
    let cluster = Cluster::get().await?;
    let mut operator = Operator::start(&cluster).await?;
    let (code, metrics) = operator.get("/metrics").await?;
    assert_eq!(code, 200, "{metrics}");
    let status = operator.stop().await?;
    ensure!(status.success(), "it ended with {status}:\n{}", operator.log());
    operator.restart().await?;
    let killed = operator.pid();
    operator.kill().await?;
    ensure!(process::birth(killed).is_none(), "it lives after SIGKILL");
    operator.restart().await?;
    ensure!(operator.pid() != killed, "it was not started again");
    Ok(())
}

#[tokio::test]
async fn a_second_operator_waits_until_the_first_is_gone() -> Result<()> {
    let cluster = Cluster::get().await?;
    let first = Operator::start(&cluster).await?;
    let pid = first.pid();
    let second = Operator::start(&cluster);
    tokio::pin!(second);
    let early = tokio::time::timeout(Duration::from_secs(2), &mut second).await;
    ensure!(early.is_err(), "two operators ran at once");
    drop(first);
    ensure!(process::birth(pid).is_none(), "a dropped operator lives on");
    second.await?;
    Ok(())
}
