//! Bodies and trailers go through as streams.

use host_test::wasi::text;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;

use crate::stage::{Answer, Body, Stage, request};

const STORAGE: &str = "https://a.blob.core.windows.net";
const GIGABYTE: u64 = 1_000_000_000;
/// Half of it: other tests of this process take memory meanwhile.
const LESS: usize = 500_000_000;

/// A storage account that says how much it was sent, and in which trailers.
fn counting() -> Stage {
    let stage = Stage::with_imds(&[]);
    stage.network.script(STORAGE, |request| async {
        let mut body = request.into_body();
        let (mut length, mut trailers) = (0_u64, String::new());
        while let Some(frame) = body.frame().await {
            match frame.unwrap().into_data() {
                Ok(data) => length += data.len() as u64,
                Err(frame) => trailers = format!("{:?}", frame.into_trailers().unwrap()),
            }
        }
        http::Response::new(text(format!("{length} {trailers}")))
    });
    stage
}

#[tokio::test]
async fn a_body_of_a_gigabyte_goes_up_and_memory_stays_as_it_is() {
    let stage = counting();
    let mut application = stage.application().await;
    let put = |length| request("PUT", &format!("{STORAGE}/c/b")).with_body(Body::Filler(length));
    assert_eq!(application.send(&put(1)).await.unwrap().body, "1 ");
    let (linear, resident) = (application.memory(), resident());
    let answer = application.send(&put(GIGABYTE)).await.unwrap();
    assert_eq!((answer.body.as_str(), answer.sent), (format!("{GIGABYTE} ").as_str(), Ok(())));
    assert!(application.memory() - linear < 1 << 20, "{} bytes more", application.memory() - linear);
    assert!(self::resident().saturating_sub(resident) < LESS, "{} before, {}", resident, self::resident());
}

#[tokio::test]
async fn a_body_of_a_gigabyte_comes_down_and_memory_stays_as_it_is() {
    let stage = Stage::with_imds(&[]);
    let chunk = bytes::Bytes::from(vec![b'x'; 1 << 20]);
    stage.network.script(STORAGE, move |_| {
        let chunks: Vec<_> = (0..GIGABYTE >> 20).map(|_| Ok(Frame::data(chunk.clone()))).collect();
        let body = StreamBody::new(futures_util::stream::iter(chunks));
        std::future::ready(http::Response::new(body.boxed_unsync()))
    });
    let mut application = stage.application().await;
    let (linear, resident) = (application.memory(), resident());
    let answer = application.get(STORAGE).await;
    assert_eq!(answer.length, GIGABYTE >> 20 << 20);
    assert!(application.memory() - linear < 2 << 20, "{} bytes more", application.memory() - linear);
    assert!(self::resident().saturating_sub(resident) < LESS, "{} before, {}", resident, self::resident());
}

#[tokio::test]
async fn trailers_go_both_ways_and_the_application_learns_that_all_was_sent() {
    let stage = Stage::with_imds(&[]);
    stage.network.script(STORAGE, |request| async {
        let trailers = request.into_body().collect().await.unwrap().trailers().cloned();
        let frames = [Ok(Frame::data("abc".into())), Ok(Frame::trailers(trailers.unwrap()))];
        http::Response::new(StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync())
    });
    let mut application = stage.application().await;
    let mut sent = request("POST", STORAGE).with_body(Body::Text("hello".to_owned()));
    let checksum = vec![("x-checksum".to_owned(), "42".to_owned())];
    sent.trailers = checksum.clone();
    let Answer { body, trailers, sent, .. } = application.send(&sent).await.unwrap();
    assert_eq!((body.as_str(), trailers, sent), ("abc", checksum, Ok(())));
}

#[tokio::test]
async fn an_application_learns_that_its_body_was_too_short() {
    let stage = Stage::with_imds(&[]);
    stage.network.script(STORAGE, |request| async {
        let _ = request.into_body().collect().await;
        http::Response::new(text(""))
    });
    let mut application = stage.application().await;
    let short = request("PUT", STORAGE).with_header("content-length", "6");
    let short = short.with_body(Body::Text("hello".to_owned()));
    let alone = stage.unguarded().await.send(&short).await.unwrap().sent;
    let through = application.send(&short).await.unwrap().sent;
    assert_eq!(through, alone, "the same as without the injector");
    assert_eq!(through, Err("ErrorCode::HttpRequestBodySize(Some(5))".to_owned()));
}

#[tokio::test]
async fn an_answer_may_come_before_the_body_has_been_sent() {
    let stage = Stage::with_imds(&[]);
    stage
        .network
        .answer(STORAGE, |_| http::Response::builder().status(413).body("too much".to_owned()).unwrap());
    let mut application = stage.application().await;
    let answer = application.send(&request("PUT", STORAGE).with_body(Body::Filler(1 << 30))).await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (413, "too much"));
}

/// What this process has in memory, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    status.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
