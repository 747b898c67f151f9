//! Every way in which the mock can be told to fail.

use std::{io, time::Duration};

use mock_identity::{Answer, Counts, Endpoint, Fault, Mock};
use serde_json::Value;
use tokio::{io::AsyncReadExt, time::Instant};

use crate::client::{METADATA, Received, SYSTEM, app_service, imds, imds_target, mock, open, send, verified};

/// The next answer of IMDS, with this fault
async fn faulty(mock: &Mock, answer: Answer) -> Received {
    mock.fault(Fault::new(Endpoint::Imds, answer));
    imds(mock, &[]).await
}

#[tokio::test]
async fn a_status_fault_speaks_the_endpoints_own_words_and_then_passes() {
    let mock = mock().await;
    mock.fault(Fault::new(Endpoint::Imds, Answer::retry_after(429, "7")).after(1).times(2));
    mock.fault(Fault::new(Endpoint::AppService, Answer::status(500)));
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let answer = imds(&mock, &[]).await;
        if answer.status == 429 {
            assert_eq!(answer.headers["retry-after"], "7");
            assert!(answer.text().contains("Temporarily throttled, too many requests"));
        }
        statuses.push(answer.status);
    }
    assert_eq!(statuses, [200, 429, 429, 200]);
    let broken = app_service(&mock, &[]).await;
    assert_eq!(broken.json()["message"], "An unexpected error occured while fetching the AAD Token.");
    let counts = mock.counters().of(Endpoint::Imds);
    assert_eq!(counts, Counts { requests: 4, tokens: 2, refused: 2, faults: 2 });
}

#[tokio::test]
async fn a_scripted_body_goes_out_byte_for_byte() {
    let mock = mock().await;
    let answer = faulty(&mock, Answer::body(403, "text/plain", "connecting: unreachable network")).await;
    assert_eq!((answer.status, answer.text()), (403, "connecting: unreachable network"));
    assert_eq!(answer.headers["content-type"], "text/plain");
}

#[tokio::test]
async fn a_reset_fault_resets_the_connection() {
    let mock = mock().await;
    mock.fault(Fault::new(Endpoint::Imds, Answer::Reset));
    let error = send(&mock, "GET", &imds_target(&[]), &METADATA, "").await.err().expect("a reset");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(imds(&mock, &[]).await.status, 200);
    let seen = mock.requests();
    assert_eq!((seen[0].fault.as_deref(), seen[0].status), (Some("reset"), None));
}

#[tokio::test]
async fn a_truncated_fault_sends_half_of_the_promised_body() {
    let mock = mock().await;
    let answer = faulty(&mock, Answer::Truncated).await;
    let promised: usize = answer.headers["content-length"].parse().unwrap();
    assert_eq!((answer.status, answer.body.len()), (200, promised / 2));
}

#[tokio::test]
async fn chunks_come_whole_and_a_cut_is_seen_where_the_framing_shows_it() {
    let mock = mock().await;
    let usual = imds(&mock, &[]).await;
    assert!(usual.whole);
    for (answer, framing, is_whole) in [
        (Answer::Chunked, "transfer-encoding", true),
        (Answer::Truncated, "content-length", false),
        (Answer::TruncatedChunks, "transfer-encoding", false),
    ] {
        let received = faulty(&mock, answer.clone()).await;
        assert_eq!((received.status, received.whole), (200, is_whole), "{answer:?}");
        assert!(received.headers.contains_key(framing), "{answer:?}");
        let size = if is_whole { usual.body.len() } else { usual.body.len() / 2 };
        assert_eq!(received.body.len(), size, "{answer:?}");
        assert_eq!(serde_json::from_slice::<Value>(&received.body).is_ok(), is_whole, "{answer:?}");
    }
    let unsized_body = faulty(&mock, Answer::TruncatedUnsized).await;
    assert!(!unsized_body.headers.contains_key("content-length"));
    assert!(!unsized_body.headers.contains_key("transfer-encoding"));
    assert_eq!(unsized_body.body.len(), usual.body.len() / 2);
}

#[tokio::test]
async fn an_answer_can_be_empty_or_none_at_all() {
    let mock = mock().await;
    let empty = faulty(&mock, Answer::Empty).await;
    assert_eq!((empty.status, empty.body.len(), empty.headers["content-length"].as_str()), (200, 0, "0"));
    assert!(empty.headers["content-type"].starts_with("application/json"));
    mock.fault(Fault::new(Endpoint::Imds, Answer::Closed));
    let mut stream = open(&mock, "GET", &imds_target(&[]), &METADATA, "").await.unwrap();
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "the end, and no reset");
}

