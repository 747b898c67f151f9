//! One configured plugin: its broker, its rules, and the requests that wait for a token.
//!
//! A fetch belongs to the plugin and not to the request that set it off, so no answer is lost with a client that hangs up.
//! What a request is given is a copy of the rule's token for as long as it needs no second thought; else the broker
//! decides.

use std::future::Future as _;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use token_broker::{Broker, Error, Grant, Verdict};
use token_broker_egress::check_method;

use crate::abi::{self, Action, Clock, Root, Status, Stream};
use crate::config::{Config, Manners, Source};
use crate::host::{self, Proxy, log_error, monotonic_now};
use crate::metrics::{Metrics, RuleMetrics};
use crate::notices::Notices;
use crate::random::Random;
use crate::refusal;
use crate::rules::{Held, Rule, Seen};
use crate::store::{self, SharedData};
use crate::tasks::Tasks;
use crate::waiting::{Waiting, WaitingRoom};

pub(crate) struct Plugin {
    broker: Broker<Proxy, SharedData>,
    rules: Vec<Entry>,
    manners: Manners,
    source: Source,
    tasks: Tasks,
    waiting: WaitingRoom,
    metrics: Metrics,
}

struct Entry {
    rule: Rule,
    metrics: RuleMetrics,
}

/// What came of asking for a rule's token, which is then in the rule.
type Outcome = Result<(), Error>;

impl Plugin {
    /// The plugin of a root context.
    ///
    /// # Errors
    /// What is wrong with the configuration, by its field.
    pub(crate) fn configure(root: Root, json: &[u8]) -> Result<Rc<Self>, String> {
        let Config { mut source, rules, manners } = Config::parse(json, host::environment())?;
        let key =
            store::key().map_err(|error| format!("the shared data of the VMs cannot be used: {error}"))?;
        source.settings.set_store_key(&key);
        let clusters = std::mem::take(&mut source.clusters);
        let random = Random::seeded().ok_or("the proxy gives no random bytes")?;
        let shared = SharedData { namespace: clusters.namespace(), notices: Notices::register(root) };
        let broker =
            Broker::new(Proxy::new(root, clusters, random, source.fields.clone()), shared, &source.settings);
        check(&broker, &source)?;
        let metrics = Metrics::define();
        let with_metrics = |rule: Rule| Entry { metrics: RuleMetrics::define(&rule.name), rule };
        Ok(Rc::new(Self {
            broker,
            rules: rules.into_iter().map(with_metrics).collect(),
            manners,
            source,
            tasks: Tasks::default(),
            waiting: WaitingRoom::new(metrics.waiting),
            metrics,
        }))
    }

    /// A request begins.
    pub(crate) fn request(self: &Rc<Self>, stream: Stream) -> Action {
        match self.rule_of(stream) {
            Ok(Some((nth, rule))) => {
                self.inject(stream, nth, rule).unwrap_or_else(|error| self.fail(stream, rule, &error))
            }
            Ok(None) if self.manners.passes_unmatched => Action::Continue,
            Ok(None) => self.refuse(stream, &refusal::unmatched()),
            Err(status) => self.refuse(stream, &status.into()),
        }
    }

    fn rule_of(&self, stream: Stream) -> Result<Option<(usize, &Rule)>, Status> {
        let seen = Seen::of(stream);
        for (nth, Entry { rule, .. }) in self.rules.iter().enumerate() {
            if rule.matches.fit(&seen)? {
                return Ok(Some((nth, rule)));
            }
        }
        Ok(None)
    }

    /// Give a request the token of its rule, or have it wait for one.
    ///
    /// # Errors
    /// Why it gets none.
    fn inject(self: &Rc<Self>, stream: Stream, nth: usize, rule: &Rule) -> Result<Action, Error> {
        if self.manners.keeps_header && stream.header(&rule.header.name)?.is_some() {
            return Ok(Action::Continue);
        }
        let method = stream.header(":method")?.unwrap_or_default();
        check_method(&String::from_utf8_lossy(&method))?;
        let now = host::now();
        if rule.put(stream, |held| held.is_copy(now))? {
            self.metrics.hits.add(1);
            return Ok(Action::Continue);
        }
        match self.ask(nth, rule) {
            Some(outcome) => self.put(stream, rule, &outcome).map(|()| Action::Continue),
            None => self.hold(stream, nth).map(|()| Action::Pause),
        }
    }

