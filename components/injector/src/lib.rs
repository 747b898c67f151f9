//! Adds Azure tokens to the outgoing requests of an application that has no tokens.
//!
//! The component exports `wasi:http/client`, and is composed with an application that imports it. The `Guard` of `token-broker-egress`
//! checks each request, its `Rules` tell the token for its host, and the request goes to the `wasi:http/client` of the host.
//! Bodies and trailers stay streams in both directions. The application sees answers and never a token.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod audit;
#[path = "../../shared/clock.rs"]
mod clock;
#[path = "../../shared/contract.rs"]
mod contract;
mod credentials;
mod destination;
#[path = "../../shared/http_error.rs"]
mod http_error;
mod injector;
#[path = "../../shared/log.rs"]
mod log;
mod problem;
mod request_head;
mod request_template;
#[path = "../../shared/response.rs"]
mod response;
#[path = "../../shared/settings.rs"]
mod settings;
mod state;

use std::cell::OnceCell;
use std::rc::Rc;

use token_broker::Error;
use wasip3::http::types::{ErrorCode, Request, Response};

use audit::Audit;
use bindings::token_broker::identity::types;
use injector::Injector;

struct Component;

impl bindings::exports::wasi::http::client::Guest for Component {
    async fn send(request: Request) -> Result<Response, ErrorCode> {
        match injector().await {
            Ok(injector) => injector.send(request).await,
            // Without a configuration nothing is sent: it might forbid the request.
            Err(error) => {
                Audit::default().refused(&error);
                problem::answer(&error)
            }
        }
    }
}

/// The injector of this instance, configured at the first request for which all of its settings can be read.
async fn injector() -> Result<Rc<Injector>, Error> {
    if let Some(injector) = INJECTOR.with(|cell| cell.get().cloned()) {
        return Ok(injector);
    }
    // Two first requests may both come here; they read the same, and the first to finish is kept.
    let injector = Rc::new(Injector::configure().await?);
    Ok(INJECTOR.with(|cell| Rc::clone(cell.get_or_init(|| injector))))
}

thread_local! {
    static INJECTOR: OnceCell<Rc<Injector>> = const { OnceCell::new() };
}

mod bindings {
    #![allow(missing_docs, unsafe_code, unused_qualifications, clippy::use_self, reason = "generated")]

    use super::Component;

    wit_bindgen::generate!({
        path: ["../../wit", "wit"],
        world: "token-broker:injector/injector",
        generate_all,
        with: {
            "wasi:clocks/types@0.3.0": wasip3::clocks::types,
            "wasi:http/types@0.3.0": wasip3::http::types,
        },
    });

    export!(Component);
}
