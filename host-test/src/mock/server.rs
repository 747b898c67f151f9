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
    link::Link,
    platform::{Platform, Reset},
    reply::Reply,
    tls,
};

/// The listeners; dropping it closes them and every connection
pub(super) struct Server {
    pub(super) ca_pem: Option<String>,
    listeners: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl Server {
    pub(super) async fn start(config: MockConfig) -> Result<(Arc<Platform>, Self)> {
        let (plain, url) = listen(config.listen, "http").await?;
        let secure = match config.listen_tls {
            Some(address) => Some((listen(address, "https").await?, tls::acceptor()?)),
            None => None,
        };
        let tls_url = secure.as_ref().map(|((_, url), _)| url.clone());
        let platform = Arc::new(Platform::new(config, url, tls_url)?);
        let mut server = Self { ca_pem: None, listeners: JoinSet::new(), stop: watch::Sender::new(false) };
        server.listeners.spawn(serve(plain, None, platform.clone(), server.stop.subscribe()));
        if let Some(((listener, _), (acceptor, ca_pem))) = secure {
            server.ca_pem = Some(ca_pem);
            server.listeners.spawn(serve(
                listener,
                Some(acceptor),
                platform.clone(),
                server.stop.subscribe(),
            ));
        }
        Ok((platform, server))
    }

    pub(super) async fn shutdown(mut self) {
        self.stop.send_replace(true);
        while self.listeners.join_next().await.is_some() {}
    }
}

async fn listen(address: SocketAddr, scheme: &str) -> Result<(TcpListener, String)> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let url = format!("{scheme}://{}", listener.local_addr()?);
    Ok((listener, url))
}

async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    platform: Arc<Platform>,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    let graceful = GracefulShutdown::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, tls.clone(), platform.clone(), graceful.watcher()));
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

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, platform: Arc<Platform>, watcher: Watcher) {
    let reset = Arc::new(AtomicBool::new(false));
    // Small answers go at once.
    let _ = stream.set_nodelay(true);
    let link = Link::new(stream, reset.clone());
    match tls {
        None => exchange(link, "http", platform, reset, watcher).await,
        // A failed handshake is the client's to report.
        Some(acceptor) => {
            if let Ok(stream) = acceptor.accept(link).await {
                exchange(stream, "https", platform, reset, watcher).await;
            }
        }
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    scheme: &'static str,
    platform: Arc<Platform>,
    reset: Arc<AtomicBool>,
    watcher: Watcher,
) {
    let service = service_fn(move |request| answer(platform.clone(), request, scheme, reset.clone()));
    let connection =
        http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
    // An error here is a client that left or a fault that was asked for.
    let _ = watcher.watch(connection).await;
}

async fn answer(
    platform: Arc<Platform>,
    request: Request<Incoming>,
    scheme: &str,
    reset: Arc<AtomicBool>,
) -> Result<Response<ScriptedBody>, Reset> {
    let Ok(call) = Call::read(request, scheme).await else {
        return Ok(ScriptedBody::whole(Reply::text(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the request is too large",
        )));
    };
    platform.answer(call).await.inspect_err(|Reset| reset.store(true, Ordering::Relaxed))
}

impl std::fmt::Display for Reset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection is to be reset")
    }
}

impl std::error::Error for Reset {}

const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const GRACE: Duration = Duration::from_secs(5);
