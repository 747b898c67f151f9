//! A handler made with Spin's SDK that sends requests with every kind of body, for tests of the injector: the SDK's
//! bindings pass a stream with each request, and end it when they come to it.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::future::join_all;
use spin_sdk::http::body::{IncomingBodyExt as _, stream};
use spin_sdk::http::{BoxBody, EmptyBody, FullBody, IntoResponse, Request, StatusCode, box_body, send};
use spin_sdk::time::sleep;

/// `/METHOD/BODY/N?URL`: send a request N times at once. What was answered, each with its status, in lines.
#[spin_sdk::http_service]
async fn handle(request: Request) -> impl IntoResponse {
    match all(&request).await {
        Ok(answers) => (StatusCode::OK, answers.join("\n")),
        Err(why) => (StatusCode::BAD_REQUEST, format!("{why:#}")),
    }
}

async fn all(request: &Request) -> Result<Vec<String>> {
    let url = request.uri().query().context("no URL")?;
    let mut parts = request.uri().path().split('/').skip(1);
    let mut part = || parts.next().context("not /METHOD/BODY/N");
    let (method, kind, n) = (part()?, part()?, part()?.parse::<u32>()?);
    let sent = join_all((0..n).map(|_| one(method, kind, url))).await;
    Ok(sent.into_iter().map(|answer| answer.unwrap_or_else(|why| format!("{why:#}"))).collect())
}

async fn one(method: &str, kind: &str, url: &str) -> Result<String> {
    let request = http::Request::builder().method(method).uri(url).body(body(kind)?)?;
    let answer = send(request).await?;
    let status = answer.status().as_u16();
    let body = answer.into_body().bytes().await?;
    Ok(format!("{status} {}", String::from_utf8_lossy(&body)))
}

/// A body by its name; a number is the milliseconds after which one ends that was never written to.
fn body(kind: &str) -> Result<BoxBody> {
    Ok(match kind {
        "none" => box_body(EmptyBody::new()),
        "text" => box_body(FullBody::new("hello".into())),
        "ended" => box_body(stream::<String>().1),
        "slow" => {
            let (mut chunks, body) = stream::<String>();
            spin_sdk::wasip3::spawn(async move {
                for _ in 0..5 {
                    sleep(Duration::from_millis(3)).await;
                    let _ = chunks.try_send("x".to_owned());
                }
            });
            box_body(body)
        }
        milliseconds => {
            let late = Duration::from_millis(milliseconds.parse().context("no such body")?);
            let (chunks, body) = stream::<String>();
            spin_sdk::wasip3::spawn(async move {
                sleep(late).await;
                drop(chunks);
            });
            box_body(body)
        }
    })
}
