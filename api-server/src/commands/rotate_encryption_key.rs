//! `api-server rotate-encryption-key`: encrypts what is not of the current key anew, a batch at a time, beside running
//! servers. Every batch is a transaction of its own, so it may be killed and started again at any time.

use std::{
    collections::BTreeSet,
    io::{self, Write as _},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use sqlx::PgPool;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::pool;
use crate::{
    config::Config,
    database::{
        cannot_decrypt,
        rotation::{Column, Counts},
    },
    encryption::Keys,
    secrets::Secrets,
};

/// How to change the key.
pub const HELP: &str = "\
How to change the key, with no request that fails:
  1. Run this version everywhere, and `api-server migrate up`. Make a key: openssl rand -base64 32
  2. Give all replicas ENCRYPTION_KEY=OLD and ENCRYPTION_KEY_PREVIOUS=NEW, so that each can read what another one
     will write. A single replica may skip this step.
  3. Give all replicas ENCRYPTION_KEY=NEW and ENCRYPTION_KEY_PREVIOUS=OLD: from now on they write with NEW.
  4. With the same two secrets: api-server rotate-encryption-key
     It may be stopped at any time and started again, and run beside the replicas and beside itself.
  5. When it has ended with exit code 0, remove ENCRYPTION_KEY_PREVIOUS from all replicas.
  6. Keep OLD where backups are kept, for as long as backups of before are: they can be read with OLD only.

Exit code 0: every row is of ENCRYPTION_KEY. 1: some are not; rows that are of neither key are named by their ids.";

/// Rows whose holders give them up within this time are waited for.
const PATIENCE: Duration = Duration::from_secs(30);
const SAY_EVERY: Duration = Duration::from_secs(2);

/// Flags of the command.
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct Rotate {
    /// Rows of one transaction
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    batch: u16,
    /// Milliseconds between two transactions, for a busy database
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=60_000))]
    pause: u64,
    /// Only count rows by the key that they say they are of
    #[arg(long)]
    dry_run: bool,
}

/// Does it and prints how far it is.
pub async fn run(command: &Rotate, config: &Config, secrets: &Secrets) -> anyhow::Result<()> {
    let pool = pool(config, secrets)?;
    let keys = Keys::read(secrets)?.context("ENCRYPTION_KEY is not set")?;
    let mut left = 0;
    for column in Column::ALL {
        if !command.dry_run {
            let mut walk = Walk::new(command, column, &pool, &keys);
            walk.run().await.with_context(|| {
                let done = walk.done;
                format!("{} after {done} rows; start it again, nothing is lost", column.as_str())
            })?;
            left += walk.refused.len();
        }
        say_counts(column, &column.count(&pool, &keys).await.context("count the rows")?)?;
    }
    ensure!(left == 0, "{left} rows are left as they were, named above; all others are of ENCRYPTION_KEY");
    Ok(())
}

fn say_counts(column: Column, counts: &Counts) -> io::Result<()> {
    let Counts { current, previous, unknown, other } = counts;
    writeln!(
        io::stdout(),
        "{:<22} {current} of the current key, {previous} of the previous, {unknown} do not say, {other} of another",
        column.as_str(),
    )
}

/// One column's rows, in the order of their ids.
struct Walk<'a> {
    command: &'a Rotate,
    column: Column,
    pool: &'a PgPool,
    keys: &'a Keys,
    done: u64,
    /// They can be read with neither key, or have an address that another account has.
    refused: BTreeSet<Uuid>,
    begun: Instant,
    said: Instant,
}

impl<'a> Walk<'a> {
    fn new(command: &'a Rotate, column: Column, pool: &'a PgPool, keys: &'a Keys) -> Self {
        let now = Instant::now();
        Self { command, column, pool, keys, done: 0, refused: BTreeSet::new(), begun: now, said: now }
    }

    /// Again and again over the rows, until one walk has found none that others held.
    async fn run(&mut self) -> anyhow::Result<()> {
        let mut progress = Instant::now();
        loop {
            let before = self.done;
            let held = self.once().await?;
            if held == 0 {
                break;
            }
            if self.done > before {
                progress = Instant::now();
            }
            if progress.elapsed() > PATIENCE {
                bail!("{held} rows are held by other transactions");
            }
            sleep(Duration::from_millis(100)).await;
        }
        if self.done > 0 {
            self.say()?;
        }
        Ok(())
    }

    /// From the first row to the last; says how many others held or had done before.
    async fn once(&mut self) -> anyhow::Result<u64> {
        let (mut after, mut held) = (Uuid::nil(), 0);
        loop {
            let batch = i64::from(self.command.batch);
            let ids = self.column.next(self.pool, self.keys, after, batch).await.context("find rows")?;
            let Some(last) = ids.last() else { return Ok(held) };
            after = *last;
            let wanted: Vec<_> = ids.into_iter().filter(|id| !self.refused.contains(id)).collect();
            held += self.batch(&wanted).await.context("encrypt rows")?;
            if self.said.elapsed() >= SAY_EVERY {
                self.say()?;
            }
            sleep(Duration::from_millis(self.command.pause)).await;
        }
    }

    /// All rows in one transaction, and where one of them spoils it, each in its own.
    async fn batch(&mut self, ids: &[Uuid]) -> anyhow::Result<u64> {
        let (reading, _) = self.keys.readings();
        let rows = u64::try_from(ids.len())?;
        let (done, refused) = match self.column.rewrite(self.pool, self.keys, reading, ids).await {
            Ok(done) => (done, 0),
            Err(error) if cannot_decrypt(&error) || is_duplicate(&error) => {
                let (mut done, before) = (0, self.refused.len());
                for id in ids {
                    done += self.one(*id).await?;
                }
                (done, u64::try_from(self.refused.len() - before)?)
            }
            Err(error) => return Err(error.into()),
        };
        self.done += done;
        Ok(rows - done - refused)
    }

    async fn one(&mut self, id: Uuid) -> anyhow::Result<u64> {
        let (first, second) = self.keys.readings();
        for reading in [Some(first), second].into_iter().flatten() {
            match self.column.rewrite(self.pool, self.keys, reading, &[id]).await {
                Err(error) if cannot_decrypt(&error) => {}
                Err(error) if is_duplicate(&error) => {
                    return self.refuse(id, "another account has its address; disable or remove one of them");
                }
                other => return Ok(other?),
            }
        }
        self.refuse(id, "it can be read with neither key; if there was a third one, rotate from that one too")
    }

    /// Tells the row and never what is in it.
    fn refuse(&mut self, id: Uuid, why: &str) -> anyhow::Result<u64> {
        writeln!(io::stdout(), "{} {id}: left as it was: {why}", self.column.as_str())?;
        self.refused.insert(id);
        Ok(0)
    }

    fn say(&mut self) -> io::Result<()> {
        self.said = Instant::now();
        let (done, took) = (self.done, self.begun.elapsed());
        let rate = u128::from(done) * 1000 / took.as_millis().max(1);
        writeln!(
            io::stdout(),
            "{:<22} {done} encrypted anew in {:.1} s, {rate} a second",
            self.column.as_str(),
            took.as_secs_f64(),
        )
    }
}

fn is_duplicate(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}
