//! A response body that can be sent whole, slowly, in part or without end.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Response, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Bytes;
use tokio::time::{Sleep, sleep};

use crate::{fault::Answer, reply::Reply};

pub(crate) struct ScriptedBody {
    steps: VecDeque<Step>,
    pause: Option<Pin<Box<Sleep>>>,
    /// The value of `Content-Length`; without it the body is sent in chunks
    length: Option<u64>,
}

enum Step {
    Send(Bytes),
    Pause(Duration),
    Cut,
}

impl ScriptedBody {
    pub(crate) fn whole(reply: Reply) -> Response<Self> {
        Self::scripted(reply, &Answer::AsUsual)
    }

    /// `reply`, its body sent in the way that `answer` asks for
    pub(crate) fn scripted(mut reply: Reply, answer: &Answer) -> Response<Self> {
        let whole = Bytes::from(std::mem::take(&mut reply.body));
        let has_length = !reply.in_chunks && !matches!(answer, Answer::Oversize | Answer::TruncatedUnsized);
        let length = has_length.then_some(whole.len() as u64);
        let steps = match answer {
            Answer::Chunked => pieces(&whole),
            Answer::Truncated | Answer::TruncatedChunks => truncated(&whole),
            Answer::TruncatedUnsized => VecDeque::from([Step::Send(half(&whole))]),
            Answer::SlowDrip => dripping(&whole),
            Answer::Oversize => endless(),
            _ => VecDeque::from([Step::Send(whole)]),
        };
        let mut response = respond(reply, Self { steps, pause: None, length });
        if *answer == Answer::TruncatedUnsized {
            // The end of the connection is the end of such a body: nothing tells that half of it is missing.
            *response.version_mut() = Version::HTTP_10;
        }
        response
    }
}

impl Body for ScriptedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(context));
                self.pause = None;
            }
            match self.steps.pop_front() {
                Some(Step::Send(bytes)) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Some(Step::Pause(duration)) => self.pause = Some(Box::pin(sleep(duration))),
                Some(Step::Cut) => {
                    return Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())));
                }
                None => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.steps.is_empty() && self.pause.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// The pause lets the first half leave the server's buffers before the connection goes.
fn truncated(whole: &Bytes) -> VecDeque<Step> {
    VecDeque::from([Step::Send(half(whole)), Step::Pause(FLUSH), Step::Cut])
}

fn half(whole: &Bytes) -> Bytes {
    whole.slice(..whole.len() / 2)
}

fn pieces(whole: &Bytes) -> VecDeque<Step> {
    whole.chunks(CHUNK).map(|piece| Step::Send(whole.slice_ref(piece))).collect()
}

fn dripping(whole: &Bytes) -> VecDeque<Step> {
    (0..whole.len()).flat_map(|at| [Step::Pause(DRIP), Step::Send(whole.slice(at..=at))]).collect()
}

fn endless() -> VecDeque<Step> {
    let filler = Bytes::from(vec![b'a'; OVERSIZE_CHUNK]);
    let chunks = std::iter::repeat_n(filler, OVERSIZE / OVERSIZE_CHUNK);
    let pieces = std::iter::once(Bytes::from_static(br#"{"access_token":""#))
        .chain(chunks)
        .chain(std::iter::once(Bytes::from_static(br#""}"#)));
    pieces.map(Step::Send).collect()
}

fn respond(reply: Reply, body: ScriptedBody) -> Response<ScriptedBody> {
    let mut response = Response::new(body);
    *response.status_mut() = reply.status;
    response.headers_mut().extend(reply.headers);
    response
}

const FLUSH: Duration = Duration::from_millis(10);
const DRIP: Duration = Duration::from_millis(100);
const CHUNK: usize = 100;
const OVERSIZE: usize = 50 * 1024 * 1024;
const OVERSIZE_CHUNK: usize = 64 * 1024;
