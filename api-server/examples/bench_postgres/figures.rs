//! Percentiles, and how far apart those of two databases are. It measures nothing.

use std::{fmt::Write as _, time::Duration};

use crate::statements::Statement;

/// What encryption and audit may cost at most, in milliseconds.
const BAR: f64 = 10.0;
const PERCENTILES: [usize; 3] = [50, 95, 99];
/// Drawn anew so often for the confidence (bootstrap, percentile method).
const DRAWS: usize = 500;

/// Milliseconds by statement, database and round.
pub struct Samples {
    variants: Vec<&'static str>,
    of: Vec<Vec<Vec<f64>>>,
}

/// What is to be read, and whether the cost is below the bar.
pub struct Report {
    pub text: String,
    pub within_the_bar: bool,
}

/// A difference of two percentiles, with the bounds that it lies between in 95 of 100 draws.
struct Difference {
    is: f64,
    from: f64,
    to: f64,
}

impl Samples {
    pub fn new(variants: &[&'static str]) -> Self {
        let of = vec![vec![Vec::new(); variants.len()]; Statement::ALL.len()];
        Self { variants: variants.to_vec(), of }
    }

    pub fn add(&mut self, statement: Statement, variant: usize, took: Duration) {
        self.of[statement as usize][variant].push(took.as_secs_f64() * 1e3);
    }

    pub fn report(&self, rounds: usize, warm_up: usize, version: &str) -> Report {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "Postgres {version}, TLS, one connection per database, {rounds} rounds after {warm_up} of warm-up. In each round each statement runs once on each\nof the four databases, in random order.\n"
        );
        self.percentiles(&mut text);
        let worst = self.differences(&mut text);
        let within_the_bar = worst < BAR;
        let verdict = if within_the_bar { "held" } else { "NOT held" };
        let _ = write!(
            text,
            "\nBar: neither encryption nor audit nor both cost {BAR:.0} ms or more at P95. Worst: {worst:.2} ms. {verdict}."
        );
        Report { text, within_the_bar }
    }

    fn percentiles(&self, text: &mut String) {
        let _ =
            writeln!(text, "Milliseconds, P50 / P95 / P99:\n\n| statement | {} |", self.variants.join(" | "));
        let _ = writeln!(text, "|---|{}", "---|".repeat(self.variants.len()));
        for statement in Statement::ALL {
            let cells = self.of[statement as usize].iter().map(|samples| {
                let figures = percentiles(&mut samples.clone());
                figures.map(|figure| format!("{figure:.2}")).join(" / ")
            });
            let cells: Vec<_> = cells.collect();
            let mark = if statement.is_encrypted() { " *" } else { "" };
            let _ = writeln!(text, "| {}{mark} | {} |", statement.title(), cells.join(" | "));
        }
        let _ = writeln!(text, "\n\\* reads or writes an encrypted column.\n");
    }

    /// Gives the largest at P95.
    fn differences(&self, text: &mut String) -> f64 {
        let against = &self.variants[1..];
        let _ = writeln!(
            text,
            "Cost against `{}` in milliseconds, with 95 % confidence:\n\n| statement | percentile | {} |",
            self.variants[0],
            against.join(" | ")
        );
        let _ = writeln!(text, "|---|---|{}", "---|".repeat(against.len()));
        let mut worst = f64::MIN;
        for statement in Statement::ALL {
            let of = &self.of[statement as usize];
            let costs: Vec<_> = of[1..].iter().map(|with| differences(with, &of[0])).collect();
            for (place, percentile) in PERCENTILES.iter().enumerate() {
                let cells = costs.iter().map(|cost| {
                    let Difference { is, from, to } = &cost[place];
                    format!("{is:+.2} ({from:+.2} to {to:+.2})")
                });
                let cells: Vec<_> = cells.collect();
                let _ = writeln!(text, "| {} | P{percentile} | {} |", statement.title(), cells.join(" | "));
            }
            worst = costs.iter().map(|cost| cost[1].is).fold(worst, f64::max);
        }
        worst
    }
}

/// Rounds are drawn, not single figures: what disturbed the machine disturbed all databases of a round.
fn differences(with: &[f64], without: &[f64]) -> [Difference; 3] {
    let mut drawn = [(); 3].map(|()| Vec::new());
    let (mut one, mut other) = (vec![0.0; with.len()], vec![0.0; with.len()]);
    for _ in 0..DRAWS {
        for place in 0..with.len() {
            let round = fastrand::usize(..with.len());
            (one[place], other[place]) = (with[round], without[round]);
        }
        for (all, (a, b)) in
            drawn.iter_mut().zip(percentiles(&mut one).into_iter().zip(percentiles(&mut other)))
        {
            all.push(a - b);
        }
    }
    let is: Vec<_> = percentiles(&mut with.to_vec())
        .iter()
        .zip(percentiles(&mut without.to_vec()))
        .map(|(a, b)| a - b)
        .collect();
    let mut place = 0;
    drawn.map(|mut all| {
        all.sort_by(f64::total_cmp);
        let difference = Difference { is: is[place], from: all[DRAWS / 40], to: all[DRAWS - 1 - DRAWS / 40] };
        place += 1;
        difference
    })
}

fn percentiles(samples: &mut [f64]) -> [f64; 3] {
    samples.sort_unstable_by(f64::total_cmp);
    PERCENTILES.map(|percentile| samples[(samples.len() * percentile / 100).min(samples.len() - 1)])
}
