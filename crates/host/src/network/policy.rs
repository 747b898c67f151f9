//! The policy for the broker's requests.

use std::net::IpAddr;

use bytes::Bytes;
use http::Uri;
use http_body_util::{BodyExt as _, Full};
use token_broker_egress::Target;

use crate::future::BoxFuture;
use crate::network::http::{HttpError, WasiBody};

/// Decides on each request that the broker wants to send.
///
/// Closures from the request's head to a [`Decision`] are policies too.
pub trait HttpPolicy: Send + Sync + 'static {
    /// The decision on a request. Its headers may hold a secret: never log them.
    fn decide(&self, request: &http::request::Parts) -> Decision;
}

impl<F: Fn(&http::request::Parts) -> Decision + Send + Sync + 'static> HttpPolicy for F {
    fn decide(&self, request: &http::request::Parts) -> Decision {
        self(request)
    }
}

/// The decision on a request.
#[non_exhaustive]
pub enum Decision {
    /// Send it.
    Send,
    /// Refuse it. The log shows the reason; the broker gets the error `HTTP-request-denied`.
    Refuse(String),
    /// Answer it without the network. An answer in the place of Service Fabric's endpoint counts as one from the server
    /// with the pinned certificate.
    Answer(Answer),
}

/// Answers a request in memory. It must bound its own waits.
pub type Answer = Box<
    dyn FnOnce(http::Request<Bytes>) -> BoxFuture<'static, Result<http::Response<WasiBody>, HttpError>>
        + Send,
>;

impl Decision {
    /// Answer with this response.
    pub fn answer(response: http::Response<Bytes>) -> Self {
        let response = response.map(|body| Full::new(body).map_err(|never| match never {}).boxed_unsync());
        Self::Answer(Box::new(|_| Box::pin(async { Ok(response) })))
    }
}

/// The default policy: https anywhere, plain http to loopback and link-local addresses only.
#[derive(Clone, Copy, Debug, Default)]
pub struct DefaultHttpPolicy;

impl HttpPolicy for DefaultHttpPolicy {
    fn decide(&self, request: &http::request::Parts) -> Decision {
        let host = request.uri.host().unwrap_or_default();
        let authority = request.uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        // Of `[::1].evil.example` the host is to some readers the part in brackets.
        let is_one_host = Target::parse(request.uri.scheme_str(), authority).is_ok();
        if is_one_host && (request.uri.scheme() == Some(&http::uri::Scheme::HTTPS) || is_local(host)) {
            return Decision::Send;
        }
        Decision::Refuse(format!(
            "plain http to {host}, which is neither loopback nor link-local; fix: use https"
        ))
    }
}

/// [`DefaultHttpPolicy`], and plain http to the endpoint that `TOKEN_BROKER_ALLOWED_ENDPOINT` names. The broker itself
/// sends there only if a platform's variable has the same value.
pub(crate) struct WithAllowedEndpoint(Option<Uri>);

impl WithAllowedEndpoint {
    /// A value that cannot be read allows nothing; the broker refuses it by its name.
    pub(crate) fn new(allowed: Option<&str>) -> Self {
        Self(allowed.and_then(|url| url.parse().ok()))
    }
}

impl HttpPolicy for WithAllowedEndpoint {
    fn decide(&self, request: &http::request::Parts) -> Decision {
        match &self.0 {
            Some(allowed) if is_at(allowed, &request.uri) => Decision::Send,
            _ => DefaultHttpPolicy.decide(request),
        }
    }
}

/// Whether a URL is that of an endpoint, or below it: of IMDS a variable names the base only.
fn is_at(endpoint: &Uri, uri: &Uri) -> bool {
    let below = uri.path().strip_prefix(endpoint.path().trim_end_matches('/'));
    endpoint.scheme() == uri.scheme()
        && endpoint.authority() == uri.authority()
        && below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Loopback, link-local or `localhost`.
pub(crate) fn is_local(host: &str) -> bool {
    match host.trim_start_matches('[').trim_end_matches(']').parse().map(|ip: IpAddr| ip.to_canonical()) {
        Ok(IpAddr::V4(ip)) => ip.is_loopback() || ip.is_link_local(),
        Ok(IpAddr::V6(ip)) => ip.is_loopback() || ip.is_unicast_link_local(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_sent_by(policy: &impl HttpPolicy, url: &str) -> bool {
        let (head, ()) = http::Request::get(url).body(()).unwrap().into_parts();
        matches!(policy.decide(&head), Decision::Send)
    }

    #[test]
    fn plain_http_reaches_the_one_endpoint_that_is_allowed() {
        let policy = WithAllowedEndpoint::new(Some("http://10.92.0.21:2377/token?api-version=1.0"));
        for url in [
            "http://10.92.0.21:2377/token?api-version=1.0&resource=a",
            "http://127.0.0.1/",
            "https://a.example/",
        ] {
            assert!(is_sent_by(&policy, url), "{url}");
        }
        for url in [
            "http://10.92.0.21:2378/token",
            "http://10.92.0.21/token",
            "http://10.92.0.22:2377/token",
            "http://10.92.0.21:2377/other",
            "http://10.92.0.21:2377/tokens",
            "http://x@10.92.0.21:2377/token",
        ] {
            assert!(!is_sent_by(&policy, url), "{url}");
        }
        let imds = "http://10.92.0.21/metadata/identity/oauth2/token?resource=a";
        for base in ["http://10.92.0.21", "http://10.92.0.21/"] {
            assert!(is_sent_by(&WithAllowedEndpoint::new(Some(base)), imds), "{base}");
        }
        for unusable in [None, Some("no url"), Some("http://")] {
            assert!(!is_sent_by(&WithAllowedEndpoint::new(unusable), "http://10.92.0.21/"), "{unusable:?}");
        }
    }

    #[test]
    fn plain_http_reaches_local_addresses_only() {
        for url in [
            "http://169.254.169.254/metadata/identity/oauth2/token",
            "http://127.0.0.1:41056/msi/token",
            "http://localhost:42356/msi/token",
            "http://[::1]:8080/",
            "https://login.microsoftonline.com/",
        ] {
            assert!(is_sent_by(&DefaultHttpPolicy, url), "{url}");
        }
        for url in [
            "http://evil.example/",
            "http://127.0.0.1@evil.example/",
            "http://10.0.0.1/",
            "http://127.0.0.1.evil.example/",
            "http://169.254.169.254.evil.example/",
            "http://localhost.evil.example/",
            "http://[::1].evil.example/",
            "http://[::1].evil.example:80/",
        ] {
            assert!(!is_sent_by(&DefaultHttpPolicy, url), "{url}");
        }
    }
}
