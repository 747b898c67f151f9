//! Single requests through the filter, for tests that need more control than a case has.

use std::collections::VecDeque;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::super::case::Case;
use super::super::subject::{Kind, Subject};
use super::super::world::{SharedData, World};
use super::proxy::Call;
use super::upstream::peer_answer;
use super::vm::Vm;

/// The filter in a minimal proxy. The test sends each request and answers each call.
pub struct FilterHarness {
    vm: Vm,
    calls: VecDeque<Call>,
    begun: usize,
    shared: SharedData,
}

/// The state of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestState {
    /// The filter has paused it.
    Paused,
    /// It continues to the upstream with this `authorization`.
    Continued(Option<String>),
    /// The filter has answered it: status, `retry-after` and problem document.
    Answered(u32, Option<String>, Value),
}

impl FilterHarness {
    /// # Errors
    /// If the filter refuses the configuration.
    pub fn begin(subject: &Subject, configuration: &Value) -> Result<Self> {
        let Kind::Filter(filter) = &subject.0 else { bail!("only a filter has requests") };
        let world = World::of(&Case::parse(r#"{ "steps": [] }"#)?)?;
        let vm = Vm::begin(filter, configuration, &world)?.map_err(anyhow::Error::msg)?;
        Ok(Self { vm, calls: VecDeque::new(), begun: 0, shared: world.shared })
    }

    /// Send a request.
    ///
    /// # Errors
    /// If the filter traps.
    pub fn request(&mut self, stream: u32, headers: &[(&str, &str)]) -> Result<()> {
        self.vm.request(stream, headers)
    }

    /// Drop a request. The filter is not notified.
    pub fn hang_up(&mut self, stream: u32) {
        self.vm.store.data_mut().streams.remove(&stream);
    }

    /// The number of calls that the filter has made.
    pub fn calls(&mut self) -> usize {
        let new = std::mem::take(&mut self.vm.store.data_mut().calls);
        self.begun += new.len();
        self.calls.extend(new);
        self.begun
    }

    /// Answer the oldest call.
    ///
    /// # Errors
    /// If there is none, or if the filter traps.
    pub fn answer(&mut self, status: u16, headers: &[(&str, &str)], body: &str) -> Result<()> {
        self.calls();
        let call = self.calls.pop_front().context("no call waits for an answer")?;
        let headers =
            headers.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        self.vm.answer(call.number, peer_answer(status, headers.collect(), body.as_bytes().to_vec()))
    }

    /// Call the filter's timer.
    ///
    /// # Errors
    /// If the filter traps.
    pub fn tick(&mut self) -> Result<()> {
        self.vm.tick()
    }

    /// The state of a request.
    ///
    /// # Errors
    /// If there is no such request, or if its answer is not a problem document.
    pub fn state(&self, stream: u32) -> Result<RequestState> {
        let stream = self.vm.store.data().streams.get(&stream).context("no such stream")?;
        let text = |value: &Vec<u8>| String::from_utf8_lossy(value).into_owned();
        if let Some(response) = &stream.response {
            let header = |of: &str| response.headers.iter().find(|(name, _)| name == of.as_bytes());
            let problem: Value = serde_json::from_slice(&response.body)?;
            let is_problem = header("content-type").is_some_and(|(_, it)| it == b"application/problem+json");
            let kind = header("x-token-broker").map(|(_, kind)| text(kind));
            if !is_problem || kind.as_deref() != problem["kind"].as_str() {
                bail!("not the headers of a problem document");
            }
            let retry_after = header("retry-after").map(|(_, value)| text(value));
            return Ok(RequestState::Answered(response.status, retry_after, problem));
        }
        let authorization = stream.headers.iter().find(|(name, _)| name == b"authorization");
        Ok(match stream.goes_on {
            true => RequestState::Continued(authorization.map(|(_, value)| text(value))),
            false => RequestState::Paused,
        })
    }

    /// A metric of the filter.
    pub fn metric(&self, name: &str) -> u64 {
        self.vm.metric(name)
    }

    /// The sealed values that the core has shared, without their expiry times.
    pub fn sealed(&self) -> Vec<Vec<u8>> {
        let shared = self.shared.borrow();
        let of_core = shared.iter().filter(|(key, _)| key.windows(13).any(|part| part == b"token-broker-"));
        of_core.filter_map(|(_, (value, _))| Some(value.get(8..)?.to_vec())).collect()
    }
}
