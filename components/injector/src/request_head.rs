//! The head of a request of the application.

use wasip3::http::types::{Method, Request, Scheme};

/// The method and the URL of a request.
pub(crate) struct RequestHead {
    pub(crate) method: Method,
    pub(crate) scheme: Option<Scheme>,
    pub(crate) authority: Option<String>,
    pub(crate) path: Option<String>,
}

impl RequestHead {
    pub(crate) fn of(request: &Request) -> Self {
        Self {
            method: request.get_method(),
            scheme: request.get_scheme(),
            authority: request.get_authority(),
            path: request.get_path_with_query(),
        }
    }

    pub(crate) fn method(&self) -> &str {
        match &self.method {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
            Method::Connect => "CONNECT",
            Method::Options => "OPTIONS",
            Method::Trace => "TRACE",
            Method::Patch => "PATCH",
            Method::Other(name) => name,
        }
    }

    pub(crate) fn scheme(&self) -> Option<&str> {
        self.scheme.as_ref().map(|scheme| match scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
            Scheme::Other(name) => name,
        })
    }

    pub(crate) fn path(&self) -> &str {
        self.path.as_deref().unwrap_or_default()
    }
}
