//! Does the harness start, stop, kill and restart the operator as tests rely on?

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use testbed::{Cluster, Look, Operator, process, wait_until};

/// Other tests may hold the operator for a while.
const LIMIT: Duration = Duration::from_mins(5);

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

/// Not a test of its own: the process that the next test kills.
#[tokio::test]
#[ignore = "run by another test, as a process that is killed"]
async fn a_test_that_is_killed() -> Result<()> {
    let cluster = Cluster::get().await?;
    let operator = Operator::start(&cluster).await?;
    std::fs::write(std::env::var("NOTE")?, operator.pid().to_string())?;
    std::future::pending().await
}

#[tokio::test]
async fn an_operator_dies_with_a_test_that_is_killed() -> Result<()> {
    Cluster::get().await?;
    let folder = tempfile::tempdir()?;
    let note = folder.path().join("note");
    let arguments = ["--ignored", "--exact", "a_test_that_is_killed"];
    let mut test = Command::new(std::env::current_exe()?).args(arguments).env("NOTE", &note).spawn()?;
    let pid = wait_until(LIMIT, "the operator of the other test", async || {
        match std::fs::read_to_string(&note).map(|text| text.parse::<i32>()) {
            Ok(Ok(pid)) => Look::Done(pid),
            other => Look::NotYet(format!("{other:?}")),
        }
    })
    .await;
    test.kill()?;
    test.wait()?;
    process::wait_gone(pid?)
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
