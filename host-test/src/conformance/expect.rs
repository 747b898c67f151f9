//! The comparison of a request with the one that a case expects.

use std::collections::BTreeMap;
use std::fmt;

use http::HeaderMap;

use super::case::Expect;
use super::content::Text;

/// The compared parts of a request.
pub(crate) struct Received {
    method: String,
    url: String,
    query: Pairs,
    headers: HeaderMap,
    form: Pairs,
    after_ms: u64,
}

type Pairs = Vec<(String, String)>;

impl Received {
    pub(crate) fn new(head: &http::request::Parts, body: &[u8], after_ms: u64) -> Self {
        let (url, query) = split(&head.uri.to_string());
        Self {
            method: head.method.to_string(),
            url,
            query,
            headers: head.headers.clone(),
            form: form_urlencoded::parse(body).into_owned().collect(),
            after_ms,
        }
    }

    /// The differences from the expected request.
    pub(crate) fn differences(&self, expect: &Expect) -> Vec<String> {
        let url = expect.url.as_deref().map(split);
        let (url, in_url) = url.map_or((None, Vec::new()), |(url, query)| (Some(url), query));
        let query =
            in_url.into_iter().map(|(name, value)| (name, Text(value))).chain(expect.query.clone()).collect();
        let mut differences = Vec::new();
        differences.extend(unequal("method", expect.method.as_deref(), &self.method));
        differences.extend(unequal("URL", url.as_deref(), &self.url));
        differences.extend(missing("query parameter", &query, |name| values(&self.query, name)));
        differences
            .extend(surplus("query parameter", &expect.query_absent, |name| values(&self.query, name)));
        differences.extend(missing("header", &expect.headers, |name| self.header(name)));
        differences.extend(surplus("header", &expect.headers_absent, |name| self.header(name)));
        differences.extend(missing("form field", &expect.form, |name| values(&self.form, name)));
        differences.extend(expect.after_ms.and_then(|between| self.too_early_or_late(between)));
        differences
    }

    fn header(&self, name: &str) -> Vec<String> {
        self.headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect()
    }

    fn too_early_or_late(&self, (earliest, latest): (u64, u64)) -> Option<String> {
        let in_time = (earliest..=latest).contains(&self.after_ms);
        (!in_time).then(|| format!("it must come {earliest} to {latest} ms after the step began"))
    }
}

impl fmt::Display for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.url)?;
        for (nth, (name, value)) in self.query.iter().enumerate() {
            let separator = if nth == 0 { '?' } else { '&' };
            write!(f, "{separator}{name}={value}")?;
        }
        write!(f, " after {} ms", self.after_ms)
    }
}

fn unequal(what: &str, wanted: Option<&str>, got: &str) -> Option<String> {
    let wanted = wanted.filter(|wanted| *wanted != got)?;
    Some(format!("its {what} must be {wanted} and is {got}"))
}

/// Names that must occur once and with a certain value.
fn missing(what: &str, wanted: &BTreeMap<String, Text>, got: impl Fn(&str) -> Vec<String>) -> Vec<String> {
    let differing = wanted.iter().filter_map(|(name, Text(value))| match got(name).as_slice() {
        [only] if only == value => None,
        [] => Some(format!("its {what} {name} is missing")),
        others => Some(format!("its {what} {name} must be {value:?} and is {others:?}")),
    });
    differing.collect()
}

fn surplus(what: &str, unwanted: &[String], got: impl Fn(&str) -> Vec<String>) -> Vec<String> {
    let there = unwanted.iter().filter(|name| !got(name).is_empty());
    there.map(|name| format!("it must not have the {what} {name}")).collect()
}

fn values(pairs: &Pairs, name: &str) -> Vec<String> {
    pairs.iter().filter(|pair| pair.0 == name).map(|pair| pair.1.clone()).collect()
}

/// A URL without its query, and the query. An empty path becomes `/`, and the default port is removed.
fn split(url: &str) -> (String, Pairs) {
    let (url, query) = url.split_once('?').unwrap_or((url, ""));
    let query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let Ok(uri) = url.parse::<http::Uri>() else { return (url.to_owned(), query) };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return (url.to_owned(), query);
    };
    let default_port = if scheme == "http" { ":80" } else { ":443" };
    let authority = authority.as_str().trim_end_matches(default_port);
    (format!("{scheme}://{authority}{}", uri.path()), query)
}
