//! One HTTP exchange: one connection, one request, no redirects, every step within its time.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use http::uri::Scheme;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::timeout;
use wasmtime_wasi_http::RequestOptions;

use crate::log::Log;
use crate::network::connect::Network;
use crate::network::http::{HttpError, Sent, WasiBody};
use crate::network::proxy::Proxies;
use crate::network::tls::{self, Tls};
use crate::network::tunnel;

/// The time limits of an exchange.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    /// Until the connection is established, TLS included.
    connect: Duration,
    /// From the request to the head of its answer.
    first_byte: Duration,
    /// Between two parts of the answer's body.
    between_bytes: Duration,
}

/// The ways to a server, as one kind of sender has them.
#[derive(Clone)]
pub(crate) struct Ways {
    pub(crate) network: Network,
    pub(crate) proxies: Proxies,
    pub(crate) tls: Arc<Tls>,
}

/// Send a request and wait for the head of its answer.
pub(crate) async fn send(request: Request<WasiBody>, times: Times, ways: Ways, log: Log) -> Sent {
    let connecting = connect(request.uri(), &ways, &log);
    let connection = timeout(times.connect, connecting).await.map_err(|_| HttpError::ConnectionTimeout)??;
    exchange(connection, request, times).await
}

async fn connect(uri: &Uri, ways: &Ways, log: &Log) -> Result<Box<dyn Connection>, HttpError> {
    let Ways { network, proxies, tls } = ways;
    let connection: Box<dyn Connection> = match proxies.of(uri).filter(|_| tls.private_server(uri).is_none())
    {
        Some(proxy) => tunnel::open(uri, proxy, tls, log).await?,
        None => Box::new(network.connect(uri, log).await?),
    };
    if uri.scheme() != Some(&Scheme::HTTPS) {
        return Ok(connection);
    }
    match tls.secure(uri, connection).await {
        Ok(connection) => Ok(Box::new(connection)),
        Err(error) => {
            let (error, why) = tls.error(uri, &error);
            let server = format!("{}:{}", uri.host().unwrap_or_default(), tls::port(uri));
            log.event("no secure connection", &format!("{server}: nothing was sent: {why}"));
            Err(error)
        }
    }
}

async fn exchange(connection: Box<dyn Connection>, request: Request<WasiBody>, times: Times) -> Sent {
    let (mut sender, connection) = http1::handshake(TokioIo::new(connection)).await?;
    // A caller that stops waiting drops the set, and with it the connection.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let sending = sender.send_request(to_origin(request)?);
    let response =
        timeout(times.first_byte, sending).await.map_err(|_| HttpError::ConnectionReadTimeout)??;
    let driven = async move {
        match driver.join_next().await {
            Some(Ok(Err(error))) => Err(error.into()),
            _ => Ok(()),
        }
    };
    Ok((in_time(response, times.between_bytes), Box::new(driven)))
}

/// The request line for a server, as opposed to a proxy; the header `host` is set already.
fn to_origin(mut request: Request<WasiBody>) -> Result<Request<WasiBody>, HttpError> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse().map_err(|_| HttpError::HttpRequestUriInvalid)?;
    Ok(request)
}

/// A body that fails when no part of it arrives for a while.
fn in_time(response: Response<Incoming>, between_bytes: Duration) -> Response<WasiBody> {
    response.map(|body| {
        let frames = stream::try_unfold(body, move |mut body| async move {
            let frame = timeout(between_bytes, body.frame()).await;
            let frame = frame.map_err(|_| HttpError::ConnectionReadTimeout)?.transpose()?;
            Ok(frame.map(|frame| (frame, body)))
        });
        StreamBody::new(frames).boxed_unsync()
    })
}

pub(crate) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<C: AsyncRead + AsyncWrite + Send + Unpin> Connection for C {}

impl From<Option<RequestOptions>> for Times {
    fn from(wanted: Option<RequestOptions>) -> Self {
        let wanted = wanted.unwrap_or_default();
        Self {
            connect: bounded(wanted.connect_timeout, CONNECT),
            first_byte: bounded(wanted.first_byte_timeout, FIRST_BYTE),
            between_bytes: bounded(wanted.between_bytes_timeout, BETWEEN_BYTES),
        }
    }
}

/// Guest-controlled: none would mean for ever.
fn bounded(wanted: Option<Duration>, default: Duration) -> Duration {
    wanted.unwrap_or(default).clamp(Duration::from_millis(1), LONGEST)
}

const CONNECT: Duration = Duration::from_secs(10);
const FIRST_BYTE: Duration = Duration::from_secs(30);
const BETWEEN_BYTES: Duration = Duration::from_secs(10);
/// The longest that the broker's own configuration accepts for one try.
const LONGEST: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_is_zero_or_endless() {
        assert_eq!(bounded(Some(Duration::ZERO), CONNECT), Duration::from_millis(1));
        assert_eq!(bounded(Some(Duration::MAX), CONNECT), LONGEST);
        assert_eq!(bounded(None, CONNECT), CONNECT);
    }
}
