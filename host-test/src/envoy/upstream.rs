//! A service behind Envoy that notes what reaches it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A service that answers 200 unless told otherwise
pub struct Upstream {
    address: SocketAddr,
    notes: Arc<Mutex<Notes>>,
    _server: JoinSet<()>,
}

#[derive(Default)]
struct Notes {
    seen: Vec<Seen>,
    statuses: VecDeque<u16>,
}

/// A request that reached it
#[derive(Clone, Debug)]
pub struct Seen {
    /// The path
    pub path: String,
    /// The headers
    pub headers: HeaderMap,
    /// The length of the body, in bytes
    pub body_length: usize,
}

impl Seen {
    /// The values of a header
    pub fn all(&self, name: &str) -> Vec<String> {
        let values = self.headers.get_all(name).iter();
        values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
    }

    /// The token in the header `authorization`, if there is exactly one
    pub fn token(&self) -> Option<String> {
        match self.all("authorization").as_slice() {
            [only] => only.strip_prefix("Bearer ").map(str::to_owned),
            _ => None,
        }
    }
}

impl Upstream {
    /// Listen on a free port until dropped
    ///
    /// # Errors
    /// When none can be listened on.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, notes) = (listener.local_addr()?, Arc::<Mutex<Notes>>::default());
        let mut server = JoinSet::new();
        server.spawn(serve(listener, Arc::clone(&notes)));
        Ok(Self { address, notes, _server: server })
    }

    /// Where it is
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What reached it since this was asked last
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut notes(&self.notes).seen)
    }

    /// Answer the next requests with these statuses
    pub fn answer(&self, statuses: impl IntoIterator<Item = u16>) {
        notes(&self.notes).statuses.extend(statuses);
    }
}

fn notes(notes: &Mutex<Notes>) -> MutexGuard<'_, Notes> {
    notes.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, notes: Arc<Mutex<Notes>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let notes = Arc::clone(&notes);
        let service = service_fn(move |request| answer(request, Arc::clone(&notes)));
        // Far above Envoy's own limit, so that it is Envoy's that counts.
        let connection =
            http1::Builder::new().max_buf_size(1 << 20).serve_connection(TokioIo::new(stream), service);
        connections.spawn(async move {
            // A client that left.
            let _ = connection.await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    of: Arc<Mutex<Notes>>,
) -> Result<http::Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body_length = body.collect().await.map(|body| body.to_bytes().len()).unwrap_or_default();
    let mut notes = notes(&of);
    notes.seen.push(Seen { path: parts.uri.path().to_owned(), headers: parts.headers, body_length });
    let status = notes.statuses.pop_front().unwrap_or(200);
    let mut response = http::Response::new(Full::new(Bytes::from_static(b"ok")));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    Ok(response)
}
