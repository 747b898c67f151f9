//! Tests of what leaves for an https server, and of what does not, with a server of this process.

mod proxy;
mod server;
mod token_proxy;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use wasmtime_wasi_http::{RequestOptions, WasiHttpHooks as _};

use crate::environment::Environment;
use crate::log::Log;
use crate::network::connect::Network;
use crate::network::exchange::Ways;
use crate::network::hooks::Hooks;
use crate::network::http::HttpError;
use crate::network::policy::{Decision, DefaultHttpPolicy, HttpPolicy};
use crate::network::proxy::Proxies;
use crate::network::proxy::tests::proxies;
use crate::network::tls::Tls;
use crate::network::trusted_roots::TrustedRoots;
use server::Server;

/// What a broker's requests go through.
struct Outside {
    hooks: Hooks,
    log: Arc<Mutex<String>>,
}

impl Outside {
    fn new(environment: &Environment, roots: TrustedRoots) -> Self {
        Self::with_policy(environment, roots, DefaultHttpPolicy)
    }

    /// As on Service Fabric, with the thumbprint of its certificate.
    fn pinned(endpoint: &str, thumbprint: &str) -> Self {
        Self::new(&fabric(endpoint, thumbprint), TrustedRoots::default())
    }

    fn with_policy(environment: &Environment, roots: TrustedRoots, policy: impl HttpPolicy) -> Self {
        let log = Arc::new(Mutex::new(String::new()));
        let lines = Arc::clone(&log);
        let hooks = Hooks {
            policy: Arc::new(policy),
            ways: Ways {
                network: Network::of_broker(),
                proxies: Proxies::default(),
                tls: Arc::new(Tls::new(environment, roots).unwrap()),
            },
            log: Log::new(move |line| *lines.lock().unwrap() += line),
        };
        Self { hooks, log }
    }

    /// The same behind a proxy.
    fn behind(mut self, variables: &[(&str, &str)]) -> Self {
        self.hooks.ways.proxies = proxies(variables).unwrap();
        self
    }

    /// The status and the body.
    async fn get(&mut self, url: &str) -> Result<(u16, String), HttpError> {
        let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
        let request = http::Request::get(url).header("host", "h").header("secret", "s").body(body).unwrap();
        let options = RequestOptions {
            connect_timeout: Some(Duration::from_secs(5)),
            first_byte_timeout: Some(SOON),
            between_bytes_timeout: Some(SOON),
        };
        let sent = self.hooks.send_request(request, Some(options), Box::new(async { Ok(()) }));
        let (response, driver) = Box::into_pin(sent).await?;
        let driver = tokio::spawn(Box::into_pin(driver));
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.map(|body| body.to_bytes());
        driver.abort();
        Ok((status, String::from_utf8(body?.to_vec()).unwrap()))
    }

    fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }
}

/// The variables of Service Fabric.
fn fabric(endpoint: &str, thumbprint: &str) -> Environment {
    Environment::default()
        .with("IDENTITY_ENDPOINT", endpoint)
        .with("IDENTITY_HEADER", "s")
        .with("IDENTITY_SERVER_THUMBPRINT", thumbprint)
}

fn is_certificate<T>(outcome: &Result<T, HttpError>) -> bool {
    matches!(outcome, Err(HttpError::TlsCertificateError))
}

#[tokio::test]
async fn a_server_with_the_pinned_certificate_is_asked_however_the_thumbprint_is_spelled() {
    let server = Server::start(HELLO).await;
    let pairs: Vec<_> = server.thumbprint.as_bytes().chunks(2).map(String::from_utf8_lossy).collect();
    for thumbprint in [server.thumbprint.clone(), pairs.join(":"), pairs.join(" ").to_lowercase()] {
        let mut outside = Outside::pinned(&server.url("/token"), &thumbprint);
        let answer = outside.get(&server.url("/token?resource=r")).await.unwrap();
        assert_eq!(answer, (200, "hello".to_owned()), "{thumbprint}");
    }
    let requests = server.requests();
    assert_eq!(requests.len(), 3);
    assert!(requests[0].starts_with("GET /token?resource=r HTTP/1.1\r\n"), "{}", requests[0]);
}

#[tokio::test]
async fn a_server_with_another_certificate_is_sent_nothing_and_the_log_has_both_thumbprints() {
    let (server, other) = (Server::start(HELLO).await, Server::start(HELLO).await);
    let mut outside = Outside::pinned(&server.url("/token"), &other.thumbprint);
    assert!(is_certificate(&outside.get(&server.url("/token")).await));
    assert_eq!(server.requests().len(), 0);
    let log = outside.log();
    assert!(log.contains(&server.thumbprint) && log.contains(&other.thumbprint), "{log}");
}

