//! Requests with every kind of body, sent by the bindings of Spin's SDK through the injector.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use futures_util::future::join_all;
use host_test::serve::{Reuse, Server};
use host_test::spin::app::App;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use mock_identity::{Endpoint, Mock, MockConfig};
use tokio::net::TcpListener;

/// One instance, for all of them.
const ONE: Reuse =
    Reuse { requests: usize::MAX, concurrent: usize::MAX, idle: std::time::Duration::from_secs(3600) };
/// So many requests to the handler, each of which sends as many: 64.
const AT_ONCE: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn every_body_arrives_whole_with_every_method() {
    let stage = Stage::start(Reuse { concurrent: 4, ..Reuse::default() }).await;
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "POST", "PUT", "PATCH"] {
        let has_none = matches!(method, "GET" | "HEAD");
        for (body, length) in [("none", 0), ("text", 5), ("ended", 0), ("slow", 5), ("0", 0), ("10", 0)] {
            let length = if has_none { 0 } else { length };
            let answer = if method == "HEAD" { "200 ".to_owned() } else { format!("200 {length}") };
            for answers in stage.send(method, body).await {
                assert_eq!(answers, vec![answer.clone(); AT_ONCE], "{method} {body}");
            }
        }
    }
    stage.check();
}

/// Around the time that the injector waits for a first byte, most of all.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_body_may_end_at_any_moment_in_an_instance_that_serves_others() {
    let stage = Stage::start(ONE).await;
    for method in ["GET", "DELETE", "OPTIONS", "POST"] {
        for milliseconds in [0, 1, 5, 8, 9, 10, 11, 12, 20] {
            for answers in stage.send(method, &milliseconds.to_string()).await {
                assert_eq!(answers, vec!["200 0"; AT_ONCE], "{method} {milliseconds} ms");
            }
        }
    }
    stage.check();
}

struct Stage {
    mock: Mock,
    app: App,
    service: String,
    served: Arc<AtomicUsize>,
    sent: AtomicUsize,
}

impl Stage {
    async fn start(reuse: Reuse) -> Self {
        let mock = Mock::start(MockConfig::default()).await.unwrap();
        let (service, served) = measuring().await;
        let rule = ("TOKEN_BROKER_INJECT", format!("{service}=https://vault.azure.net"));
        let environment = mock.env(Endpoint::Imds).into_iter().chain([rule]);
        let environment: String = environment.map(|(name, value)| format!("{name} = '{value}'\n")).collect();
        let manifest = format!(
            "[variables]\n[[trigger.http]]\nroute = '{ROUTE}'\ncomponent = 'sender'\n[component.sender]\n\
             allowed_outbound_hosts = ['{service}', '{}']\n[component.sender.environment]\n{environment}",
            mock.url()
        );
        let app = App::start(&manifest, &[], reuse).await.unwrap();
        Self { mock, app, service, served, sent: AtomicUsize::new(0) }
    }

    fn server(&self) -> &Server {
        self.app.server(ROUTE).unwrap()
    }

    /// What as many requests to the handler brought, each of which sends as many.
    async fn send(&self, method: &str, body: &str) -> Vec<Vec<String>> {
        self.sent.fetch_add(AT_ONCE * AT_ONCE, Relaxed);
        let path = format!("/{method}/{body}/{AT_ONCE}?{}/", self.service);
        let answers = join_all((0..AT_ONCE).map(|_| self.server().get(&path))).await;
        let lines = |(status, body): (u16, String)| {
            assert_eq!(status, 200, "{body}");
            body.split('\n').map(str::to_owned).collect()
        };
        answers.into_iter().map(|answer| lines(answer.unwrap())).collect()
    }

    /// Each request has arrived once, and no instance has fetched twice.
    fn check(&self) {
        assert_eq!(self.server().traps(), Vec::<String>::new());
        assert_eq!(self.served.load(Relaxed), self.sent.load(Relaxed));
        let fetches = self.mock.counters().of(Endpoint::Imds).requests;
        assert!((1..=self.server().instances() as u64).contains(&fetches), "{fetches}");
        assert!(!self.app.log().contains(crate::TOKEN));
    }
}

const ROUTE: &str = "/...";

/// A service that answers a request with a token with the length of its body; and how many there have been.
async fn measuring() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let served = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&served);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let count = Arc::clone(&count);
            let service = service_fn(move |request: http::Request<Incoming>| {
                let count = Arc::clone(&count);
                async move {
                    count.fetch_add(1, Relaxed);
                    let has_token = request.headers().contains_key("authorization");
                    let body = request.into_body().collect().await?.to_bytes();
                    let answer = http::Response::builder().status(if has_token { 200 } else { 401 });
                    let length = Full::<bytes::Bytes>::from(body.len().to_string());
                    Ok::<_, hyper::Error>(answer.body(length).unwrap())
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (url, served)
}
