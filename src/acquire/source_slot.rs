//! A source's place in the chain: how its variables left it, and what has become of asking it.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use crate::model::{Error, Failure, Token};
use crate::policy::AdmittedRequest;
use crate::settings::variables::TOKEN_CREDENTIALS;
use crate::settings::{Selection, SettingNames, Settings};
use crate::sources::{Prerequisite, Source, SourceCall, SourceError, SourceInfo};

/// A source that may be in the chain.
#[derive(Debug)]
pub(crate) struct SourceSlot {
    about: &'static SourceInfo,
    /// What it looks at, and whether that is set.
    variables: Vec<(&'static str, bool)>,
    pub(crate) state: SlotState,
    /// Whether it has ever shown that it is here.
    pub(crate) has_answered: Cell<bool>,
    memory: RefCell<SlotHistory>,
}

/// How a source stands by its variables.
#[derive(Debug)]
pub(crate) enum SlotState {
    /// It can be asked.
    Ready(Source),
    /// Its variables are not set.
    Absent,
    /// `AZURE_TOKEN_CREDENTIALS` leaves it out.
    LeftOut,
    /// They cannot be used.
    Broken(Error),
}

/// What has become of asking a source.
#[derive(Debug, Default)]
struct SlotHistory {
    gave_the_last_token: bool,
    last_failure: Option<Failure>,
    /// Not here, and not looked for again until then (time since the Unix epoch).
    absence: Option<(Failure, Duration)>,
}

impl SourceSlot {
    /// What the variables make of a source.
    pub(crate) fn detect<T>(
        (settings, selection): (&Settings, Selection),
        about: &'static SourceInfo,
        detect: impl FnOnce(&Settings) -> Result<Option<T>, Error>,
        source: impl FnOnce(T) -> Source,
    ) -> Self {
        let state = match detect(settings) {
            _ if !selection.includes(about.credential) => SlotState::LeftOut,
            Ok(Some(found)) => SlotState::Ready(source(found)),
            Ok(None) => SlotState::Absent,
            Err(error) => SlotState::Broken(error),
        };
        let variables = about.needs.iter().chain(about.takes);
        Self {
            about,
            variables: variables.map(|name| (*name, settings.is_set(name))).collect(),
            state,
            has_answered: Cell::default(),
            memory: RefCell::default(),
        }
    }

    /// An app is proved by a managed identity, and not by an app.
    pub(crate) fn is_for(&self, request: &AdmittedRequest) -> bool {
        !(request.key().is_assertion() && matches!(self.state, SlotState::Ready(Source::Entra(_))))
    }

    pub(crate) fn ready(&self) -> Option<&Source> {
        match &self.state {
            SlotState::Ready(source) => Some(source),
            SlotState::Absent | SlotState::LeftOut | SlotState::Broken(_) => None,
        }
    }

    pub(crate) fn broken(&self) -> Option<&Error> {
        match &self.state {
            SlotState::Broken(error) => Some(error),
            SlotState::Ready(_) | SlotState::Absent | SlotState::LeftOut => None,
        }
    }

    pub(crate) fn won(&self, won: bool) {
        self.memory.borrow_mut().gave_the_last_token = won;
    }

    /// Look for it anew.
    pub(crate) fn forget(&self) {
        self.memory.borrow_mut().absence = None;
    }

    pub(crate) fn absence(&self, now: Duration) -> Option<Failure> {
        let memory = self.memory.borrow();
        let (failure, until) = memory.absence.as_ref()?;
        // A clock that was set back would else make it last.
        let left = until.checked_sub(now).filter(|left| !left.is_zero() && *left <= ABSENCE)?;
        let message = format!("{}; it is looked for again in {} s", failure.message, left.as_secs().max(1));
        Some(Failure { message, ..failure.clone() })
    }

    pub(crate) fn remember(&self, outcome: &Result<Token, SourceError>, now: Duration) {
        if matches!(outcome, Err(SourceError::Declined(failure)) if failure.status.is_none()) {
            // It was not asked, so it has not failed: it is not for this request, or not on this machine.
            return;
        }
        let mut memory = self.memory.borrow_mut();
        memory.absence = match outcome {
            Err(SourceError::Absent(failure)) => Some((failure.clone(), now.saturating_add(ABSENCE))),
            _ => None,
        };
        memory.last_failure = match outcome {
            Ok(_) => None,
            Err(
                SourceError::Absent(failure)
                | SourceError::Declined(failure)
                | SourceError::Blocked(failure)
                | SourceError::Retry(failure, _),
            ) => Some(failure.clone()),
            Err(SourceError::Failed(error)) => {
                Some(error.failures().last().cloned().unwrap_or_else(|| self.says(error.to_string())))
            }
        };
    }

    /// Why this source was not asked.
    pub(crate) fn failure(&self) -> Failure {
        self.says(self.standing())
    }

    fn says(&self, message: String) -> Failure {
        Failure { source: self.about.name.into(), message, ..Failure::default() }
    }

    /// How the source stands by its variables alone.
    fn standing(&self) -> String {
        match &self.state {
            SlotState::Ready(source) => match source.need() {
                Prerequisite::Presence(path) => format!("would be asked if there is a file {path}"),
                _ => "would be asked when no source before it answers".to_owned(),
            },
            SlotState::Absent => self.missing(),
            SlotState::LeftOut => format!("{TOKEN_CREDENTIALS} leaves it out"),
            SlotState::Broken(error) => error.to_string(),
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

    pub(crate) fn report(&self, request: &AdmittedRequest, names: &SettingNames) -> SourceReport {
        let memory = self.memory.borrow();
        let (mut verdict, mut reason) = match &self.state {
            SlotState::Absent | SlotState::LeftOut => (Verdict::NotConfigured, self.standing()),
            SlotState::Broken(_) => (Verdict::Misconfigured, self.standing()),
            SlotState::Ready(_) if memory.last_failure.is_some() => {
                (Verdict::Failed, "was asked and gave no token".to_owned())
            }
            SlotState::Ready(_) if memory.gave_the_last_token => {
                (Verdict::Used, "gave the last token".to_owned())
            }
            SlotState::Ready(_) => (Verdict::Ready, self.standing()),
        };
        let mut would_send = None;
        if let Some(source) = self.ready() {
            let ask = SourceCall { request, proof: None, refused: None, names };
            match source.takes(&ask) {
                Ok(()) => would_send = Some(source.call(&ask).shown()),
                Err(SourceError::Absent(failure) | SourceError::Declined(failure)) => {
                    (verdict, reason) = (Verdict::NotConfigured, failure.message);
                }
                Err(SourceError::Blocked(failure) | SourceError::Retry(failure, _)) => {
                    (verdict, reason) = (Verdict::Misconfigured, failure.message)
                }
                Err(SourceError::Failed(error)) => {
                    (verdict, reason) = (Verdict::Misconfigured, error.to_string())
                }
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
#[non_exhaustive]
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
    /// It can be asked, and did not give the last token.
    Ready,
    /// Its variables are not set here, or it is not for what was asked.
    NotConfigured,
    /// Its variables are set and cannot be used here.
    Misconfigured,
    /// It was asked last and gave no token.
    Failed,
}
