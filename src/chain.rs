//! Which source answers here: the first that is configured. A source that declines lets the next one try; a source
//! that fails stops the chain, so that a throttled or broken identity is never replaced by another one.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use crate::config::{
    CLIENT_ID, Config, FEDERATED_TOKEN_FILE, IDENTITY_ENDPOINT, IDENTITY_SERVER_THUMBPRINT, IMDS_ENDPOINT,
    MSI_ENDPOINT, MSI_SECRET, Settings, TENANT_ID,
};
use crate::error::{Error, Failure};
use crate::host::Host;
use crate::policy::Key;
use crate::source::{About, AppService, Asking, Imds, Source, Stop, app_service, imds};
use crate::token::Token;

/// The sources in the order in which they are tried, each as its variables left it.
#[derive(Debug)]
pub(crate) struct Chain(Vec<Candidate>);

#[derive(Debug)]
struct Candidate {
    name: &'static str,
    needs: &'static [&'static str],
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
    Absent,
    /// Its variables are set, and this version does not serve it. It keeps its place in the order, so that no other
    /// identity answers in its stead.
    NotServed,
    Broken(Error),
}

/// What has become of asking a source.
#[derive(Debug, Default)]
struct Memory {
    gave_the_last_token: bool,
    last_failure: Option<Failure>,
}

impl Chain {
    pub(crate) fn detect(settings: &Settings) -> Self {
        let app_service = AppService::detect(settings);
        let imds = Imds::detect(settings).map(Some);
        let candidates = [
            not_served(settings, "workload-identity", &[FEDERATED_TOKEN_FILE, TENANT_ID, CLIENT_ID]),
            not_served(settings, "service-fabric", &[IDENTITY_SERVER_THUMBPRINT]),
            Some(served(settings, &app_service::SOURCE, app_service, Source::AppService)),
            not_served(settings, "azure-ml", &[MSI_ENDPOINT, MSI_SECRET]),
            not_served(settings, "cloud-shell", &[MSI_ENDPOINT]),
            not_served(settings, "azure-arc", &[IDENTITY_ENDPOINT, IMDS_ENDPOINT]),
            Some(served(settings, &imds::SOURCE, imds, Source::Imds)),
        ];
        Self(candidates.into_iter().flatten().collect())
    }

    /// Whether every source that is configured can be used.
    ///
    /// # Errors
    /// [`Error::Misconfigured`], known before anything is sent.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let broken = self.0.iter().find_map(|candidate| match &candidate.state {
            State::Broken(error) => Some(error.clone()),
            State::Ready(_) | State::Absent | State::NotServed => None,
        });
        broken.map_or(Ok(()), Err)
    }

    /// Ask the sources in order, until `deadline` (time since the Unix epoch).
    ///
    /// # Errors
    /// That of the first source that fails; [`Error::Unavailable`] with every attempt if all decline.
    pub(crate) async fn fetch<H: Host>(
        &self,
        host: &H,
        config: &Config,
        key: &Key,
        deadline: Duration,
    ) -> Result<Token, Error> {
        let mut attempts = Vec::new();
        for candidate in &self.0 {
            let source = match &candidate.state {
                State::Ready(source) => source,
                State::Broken(error) => return Err(error.clone()),
                State::Absent => {
                    attempts.push(candidate.failure(None));
                    continue;
                }
                State::NotServed => {
                    attempts.push(
                        candidate.failure(Some("unset these variables, if another source is to be used")),
                    );
                    break;
                }
            };
            let has_answered = &candidate.has_answered;
            let asking = Asking { source, host, config, key, deadline, has_answered };
            match candidate.remember(asking.run().await) {
                Ok(token) => {
                    self.won(candidate);
                    return Ok(token);
                }
                Err(Stop::Declined(failure)) => attempts.push(failure),
                Err(Stop::Failed(error)) => return Err(error),
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
    fn new(settings: &Settings, about: &About, state: State) -> Self {
        let variables = about.needs.iter().chain(about.takes);
        Self {
            name: about.name,
            needs: about.needs,
            variables: variables.map(|name| (*name, settings.is_set(name))).collect(),
            state,
            has_answered: Cell::default(),
            memory: RefCell::default(),
        }
    }

    fn remember(&self, outcome: Result<Token, Stop>) -> Result<Token, Stop> {
        self.memory.borrow_mut().last_failure =
            match &outcome {
                Ok(_) => None,
                Err(Stop::Declined(failure)) => Some(failure.clone()),
                Err(Stop::Failed(error)) => Some(error.failures().last().cloned().unwrap_or_else(|| {
                    Failure { source: self.name.into(), message: error.to_string(), ..Failure::default() }
                })),
            };
        outcome
    }

    /// Why this source was not asked.
    fn failure(&self, remedy: Option<&str>) -> Failure {
        Failure {
            source: self.name.into(),
            message: self.standing(),
            remedy: remedy.map(str::to_owned),
            ..Failure::default()
        }
    }

    /// How the source stands by its variables alone.
    fn standing(&self) -> String {
        let needs = self.needs.join(" and ");
        match &self.state {
            State::Ready(_) => "is configured and would be asked when no source before it answers".to_owned(),
            State::Absent => format!("{needs} are not both set"),
            State::NotServed => {
                format!("not served by this version, and this is its platform, as {needs} shows")
            }
            State::Broken(error) => error.to_string(),
        }
    }

    fn report(&self, key: &Key) -> SourceReport {
        let memory = self.memory.borrow();
        let (verdict, reason) = match &self.state {
            State::Absent => (Verdict::NotConfigured, self.standing()),
            State::NotServed | State::Broken(_) => (Verdict::Misconfigured, self.standing()),
            State::Ready(_) if memory.last_failure.is_some() => {
                (Verdict::Failed, "was asked and gave no token".to_owned())
            }
            State::Ready(_) if memory.gave_the_last_token => {
                (Verdict::Used, "gave the last token".to_owned())
            }
            State::Ready(_) => (Verdict::Ready, self.standing()),
        };
        let would_send = match &self.state {
            State::Ready(source) => Some(source.would_send(key)),
            State::Absent | State::NotServed | State::Broken(_) => None,
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

/// A source that can be asked, as its variables left it.
fn served<T>(
    settings: &Settings,
    about: &About,
    found: Result<Option<T>, Error>,
    source: impl FnOnce(T) -> Source,
) -> Candidate {
    let state = match found {
        Ok(Some(found)) => State::Ready(source(found)),
        Ok(None) => State::Absent,
        Err(error) => State::Broken(error),
    };
    Candidate::new(settings, about, state)
}

/// A source of Azure's that is known by these variables, if all of them are set.
fn not_served(settings: &Settings, name: &'static str, needs: &'static [&'static str]) -> Option<Candidate> {
    let is_here = needs.iter().all(|name| settings.is_set(name));
    is_here.then(|| Candidate::new(settings, &About { name, needs, takes: &[] }, State::NotServed))
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
    /// Its variables are set and cannot be used, or this version does not serve it.
    Misconfigured,
    /// It was asked last and gave no token.
    Failed,
}
