//! Listens, speaks HTTP/1.1 on plain and TLS connections, and stops.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use http::{Request, Response, StatusCode};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use super::{
    body::ScriptedBody,
    call::Call,
    config::MockConfig,
    door::Door,
    link::Link,
    platform::{Ended, Platform},
    reply::Reply,
    tls,
};

/// Where the mock is to be found: base URLs without a slash at the end
pub(super) struct Addresses {
    pub(super) plain: String,
    pub(super) also: Option<String>,
    pub(super) tls: Option<String>,
    pub(super) pinned: Option<Pinned>,
}

/// The listener of Service Fabric
pub(super) struct Pinned {
    pub(super) url: String,
    /// The SHA-1 thumbprint of its certificate
    pub(super) thumbprint: String,
}

/// The listeners; dropping it closes them and every connection
pub(super) struct Server {
    pub(super) ca_pem: Option<String>,
    pub(super) pinned_pem: Option<String>,
    listeners: JoinSet<()>,
    stop: watch::Sender<bool>,
}

/// A listener before anybody is let in
struct Entrance {
    listener: TcpListener,
    door: Door,
    tls: Option<TlsAcceptor>,
}

impl Server {
    pub(super) async fn start(config: MockConfig) -> Result<(Arc<Platform>, Self)> {
        let (plain, url) = listen(config.listen, Door::Plain, None).await?;
        let mut addresses = Addresses { plain: url, also: None, tls: None, pinned: None };
        let mut entrances = vec![plain];
        if let Some(address) = config.also_listen {
            let (entrance, url) = listen(address, Door::Plain, None).await?;
            addresses.also = Some(url);
            entrances.push(entrance);
        }
        let (mut ca_pem, mut pinned_pem) = (None, None);
        if let Some(address) = config.listen_tls {
            let (acceptor, authority) = tls::vouched()?;
            let (entrance, url) = listen(address, Door::Tls, Some(acceptor)).await?;
            (addresses.tls, ca_pem) = (Some(url), Some(authority));
            entrances.push(entrance);
        }
        if let Some(fabric) = &config.service_fabric {
            let (acceptor, certificate) = tls::pinned()?;
            let (entrance, url) = listen(fabric.listen, Door::Pinned, Some(acceptor)).await?;
            addresses.pinned = Some(Pinned { url, thumbprint: tls::thumbprint(&certificate) });
            pinned_pem = Some(certificate.pem());
            entrances.push(entrance);
        }
        let platform = Arc::new(Platform::new(config, addresses)?);
        let (listeners, stop) = (JoinSet::new(), watch::Sender::new(false));
        let mut server = Self { ca_pem, pinned_pem, listeners, stop };
        for entrance in entrances {
            server.listeners.spawn(serve(entrance, platform.clone(), server.stop.subscribe()));
        }
        Ok((platform, server))
    }

    pub(super) async fn shutdown(mut self) {
        self.stop.send_replace(true);
        while self.listeners.join_next().await.is_some() {}
    }
}

async fn listen(address: SocketAddr, door: Door, tls: Option<TlsAcceptor>) -> Result<(Entrance, String)> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let url = format!("{}://{}", door.scheme(), listener.local_addr()?);
    Ok((Entrance { listener, door, tls }, url))
}

async fn serve(entrance: Entrance, platform: Arc<Platform>, mut stop: watch::Receiver<bool>) {
    let Entrance { listener, door, tls } = entrance;
    let mut connections = JoinSet::new();
    let graceful = GracefulShutdown::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let (platform, tls) = (platform.clone(), tls.clone());
                    connections.spawn(connection(stream, door, tls, platform, graceful.watcher()));
                }
                // Out of descriptors: connections that end make room.
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
            _ = stop.changed() => break,
        }
    }
    // What is not through by then is cut off when `connections` is dropped.
    let _ = tokio::time::timeout(GRACE, graceful.shutdown()).await;
}

async fn connection(
    stream: TcpStream,
    door: Door,
    tls: Option<TlsAcceptor>,
    platform: Arc<Platform>,
    watcher: Watcher,
) {
    let reset = Arc::new(AtomicBool::new(false));
    // Small answers go at once.
    let _ = stream.set_nodelay(true);
    let link = Link::new(stream, reset.clone());
    match tls {
        None => exchange(link, door, platform, reset, watcher).await,
        // A failed handshake is the client's to report.
        Some(acceptor) => {
            if let Ok(stream) = acceptor.accept(link).await {
                exchange(stream, door, platform, reset, watcher).await;
            }
        }
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    door: Door,
    platform: Arc<Platform>,
    reset: Arc<AtomicBool>,
    watcher: Watcher,
) {
    let service = service_fn(move |request| answer(platform.clone(), request, door, reset.clone()));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    // An error here is a client that left or a fault that was asked for.
    let _ = watcher.watch(connection).await;
}

async fn answer(
    platform: Arc<Platform>,
    request: Request<Incoming>,
    door: Door,
    reset: Arc<AtomicBool>,
) -> Result<Response<ScriptedBody>, Ended> {
    let Ok(call) = Call::read(request, door).await else {
        return Ok(ScriptedBody::whole(Reply::text(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the request is too large",
        )));
    };
    platform.answer(call).await.inspect_err(|ended| reset.store(*ended == Ended::Reset, Ordering::Relaxed))
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection ends in the place of an answer")
    }
}

impl std::error::Error for Ended {}

/// The longest head of a request, in bytes.
const MAX_HEAD: usize = 64 * 1024;
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const GRACE: Duration = Duration::from_secs(5);
