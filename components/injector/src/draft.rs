//! A request of the application, taken apart to be sent with a header more.

use std::pin::pin;

use futures_util::future::{Either, select};
use secrecy::ExposeSecret as _;
use token_broker::Error;
use wasip3::clocks::monotonic_clock;
use wasip3::http::types::{ErrorCode, Fields, Method, Request, RequestOptions, Scheme, Trailers};
use wasip3::wit_bindgen::{FutureReader, FutureWriter, StreamReader, StreamResult};
use wasip3::wit_future;

use crate::credentials::Held;

/// Where a request goes and how. The rest of it is left where it is.
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) scheme: Option<Scheme>,
    pub(crate) authority: Option<String>,
    pub(crate) path: Option<String>,
}

impl Head {
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

/// A request from which others are made that differ in their `Authorization`.
pub(crate) struct Draft {
    head: Head,
    headers: Fields,
    options: Option<RequestOptions>,
    body: Option<Body>,
    is_repeatable: bool,
}

/// What is handed over once, and how that went for whoever wrote it.
struct Body {
    contents: Option<StreamReader<u8>>,
    trailers: FutureReader<Result<Option<Trailers>, ErrorCode>>,
    outcome: FutureWriter<Result<(), ErrorCode>>,
}

impl Draft {
    pub(crate) async fn of(request: Request, head: Head, headers: Fields) -> Self {
        let options = request.get_options();
        let (outcome, told) = wit_future::new(|| Ok(()));
        let (mut contents, trailers) = Request::consume_body(request, told);
        let has_none = matches!(head.method, Method::Get | Method::Head | Method::Delete | Method::Options)
            && is_empty(&mut contents).await;
        let body = Body { contents: (!has_none).then_some(contents), trailers, outcome };
        Self { head, headers, options, body: Some(body), is_repeatable: has_none }
    }

    /// Whether it can be made more than once: it has no body.
    pub(crate) fn is_repeatable(&self) -> bool {
        self.is_repeatable
    }

    /// The request with an `Authorization`.
    ///
    /// # Errors
    /// [`Error::Other`] if the host takes no such request.
    pub(crate) fn make(&mut self, held: &Held) -> Result<Request, Error> {
        let headers = self.headers.clone();
        headers
            .set("authorization", &[held.authorization.expose_secret().into()])
            .map_err(|_| unfit("the header `authorization`"))?;
        let options = self.options.as_ref().map(RequestOptions::clone);
        let request = match self.body.take() {
            Some(Body { contents, trailers, outcome }) => {
                let has_contents = contents.is_some();
                let (request, sent) = Request::new(headers, contents, trailers, options);
                if has_contents {
                    // How it went is known long after the answer has come.
                    wit_bindgen::spawn_local(async move {
                        let _ = outcome.write(sent.await).await;
                    });
                } else {
                    hold(sent);
                }
                request
            }
            None => {
                let (_, no_trailers) = wit_future::new(|| Ok(None));
                let (request, sent) = Request::new(headers, None, no_trailers, options);
                hold(sent);
                request
            }
        };
        let Head { method, scheme, authority, path } = &self.head;
        // A host that takes another scheme for its own would send the token in the clear.
        let scheme = scheme.as_ref().unwrap_or(&Scheme::Https);
        if !matches!(method, Method::Get) {
            request.set_method(method).map_err(|()| unfit("its method"))?;
        }
        request.set_scheme(Some(scheme)).map_err(|()| unfit("its scheme"))?;
        request.set_authority(authority.as_deref()).map_err(|()| unfit("its authority"))?;
        request.set_path_with_query(path.as_deref()).map_err(|()| unfit("its path"))?;
        Ok(request)
    }
}

/// Whether nothing will be written to a stream: its writer is gone, or goes within [`GRACE`].
///
/// Some bindings hand over a stream with every request, and end it only once the request is on its way. A read of
/// nothing takes nothing, and tells whether there is something.
async fn is_empty(contents: &mut StreamReader<u8>) -> bool {
    let peek = pin!(contents.read(Vec::new()));
    match select(peek, pin!(monotonic_clock::wait_for(GRACE))).await {
        Either::Left(((StreamResult::Dropped, _), _)) => true,
        Either::Left(_) | Either::Right(_) => false,
    }
}

/// Until the connection has ended: wasmtime 49 drops it with what tells how a request went out, and the answer's body then
/// seems to end after what had come by then.
fn hold(sent: FutureReader<Result<(), ErrorCode>>) {
    wit_bindgen::spawn_local(async move {
        let _ = sent.await;
    });
}

fn unfit(what: &str) -> Error {
    Error::Other(format!("the host does not take {what} for a request that it took from the application"))
}

/// Nanoseconds. Who means to write waits for no answer first, and is not held up for longer if he does.
const GRACE: u64 = 10_000_000;