#[tokio::test]
async fn retry_after_goes_out_as_it_is_written_once_for_each_value() {
    let mock = mock().await;
    for (written, sent) in [
        (r#""1.5""#, vec!["1.5"]),
        (r#""soon""#, vec!["soon"]),
        (
            r#"["2", "7, 9", "Wed, 21 Oct 2015 07:28:00 GMT"]"#,
            vec!["2", "7, 9", "Wed, 21 Oct 2015 07:28:00 GMT"],
        ),
        ("[]", vec![]),
    ] {
        let fault =
            format!(r#"{{"endpoint":"imds","answer":{{"status":{{"code":429,"retry-after":{written}}}}}}}"#);
        assert_eq!(send(&mock, "POST", "/admin/faults", &[], &fault).await.unwrap().status, 200);
        let answer = imds(&mock, &[]).await;
        let values =
            answer.fields.iter().filter(|(name, _)| name == "retry-after").map(|(_, value)| value.as_str());
        assert_eq!((answer.status, values.collect::<Vec<_>>()), (429, sent));
    }
}

#[tokio::test]
async fn an_oversize_fault_sends_fifty_mebibytes_of_json() {
    let mock = mock().await;
    let answer = faulty(&mock, Answer::Oversize).await;
    assert_eq!(answer.headers["transfer-encoding"], "chunked");
    assert!(answer.body.len() > 50 * 1024 * 1024);
}

#[tokio::test]
async fn a_slow_drip_fault_sends_one_byte_at_a_time() {
    let mock = mock().await;
    mock.fault(Fault::new(Endpoint::Imds, Answer::SlowDrip));
    let begun = Instant::now();
    let mut stream = open(&mock, "GET", &imds_target(&[]), &METADATA, "").await.unwrap();
    let mut received = Vec::new();
    while !received.ends_with(b"\r\n\r\n{\"a") {
        received.push(stream.read_u8().await.unwrap());
    }
    assert!(begun.elapsed() >= Duration::from_millis(300), "three bytes after {:?}", begun.elapsed());
}

#[tokio::test]
async fn html_garbage_and_redirect_faults_look_like_what_proxies_send() {
    let mock = mock().await;
    let html = faulty(&mock, Answer::Html).await;
    assert_eq!((html.status, html.headers["content-type"].as_str()), (200, "text/html; charset=utf-8"));
    let garbage = faulty(&mock, Answer::Garbage).await;
    assert!(garbage.headers["content-type"].starts_with("application/json"));
    assert!(serde_json::from_slice::<Value>(&garbage.body).is_err());
    let redirect = faulty(&mock, Answer::Redirect("http://example.org/".to_owned())).await;
    assert_eq!((redirect.status, redirect.headers["location"].as_str()), (302, "http://example.org/"));
}

#[tokio::test]
async fn a_wrong_identity_fault_gives_a_good_token_of_somebody_else() {
    let mock = mock().await;
    mock.fault(Fault::new(Endpoint::Imds, Answer::WrongIdentity));
    mock.fault(Fault::new(Endpoint::AppService, Answer::WrongIdentity));
    let asked = mock.config().identities[1].client_id.clone();
    for answer in
        [imds(&mock, &[("client_id", &asked)]).await, app_service(&mock, &[("client_id", &asked)]).await]
    {
        let claims = verified(&mock, &answer);
        assert_eq!(claims.appid, SYSTEM);
    }
}

#[tokio::test]
async fn a_delayed_request_is_in_the_log_before_it_is_answered() {
    let mock = mock().await;
    mock.fault(Fault::new(Endpoint::Imds, Answer::AsUsual).delayed(Duration::from_millis(200)));
    let begun = Instant::now();
    let (answer, ()) = tokio::join!(imds(&mock, &[]), async {
        mock.arrived(Endpoint::Imds, 1).await;
        assert_eq!((mock.requests()[0].status, mock.counters().of(Endpoint::Imds).tokens), (None, 0));
    });
    assert_eq!(answer.status, 200);
    assert!(begun.elapsed() >= Duration::from_millis(200));
    assert_eq!(mock.requests()[0].status, Some(200));
}
