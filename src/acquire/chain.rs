//! The source chain: the first configured source answers. A source that declines lets the next one try; a source that
//! fails stops the chain, so that a throttled or broken identity is never replaced by another one.
//!
//! The variables tell which sources are configured, before anything is sent. Two sources are found only by looking: Arc
//! by a file, and IMDS by a request. The absence of IMDS is cached for a while.

use super::context::FetchContext;
use super::source_client::SourceClient;
use super::source_slot::{SlotState, SourceReport, SourceSlot};
use crate::model::{Error, Failure, Host, Identity, Token};
use crate::policy::{AdmittedRequest, Purpose};
use crate::settings::{Selection, SettingNames, Settings};
use crate::sources::{Prerequisite, Protocol as _, SOURCES, Source, SourceCall, SourceError};

/// The sources in the order in which they are tried.
#[derive(Debug)]
pub(crate) struct Chain(Vec<SourceSlot>);

impl Chain {
    pub(crate) fn detect(settings: &Settings) -> Self {
        // An invalid selection is reported with the rest of the configuration.
        let selection = Selection::parse(settings).unwrap_or(Selection::All);
        let sources = SOURCES.iter().copied().flatten();
        Self(sources.map(|info| SourceSlot::detect(settings, selection, info)).collect())
    }

    /// Checks that the configured sources are valid, and that the one for a request accepts it.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] or [`Error::InvalidRequest`]. Nothing is sent.
    pub(crate) fn check(&self, request: &AdmittedRequest, names: &SettingNames) -> Result<(), Error> {
        if let Some(error) = self.0.iter().find_map(SourceSlot::broken) {
            return Err(error.clone());
        }
        let call = SourceCall { request, credential: None, refused: None, names };
        for source in self.0.iter().filter(|slot| slot.can_serve(request)).filter_map(SourceSlot::ready) {
            match source.accepts(&call) {
                Err(SourceError::Absent(_) | SourceError::Declined(_)) => {}
                Ok(()) | Err(SourceError::Blocked(_) | SourceError::Retry(..)) => return Ok(()),
                Err(SourceError::Failed(error)) => return Err(error),
            }
        }
        Ok(())
    }

    /// The tenant of the app registration that serves an identity, if one does.
    pub(crate) fn tenant_of(&self, identity: &Identity) -> Option<&str> {
        self.0.iter().filter_map(SourceSlot::ready).find_map(|source| match source {
            Source::Entra(entra) if entra.serves(identity) => entra.tenant(),
            _ => None,
        })
    }

    /// Tries the sources in order.
    ///
    /// # Errors
    /// The error of the first source that fails; [`Error::Unavailable`] if all decline or one is blocked, with a
    /// failure for each. If no source is present, these include what each one lacks.
    pub(crate) async fn fetch<H: Host>(&self, fetch: &FetchContext<'_, H>) -> Result<Token, Error> {
        let mut attempts = Attempts::default();
        for slot in self.0.iter().filter(|slot| slot.can_serve(fetch.request)) {
            let source = match (&slot.state, slot.absence(fetch.instance.now())) {
                (SlotState::Broken(error), _) => return Err(error.clone()),
                (SlotState::Absent(_), _) => {
                    attempts.add_unconfigured(slot.not_tried());
                    continue;
                }
                (SlotState::LeftOut, _) => continue,
                (SlotState::Ready(_), Some(absence)) => {
                    attempts.add(absence);
                    continue;
                }
                (SlotState::Ready(source), None) => source,
            };
            let client = SourceClient { source, fetch, has_answered: &slot.has_answered };
            let outcome = client.run().await;
            slot.record(&outcome, fetch.instance.now());
            match outcome {
                Ok(token) => {
                    self.mark_used(slot);
                    return Ok(token);
                }
                Err(SourceError::Absent(failure) | SourceError::Declined(failure)) => attempts.add(failure),
                Err(SourceError::Blocked(failure)) => {
                    attempts.add(failure);
                    attempts.is_present = true;
                    break;
                }
                Err(SourceError::Failed(error)) => return Err(error),
                Err(SourceError::Retry(failure, _)) => return Err(Error::Transient(failure)),
            }
        }
        Err(Error::Unavailable(attempts.into_failures()))
    }

    /// Forgets which sources were absent.
    pub(crate) fn forget_absences(&self) {
        self.0.iter().for_each(SourceSlot::forget_absence);
    }

    fn mark_used(&self, used: &SourceSlot) {
        for slot in &self.0 {
            slot.set_used(std::ptr::eq(slot, used));
        }
    }

    /// The reports of all sources. `request` is the request for which each shows its call; an issuer of assertions shows it
    /// for the assertion that is configured.
    pub(crate) fn explain(&self, request: &AdmittedRequest, names: &SettingNames) -> Vec<SourceReport> {
        let assertion = self.issuer_request();
        let shown = |slot: &SourceSlot| assertion.filter(|it| slot.can_serve(it)).unwrap_or(request);
        self.0.iter().map(|slot| slot.report(shown(slot), names)).collect()
    }

    /// The request for the assertion of another platform, if an app registration is configured to need one.
    fn issuer_request(&self) -> Option<&AdmittedRequest> {
        self.0.iter().filter_map(SourceSlot::ready).find_map(|source| match source.prerequisite() {
            Prerequisite::Token(request) if request.key().purpose() == Purpose::IssuerAssertion => {
                Some(&**request)
            }
            _ => None,
        })
    }
}

/// The failures of the sources, in order.
#[derive(Default)]
struct Attempts {
    /// Each failure, and whether its source is configured.
    all: Vec<(bool, Failure)>,
    /// True if one of the sources is present.
    is_present: bool,
}

impl Attempts {
    fn add(&mut self, failure: Failure) {
        self.is_present |= failure.status.is_some();
        self.all.push((true, failure));
    }

    fn add_unconfigured(&mut self, failure: Failure) {
        self.all.push((false, failure));
    }

    /// The failures to report. Those of sources that are not configured are left out if a source is present.
    fn into_failures(self) -> Vec<Failure> {
        let is_reported = |&(is_configured, _): &(bool, Failure)| is_configured || !self.is_present;
        let mut failures: Vec<_> =
            self.all.into_iter().filter(is_reported).map(|(_, failure)| failure).collect();
        if let Some(last) = failures.last_mut() {
            last.remedy.get_or_insert_with(|| NOT_CONFIGURED.to_owned());
        }
        failures
    }
}

const NOT_CONFIGURED: &str =
    "set the variables of this platform's source; `token-broker explain` shows those of all sources";
