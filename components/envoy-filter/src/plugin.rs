//! One configured plugin: its broker, its rules, and the requests that wait for a token.
//!
//! A fetch belongs to the plugin and not to the request that began it, so no answer is lost with a client that hangs up.
//! A request gets the rule's copy of the token while the copy is recent; else the broker decides.

use std::future::Future as _;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use token_broker::{Broker, Error, Grant, Verdict};
use token_broker_egress::check_method;

use crate::abi::{self, Action, Clock, Root, Status, Stream};
use crate::config::{Behavior, PluginConfig, SourceConfig};
use crate::host::{self, Proxy};
use crate::log;
use crate::metrics::{Metrics, RuleMetrics};
use crate::random::RandomBits;
use crate::refusal;
use crate::rules::{RequestProperties, TokenCopy, TokenRule};
use crate::runtime::clock::{monotonic_now, now};
use crate::runtime::tasks::Tasks;
use crate::runtime::wait_queue::{WaitQueue, WaitingRequest};
use crate::store::{self, ProxyStore, Wakeups};

/// A plugin of the proxy, made of one configuration.
pub(crate) struct Plugin {
    broker: Broker<Proxy, ProxyStore>,
    rules: Vec<MeteredRule>,
    behavior: Behavior,
    source: SourceConfig,
    tasks: Tasks,
    waiting: WaitQueue,
    metrics: Metrics,
}

struct MeteredRule {
    rule: TokenRule,
    metrics: RuleMetrics,
}

/// The outcome of a call for a rule's token, which is then in the rule.
type FetchOutcome = Result<(), Error>;

impl Plugin {
    /// Makes the plugin of a root context, or tells the field of the configuration that cannot be used, and why.
    pub(crate) fn configure(root: Root, json: &[u8]) -> Result<Rc<Self>, String> {
        let PluginConfig { mut source, rules, behavior } = PluginConfig::parse(json, host::environment())?;
        let key = store::key()
            .map_err(|error| format!("the shared data of the VMs cannot be used: {error}; {REPORT}"))?;
        source.settings.set_store_key(&key);
        let clusters = std::mem::take(&mut source.clusters);
        let random =
            RandomBits::seeded().ok_or_else(|| format!("the proxy gives no random bytes; {REPORT}"))?;
        let store = ProxyStore { namespace: clusters.namespace(), wakeups: Wakeups::register(root) };
        let broker = Broker::new(Proxy::new(root, clusters, random), store, &source.settings);
        check(&broker, &source)?;
        let metrics = Metrics::define();
        let with_metrics = |rule: TokenRule| MeteredRule { metrics: RuleMetrics::define(&rule.name), rule };
        Ok(Rc::new(Self {
            broker,
            rules: rules.into_iter().map(with_metrics).collect(),
            behavior,
            source,
            tasks: Tasks::default(),
            waiting: WaitQueue::new(metrics.waiting),
            metrics,
        }))
    }

    pub(crate) fn request(self: &Rc<Self>, stream: Stream) -> Action {
        match self.rule_of(stream) {
            Ok(Some((nth, rule))) => {
                self.inject(stream, nth, rule).unwrap_or_else(|error| self.fail(stream, rule, &error))
            }
            Ok(None) if self.behavior.passes_unmatched => Action::Continue,
            Ok(None) => self.refuse(stream, &refusal::unmatched()),
            Err(status) => self.refuse(stream, &status.into()),
        }
    }

    fn rule_of(&self, stream: Stream) -> Result<Option<(usize, &TokenRule)>, Status> {
        let properties = RequestProperties::of(stream);
        for (nth, MeteredRule { rule, .. }) in self.rules.iter().enumerate() {
            if rule.conditions.hold(&properties)? {
                return Ok(Some((nth, rule)));
            }
        }
        Ok(None)
    }

    /// Adds the token of its rule to a request, or lets it wait for one. The error is the reason why it gets none.
    fn inject(self: &Rc<Self>, stream: Stream, nth: usize, rule: &TokenRule) -> Result<Action, Error> {
        if self.behavior.keeps_header && stream.header(&rule.header.name)?.is_some() {
            return Ok(Action::Continue);
        }
        let method = stream.header(":method")?.unwrap_or_default();
        check_method(&String::from_utf8_lossy(&method))?;
        let now = now();
        if rule.add_token(stream, |copy| copy.is_recent(now))? {
            self.metrics.hits.add(1);
            return Ok(Action::Continue);
        }
        match self.ask(nth, rule) {
            Some(outcome) => self.add_token(stream, rule, &outcome).map(|()| Action::Continue),
            None => self.wait(stream, nth).map(|()| Action::Pause),
        }
    }

