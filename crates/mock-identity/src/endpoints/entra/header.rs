//! The headers of Entra ID's answers, as they were in 2025.

use crate::{call::Call, reply::Reply};

/// Of the token endpoint, with the number of an error; an AD FS has none of them
pub(super) fn of_token(reply: Reply, call: &Call, request_id: &str, refused: Option<u32>) -> Reply {
    if super::request::is_adfs(call) {
        return reply.with(REQUEST_ID, request_id);
    }
    let reply = of_all(reply, call, request_id, "no-store, no-cache").with_all(&NEVER_KEPT);
    match refused {
        Some(number) => reply.with(TELEMETRY, &format!("1,{number},0,,")),
        // Only a client that sends telemetry gets some.
        None if call.field("x-client-current-telemetry").is_some() => reply.with(TELEMETRY, "1,0,0,,"),
        None => reply,
    }
}

pub(in crate::endpoints) fn of_discovery(reply: Reply, call: &Call, request_id: &str) -> Reply {
    let of_browsers =
        [("access-control-allow-origin", "*"), ("access-control-allow-methods", "GET, OPTIONS")];
    of_all(reply, call, request_id, "max-age=86400, private").with_all(&of_browsers)
}

fn of_all(reply: Reply, call: &Call, request_id: &str, cache: &str) -> Reply {
    let reply = reply.with("cache-control", cache).with(REQUEST_ID, request_id).with_all(&ALL);
    let reply = COOKIES.iter().fold(reply, |reply, cookie| reply.beside("set-cookie", cookie));
    reply.repeating("client-request-id", call)
}

const REQUEST_ID: &str = "x-ms-request-id";
const TELEMETRY: &str = "x-ms-clitelem";

const ALL: [(&str, &str); 5] = [
    ("p3p", r#"CP="DSP CUR OTPi IND OTRi ONL FIN""#),
    ("strict-transport-security", "max-age=31536000; includeSubDomains"),
    ("x-content-type-options", "nosniff"),
    ("x-ms-ests-server", "2.1.20106.4 - WUS3 ProdSlices"),
    ("x-xss-protection", "0"),
];
const NEVER_KEPT: [(&str, &str); 4] = [
    (
        "content-security-policy-report-only",
        "object-src 'none'; base-uri 'self'; report-uri https://csp.microsoft.com/report/ESTS-UX-All",
    ),
    ("expires", "-1"),
    ("pragma", "no-cache"),
    ("x-ms-srs", "1.P"),
];
const COOKIES: [&str; 4] = [
    "esctx=AQAB; domain=.login.microsoftonline.com; path=/; secure; HttpOnly; SameSite=None",
    "fpc=AgAAAA; expires=Thu, 01-Apr-2027 23:59:33 GMT; path=/; secure; HttpOnly; SameSite=None",
    "x-ms-gateway-slice=estsfd; path=/; secure; samesite=none; httponly",
    "stsservicecookie=estsfd; path=/; secure; samesite=none; httponly",
];
