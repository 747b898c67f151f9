//! Which source answers here: the first that is configured. A source that declines lets the next one try; a source
//! that fails stops the chain, so that a throttled or broken identity is never replaced by another one.
//!
//! Which sources are configured is known from the variables, before anything is sent. Of the two that show only when
//! they are looked for, Arc costs the look at a file, and the absence of IMDS is remembered for [`ABSENCE`].

use std::cell::{Cell, RefCell};
use std::time::Duration;

use crate::asking::Asking;
use crate::broker::Broker;
use crate::config::{Config, Settings};
use crate::error::{Error, Failure};
use crate::host::{Host, Store};
use crate::policy::Demand;
use crate::selection::Selection;
use crate::source::{
    About, AppService, Arc, Ask, CloudShell, Imds, MachineLearning, ServiceFabric, Source, Stop, app_service,
    arc, cloud_shell, entra, imds, machine_learning, service_fabric,
};
use crate::token::Token;

/// The sources in the order in which they are tried, each as its variables left it.
#[derive(Debug)]
pub(crate) struct Chain(Vec<Candidate>);

#[derive(Debug)]
struct Candidate {
    about: &'static About,
    /// What it looks at, and whether that is set.
    variables: Vec<(&'static str, bool)>,
    state: State,
    /// Whether it has ever shown that it is here.
    has_answered: Cell<bool>,
    memory: RefCell<Memory>,
}

#[derive(Debug)]
enum State {
    Ready(Source),
    /// Its variables are not set.
    Absent,
    /// `AZURE_TOKEN_CREDENTIALS` leaves it out.
    LeftOut,
    Broken(Error),
}

/// What has become of asking a source.
#[derive(Debug, Default)]
struct Memory {
    gave_the_last_token: bool,
    last_failure: Option<Failure>,
    /// Not here, and not looked for again until then (time since the Unix epoch).
    absence: Option<(Failure, Duration)>,
}

impl Chain {
    pub(crate) fn detect(settings: &Settings) -> Self {
        // A selection that cannot be read is told with the rest of the configuration.
        let all = Detecting { settings, selection: Selection::parse(settings).unwrap_or(Selection::All) };
        Self(vec![
            all.candidate(&entra::FEDERATED_IDENTITY, entra::federated_identity, Source::Entra),
            all.candidate(&entra::SECRET, entra::client_secret, Source::Entra),
            all.candidate(&entra::CERTIFICATE, entra::client_certificate, Source::Entra),
            all.candidate(&entra::WORKLOAD_IDENTITY, entra::workload_identity, Source::Entra),
            all.candidate(&service_fabric::SOURCE, ServiceFabric::detect, Source::ServiceFabric),
            all.candidate(&app_service::SOURCE, AppService::detect, Source::AppService),
            all.candidate(&machine_learning::SOURCE, MachineLearning::detect, Source::MachineLearning),
            all.candidate(&cloud_shell::SOURCE, CloudShell::detect, Source::CloudShell),
            all.candidate(&arc::SOURCE, Arc::detect, Source::Arc),
            all.candidate(&imds::SOURCE, Imds::detect, Source::Imds),
        ])
    }

    /// Whether every source that is configured can be used, and the one that a demand comes to can meet it.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] and [`Error::InvalidRequest`], known before anything is sent.
    pub(crate) fn check(&self, demand: &Demand) -> Result<(), Error> {
        if let Some(error) = self.0.iter().find_map(Candidate::broken) {
            return Err(error.clone());
        }
        let ask = Ask { demand, proof: None, refused: None };
        for source in self.0.iter().filter_map(Candidate::ready) {
            match source.takes(&ask) {
                Err(Stop::Failed(error)) => return Err(error),
                Ok(()) | Err(Stop::Blocked(_)) => return Ok(()),
                Err(Stop::Absent(_) | Stop::Declined(_)) => {}
            }
        }
        Ok(())
    }

