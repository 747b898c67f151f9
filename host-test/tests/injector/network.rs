//! The network that an application sees: names that lead where the test says, and what was sent to them.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use host_test::wasi::{Io, Sent, answered, text};
use http::header::{HOST, HeaderMap};
use http_body_util::BodyExt as _;
use tokio::sync::Notify;
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpHooks,
    default_send_request,
};

/// Shared by all instances of a stage.
#[derive(Clone, Default)]
pub(crate) struct Network(Arc<Inner>);

#[derive(Default)]
struct Inner {
    servers: Mutex<HashMap<String, Server>>,
    /// As on Spin: the origins that the host lets everything in the component reach; all of them if there are none.
    allowed: Mutex<Vec<String>>,
    seen: Mutex<Vec<Seen>>,
    /// Whether requests may have a `Host` header.
    takes_host: AtomicBool,
}

#[derive(Clone)]
enum Server {
    /// Of another name, where it is spoken to in plain HTTP.
    At(String),
    /// The host fails, in these words.
    Failing(&'static str),
    Scripted(Arc<Script>),
}

type Script = dyn Fn(http::Request<WasiBody>) -> Answering + Send + Sync;
type Answering = Pin<Box<dyn Future<Output = http::Response<WasiBody>> + Send>>;

/// The head of a request that left the host.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// Scheme and authority.
    pub(crate) origin: String,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
}

impl Seen {
    pub(crate) fn authorization(&self) -> Option<&str> {
        self.headers.get("authorization").map(|value| value.to_str().unwrap())
    }
}

impl Network {
    /// Let a name lead to a server that listens on this machine, `http://127.0.0.1:8080` for instance.
    pub(crate) fn lead(&self, origin: &str, base: &str) {
        self.put(origin, Server::At(base.strip_prefix("http://").unwrap().to_owned()));
    }

    /// Answer for a name.
    pub(crate) fn script<A: Future<Output = http::Response<WasiBody>> + Send + 'static>(
        &self,
        origin: &str,
        answer: impl Fn(http::Request<WasiBody>) -> A + Send + Sync + 'static,
    ) {
        self.put(origin, Server::Scripted(Arc::new(move |request| Box::pin(answer(request)))));
    }

    /// Answer for a name as soon as the head of a request is there.
    pub(crate) fn answer(
        &self,
        origin: &str,
        answer: impl Fn(&http::request::Parts) -> http::Response<String> + Send + Sync + 'static,
    ) {
        self.script(origin, move |request| {
            let (head, _) = request.into_parts();
            std::future::ready(answer(&head).map(text))
        });
    }

    /// Requests to an origin fail in the host, in these words.
    pub(crate) fn fail(&self, origin: &str, words: &'static str) {
        self.put(origin, Server::Failing(words));
    }

    /// Answer every request to a name with an empty 200 once another has told that it arrived.
    pub(crate) fn answer_after(&self, origin: &str, arrived: &Arc<Notify>) {
        let arrived = Arc::clone(arrived);
        self.script(origin, move |_| {
            let arrived = Arc::clone(&arrived);
            async move {
                arrived.notified().await;
                http::Response::new(text(""))
            }
        });
    }

    fn put(&self, origin: &str, server: Server) {
        self.0.servers.lock().unwrap().insert(origin.to_owned(), server);
    }

    /// Let nothing else be reached.
    pub(crate) fn allow_only(&self, origins: &[&str]) {
        *self.0.allowed.lock().unwrap() = origins.iter().map(|&origin| origin.to_owned()).collect();
    }

    /// As on hosts that let the sender of a request set its `Host` header.
    pub(crate) fn take_host(&self) {
        self.0.takes_host.store(true, Ordering::Relaxed);
    }

    /// What was sent to a name, in order.
    pub(crate) fn seen(&self, origin: &str) -> Vec<Seen> {
        let seen = self.0.seen.lock().unwrap();
        seen.iter().filter(|seen| seen.origin == origin).cloned().collect()
    }

    /// How many requests left the host.
    pub(crate) fn count(&self) -> usize {
        self.0.seen.lock().unwrap().len()
    }

    fn is_allowed(&self, origin: &str) -> bool {
        let allowed = self.0.allowed.lock().unwrap();
        allowed.is_empty() || allowed.iter().any(|allowed| allowed == origin)
    }
}

impl WasiHttpHooks for Network {
    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        let takes_host = self.0.takes_host.load(Ordering::Relaxed);
        Arc::new(move |name| DEFAULT_FORBIDDEN_HEADERS.contains(name) && !(takes_host && *name == HOST))
    }

    fn set_host_header(&mut self) -> bool {
        !self.0.takes_host.load(Ordering::Relaxed)
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _answered: Io,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let uri = request.uri();
        let origin = format!("{}://{}", uri.scheme_str().unwrap(), uri.authority().unwrap());
        if !self.is_allowed(&origin) {
            return Box::new(async { Err(Error::HttpRequestDenied) });
        }
        self.0.seen.lock().unwrap().push(Seen {
            method: request.method().to_string(),
            origin: origin.clone(),
            path: uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
            headers: request.headers().clone(),
        });
        let server = self.0.servers.lock().unwrap().get(&origin).cloned();
        match server {
            Some(Server::Scripted(script)) => Box::new(async move { answered(script(request).await) }),
            Some(Server::At(authority)) => Box::new(forward(to(request, &authority), options)),
            Some(Server::Failing(words)) => {
                Box::new(async move { Err(Error::InternalError(Some(words.to_owned()))) })
            }
            // The rest of the world is this machine.
            None if origin.starts_with("http://") => Box::new(forward(request, options)),
            None => Box::new(async { Err(Error::DestinationNotFound) }),
        }
    }
}

fn to(request: http::Request<WasiBody>, authority: &str) -> http::Request<WasiBody> {
    let (mut head, body) = request.into_parts();
    let mut uri = head.uri.into_parts();
    uri.scheme = Some(http::uri::Scheme::HTTP);
    uri.authority = Some(authority.parse().unwrap());
    head.uri = http::Uri::from_parts(uri).unwrap();
    http::Request::from_parts(head, body)
}

async fn forward(request: http::Request<WasiBody>, options: Option<RequestOptions>) -> Sent {
    let (response, io) = default_send_request(request, options).await?;
    Ok((response.map(|body| body.boxed_unsync()), Box::new(io)))
}
