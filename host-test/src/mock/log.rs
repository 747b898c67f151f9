//! What the mock was asked: a log without tokens and secrets, and counters.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;
use tokio::sync::watch;

use super::{call::Call, endpoint::Endpoint, fault::Fault, redaction, reply::Reply};

/// A request as the log keeps it
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Recorded {
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
    /// The status it was answered with; none while it waits, and none for a reset
    pub status: Option<u16>,
    /// The name of the identity whose token it got
    pub issued_to: Option<String>,
}

/// How many requests an endpoint saw, and what became of them
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Counters(BTreeMap<Endpoint, Counts>);

impl Counters {
    /// The counts of one endpoint
    pub fn of(&self, endpoint: Endpoint) -> Counts {
        self.0.get(&endpoint).copied().unwrap_or_default()
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self(Endpoint::ALL.into_iter().map(|endpoint| (endpoint, Counts::default())).collect())
    }
}

#[derive(Default)]
pub(super) struct RequestLog {
    entries: Mutex<Entries>,
    news: watch::Sender<()>,
}

#[derive(Default)]
struct Entries {
    last: u64,
    kept: VecDeque<Recorded>,
    counters: Counters,
}

impl RequestLog {
    /// Note a request when it comes, and return the number under which it is kept
    pub(super) fn arrival(&self, call: &Call, fault: Option<&Fault>) -> u64 {
        let mut entries = self.entries();
        entries.last += 1;
        let number = entries.last;
        entries.kept.push_back(record(number, call, fault));
        if entries.kept.len() > KEPT {
            entries.kept.pop_front();
        }
        entries.count(call.endpoint, |counts| {
            counts.requests += 1;
            counts.faults += u64::from(fault.is_some());
        });
        drop(entries);
        self.news.send_replace(());
        number
    }

    pub(super) fn answered(&self, number: u64, reply: &Reply) {
        let mut entries = self.entries();
        // A reset in between may have forgotten the request.
        let Some(entry) = entries.kept.iter_mut().rev().find(|entry| entry.number == number) else { return };
        entry.status = Some(reply.status.as_u16());
        entry.issued_to.clone_from(&reply.issued_to);
        let endpoint = entry.endpoint;
        entries.count(endpoint, |counts| {
            counts.tokens += u64::from(reply.issued_to.is_some());
            counts.refused += u64::from(reply.status.as_u16() >= 400);
        });
    }

    pub(super) fn requests(&self) -> Vec<Recorded> {
        self.entries().kept.iter().cloned().collect()
    }

    pub(super) fn counters(&self) -> Counters {
        self.entries().counters.clone()
    }

    pub(super) async fn arrived(&self, endpoint: Endpoint, count: u64) {
        let mut news = self.news.subscribe();
        while self.counters().of(endpoint).requests < count {
            if news.changed().await.is_err() {
                return;
            }
        }
    }

    /// Numbers go on, so that a request that is still waiting for its answer is not taken for a new one.
    pub(super) fn clear(&self) {
        let mut entries = self.entries();
        entries.kept.clear();
        entries.counters = Counters::default();
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn count(&mut self, endpoint: Endpoint, change: impl FnOnce(&mut Counts)) {
        change(self.counters.0.entry(endpoint).or_default());
    }
}

fn record(number: u64, call: &Call, fault: Option<&Fault>) -> Recorded {
    Recorded {
        number,
        endpoint: call.endpoint,
        method: call.method.to_string(),
        path: call.path.clone(),
        query: redaction::parameters(&call.query),
        form: redaction::parameters(call.form.as_deref().unwrap_or_default()),
        headers: redaction::headers(call),
        fault: fault.map(|fault| fault.answer.name()),
        status: None,
        issued_to: None,
    }
}

const KEPT: usize = 10_000;