    /// Ask the broker. Nothing if that takes a while: whoever waits for it is told.
    fn ask(self: &Rc<Self>, nth: usize, rule: &Rule) -> Option<Outcome> {
        if rule.is_fetching.get() {
            return None;
        }
        let plugin = Rc::clone(self);
        let mut asking = Box::pin(async move { plugin.ask_broker(nth).await });
        self.broker.host().timers.advance(monotonic_now());
        if let Poll::Ready(outcome) = asking.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            // It may have left a refresh to do.
            self.go_on();
            return Some(outcome);
        }
        rule.is_fetching.set(true);
        let plugin = Rc::clone(self);
        self.tasks.spawn(async move {
            let outcome = asking.await;
            plugin.settle(nth, &outcome);
        });
        None
    }

    async fn ask_broker(self: &Rc<Self>, nth: usize) -> Outcome {
        let Some(Entry { rule, metrics }) = self.rules.get(nth) else { return Ok(()) };
        let Grant { token, refresh } = self.broker.token(&rule.request).await?;
        metrics.tell(&token);
        rule.held.replace(Some(Held::new(token, &rule.header, host::now())));
        if let Some(duty) = refresh {
            let plugin = Rc::clone(self);
            self.tasks.spawn(async move { plugin.broker.refresh(duty).await });
        }
        Ok(())
    }

    /// Have a request wait until there is a token, or until its deadline.
    ///
    /// # Errors
    /// Why it cannot wait.
    fn hold(&self, stream: Stream, nth: usize) -> Result<(), Error> {
        self.metrics.misses.add(1);
        let until = abi::time(Clock::Monotonic)?.saturating_add(self.manners.deadline);
        if !self.waiting.enter(Waiting { stream, rule: nth, until }) {
            return Err(refusal::too_many());
        }
        self.set_alarm().map_err(|status| {
            // Nothing would end its wait.
            self.waiting.turn_back();
            status.into()
        })
    }

    /// Let those go on who waited for a rule.
    fn settle(&self, nth: usize, outcome: &Outcome) {
        let Some(Entry { rule, .. }) = self.rules.get(nth) else { return };
        rule.is_fetching.set(false);
        for Waiting { stream, .. } in self.waiting.leave(nth) {
            self.release(stream, rule, outcome);
        }
    }

    /// What becomes of those who have waited too long: a token that is held does, if it can still be used.
    fn expire(&self) {
        for Waiting { stream, rule, .. } in self.waiting.leave_late(monotonic_now()) {
            if let Some(Entry { rule, .. }) = self.rules.get(rule) {
                let is_usable =
                    rule.held.borrow().as_ref().is_some_and(|held| held.token.is_usable(host::now()));
                let outcome = if is_usable { Ok(()) } else { Err(refusal::too_late(self.manners.deadline)) };
                self.release(stream, rule, &outcome);
            }
        }
    }

    fn release(&self, stream: Stream, rule: &Rule, outcome: &Outcome) {
        if !stream.is_there() {
            return;
        }
        let resumed = self.put(stream, rule, outcome).and_then(|()| Ok(stream.resume()?));
        if let Err(error) = resumed
            && self.fail(stream, rule, &error) == Action::Continue
            && let Err(status) = stream.resume()
        {
            self.refuse(stream, &status.into());
        }
    }

    /// Give a request its token.
    ///
    /// # Errors
    /// Why it gets none.
    fn put(&self, stream: Stream, rule: &Rule, outcome: &Outcome) -> Result<(), Error> {
        outcome.clone()?;
        if !rule.put(stream, |held| held.token.is_usable(host::now()))? {
            return Err(refusal::too_late(self.manners.deadline));
        }
        self.metrics.hits.add(1);
        Ok(())
    }

    /// Refuses a request without a token, or sends it on without its client's header where the configuration says so.
    fn fail(&self, stream: Stream, rule: &Rule, error: &Error) -> Action {
        if self.manners.forwards_failed && stream.remove_header(&rule.header.name).is_ok() {
            self.metrics.forwarded.add(1);
            return Action::Continue;
        }
        self.refuse(stream, error)
    }

    fn refuse(&self, stream: Stream, error: &Error) -> Action {
        self.metrics.refused.add(1);
        refusal::send(stream, &self.source.told(error));
        Action::Pause
    }

    /// The answer to a call has come.
    pub(crate) fn called(&self, number: u32, headers: usize, body_size: usize) {
        self.broker.host().answered(number, headers, body_size);
        self.go_on();
    }

    /// Another VM has put something into the store.
    pub(crate) fn notified(&self, queue: u32) {
        self.broker.store().notices.hear(queue);
        self.go_on();
    }

    /// Do what can be done now.
    pub(crate) fn go_on(&self) {
        self.broker.host().timers.advance(monotonic_now());
        self.expire();
        self.tasks.run();
        self.metrics.follow(self.broker.stats());
        if let Err(status) = self.set_alarm() {
            // The response to a call, and the next request, come here too.
            log_error("the plugin is not called at the next deadline", &status.to_string());
        }
    }

    /// Be called when the next sleeper is due, and not before.
    fn set_alarm(&self) -> Result<(), Status> {
        let timers = &self.broker.host().timers;
        let next = timers.next().into_iter().chain(self.waiting.first_deadline()).min();
        self.broker.host().tick(next)
    }

    /// The plugin is no more.
    pub(crate) fn end(&self) {
        self.tasks.end();
        for Waiting { stream, .. } in self.waiting.close() {
            if stream.is_there() {
                self.refuse(stream, &refusal::too_late(self.manners.deadline));
            }
        }
    }
}

/// Whether the source of the configuration can be asked.
///
/// # Errors
/// Why not, by the field.
pub(crate) fn check(broker: &Broker<Proxy, SharedData>, source: &Source) -> Result<(), String> {
    for report in broker.explain() {
        let must_be_ready = source.names.contains(&report.source);
        let is_wrong =
            report.verdict == Verdict::Misconfigured || (must_be_ready && report.verdict != Verdict::Ready);
        if is_wrong {
            return Err(format!("source: {}", source.fields.in_place_of_variables(&report.reason)));
        }
    }
    Ok(())
}