    /// Ask the sources in order, until `deadline` (time since the Unix epoch).
    ///
    /// # Errors
    /// That of the first source that fails; [`Error::Unavailable`] with every attempt if all decline, or if one cannot
    /// be asked.
    pub(crate) async fn fetch<H: Host, S: Store>(
        &self,
        broker: &Broker<H, S>,
        config: &Config,
        demand: &Demand,
        deadline: Duration,
    ) -> Result<Token, Error> {
        let mut attempts = Vec::new();
        for candidate in self.0.iter().filter(|candidate| candidate.is_for(demand)) {
            let source = match (&candidate.state, candidate.absence(broker.host().now())) {
                (State::Broken(error), _) => return Err(error.clone()),
                (State::Absent | State::LeftOut, _) => {
                    attempts.extend(candidate.is_half_set().then(|| candidate.failure()));
                    continue;
                }
                (State::Ready(_), Some(absence)) => {
                    attempts.push(absence);
                    continue;
                }
                (State::Ready(source), None) => source,
            };
            let has_answered = &candidate.has_answered;
            let asking = Asking { source, broker, config, demand, deadline, has_answered };
            let outcome = asking.run().await;
            candidate.remember(&outcome, broker.host().now());
            match outcome {
                Ok(token) => {
                    self.won(candidate);
                    return Ok(token);
                }
                Err(Stop::Absent(failure) | Stop::Declined(failure)) => attempts.push(failure),
                Err(Stop::Blocked(failure)) => {
                    attempts.push(failure);
                    break;
                }
                Err(Stop::Failed(error)) => return Err(error),
            }
        }
        if attempts.is_empty() {
            attempts.extend(self.0.iter().filter(|candidate| candidate.is_absent()).map(Candidate::failure));
        }
        Err(Error::Unavailable(attempts))
    }

    /// Look again for what was not here.
    pub(crate) fn forget(&self) {
        for candidate in &self.0 {
            candidate.memory.borrow_mut().absence = None;
        }
    }

    fn won(&self, winner: &Candidate) {
        for candidate in &self.0 {
            candidate.memory.borrow_mut().gave_the_last_token = std::ptr::eq(candidate, winner);
        }
    }

    /// How every source stands. `demand` is what a token would be asked for.
    pub(crate) fn explain(&self, demand: &Demand) -> Vec<SourceReport> {
        self.0.iter().map(|candidate| candidate.report(demand)).collect()
    }
}

struct Detecting<'a> {
    settings: &'a Settings,
    selection: Selection,
}

impl Detecting<'_> {
    fn candidate<T>(
        &self,
        about: &'static About,
        detect: impl FnOnce(&Settings) -> Result<Option<T>, Error>,
        source: impl FnOnce(T) -> Source,
    ) -> Candidate {
        let state = if self.selection.includes(about.credential) {
            match detect(self.settings) {
                Ok(Some(found)) => State::Ready(source(found)),
                Ok(None) => State::Absent,
                Err(error) => State::Broken(error),
            }
        } else {
            State::LeftOut
        };
        let variables = about.needs.iter().chain(about.takes);
        Candidate {
            about,
            variables: variables.map(|name| (*name, self.settings.is_set(name))).collect(),
            state,
            has_answered: Cell::default(),
            memory: RefCell::default(),
        }
    }
}

impl Candidate {
    /// An app is proved by a managed identity, and not by an app.
    fn is_for(&self, demand: &Demand) -> bool {
        !(demand.key().is_assertion() && matches!(self.state, State::Ready(Source::Entra(_))))
    }

    fn ready(&self) -> Option<&Source> {
        match &self.state {
            State::Ready(source) => Some(source),
            State::Absent | State::LeftOut | State::Broken(_) => None,
        }
    }

    fn broken(&self) -> Option<&Error> {
        match &self.state {
            State::Broken(error) => Some(error),
            State::Ready(_) | State::Absent | State::LeftOut => None,
        }
    }

    fn is_absent(&self) -> bool {
        matches!(self.state, State::Absent)
    }

    /// Whether the variable that tells it is set, and another that it needs is not: all others are not worth a word.
    fn is_half_set(&self) -> bool {
        let is_set = |name: &&str| self.variables.iter().any(|(known, set)| known == name && *set);
        self.is_absent()
            && self.about.needs.first().is_some_and(is_set)
            && !self.about.needs.iter().all(is_set)
    }

    fn absence(&self, now: Duration) -> Option<Failure> {
        let memory = self.memory.borrow();
        let (failure, until) = memory.absence.as_ref()?;
        // A clock that was set back would else make it last.
        let left = until.checked_sub(now).filter(|left| !left.is_zero() && *left <= ABSENCE)?;
        let message = format!("{}; it is looked for again in {} s", failure.message, left.as_secs().max(1));
        Some(Failure { message, ..failure.clone() })
    }

