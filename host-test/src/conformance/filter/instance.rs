//! An instance of the filter, for cases.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::Value;
use tokio::time::Instant;

use super::super::broker::{AccessToken, Error, Failure, Outcome, SourceReport, Statistics};
use super::super::case::{Ask, Count, Counter, Step, StoreChange, StoreCondition};
use super::super::content::Text;
use super::super::files::Files;
use super::super::script::Script;
use super::super::subject::Instance;
use super::super::world::World;
use super::Filter;
use super::configuration::{Rule, TOKEN, host, value, without_rules};
use super::proxy::{Call, ROOT, Stream};
use super::upstream::{self, CallResult};
use super::vm::Vm;

/// The running filter, or its errors.
pub(crate) struct FilterInstance {
    vm: Option<Vm>,
    /// The accepted rules, and the refused ones with their errors.
    rules: Vec<Rule>,
    refused: Vec<(Rule, String)>,
    /// The error of a configuration that is refused as a whole.
    refusal: String,
    script: Arc<Script>,
    files: Arc<Files>,
    token_file: PathBuf,
    next_stream: u32,
}

impl FilterInstance {
    /// Start the filter with as many of the rules as it accepts.
    pub(super) fn begin(
        filter: &Filter,
        mut rules: Vec<Rule>,
        world: &World,
        keeps_shared: bool,
    ) -> Result<Self> {
        if !keeps_shared {
            world.shared.borrow_mut().clear();
        }
        let (mut refused, mut refusal) = (Vec::new(), String::new());
        let mut vm = None;
        while vm.is_none() && !rules.is_empty() {
            match Vm::begin(filter, &configuration(&rules, &world.env), world)? {
                Ok(begun) => vm = Some(begun),
                Err(words) => match refused_rule(&words) {
                    Some(nth) => refused.push((rules.remove(nth), words)),
                    None => {
                        refusal = words;
                        break;
                    }
                },
            }
        }
        let token_file = value(&world.env, "AZURE_FEDERATED_TOKEN_FILE").unwrap_or_default();
        Ok(Self {
            vm,
            rules,
            refused,
            refusal,
            script: Arc::clone(&world.script),
            files: Arc::clone(&world.files),
            token_file: token_file.trim_start_matches('/').into(),
            next_stream: ROOT,
        })
    }

    /// Send requests that a rule applies to, and wait for everything that they started.
    async fn send(&mut self, rule: &Rule, count: u32) -> Result<Vec<Outcome>> {
        if let Some((_, words)) = self.refused.iter().find(|(refused, _)| refused == rule) {
            return Ok(vec![Err(Error::InvalidRequest(words.clone())); count as usize]);
        }
        let nth = self.rules.iter().position(|known| known == rule);
        let (Some(vm), Some(nth)) = (&mut self.vm, nth) else {
            return Ok(vec![Err(Error::Misconfigured(self.refusal.clone())); count as usize]);
        };
        let streams = self.next_stream + 1..=self.next_stream + count;
        self.next_stream += count;
        for stream in streams.clone() {
            vm.request(stream, &[(":method", "GET"), (":path", "/"), (":authority", &host(nth))])?;
        }
        self.settle().await?;
        let Some(vm) = &mut self.vm else { bail!("the VM is gone") };
        streams.map(|stream| vm.outcome(stream, nth)).collect()
    }

