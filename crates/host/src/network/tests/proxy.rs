//! Tests with a proxy of this process between the broker and an https server.

use test_support::proxy::{Does, TestProxy};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::server::{Server, certified};
use super::{HELLO, Outside, fabric, is_certificate};
use crate::environment::Environment;
use crate::network::http::HttpError;
use crate::network::trusted_roots::TrustedRoots;

/// A server, the proxy that leads to it, and the broker's requests, which trust the server's certificate.
async fn behind_a_proxy(name: &str) -> (Server, TestProxy, Outside) {
    let server = Server::named(name, HELLO).await;
    let proxy = TestProxy::start(Does::Lead(server.port)).await;
    let roots = TrustedRoots::from_pem(&server.pem).unwrap();
    let outside = Outside::new(&Environment::default(), roots).behind(&[("HTTPS_PROXY", &proxy.address())]);
    (server, proxy, outside)
}

async fn proxy_with_tls(does: Does, tls: TlsAcceptor) -> TestProxy {
    TestProxy::accepting(does, move |connection| {
        let tls = tls.clone();
        async move { tls.accept(connection).await }
    })
    .await
}

#[tokio::test]
async fn an_https_request_goes_through_the_proxy_which_sees_the_name_and_the_port_alone() {
    let (server, proxy, mut outside) = behind_a_proxy("login.test").await;
    assert_eq!(outside.get(&server.url("/t/token?a=b")).await.unwrap(), (200, "hello".to_owned()));
    let name = format!("login.test:{}", server.port);
    assert_eq!(proxy.requests(), [format!("CONNECT {name} HTTP/1.1\r\nhost: {name}\r\n\r\n")]);
    let requests = server.requests();
    assert!(requests[0].starts_with("GET /t/token?a=b HTTP/1.1\r\n"), "{requests:?}");
    assert!(!requests[0].to_lowercase().contains("proxy"), "{requests:?}");
}

#[tokio::test]
async fn the_server_behind_the_proxy_must_have_a_certificate_for_its_own_name() {
    let (server, proxy, mut outside) = behind_a_proxy("login.test").await;
    let other_name = server.url("/").replace("login.test", "login.example");
    assert!(is_certificate(&outside.get(&other_name).await));
    assert_eq!((server.requests().len(), proxy.requests().len()), (0, 1));
}

#[tokio::test]
async fn user_and_password_go_to_the_proxy_and_to_nobody_else() {
    let (server, proxy, outside) = behind_a_proxy("login.test").await;
    let address = proxy.address().replace("http://", "http://user:p%40s@");
    let mut outside = outside.behind(&[("HTTPS_PROXY", &address)]);
    outside.get(&server.url("/")).await.unwrap();
    // `user:p@s`.
    assert!(
        proxy.requests()[0].contains("proxy-authorization: Basic dXNlcjpwQHM=\r\n"),
        "{:?}",
        proxy.requests()
    );
    assert!(!server.requests()[0].contains("dXNlcjpwQHM"), "{:?}", server.requests());
}

#[tokio::test]
async fn a_proxy_may_be_reached_by_tls() {
    let (config, certificate) = certified("localhost");
    let server = Server::named("login.test", HELLO).await;
    let proxy = proxy_with_tls(Does::Lead(server.port), TlsAcceptor::from(config)).await;
    let address = format!("https://localhost:{}", proxy.port());
    let trusting = |pems: &str| {
        let roots = TrustedRoots::from_pem(pems).unwrap();
        Outside::new(&Environment::default(), roots).behind(&[("HTTPS_PROXY", &address)])
    };
    let both = format!("{}{}", server.pem, certificate.pem());
    assert_eq!(trusting(&both).get(&server.url("/")).await.unwrap().0, 200);
    let mut outside = trusting(&server.pem);
    assert!(words(outside.get(&server.url("/")).await).contains("has no secure connection"));
    assert_eq!((proxy.requests().len(), server.requests().len()), (1, 1));
}

