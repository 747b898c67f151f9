//! A response body that can be sent whole, slowly, in part or without end.

use std::{io, iter, time::Duration};

use futures_util::{StreamExt, stream};
use http::{HeaderValue, Response, Version, header::CONTENT_LENGTH};
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Bytes, Frame};
use tokio::time::sleep;

use crate::{fault::Answer, reply::Reply};

pub(crate) type ScriptedBody = UnsyncBoxBody<Bytes, io::Error>;

enum Step {
    Send(Bytes),
    Pause(Duration),
    Cut,
}

pub(crate) fn whole(reply: Reply) -> Response<ScriptedBody> {
    scripted(reply, &Answer::AsUsual)
}

/// `reply`, its body sent in the way that `answer` asks for; without a length it is sent in chunks
pub(crate) fn scripted(reply: Reply, answer: &Answer) -> Response<ScriptedBody> {
    let whole = Bytes::from(reply.body);
    let has_length = !reply.in_chunks && !matches!(answer, Answer::Oversize | Answer::TruncatedUnsized);
    let length = has_length.then(|| (CONTENT_LENGTH, HeaderValue::from(whole.len())));
    let mut response = Response::new(body(match answer {
        Answer::Chunked => pieces(&whole),
        Answer::Truncated | Answer::TruncatedChunks => truncated(&whole),
        Answer::TruncatedUnsized => vec![Step::Send(half(&whole))],
        Answer::SlowDrip => dripping(&whole),
        Answer::Oversize => endless(),
        _ => vec![Step::Send(whole)],
    }));
    *response.status_mut() = reply.status;
    response.headers_mut().extend(reply.headers.into_iter().chain(length));
    if *answer == Answer::TruncatedUnsized {
        // The end of the connection is the end of such a body: nothing tells that half of it is missing.
        *response.version_mut() = Version::HTTP_10;
    }
    response
}

fn body(steps: Vec<Step>) -> ScriptedBody {
    let frames = stream::iter(steps).filter_map(|step| async {
        match step {
            Step::Send(bytes) => Some(Ok(Frame::data(bytes))),
            Step::Cut => Some(Err(io::ErrorKind::ConnectionAborted.into())),
            Step::Pause(duration) => {
                sleep(duration).await;
                None
            }
        }
    });
    StreamBody::new(frames).boxed_unsync()
}

/// The pause lets the first half leave the server's buffers before the connection goes.
fn truncated(whole: &Bytes) -> Vec<Step> {
    vec![Step::Send(half(whole)), Step::Pause(FLUSH), Step::Cut]
}

fn half(whole: &Bytes) -> Bytes {
    whole.slice(..whole.len() / 2)
}

fn pieces(whole: &Bytes) -> Vec<Step> {
    whole.chunks(CHUNK).map(|piece| Step::Send(whole.slice_ref(piece))).collect()
}

fn dripping(whole: &Bytes) -> Vec<Step> {
    (0..whole.len()).flat_map(|at| [Step::Pause(DRIP), Step::Send(whole.slice(at..=at))]).collect()
}

fn endless() -> Vec<Step> {
    let filler = Bytes::from(vec![b'a'; OVERSIZE_CHUNK]);
    let chunks = iter::repeat_n(filler, OVERSIZE / OVERSIZE_CHUNK);
    let pieces = iter::once(Bytes::from_static(br#"{"access_token":""#))
        .chain(chunks)
        .chain(iter::once(Bytes::from_static(br#""}"#)));
    pieces.map(Step::Send).collect()
}

const FLUSH: Duration = Duration::from_millis(10);
const DRIP: Duration = Duration::from_millis(100);
const CHUNK: usize = 100;
const OVERSIZE: usize = 50 * 1024 * 1024;
const OVERSIZE_CHUNK: usize = 64 * 1024;