    /// Answer calls and call the timer until the filter has nothing left to do.
    async fn settle(&mut self) -> Result<()> {
        let Some(vm) = &mut self.vm else { return Ok(()) };
        let (began, mut ticks) = (Instant::now(), 0);
        let limit = began + LONGEST_STEP;
        let mut pending = FuturesUnordered::new();
        loop {
            for call in vm.store.data_mut().calls.drain(..) {
                pending.push(result(&self.script, &self.files, &self.token_file, call).boxed_local());
            }
            ensure!(Instant::now() < limit, "the filter is still busy after an hour (of virtual time)");
            let tick_at = vm.store.data().tick_at;
            tokio::select! {
                Some((number, result)) = pending.next(), if !pending.is_empty() => vm.answer(number, result)?,
                () = async { tokio::time::sleep_until(tick_at.unwrap_or(limit)).await }, if tick_at.is_some() => {
                    ticks += 1;
                    let elapsed = began.elapsed();
                    ensure!(ticks <= TICKS + TICKS_A_SECOND * elapsed.as_secs(), "{ticks} ticks in {elapsed:?}");
                    vm.tick()?;
                }
                else => return Ok(()),
            }
        }
    }
}

async fn result(script: &Script, files: &Files, token_file: &Path, call: Call) -> (u32, CallResult) {
    match &*call.cluster {
        TOKEN => (call.number, upstream::file(files.root(), token_file)),
        _ => (call.number, upstream::call(script, files, call).await),
    }
}

impl Vm {
    /// The outcome of a request, which ends here.
    fn outcome(&mut self, stream: u32, rule: usize) -> Result<Outcome> {
        let proxy = self.store.data_mut();
        let Stream { headers, goes_on, response } =
            proxy.streams.remove(&stream).context("no such stream")?;
        let token = headers.iter().find(|(name, _)| name == b"authorization").map(|(_, value)| value);
        match (response, goes_on, token) {
            (Some(response), _, _) => Ok(Err(problem(&response.body)?)),
            (None, true, Some(token)) => {
                let token = String::from_utf8(token.clone())?;
                Ok(Ok(AccessToken {
                    token: token.strip_prefix("Bearer ").context("not a bearer's token")?.to_owned(),
                    token_type: "Bearer".to_owned(),
                    expires_on: self.metric(&format!("rule.{rule}.token_expires_at_seconds")),
                    refresh_on: None,
                }))
            }
            (None, true, None) => bail!("a request goes on without a token"),
            (None, false, _) => bail!("a request is still paused"),
        }
    }

    fn failures(&self) -> Vec<(String, u64)> {
        let metrics = self.store.data().metrics.iter();
        let failures = metrics.filter_map(|(name, value)| {
            let kind = name.strip_prefix("token_broker.failures.")?;
            Some((kind.replace('_', "-"), u64::try_from(*value).unwrap_or_default()))
        });
        failures.collect()
    }
}

impl Instance for FilterInstance {
    /// Without diagnostics, and without the parts of a token that no request carries.
    fn playable(&self, step: &Step) -> Step {
        let mut step = step.clone();
        step.explain = None;
        if matches!(step.then, None | Some(None)) {
            // The filter cannot look without fetching.
            step.peek = None;
        }
        for then in step.then.iter_mut().flatten() {
            then.refresh_on = None;
            then.message_contains.retain(|words| !OF_OTHER_HOSTS.iter().any(|other| words.contains(other)));
        }
        if let Some(stats) = &mut step.stats {
            stats.retain(|counter, count| SHOWN.contains(counter) || matches!(count, Count::ByKind(_)));
        }
        step
    }

    fn set_env(&mut self, world: &World) -> Result<()> {
        if let Some(vm) = &mut self.vm {
            let environment = world.env.iter().map(|(name, Text(value))| (name.clone(), value.clone()));
            vm.store.data_mut().environment = environment.collect();
        }
        Ok(())
    }

    async fn ask(&mut self, ask: &Ask) -> Result<Vec<Outcome>> {
        let (rule, mut outcomes) = (Rule::of(ask), Vec::new());
        for _ in 0..ask.times {
            outcomes.extend(self.send(&rule, ask.concurrent).await?);
        }
        Ok(outcomes)
    }

    async fn peek(&mut self, scope: &str) -> Result<Option<AccessToken>> {
        let outcome = self.send(&Rule::of_scope(scope), 1).await?.pop();
        Ok(outcome.and_then(Result::ok))
    }

