//! A handler on WASI 0.3: `/` answers with the times of a token, `/refused` does so after a service has refused one, and
//! `/reach?URL` sends a request without the broker.

use wasip3::http::types::{ErrorCode, Request, Response};
use wasip3::http_compat::http_into_wasi_response;

struct App;

wasip3::http::service::export!(App);

impl wasip3::exports::http::handler::Guest for App {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let target = request.get_path_with_query().unwrap_or_default();
        let text = match target.split_once('?').unwrap_or((&target, "")) {
            ("/health", _) => "ok\n".to_owned(),
            ("/reach", url) => reach(url).await,
            ("/refused", _) => {
                // Where a request with the token would be answered 401.
                _ = token_broker_client::token(VAULT).await;
                token_broker_client::forget(VAULT).await;
                token().await
            }
            _ => token().await,
        };
        http_into_wasi_response(http::Response::new(text))
    }
}

async fn token() -> String {
    match token_broker_client::token(VAULT).await {
        Ok(token) => format!("{} token, expires at {}\n", token.token_type(), token.expires_on()),
        Err(error) => format!("{error}\n"),
    }
}

async fn reach(url: &str) -> String {
    let request = http::Request::get(url).body(Default::default()).map_err(|error| error.to_string());
    let answer = match request {
        Ok(request) => guest_http::send(request).await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(answer) => format!("{}\n", answer.status()),
        Err(error) => format!("{error}\n"),
    }
}

const VAULT: &str = "https://vault.azure.net/.default";
