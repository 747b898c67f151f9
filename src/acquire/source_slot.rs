//! A source's slot in the chain: its state by configuration, and the history of its calls.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use crate::model::{Error, Failure, Token};
use crate::policy::AdmittedRequest;
use crate::settings::variables::TOKEN_CREDENTIALS;
use crate::settings::{Selection, SettingNames, Settings};
use crate::sources::{Prerequisite, Source, SourceCall, SourceError, SourceInfo};

/// A source of the chain.
#[derive(Debug)]
pub(crate) struct SourceSlot {
    info: &'static SourceInfo,
    /// The variables that the source reads, and whether each is set.
    variables: Vec<(&'static str, bool)>,
    pub(crate) state: SlotState,
    /// True once the source has answered.
    pub(crate) has_answered: Cell<bool>,
    history: RefCell<SlotHistory>,
}

fn missing_variables(settings: &Settings, info: &SourceInfo) -> String {
    let missing = info.required.iter().filter(|name| !settings.is_set(name));
    let missing: Vec<_> = missing.map(|name| settings.name(name)).collect();
    match missing.split_last() {
        None => "its variables belong to another source here".to_owned(),
        Some((last, [])) => format!("{last} is not set"),
        Some((last, rest)) => format!("{} and {last} are not set", rest.join(", ")),
    }
}

/// The state of a source by its configuration.
#[derive(Debug)]
pub(crate) enum SlotState {
    /// The source can be called.
    Ready(Source),
    /// Its variables are not set, which this sentence says.
    Absent(String),
    /// `AZURE_TOKEN_CREDENTIALS` excludes it.
    LeftOut,
    /// Its variables are invalid.
    Broken(Error),
}

/// The results of the calls of a source.
#[derive(Debug, Default)]
struct SlotHistory {
    gave_last_token: bool,
    last_failure: Option<Failure>,
    /// The failure of an absent source, and the time of the next attempt (since the Unix epoch).
    absence: Option<(Failure, Duration)>,
}

impl SourceSlot {
    /// The slot of a source with its state by the settings.
    pub(crate) fn detect(settings: &Settings, selection: Selection, info: &'static SourceInfo) -> Self {
        let state = match (info.detect)(settings) {
            _ if !selection.includes(info.credential) => SlotState::LeftOut,
            Ok(Some(source)) => SlotState::Ready(source),
            Ok(None) => SlotState::Absent(missing_variables(settings, info)),
            Err(error) => SlotState::Broken(error),
        };
        let variables = info.required.iter().chain(info.optional);
        Self {
            info,
            variables: variables.map(|name| (*name, settings.is_set(name))).collect(),
            state,
            has_answered: Cell::default(),
            history: RefCell::default(),
        }
    }

    /// Whether the source is one that serves such requests.
    pub(crate) fn can_serve(&self, request: &AdmittedRequest) -> bool {
        self.info.role.serves(request.key().purpose())
    }

    pub(crate) fn ready(&self) -> Option<&Source> {
        match &self.state {
            SlotState::Ready(source) => Some(source),
            SlotState::Absent(_) | SlotState::LeftOut | SlotState::Broken(_) => None,
        }
    }

    pub(crate) fn broken(&self) -> Option<&Error> {
        match &self.state {
            SlotState::Broken(error) => Some(error),
            SlotState::Ready(_) | SlotState::Absent(_) | SlotState::LeftOut => None,
        }
    }

    /// Records whether this source gave the last token.
    pub(crate) fn set_used(&self, is_used: bool) {
        self.history.borrow_mut().gave_last_token = is_used;
    }

    /// Forgets that the source was absent.
    pub(crate) fn forget_absence(&self) {
        self.history.borrow_mut().absence = None;
    }

    /// The failure of a source that was absent less than [`ABSENCE`] ago.
    pub(crate) fn absence(&self, now: Duration) -> Option<Failure> {
        let history = self.history.borrow();
        let (failure, until) = history.absence.as_ref()?;
        // A clock that was set back must not prolong it.
        let left = until.checked_sub(now).filter(|left| !left.is_zero() && *left <= ABSENCE)?;
        let message = format!("{}; next attempt in {} s", failure.message, left.as_secs().max(1));
        Some(Failure { message, ..failure.clone() })
    }

