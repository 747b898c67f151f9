//! The identity platform: IMDS as every machine reaches it.

use std::time::{Duration, UNIX_EPOCH};

use token_broker::{Body, SendError, SendErrorKind};

use crate::fault::Ill;
use crate::invariant::SENTINEL;
use crate::machine::{START, Seat};

type Reply = Result<http::Response<Body>, SendError>;

/// Keys come in pairs: a scope for the machine's own identity, and for the app.
pub(crate) fn scope(key: usize) -> String {
    format!("https://s{}.example/.default", key / 2)
}

/// Whether a key is for the identity of this client id, rather than for the machine's own.
pub(crate) fn client_id(key: usize) -> Option<&'static str> {
    (key % 2 == 1).then_some("app")
}

/// What a request asks for.
pub(crate) fn key(uri: &http::Uri) -> usize {
    let query = uri.query().unwrap();
    let scope: usize = query.split_once("%2Fs").unwrap().1.split_once(".example").unwrap().0.parse().unwrap();
    scope * 2 + usize::from(query.contains("client_id=app"))
}

/// The answer, and how long the platform then wants to be left alone.
pub(crate) async fn answer(seat: &Seat, key: usize) -> (Reply, Duration) {
    let platform = |ill| match ill {
        Ill::Throttled(_) | Ill::Upgrading | Ill::Broken | Ill::Slow => Some(ill),
        _ => None,
    };
    let (world, ahead) = (&seat.world, seat.ahead());
    let ill = seat.plan.ails(seat.machine, world.now(), platform);
    let longest = if ill == Some(Ill::Slow) { 12_000_000 } else { 150_000 };
    world.sleep(world.between(2000, longest)).await;
    let secret = format!("{SENTINEL}-{key}-{}", world.serial());
    let answer = match ill {
        Some(Ill::Throttled(told)) => throttled(told),
        Some(Ill::Upgrading) => (refusal(410, None), Duration::ZERO),
        Some(Ill::Broken) => (refusal(if world.one_in(2) { 500 } else { 503 }, None), Duration::ZERO),
        Some(Ill::Slow) if world.one_in(4) => (broken(), Duration::ZERO),
        _ => (token(seat, key, &secret, ahead), Duration::ZERO),
    };
    world.sleep(world.between(2000, longest)).await;
    seat.invariants.received(&secret, seat.ahead());
    answer
}

fn throttled(told: u64) -> (Reply, Duration) {
    (refusal(429, (told > 0).then_some(told)), Duration::from_secs(told))
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
    seat.invariants.minted(seat, key, secret, ends, ahead);
    let expiry = match plan.tells_moment {
        true => format!(r#""expires_on":"{}""#, (START + ends).as_secs()),
        false => format!(r#""expires_in":"{}""#, plan.life),
    };
    let refresh = plan.refresh_in.map(|seconds| format!(r#","refresh_in":"{seconds}""#)).unwrap_or_default();
    let mut reply = response(200, format!(r#"{{"access_token":"{secret}",{expiry}{refresh}}}"#));
    if plan.tells_date {
        let date = httpdate::fmt_http_date(UNIX_EPOCH + START + now);
        reply.headers_mut().insert(http::header::DATE, date.parse().unwrap());
    }
    Ok(reply)
}

fn response(status: u16, body: String) -> http::Response<Body> {
    let response = http::Response::builder().status(status).header("content-type", "application/json");
    response.body(Body::from(body.into_bytes())).unwrap()
}
