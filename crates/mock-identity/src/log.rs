//! The log of requests, without tokens and secrets, and counters.

use std::collections::{BTreeMap, VecDeque};

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::watch;

use crate::{call::Call, endpoint::Endpoint, fault::Fault, redaction, reply::Reply};

/// A request in the log
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LoggedRequest {
    /// Its place among all requests since the start or the last reset, from 1
    pub number: u64,
    /// The service it was for
    pub endpoint: Endpoint,
    /// The method
    pub method: String,
    /// The path, without the query
    pub path: String,
    /// The parameters of the query; values of unknown ones are not shown
    pub query: Vec<(String, String)>,
    /// The fields of a form, likewise
    pub form: Vec<(String, String)>,
    /// The headers that matter, by lower-case name; of those that carry a secret, only that they were there
    pub headers: BTreeMap<String, String>,
    /// The fault that answered it
    pub fault: Option<String>,
    /// The status of the answer; none before it, and none for a reset
    pub status: Option<u16>,
    /// The name of the identity whose token was issued
    pub issued_to: Option<String>,
}

/// The numbers of requests of an endpoint, and of their outcomes
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Requests that arrived
    pub requests: u64,
    /// Tokens that were issued
    pub tokens: u64,
    /// Answers of 400 and above
    pub refused: u64,
    /// Requests that a scripted fault answered or delayed
    pub faults: u64,
}

/// The counts of each endpoint
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters(BTreeMap<Endpoint, Counts>);

impl Counters {
    /// The counts of one endpoint
    pub fn of(&self, endpoint: Endpoint) -> Counts {
        self.0.get(&endpoint).copied().unwrap_or_default()
    }
}

#[derive(Default)]
pub(crate) struct RequestLog {
    entries: Mutex<Entries>,
    news: watch::Sender<()>,
}

#[derive(Default)]
struct Entries {
    last: u64,
    kept: VecDeque<LoggedRequest>,
    /// The size of all that is kept
    bytes: usize,
    counters: Counters,
}

impl RequestLog {
    /// Add a request at its arrival, and return its number
    pub(crate) fn arrival(&self, endpoint: Endpoint, call: &Call, fault: Option<&Fault>) -> u64 {
        let mut entries = self.entries.lock();
        entries.last += 1;
        let number = entries.last;
        entries.keep(LoggedRequest {
            number,
            endpoint,
            method: call.method.to_string(),
            path: call.path.clone(),
            query: redaction::parameters(&call.query),
            form: redaction::parameters(call.form.as_deref().unwrap_or_default()),
            headers: redaction::headers(call),
            fault: fault.map(|fault| fault.answer.name()),
            status: None,
            issued_to: None,
        });
        entries.count(endpoint, |counts| {
            counts.requests += 1;
            counts.faults += u64::from(fault.is_some());
        });
        drop(entries);
        self.news.send_replace(());
        number
    }

    pub(crate) fn answered(&self, number: u64, reply: &Reply) {
        let mut entries = self.entries.lock();
        // A reset in between may have forgotten the request.
        let Some(entry) = entries.kept.iter_mut().rev().find(|entry| entry.number == number) else {
            return;
        };
        entry.status = Some(reply.status.as_u16());
        entry.issued_to.clone_from(&reply.issued_to);
        let endpoint = entry.endpoint;
        entries.count(endpoint, |counts| {
            counts.tokens += u64::from(reply.issued_to.is_some());
            counts.refused += u64::from(reply.status.as_u16() >= 400);
        });
    }

    pub(crate) fn requests(&self) -> Vec<LoggedRequest> {
        self.entries.lock().kept.iter().cloned().collect()
    }

    pub(crate) fn counters(&self) -> Counters {
        self.entries.lock().counters.clone()
    }

    pub(crate) async fn arrived(&self, endpoint: Endpoint, count: u64) {
        let mut news = self.news.subscribe();
        while self.counters().of(endpoint).requests < count {
            if news.changed().await.is_err() {
                return;
            }
        }
    }

    /// Numbers go on, so that a request that is still waiting for its answer is not taken for a new one.
    pub(crate) fn clear(&self) {
        let mut entries = self.entries.lock();
        entries.kept.clear();
        entries.bytes = 0;
        entries.counters = Counters::default();
    }
}

impl Entries {
    /// Add a request; the oldest ones make room
    fn keep(&mut self, entry: LoggedRequest) {
        self.bytes = self.bytes.saturating_add(entry.size());
        self.kept.push_back(entry);
        while self.kept.len() > KEPT || self.bytes > KEPT_BYTES {
            let Some(oldest) = self.kept.pop_front() else {
                break;
            };
            self.bytes = self.bytes.saturating_sub(oldest.size());
        }
    }

    fn count(&mut self, endpoint: Endpoint, change: impl FnOnce(&mut Counts)) {
        change(self.counters.0.entry(endpoint).or_default());
    }
}

impl LoggedRequest {
    fn size(&self) -> usize {
        let pairs = self.query.iter().chain(&self.form).map(|(name, value)| (name, value));
        let texts = pairs.chain(&self.headers).map(|(name, value)| name.len().saturating_add(value.len()));
        texts.fold(self.path.len().saturating_add(EACH), usize::saturating_add)
    }
}

const KEPT: usize = 10_000;
/// Four times the size of ten thousand requests of SDKs.
const KEPT_BYTES: usize = 32 * 1024 * 1024;
/// For all of a request that has no length of its own.
const EACH: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u64, path: String) -> LoggedRequest {
        let query = vec![("resource".to_owned(), path.clone())];
        let (endpoint, method) = (Endpoint::Imds, "GET".to_owned());
        let (form, headers, fault, status, issued_to) = (Vec::new(), BTreeMap::new(), None, None, None);
        LoggedRequest { number, endpoint, method, path, query, form, headers, fault, status, issued_to }
    }

    #[test]
    fn the_log_is_bounded_by_its_size_and_by_its_length_and_the_oldest_go_first() {
        let mut entries = Entries::default();
        (1..=100).for_each(|number| entries.keep(entry(number, "x".repeat(512 * 1024))));
        assert_eq!(entries.kept.len(), 31, "of a little more than a mebibyte each");
        assert_eq!(entries.kept[0].number, 70);
        assert_eq!(entries.bytes, entries.kept.iter().map(LoggedRequest::size).sum::<usize>());
        (1..=20_000).for_each(|number| entries.keep(entry(number, String::new())));
        assert_eq!((entries.kept.len(), entries.kept[0].number), (KEPT, 10_001));
    }
}
