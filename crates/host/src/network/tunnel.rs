//! A connection through a proxy: the method CONNECT (RFC 9110, 9.3.6).

use bytes::Bytes;
use http::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use http::uri::Scheme;
use http::{Request, StatusCode, Uri};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;

use crate::log::Log;
use crate::network::connect::Network;
use crate::network::exchange::Connection;
use crate::network::http::HttpError;
use crate::network::proxy::Proxy;
use crate::network::tls::{Tls, port};

/// A connection to the server of a URL. The proxy sees its host and port.
pub(crate) async fn open(
    uri: &Uri,
    proxy: &Proxy,
    tls: &Tls,
    log: &Log,
) -> Result<Box<dyn Connection>, HttpError> {
    let unreachable = |error: HttpError| failed(proxy, &format!("cannot be reached: {error}"), log);
    let connection = Network::of_proxy().connect(proxy.uri(), log).await.map_err(unreachable)?;
    if proxy.uri().scheme() != Some(&Scheme::HTTPS) {
        return connect(uri, proxy, connection, log).await;
    }
    let connection = tls.secure(proxy.uri(), connection).await;
    let connection =
        connection.map_err(|error| failed(proxy, &format!("has no secure connection: {error}"), log))?;
    connect(uri, proxy, connection, log).await
}

async fn connect(
    uri: &Uri,
    proxy: &Proxy,
    connection: impl Connection + 'static,
    log: &Log,
) -> Result<Box<dyn Connection>, HttpError> {
    let broken = |error: hyper::Error| failed(proxy, &format!("gave no answer to CONNECT: {error}"), log);
    let (mut sender, connection) = http1::handshake(TokioIo::new(connection)).await.map_err(broken)?;
    // A caller that stops waiting drops the set, and with it the connection.
    let mut driver = JoinSet::new();
    driver.spawn(connection.with_upgrades());
    let response = sender.send_request(request(uri, proxy)?).await.map_err(broken)?;
    match response.status() {
        status if status.is_success() => {
            let upgraded = hyper::upgrade::on(response).await.map_err(broken)?;
            Ok(Box::new(TokioIo::new(upgraded)))
        }
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            let why = match proxy.credentials() {
                Some(_) => "does not accept the user and the password",
                None => "wants a user and a password",
            };
            log.event(
                "no connection through the proxy",
                &format!("{proxy} {why}; fix: set the variable to http://user:password@host:port, in percent-encoding"),
            );
            Err(HttpError::ConfigurationError)
        }
        status => Err(failed(proxy, &format!("answered {} to CONNECT", status.as_u16()), log)),
    }
}

fn request(uri: &Uri, proxy: &Proxy) -> Result<Request<Empty<Bytes>>, HttpError> {
    let server = format!("{}:{}", uri.host().unwrap_or_default(), port(uri));
    let host = HeaderValue::try_from(&server).map_err(|_| HttpError::HttpRequestUriInvalid)?;
    let mut request =
        Request::connect(server).body(Empty::new()).map_err(|_| HttpError::HttpRequestUriInvalid)?;
    request.headers_mut().insert(HOST, host);
    if let Some(credentials) = proxy.credentials() {
        request.headers_mut().insert(PROXY_AUTHORIZATION, credentials.clone());
    }
    Ok(request)
}

/// The error that the guest gets and repeats; it is worth another try.
fn failed(proxy: &Proxy, why: &str, log: &Log) -> HttpError {
    let why = format!("the proxy {proxy} {why}");
    log.event("no connection through the proxy", &why);
    HttpError::InternalError(Some(why))
}
