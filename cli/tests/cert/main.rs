//! `kubectl hardened cert`: the command as a user runs it, on real files, TLS servers and an API server.

mod generate;
mod inspect;
mod secret;
mod server;

use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

/// What the command printed, and its exit code.
struct Answer {
    code: i32,
    out: String,
    err: String,
}

/// Runs it where no cluster can be reached.
fn tool(arguments: &[&str]) -> Result<Answer> {
    tool_with(arguments, &[("KUBECONFIG", "absent")])
}

fn tool_with(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Answer> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-hardened"));
    command.args(arguments).env_remove("SSL_CERT_FILE").env_remove("SSL_CERT_DIR");
    answer(command.envs(environment.iter().copied()))
}

fn answer(command: &mut Command) -> Result<Answer> {
    let output = command.output().with_context(|| format!("start {command:?}"))?;
    let code = output.status.code().context("ended by a signal")?;
    let (out, err) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    assert!(!(out.clone() + &err).contains("PRIVATE KEY"), "a key is shown: {out}{err}");
    Ok(Answer { code, out, err })
}

/// What openssl prints; an error when it says no.
fn openssl(arguments: &[&str]) -> Result<String> {
    let output = Command::new("openssl").args(arguments).output().context("start openssl")?;
    anyhow::ensure!(
        output.status.success(),
        "openssl {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

impl Answer {
    fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.out).with_context(|| self.err.clone())
    }

    /// The checks that found something; each says what to do, and the exit code fits.
    fn findings(&self) -> Result<Vec<String>> {
        let report = self.json()?;
        let findings = report["findings"].as_array().context("no findings")?;
        for finding in findings {
            let written = |member: &str| finding[member].as_str().is_some_and(|text| !text.is_empty());
            assert!(written("problem") && written("fix"), "{finding}");
        }
        assert_eq!(self.code, i32::from(!findings.is_empty()), "{}", self.out);
        assert_eq!(report["ok"], findings.is_empty());
        Ok(findings.iter().filter_map(|finding| finding["check"].as_str().map(str::to_owned)).collect())
    }
}
