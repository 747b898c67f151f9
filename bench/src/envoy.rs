//! The cost of a token for a request that passes Envoy: our filter beside Envoy's own.
//!
//! One Envoy for each way, with one worker, all started before the first round; the service behind them is another Envoy.
//! In a round each way has its turn, each round begins with another way, and a way is compared with the plain Envoy of the
//! same round. The CPU time is that of the process, divided by the requests that wrk counts.

mod load;
mod ways;

use std::net::SocketAddr;

use anyhow::Result;
use host_test::envoy::Envoy;
use mock_identity::{Mock, MockConfig};

use crate::report::{Report, Table, none};
use crate::spread::Spread;
use load::{Round, Wrk, cpu_us, memory_mib};
use ways::{Bench, Way};

pub(crate) async fn run(report: &mut Report) -> Result<()> {
    let Some(wrk) = Wrk::find() else {
        report.missing("wrk", "cargo xtask setup wrk");
        return Ok(());
    };
    let mut config = MockConfig::default();
    config.listen_tls = Some(config.listen);
    let mock = Mock::start(config).await?;
    let bench = Bench::new(&mock).await?;
    let measured = measure(&bench, &wrk).await?;
    let mut table = Table::new("envoy", &["", "µs of CPU", "added", "requests/s", "p99, ms", "memory, MiB"]);
    for Measured { way, cpu_us, added, per_second, p99_ms, memory_mib } in &measured {
        table.row([
            way.title().to_owned(),
            cpu_us.to_string(),
            if *way == Way::Nothing { none() } else { added.to_string() },
            per_second.to_string(),
            p99_ms.to_string(),
            format!("{memory_mib:.0}"),
        ]);
        if *way == Way::Filter {
            report.at_most("CPU time that the filter adds, µs", added.median, 25.0);
            report.at_most("memory of an Envoy with the filter, MiB", *memory_mib, 160.0);
        }
    }
    table.print();
    Ok(())
}

/// The figures of one way
struct Measured {
    way: Way,
    cpu_us: Spread,
    /// Beyond a plain Envoy, in microseconds of CPU
    added: Spread,
    per_second: Spread,
    p99_ms: Spread,
    /// Resident, with a token
    memory_mib: f64,
}

/// A way with its Envoy, and what came of its rounds
struct Running {
    way: Way,
    envoy: Envoy,
    address: SocketAddr,
    rounds: Vec<(f64, Round)>,
}

async fn measure(bench: &Bench<'_>, wrk: &Wrk) -> Result<Vec<Measured>> {
    let mut running = Vec::new();
    for way in Way::ALL {
        let envoy = bench.start(way, 1).await?;
        let address = envoy.listener("in").await?;
        bench.check(way).await?;
        bench.warm(address).await?;
        wrk.run(address, 1).await?;
        running.push(Running { way, envoy, address, rounds: Vec::new() });
    }
    for round in 0..ROUNDS {
        let (late, early) = running.split_at_mut(round % Way::ALL.len());
        for running in early.iter_mut().chain(late) {
            running.round(wrk).await?;
        }
    }
    let plain: Vec<f64> = running.iter().take(1).flat_map(Running::cpu_us).collect();
    running.iter().map(|running| running.measured(&plain)).collect()
}

impl Running {
    async fn round(&mut self, wrk: &Wrk) -> Result<()> {
        let before = cpu_us(&self.envoy)?;
        let round = wrk.run(self.address, SECONDS).await?;
        self.rounds.push((cpu_us(&self.envoy)?.saturating_sub(before) as f64 / round.requests as f64, round));
        Ok(())
    }

    fn cpu_us(&self) -> impl Iterator<Item = f64> {
        self.rounds.iter().map(|(cpu_us, _)| *cpu_us)
    }

    fn measured(&self, plain: &[f64]) -> Result<Measured> {
        let rounds = || self.rounds.iter().map(|(_, round)| round);
        Ok(Measured {
            way: self.way,
            cpu_us: Spread::of(self.cpu_us()),
            added: Spread::of(self.cpu_us().zip(plain).map(|(cpu_us, plain)| cpu_us - plain)),
            per_second: Spread::of(rounds().map(|round| round.requests as f64 / round.seconds)),
            p99_ms: Spread::of(rounds().map(|round| round.p99_ms)),
            memory_mib: memory_mib(&self.envoy)?,
        })
    }
}

const ROUNDS: usize = 9;
const SECONDS: u64 = 3;

/// The process of an Envoy.
fn process(envoy: &Envoy) -> Result<u32> {
    envoy.id().ok_or_else(|| anyhow::anyhow!("an Envoy has ended"))
}
