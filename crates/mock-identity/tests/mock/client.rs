//! A client so plain that nothing hides what is on the wire.

use std::{collections::BTreeMap, io};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use mock_identity::{Mock, MockConfig, TokenClaims};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

pub(crate) struct Received {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    /// The same as they came, by lower-case name
    pub(crate) fields: Vec<(String, String)>,
    /// Without the frames of chunks
    pub(crate) body: Vec<u8>,
    /// Whether the body came to its end
    pub(crate) whole: bool,
}

impl Received {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

pub(crate) async fn mock() -> Mock {
    Mock::start(MockConfig::default()).await.unwrap()
}

pub(crate) async fn imds(mock: &Mock, parameters: &[(&str, &str)]) -> Received {
    get(mock, &imds_target(parameters), &METADATA).await
}

pub(crate) fn imds_target(parameters: &[(&str, &str)]) -> String {
    let more: String = parameters.iter().map(|(name, value)| format!("&{name}={value}")).collect();
    format!("/metadata/identity/oauth2/token?api-version=2018-02-01&resource={VAULT}{more}")
}

pub(crate) async fn app_service(mock: &Mock, parameters: &[(&str, &str)]) -> Received {
    let more: String = parameters.iter().map(|(name, value)| format!("&{name}={value}")).collect();
    let target = format!("/msi/token?api-version=2019-08-01&resource={VAULT}{more}");
    get(mock, &target, &[("X-IDENTITY-HEADER", &identity_header(mock))]).await
}

pub(crate) fn identity_header(mock: &Mock) -> String {
    mock.config().app_service.identity_header.clone()
}

pub(crate) async fn token(mock: &Mock, audience: &str) -> String {
    let target = format!("/metadata/identity/oauth2/token?api-version=2018-02-01&resource={audience}");
    text(&get(mock, &target, &METADATA).await.json(), "access_token").to_owned()
}

/// The claims of the token for a vault that an answer carries
pub(crate) fn verified(mock: &Mock, answer: &Received) -> TokenClaims {
    mock.verify(text(&answer.json(), "access_token"), VAULT).unwrap()
}

/// The claims of a token, unverified
pub(crate) fn claims(token: &str) -> Value {
    let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&claims).unwrap()
}

pub(crate) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} is no string in {value}"))
}

pub(crate) async fn get(mock: &Mock, target: &str, headers: &[(&str, &str)]) -> Received {
    send(mock, "GET", target, headers, "").await.unwrap()
}

pub(crate) async fn send(
    mock: &Mock,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> io::Result<Received> {
    receive(&mut open(mock, method, target, headers, body).await?).await
}

pub(crate) async fn post(mock: &Mock, target: &str, headers: &[(&str, &str)], body: &str) -> Received {
    send(mock, "POST", target, headers, body).await.unwrap()
}

/// Fields as a form writes them
pub(crate) fn form(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

pub(crate) async fn open(
    mock: &Mock,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> io::Result<TcpStream> {
    let address = mock.url().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await?;
    // A server that refuses early may close before it has read all.
    let _ = stream.write_all(&request(address, method, target, headers, body.as_bytes())).await;
    Ok(stream)
}

pub(crate) fn request(
    host: &str,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Vec<u8> {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    let (framing, body) = if headers.contains(CHUNKS.0) {
        (String::new(), [format!("{length:x}\r\n").as_bytes(), body, b"\r\n0\r\n\r\n"].concat())
    } else {
        (format!("content-length: {length}\r\n"), body.to_vec())
    };
    let head =
        format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{framing}{headers}\r\n");
    [head.as_bytes(), &body].concat()
}

pub(crate) async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Received> {
    let mut raw = Vec::new();
    stream.read_to_end(&mut raw).await?;
    let end = raw.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(raw[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let fields = lines.map(|line| line.split_once(": ").unwrap());
    let fields: Vec<_> = fields.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    let headers: BTreeMap<_, _> = fields.iter().cloned().collect();
    let (body, whole) = match (headers.get("transfer-encoding"), headers.get("content-length")) {
        (Some(_), _) => dechunked(&raw[end + 4..]),
        (None, Some(length)) => (raw[end + 4..].to_vec(), raw[end + 4..].len().to_string() == *length),
        (None, None) => (raw[end + 4..].to_vec(), true),
    };
    Ok(Received { status, headers, fields, body, whole })
}

/// What is in the chunks, and whether the last one is among them
fn dechunked(mut raw: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(end) = raw.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&raw[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return (body, true);
        }
        body.extend(&raw[end + 2..][..size]);
        raw = &raw[end + 2 + size + 2..];
    }
    (body, false)
}

/// Search all that a test can see of the log
pub(crate) fn assert_log_is_without(mock: &Mock, secrets: &[&str]) {
    let seen = format!("{:?} {}", mock.requests(), serde_json::to_string(&mock.requests()).unwrap());
    for secret in secrets {
        assert!(!seen.contains(secret), "{secret} is in the log: {seen}");
    }
}

pub(crate) const METADATA: [(&str, &str); 1] = [("Metadata", "true")];
/// In the place of `Content-Length`
pub(crate) const CHUNKS: (&str, &str) = ("Transfer-Encoding", "chunked");
pub(crate) const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
pub(crate) const VAULT: &str = "https://vault.azure.net";
pub(crate) const SECRET: &str = "/secrets/MySecret?api-version=7.6";
pub(crate) const SYSTEM: &str = "00001111-aaaa-2222-bbbb-3333cccc4444";
