//! Cached calls of an embedder that owns the broker's store.

use anyhow::Result;
use mock_identity::{Endpoint, Mock};
use token_broker_host::{Broker, Builder};

use crate::SCOPE;
use crate::report::Report;
use crate::timing::{BATCH, microseconds};

pub(crate) async fn run(mock: &Mock, report: &mut Report) -> Result<()> {
    report.section("cached calls, embedder that owns the store");
    let mut broker = builder(mock).instantiate().await?;
    broker.get_token(SCOPE).await??;
    let peek = microseconds(BATCH, async || {
        for _ in 0..BATCH {
            anyhow::ensure!(broker.peek_token(SCOPE).await?.is_some(), "the token is not Fresh");
        }
        Ok(())
    });
    report.promise("peek-token", peek.await?, 2.0, "us");
    let get = microseconds(BATCH, async || {
        for _ in 0..BATCH {
            broker.get_token(SCOPE).await??;
        }
        Ok(())
    });
    report.promise("get-token", get.await?, 2.5, "us");
    report.figure("linear memory of the broker alone", broker.memory_bytes() as f64 / 1024.0, "KiB");
    Ok(())
}

/// A broker that finds the mock as IMDS.
pub(crate) fn builder(mock: &Mock) -> Builder {
    let environment = mock.env(Endpoint::Imds).into_iter().collect();
    Broker::builder().environment(environment)
}
