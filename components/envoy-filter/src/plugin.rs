//! One configured plugin: its broker, its rules, and the requests that wait for a token.
//!
//! A fetch belongs to the plugin and not to the request that set it off, so no answer is lost with a client that hangs up.
//! What a request is given is a copy of the rule's token for as long as it needs no second thought; else the broker
//! decides.

use std::future::Future as _;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use token_broker::{Broker, Error, Grant, Level, Record, Verdict};

use crate::abi::{self, Action, Headers};
use crate::config::{Config, Manners, Source};
use crate::host::{self, Proxy, log, monotonic_now};
use crate::metrics::{Metrics, RuleMetrics};
use crate::notices::Notices;
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
    pub(crate) fn configure(context: u32, json: &[u8]) -> Result<Rc<Self>, String> {
        let Config { mut source, rules, manners } = Config::parse(json, host::environment())?;
        let key =
            store::key().map_err(|error| format!("the shared data of the VMs cannot be used: {error}"))?;
        source.settings.set(STORE_KEY, STANDARD.encode(key));
        let clusters = std::mem::take(&mut source.clusters);
        let shared = SharedData { namespace: clusters.namespace(), notices: Notices::register() };
        let broker = Broker::new(Proxy::new(context, clusters), shared, &source.settings);
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

    /// What becomes of the current request.
    pub(crate) fn request(self: &Rc<Self>, stream: u32) -> Action {
        let seen = Seen::default();
        let Some((nth, Entry { rule, .. })) =
            self.rules.iter().enumerate().find(|(_, entry)| entry.rule.matches.fit(&seen))
        else {
            return match self.manners.passes_unmatched {
                true => Action::Continue,
                false => self.refuse(&refusal::unmatched()),
            };
        };
        if self.manners.keeps_header && abi::header(Headers::OfRequest, &rule.header.name).is_ok() {
            return Action::Continue;
        }
        let now = host::now();
        if rule.put(|held| held.is_copy(now)) {
            self.metrics.hits.add(1);
            return Action::Continue;
        }
        match self.ask(nth, rule) {
            Some(outcome) => {
                // Asking may have acted in the name of the plugin.
                let _ = abi::act_as(stream);
                self.answer(rule, &outcome)
            }
            None => self.hold(stream, nth, rule),
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

    /// Pause the current request until there is a token, or too long.
    fn hold(&self, stream: u32, nth: usize, rule: &Rule) -> Action {
        self.metrics.misses.add(1);
        let until = monotonic_now().saturating_add(self.manners.deadline);
        if !self.waiting.enter(Waiting { stream, rule: nth, until }) {
            return self.fail(rule, &refusal::too_many());
        }
        self.set_alarm();
        Action::Pause
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

    fn release(&self, stream: u32, rule: &Rule, outcome: &Outcome) {
        if abi::act_as(stream).is_ok() && self.answer(rule, outcome) == Action::Continue {
            // If it does not go on, it is gone.
            let _ = abi::resume_request();
        }
    }

    /// Give the current request its token, or what it gets in its place.
    fn answer(&self, rule: &Rule, outcome: &Outcome) -> Action {
        match outcome {
            Ok(()) if rule.put(|held| held.token.is_usable(host::now())) => {
                self.metrics.hits.add(1);
                Action::Continue
            }
            Ok(()) => self.fail(rule, &refusal::too_late(self.manners.deadline)),
            Err(error) => self.fail(rule, error),
        }
    }

    fn fail(&self, rule: &Rule, error: &Error) -> Action {
        if self.manners.forwards_failed {
            // A token that the client brought is not the one that should be there. None is no failure.
            let _ = abi::remove_request_header(&rule.header.name);
            self.metrics.forwarded.add(1);
            return Action::Continue;
        }
        self.refuse(error)
    }

    fn refuse(&self, error: &Error) -> Action {
        self.metrics.refused.add(1);
        refusal::send(error, &self.source.told(error));
        Action::Pause
    }

    /// The answer to a call has come.
    pub(crate) fn called(&self, number: u32, headers: usize, body_size: usize) {
        self.broker.host().calls.answered(number, headers, body_size);
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
        self.set_alarm();
    }

    /// Be called when the next sleeper is due, and not before: nobody ticks for nothing.
    fn set_alarm(&self) {
        let timers = &self.broker.host().timers;
        let next = timers.next().into_iter().chain(self.waiting.first_deadline()).min();
        self.broker.host().tick(next);
    }

    /// The plugin is no more.
    pub(crate) fn end(&self) {
        self.tasks.end();
        for Waiting { stream, .. } in self.waiting.close() {
            if abi::act_as(stream).is_ok() {
                self.refuse(&refusal::too_late(self.manners.deadline));
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
            return Err(format!("source: {}", source.in_words_of_fields(&report.reason)));
        }
    }
    Ok(())
}

/// Tell the operator why a plugin is not.
pub(crate) fn log_refusal(why: &str) {
    let record =
        Record { level: Level::Error, event: "refused the configuration", fields: &[("error", why)] };
    log(&record, host::now());
}

const STORE_KEY: &str = "TOKEN_BROKER_STORE_KEY";
