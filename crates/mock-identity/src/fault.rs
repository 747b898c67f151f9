//! Scripted failures: which request fails, how often, and how.

use std::{
    collections::{BTreeMap, VecDeque},
    num::{NonZeroU16, NonZeroU64},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::endpoint::Endpoint;

/// A failure of one endpoint
///
/// The faults of an endpoint are played one after another, in the order in which they were added: each lets `after`
/// requests through, answers the next `times` in its way, and makes room for the next one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Fault {
    /// The endpoint whose requests fail
    pub endpoint: Endpoint,
    /// The answer in the place of the usual one
    #[serde(default)]
    pub answer: Answer,
    /// How many requests are answered as usual first
    #[serde(default)]
    pub after: u64,
    /// How many requests fail
    #[serde(default)]
    pub times: Times,
    /// The delay of each of them
    #[serde(default)]
    pub delay_ms: u64,
}

/// How a request is answered
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// The usual answer: with `delay-ms`, a slow service
    #[default]
    AsUsual,
    /// With this status, worded as the endpoint words it
    Status(StatusAnswer),
    /// The connection is reset: a TCP RST before any byte of an answer
    Reset,
    /// The connection is closed before any byte of an answer
    Closed,
    /// The usual status and headers, and no body
    Empty,
    /// The usual body in small chunks, without its length
    Chunked,
    /// Half of the usual body, then the connection is cut although `Content-Length` promises more
    Truncated,
    /// The same in chunks, of which the last one is missing
    TruncatedChunks,
    /// Half of the usual body of an answer in HTTP/1.0 without its length: the end of the connection seems to be its end
    TruncatedUnsized,
    /// 200 and a web page, as from a proxy or a captive portal
    Html,
    /// 200 and a JSON body of 50 MiB that does not announce its length
    Oversize,
    /// The usual body, one byte every 100 ms
    SlowDrip,
    /// 302 to this URL
    Redirect(String),
    /// 307 to this URL, where a client that follows it sends its body again
    TemporaryRedirect(String),
    /// 200, labelled JSON, and no JSON
    Garbage,
    /// A good token of an identity that was not asked for
    WrongIdentity,
}

/// A status with its headers and body
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StatusAnswer {
    /// The status code, from 200 to 599
    #[serde(deserialize_with = "final_status")]
    pub code: u16,
    /// The values of `Retry-After`, a header each, sent as they are: seconds, a date, or nonsense
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub retry_after: Vec<String>,
    /// The body, instead of the endpoint's own wording
    pub body: Option<String>,
    /// The content type of `body`; `application/json` when left out
    pub content_type: Option<String>,
}

/// How many requests a fault answers
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "times is a whole number from 1 on, or \"forever\"")]
pub enum Times {
    /// This many
    Count(NonZeroU64),
    /// All that come
    Forever(Forever),
}

/// The word `forever`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Forever {
    /// Until the faults are cleared
    Forever,
}

impl Fault {
    /// Answer the next request of `endpoint` in this way
    pub fn new(endpoint: Endpoint, answer: Answer) -> Self {
        Self { endpoint, answer, after: 0, times: Times::default(), delay_ms: 0 }
    }

    /// Let `count` requests through first
    #[must_use]
    pub fn after(self, count: u64) -> Self {
        Self { after: count, ..self }
    }

    /// Answer `count` requests in this way, at least one
    #[must_use]
    pub fn times(self, count: u64) -> Self {
        Self { times: Times::Count(NonZeroU64::new(count).unwrap_or(NonZeroU64::MIN)), ..self }
    }

    /// Answer all requests in this way
    #[must_use]
    pub fn forever(self) -> Self {
        Self { times: Times::Forever(Forever::Forever), ..self }
    }

    /// Delay each of them, in whole milliseconds
    #[must_use]
    pub fn delayed(self, delay: Duration) -> Self {
        Self { delay_ms: u64::try_from(delay.as_millis()).unwrap_or(u64::MAX), ..self }
    }
}

impl Answer {
    /// This status in the endpoint's own words
    pub fn status(code: u16) -> Self {
        Self::Status(StatusAnswer { code, retry_after: Vec::new(), body: None, content_type: None })
    }

    /// This status in the endpoint's own words, with a `Retry-After`
    pub fn retry_after(code: u16, value: &str) -> Self {
        let retry_after = vec![value.to_owned()];
        Self::Status(StatusAnswer { code, retry_after, body: None, content_type: None })
    }

    /// This status and body
    pub fn body(code: u16, content_type: &str, body: &str) -> Self {
        let (body, content_type) = (Some(body.to_owned()), Some(content_type.to_owned()));
        Self::Status(StatusAnswer { code, retry_after: Vec::new(), body, content_type })
    }

