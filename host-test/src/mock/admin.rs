//! The mock's own endpoint: what was asked, and what shall fail.

use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::{call::Call, fault::Fault, platform::Platform, reply::Reply};

/// Answer for `path`, what follows `/admin`
pub(super) fn answer(platform: &Platform, call: &Call, path: &[&str]) -> Reply {
    match (&call.method, path) {
        (&Method::GET, ["requests"]) => Reply::json(StatusCode::OK, &platform.log.requests()),
        (&Method::GET, ["counters"]) => Reply::json(StatusCode::OK, &platform.log.counters()),
        (&Method::GET, ["faults"]) => Reply::json(StatusCode::OK, &platform.faults().pending()),
        (&Method::POST, ["faults"]) => add_faults(platform, &call.body),
        (&Method::POST, ["reset"]) => {
            platform.reset();
            Reply::json(StatusCode::OK, &json!({ "reset": true }))
        }
        _ => Reply::text(StatusCode::NOT_FOUND, HELP),
    }
}

fn add_faults(platform: &Platform, body: &[u8]) -> Reply {
    match read_faults(body) {
        Ok(faults) => {
            let mut script = platform.faults();
            faults.into_iter().for_each(|fault| script.add(fault));
            Reply::json(StatusCode::OK, &script.pending())
        }
        Err(error) => {
            Reply::text(StatusCode::BAD_REQUEST, format!("this is no fault or list of faults: {error}\n"))
        }
    }
}

/// One fault or a list of them. Not an untagged enum, whose error would not say what is wrong.
fn read_faults(body: &[u8]) -> serde_json::Result<Vec<Fault>> {
    match serde_json::from_slice(body)? {
        list @ serde_json::Value::Array(_) => Vec::deserialize(list),
        fault => Ok(vec![Fault::deserialize(fault)?]),
    }
}

const HELP: &str = "\
GET  /admin/requests   what was asked
GET  /admin/counters   how often
GET  /admin/faults     what is still to fail
POST /admin/faults     a fault or a list of faults, as JSON
POST /admin/reset      as at the start
";
