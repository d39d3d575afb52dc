//! The benchmark's figures as a table in Markdown, beside those of a peer. It measures nothing.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::bench::certificates::Renewed;
use crate::bench::{Created, Restarted};

/// Smallest, median and largest of the runs for each figure. `alone` are runs without the controllers of Kubernetes.
pub fn table(
    children: usize,
    created: &[Created],
    alone: &[Created],
    restarted: &[Restarted],
    grown: &[(usize, u64)],
) -> String {
    let mut rows = vec![row("children of a service", children.to_string(), "", "14")];
    rows.extend(creation(created));
    rows.extend(creation(alone).into_iter().map(|[what, rest @ ..]| {
        let [ours, target, peer] = rest;
        [format!("{what}; without controllers"), ours, target, peer]
    }));
    for (services, resident) in grown {
        let peer = if *services == 600 { "213" } else { "" };
        rows.push(row(&memory(*services), format!("{:.0}", mib(*resident)), "", peer));
    }
    let mut sizes: Vec<_> = restarted.iter().map(|restart| restart.services).collect();
    sizes.dedup();
    for size in sizes {
        let of_size: Vec<_> = restarted.iter().filter(|restart| restart.services == size).collect();
        rows.extend(restart(size, &of_size));
    }
    markdown("Skiperator", &rows)
}

/// The same for certificates: beside the controllers, and without them.
pub fn certificates(renewed: &[Vec<Renewed>; 2]) -> String {
    let rows: Vec<_> = ["", "; without controllers"]
        .into_iter()
        .zip(renewed)
        .flat_map(|(beside, runs)| {
            renewal(runs).into_iter().map(move |[what, rest @ ..]| {
                let [ours, target, peer] = rest;
                [format!("{what}{beside}"), ours, target, peer]
            })
        })
        .collect();
    markdown("cert-manager 1.21, CA issuer", &rows)
}

fn renewal(runs: &[Renewed]) -> Vec<Row> {
    let per =
        |of: &dyn Fn(&Renewed) -> f64| spread(runs.iter().map(|run| of(run) / count(run.certificates)), 1);
    let beside = per(&|run| count(run.of_service(false)));
    let mut rows =
        vec![row("requests per certificate, those of the service's own resource aside", beside, "3", "25")];
    let kinds: BTreeSet<_> = runs.iter().flat_map(|run| run.requests.keys()).collect();
    for kind in kinds {
        let of = per(&|run| count(run.requests.get(kind).copied().unwrap_or_default()));
        rows.push(row(&format!("requests per certificate: {kind}"), of, "", ""));
    }
    let certificates = runs.first().map_or(0, |run| run.certificates);
    let time = spread(runs.iter().map(|run| run.time.as_secs_f64()), 1);
    let writes = spread(runs.iter().map(|run| count(run.restart_writes)), 0);
    rows.extend([
        row("passes over a service per certificate", per(&|run| count(run.passes)), "", ""),
        row("CPU of the operator per certificate, ms", per(&|run| run.cpu.as_secs_f64() * 1e3), "3", "25"),
        row(&format!("{certificates} certificates at once, s"), time, "3", "11.7"),
        row("restart afterwards: writes", writes, "0", ""),
    ]);
    rows
}

fn markdown(peer: &str, rows: &[Row]) -> String {
    let mut out = format!("| figure | ours | target | {peer} |\n|---|---|---|---|\n");
    for row in rows {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "| {} |", row.join(" | "));
    }
    out
}

type Row = [String; 4];

fn row(what: &str, ours: String, target: &str, peer: &str) -> Row {
    [what.into(), ours, target.into(), peer.into()]
}

fn creation(runs: &[Created]) -> Vec<Row> {
    let per = |of: fn(&Created) -> f64| spread(runs.iter().map(|run| of(run) / count(run.services)), 1);
    let services = runs.first().map_or(0, |run| run.services);
    let time = spread(runs.iter().map(|run| run.time.as_secs_f64()), 1);
    let resident = spread(runs.iter().map(|run| mib(run.resident)), 0);
    vec![
        row("requests per service", per(|run| count(run.requests)), "22", "177"),
        row("of these, writes (without events)", per(|run| count(run.writes)), "", "34"),
        row("of these, events", per(|run| count(run.events)), "", ""),
        row("CPU of the operator per service, ms", per(|run| run.cpu.as_secs_f64() * 1e3), "12", "119"),
        row(&format!("{services} services at once until all children are applied, s"), time, "5", "46.7"),
        row(&memory(services), resident, "", ""),
    ]
}

fn memory(services: usize) -> String {
    format!("resident memory at {services} services, MiB")
}

fn restart(services: usize, runs: &[&Restarted]) -> Vec<Row> {
    let of = |digits, of: fn(&Restarted) -> f64| spread(runs.iter().map(|run| of(run)), digits);
    let what = |what: &str| format!("restart with {services} services: {what}");
    let (per_service, writes) = if services == 100 { ("54.5", "5.1") } else { ("", "") };
    let reads = of(0, |run| count(run.secrets));
    vec![
        row(
            &what("requests per service"),
            of(2, |run| count(run.requests()) / count(run.services)),
            "",
            per_service,
        ),
        row(&what("writes per service"), of(2, |run| count(run.writes) / count(run.services)), "0", writes),
        row(&what("reads of TLS Secrets"), reads, &services.to_string(), ""),
        row(&what("pages of lists"), of(0, |run| count(run.lists)), "", ""),
        row(&what("watches opened"), of(0, |run| count(run.watches)), "", ""),
        row(&what("other requests"), of(0, |run| count(run.others)), "", ""),
    ]
}

/// `min / median / max`, or one figure when they are the same to this many digits.
fn spread(figures: impl Iterator<Item = f64>, digits: usize) -> String {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    let Some(middle) = figures.get(figures.len() / 2) else { return String::new() };
    let [min, median, max] =
        [figures[0], *middle, figures[figures.len() - 1]].map(|f| format!("{f:.digits$}"));
    if min == max { min } else { format!("{min} / {median} / {max}") }
}

#[expect(clippy::cast_precision_loss, reason = "counts here are far below 2^52")]
fn count(number: usize) -> f64 {
    number as f64
}

#[expect(clippy::cast_precision_loss, reason = "sizes here are far below 2^52")]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
