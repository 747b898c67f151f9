//! Which source answers here: the first that is configured. A source that declines lets the next one try; a source
//! that fails stops the chain, so that a throttled or broken identity is never replaced by another one.

use std::cell::RefCell;
use std::time::Duration;

use crate::config::{Config, Settings};
use crate::error::{Error, Failure};
use crate::host::Host;
use crate::policy::Key;
use crate::source::{self, AppService, Imds, Source, Stop};
use crate::token::Token;

/// The sources in the order in which they are tried, each as its variables left it.
#[derive(Debug)]
pub(crate) struct Chain(Vec<Candidate>);

#[derive(Debug)]
struct Candidate {
    name: &'static str,
    /// What it looks at, and whether that is set.
    variables: Vec<(&'static str, bool)>,
    state: State,
    memory: RefCell<Memory>,
}

#[derive(Debug)]
enum State {
    Ready(Source),
    Absent(&'static str),
    Broken(Error),
}

/// What has become of asking a source.
#[derive(Debug, Default)]
struct Memory {
    gave_the_last_token: bool,
    /// It has shown that it is here, so its absence is a fault to wait out.
    has_answered: bool,
    last_failure: Option<Failure>,
}

impl Chain {
    pub(crate) fn detect(settings: &Settings) -> Self {
        let app_service = match AppService::detect(settings) {
            Ok(Ok(source)) => State::Ready(Source::AppService(source)),
            Ok(Err(why)) => State::Absent(why),
            Err(error) => State::Broken(error),
        };
        let imds = match Imds::detect(settings) {
            Ok(source) => State::Ready(Source::Imds(source)),
            Err(error) => State::Broken(error),
        };
        let candidate = |name, variables: &[&'static str], state| Candidate {
            name,
            variables: variables.iter().map(|name| (*name, settings.is_set(name))).collect(),
            state,
            memory: RefCell::default(),
        };
        Self(vec![
            candidate(source::app_service::NAME, source::app_service::VARIABLES, app_service),
            candidate(source::imds::NAME, source::imds::VARIABLES, imds),
        ])
    }

    /// Whether the source that would be asked first can be used.
    ///
    /// # Errors
    /// [`Error::Misconfigured`], known before anything is sent.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self.0.iter().find(|candidate| !matches!(candidate.state, State::Absent(_))) {
            Some(Candidate { state: State::Broken(error), .. }) => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// Ask the sources in order.
    ///
    /// # Errors
    /// That of the first source that fails; [`Error::Unavailable`] with every attempt if all decline.
    pub(crate) async fn fetch<H: Host>(&self, host: &H, config: &Config, key: &Key) -> Result<Token, Error> {
        let deadline = host.now().saturating_add(config.budget);
        let mut attempts = Vec::new();
        for candidate in &self.0 {
            match &candidate.state {
                State::Absent(why) => attempts.push(candidate.absence(why)),
                State::Broken(error) => return Err(error.clone()),
                State::Ready(source) => match candidate.fetch(source, (host, config), key, deadline).await {
                    Ok(token) => {
                        self.won(candidate);
                        return Ok(token);
                    }
                    Err(Stop::Declined(failure)) => attempts.push(failure),
                    Err(Stop::Failed(error)) => return Err(error),
                },
            }
        }
        Err(Error::Unavailable(attempts))
    }

    fn won(&self, winner: &Candidate) {
        for candidate in &self.0 {
            candidate.memory.borrow_mut().gave_the_last_token = std::ptr::eq(candidate, winner);
        }
    }

    /// How every source stands. `key` is what a token would be asked for.
    pub(crate) fn explain(&self, key: &Key) -> Vec<SourceReport> {
        self.0.iter().map(|candidate| candidate.report(key)).collect()
    }
}

impl Candidate {
    async fn fetch<H: Host>(
        &self,
        source: &Source,
        (host, config): (&H, &Config),
        key: &Key,
        deadline: Duration,
    ) -> Result<Token, Stop> {
        let patient = config.managed_identity_selected || self.memory.borrow().has_answered;
        let outcome = source::fetch(source, (host, config), key, deadline, patient).await;
        let mut memory = self.memory.borrow_mut();
        memory.has_answered |= !matches!(outcome, Err(Stop::Declined(_)));
        memory.last_failure = match &outcome {
            Ok(_) => None,
            Err(Stop::Declined(failure)) => Some(failure.clone()),
            Err(Stop::Failed(error)) => error.failures().last().cloned(),
        };
        outcome
    }

    fn absence(&self, why: &str) -> Failure {
        Failure { source: self.name.into(), message: why.to_owned(), ..Failure::default() }
    }

    fn report(&self, key: &Key) -> SourceReport {
        let memory = self.memory.borrow();
        let (verdict, reason, would_send) = match &self.state {
            State::Absent(why) => (Verdict::NotConfigured, (*why).to_owned(), None),
            State::Broken(error) => (Verdict::Misconfigured, error.to_string(), None),
            State::Ready(source) => {
                let (verdict, reason) = match &memory.last_failure {
                    Some(_) => (Verdict::Failed, "was asked and gave no token"),
                    None if memory.gave_the_last_token => (Verdict::Used, "gave the last token"),
                    None => {
                        (Verdict::Ready, "is configured and would be asked when no source before it answers")
                    }
                };
                (verdict, reason.to_owned(), Some(source.would_send(key)))
            }
        };
        SourceReport {
            source: self.name,
            verdict,
            reason,
            would_send,
            variables: self.variables.clone(),
            last_failure: memory.last_failure.clone(),
        }
    }
}

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
    /// Its variables are not set here.
    NotConfigured,
    /// Its variables are set and cannot be used.
    Misconfigured,
    /// It was asked last and gave no token.
    Failed,
}