    /// Records the result of a call.
    pub(crate) fn record(&self, outcome: &Result<Token, SourceError>, now: Duration) {
        if matches!(outcome, Err(SourceError::Declined(failure)) if failure.status.is_none()) {
            // Nothing was sent: the source does not serve this request, or is not on this machine.
            return;
        }
        let mut history = self.history.borrow_mut();
        history.absence = match outcome {
            Err(SourceError::Absent(failure)) => Some((failure.clone(), now.saturating_add(ABSENCE))),
            _ => None,
        };
        history.last_failure = match outcome {
            Ok(_) => None,
            Err(
                SourceError::Absent(failure)
                | SourceError::Declined(failure)
                | SourceError::Blocked(failure)
                | SourceError::Retry(failure, _),
            ) => Some(failure.clone()),
            Err(SourceError::Failed(error)) => {
                Some(error.failures().last().cloned().unwrap_or_else(|| self.failure(error.to_string())))
            }
        };
    }

    /// The failure of a source that was not tried.
    pub(crate) fn not_tried(&self) -> Failure {
        self.failure(self.state_text())
    }

    fn failure(&self, message: String) -> Failure {
        Failure { source: self.info.name.into(), message, ..Failure::default() }
    }

    fn state_text(&self) -> String {
        match &self.state {
            SlotState::Ready(source) => match source.prerequisite() {
                Prerequisite::Presence(path) => format!("will be tried if there is a file {path}"),
                _ => "will be tried if no source before it answers".to_owned(),
            },
            SlotState::Absent(missing) => missing.clone(),
            SlotState::LeftOut => format!("{TOKEN_CREDENTIALS} excludes it"),
            SlotState::Broken(error) => error.to_string(),
        }
    }

    pub(crate) fn report(&self, request: &AdmittedRequest, names: &SettingNames) -> SourceReport {
        let history = self.history.borrow();
        let (mut verdict, mut reason) = match &self.state {
            SlotState::Absent(_) | SlotState::LeftOut => (Verdict::NotConfigured, self.state_text()),
            SlotState::Broken(_) => (Verdict::Misconfigured, self.state_text()),
            SlotState::Ready(_) if history.last_failure.is_some() => {
                (Verdict::Failed, "the last request failed".to_owned())
            }
            SlotState::Ready(_) if history.gave_last_token => {
                (Verdict::Used, "gave the last token".to_owned())
            }
            SlotState::Ready(_) => (Verdict::Ready, self.state_text()),
        };
        let mut would_send = None;
        if let Some(source) = self.ready() {
            let call = SourceCall { request, credential: None, refused: None, names };
            match source.accepts(&call) {
                Ok(()) => {
                    would_send = Some(source.request(&call).redacted());
                    if let Some(note) = source.note(names) {
                        reason = format!("{reason}; {note}");
                    }
                }
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
            source: self.info.name,
            verdict,
            reason,
            would_send,
            variables: self.variables.clone(),
            last_failure: history.last_failure.clone(),
        }
    }
}

/// The time for which the absence of a source is cached: the same as that of its failure in the cache.
const ABSENCE: Duration = Duration::from_secs(10);

/// The report of one identity source. It contains no secret.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SourceReport {
    /// The source's name, as in [`Failure::source`].
    pub source: &'static str,
    /// The state of the source.
    pub verdict: Verdict,
    /// The reason for the state, in one sentence.
    pub reason: String,
    /// The request that it would send for a token, without its headers.
    pub would_send: Option<String>,
    /// The variables that it reads, and whether each is set.
    pub variables: Vec<(&'static str, bool)>,
    /// The failure of the last request, if it failed.
    pub last_failure: Option<Failure>,
}

/// The state of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It gave the last token.
    Used,
    /// It can be called, and did not give the last token.
    Ready,
    /// Its variables are not set here, or it does not serve the request.
    NotConfigured,
    /// Its variables are set and cannot be used here.
    Misconfigured,
    /// Its last request failed.
    Failed,
}
