//! A handler on WASI 0.2: `/` answers with the times of a token, `/refused` does so after a service has refused one.

use token_broker_client::blocking as tokens;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

struct App;

wasip2::http::proxy::export!(App);

impl Guest for App {
    fn handle(request: IncomingRequest, answer: ResponseOutparam) {
        let text = match request.path_with_query().as_deref() {
            Some("/health") => "ok\n".to_owned(),
            Some("/refused") => {
                // Where a request with the token would be answered 401.
                _ = tokens::token(VAULT);
                tokens::forget(VAULT);
                token()
            }
            _ => token(),
        };
        send(answer, &text);
    }
}

fn token() -> String {
    match tokens::token(VAULT) {
        Ok(token) => format!("{} token, expires at {}\n", token.token_type(), token.expires_on()),
        Err(error) => format!("{error}\n"),
    }
}

fn send(answer: ResponseOutparam, text: &str) {
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body();
    ResponseOutparam::set(answer, Ok(response));
    // A client that is gone needs no answer.
    let Ok(body) = body else { return };
    if let Ok(stream) = body.write() {
        // The longest write that WASI takes.
        _ = text.as_bytes().chunks(4096).try_for_each(|part| stream.blocking_write_and_flush(part));
    }
    _ = OutgoingBody::finish(body, None);
}

const VAULT: &str = "https://vault.azure.net/.default";
