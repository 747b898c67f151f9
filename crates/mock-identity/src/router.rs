//! The way of a request: to the start page, to the mock's own endpoint, or to one of Azure's, where it is logged, and fails
//! if a fault is to be played.

use std::time::Duration;

use http::{Response, StatusCode};

use crate::{
    admin,
    body::{self, ScriptedBody},
    call::Call,
    endpoints::{self, gcp_metadata},
    fault::{Answer, Fault, StatusAnswer},
    platform::Platform,
    reply::Reply,
    spec::Spec,
    start_page,
};

/// The connection ends in the place of an answer, as at every error that hyper sees
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection ends in the place of an answer")]
pub(crate) enum NoAnswer {
    /// With a TCP RST
    Reset,
    /// As at the end of a conversation
    Closed,
}

pub(crate) async fn answer(platform: &Platform, call: Call) -> Result<Response<ScriptedBody>, NoAnswer> {
    match call.segments().as_slice() {
        [] if !gcp_metadata::is_asked(&call) => {
            Ok(body::whole(Reply::text(StatusCode::OK, start_page::text(platform))))
        }
        ["admin", path @ ..] => Ok(body::whole(admin::answer(platform, &call, path))),
        segments => {
            let spec = endpoints::at(call.listener, segments);
            play(platform, spec, call).await
        }
    }
}

/// Answer as Azure does, unless a fault is to be played
async fn play(platform: &Platform, spec: &Spec, mut call: Call) -> Result<Response<ScriptedBody>, NoAnswer> {
    let fault = platform.faults.lock().next(spec.endpoint);
    let number = platform.log.arrival(spec.endpoint, &call, fault.as_ref());
    let Some(fault) = fault else {
        let reply = healthy(platform, spec, &call);
        platform.log.answered(number, &reply);
        return Ok(body::whole(reply));
    };
    tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
    call.wrong_identity = fault.answer == Answer::WrongIdentity;
    let reply = faulty(platform, spec, &call, &fault)?;
    platform.log.answered(number, &reply);
    Ok(body::scripted(reply, &fault.answer))
}

fn healthy(platform: &Platform, spec: &Spec, call: &Call) -> Reply {
    if call.in_chunks && spec.refuses_chunks {
        return Reply::empty(StatusCode::NOT_FOUND);
    }
    (spec.answer)(platform, call)
}

fn faulty(platform: &Platform, spec: &Spec, call: &Call, fault: &Fault) -> Result<Reply, NoAnswer> {
    let healthy = || healthy(platform, spec, call);
    Ok(match &fault.answer {
        Answer::Reset => return Err(NoAnswer::Reset),
        Answer::Closed => return Err(NoAnswer::Closed),
        Answer::AsUsual
        | Answer::Truncated
        | Answer::TruncatedUnsized
        | Answer::SlowDrip
        | Answer::WrongIdentity => healthy(),
        Answer::Chunked | Answer::TruncatedChunks => healthy().in_chunks(),
        Answer::Empty => Reply { body: String::new(), ..healthy() },
        Answer::Status(answer) => status(platform, spec, call, answer),
        Answer::Html => Reply::html(StatusCode::OK, "<html><body><h1>Sign in</h1></body></html>\n"),
        Answer::Oversize => Reply::ok(()),
        Answer::Redirect(url) => Reply::text(StatusCode::FOUND, "").with("location", url),
        Answer::TemporaryRedirect(url) => {
            Reply::text(StatusCode::TEMPORARY_REDIRECT, "").with("location", url)
        }
        Answer::Garbage => Reply { body: r#"{"access_token": tru}"#.to_owned(), ..Reply::ok(()) },
    })
}

fn status(platform: &Platform, spec: &Spec, call: &Call, answer: &StatusAnswer) -> Reply {
    let code = StatusCode::from_u16(answer.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut reply = match &answer.body {
        Some(body) => Reply { body: body.clone(), ..Reply::json(code, ()) },
        None => (spec.failure)(platform, call, code),
    };
    if let Some(content_type) = &answer.content_type {
        reply = reply.with("content-type", content_type);
    }
    answer.retry_after.iter().fold(reply, |reply, value| reply.beside("retry-after", value))
}
