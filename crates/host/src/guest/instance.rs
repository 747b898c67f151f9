//! A broker instance in a wasmtime store of its own.

use std::future::Future;
use std::sync::Arc;

use token_broker::{Error, RawRequest};
use wasmtime::Result;
use wasmtime::component::{ComponentNamedList, Lift, TypedFunc};
use wasmtime::error::{Context as _, format_err};

use crate::contract::report::{SourceReport, Statistics, WireReport};
use crate::contract::token::AccessToken;
use crate::contract::wire::{WireError, WireRequest, WireToken};
use crate::guest::USE_ANOTHER;
use crate::guest::prototype::Prototype;
use crate::guest::state::State;

/// A broker instance that its owner calls directly: no task, no channel, no sharing.
///
/// Made by [`Builder::instantiate`](crate::Builder::instantiate). The outer `wasmtime::Result` of each call is a
/// trap: the instance is of no use after one.
pub struct Instance {
    pub(crate) store: wasmtime::Store<State>,
    pub(crate) exports: Exports,
}

/// The broker's exports, looked up and type-checked once.
#[derive(Clone, Copy)]
pub(crate) struct Exports {
    pub(crate) peek: TypedFunc<(Arc<str>,), (Option<WireToken>,)>,
    pub(crate) get: TypedFunc<(Arc<str>,), (Result<WireToken, WireError>,)>,
    pub(crate) request: TypedFunc<(WireRequest,), (Result<WireToken, WireError>,)>,
    pub(crate) forget: TypedFunc<(Arc<str>,), ()>,
    pub(crate) explain: TypedFunc<(), (Vec<WireReport>,)>,
    pub(crate) stats: TypedFunc<(), (Statistics,)>,
}

impl Instance {
    pub(crate) async fn new(prototype: &Prototype) -> Result<Self> {
        let (mut store, instance) = prototype.instantiate().await?;
        let exports = Exports::find(&mut store, &instance)?;
        Ok(Self { store, exports })
    }

    /// The configuration error that fails every call for a token, if there is one: a file that cannot be lent.
    pub fn config_error(&self) -> Option<&Error> {
        self.store.data().config_error.as_ref()
    }

    /// The token for a scope and the default identity, if the broker's memory holds a Fresh one.
    pub async fn peek_token(&mut self, scope: &str) -> Result<Option<AccessToken>> {
        let (token,) = self.exports.peek.call_async(&mut self.store, (scope.into(),)).await?;
        Ok(token.map(|token| AccessToken(Arc::new(token))))
    }

    /// A token for a scope and the default identity.
    pub async fn get_token(&mut self, scope: &str) -> Result<Result<AccessToken, Error>> {
        if let Some(error) = self.config_error() {
            return Ok(Err(error.clone()));
        }
        let (answer,) = self.exports.get.call_async(&mut self.store, (scope.into(),)).await?;
        Ok(answer.map(|token| AccessToken(Arc::new(token))).map_err(Error::from))
    }

    /// A token for a request with an identity, a tenant, claims or a user assertion.
    pub async fn request_token(&mut self, request: &RawRequest) -> Result<Result<AccessToken, Error>> {
        if let Some(error) = self.config_error() {
            return Ok(Err(error.clone()));
        }
        let (answer,) = self.exports.request.call_async(&mut self.store, (request.into(),)).await?;
        Ok(answer.map(|token| AccessToken(Arc::new(token))).map_err(Error::from))
    }

    /// Drop the held tokens for a scope, of every identity. Call it when a service refused one.
    pub async fn forget_token(&mut self, scope: &str) -> Result<()> {
        self.exports.forget.call_async(&mut self.store, (scope.into(),)).await
    }

    /// A report on every identity source, in the order of trial.
    pub async fn explain(&mut self) -> Result<Vec<SourceReport>> {
        let (reports,) = self.exports.explain.call_async(&mut self.store, ()).await?;
        Ok(reports.into_iter().map(Into::into).collect())
    }

    /// The counters of this instance.
    pub async fn stats(&mut self) -> Result<Statistics> {
        let (statistics,) = self.exports.stats.call_async(&mut self.store, ()).await?;
        Ok(statistics)
    }

    /// Run the tasks that calls left behind, such as a refresh, until a future is done.
    pub async fn run_until<R>(&mut self, future: impl Future<Output = R>) -> Result<R> {
        self.store.run_concurrent(async |_| future.await).await
    }

    /// The linear memory of the instance, all its modules together.
    pub fn memory_bytes(&self) -> usize {
        self.store.data().limits.memory_bytes()
    }
}

impl Exports {
    fn find(store: &mut wasmtime::Store<State>, instance: &wasmtime::component::Instance) -> Result<Self> {
        let mut find = Finder { store, instance };
        Ok(Self {
            peek: find.function("credentials", "peek-token")?,
            get: find.function("credentials", "get-token")?,
            request: find.function("credentials", "request-token")?,
            forget: find.function("credentials", "forget-token")?,
            explain: find.function("diagnostics", "explain")?,
            stats: find.function("diagnostics", "stats")?,
        })
    }
}

struct Finder<'a> {
    store: &'a mut wasmtime::Store<State>,
    instance: &'a wasmtime::component::Instance,
}

impl Finder<'_> {
    fn function<P, R>(&mut self, interface: &str, name: &str) -> Result<TypedFunc<P, R>>
    where
        P: ComponentNamedList + wasmtime::component::Lower,
        R: ComponentNamedList + Lift,
    {
        let interface = format!("token-broker:identity/{interface}@0.1.0");
        let parent = self.instance.get_export_index(&mut *self.store, None, &interface);
        let parent = parent
            .with_context(|| format!("the component does not export {interface}; fix: {USE_ANOTHER}"))?;
        let function = self.instance.get_export_index(&mut *self.store, Some(&parent), name);
        let function = function
            .with_context(|| format!("the component's {interface} has no {name}; fix: {USE_ANOTHER}"))?;
        self.instance.get_typed_func(&mut *self.store, function).map_err(|error| {
            format_err!("{name} of {interface} has an unknown type: {error:#}; fix: {USE_ANOTHER}")
        })
    }
}
