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

/// The body of a request: it can be handed over once, and the application learns the outcome from it.
struct Body {
    contents: StreamReader<u8>,
    trailers: FutureReader<Result<Option<Trailers>, ErrorCode>>,
    outcome: FutureWriter<Result<(), ErrorCode>>,
}

impl Draft {
    pub(crate) async fn of(request: Request, head: Head, headers: Fields) -> Self {
        let options = request.get_options();
        let (outcome, told) = wit_future::new(|| Ok(()));
        let (contents, trailers) = Request::consume_body(request, told);
        let contents = match announced(&head.method, &headers) {
            Announced::Nothing => None,
            Announced::Contents => Some(contents),
            Announced::Unknown => unless_finished(contents).await,
        };
        let is_repeatable = contents.is_none();
        // Without contents there are no trailers either, and all was sent.
        let body = contents.map(|contents| Body { contents, trailers, outcome });
        Self { head, headers, options, body, is_repeatable }
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
                let (request, sent) = Request::new(headers, Some(contents), trailers, options);
                // How it went is known long after the answer has come.
                wit_bindgen::spawn_local(async move {
                    let _ = outcome.write(sent.await).await;
                });
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

/// Whether a request has contents, as far as its head tells.
enum Announced {
    Nothing,
    Contents,
    Unknown,
}

/// The bindings of some languages pass a stream with every request, and end it once the request is on its way.
///
/// A GET or HEAD without a length has no contents: HTTP has no other way to announce them there that a component could
/// use, and the clients of hosts send none. Of methods whose requests have contents as a rule it makes no difference.
fn announced(method: &Method, headers: &Fields) -> Announced {
    let length = headers.get("content-length");
    match (method, length.as_slice()) {
        (_, [length]) if length == b"0" => Announced::Nothing,
        (Method::Get | Method::Head, []) => Announced::Nothing,
        (Method::Delete | Method::Options, []) => Announced::Unknown,
        _ => Announced::Contents,
    }
}

/// Until the connection has ended: wasmtime 49 drops it with what tells how a request went out, and the answer's body then
/// seems to end after what had come by then.
fn hold(sent: FutureReader<Result<(), ErrorCode>>) {
    wit_bindgen::spawn_local(async move {
        let _ = sent.await;
    });
}

/// A stream, unless it ends before the application writes to it, or within [`GRACE`].
///
/// A reader that has been told of the end must not be handed over: the host ends the instance for it. The end may be told
/// in the moment in which the read is given up, too. A read of nothing takes nothing.
async fn unless_finished(mut contents: StreamReader<u8>) -> Option<StreamReader<u8>> {
    let peek = contents.read(Vec::new());
    let (told, _) = match select(pin!(peek), pin!(monotonic_clock::wait_for(GRACE))).await {
        Either::Left((told, _)) => told,
        Either::Right(((), peek)) => peek.cancel(),
    };
    (told != StreamResult::Dropped).then_some(contents)
}

fn unfit(what: &str) -> Error {
    Error::Other(format!("the host does not take {what} for a request that it took from the application"))
}

/// Nanoseconds. An application that writes only once it has an answer is not held up for longer.
const GRACE: u64 = 10_000_000;
