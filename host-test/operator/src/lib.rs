//! A component that looks at the broker, for tests.

use bindings::exports::token_broker::test::look::Guest;
use bindings::token_broker::identity::diagnostics;

struct Operator;

impl Guest for Operator {
    fn look() -> Vec<String> {
        let sources = diagnostics::explain().into_iter().map(|report| {
            let (source, verdict) = (report.source, report.verdict);
            format!("{source}: {verdict:?} {}", report.would_send.unwrap_or_default())
        });
        sources.chain([format!("fetches: {}", diagnostics::stats().fetches)]).collect()
    }
}

mod bindings {
    #![allow(missing_docs, unsafe_code, unused_qualifications, clippy::use_self, reason = "generated")]

    use super::Operator;

    wit_bindgen::generate!({
        path: ["../../wit", "wit"],
        world: "token-broker:test/operator",
        generate_all,
    });

    export!(Operator);
}
