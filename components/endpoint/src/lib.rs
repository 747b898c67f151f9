//! An identity endpoint as a WASI 0.3 component: it exports `wasi:http/handler`, and serves the tokens of the broker that
//! it is composed with to clients that speak the protocol of IMDS or of App Service.
//!
//! A binding of `token_broker_identity_endpoint::IdentityApi`, which reads the requests and writes the replies.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../shared/clock.rs"]
mod clock;
#[path = "../../shared/contract.rs"]
mod contract;
mod credentials;
mod http;
#[path = "../../shared/log.rs"]
mod log;
#[path = "../../shared/response.rs"]
mod response;

use std::cell::OnceCell;
use std::rc::Rc;

use ::http::request::Parts;
use token_broker::{Error, Level, Record, Settings};
use token_broker_identity_endpoint::{Granted, IdentityApi, Question, Reply};
use wasip3::cli::environment::get_environment;
use wasip3::http::types::{ErrorCode, Request, Response};

use bindings::token_broker::identity::types;

struct Endpoint;

impl bindings::Guest for Endpoint {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let reply = match http::parts(&request) {
            Some(parts) => answer(&parts).await,
            None => return Err(ErrorCode::HttpProtocolError),
        };
        http::response(reply).ok_or(ErrorCode::HttpProtocolError)
    }
}

async fn answer(request: &Parts) -> Reply {
    let configuration = configuration();
    let (api, level) = match &*configuration {
        Ok(configured) => configured,
        Err(error) => return IdentityApi::refused(request, error),
    };
    let question = match api.read(request) {
        Ok(question) => question,
        Err(refusal) => return refusal,
    };
    let token = credentials::token(question.audience(), question.identity()).await;
    let (outcome, now) = (token.as_ref().map(granted), clock::now());
    if Question::AUDIT <= *level {
        log::write(&question.audit_line(outcome, CLIENT, now));
    }
    question.answer(outcome, now)
}

fn granted(token: &types::AccessToken) -> Granted<'_> {
    Granted { token: &token.token, token_type: &token.token_type, expires_on: token.expires_on }
}

type Configuration = Result<(IdentityApi, Level), Error>;

/// The configuration of this instance, read from the environment once.
fn configuration() -> Rc<Configuration> {
    CONFIGURATION.with(|cell| Rc::clone(cell.get_or_init(|| Rc::new(configure()))))
}

fn configure() -> Configuration {
    let settings = Settings::from_pairs(get_environment());
    let (api, level) = (IdentityApi::new(&settings)?, settings.log_level()?);
    if level == Level::Debug {
        // Each instance fetches its own tokens, so the number of instances tells the number of fetches.
        let record = Record { level, event: "an instance began", fields: &[] };
        log::write(&record.to_json(clock::now()));
    }
    Ok((api, level))
}

/// The client in the audit log: a component is not told its address.
const CLIENT: &str = "unknown";

thread_local! {
    static CONFIGURATION: OnceCell<Rc<Configuration>> = const { OnceCell::new() };
}

mod bindings {
    #![allow(missing_docs, unsafe_code, unused_qualifications, clippy::use_self, reason = "generated")]

    pub(super) use wasip3::exports::http::handler::Guest;

    use super::Endpoint;

    wit_bindgen::generate!({
        path: "../../wit",
        world: "consumer",
    });

    wasip3::http::service::export!(Endpoint);
}
