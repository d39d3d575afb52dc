//! The servers that tests start for themselves: they answer, end, come back on the same address, and leave nothing.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rustix::process::Signal;
use testbed::{Postgres, Redis};

#[test]
fn a_postgres_of_a_tests_own_keeps_its_data_over_a_restart() -> Result<()> {
    let mut postgres = Postgres::start()?;
    let (port, own) = (port(&postgres.url())?, postgres.database("studio")?);
    assert!(own.ends_with("/studio"), "not the database that was asked for");
    postgres.sql("studio", "CREATE TABLE jobs (id int); INSERT INTO jobs VALUES (7)")?;
    postgres.stop();
    assert!(postgres.sql("studio", "SELECT 1").is_err() && TcpStream::connect(("127.0.0.1", port)).is_err());
    postgres.start_again()?;
    assert_eq!(postgres.sql("studio", "SELECT id, current_user FROM jobs")?, "7|postgres");
    assert!(postgres.sql("nowhere", "SELECT 1").unwrap_err().to_string().contains("does not exist"));
    assert!(postgres.database("a; DROP DATABASE studio").is_err());
    assert!(postgres.log().contains("database system is ready"));
    drop(postgres);
    gone(port)
}

#[test]
fn a_redis_of_a_tests_own_comes_back_empty_on_the_same_port_and_wants_its_password() -> Result<()> {
    let mut redis = Redis::start()?;
    let port = port(&redis.url())?;
    assert_eq!(redis.command(&["INCR", "a"])?, ":1");
    assert!(redis.command(&["NONSENSE"]).is_err());
    redis.stop();
    assert!(redis.command(&["PING"]).is_err());
    redis.start_again()?;
    assert_eq!(redis.command(&["INCR", "a"])?, ":1", "it kept nothing");
    assert!(!redis.log().contains(redis.password()));
    // One that is stopped by a signal still ends at once when it is dropped.
    redis.signal(Signal::STOP);
    drop(redis);
    gone(port)
}

fn port(url: &str) -> Result<u16> {
    let (_, address) = url.rsplit_once(':').unwrap_or_default();
    Ok(address.split('/').next().unwrap_or_default().parse()?)
}

fn gone(port: u16) -> Result<()> {
    let start = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_ok() {
        ensure!(start.elapsed() < Duration::from_secs(10), "somebody still listens on {port}");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

#[test]
fn they_end_with_the_thread_that_started_them_so_a_killed_test_leaves_none() -> Result<()> {
    let starter = std::thread::spawn(|| (Postgres::start(), Redis::start()));
    let Ok((postgres, redis)) = starter.join() else { anyhow::bail!("the thread panicked") };
    let (postgres, redis) = (postgres?, redis?);
    gone(port(&postgres.url())?)?;
    gone(port(&redis.url())?)
}