    fn remember(&self, outcome: &Result<Token, Stop>, now: Duration) {
        let mut memory = self.memory.borrow_mut();
        memory.absence = match outcome {
            Err(Stop::Absent(failure)) => Some((failure.clone(), now.saturating_add(ABSENCE))),
            Ok(_) | Err(Stop::Declined(_) | Stop::Blocked(_) | Stop::Failed(_)) => None,
        };
        memory.last_failure = match outcome {
            Ok(_) => None,
            Err(Stop::Absent(failure) | Stop::Declined(failure) | Stop::Blocked(failure)) => {
                Some(failure.clone())
            }
            Err(Stop::Failed(error)) => {
                Some(error.failures().last().cloned().unwrap_or_else(|| self.says(error.to_string())))
            }
        };
    }

    /// Why this source was not asked.
    fn failure(&self) -> Failure {
        self.says(self.standing())
    }

    fn says(&self, message: String) -> Failure {
        Failure { source: self.about.name.into(), message, ..Failure::default() }
    }

    /// How the source stands by its variables alone.
    fn standing(&self) -> String {
        match &self.state {
            State::Ready(_) => "is configured and would be asked when no source before it answers".to_owned(),
            State::Absent => self.missing(),
            State::LeftOut => "AZURE_TOKEN_CREDENTIALS leaves it out".to_owned(),
            State::Broken(error) => error.to_string(),
        }
    }

    fn missing(&self) -> String {
        let is_set = |name: &&&str| self.variables.iter().any(|(known, set)| known == *name && *set);
        let missing: Vec<_> = self.about.needs.iter().filter(|name| !is_set(name)).copied().collect();
        match missing.split_last() {
            None => "its variables are those of another source here".to_owned(),
            Some((last, [])) => format!("{last} is not set"),
            Some((last, rest)) => format!("{} and {last} are not set", rest.join(", ")),
        }
    }

    fn report(&self, demand: &Demand) -> SourceReport {
        let memory = self.memory.borrow();
        let (mut verdict, mut reason) = match &self.state {
            State::Absent | State::LeftOut => (Verdict::NotConfigured, self.standing()),
            State::Broken(_) => (Verdict::Misconfigured, self.standing()),
            State::Ready(_) if memory.last_failure.is_some() => {
                (Verdict::Failed, "was asked and gave no token".to_owned())
            }
            State::Ready(_) if memory.gave_the_last_token => {
                (Verdict::Used, "gave the last token".to_owned())
            }
            State::Ready(_) => (Verdict::Ready, self.standing()),
        };
        let mut would_send = None;
        if let Some(source) = self.ready() {
            let ask = Ask { demand, proof: None, refused: None };
            match source.takes(&ask) {
                Ok(()) => would_send = Some(source.call(&ask).shown()),
                Err(Stop::Absent(failure) | Stop::Declined(failure)) => {
                    (verdict, reason) = (Verdict::NotConfigured, failure.message);
                }
                Err(Stop::Blocked(failure)) => (verdict, reason) = (Verdict::Misconfigured, failure.message),
                Err(Stop::Failed(error)) => (verdict, reason) = (Verdict::Misconfigured, error.to_string()),
            }
        }
        SourceReport {
            source: self.about.name,
            verdict,
            reason,
            would_send,
            variables: self.variables.clone(),
            last_failure: memory.last_failure.clone(),
        }
    }
}

/// How long IMDS is not looked for again on a machine that has none: as long as the failure for a key is remembered.
const ABSENCE: Duration = Duration::from_secs(10);

/// One identity source as seen from here. Nothing in it is secret.
#[derive(Clone, Debug)]
pub struct SourceReport {
    /// The source's name, as in [`Failure::source`].
    pub source: &'static str,
    /// How it stands.
    pub verdict: Verdict,
    /// Why, in one sentence.
    pub reason: String,
    /// The request it would send for a token, without its headers.
    pub would_send: Option<String>,
    /// The variables that it looks at, and whether each is set.
    pub variables: Vec<(&'static str, bool)>,
    /// What went wrong when it was last asked, if anything did.
    pub last_failure: Option<Failure>,
}

/// How a source stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It gave the last token.
    Used,
    /// It is configured and has not been asked, or not with success.
    Ready,
    /// Its variables are not set here, or it is not for what was asked.
    NotConfigured,
    /// Its variables are set and cannot be used here.
    Misconfigured,
    /// It was asked last and gave no token.
    Failed,
}
