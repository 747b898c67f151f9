//! A fleet that starts cold, all at once, before an IMDS that answers five requests a second. The Rust crate cannot be
//! pointed at one, and has an App Service without a limit.

use std::num::NonZeroU32;
use std::time::Instant;

use anyhow::{Result, ensure};
use futures_util::future::try_join_all;
use host_test::fleet::{Got, Process, Redis};
use mock_identity::{Endpoint, Mock, MockConfig};

use crate::SCOPE;
use crate::peers::Peer;
use crate::plot::{Curve, plot};
use crate::report::Report;
use crate::timing::milliseconds;

/// What a stampede of so many instances came to.
#[derive(Clone, Copy)]
pub(crate) struct Stampede {
    pub(crate) instances: usize,
    pub(crate) requests: u64,
    /// From the asking until the answer of the last one is read.
    pub(crate) ms: f64,
    refused: usize,
}

pub(crate) async fn run(report: &mut Report) -> Result<()> {
    report.section("a fleet starts cold, all at once; IMDS answers five requests a second");
    report.columns(&["processes", "requests", "answered, ms", "without a token"]);
    let mut curves = Vec::new();
    let mut ours = Vec::new();
    for (processes, instances) in [(1, 1), (8, 4), (8, 50)] {
        let stampede = of_ours(processes, instances).await?;
        stampede.report(report, "token-broker", processes);
        report.promise("requests of these", stampede.requests as f64, 1.0, "");
        report.promise("all of these answered after", stampede.ms, 1000.0, "ms");
        ours.push(stampede);
    }
    curves.push(Curve { name: "token-broker, through Redis", points: ours });
    let mock = platform().await?;
    for peer in Peer::all(&mock).into_iter().filter(Peer::is_there) {
        let mut points = Vec::new();
        for processes in [1, 8, 32, 64] {
            let stampede = of_peer(&mock, &peer, processes).await?;
            stampede.report(report, peer.title, processes);
            points.push(stampede);
        }
        curves.push(Curve { name: peer.title, points });
    }
    plot(&curves)
}

async fn platform() -> Result<Mock> {
    let mut config = MockConfig::default();
    config.imds.requests_per_second = NonZeroU32::new(5);
    Mock::start(config).await
}

async fn of_ours(processes: usize, instances: usize) -> Result<Stampede> {
    let (mock, redis) = (platform().await?, Redis::start().await?);
    let url = redis.url();
    let start = (0..processes).map(|_| Process::start(mock.env(Endpoint::Imds), Some(&url), instances));
    stampede(&mock, Endpoint::Imds, try_join_all(start).await?).await
}

/// One process for each instance: these libraries share nothing beyond a process.
async fn of_peer(mock: &Mock, peer: &Peer, processes: usize) -> Result<Stampede> {
    mock.reset();
    let start = (0..processes).map(|_| Process::of(peer.member(), 1));
    stampede(mock, peer.endpoint, try_join_all(start).await?).await
}

/// All processes are there and wait when it begins.
async fn stampede(mock: &Mock, endpoint: Endpoint, mut fleet: Vec<Process>) -> Result<Stampede> {
    let start = Instant::now();
    let got: Vec<Got> = try_join_all(fleet.iter_mut().map(async |process| {
        process.ask(SCOPE).await?;
        process.answers().await
    }))
    .await?
    .concat();
    ensure!(!got.is_empty(), "a fleet of nobody");
    Ok(Stampede {
        instances: got.len(),
        requests: mock.counters().of(endpoint).requests,
        ms: milliseconds(start.elapsed()),
        refused: got.iter().filter(|got| got.token.is_none()).count(),
    })
}

impl Stampede {
    fn report(&self, report: &mut Report, who: &str, processes: usize) {
        let cells = [
            processes.to_string(),
            self.requests.to_string(),
            format!("{:.0}", self.ms),
            self.refused.to_string(),
        ];
        report.row(&format!("{who}, {}", self.instances), &cells);
    }
}
