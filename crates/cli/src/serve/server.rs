//! The HTTP server, with a bound on everything that a client can do.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use crate::serve::handler::Handler;
use crate::serve::listener::{Client, Listener, Stream};
use crate::serve::write_limit::WriteLimit;

/// Accept clients until `end`, then finish pending requests within [`GRACE`].
pub(crate) async fn serve(listener: &Listener, handler: Arc<Handler>, end: impl Future<Output = ()>) {
    let (connections, room) = (GracefulShutdown::new(), Arc::new(Semaphore::new(MAX_CONNECTIONS)));
    let mut end = std::pin::pin!(end);
    loop {
        tokio::select! {
            () = &mut end => break,
            accepted = accept(listener, &room) => match accepted {
                Some((stream, client, place)) => {
                    tokio::spawn(connection(stream, client, Arc::clone(&handler), connections.watcher(), place));
                }
                // The client left, or no descriptor is free: try again soon.
                None => sleep(PAUSE).await,
            }
        }
    }
    _ = timeout(GRACE, connections.shutdown()).await;
}

/// Accept a client. Clients beyond the limit wait in the system's queue.
async fn accept(
    listener: &Listener,
    room: &Arc<Semaphore>,
) -> Option<(Box<dyn Stream>, Client, OwnedSemaphorePermit)> {
    let place = Arc::clone(room).acquire_owned().await.ok()?;
    let (stream, client) = listener.accept().await.ok()?;
    Some((stream, client, place))
}

async fn connection(
    stream: Box<dyn Stream>,
    client: Client,
    handler: Arc<Handler>,
    watcher: Watcher,
    _place: OwnedSemaphorePermit,
) {
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let (handler, client) = (Arc::clone(&handler), client.clone());
        async move { Ok::<_, Infallible>(handler.answer(request.into_parts().0, &client).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(WriteLimit::new(stream, IDLE)), service);
    // An error here is a client that left, or one that kept to no bound.
    _ = timeout(CONNECTION, watcher.watch(connection)).await;
}

/// Half of the descriptors that a process has by default.
const MAX_CONNECTIONS: usize = 512;
/// The longest query, and as much again for headers.
const MAX_HEAD: usize = 40 * 1024;
/// From the end of an answer to the end of the next request's headers, and for a client to read what is written.
const IDLE: Duration = Duration::from_secs(30);
/// The life of a connection. Longer than the longest answer can take.
const CONNECTION: Duration = Duration::from_secs(3600);
/// For pending requests at the end. A fetch takes seconds, and its client can ask again.
const GRACE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);
