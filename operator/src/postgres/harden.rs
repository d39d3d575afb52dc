//! `harden-postgres`: what a Job runs to harden a database and to prove it. It says what came of it in a file, and nothing that
//! a Secret holds.

use std::time::Duration;

use anyhow::{Context as _, bail};
use postgres_hardening::{
    Plan, Problem, Reason, Report, Target, Verification, alter_server, connect, down, harden as bring, verify,
};
use sqlx::postgres::PgConnectOptions;
use tokio::time::{Instant, sleep, timeout_at};

use crate::HardenPostgres;

const PAUSE: Duration = Duration::from_secs(2);
/// What was begun in time may take this much longer, so that a Job whose own deadline is later always has a result.
const GRACE: Duration = Duration::from_secs(30);

/// Ends well when everything is proven, or with `--down` when all is gone; the result stands in a file in either case.
pub async fn harden(args: &HardenPostgres) -> anyhow::Result<()> {
    let mut changed = Vec::new();
    let found = Box::pin(until(args, &mut changed)).await;
    let (report, is_well) = match found {
        Ok(Some(found)) => {
            let report = Report::of(changed, Ok(found));
            let is_proven = report.is_proven();
            (report, is_proven)
        }
        Ok(None) => (Report { changed, ..Report::default() }, true),
        Err(problem) => (Report::of(changed, Err(problem)), false),
    };
    log(&report);
    let result = &args.result;
    std::fs::write(result, report.to_json()).with_context(|| format!("writing {}", result.display()))?;
    match (&report.problem, is_well) {
        (Some(problem), _) => bail!("{problem}"),
        (None, false) => bail!("not everything could be proven; {} says what", result.display()),
        (None, true) => Ok(()),
    }
}

fn log(report: &Report) {
    let reason = report.problem.as_ref().map(|problem| problem.reason.as_str());
    let (passed, open) =
        report.evidence.as_ref().map_or((0, 0), |evidence| (evidence.passed, evidence.open.len()));
    tracing::info!(reason, changed = report.changed.join("; "), passed, open, "harden-postgres");
}

/// Tries until it comes to an end that another try would not change, or the time is over.
async fn until(args: &HardenPostgres, changed: &mut Vec<String>) -> Result<Option<Verification>, Problem> {
    let plan = plan(&args.plan)?;
    let end = Instant::now() + Duration::from_secs(args.seconds);
    loop {
        // What a try changed stays changed when something stands in its way later.
        let tried = Box::pin(timeout_at(end + GRACE, once(args, &plan, changed))).await;
        match tried.unwrap_or_else(|_| Err(late())) {
            Err(problem) if !problem.reason.is_terminal() && Instant::now() + PAUSE <= end => {
                sleep(PAUSE).await;
            }
            ended => return ended,
        }
    }
}

/// The text of a plan that is none is not repeated.
fn plan(text: &str) -> Result<Plan, Problem> {
    let plan: Plan = serde_json::from_str(text).map_err(|error| Problem {
        reason: Reason::Refused,
        detail: format!("--plan is no plan from column {} of line {} on", error.column(), error.line()),
        fix: "write it as docs/postgres.md has it, as JSON".into(),
    })?;
    plan.check()?;
    Ok(plan)
}

fn late() -> Problem {
    Problem {
        reason: Reason::Unreachable,
        detail: "the server did not come to an end in time".into(),
        fix: "look at its load and at what holds locks, or give --seconds more".into(),
    }
}

/// Nothing is verified of what was taken away. Secrets are read anew each time: they may have been changed.
async fn once(
    args: &HardenPostgres,
    plan: &Plan,
    changed: &mut Vec<String>,
) -> Result<Option<Verification>, Problem> {
    let target = Target {
        host: args.host.clone(),
        port: args.port,
        database: args.database.clone(),
        tls: args.tls_mode,
        ca: args.ca.clone(),
    };
    let options = target.options(&args.connection)?.application_name(crds::MANAGER);
    if args.down {
        let removed = down(&mut connect(&options).await?, plan, args.cascade).await?;
        if !removed.kept.is_empty() {
            tracing::info!(kept = removed.kept.join("; "), "others need it");
        }
        changed.extend(removed.changed);
        return Ok(None);
    }
    if !args.verify_only {
        change(args, &options, plan, changed).await?;
    }
    let verifier = match &args.verifier {
        Some(folder) => target.at(&options).options(folder)?.application_name(crds::MANAGER),
        None => options,
    };
    verify(&verifier, plan).await.map(Some)
}

async fn change(
    args: &HardenPostgres,
    options: &PgConnectOptions,
    plan: &Plan,
    changed: &mut Vec<String>,
) -> Result<(), Problem> {
    let mut session = connect(options).await?;
    if args.alter_system {
        changed.extend(alter_server(&mut session, plan).await?);
    }
    changed.extend(bring(&mut session, plan).await?.changed);
    Ok(())
}
