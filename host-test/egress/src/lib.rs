//! A component that sends HTTP requests as it is told, for tests and benchmarks.

use std::pin::pin;

use futures_util::StreamExt as _;
use futures_util::future::{Either, join, join_all, select};
use futures_util::stream;
use wasip3::cli::environment::get_environment;
use wasip3::clocks::monotonic_clock;
use wasip3::http::client;
use wasip3::http::types::{ErrorCode, Fields, HeaderError, Method, Request as Sent, Response, Scheme};
use wasip3::wit_bindgen::{FutureReader, StreamReader, StreamResult, StreamWriter};
use wasip3::{wit_future, wit_stream};

use bindings::exports::token_broker::test::egress::{Answer, Body, Guest, Request};

struct Egress;

impl Guest for Egress {
    async fn send(request: Request) -> Result<Answer, String> {
        send(&request).await
    }

    async fn send_at_once(request: Request, n: u32) -> Vec<Result<Answer, String>> {
        join_all((0..n).map(|_| send(&request))).await
    }

    async fn count(request: Request, n: u32, at_once: u32) -> u32 {
        let sent = stream::iter(0..n).map(|_| status(&request)).buffer_unordered(at_once as usize);
        sent.fold(0, async |count, status| count + u32::from(status == Ok(200))).await
    }

    async fn leave(request: Request, n: u32, begun: bool) -> u32 {
        let left = join_all((0..n).map(|_| leave(&request, begun))).await;
        left.into_iter().map(|answered| u32::from(answered.is_ok())).sum()
    }

    async fn give_up(request: Request, n: u32, sign: Request) -> bool {
        let all = join_all((0..n).map(|_| status(&request)));
        matches!(select(pin!(all), pin!(status(&sign))).await, Either::Right(_))
    }

    fn environment() -> Vec<(String, String)> {
        get_environment()
    }
}

async fn send(request: &Request) -> Result<Answer, String> {
    let (response, outcome) = exchange(request).await?;
    let (status, headers) = (response.get_status_code(), texts(response.get_headers()));
    let (_, done) = wit_future::new(|| Ok(()));
    let (contents, trailers) = Response::consume_body(response, done);
    let (body, length) = read(contents).await;
    let trailers = trailers.await.map_err(shown)?.map(texts).unwrap_or_default();
    Ok(Answer { status, headers, body, length, trailers, sent: outcome.await.map_err(shown) })
}

async fn status(request: &Request) -> Result<u16, String> {
    let (response, _) = exchange(request).await?;
    let status = response.get_status_code();
    let (_, done) = wit_future::new(|| Ok(()));
    let (contents, _) = Response::consume_body(response, done);
    read(contents).await;
    Ok(status)
}

async fn leave(request: &Request, begun: bool) -> Result<(), String> {
    let (response, _) = exchange(request).await?;
    if begun {
        let (_, done) = wit_future::new(|| Ok(()));
        let (mut contents, _trailers) = Response::consume_body(response, done);
        contents.next().await;
    }
    Ok(())
}

/// Send a request, its body included, and wait for the head of its answer.
async fn exchange(request: &Request) -> Result<(Response, FutureReader<Result<(), ErrorCode>>), String> {
    let (writer, reader) = wit_stream::new();
    let contents = (!matches!(request.body, Body::None)).then_some(reader);
    let trailers =
        if request.trailers.is_empty() { None } else { Some(fields(&request.trailers).map_err(shown)?) };
    let (trailing, trailed) = wit_future::new(|| Ok(None));
    let (sent, outcome) = Sent::new(fields(&request.headers).map_err(shown)?, contents, trailed, None);
    let refused = |what: &str| format!("the host takes no such {what}");
    sent.set_method(&method(&request.method)).map_err(|()| refused("method"))?;
    sent.set_scheme(request.scheme.as_deref().map(scheme).as_ref()).map_err(|()| refused("scheme"))?;
    sent.set_authority(request.authority.as_deref()).map_err(|()| refused("authority"))?;
    sent.set_path_with_query(request.path.as_deref()).map_err(|()| refused("path"))?;
    let writer = (!matches!(request.body, Body::Ended)).then_some(writer);
    let upload = async {
        write(writer, &request.body).await;
        // Who does not read the body does not read these.
        let _ = trailing.write(Ok(trailers)).await;
    };
    let response = match request.body {
        Body::None => {
            drop(upload);
            client::send(sent).await
        }
        Body::Kept => {
            let response = client::send(sent).await;
            drop(upload);
            response
        }
        _ => join(client::send(sent), upload).await.0,
    };
    response.map(|response| (response, outcome)).map_err(shown)
}

async fn write(writer: Option<StreamWriter<u8>>, body: &Body) {
    let Some(mut writer) = writer else { return };
    match body {
        Body::None | Body::Nothing | Body::Ended | Body::Kept => {}
        Body::Late(nanoseconds) => monotonic_clock::wait_for(*nanoseconds).await,
        Body::Text(text) => {
            writer.write_all(text.clone().into_bytes()).await;
        }
        Body::Filler(length) => {
            let mut left = *length;
            while left > 0 {
                let chunk = left.min(CHUNK as u64);
                if !writer.write_all(vec![b'x'; chunk as usize]).await.is_empty() {
                    return;
                }
                left -= chunk;
            }
        }
    }
}

/// The beginning of a body, and how long it is.
async fn read(mut contents: StreamReader<u8>) -> (String, u64) {
    let (mut beginning, mut length) = (Vec::new(), 0);
    let mut buffer = Vec::with_capacity(CHUNK);
    loop {
        let (result, mut chunk) = contents.read(buffer).await;
        length += chunk.len() as u64;
        let room = CHUNK - beginning.len();
        beginning.extend(chunk.iter().take(room));
        chunk.clear();
        buffer = chunk;
        match result {
            StreamResult::Complete(_) => {}
            StreamResult::Dropped | StreamResult::Cancelled => break,
        }
    }
    (String::from_utf8_lossy(&beginning).into_owned(), length)
}

fn fields(list: &[(String, String)]) -> Result<Fields, HeaderError> {
    let entries: Vec<_> =
        list.iter().map(|(name, value)| (name.clone(), value.clone().into_bytes())).collect();
    Fields::from_list(&entries)
}

fn texts(fields: Fields) -> Vec<(String, String)> {
    let text = |value: Vec<u8>| String::from_utf8_lossy(&value).into_owned();
    fields.copy_all().into_iter().map(|(name, value)| (name, text(value))).collect()
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "OPTIONS" => Method::Options,
        "TRACE" => Method::Trace,
        "CONNECT" => Method::Connect,
        other => Method::Other(other.to_owned()),
    }
}

fn scheme(name: &str) -> Scheme {
    match name {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    }
}

fn shown(error: impl std::fmt::Debug) -> String {
    format!("{error:?}")
}

const CHUNK: usize = 64 * 1024;

mod bindings {
    #![allow(missing_docs, unsafe_code, unused_qualifications, clippy::use_self, reason = "generated")]

    use super::Egress;

    wit_bindgen::generate!({ path: "wit", world: "application" });

    export!(Egress);
}
