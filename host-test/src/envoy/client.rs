//! A client that opens a connection for each request.

use std::net::SocketAddr;

use anyhow::Result;
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

/// What came back
#[derive(Clone, Debug)]
pub struct Response {
    /// The status
    pub status: u16,
    /// The headers
    pub headers: HeaderMap,
    /// The body
    pub body: Bytes,
}

impl Response {
    /// The body as text
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header as text; empty if there is none
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// Ask for a path
///
/// # Errors
/// When there is no answer.
pub async fn get(address: SocketAddr, path: &str) -> Result<Response> {
    send(address, Request::get(path).body(Bytes::new())?).await
}

/// Send a request; its `Host` is the address, if it has none
///
/// # Errors
/// When there is no answer.
pub async fn send(address: SocketAddr, mut request: Request<Bytes>) -> Result<Response> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(TcpStream::connect(address).await?)).await?;
    let host = address.to_string().parse()?;
    request.headers_mut().entry(http::header::HOST).or_insert(host);
    let exchange = async { read(sender.send_request(request.map(Full::new)).await?).await };
    // Dropping this hangs up.
    tokio::select! {
        response = exchange => response,
        Err(error) = connection => Err(error.into()),
    }
}

/// Send a request over HTTP/2 without TLS; its authority is the address
///
/// # Errors
/// When there is no answer.
pub async fn send_http2(address: SocketAddr, mut request: Request<Bytes>) -> Result<Response> {
    let stream = TokioIo::new(TcpStream::connect(address).await?);
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
    *request.uri_mut() = format!("http://{address}/").parse()?;
    let exchange = async { read(sender.send_request(request.map(Full::new)).await?).await };
    tokio::select! {
        response = exchange => response,
        Err(error) = connection => Err(error.into()),
    }
}

async fn read(response: http::Response<Incoming>) -> Result<Response> {
    let (parts, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Response { status: parts.status.as_u16(), headers: parts.headers, body })
}
