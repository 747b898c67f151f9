//! The token broker as a WASI 0.3 component: it exports `credentials` and `diagnostics`.
//!
//! This is the binding only. What it does is in the crate `token-broker`; here it gets a host made of WASI, a store
//! made of the contract's `store`, and callers made of component-model tasks.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../shared/convert.rs"]
mod convert;
#[path = "../../shared/exchange.rs"]
mod exchange;
#[path = "../../shared/file.rs"]
mod file;
mod host;
mod http;
mod store;

use std::cell::OnceCell;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, select};
use token_broker::{Broker, Error, Grant, Host as _, Settings, VARIABLES, Variable};
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
        let broker = broker().await.map_err(convert::error)?;
        answer(&broker, broker.token_for_scope(&scope).await)
    }

    async fn request_token(request: types::TokenRequest) -> Result<types::AccessToken, types::Error> {
        let request = convert::request(request).map_err(convert::error)?;
        let broker = broker().await.map_err(convert::error)?;
        answer(&broker, broker.token(&request).await)
    }

    fn forget_token(scope: String) {
        if let Some(broker) = BROKER.with(|cell| cell.get().cloned())
            && broker.forget(&scope)
        {
            wit_bindgen::spawn_local(async move { broker.forget_shared(&scope).await });
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

fn answer(
    broker: &Rc<WasiBroker>,
    granted: Result<Grant, Error>,
) -> Result<types::AccessToken, types::Error> {
    let Grant { token, refresh } = granted.map_err(convert::error)?;
    if let Some(duty) = refresh {
        let broker = Rc::clone(broker);
        wit_bindgen::spawn_local(async move { broker.refresh(duty).await });
    }
    Ok(convert::access_token(&token))
}

/// The broker of this instance, configured at the first call that can read all of its settings.
async fn broker() -> Result<Rc<WasiBroker>, Error> {
    if let Some(broker) = BROKER.with(|cell| cell.get().cloned()) {
        return Ok(broker);
    }
    // Two first calls may both come here; they read the same, and the first to finish is kept.
    let settings = read_settings().await?;
    Ok(BROKER.with(|cell| Rc::clone(cell.get_or_init(|| new_broker(&settings)))))
}

fn new_broker(settings: &Settings) -> Rc<WasiBroker> {
    Rc::new(Broker::new(Wasi, Shared, settings))
}

/// The environment, and for what it does not have the host's settings.
///
/// # Errors
/// [`Error::Misconfigured`] for a setting that cannot be looked up: without a policy that is kept there, for instance,
/// everything would be allowed.
async fn read_settings() -> Result<Settings, Error> {
    let mut read = Settings::from_pairs(get_environment());
    for Variable { name, .. } in VARIABLES {
        if !read.is_set(name)
            && let Some(value) = setting(name).await?
        {
            read.set(name, value);
        }
    }
    Ok(read)
}

async fn setting(name: &str) -> Result<Option<String>, Error> {
    let looked_up = pin!(settings::get(name.to_owned()));
    let why = match select(looked_up, pin!(Wasi.sleep(SETTING_LIMIT))).await {
        Either::Left((Ok(value), _)) => return Ok(value),
        Either::Left((Err(why), _)) => why,
        Either::Right(((), _)) => format!("no answer within {} s", SETTING_LIMIT.as_secs()),
    };
    Err(Error::Misconfigured(format!(
        "the host cannot look up the setting {name}: {why}; mend the host's settings, or set {name} in the environment"
    )))
}

/// How long a host may take to look up one setting.
const SETTING_LIMIT: Duration = Duration::from_secs(5);

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