#[tokio::test]
async fn a_pinned_certificate_is_not_replaced_by_one_that_an_authority_vouches_for() {
    let (server, other) = (Server::start(HELLO).await, Server::start(HELLO).await);
    let roots = TrustedRoots::from_pem(&server.pem).unwrap();
    let mut outside = Outside::new(&fabric(&server.url("/token"), &other.thumbprint), roots);
    assert!(is_certificate(&outside.get(&server.url("/token")).await));
    assert_eq!(server.requests().len(), 0);
}

#[tokio::test]
async fn a_pin_holds_for_its_origin_alone() {
    let (server, other) = (Server::start(HELLO).await, Server::start(HELLO).await);
    let mut outside = Outside::pinned(&other.url("/token"), &server.thumbprint);
    assert!(is_certificate(&outside.get(&server.url("/token")).await), "another port has no pin");
    let by_address = server.url("/token").replace("localhost", "127.0.0.1");
    let mut outside = Outside::pinned(&by_address, &server.thumbprint);
    assert!(is_certificate(&outside.get(&server.url("/token")).await), "another name has no pin");
    outside.get(&by_address).await.unwrap();
    assert_eq!((server.requests().len(), other.requests().len()), (1, 0));
}

#[tokio::test]
async fn the_policy_decides_before_the_pin() {
    let server = Server::start(HELLO).await;
    let nothing = |_: &http::request::Parts| Decision::Refuse("closed".to_owned());
    let environment = fabric(&server.url("/token"), &server.thumbprint);
    let mut outside = Outside::with_policy(&environment, TrustedRoots::default(), nothing);
    assert!(matches!(outside.get(&server.url("/token")).await, Err(HttpError::HttpRequestDenied)));
    assert_eq!(server.requests().len(), 0);
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_nobody_follows_it() {
    let target = Server::start(HELLO).await;
    let says =
        format!("HTTP/1.1 302 Found\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", target.url("/elsewhere"));
    let server = Server::start(&says).await;
    let mut outside = Outside::pinned(&server.url("/token"), &server.thumbprint);
    assert_eq!(outside.get(&server.url("/token")).await.unwrap(), (302, String::new()));
    assert_eq!((server.requests().len(), target.requests().len()), (1, 0));
}

#[tokio::test]
async fn a_server_of_an_unknown_authority_is_sent_nothing_and_the_log_says_why() {
    let server = Server::start(HELLO).await;
    let mut outside = Outside::new(&Environment::default(), TrustedRoots::default());
    assert!(is_certificate(&outside.get(&server.url("/")).await));
    assert_eq!(server.requests().len(), 0);
    let log = outside.log();
    assert!(log.contains("UnknownIssuer") && log.contains("localhost:"), "{log}");
}

#[tokio::test]
async fn a_server_of_an_added_authority_is_asked_under_the_names_of_its_certificate() {
    let server = Server::start(HELLO).await;
    let roots = TrustedRoots::from_pem(&server.pem).unwrap();
    let mut outside = Outside::new(&Environment::default(), roots);
    assert_eq!(outside.get(&server.url("/")).await.unwrap().0, 200);
    let another_name = server.url("/").replace("localhost", "127.0.0.1");
    assert!(is_certificate(&outside.get(&another_name).await));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn roots_may_be_in_a_file_and_what_holds_none_is_refused_by_its_name() {
    let server = Server::start(HELLO).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    for broken in ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        std::fs::write(file.path(), broken).unwrap();
        let error = TrustedRoots::from_file(file.path()).unwrap_err().to_string();
        assert!(error.contains(file.path().to_str().unwrap()), "{error}");
    }
    std::fs::write(file.path(), &server.pem).unwrap();
    let roots = TrustedRoots::from_file(file.path()).unwrap();
    Outside::new(&Environment::default(), roots).get(&server.url("/")).await.unwrap();
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls_is_a_fault_of_the_protocol() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let plain = tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut connection, HELLO.as_bytes()).await.unwrap();
        connection
    });
    let mut outside = Outside::new(&Environment::default(), TrustedRoots::default());
    assert!(matches!(outside.get(&url).await, Err(HttpError::TlsProtocolError)));
    drop(plain.await);
}

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up_wherever_it_does() {
    for says in ["", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel"] {
        let server = Server::start(says).await;
        let mut outside = Outside::pinned(&server.url("/"), &server.thumbprint);
        let answer = outside.get(&server.url("/")).await;
        assert!(matches!(answer, Err(HttpError::ConnectionReadTimeout)), "{says}");
    }
}

#[tokio::test]
async fn a_server_that_never_shakes_hands_is_given_up_within_the_time_to_connect() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    tokio::time::pause();
    let mut outside = Outside::new(&Environment::default(), TrustedRoots::default());
    assert!(matches!(outside.get(&url).await, Err(HttpError::ConnectionTimeout)));
}

const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
const SOON: Duration = Duration::from_millis(200);