    /// Its name in the log, without a scripted body
    pub(crate) fn name(&self) -> String {
        match (self, serde_json::to_value(self)) {
            (Self::AsUsual, _) => "delay".to_owned(),
            (Self::Status(answer), _) => format!("status {}", answer.code),
            (Self::Redirect(_), _) => "redirect".to_owned(),
            (Self::TemporaryRedirect(_), _) => "temporary-redirect".to_owned(),
            (_, written) => written.ok().as_ref().and_then(Value::as_str).unwrap_or_default().to_owned(),
        }
    }
}

impl Default for Times {
    fn default() -> Self {
        Self::Count(NonZeroU64::MIN)
    }
}

/// The faults that are still to play
#[derive(Default)]
pub(crate) struct FaultScript {
    queues: BTreeMap<Endpoint, VecDeque<Fault>>,
}

impl FaultScript {
    pub(crate) fn new(faults: &[Fault]) -> Self {
        let mut script = Self::default();
        faults.iter().cloned().for_each(|fault| script.add(fault));
        script
    }

    pub(crate) fn add(&mut self, fault: Fault) {
        self.queues.entry(fault.endpoint).or_default().push_back(fault);
    }

    pub(crate) fn len(&self) -> usize {
        self.queues.values().map(VecDeque::len).sum()
    }

    pub(crate) fn pending(&self) -> Vec<Fault> {
        self.queues.values().flatten().cloned().collect()
    }

    /// Count a request of `endpoint`, and say which fault answers it
    pub(crate) fn next(&mut self, endpoint: Endpoint) -> Option<Fault> {
        let queue = self.queues.get_mut(&endpoint)?;
        let fault = queue.front_mut()?;
        if let Some(after) = fault.after.checked_sub(1) {
            fault.after = after;
            return None;
        }
        let played = fault.clone();
        if let Times::Count(times) = fault.times {
            match NonZeroU64::new(times.get().saturating_sub(1)) {
                Some(rest) => fault.times = Times::Count(rest),
                None => drop(queue.pop_front()),
            }
        }
        Some(played)
    }
}

fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "retry-after is a text or a list of texts")]
    enum Values {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Values::deserialize(deserializer)? {
        Values::One(value) => vec![value],
        Values::Many(values) => values,
    })
}

/// An interim status (1xx) would not end the exchange.
fn final_status<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    let code = NonZeroU16::deserialize(deserializer)?.get();
    if (200..600).contains(&code) {
        return Ok(code);
    }
    Err(serde::de::Error::custom(format_args!("{code} is no status code from 200 to 599")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn played(script: &mut FaultScript, requests: usize) -> Vec<Option<String>> {
        (0..requests).map(|_| script.next(Endpoint::Imds).map(|fault| fault.answer.name())).collect()
    }

    fn words(names: &[&str]) -> Vec<Option<String>> {
        names.iter().map(|name| (!name.is_empty()).then(|| (*name).to_owned())).collect()
    }

    #[test]
    fn faults_of_an_endpoint_play_one_after_another() {
        let mut script = FaultScript::new(&[
            Fault::new(Endpoint::Imds, Answer::status(500)).after(1).times(2),
            Fault::new(Endpoint::AppService, Answer::Garbage),
            Fault::new(Endpoint::Imds, Answer::Html).after(1),
        ]);
        assert_eq!(played(&mut script, 6), words(&["", "status 500", "status 500", "", "html", ""]));
        assert_eq!(script.pending().len(), 1, "the other endpoint's fault waits for its own requests");
    }

    #[test]
    fn forever_never_makes_room() {
        let mut script = FaultScript::new(&[Fault::new(Endpoint::Imds, Answer::Reset).forever()]);
        script.add(Fault::new(Endpoint::Imds, Answer::Html));
        assert_eq!(played(&mut script, 3), words(&["reset", "reset", "reset"]));
    }

    #[test]
    fn the_written_form_is_the_documented_one() {
        let text = r#"{"endpoint":"imds","answer":{"status":{"code":429,"retry-after":"1"}},"times":"forever","delay-ms":5}"#;
        let fault: Fault = serde_json::from_str(text).unwrap();
        let expected = Fault::new(Endpoint::Imds, Answer::retry_after(429, "1"))
            .forever()
            .delayed(Duration::from_millis(5));
        assert_eq!(fault, expected);
    }

    #[test]
    fn a_fault_that_cannot_be_is_refused_with_its_reason() {
        for (text, reason) in [
            (r#"{"endpoint":"imds","answer":"explode"}"#, "explode"),
            (r#"{"endpoint":"imds","times":0}"#, "times is a whole number from 1 on"),
            (r#"{"endpoint":"imds","answer":{"status":{"code":99}}}"#, "99 is no status code"),
            (r#"{"endpoint":"imds","delay":5}"#, "delay"),
        ] {
            let error = serde_json::from_str::<Fault>(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
