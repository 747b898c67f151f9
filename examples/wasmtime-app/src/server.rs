//! HTTP in front of the component.

use std::convert::Infallible;
use std::sync::Arc;

use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use wasmtime::Result;

use crate::instance::App;

/// Accept connections for ever.
pub(crate) async fn serve(listener: TcpListener, app: Arc<App>) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let app = Arc::clone(&app);
        tokio::spawn(async move {
            let service = service_fn(|_| answer(&app));
            // A client that goes away is no concern of the others.
            _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// Whatever the request, a fresh instance.
async fn answer(app: &App) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, text) = match app.run().await {
        Ok(Ok(stdout)) => (StatusCode::OK, stdout),
        Ok(Err(stderr)) => (StatusCode::BAD_GATEWAY, stderr),
        Err(trap) => {
            eprintln!("the component trapped: {trap:#}");
            (StatusCode::INTERNAL_SERVER_ERROR, "the component trapped\n".to_owned())
        }
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    Ok(response)
}
