//! What a token costs a request that passes Envoy: ours beside Envoy's own filters.
//!
//! One Envoy for each way, with one worker, all started before the first round; the service behind them is another Envoy.
//! Rounds are interleaved, so that what else the machine does falls on all. The CPU time is that of the process, divided
//! by the requests that wrk counts.

mod load;
mod picture;
mod ways;

use anyhow::Result;
use host_test::envoy::Envoy;
use mock_identity::{Mock, MockConfig};

use crate::report::Report;
use load::{Wrk, cpu_us, memory_mib};
use picture::draw;
use ways::{Bench, Way};

pub(crate) async fn run(report: &mut Report) -> Result<()> {
    report.section(&format!("Envoy, a token of 1.5 kB for each request, {ROUNDS} rounds of {SECONDS} s"));
    let Some(wrk) = Wrk::find() else {
        report.skip("all of it", "wrk is missing: `apt-get install -y wrk`");
        return Ok(());
    };
    let mock = Mock::start(MockConfig::default()).await?;
    let bench = Bench::new(&mock).await?;
    let results = measure(&bench, &wrk).await?;
    report.columns(&["us CPU", "more", "requests/s", "p50, ms", "p99, ms"]);
    for result in &results {
        report.row(result.way.title(), &result.cells(&results));
    }
    if let Some(ours) = results.iter().find(|result| result.way == Way::Ours) {
        report.promise("ours, CPU beyond nothing", ours.beyond(&results), 7.0, "us");
    }
    memory(&bench, report).await?;
    draw(&results)
}

/// What came of one way, medians over its rounds.
pub(crate) struct Measured {
    way: Way,
    cpu_us: f64,
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
}

impl Measured {
    /// The CPU time beyond that of an Envoy that adds nothing.
    fn beyond(&self, all: &[Self]) -> f64 {
        let nothing = all.iter().find(|other| other.way == Way::Nothing).map_or(0.0, |other| other.cpu_us);
        self.cpu_us - nothing
    }

    fn cells(&self, all: &[Self]) -> [String; 5] {
        [
            format!("{:.1}", self.cpu_us),
            format!("{:+.1}", self.beyond(all)),
            format!("{:.0}", self.per_second),
            format!("{:.2}", self.p50_ms),
            format!("{:.2}", self.p99_ms),
        ]
    }
}

async fn measure(bench: &Bench<'_>, wrk: &Wrk) -> Result<Vec<Measured>> {
    let mut running = Vec::new();
    for way in Way::ALL {
        let envoy = bench.start(way, 1).await?;
        let address = envoy.listener("in").await?;
        bench.check(way, address).await?;
        wrk.run(address, 1).await?;
        running.push((way, envoy, address, Vec::new()));
    }
    for _ in 0..ROUNDS {
        for (_, envoy, address, rounds) in &mut running {
            let before = cpu_us(envoy)?;
            let round = wrk.run(*address, SECONDS).await?;
            rounds.push((cpu_us(envoy)?.saturating_sub(before) as f64 / round.requests as f64, round));
        }
    }
    let measured = running.into_iter().map(|(way, _, _, rounds)| Measured {
        way,
        cpu_us: median(rounds.iter().map(|(cpu, _)| *cpu)),
        per_second: median(rounds.iter().map(|(_, round)| round.requests as f64 / round.seconds)),
        p50_ms: median(rounds.iter().map(|(_, round)| round.p50_ms)),
        p99_ms: median(rounds.iter().map(|(_, round)| round.p99_ms)),
    });
    Ok(measured.collect())
}

/// With a token in every worker.
async fn memory(bench: &Bench<'_>, report: &mut Report) -> Result<()> {
    report.section("Envoy, memory that our filter adds");
    for workers in [1, 2, 4] {
        let mut mib = Vec::new();
        for way in [Way::Nothing, Way::Ours] {
            let envoy = bench.start(way, workers).await?;
            bench.warm(envoy.listener("in").await?).await?;
            mib.push(memory_mib(&envoy)?);
        }
        let [nothing, ours] = mib[..] else { continue };
        report.figure(&format!("{workers} workers, without"), nothing, "MiB");
        report.promise(&format!("{workers} workers, more with it"), ours - nothing, 25.0, "MiB");
    }
    Ok(())
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

const ROUNDS: usize = 9;
const SECONDS: u64 = 3;

/// The process of an Envoy.
fn process(envoy: &Envoy) -> Result<u32> {
    envoy.id().ok_or_else(|| anyhow::anyhow!("an Envoy has ended"))
}
