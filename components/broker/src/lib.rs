//! The token broker as a WASI 0.3 component: it exports `credentials` and `diagnostics`.
//!
//! This is the binding only. What it does is in the crate `token-broker`; here it gets a host made of WASI, a store
//! made of the contract's `store`, and callers made of component-model tasks.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod convert;
mod host;
mod http;
mod store;

use std::cell::OnceCell;
use std::rc::Rc;

use token_broker::{Broker, Grant, Settings, TokenRequest, VARIABLES};
use wasip3::cli::environment::get_environment;

use bindings::exports::token_broker::identity::{credentials, diagnostics, types};
use bindings::token_broker::identity::settings;
use host::Wasi;
use store::Shared;

struct Component;

impl credentials::Guest for Component {
    fn peek_token(scope: String) -> Option<types::AccessToken> {
        BROKER.with(|cell| cell.get()?.peek(&scope)).map(|token| convert::access_token(&token))
    }

    async fn get_token(scope: String) -> Result<types::AccessToken, types::Error> {
        serve(TokenRequest::for_scope(&scope)).await
    }

    async fn request_token(request: types::TokenRequest) -> Result<types::AccessToken, types::Error> {
        serve(convert::request(request)).await
    }

    fn forget_token(scope: String) {
        if let Some(broker) = BROKER.with(|cell| cell.get().cloned()) {
            broker.forget(&scope);
        }
    }
}

impl diagnostics::Guest for Component {
    fn explain() -> Vec<types::SourceReport> {
        let broker = BROKER.with(|cell| cell.get().cloned());
        // A plain function cannot wait for the settings; before the first call the environment is all there is.
        let broker = broker.unwrap_or_else(|| new_broker(&Settings::from_pairs(get_environment())));
        broker.explain().into_iter().map(convert::source_report).collect()
    }

    fn stats() -> types::Statistics {
        let stats = BROKER.with(|cell| cell.get().map(|broker| broker.stats()));
        convert::statistics(stats.unwrap_or_default())
    }
}

async fn serve(
    request: Result<TokenRequest, token_broker::Error>,
) -> Result<types::AccessToken, types::Error> {
    let request = request.map_err(convert::error)?;
    let broker = broker().await;
    let Grant { token, refresh } = broker.token(&request).await.map_err(convert::error)?;
    if let Some(duty) = refresh {
        wit_bindgen::spawn_local(async move { broker.refresh(duty).await });
    }
    Ok(convert::access_token(&token))
}

/// The broker of this instance, configured at the first call.
async fn broker() -> Rc<WasiBroker> {
    if let Some(broker) = BROKER.with(|cell| cell.get().cloned()) {
        return broker;
    }
    // Two first calls may both come here; they read the same, and the first to finish is kept.
    let settings = read_settings().await;
    BROKER.with(|cell| Rc::clone(cell.get_or_init(|| new_broker(&settings))))
}

fn new_broker(settings: &Settings) -> Rc<WasiBroker> {
    Rc::new(Broker::new(Wasi, Shared, settings))
}

/// The environment, and for what it does not have the host's settings. A setting that cannot be looked up is unset:
/// most hosts have none of them.
async fn read_settings() -> Settings {
    let mut read = Settings::from_pairs(get_environment());
    for variable in VARIABLES {
        if !read.is_set(variable.name)
            && let Ok(Some(value)) = settings::get(variable.name.to_owned()).await
        {
            read.set(variable.name, value);
        }
    }
    read
}

type WasiBroker = Broker<Wasi, Shared>;

thread_local! {
    static BROKER: OnceCell<Rc<WasiBroker>> = const { OnceCell::new() };
}

mod bindings {
    #![allow(missing_docs, unsafe_code, unused_qualifications, clippy::use_self, reason = "generated")]

    use super::Component;

    wit_bindgen::generate!({
        path: "../../wit",
        world: "broker",
    });

    export!(Component);
}
