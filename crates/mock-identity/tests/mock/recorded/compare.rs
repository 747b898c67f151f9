//! In what two answers differ, but for what differs from one answer to the next: ids, times, tokens.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use uuid::Uuid;

use super::{Recording, Response};
use crate::client::Received;

/// The names of all headers that were recorded of a service
pub(super) struct HeaderNames(BTreeMap<&'static str, BTreeSet<String>>);

impl HeaderNames {
    pub(super) fn of(recordings: &BTreeMap<&'static str, Recording>) -> Self {
        let mut all = BTreeMap::<_, BTreeSet<_>>::new();
        for (file, recording) in recordings {
            let headers = recording.response.as_ref().and_then(|response| response.headers.as_ref());
            all.entry(server(file))
                .or_default()
                .extend(headers.into_iter().flatten().map(|(name, _)| name.to_lowercase()));
        }
        Self(all)
    }

    /// None where nothing is known
    pub(super) fn of_service(&self, file: &'static str) -> Option<&BTreeSet<String>> {
        self.0.get(server(file)).filter(|names| names.len() > 1)
    }
}

/// Services that are one server
fn server(file: &'static str) -> &'static str {
    match file.split('/').next().unwrap() {
        "open-id" => "entra",
        "container-apps" | "container-instances" | "automation" => "app-service",
        service => service,
    }
}

pub(super) fn differences(
    recording: &Recording,
    received: &Received,
    names: &Option<&BTreeSet<String>>,
) -> Vec<String> {
    let mut different = Vec::new();
    if let Some(words) = &recording.words {
        let body = received.json();
        let ours = normal(body["error_description"].as_str().unwrap(), false);
        if !ours.starts_with(&normal(words, false)) {
            different.push(format!("the words are {ours}"));
        }
    }
    let Some(response) = &recording.response else {
        return different;
    };
    if response.status.is_some_and(|status| status != received.status) {
        different.push(format!(
            "the status is {} and not {:?}: {}",
            received.status,
            response.status,
            received.text()
        ));
    }
    // Who writes a page by hand leaves headers out.
    if recording.source.kind != "documentation" {
        different.extend(of_headers(response, received));
    }
    let unheard = names.iter().flat_map(|names| {
        received
            .headers
            .keys()
            .filter(|name| !names.contains(*name) && !OF_EVERY_SERVER.contains(&name.as_str()))
    });
    different.extend(unheard.map(|name| format!("nobody ever recorded the header {name}")));
    if let Some(body) = &response.body {
        different.extend(of_bodies(body, received.text()));
    }
    different
}

fn of_headers(response: &Response, received: &Received) -> Vec<String> {
    let mut different = Vec::new();
    for (name, value) in response.headers.iter().flatten() {
        let name = name.to_lowercase();
        let ours: Vec<_> = received.fields.iter().filter(|(other, _)| *other == name).collect();
        match (name.as_str(), ours.as_slice()) {
            ("date" | "content-length" | "connection", _) => {}
            (_, []) => different.push(format!("the header {name} is missing")),
            ("set-cookie", _) => {
                let recorded =
                    response.headers.iter().flatten().filter(|(other, _)| other.eq_ignore_ascii_case(&name));
                if recorded.count() > ours.len() {
                    different.push(format!("{} cookies are too few", ours.len()));
                }
            }
            (compared, ours)
                if COMPARED.contains(&compared)
                    && ours.iter().all(|(_, ours)| directives(ours) != directives(value)) =>
            {
                different.push(format!("{name} is {ours:?} and not {value}"));
            }
            _ => {}
        }
    }
    let length = received.headers.get("content-length");
    if response.body.as_deref() == Some("") && length.is_some_and(|length| length != "0") {
        different.push("there is a body".to_owned());
    }
    different
}

/// In no order, since that changed over the years; of a media type the parameters do not count
fn directives(value: &str) -> BTreeSet<String> {
    let value = if value.starts_with("application/json") { "application/json" } else { value };
    let value = value.split_once("realm=/").map_or(value, |(before, _)| before);
    value
        .split(',')
        .map(|part| normal(part.trim(), false))
        .map(|part| part.split('/').next().unwrap().to_owned())
        .collect()
}

fn of_bodies(recorded: &str, ours: &str) -> Vec<String> {
    let lines = |body: &str| body.trim().lines().count();
    match (serde_json::from_str(recorded), serde_json::from_str(ours)) {
        (Ok(Value::Object(_)), Ok(Value::Object(body)))
            if body.contains_key("error") && lines(recorded) != lines(ours) =>
        {
            vec![format!("the body has {} lines and not {}", lines(ours), lines(recorded))]
        }
        (Ok(recorded), Ok(ours)) => of_values("", &recorded, &ours),
        (Err(_), Err(_)) if normal(recorded, false) == normal(ours, false) => Vec::new(),
        _ => vec![format!("the body is {ours} and not {recorded}")],
    }
}

fn of_values(path: &str, recorded: &Value, ours: &Value) -> Vec<String> {
    match (recorded, ours) {
        (Value::Object(recorded), Value::Object(ours)) => {
            let names: BTreeSet<_> =
                recorded.keys().chain(ours.keys()).filter(|name| is_fixed(path, name)).collect();
            let pairs = names.into_iter().map(|name| (name, recorded.get(name), ours.get(name)));
            pairs
                .flat_map(|(name, recorded, ours)| {
                    let path = format!("{path}/{name}");
                    match (recorded, ours) {
                        (Some(recorded), Some(ours)) => of_values(&path, recorded, ours),
                        (Some(_), None) => vec![format!("{path} is missing")],
                        _ => vec![format!("{path} is too much")],
                    }
                })
                .collect()
        }
        // The elements of a list are alike.
        (Value::Array(recorded), Value::Array(ours)) => match (recorded.first(), ours.first()) {
            (Some(recorded), Some(ours)) => of_values(&format!("{path}/0"), recorded, ours),
            (None, None) => Vec::new(),
            _ => vec![format!("{path} is {ours:?} and not {recorded:?}")],
        },
        (Value::String(recorded), Value::String(ours)) => {
            let name = path.rsplit('/').next().unwrap_or_default();
            let (one, other) = if WORDS.contains(&name) {
                // Several lines were one later.
                let lines = recorded.contains("\r\n");
                (normal(recorded, lines), normal(ours, lines))
            } else {
                (kind(recorded), kind(ours))
            };
            (one != other).then(|| format!("{path} is {other} and not {one}")).into_iter().collect()
        }
        (Value::Number(_), Value::Number(_)) | (Value::Null, Value::Null) => Vec::new(),
        (Value::Bool(recorded), Value::Bool(ours)) if recorded == ours => Vec::new(),
        _ => vec![format!("{path} is {ours} and not {recorded}")],
    }
}

/// `error_uri` came and went.
fn is_fixed(path: &str, name: &str) -> bool {
    !(path.is_empty() && name == "error_uri")
}

/// What sort of text it is
fn kind(text: &str) -> String {
    let all = |of: fn(char) -> bool| !text.is_empty() && text.chars().all(of);
    match text {
        "" => "empty".to_owned(),
        _ if all(|c| c.is_ascii_digit()) => "digits".to_owned(),
        _ if text.starts_with("eyJ") => "a token".to_owned(),
        _ if text.starts_with("http") => "a URL".to_owned(),
        _ if text.ends_with("+00:00") => "a date".to_owned(),
        _ => match normal(text, true).as_str() {
            "<id>" | "<time>" => normal(text, true),
            _ => "a text".to_owned(),
        },
    }
}

/// A text with marks in the place of its ids and times, and of a list that each has its own of
fn normal(text: &str, on_one_line: bool) -> String {
    let text = named(text);
    let text = if on_one_line { text.split_whitespace().collect::<Vec<_>>().join(" ") } else { text };
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        let size = if is_id(rest) { 36 } else { time(rest).unwrap_or(0) };
        match size {
            0 => out.push(first),
            36 if is_id(rest) => out.push_str("<id>"),
            _ => out.push_str("<time>"),
        }
        rest = &rest[if size == 0 { first.len_utf8() } else { size }..];
    }
    out
}

/// A text with a mark in the place of what each service calls something of its own
fn named(text: &str) -> String {
    let name = NAMED.iter().find_map(|marker| text.split_once(marker)?.1.split([' ', '.']).next());
    let list = text.split_once(LISTED).map(|(_, list)| list);
    list.or(name).map_or_else(|| text.to_owned(), |own| text.replace(own, "<own>"))
}

fn is_id(text: &str) -> bool {
    text.get(..36).is_some_and(|id| Uuid::try_parse(id).is_ok())
}

/// How long the time at the beginning of a text is: `2024-04-24 17:54:15Z` or `2026-06-23T06:33:25.7148737Z`
fn time(text: &str) -> Option<usize> {
    let shaped = |(at, byte): (usize, u8)| match at {
        4 | 7 => byte == b'-',
        10 => byte == b' ' || byte == b'T',
        13 | 16 => byte == b':',
        _ => byte.is_ascii_digit(),
    };
    let is_time = text.len() > 19 && text.bytes().take(19).enumerate().all(shaped);
    let end = text.find('Z').filter(|end| is_time && *end < 30)?;
    Some(end + 1)
}

/// What follows is a name, or a list of names.
const NAMED: [&str; 2] = ["Automation account ", "Token service "];
const LISTED: &str = "Supported audiences: ";
/// What each server sends, or none, as it sees fit
const OF_EVERY_SERVER: [&str; 4] = ["date", "content-length", "transfer-encoding", "connection"];
/// Headers whose value does not change from one answer to the next
const COMPARED: [&str; 9] = [
    "cache-control",
    "content-type",
    "expires",
    "pragma",
    "server",
    "transfer-encoding",
    "www-authenticate",
    "x-content-type-options",
    "x-ms-clitelem",
];
/// Fields that people and programs read
const WORDS: [&str; 12] = [
    "claims",
    "code",
    "error",
    "error_description",
    "errorMessage",
    "ErrorCode",
    "ExceptionMessage",
    "message",
    "Message",
    "suberror",
    "token_type",
    "typeKey",
];
