//! What `verify db` found, for people and for programs, and its exit code.

use std::fmt::Write as _;

use anyhow::Result;
use postgres_hardening::{Check, Outcome, Problem, Verification};
use serde_json::json;

use super::COULD_NOT_LOOK;

/// Form of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// A line for each control, for people.
    Table,
    /// Whole, for programs.
    Json,
}

type Found = Result<Verification, Problem>;

/// 0 everything passed, 1 something failed, 2 something could not be seen.
pub fn code(found: &Found) -> u8 {
    let Ok(found) = found else { return COULD_NOT_LOOK };
    let has = |outcome| found.checks.iter().any(|check| check.outcome == outcome);
    match (has(Outcome::Failed), has(Outcome::Unknown)) {
        (true, _) => 1,
        (false, true) => COULD_NOT_LOOK,
        (false, false) => 0,
    }
}

pub fn text(found: &Found, output: Output) -> Result<String> {
    match (found, output) {
        (Ok(found), Output::Json) => Ok(format!("{:#}\n", serde_json::to_value(found)?)),
        (Err(problem), Output::Json) => Ok(format!("{:#}\n", json!({ "problem": problem }))),
        (Ok(found), Output::Table) => table(found),
        (Err(problem), Output::Table) => {
            Ok(format!("could not look: {} ({})\n  fix: {}\n", problem.detail, problem.reason, problem.fix))
        }
    }
}

fn table(found: &Verification) -> Result<String> {
    let rows: Vec<_> = found.checks.iter().map(|check| (check.control.to_string(), check)).collect();
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let mut text = format!("Postgres {}\n", version(found.server_version));
    for (name, Check { outcome, evidence, fix, .. }) in rows {
        let outcome = format!("{outcome:?}");
        writeln!(text, "{outcome:<8} {name:<width$}  {evidence}")?;
        if let Some(fix) = fix {
            writeln!(text, "{:<8} {:<width$}  fix: {fix}", "", "")?;
        }
    }
    let open = found.open().count();
    let passed = found.checks.len() - open;
    writeln!(text, "{passed} of {} passed", found.checks.len())?;
    Ok(text)
}

/// As Postgres counts since version 10.
fn version(number: i32) -> String {
    format!("{}.{}", number / 10_000, number % 10_000)
}
