//! The token broker as a WASI 0.3 component: it exports `credentials` and `diagnostics`.
//!
//! A binding of the crate `token-broker`: its host is made of WASI, its store of the contract's `store`, and its callers
//! are component-model tasks.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../shared/clock.rs"]
mod clock;
#[path = "../../shared/contract.rs"]
mod contract;
#[path = "../../shared/exchange.rs"]
mod exchange;
#[path = "../../shared/file.rs"]
mod file;
#[path = "../../shared/host.rs"]
mod host;
mod http;
#[path = "../../shared/http_error.rs"]
mod http_error;
#[path = "../../shared/log.rs"]
mod log;
#[path = "../../shared/settings.rs"]
mod settings;
mod store;
mod wasi;

use std::cell::OnceCell;
use std::rc::Rc;

use token_broker::{Broker, Error, Grant, Settings, VARIABLES};
use wasip3::cli::environment::get_environment;

use bindings::exports::token_broker::identity::{credentials, diagnostics, types};
use host::Wasi;
use http::ErrorCode;
use store::ContractStore;

struct Component;

impl credentials::Guest for Component {
    fn peek_token(scope: String) -> Option<types::AccessToken> {
        BROKER.with(|cell| cell.get()?.peek(&scope)).map(|token| (&*token).into())
    }

    async fn get_token(scope: String) -> Result<types::AccessToken, types::Error> {
        let broker = broker().await?;
        Ok(answer(&broker, broker.token_for_scope(&scope).await?))
    }

    async fn request_token(request: types::TokenRequest) -> Result<types::AccessToken, types::Error> {
        let request = request.try_into()?;
        let broker = broker().await?;
        Ok(answer(&broker, broker.token(&request).await?))
    }

    async fn forget_token(scope: String) {
        if let Some(broker) = BROKER.with(|cell| cell.get().cloned())
            && broker.forget(&scope)
        {
            broker.forget_shared(&scope).await;
        }
    }
}

impl diagnostics::Guest for Component {
    fn explain() -> Vec<types::SourceReport> {
        let broker = BROKER.with(|cell| cell.get().cloned());
        // A plain function cannot wait for the settings: before the first call there is the environment alone.
        let broker = broker.unwrap_or_else(|| new_broker(&Settings::from_pairs(get_environment())));
        broker.explain().into_iter().map(Into::into).collect()
    }

    fn stats() -> types::Statistics {
        BROKER.with(|cell| cell.get().map(|broker| broker.stats())).unwrap_or_default().into()
    }
}

fn answer(broker: &Rc<WasiBroker>, grant: Grant) -> types::AccessToken {
    let Grant { token, refresh } = grant;
    if let Some(ticket) = refresh {
        let broker = Rc::clone(broker);
        wit_bindgen::spawn_local(async move { broker.refresh(ticket).await });
    }
    (&*token).into()
}

/// The broker of this instance, configured at the first call that can read all of its settings.
async fn broker() -> Result<Rc<WasiBroker>, Error> {
    if let Some(broker) = BROKER.with(|cell| cell.get().cloned()) {
        return Ok(broker);
    }
    // Two first calls may both come here; they read the same, and the first to finish is kept.
    let settings = settings::read(VARIABLES.iter().map(|variable| variable.name)).await?;
    Ok(BROKER.with(|cell| Rc::clone(cell.get_or_init(|| new_broker(&settings)))))
}

fn new_broker(settings: &Settings) -> Rc<WasiBroker> {
    Rc::new(Broker::new(Wasi, ContractStore, settings))
}

type WasiBroker = Broker<Wasi, ContractStore>;

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
