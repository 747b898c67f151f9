//! A handler made with Spin's SDK that asks for tokens, for tests of the client crate: the SDK has another wit-bindgen
//! than the client, and it is the SDK's that runs the handler.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{select, try_join_all};
use spin_sdk::http::{IntoResponse, Request, StatusCode};
use spin_sdk::time::sleep;
use token_broker_client::{Error, token};

/// When the token for the scope in the query ends, or why there is none. The path says how to ask.
#[spin_sdk::http_service]
async fn handle(request: Request) -> impl IntoResponse {
    let scope = request.uri().query().unwrap_or_default();
    let ends = match request.uri().path() {
        "/again" => again(scope).await,
        "/at-once" => at_once(scope).await,
        "/after-giving-up" => after_giving_up(scope).await,
        _ => ends(scope).await,
    };
    match ends {
        Ok(ends) => (StatusCode::OK, ends.to_string()),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    }
}

async fn ends(scope: &str) -> Result<u64, Error> {
    Ok(token(scope).await?.expires_on())
}

/// Twice, one after the other.
async fn again(scope: &str) -> Result<u64, Error> {
    ends(scope).await?;
    ends(scope).await
}

/// Ten times, before the first has come.
async fn at_once(scope: &str) -> Result<u64, Error> {
    let all = try_join_all((0..10).map(|_| ends(scope))).await?;
    Ok(all.into_iter().max().unwrap_or_default())
}

/// A call that is dropped while it waits, and another one.
async fn after_giving_up(scope: &str) -> Result<u64, Error> {
    drop(select(pin!(ends(scope)), pin!(sleep(PATIENCE))).await);
    ends(scope).await
}

/// Less than the slow endpoint of the test takes.
const PATIENCE: Duration = Duration::from_millis(20);
