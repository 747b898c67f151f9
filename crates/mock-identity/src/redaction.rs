//! Redaction of requests for the log: no token, secret, assertion or key remains.

use std::collections::BTreeMap;

use crate::call::Call;

/// The first parameters of a query or form; of unknown ones the name alone, and not even that if it looks odd
pub(crate) fn parameters(pairs: &[(String, String)]) -> Vec<(String, String)> {
    pairs.iter().take(KEPT).map(|(name, value)| shown(name, value)).collect()
}

/// The relevant headers, by lower-case name; of those that carry a secret, their presence
pub(crate) fn headers(call: &Call) -> BTreeMap<String, String> {
    let shown = SHOWN_HEADERS.iter().filter_map(|&name| Some((name, call.header(name)?)));
    let hidden = SECRET_HEADERS.iter().filter(|&&name| call.headers.contains_key(name));
    shown
        .chain(hidden.map(|&name| (name, NOT_SHOWN)))
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

fn shown(name: &str, value: &str) -> (String, String) {
    if SHOWN_PARAMETERS.contains(&name) {
        return (name.to_owned(), value.to_owned());
    }
    // A body that is a bare secret reads as the name of a field without a value.
    let name = if is_name(name) { name } else { NOT_SHOWN };
    (name.to_owned(), NOT_SHOWN.to_owned())
}

fn is_name(name: &str) -> bool {
    name.len() <= LONGEST_NAME && name.chars().all(|c| c.is_ascii_lowercase() || "_-0123456789".contains(c))
}

const NOT_SHOWN: &str = "(not shown)";
const KEPT: usize = 40;
const LONGEST_NAME: usize = 24;

const SHOWN_PARAMETERS: [&str; 22] = [
    "api-version",
    "audience",
    "authorization_endpoint",
    "claims",
    "client_assertion_type",
    "client_id",
    "client_info",
    "clientid",
    "format",
    "grant_type",
    "mi_res_id",
    "msi_res_id",
    "object_id",
    "principal_id",
    "recursive",
    "requested_token_use",
    "resource",
    "resource_id",
    "scope",
    "serviceConnectionId",
    // A digest, from which no token can be made.
    "token_sha256_to_refresh",
    "xms_cc",
];

const SHOWN_HEADERS: [&str; 15] = [
    "accept",
    "client-request-id",
    "content-length",
    "content-type",
    "host",
    "metadata",
    "metadata-flavor",
    "transfer-encoding",
    "user-agent",
    "x-client-sku",
    "x-client-ver",
    "x-forwarded-for",
    "x-ms-client-request-id",
    "x-ms-version",
    "x-tfs-fedauthredirect",
];

const SECRET_HEADERS: [&str; 3] = ["authorization", "secret", "x-identity-header"];
