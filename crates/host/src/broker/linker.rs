//! Credentials for a component's linker. Each linker has a policy, checked before a call is forwarded.

use std::sync::Arc;

use secrecy::ExposeSecret as _;
use token_broker::{Error, Identity, MAX_ASSERTION, Policy, RawRequest, TokenRequest};
use wasmtime::Result;
use wasmtime::component::Linker;
use wasmtime::error::format_err;

use crate::broker::Broker;
use crate::contract::wire::{TokenResult, WireRequest, WireToken};

impl Broker {
    /// Give `token-broker:identity/credentials` to the components of a linker.
    ///
    /// This broker answers their calls as far as the policy allows. A component with HTTP to the identity endpoint can
    /// bypass the policy, so restrict its requests, see [`Egress`](crate::Egress). Each linker may have 1024 pending
    /// calls; the next one is `throttled`. The linker's engine may differ from the broker's; it needs component-model
    /// async.
    ///
    /// # Errors
    /// As wasmtime's linker: the interface is defined already, or the engine is not capable of async.
    pub fn add_to_linker<T: Send + 'static>(&self, linker: &mut Linker<T>, policy: Policy) -> Result<()> {
        linker.instance("token-broker:identity/types@0.1.0")?;
        let consumer = Arc::new(Consumer { broker: self.for_linker(), policy });
        let mut credentials = linker.instance("token-broker:identity/credentials@0.1.0")?;
        let this = Arc::clone(&consumer);
        credentials.func_wrap("peek-token", move |_, (scope,): (String,)| Ok((this.peek(&scope),)))?;
        let this = Arc::clone(&consumer);
        credentials.func_wrap_concurrent("get-token", move |_, (scope,): (String,)| {
            let this = Arc::clone(&this);
            Box::pin(async move { Ok((this.get(&scope).await,)) })
        })?;
        let this = Arc::clone(&consumer);
        credentials.func_wrap_concurrent("request-token", move |_, (request,): (WireRequest,)| {
            let this = Arc::clone(&this);
            Box::pin(async move { Ok((this.request(request).await,)) })
        })?;
        credentials.func_wrap_concurrent("forget-token", move |_, (scope,): (String,)| {
            let this = Arc::clone(&consumer);
            Box::pin(async move { this.forget(&scope).await })
        })
    }
}

/// The components behind one linker.
struct Consumer {
    broker: Broker,
    policy: Policy,
}

impl Consumer {
    fn peek(&self, scope: &str) -> Option<Arc<WireToken>> {
        let identity = self.admit(&for_scope(scope)).ok()?;
        // A policy that lists identities may mean another one by the default than the broker does.
        if identity != *self.broker.default_identity() {
            return None;
        }
        self.broker.peek_token(scope).map(|token| token.0)
    }

    async fn get(&self, scope: &str) -> TokenResult {
        let request = for_scope(scope);
        if self.admit(&request)? == *self.broker.default_identity() {
            self.broker.forward_get(scope).await?
        } else {
            self.forward(request).await
        }
    }

    async fn request(&self, request: WireRequest) -> TokenResult {
        self.forward(RawRequest::try_from(request)?).await
    }

    async fn forward(&self, mut request: RawRequest) -> TokenResult {
        request.identity = self.admit(&request)?;
        self.broker.forward_request(WireRequest::from(&request)).await?
    }

    /// Ignores scopes that the policy does not allow. A trap ends a consumer with too many pending calls: the contract
    /// has no error for it.
    async fn forget(&self, scope: &str) -> Result<()> {
        match self.admit(&for_scope(scope)) {
            Ok(_) => self.broker.forget_token(scope).await.map_err(|error| format_err!("{error}")),
            Err(_) => Ok(()),
        }
    }

    /// The identity of an allowed request. Parsing bounds every text before it reaches the broker, whose memory all
    /// consumers share.
    fn admit(&self, request: &RawRequest) -> Result<Identity, Error> {
        let assertion = request.user_assertion.as_ref().map_or(0, |secret| secret.expose_secret().len());
        if assertion > MAX_ASSERTION {
            return Err(Error::invalid_request(
                format_args!("the user assertion is {assertion} bytes long"),
                format_args!("use at most {MAX_ASSERTION} bytes"),
            ));
        }
        self.policy.check(&TokenRequest::parse(request.clone())?, self.broker.default_identity())
    }
}

fn for_scope(scope: &str) -> RawRequest {
    RawRequest { scopes: vec![scope.to_owned()], ..RawRequest::default() }
}
