//! Puts Azure tokens on the outgoing requests of a component that has none.
//!
//! It exports `wasi:http/client`, and an application that imports it is composed with it: each request is judged by the
//! core's `Guard`, gets the token that the core's `Rules` have for its host, and goes on to the `wasi:http/client` of the
//! host. Bodies and trailers are handed over as the streams that they are, in both directions. The application sees
//! answers, and no token.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod audit;
mod credentials;
mod draft;
mod injector;
mod memory;
mod place;
mod problem;

use std::cell::OnceCell;
use std::rc::Rc;

use token_broker::Error;
use wasip3::http::types::{ErrorCode, Request, Response};

use audit::Audit;
use injector::Injector;

struct Component;

impl bindings::exports::wasi::http::client::Guest for Component {
    async fn send(request: Request) -> Result<Response, ErrorCode> {
        match injector().await {
            Ok(injector) => injector.send(request).await,
            // Nothing passes that might have been refused.
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
