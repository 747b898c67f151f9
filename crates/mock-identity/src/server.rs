//! Listens, speaks HTTP/1.1 on plain and TLS connections, and stops.

use std::{net::SocketAddr, os::fd::AsFd, sync::Arc, time::Duration};

use anyhow::{Context, Result, anyhow};
use http::{Request, Response, StatusCode};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
};
use socket2::Socket;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    addresses::{Addresses, Pinned, TokenProxy},
    body::{self, ScriptedBody},
    call::Call,
    config::MockConfig,
    listener::Listener,
    platform::Platform,
    proxy_certificate::ProxyCertificate,
    reply::Reply,
    router::{self, NoAnswer},
    tls,
};

/// The listeners; dropping it closes them and every connection
pub(crate) struct Server {
    pub(crate) ca_pem: Option<String>,
    pub(crate) pinned_pem: Option<String>,
    listeners: JoinSet<()>,
    stop: watch::Sender<bool>,
}

/// A socket that is bound and does not accept yet
struct Bound {
    socket: TcpListener,
    listener: Listener,
    tls: Option<TlsAcceptor>,
}

impl Server {
    pub(crate) async fn start(config: MockConfig) -> Result<(Arc<Platform>, Self)> {
        let mut bound = Vec::new();
        let plain = listen(&mut bound, config.listen, Listener::Plain, None).await?;
        let mut addresses = Addresses { plain, also: None, tls: None, pinned: None, token_proxy: None };
        if let Some(address) = config.also_listen {
            addresses.also = Some(listen(&mut bound, address, Listener::Plain, None).await?);
        }
        let (mut ca_pem, mut pinned_pem) = (None, None);
        if let Some(address) = config.listen_tls {
            let (acceptor, authority) = tls::by_authority()?;
            addresses.tls = Some(listen(&mut bound, address, Listener::Tls, Some(acceptor)).await?);
            ca_pem = Some(authority);
        }
        if let Some(fabric) = &config.service_fabric {
            let (acceptor, certificate) = tls::pinned()?;
            let url = listen(&mut bound, fabric.listen, Listener::Pinned, Some(acceptor)).await?;
            addresses.pinned = Some(Pinned { url, thumbprint: tls::thumbprint(&certificate) });
            pinned_pem = Some(certificate.pem());
        }
        if let Some(proxy) = &config.token_proxy {
            let certificate = Arc::new(ProxyCertificate::new(proxy)?);
            let acceptor = Some(certificate.acceptor()?);
            let url = listen(&mut bound, proxy.listen, Listener::TokenProxy, acceptor).await?;
            addresses.token_proxy = Some(TokenProxy { url, certificate });
        }
        let platform = Arc::new(Platform::new(config, addresses)?);
        let (listeners, stop) = (JoinSet::new(), watch::Sender::new(false));
        let mut server = Self { ca_pem, pinned_pem, listeners, stop };
        for socket in bound {
            server.listeners.spawn(serve(socket, platform.clone(), server.stop.subscribe()));
        }
        Ok((platform, server))
    }

    pub(crate) async fn shutdown(mut self) {
        self.stop.send_replace(true);
        while self.listeners.join_next().await.is_some() {}
    }
}

/// Bind a socket; its URL
async fn listen(
    bound: &mut Vec<Bound>,
    address: SocketAddr,
    listener: Listener,
    tls: Option<TlsAcceptor>,
) -> Result<String> {
    let socket = TcpListener::bind(address)
        .await
        .map_err(|error| anyhow!("{error}; fix: listen on another address, or on port 0 for a free port"))
        .with_context(|| format!("cannot listen on {address}"))?;
    let url = format!("{}://{}", listener.scheme(), socket.local_addr()?);
    bound.push(Bound { socket, listener, tls });
    Ok(url)
}

async fn serve(bound: Bound, platform: Arc<Platform>, mut stop: watch::Receiver<bool>) {
    let Bound { socket, listener, tls } = bound;
    let mut connections = JoinSet::new();
    let graceful = GracefulShutdown::new();
    loop {
        tokio::select! {
            accepted = socket.accept() => match accepted {
                Ok((stream, _)) => {
                    let (platform, tls) = (platform.clone(), tls.clone());
                    connections.spawn(connection(stream, listener, tls, platform, graceful.watcher()));
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
    listener: Listener,
    tls: Option<TlsAcceptor>,
    platform: Arc<Platform>,
    watcher: Watcher,
) {
    // Small answers go at once.
    let _ = stream.set_nodelay(true);
    // Out of descriptors, which the client sees.
    let Ok(socket) = stream.as_fd().try_clone_to_owned() else { return };
    let socket = Arc::new(socket.into());
    match tls {
        None => exchange(stream, listener, platform, socket, watcher).await,
        // A failed handshake is the client's to report.
        Some(acceptor) => {
            if let Ok(stream) = acceptor.accept(stream).await {
                exchange(stream, listener, platform, socket, watcher).await;
            }
        }
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    listener: Listener,
    platform: Arc<Platform>,
    socket: Arc<Socket>,
    watcher: Watcher,
) {
    let service = service_fn(move |request| answer(platform.clone(), request, listener, socket.clone()));
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
    listener: Listener,
    socket: Arc<Socket>,
) -> Result<Response<ScriptedBody>, NoAnswer> {
    let Some(call) = Call::read(request, listener).await else {
        let refusal = Reply::text(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large");
        return Ok(body::whole(refusal));
    };
    let answer = router::answer(&platform, call).await;
    if matches!(answer, Err(NoAnswer::Reset)) {
        // It then closes with RST instead of FIN. Where the option is refused, the client sees an ordinary close.
        let _ = socket.set_linger(Some(Duration::ZERO));
    }
    answer
}

/// The longest head of a request, in bytes.
const MAX_HEAD: usize = 64 * 1024;
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const GRACE: Duration = Duration::from_secs(5);
