//! A fleet that starts cold, all at once, before an IMDS that answers five requests a second.
//!
//! All fleets have the same processes and instances. An instance of an SDK is a credential, each with a cache of its own.

use std::num::NonZeroU32;
use std::time::Instant;

use anyhow::Result;
use futures_util::future::try_join_all;
use host_test::fleet::{Got, Process, Redis};
use mock_identity::{Endpoint, Mock, MockConfig};

use crate::SCOPE;
use crate::peers::Peer;
use crate::report::{Report, Table};

/// The members of a fleet
#[derive(Clone, Copy)]
enum Fleet {
    Sharing,
    Alone,
    Rust,
    Python,
}

/// The outcome of one cold start
struct Stampede {
    requests: u64,
    served: usize,
    /// Until every instance has its token or has given up
    seconds: f64,
}

pub(crate) async fn run(report: &mut Report) -> Result<()> {
    let columns = [
        "500 instances in 10 processes",
        "requests",
        "instances with a token",
        "seconds until the last answer",
    ];
    let mut table = Table::new("stampede", &columns);
    let mut outcomes = Fleet::ALL.map(|fleet| (fleet, Vec::new()));
    for _ in 0..ROUNDS {
        for (fleet, outcomes) in &mut outcomes {
            outcomes.extend(fleet.stampede(report).await?);
        }
    }
    for (fleet, outcomes) in outcomes {
        if let Fleet::Sharing = fleet {
            let requests = outcomes.iter().map(|outcome| outcome.requests).max().unwrap_or_default();
            let served = outcomes.iter().map(|outcome| outcome.served).min().unwrap_or_default();
            report.at_most("requests of a fleet that shares", requests as f64, 1.0);
            report.at_least("instances of it with a token", served as f64, (PROCESSES * INSTANCES) as f64);
        }
        let range = |value: fn(&Stampede) -> f64, digits| range(outcomes.iter().map(value).collect(), digits);
        table.row([
            fleet.title().to_owned(),
            range(|outcome| outcome.requests as f64, 0),
            range(|outcome| outcome.served as f64, 0),
            range(|outcome| outcome.seconds, 2),
        ]);
    }
    table.print();
    Ok(())
}

impl Fleet {
    const ALL: [Self; 4] = [Self::Sharing, Self::Alone, Self::Rust, Self::Python];

    fn title(self) -> &'static str {
        match self {
            Self::Sharing => "token-broker, sharing through Redis",
            Self::Alone => "token-broker, without a store",
            Self::Rust => "`azure_identity` for Rust",
            Self::Python => "`azure-identity` for Python",
        }
    }

    /// None if it is not installed.
    async fn stampede(self, report: &mut Report) -> Result<Option<Stampede>> {
        let mut config = MockConfig::default();
        config.imds.requests_per_second = NonZeroU32::new(5);
        let mock = Mock::start(config).await?;
        let mut environment = mock.env(Endpoint::Imds);
        environment.push(("TOKEN_BROKER_LOG", "off".to_owned()));
        let of_ours = async |url: Option<&str>| {
            let start = (0..PROCESSES).map(|_| Process::start(environment.clone(), url, INSTANCES));
            try_join_all(start).await
        };
        match self {
            Self::Alone => stampede(&mock, of_ours(None).await?).await.map(Some),
            Self::Sharing => match Redis::start().await {
                Ok(redis) => stampede(&mock, of_ours(Some(&redis.url())).await?).await.map(Some),
                Err(error) => {
                    report.missing(&format!("Redis ({error})"), "cargo xtask setup redis");
                    Ok(None)
                }
            },
            Self::Rust => of_peer(&mock, &Peer::rust(&mock), report).await,
            Self::Python => of_peer(&mock, &Peer::python(&mock), report).await,
        }
    }
}

async fn of_peer(mock: &Mock, peer: &Peer, report: &mut Report) -> Result<Option<Stampede>> {
    if !peer.is_installed() {
        report.missing(peer.title, peer.fix);
        return Ok(None);
    }
    let start = (0..PROCESSES).map(|_| Process::of(peer.member(INSTANCES), INSTANCES));
    stampede(mock, try_join_all(start).await?).await.map(Some)
}

/// All instances are there and wait when it begins.
async fn stampede(mock: &Mock, mut fleet: Vec<Process>) -> Result<Stampede> {
    let start = Instant::now();
    let got: Vec<Got> = try_join_all(fleet.iter_mut().map(async |process| {
        process.ask(SCOPE).await?;
        process.answers().await
    }))
    .await?
    .concat();
    Ok(Stampede {
        requests: mock.counters().of(Endpoint::Imds).requests,
        served: got.iter().filter(|got| got.token.is_some()).count(),
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// The least and the most of all rounds.
fn range(mut values: Vec<f64>, digits: usize) -> String {
    values.sort_by(f64::total_cmp);
    let text = |value: &f64| format!("{value:.digits$}");
    match (values.first().map(text), values.last().map(text)) {
        (Some(least), Some(most)) if least != most => format!("{least}..{most}"),
        (least, _) => least.unwrap_or_else(crate::report::none),
    }
}

const PROCESSES: usize = 10;
const INSTANCES: usize = 50;
/// A round takes two minutes, most of which the SDKs wait.
const ROUNDS: usize = 2;
