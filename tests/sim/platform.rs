//! The identity platform: the IMDS of all machines.

use std::time::{Duration, UNIX_EPOCH};

use token_broker::{Body, SendError, SendErrorKind};

use crate::fault::FaultKind;
use crate::invariant::SENTINEL;
use crate::machine::{START, Seat};

type Reply = Result<http::Response<Body>, SendError>;

/// The scope of a key. Keys come in pairs: one scope for the machine's identity and for the app.
pub(crate) fn scope(key: usize) -> String {
    format!("https://s{}.example/.default", key / 2)
}

/// The client id of a key; none for the machine's identity.
pub(crate) fn client_id(key: usize) -> Option<&'static str> {
    (key % 2 == 1).then_some("app")
}

/// The key of a request.
pub(crate) fn key(uri: &http::Uri) -> usize {
    let query = uri.query().unwrap();
    let scope: usize = query.split_once("%2Fs").unwrap().1.split_once(".example").unwrap().0.parse().unwrap();
    scope * 2 + usize::from(query.contains("client_id=app"))
}

/// The response, and the time that the platform requests before the next one.
pub(crate) async fn answer(seat: &Seat, key: usize) -> (Reply, Duration) {
    let platform = |kind| match kind {
        FaultKind::Throttled(_) | FaultKind::Upgrading | FaultKind::Broken | FaultKind::Slow => Some(kind),
        _ => None,
    };
    let (world, ahead) = (&seat.world, seat.ahead());
    let kind = seat.plan.fault(seat.machine, world.now(), platform);
    let longest = if kind == Some(FaultKind::Slow) { 12_000_000 } else { 150_000 };
    world.sleep(world.between(2000, longest)).await;
    let secret = format!("{SENTINEL}-{key}-{}", world.serial());
    let answer = match kind {
        Some(FaultKind::Throttled(seconds)) => throttled(seconds),
        Some(FaultKind::Upgrading) => (refusal(410, None), Duration::ZERO),
        Some(FaultKind::Broken) => (refusal(if world.one_in(2) { 500 } else { 503 }, None), Duration::ZERO),
        Some(FaultKind::Slow) if world.one_in(4) => (broken(), Duration::ZERO),
        _ => (token(seat, key, &secret, ahead), Duration::ZERO),
    };
    world.sleep(world.between(2000, longest)).await;
    seat.invariants.received(&secret, seat.ahead());
    answer
}

fn throttled(wait: u64) -> (Reply, Duration) {
    (refusal(429, (wait > 0).then_some(wait)), Duration::from_secs(wait))
}

fn refusal(status: u16, retry_after: Option<u64>) -> Reply {
    let mut reply = response(status, r#"{"error":"busy","error_description":"as planned"}"#.to_owned());
    reply.headers_mut().extend(retry_after.map(|seconds| (http::header::RETRY_AFTER, seconds.into())));
    Ok(reply)
}

fn broken() -> Reply {
    Err(SendError { kind: SendErrorKind::Broken, detail: "as planned".to_owned() })
}

fn token(seat: &Seat, key: usize, secret: &str, ahead: i64) -> Reply {
    let (plan, now) = (&seat.plan, seat.world.now());
    let ends = now + Duration::from_secs(plan.life);
    seat.invariants.issued(seat, key, secret, ends, ahead);
    let expiry = match plan.sends_expires_on {
        true => format!(r#""expires_on":"{}""#, (START + ends).as_secs()),
        false => format!(r#""expires_in":"{}""#, plan.life),
    };
    let refresh = plan.refresh_in.map(|seconds| format!(r#","refresh_in":"{seconds}""#)).unwrap_or_default();
    let mut reply = response(200, format!(r#"{{"access_token":"{secret}",{expiry}{refresh}}}"#));
    if plan.sends_date {
        let date = httpdate::fmt_http_date(UNIX_EPOCH + START + now);
        reply.headers_mut().insert(http::header::DATE, date.parse().unwrap());
    }
    Ok(reply)
}

fn response(status: u16, body: String) -> http::Response<Body> {
    let response = http::Response::builder().status(status).header("content-type", "application/json");
    response.body(Body::from(body.into_bytes())).unwrap()
}
