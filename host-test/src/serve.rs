//! A server that does with a component's instances what `wasmtime serve` and Spin do: each takes several requests, some at
//! once, and is thrown away after a while; when none has room, another begins. One of WASI 0.2 takes a single request.
//!
//! The queue is wasmtime's own (`wasmtime_wasi_http::handler`), with which both are built. What an instance is lent is
//! the caller's to say.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{self, Poll};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Sleep, sleep, sleep_until};
use wasmtime::component::{Component, GuestTaskId, Linker};
use wasmtime::{Engine, Store, StoreContextMut};
use wasmtime_wasi_http::handler::{HandlerState, Instance, ProxyHandler, ProxyPre, ShouldAccept};
use wasmtime_wasi_http::handler::{WorkerExpiration, WorkerState, WorkerStatus};
use wasmtime_wasi_http::{Error, WasiBody, WasiHttpView};
use wasmtime_wasi_http::{p2, p3};

/// How long an instance is used
#[derive(Clone, Copy, Debug)]
pub struct Reuse {
    /// So many requests at most
    pub requests: usize,
    /// So many of them at once
    pub concurrent: usize,
    /// Without a request for so long, it goes
    pub idle: Duration,
}

impl Default for Reuse {
    /// As `wasmtime serve` and Spin have it without options
    fn default() -> Self {
        Self { requests: 128, concurrent: 16, idle: Duration::from_secs(1) }
    }
}

/// A running server; it stops when dropped
pub struct Server {
    address: SocketAddr,
    instances: Arc<AtomicUsize>,
    traps: Traps,
    serving: AbortHandle,
}

/// What ended instances, other than their reuse
type Traps = Arc<Mutex<Vec<String>>>;

impl Server {
    /// Serve a component that exports `wasi:http/handler@0.3` or `wasi:http/incoming-handler@0.2`, on a free port of
    /// loopback; `data` makes the state of an instance's store
    ///
    /// # Errors
    /// When the linker lacks what the component imports, or there is no port.
    pub async fn start<T: WasiHttpView + Send + 'static>(
        linker: &Linker<T>,
        component: &Component,
        reuse: Reuse,
        data: impl Fn() -> T + Send + Sync + 'static,
    ) -> Result<Self> {
        let (service, reuse) = service(linker, component, reuse)?;
        let (instances, traps) = (Arc::new(AtomicUsize::new(0)), Traps::default());
        let (data, count, ended) = (Box::new(data), instances.clone(), traps.clone());
        let handler = ProxyHandler::new(App {
            engine: component.engine().clone(),
            service,
            reuse,
            data,
            instances: count,
            traps: ended,
        });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let serving = tokio::spawn(accept(listener, handler)).abort_handle();
        Ok(Self { address, instances, traps, serving })
    }

    /// Its URL, without a slash at the end
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Send a GET and read the answer: its status and its body
    ///
    /// # Errors
    /// When there is no answer, or one that is no HTTP
    pub async fn get(&self, path: &str) -> Result<(u16, String)> {
        let mut stream = TcpStream::connect(self.address).await?;
        // Of a version that has no chunks.
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.address).as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP")?;
        let status = head.split(' ').nth(1).context("no status")?;
        Ok((status.parse()?, body.to_owned()))
    }

    /// How many instances there have been
    pub fn instances(&self) -> usize {
        self.instances.load(Ordering::Relaxed)
    }

    /// What ended instances, other than their reuse
    pub fn traps(&self) -> Vec<String> {
        self.traps.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A component of either version of WASI, and how long its instances are used
fn service<T>(linker: &Linker<T>, component: &Component, reuse: Reuse) -> Result<(ProxyPre<T>, Reuse)> {
    let pre = linker.instantiate_pre(component)?;
    if let Ok(service) = p3::bindings::ServicePre::new(pre.clone()) {
        return Ok((ProxyPre::P3(service), reuse));
    }
    Ok((ProxyPre::P2(p2::bindings::ProxyPre::new(pre)?), Reuse { requests: 1, ..reuse }))
}

/// The component, and what its instances get
struct App<T: 'static> {
    engine: Engine,
    service: ProxyPre<T>,
    reuse: Reuse,
    data: Box<dyn Fn() -> T + Send + Sync>,
    instances: Arc<AtomicUsize>,
    traps: Traps,
}

impl<T: WasiHttpView + Send + 'static> HandlerState for App<T> {
    type StoreData = T;
    type WorkerExpiration = Idle;
    type WorkerState = Worker<T>;

    async fn instantiate(&self) -> wasmtime::Result<Instance<T, Idle, Worker<T>>> {
        self.instances.fetch_add(1, Ordering::Relaxed);
        let mut store = Store::new(&self.engine, (self.data)());
        let proxy = self.service.instantiate_async(&mut store).await?;
        let Reuse { idle, .. } = self.reuse;
        Ok(Instance {
            store,
            proxy,
            view: T::http,
            expiration: Idle { longest: idle, timer: Box::pin(sleep(idle)) },
            state: Worker { reuse: self.reuse, traps: self.traps.clone(), data: std::marker::PhantomData },
        })
    }
}

/// When an instance without requests goes
struct Idle {
    longest: Duration,
    timer: Pin<Box<Sleep>>,
}

impl WorkerExpiration for Idle {
    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
        status: WorkerStatus,
        since: Instant,
    ) -> Poll<()> {
        if status != WorkerStatus::Idle {
            return Poll::Pending;
        }
        self.timer = Box::pin(sleep_until((since + self.longest).into()));
        self.timer.as_mut().poll(cx)
    }
}

struct Worker<T> {
    reuse: Reuse,
    traps: Traps,
    data: std::marker::PhantomData<fn(T)>,
}

impl<T: Send + 'static> WorkerState for Worker<T> {
    type StoreData = T;
    type RequestData = ();

    fn should_accept_request(&self, concurrent: usize, total: usize) -> ShouldAccept {
        match self.reuse {
            Reuse { requests, .. } if total >= requests => ShouldAccept::Never,
            Reuse { concurrent: most, .. } if concurrent >= most => ShouldAccept::No,
            Reuse { .. } => ShouldAccept::Yes,
        }
    }

    fn on_request_start(
        &self,
        _: StoreContextMut<'_, T>,
        (): (),
        _: GuestTaskId,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + Sync>> {
        Box::pin(std::future::pending())
    }

    fn drop(&self, _: Store<T>, result: wasmtime::Result<()>) {
        if let Err(error) = result {
            eprintln!("an instance ended: {error:#}");
            self.traps.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{error:#}"));
        }
    }
}

async fn accept<T: WasiHttpView + Send + 'static>(listener: TcpListener, handler: ProxyHandler<App<T>>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => _ = connections.spawn(connection(stream, handler.clone())),
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection<T: WasiHttpView + Send + 'static>(stream: TcpStream, handler: ProxyHandler<App<T>>) {
    _ = stream.set_nodelay(true);
    let service = service_fn(|request| answer(request, handler.clone()));
    // An error here is a client that left.
    _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer<T: WasiHttpView + Send + 'static>(
    request: Request<Incoming>,
    handler: ProxyHandler<App<T>>,
) -> Result<Response<WasiBody>, std::io::Error> {
    let request = request.map(|body| body.map_err(Error::from).boxed_unsync());
    handler.handle((), request).await.map_err(|error| {
        eprintln!("a request failed: {error:#}");
        std::io::Error::other("the component did not answer")
    })
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