#[tokio::test]
async fn plain_http_local_addresses_pinned_servers_and_exceptions_are_reached_directly() {
    let server = Server::start(HELLO).await;
    let dead = [("HTTPS_PROXY", "http://127.0.0.1:9"), ("ALL_PROXY", "http://127.0.0.1:9")];
    let roots = TrustedRoots::from_pem(&server.pem).unwrap();
    let mut outside = Outside::new(&Environment::default(), roots).behind(&dead);
    assert_eq!(outside.get(&server.url("/")).await.unwrap().0, 200);
    let mut pinned = Outside::pinned(&server.url("/token"), &server.thumbprint).behind(&dead);
    assert_eq!(pinned.get(&server.url("/token")).await.unwrap().0, 200);
    // Of a pinned server that is not local, the proxy hears nothing.
    let proxy = TestProxy::start(Does::Lead(server.port)).await;
    let pin = fabric("https://fabric.invalid:2377/token", &server.thumbprint);
    let mut pinned = Outside::new(&pin, TrustedRoots::default()).behind(&[("HTTPS_PROXY", &proxy.address())]);
    assert!(pinned.get("https://fabric.invalid:2377/token").await.is_err());
    let mut excepted = Outside::new(&Environment::default(), TrustedRoots::default())
        .behind(&[("HTTPS_PROXY", &proxy.address()), ("NO_PROXY", "login.invalid")]);
    assert!(excepted.get("https://login.invalid/").await.is_err());
    assert_eq!(proxy.requests().len(), 0);
}

#[tokio::test]
async fn a_proxy_that_wants_other_credentials_is_asked_once_and_the_log_says_so_without_them() {
    for (user, why) in
        [("", "wants a user and a password"), ("user:sentinel@", "does not accept the user and the password")]
    {
        let says = "HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\ncontent-length: 0\r\n\r\n";
        let proxy = TestProxy::start(Does::Say(says.to_owned())).await;
        let address = format!("http://{user}127.0.0.1:{}", proxy.port());
        let mut outside = Outside::new(&Environment::default(), TrustedRoots::default())
            .behind(&[("HTTPS_PROXY", &address)]);
        let answer = outside.get("https://login.test/").await;
        assert!(matches!(answer, Err(HttpError::ConfigurationError)), "{answer:?}");
        let log = outside.log();
        assert!(log.contains(why) && log.contains("HTTPS_PROXY") && log.contains("; fix: "), "{log}");
        assert!(!log.contains("sentinel"), "{log}");
        assert_eq!(proxy.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_proxy_that_fails_is_named_and_the_server_is_not_asked_directly() {
    let server = Server::named("login.test", HELLO).await;
    let huge = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(1 << 20));
    for (says, why) in [
        ("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n", "answered 502 to CONNECT"),
        ("HTTP/1.1 302 Found\r\nlocation: https://login.test\r\ncontent-length: 0\r\n\r\n", "answered 302"),
        ("SSH-2.0-OpenSSH_9.2\r\n", "gave no answer to CONNECT"),
        (&huge, "gave no answer to CONNECT"),
    ] {
        let proxy = TestProxy::start(Does::Say(says.to_owned())).await;
        let mut outside = Outside::new(&Environment::default(), TrustedRoots::default())
            .behind(&[("HTTPS_PROXY", &proxy.address())]);
        let words = words(outside.get(&server.url("/")).await);
        let named = format!("the proxy {} (HTTPS_PROXY) {why}", proxy.address());
        assert!(words.contains(&named), "{words}");
    }
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut outside = Outside::new(&Environment::default(), TrustedRoots::default())
        .behind(&[("ALL_PROXY", &closed.to_string())]);
    let words = words(outside.get(&server.url("/")).await);
    assert!(words.contains(&format!("the proxy http://{closed} (ALL_PROXY) cannot be reached")), "{words}");
    assert_eq!(server.requests().len(), 0);
}

#[tokio::test]
async fn a_proxy_that_is_silent_is_given_up_within_the_time_to_connect() {
    let proxy = TestProxy::start(Does::Say(String::new())).await;
    tokio::time::pause();
    let mut outside = Outside::new(&Environment::default(), TrustedRoots::default())
        .behind(&[("HTTPS_PROXY", &proxy.address())]);
    assert!(matches!(outside.get("https://login.test/").await, Err(HttpError::ConnectionTimeout)));
}

fn words<T: std::fmt::Debug>(answer: Result<T, HttpError>) -> String {
    match answer {
        Err(HttpError::InternalError(Some(words))) => words,
        other => panic!("{other:?}"),
    }
}
