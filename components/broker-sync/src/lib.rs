//! The token broker as a WASI 0.2 component: it exports `credentials-sync` and `diagnostics`, for hosts without
//! component-model async.
//!
//! A binding of the crate `token-broker`: its host is made of WASI 0.2, its store of the contract's `store-sync`, and its
//! calls block. While one call waits for an answer, the instance takes no other.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

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
mod poll;
mod settings;
mod store;
mod wasi;

use std::cell::OnceCell;
use std::future::Future;
use std::rc::Rc;

use token_broker::{Broker, Error, Grant, Settings, VARIABLES};
use wasip2::cli::environment::get_environment;

use bindings::exports::token_broker::identity::{credentials_sync, diagnostics, types};
use host::Wasi;
use http::ErrorCode;
use poll::block_on;
use store::ContractStore;

struct Component;

impl credentials_sync::Guest for Component {
    fn peek_token(scope: String) -> Option<types::AccessToken> {
        BROKER.with(|cell| cell.get()?.peek(&scope)).map(|token| (&*token).into())
    }

    fn get_token(scope: String) -> Result<types::AccessToken, types::Error> {
        let broker = broker()?;
        answer(&broker, broker.token_for_scope(&scope))
    }

    fn request_token(request: types::TokenRequest) -> Result<types::AccessToken, types::Error> {
        let request = request.try_into()?;
        let broker = broker()?;
        answer(&broker, broker.token(&request))
    }

    fn forget_token(scope: String) {
        if let Some(broker) = BROKER.with(|cell| cell.get().cloned())
            && broker.forget(&scope)
        {
            let _ = block_on(broker.forget_shared(&scope));
        }
    }
}

impl diagnostics::Guest for Component {
    fn explain() -> Vec<types::SourceReport> {
        // If a setting cannot be read, the environment alone is explained.
        let broker = broker().unwrap_or_else(|_| new_broker(&Settings::from_pairs(get_environment())));
        broker.explain().into_iter().map(Into::into).collect()
    }

    fn stats() -> types::Statistics {
        BROKER.with(|cell| cell.get().map(|broker| broker.stats())).unwrap_or_default().into()
    }
}

/// A refresh runs within the call: no task can outlive it.
fn answer(
    broker: &WasiBroker,
    granted: impl Future<Output = Result<Grant, Error>>,
) -> Result<types::AccessToken, types::Error> {
    let answered = block_on(async {
        let Grant { token, refresh } = granted.await?;
        if let Some(ticket) = refresh {
            broker.refresh_briefly(ticket).await;
        }
        Ok((&*token).into())
    });
    answered.unwrap_or_else(|| Err(Error::Other(STUCK.to_owned()).into()))
}

/// The broker of this instance, configured at the first call that can read all of its settings.
fn broker() -> Result<Rc<WasiBroker>, Error> {
    if let Some(broker) = BROKER.with(|cell| cell.get().cloned()) {
        return Ok(broker);
    }
    let settings = settings::read(VARIABLES.iter().map(|variable| variable.name))?;
    Ok(BROKER.with(|cell| Rc::clone(cell.get_or_init(|| new_broker(&settings)))))
}

fn new_broker(settings: &Settings) -> Rc<WasiBroker> {
    Rc::new(Broker::new(Wasi, ContractStore, settings))
}

const STUCK: &str =
    "the broker waits for an event that cannot come; fix: report it, with the host and its version";

type WasiBroker = Broker<Wasi, ContractStore>;

thread_local! {
    static BROKER: OnceCell<Rc<WasiBroker>> = const { OnceCell::new() };
}

mod bindings {
    #![allow(missing_docs, unsafe_code, unused_qualifications, clippy::use_self, reason = "generated")]

    use super::Component;

    wit_bindgen::generate!({
        path: "../../wit",
        world: "broker-sync",
    });

    export!(Component);
}
