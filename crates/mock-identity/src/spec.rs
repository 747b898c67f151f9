//! The description of an endpoint.

use http::StatusCode;

use crate::{
    call::{self, Call},
    endpoint::Endpoint,
    listener::Listener,
    platform::Platform,
    reply::Reply,
};

/// The variables that point a program at an endpoint
pub type Environment = Vec<(&'static str, String)>;

/// The requests that an endpoint answers, how it answers them, how it fails, and how programs are pointed at it
pub(crate) struct Spec {
    pub(crate) endpoint: Endpoint,
    /// The listeners that have it
    pub(crate) listeners: &'static [Listener],
    /// Its paths, without a slash at either end; `*` is one segment, a last `**` is any number of them, and the empty path is
    /// the root, as far as that is not the start page
    pub(crate) paths: &'static [&'static str],
    /// Whether it answers 404 to a request in chunks, as login.microsoftonline.com does (envoyproxy/envoy#20179)
    pub(crate) refuses_chunks: bool,
    pub(crate) answer: fn(&Platform, &Call) -> Reply,
    /// The answer with a status that a fault asks for
    pub(crate) failure: fn(&Platform, &Call, StatusCode) -> Reply,
    pub(crate) setups: &'static [Setup],
}

/// A way in which a program can be pointed at an endpoint
pub(crate) struct Setup {
    /// Its heading on the start page, where `URL` is the mock's URL and `APP` an app that trusts a cluster
    pub(crate) title: &'static str,
    /// The setting that it needs
    pub(crate) needs: &'static str,
    /// Empty without that
    pub(crate) environment: fn(&Platform) -> Environment,
}

impl Spec {
    /// An endpoint without paths and setups, as most are otherwise
    pub(crate) const fn of(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            listeners: &[Listener::Plain, Listener::Tls],
            paths: &[],
            refuses_chunks: false,
            answer: |_, _| Reply::text(StatusCode::NOT_FOUND, "no such endpoint here: see /"),
            failure: |_, _, status| Reply::text(status, "a scripted failure"),
            setups: &[],
        }
    }

    /// Whether a request with these segments in its path, by this listener, is for the endpoint
    pub(crate) fn matches(&self, listener: Listener, segments: &[&str]) -> bool {
        self.listeners.contains(&listener) && self.paths.iter().any(|path| fits(path, segments))
    }
}

fn fits(path: &str, segments: &[&str]) -> bool {
    let mut segments = segments.iter();
    for part in call::segments(path) {
        match (part, segments.next()) {
            ("**", _) => return true,
            (part, Some(segment)) if part == "*" || part == *segment => {}
            _ => return false,
        }
    }
    segments.next().is_none()
}
