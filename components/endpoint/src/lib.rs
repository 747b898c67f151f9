//! An identity endpoint as a WASI 0.3 component: it exports `wasi:http/handler`, and whoever speaks to it as to IMDS or to
//! App Service gets the tokens of the broker that it is composed with.
//!
//! This is the binding only. What is asked and how it is answered is `token_broker_identity_endpoint::IdentityApi`.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod convert;
mod http;
mod log;

use std::cell::OnceCell;
use std::rc::Rc;

use ::http::request::Parts;
use token_broker::{Error, Identity, Level, Settings};
use token_broker_client::AccessToken;
use token_broker_identity_endpoint::{Granted, IdentityApi, Question, Reply};
use wasip3::cli::environment::get_environment;
use wasip3::http::types::{ErrorCode, Request, Response};

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
    let token = ask(&question).await;
    let (outcome, now) = (token.as_ref().map(granted), log::now());
    if Question::AUDIT <= *level {
        log::write(&question.audit_line(outcome, CLIENT, now));
    }
    question.answer(outcome, now)
}

fn granted(token: &AccessToken) -> Granted<'_> {
    Granted { token: token.secret(), token_type: token.token_type(), expires_on: token.expires_on() }
}

/// From memory if it is there: asking for the default identity's token peeks first.
async fn ask(question: &Question) -> Result<AccessToken, Error> {
    let answer = match question.identity() {
        Identity::Default => token_broker_client::token(question.audience()).await,
        identity => token_broker_client::request(convert::request(question.audience(), identity)).await,
    };
    answer.map_err(|error| convert::error(error.cause()))
}

type Configuration = Result<(IdentityApi, Level), Error>;

/// What the environment says, read once.
fn configuration() -> Rc<Configuration> {
    CONFIGURATION.with(|cell| Rc::clone(cell.get_or_init(|| Rc::new(configure()))))
}

fn configure() -> Configuration {
    let settings = Settings::from_pairs(get_environment());
    let (api, level) = (IdentityApi::new(&settings)?, settings.log_level()?);
    if level == Level::Debug {
        log::began();
    }
    Ok((api, level))
}

/// A component is not told who asks.
const CLIENT: &str = "unknown";

thread_local! {
    static CONFIGURATION: OnceCell<Rc<Configuration>> = const { OnceCell::new() };
}

mod bindings {
    #![allow(unsafe_code, reason = "generated")]

    pub(super) use wasip3::exports::http::handler::Guest;

    use super::Endpoint;

    wasip3::http::service::export!(Endpoint);
}
