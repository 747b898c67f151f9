//! A component that calls the broker, for tests and benchmarks.
//!
//! On the raw bindings rather than on token-broker-client, so that each function measures one call and no other.

use std::iter;

use futures_util::future::try_join_all;

use bindings::exports::token_broker::test::bench::Guest;
use bindings::token_broker::identity::credentials;
use bindings::token_broker::identity::types::{Identity, TokenRequest};

struct Consumer;

impl Guest for Consumer {
    async fn get(scope: String) -> Result<u64, String> {
        match credentials::get_token(scope).await {
            Ok(token) => Ok(token.expires_on),
            Err(error) => Err(error.to_string()),
        }
    }

    fn peek_many(scope: String, n: u32) -> u32 {
        (0..n).map(|_| u32::from(credentials::peek_token(&scope).is_some())).sum()
    }

    async fn get_many(scope: String, n: u32) -> Result<u32, String> {
        for _ in 0..n {
            Self::get(scope.clone()).await?;
        }
        Ok(n)
    }

    async fn get_concurrent(scope: String, n: u32) -> Result<u32, String> {
        let calls = iter::repeat_with(|| Self::get(scope.clone())).take(n as usize);
        try_join_all(calls).await?;
        Ok(n)
    }

    async fn request(scope: String, client_id: Option<String>) -> Result<String, String> {
        let request = TokenRequest {
            scopes: vec![scope],
            identity: client_id.map_or(Identity::Default, Identity::ClientId),
            tenant_id: None,
            claims: None,
            enable_cae: false,
            user_assertion: None,
        };
        match credentials::request_token(request).await {
            Ok(token) => Ok(token.token),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn forget(scope: String) {
        credentials::forget_token(scope).await;
    }
}

mod bindings {
    #![allow(missing_docs, unsafe_code, unused_qualifications, clippy::use_self, reason = "generated")]

    use super::Consumer;

    wit_bindgen::generate!({
        path: ["../../wit", "wit"],
        world: "token-broker:test/consumer",
        generate_all,
    });

    export!(Consumer);
}