    async fn forget(&mut self, _scope: &str) -> Result<()> {
        bail!("the filter forgets nothing")
    }

    async fn stats(&mut self) -> Result<Statistics> {
        let count = |name: &str| self.vm.as_ref().map_or(0, |vm| vm.metric(name));
        Ok(Statistics {
            requests: 0,
            hits: 0,
            stale_hits: 0,
            misses: 0,
            refreshes: count("refreshes"),
            fetches: count("fetches"),
            waiters: 0,
            failures: self.vm.as_ref().map(Vm::failures).unwrap_or_default(),
            store_hits: count("store_hits"),
            store_misses: 0,
            store_errors: 0,
            store_tampered: 0,
            lease_waits: count("lease_waits"),
            lease_takeovers: 0,
            budget_waits: 0,
        })
    }

    async fn explain(&mut self) -> Result<Vec<SourceReport>> {
        Ok(Vec::new())
    }

    fn change_store(&mut self, condition: Option<StoreCondition>, change: Option<StoreChange>) {
        let Some(vm) = &mut self.vm else { return };
        if let Some(condition) = condition {
            vm.store.data_mut().shared_fails = !matches!(condition, StoreCondition::Working);
        }
        if let Some(change) = change {
            vm.store.data_mut().change(change);
        }
    }

    fn log(&self) -> String {
        let log = self.vm.as_ref().map(|vm| vm.store.data().log.clone()).unwrap_or_default();
        self.refused.iter().fold(log + &self.refusal, |log, (_, words)| log + words)
    }
}

fn configuration(rules: &[Rule], env: &BTreeMap<String, Text>) -> Value {
    let mut configuration = without_rules(env);
    configuration["rules"] = rules.iter().enumerate().map(|(nth, rule)| rule.to_json(nth)).collect();
    configuration
}

/// The number of the rule that a refusal names.
fn refused_rule(words: &str) -> Option<usize> {
    words.strip_prefix("rules[")?.split(']').next()?.parse().ok()
}

/// The error in a problem document.
fn problem(body: &[u8]) -> Result<Error> {
    let problem: Value = serde_json::from_slice(body)?;
    let text = |name: &str| problem[name].as_str().map(str::to_owned);
    let words = text("detail").context("a problem without its detail")?;
    let failure = Failure {
        source: text("source").unwrap_or_default(),
        status: problem["source_status"].as_u64().and_then(|status| status.try_into().ok()),
        code: text("code"),
        // The messages of all sources, not of the last one alone.
        message: words.clone(),
        correlation_id: text("correlation_id"),
        remedy: text("remedy"),
        retry_after_ms: problem["retry_after_ms"].as_u64(),
    };
    Ok(match problem["kind"].as_str().unwrap_or_default() {
        "invalid-request" => Error::InvalidRequest(words),
        "misconfigured" => Error::Misconfigured(words),
        "denied" => Error::Denied(words),
        "unavailable" => Error::Unavailable(vec![failure]),
        "rejected" => Error::Rejected(failure),
        "throttled" => Error::Throttled(failure),
        "transient" => Error::Transient(failure),
        "protocol" => Error::Protocol(failure),
        _ => Error::Other(words),
    })
}

/// The counters that are metrics.
const SHOWN: [Counter; 4] = [Counter::Refreshes, Counter::Fetches, Counter::StoreHits, Counter::LeaseWaits];
/// Words of hosts with files and sockets. A proxy has a cluster for the token, and does not report connections.
const OF_OTHER_HOSTS: [&str; 3] = ["connection refused", "AZURE_FEDERATED_TOKEN_FILE", "/var/run/secrets/"];

/// Timer calls in the first second of a wait for the store.
const TICKS: u64 = 10;
/// Timer calls a second after that, renewals of a lease included.
const TICKS_A_SECOND: u64 = 5;
/// Far beyond any budget of the filter.
const LONGEST_STEP: Duration = Duration::from_secs(3600);
