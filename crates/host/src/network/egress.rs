//! HTTP for components that get credentials: to the listed origins only.

use std::future::Future;
use std::io;
use std::sync::Arc;

use http::Uri;
use token_broker_egress::Target;
use wasmtime::Result;
use wasmtime::error::Context as _;
use wasmtime_wasi_http::p3::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::{RequestOptions, WasiHttpHooks};

use crate::environment::Environment;
use crate::log::Log;
use crate::network::connect::Network;
use crate::network::exchange::{self, Ways};
use crate::network::http::{HttpError, Sent, WasiBody, connect_error, hyper_error};
use crate::network::proxy::Proxies;
use crate::network::tls::Tls;
use crate::network::trusted_roots::TrustedRoots;

/// HTTP for a component that gets credentials: requests reach the listed origins and no others. These are the
/// [`WasiHttpHooks`] of the component's wasmtime store.
///
/// A policy binds a component only if the component cannot ask the identity endpoint itself. So a name among the
/// origins never leads to a link-local address or to the platform's WireServer. Over plain http it does not lead to
/// this machine either, `localhost` apart: list the address instead. Redirects are not followed, and no proxy is used.
/// Clones share their state.
#[derive(Clone)]
pub struct Egress {
    origins: Arc<[Target]>,
    ways: Ways,
    log: Log,
}

impl Egress {
    /// Requests to these origins, each `https://host` or `https://host:port`, or with `http` for plain HTTP.
    ///
    /// # Errors
    /// One of them is not an origin: it has a path or a user, or no scheme.
    pub fn to<O: AsRef<str>>(origins: impl IntoIterator<Item = O>) -> Result<Self> {
        let origins: Result<Vec<_>> = origins.into_iter().map(|origin| parse(origin.as_ref())).collect();
        Ok(Self {
            origins: origins?.into(),
            ways: Ways {
                network: Network::of_component(),
                proxies: Proxies::default(),
                tls: Arc::new(Tls::new(&Environment::default(), TrustedRoots::default())?),
            },
            log: Log::stderr(),
        })
    }

    /// Trust more authorities than the public ones.
    ///
    /// # Errors
    /// TLS is not available.
    pub fn trusted_roots(mut self, roots: TrustedRoots) -> Result<Self> {
        self.ways.tls = Arc::new(Tls::new(&Environment::default(), roots)?);
        Ok(self)
    }

    /// The sink of log lines about requests that were not sent. Default: stderr.
    pub fn log(mut self, sink: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.log = Log::new(sink);
        self
    }

    fn leads_to(&self, uri: &Uri) -> bool {
        target(uri).is_some_and(|target| self.origins.contains(&target))
    }
}

fn parse(text: &str) -> Result<Target> {
    let is_bare = |uri: &Uri| uri.authority().is_some_and(|at| text.ends_with(at.as_str()));
    let uri = text.parse::<Uri>().ok().filter(is_bare);
    let origin = uri.and_then(|uri| target(&uri));
    origin.with_context(|| format!("{text} is not an origin; fix: write it like https://my.vault.azure.net"))
}

/// None for a URL that is neither https nor http, or that two readers could take for two hosts.
fn target(uri: &Uri) -> Option<Target> {
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "https" | "http"));
    Target::parse(Some(scheme?), uri.authority()?.as_str()).ok()
}

impl WasiHttpHooks for Egress {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _answered: Box<dyn Future<Output = Result<(), HttpError>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        if !self.leads_to(request.uri()) {
            return Box::new(async { Err(HttpError::HttpRequestDenied) });
        }
        Box::new(exchange::send(request, options.into(), self.ways.clone(), self.log.clone()))
    }

    fn p3_error_from_connect(&mut self, error: &io::Error) -> ErrorCode {
        connect_error(error)
    }

    fn p3_error_from_hyper(&mut self, error: &hyper::Error) -> ErrorCode {
        hyper_error(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_origins_that_are_named_are_reached() {
        let egress = Egress::to(["https://my.vault.azure.net", "http://127.0.0.1:8080"]).unwrap();
        let leads_to = |url: &'static str| egress.leads_to(&Uri::from_static(url));
        assert!(leads_to("https://my.vault.azure.net/secrets/a?api-version=7.4"));
        assert!(leads_to("https://MY.vault.azure.net:443/") && leads_to("http://127.0.0.1:8080/a"));
        for other in [
            "http://my.vault.azure.net/",
            "https://my.vault.azure.net:8443/",
            "https://my.vault.azure.net.evil.example/",
            "https://user@my.vault.azure.net/",
            "https://[::1].my.vault.azure.net/",
            "https://127.0.0.1:8080/",
            "http://127.0.0.1/",
            "http://127.0.0.2:8080/",
            "http://169.254.169.254/metadata/identity/oauth2/token",
            "/relative",
        ] {
            assert!(!leads_to(other), "{other}");
        }
    }

    #[test]
    fn an_origin_is_a_scheme_a_host_and_perhaps_a_port() {
        for text in [
            "my.vault.azure.net",
            "https://my.vault.azure.net/",
            "https://my.vault.azure.net/secrets",
            "https://my.vault.azure.net?a",
            "https://user@my.vault.azure.net",
            "https://[::1].my.vault.azure.net:443",
            "ftp://my.vault.azure.net",
            "*",
            "",
        ] {
            let error = Egress::to([text]).err().unwrap_or_else(|| panic!("{text}")).to_string();
            assert!(error.contains("is not an origin"), "{error}");
        }
    }
}
