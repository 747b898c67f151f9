//! Many callers at once, and nothing in memory.

use std::time::Instant;

use anyhow::Result;
use mock_identity::{Endpoint, Mock, MockConfig};

use crate::SCOPE;
use crate::calls::builder;
use crate::report::Report;
use crate::timing::milliseconds;

pub(crate) async fn run(report: &mut Report) -> Result<()> {
    report.section("cold callers at once");
    for callers in [32, 1000] {
        let mock = Mock::start(MockConfig::default()).await?;
        let broker = builder(&mock).build().await?;
        let start = Instant::now();
        let calls: Vec<_> = (0..callers)
            .map(|_| {
                let broker = broker.clone();
                tokio::spawn(async move { broker.get_token(SCOPE).await.map(drop) })
            })
            .collect();
        for call in calls {
            call.await??;
        }
        report.figure(&format!("{callers} callers, all answered after"), milliseconds(start.elapsed()), "ms");
        let requests = mock.counters().of(Endpoint::Imds).requests;
        report.promise(&format!("{callers} callers, requests sent"), requests as f64, 1.0, "");
    }
    Ok(())
}
