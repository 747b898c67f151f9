//! HTTP in front of the component.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use token_broker_host::log_line;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::instance::App;

/// Accept connections until `end`, then answer what has been asked and return.
pub(crate) async fn serve(listener: TcpListener, app: Arc<App>, end: impl Future<Output = ()>) {
    let (connections, instances) = (GracefulShutdown::new(), Arc::new(Semaphore::new(MAX_INSTANCES)));
    let mut end = std::pin::pin!(end);
    loop {
        tokio::select! {
            () = &mut end => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => spawn(&connections, stream, Arc::clone(&app), Arc::clone(&instances)),
                // A client that went away, or no descriptor left: both pass.
                Err(error) => {
                    log_line(&format!("cannot accept a connection: {error}"));
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
    // A client that does not read its answer must not keep this from ending.
    _ = tokio::time::timeout(GRACE, connections.shutdown()).await;
}

fn spawn(connections: &GracefulShutdown, stream: TcpStream, app: Arc<App>, instances: Arc<Semaphore>) {
    let service = service_fn(move |_| answer(Arc::clone(&app), Arc::clone(&instances)));
    let connection =
        http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
    // A client that goes away is no concern of the others.
    tokio::spawn(connections.watch(connection));
}

/// Whatever the request, a fresh instance, as soon as there is room for one.
async fn answer(app: Arc<App>, instances: Arc<Semaphore>) -> Result<Response<Full<Bytes>>, Infallible> {
    let _room = instances.acquire().await;
    let (status, text) = match app.run().await {
        Ok(Ok(stdout)) => (StatusCode::OK, stdout),
        Ok(Err(stderr)) => (StatusCode::BAD_GATEWAY, stderr),
        Err(trap) => {
            log_line(&format!("the component trapped: {trap:#}"));
            (StatusCode::INTERNAL_SERVER_ERROR, "the component trapped\n".to_owned())
        }
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    Ok(response)
}

/// Each may use as much memory as `instance.rs` allows it.
const MAX_INSTANCES: usize = 64;
const PAUSE: Duration = Duration::from_millis(100);
/// For what is under way at the end.
const GRACE: Duration = Duration::from_secs(10);