    /// Asks the broker for the token of a rule. None while that takes time: its requests then wait in the queue.
    fn ask(self: &Rc<Self>, nth: usize, rule: &TokenRule) -> Option<FetchOutcome> {
        if rule.is_fetching.get() {
            return None;
        }
        let plugin = Rc::clone(self);
        let mut asking = Box::pin(async move { plugin.ask_broker(nth).await });
        self.broker.host().timers.advance(monotonic_now());
        if let Poll::Ready(outcome) = asking.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            // The broker may have begun a refresh.
            self.run();
            return Some(outcome);
        }
        rule.is_fetching.set(true);
        let plugin = Rc::clone(self);
        self.tasks.spawn(async move {
            let outcome = asking.await;
            plugin.release_all(nth, &outcome);
        });
        None
    }

    async fn ask_broker(self: &Rc<Self>, nth: usize) -> FetchOutcome {
        let Some(MeteredRule { rule, metrics }) = self.rules.get(nth) else { return Ok(()) };
        let Grant { token, refresh } = self.broker.token(&rule.request).await?;
        metrics.set(&token);
        rule.copy.replace(Some(TokenCopy::new(token, &rule.header, now())));
        if let Some(ticket) = refresh {
            let plugin = Rc::clone(self);
            self.tasks.spawn(async move { plugin.broker.refresh(ticket).await });
        }
        Ok(())
    }

    /// Lets a request wait until there is a token, or until its deadline.
    fn wait(&self, stream: Stream, nth: usize) -> Result<(), Error> {
        self.metrics.misses.add(1);
        let until = abi::time(Clock::Monotonic)?.saturating_add(self.behavior.deadline);
        if !self.waiting.push(WaitingRequest { stream, rule: nth, until }) {
            return Err(refusal::too_many());
        }
        self.set_tick().map_err(|status| {
            // Without a tick nothing would end its wait.
            self.waiting.pop_last();
            status.into()
        })
    }

    /// Continues the requests that wait for a rule.
    fn release_all(&self, nth: usize, outcome: &FetchOutcome) {
        let Some(MeteredRule { rule, .. }) = self.rules.get(nth) else { return };
        rule.is_fetching.set(false);
        for WaitingRequest { stream, .. } in self.waiting.take_rule(nth) {
            self.release(stream, rule, outcome);
        }
    }

    /// Times out waiting requests. The rule's copy of the token serves them if it is still valid.
    fn time_out(&self) {
        for WaitingRequest { stream, rule, .. } in self.waiting.take_late(monotonic_now()) {
            if let Some(MeteredRule { rule, .. }) = self.rules.get(rule) {
                let is_usable = rule.copy.borrow().as_ref().is_some_and(|copy| copy.token.is_usable(now()));
                let outcome = if is_usable { Ok(()) } else { Err(refusal::too_late(self.behavior.deadline)) };
                self.release(stream, rule, &outcome);
            }
        }
    }

    fn release(&self, stream: Stream, rule: &TokenRule, outcome: &FetchOutcome) {
        if !stream.is_there() {
            return;
        }
        let resumed = self.add_token(stream, rule, outcome).and_then(|()| Ok(stream.resume()?));
        if let Err(error) = resumed
            && self.fail(stream, rule, &error) == Action::Continue
            && let Err(status) = stream.resume()
        {
            self.refuse(stream, &status.into());
        }
    }

    fn add_token(&self, stream: Stream, rule: &TokenRule, outcome: &FetchOutcome) -> Result<(), Error> {
        outcome.clone()?;
        if !rule.add_token(stream, |copy| copy.token.is_usable(now()))? {
            return Err(refusal::too_late(self.behavior.deadline));
        }
        self.metrics.hits.add(1);
        Ok(())
    }

    /// Refuses a request without a token, or continues it without its client's header where the configuration says so.
    fn fail(&self, stream: Stream, rule: &TokenRule, error: &Error) -> Action {
        if self.behavior.forwards_failed && stream.remove_header(&rule.header.name).is_ok() {
            self.metrics.forwarded.add(1);
            return Action::Continue;
        }
        self.refuse(stream, error)
    }

    fn refuse(&self, stream: Stream, error: &Error) -> Action {
        self.metrics.refused.add(1);
        refusal::send(stream, &self.source.own(error.clone()));
        Action::Pause
    }

    pub(crate) fn call_ended(&self, number: u32, headers: usize, body_size: usize) {
        self.broker.host().answered(number, headers, body_size);
        self.run();
    }

    /// Takes the messages of a queue: another VM has changed the store.
    pub(crate) fn queue_ready(&self, queue: u32) {
        self.broker.store().wakeups.receive(queue);
        self.run();
    }

    /// Runs the timers and tasks that are due, and times out waiting requests.
    pub(crate) fn run(&self) {
        self.broker.host().timers.advance(monotonic_now());
        self.time_out();
        self.tasks.run();
        self.metrics.update(self.broker.stats());
        if let Err(status) = self.set_tick() {
            // The response to a call and the next request run the plugin, too.
            log::write_error("the plugin is not called at the next deadline", &status.to_string());
        }
    }

    /// Sets the next tick to the next timer or deadline.
    fn set_tick(&self) -> Result<(), Status> {
        let timers = &self.broker.host().timers;
        let next = timers.next().into_iter().chain(self.waiting.first_deadline()).min();
        self.broker.host().tick(next)
    }

    pub(crate) fn end(&self) {
        self.tasks.end();
        for WaitingRequest { stream, .. } in self.waiting.take_all() {
            if stream.is_there() {
                self.refuse(stream, &refusal::too_late(self.behavior.deadline));
            }
        }
    }
}

/// Checks that the source of the configuration is ready.
pub(crate) fn check(broker: &Broker<Proxy, ProxyStore>, source: &SourceConfig) -> Result<(), String> {
    for report in broker.explain() {
        let must_be_ready = source.names.contains(&report.source);
        match report.verdict {
            Verdict::Misconfigured => return Err(format!("source: {}", report.reason)),
            Verdict::Ready => {}
            _ if must_be_ready => return Err(format!("source: {}; {PASS_ON}", report.reason)),
            _ => {}
        }
    }
    Ok(())
}

const PASS_ON: &str =
    "fix: set the field for it, or pass it on by `environment_variables` of the VM's configuration";
const REPORT: &str = "fix: report this, with the version of the proxy";
