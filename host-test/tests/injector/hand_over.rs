//! Streams and futures that go from the application through the injector to the host and back, with either end dropped
//! before, during, at and after the hand-over. A reader whose writer is known to be gone ends the instance if it is
//! handed over.

use std::sync::Arc;

use host_test::wasi::text;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use tokio::sync::{Notify, Semaphore};

use crate::stage::{Application, Body, IMDS, Request, Stage, request, token};
use crate::{SECRET, VAULT};

const AT_ONCE: u32 = 64;
/// Nanoseconds that the injector waits for the first byte of a body of which it cannot know whether there is one.
const GRACE: u64 = 10_000_000;
const METHODS: [&str; 6] = ["GET", "HEAD", "DELETE", "OPTIONS", "POST", "PUT"];
/// Those with which clients of hosts send no body without a length.
const BODILESS: [&str; 2] = ["GET", "HEAD"];

/// A service that answers with the length of what it was sent.
fn measuring() -> Stage {
    let stage = Stage::with_imds(&[]);
    stage.network.script(VAULT, |request| async {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        http::Response::new(text(body.len().to_string()))
    });
    stage
}

/// Every body without a byte: ended before it is handed over, while the injector looks at it, at the end of its look, and
/// after.
fn empty_bodies() -> Vec<Body> {
    let around_the_grace = (0..=16).map(|step| Body::Late(GRACE - 2_000_000 + step * 250_000));
    let others = [Body::None, Body::Nothing, Body::Ended, Body::Late(0), Body::Late(1_000_000)];
    others.into_iter().chain([Body::Text(String::new()), Body::Filler(0)]).chain(around_the_grace).collect()
}

fn sent(method: &str, body: &Body) -> Request {
    request(method, VAULT).with_body(body.clone())
}

/// The lengths that the service was sent, of so many requests at once.
async fn lengths(application: &mut Application, sent: &Request) -> Vec<String> {
    let answers = application.send_at_once(sent, AT_ONCE).await;
    let lengths = answers.into_iter().map(|answer| answer.unwrap());
    lengths.map(|answer| if answer.status == 200 { answer.body } else { format!("{answer:?}") }).collect()
}

fn all(length: &str) -> Vec<String> {
    vec![length.to_owned(); AT_ONCE as usize]
}

#[tokio::test]
async fn an_empty_body_may_end_at_any_moment_of_its_hand_over() {
    let stage = measuring();
    let mut application = stage.application().await;
    for method in METHODS {
        for body in empty_bodies() {
            let seen = lengths(&mut application, &sent(method, &body)).await;
            assert_eq!(seen, all("0"), "{method} {body:?}");
        }
    }
}

/// The first of them wait for a token meanwhile, and their streams end before they are looked at.
#[tokio::test]
async fn an_empty_body_may_end_while_its_token_is_fetched() {
    for method in METHODS {
        for body in [Body::Nothing, Body::Ended, Body::Late(1_000_000), Body::Text(String::new())] {
            let stage = measuring();
            let mut application = stage.application().await;
            let seen = lengths(&mut application, &sent(method, &body)).await;
            assert_eq!(seen, all("0"), "{method} {body:?}");
            assert_eq!(stage.network.seen(IMDS).len(), 1);
        }
    }
}

#[tokio::test]
async fn a_body_arrives_whole_whenever_its_writer_goes() {
    let stage = measuring();
    let mut application = stage.application().await;
    for method in ["DELETE", "OPTIONS", "POST", "PUT"] {
        for (body, length) in [(Body::Text("hello".to_owned()), "5"), (Body::Filler(200_000), "200000")] {
            for _ in 0..2 {
                assert_eq!(lengths(&mut application, &sent(method, &body)).await, all(length), "{method}");
            }
        }
    }
}

#[tokio::test]
async fn a_body_that_its_request_announces_is_sent_with_any_method() {
    let stage = measuring();
    let mut application = stage.application().await;
    for method in METHODS {
        let announced = sent(method, &Body::Text("hello".to_owned())).with_header("content-length", "5");
        assert_eq!(lengths(&mut application, &announced).await, all("5"), "{method}");
    }
}

#[tokio::test]
async fn a_request_without_a_body_waits_for_nothing() {
    let stage = Stage::with_vault(&[]);
    let mut application = stage.application().await;
    assert_eq!(application.get(VAULT).await.status, 200);
    let before = stage.waits();
    for method in METHODS {
        let nothing = sent(method, &Body::Kept).with_header("content-length", "0");
        assert_eq!(application.send(&nothing).await.unwrap().status, 200, "{method}");
    }
    for method in BODILESS {
        for body in [Body::None, Body::Nothing, Body::Ended, Body::Kept, Body::Text("hello".to_owned())] {
            let answer = application.send(&sent(method, &body)).await.unwrap();
            assert_eq!(answer.status, 200, "{method} {body:?}");
        }
    }
    assert_eq!(stage.waits(), before, "with a token at hand nothing is waited for");
}

