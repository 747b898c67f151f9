//! A request of the application as a template of the requests that are sent.

use std::pin::pin;

use futures_util::future::{Either, select};
use secrecy::ExposeSecret as _;
use token_broker::Error;
use wasip3::clocks::monotonic_clock;
use wasip3::http::types::{ErrorCode, Fields, Method, Request, RequestOptions, Scheme, Trailers};
use wasip3::wit_bindgen::{FutureReader, FutureWriter, StreamReader, StreamResult};
use wasip3::wit_future;

use crate::credentials::TokenHeader;
use crate::request_head::RequestHead;

/// A template of requests that differ in their `Authorization`.
pub(crate) struct RequestTemplate {
    head: RequestHead,
    headers: Fields,
    options: Option<RequestOptions>,
    body: Option<RequestBody>,
    is_repeatable: bool,
}

/// The body of a request. It can be handed over once, and tells the application how sending it ended.
struct RequestBody {
    contents: StreamReader<u8>,
    trailers: FutureReader<Result<Option<Trailers>, ErrorCode>>,
    outcome: FutureWriter<Result<(), ErrorCode>>,
}

impl RequestTemplate {
    pub(crate) async fn new(request: Request, head: RequestHead, headers: Fields) -> Self {
        let options = request.get_options();
        let (outcome, sent) = wit_future::new(|| Ok(()));
        let (contents, trailers) = Request::consume_body(request, sent);
        let contents = match BodyPresence::of(&head.method, &headers) {
            BodyPresence::Absent => None,
            BodyPresence::Present => Some(contents),
            BodyPresence::Unknown => unless_finished(contents).await,
        };
        let is_repeatable = contents.is_none();
        // Without contents there are no trailers either, and sending them has ended well.
        let body = contents.map(|contents| RequestBody { contents, trailers, outcome });
        Self { head, headers, options, body, is_repeatable }
    }

    /// Whether more than one request can be made: without a body.
    pub(crate) fn is_repeatable(&self) -> bool {
        self.is_repeatable
    }

    pub(crate) fn make(&mut self, token: &TokenHeader) -> Result<Request, Error> {
        let headers = self.headers.clone();
        headers
            .set("authorization", &[token.authorization.expose_secret().into()])
            .map_err(|_| unfit("the header `authorization`"))?;
        let options = self.options.as_ref().map(RequestOptions::clone);
        let request = match self.body.take() {
            Some(RequestBody { contents, trailers, outcome }) => {
                let (request, sent) = Request::new(headers, Some(contents), trailers, options);
                // In a task: sending may end long after the answer has come.
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
        let RequestHead { method, scheme, authority, path } = &self.head;
        // Set in any case: a host with another default would send the token in the clear.
        let scheme = scheme.as_ref().unwrap_or(&Scheme::Https);
        if !matches!(method, Method::Get) {
            request.set_method(method).map_err(|()| unfit("the method"))?;
        }
        request.set_scheme(Some(scheme)).map_err(|()| unfit("the scheme"))?;
        request.set_authority(authority.as_deref()).map_err(|()| unfit("the authority"))?;
        request.set_path_with_query(path.as_deref()).map_err(|()| unfit("the path"))?;
        Ok(request)
    }
}

/// Whether a request has a body, as far as its head tells.
enum BodyPresence {
    Absent,
    Present,
    /// The bindings of some languages pass a stream with every request, and end it after the request is on its way.
    Unknown,
}

impl BodyPresence {
    /// A GET or HEAD without a length has no body: HTTP has no other way to announce one that a component could use, and
    /// the clients of hosts send none. For methods that usually have a body, it makes no difference.
    fn of(method: &Method, headers: &Fields) -> Self {
        let length = headers.get("content-length");
        match (method, length.as_slice()) {
            (_, [length]) if length == b"0" => Self::Absent,
            (Method::Get | Method::Head, []) => Self::Absent,
            (Method::Delete | Method::Options, []) => Self::Unknown,
            _ => Self::Present,
        }
    }
}

/// Holds the outcome of sending until there is one: wasmtime 49 drops the connection with it, and the answer's body then
/// seems to end early.
fn hold(sent: FutureReader<Result<(), ErrorCode>>) {
    wit_bindgen::spawn_local(async move {
        let _ = sent.await;
    });
}

/// The stream, unless it ends within [`GRACE`] and before the application writes to it.
///
/// The end of a stream is noticed by a read of zero bytes. A reader that has noticed it must not be handed over: the host
/// ends the instance for that. Cancelling the read may report the end, too.
async fn unless_finished(mut contents: StreamReader<u8>) -> Option<StreamReader<u8>> {
    let peek = contents.read(Vec::new());
    let (result, _) = match select(pin!(peek), pin!(monotonic_clock::wait_for(GRACE))).await {
        Either::Left((result, _)) => result,
        Either::Right(((), peek)) => peek.cancel(),
    };
    (result != StreamResult::Dropped).then_some(contents)
}

fn unfit(part: &str) -> Error {
    Error::Other(format!(
        "the host refuses {part} of a request that it took from the application; fix: report it, with the host and its \
         version"
    ))
}

/// In nanoseconds. An application that writes its body only after the answer has begun waits for this long.
const GRACE: u64 = 10_000_000;