#[tokio::test]
async fn an_application_that_ends_its_body_after_the_answer_gets_the_answer() {
    let stage = Stage::with_vault(&[]);
    let mut application = stage.application().await;
    for method in METHODS {
        for answer in application.send_at_once(&sent(method, &Body::Kept), AT_ONCE).await {
            assert_eq!(answer.unwrap().status, 200, "{method}");
        }
    }
}

/// The host drops the other ends of the body and of its trailers.
#[tokio::test]
async fn a_service_that_answers_before_it_has_read_the_body_harms_nobody() {
    let stage = Stage::with_vault(&[]);
    let mut application = stage.application().await;
    for method in METHODS {
        for body in
            [Body::Nothing, Body::Late(1_000_000), Body::Text("hello".to_owned()), Body::Filler(1 << 20)]
        {
            let mut sent = sent(method, &body);
            sent.trailers = vec![("x-checksum".to_owned(), "42".to_owned())];
            for answer in application.send_at_once(&sent, AT_ONCE).await {
                assert_eq!(answer.unwrap().status, 200, "{method} {body:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_host_that_cannot_be_reached_takes_nothing_of_a_body_and_the_instance_goes_on() {
    let stage = Stage::with_imds(&[]);
    let mut application = stage.application().await;
    for method in METHODS {
        for body in [Body::Nothing, Body::Ended, Body::Late(1_000_000), Body::Filler(1 << 20)] {
            for answer in application.send_at_once(&sent(method, &body), AT_ONCE).await {
                assert_eq!(answer, Err("ErrorCode::DestinationNotFound".to_owned()), "{method} {body:?}");
            }
        }
    }
}

#[tokio::test]
async fn answers_may_be_left_unread_or_half_read() {
    let stage = Stage::with_imds(&[]);
    stage.network.script(VAULT, |_| async {
        let frames = (0..100).map(|_| Ok(Frame::data("x".repeat(1000).into())));
        let trailers = http::HeaderMap::from_iter([(http::header::ETAG, "42".parse().unwrap())]);
        let frames = frames.chain([Ok(Frame::trailers(trailers))]).collect::<Vec<_>>();
        http::Response::new(StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync())
    });
    let mut application = stage.application().await;
    for begun in [false, true] {
        assert_eq!(application.leave(&request("GET", SECRET), AT_ONCE, begun).await, AT_ONCE);
        let answer = application.get(SECRET).await;
        assert_eq!((answer.length, answer.trailers.len()), (100_000, 1));
    }
}

/// These bodies are the injector's own.
#[tokio::test]
async fn problems_may_be_left_unread_or_half_read() {
    let stage = Stage::with_imds(&[]);
    let mut application = stage.application().await;
    let refused = request("GET", &format!("{IMDS}/metadata"));
    for begun in [false, true] {
        assert_eq!(application.leave(&refused, AT_ONCE, begun).await, AT_ONCE);
        assert_eq!(application.send(&refused).await.unwrap().problem()["kind"], "denied");
    }
    for body in empty_bodies().into_iter().chain([Body::Kept, Body::Filler(1 << 20)]) {
        for answer in application.send_at_once(&refused.clone().with_body(body), AT_ONCE).await {
            assert_eq!(answer.unwrap().problem()["kind"], "denied");
        }
    }
}

/// Given up while the token is fetched, and while the service is at it.
#[tokio::test]
async fn requests_may_be_given_up_at_any_moment_of_their_hand_over() {
    let sign = "https://sign.example";
    for stuck in [IMDS, VAULT] {
        for body in [Body::None, Body::Nothing, Body::Late(GRACE), Body::Kept, Body::Filler(1 << 20)] {
            let stage = Stage::with_vault(&[]);
            let (arrived, passes) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
            stage.network.script(stuck, {
                let (arrived, passes) = (Arc::clone(&arrived), Arc::clone(&passes));
                move |_| {
                    arrived.notify_one();
                    let passes = Arc::clone(&passes);
                    async move {
                        let _pass = passes.acquire().await.unwrap();
                        token("sentinel").map(text)
                    }
                }
            });
            stage.network.answer_after(sign, &arrived);
            let mut application = stage.application().await;
            for method in ["GET", "DELETE", "PUT"] {
                let sent = sent(method, &body);
                assert!(application.give_up_all(&sent, AT_ONCE, &request("GET", sign)).await, "{method}");
                if stuck == IMDS {
                    break;
                }
            }
            passes.add_permits(1);
            assert_eq!(application.get(VAULT).await.status, 200, "{stuck} {body:?}: the instance goes on");
        }
    }
}
