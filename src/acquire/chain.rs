//! Which source answers here: the first that is configured. A source that declines lets the next one try; a source
//! that fails stops the chain, so that a throttled or broken identity is never replaced by another one.
//!
//! Which sources are configured is known from the variables, before anything is sent. Of the two that show only when
//! they are looked for, Arc costs the look at a file, and the absence of IMDS is remembered for a while.

use super::context::FetchContext;
use super::source_client::SourceClient;
use super::source_slot::{SlotState, SourceReport, SourceSlot};
use crate::model::{Error, Failure, Host, Identity, Token};
use crate::policy::AdmittedRequest;
use crate::settings::{Selection, SettingNames, Settings};
use crate::sources::{
    AppService, Arc, CloudShell, ContainerInstances, Imds, MachineLearning, ServiceFabric, Source,
    SourceCall, SourceError, app_service, arc, cloud_shell, container_instances, entra, imds,
    machine_learning, service_fabric,
};

/// The sources in the order in which they are tried, each as its variables left it.
#[derive(Debug)]
pub(crate) struct Chain(Vec<SourceSlot>);

impl Chain {
    pub(crate) fn detect(settings: &Settings) -> Self {
        // A selection that cannot be read is told with the rest of the configuration.
        let read = (settings, Selection::parse(settings).unwrap_or(Selection::All));
        Self(vec![
            SourceSlot::detect(read, &entra::FEDERATED_IDENTITY, entra::federated_identity, Source::Entra),
            SourceSlot::detect(read, &entra::SECRET, entra::client_secret, Source::Entra),
            SourceSlot::detect(read, &entra::CERTIFICATE, entra::client_certificate, Source::Entra),
            SourceSlot::detect(read, &entra::WORKLOAD_IDENTITY, entra::workload_identity, Source::Entra),
            SourceSlot::detect(read, &service_fabric::SOURCE, ServiceFabric::detect, Source::ServiceFabric),
            SourceSlot::detect(
                read,
                &container_instances::SOURCE,
                ContainerInstances::detect,
                Source::ContainerInstances,
            ),
            SourceSlot::detect(read, &app_service::SOURCE, AppService::detect, Source::AppService),
            SourceSlot::detect(
                read,
                &machine_learning::SOURCE,
                MachineLearning::detect,
                Source::MachineLearning,
            ),
            SourceSlot::detect(read, &cloud_shell::SOURCE, CloudShell::detect, Source::CloudShell),
            SourceSlot::detect(read, &arc::SOURCE, Arc::detect, Source::Arc),
            SourceSlot::detect(read, &imds::SOURCE, Imds::detect, Source::Imds),
        ])
    }

    /// Whether every source that is configured can be used, and the one that a request comes to can meet it.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] and [`Error::InvalidRequest`], known before anything is sent.
    pub(crate) fn check(&self, request: &AdmittedRequest, names: &SettingNames) -> Result<(), Error> {
        if let Some(error) = self.0.iter().find_map(SourceSlot::broken) {
            return Err(error.clone());
        }
        let ask = SourceCall { request, proof: None, refused: None, names };
        for source in self.0.iter().filter_map(SourceSlot::ready) {
            match source.takes(&ask) {
                Err(SourceError::Absent(_) | SourceError::Declined(_)) => {}
                Ok(()) | Err(SourceError::Blocked(_) | SourceError::Retry(..)) => return Ok(()),
                Err(SourceError::Failed(error)) => return Err(error),
            }
        }
        Ok(())
    }

    /// The tenant of the app registration that is asked for an identity, if one is.
    pub(crate) fn tenant_of(&self, identity: &Identity) -> Option<&str> {
        self.0.iter().filter_map(SourceSlot::ready).find_map(|source| match source {
            Source::Entra(entra) if entra.is_for(identity) => Some(entra.tenant()),
            _ => None,
        })
    }

    /// Ask the sources in order.
    ///
    /// # Errors
    /// That of the first source that fails; [`Error::Unavailable`] with every attempt if all decline, or if one cannot
    /// be asked. If none is here at all, it says of each what it lacks.
    pub(crate) async fn fetch<H: Host>(&self, fetch: &FetchContext<'_, H>) -> Result<Token, Error> {
        let mut attempts = Attempts::default();
        for candidate in self.0.iter().filter(|candidate| candidate.is_for(fetch.request)) {
            let source = match (&candidate.state, candidate.absence(fetch.instance.now())) {
                (SlotState::Broken(error), _) => return Err(error.clone()),
                (SlotState::Absent, _) => {
                    attempts.missed(candidate.failure());
                    continue;
                }
                (SlotState::LeftOut, _) => continue,
                (SlotState::Ready(_), Some(absence)) => {
                    attempts.made(absence);
                    continue;
                }
                (SlotState::Ready(source), None) => source,
            };
            let asking = SourceClient { source, fetch, has_answered: &candidate.has_answered };
            let outcome = asking.run().await;
            candidate.remember(&outcome, fetch.instance.now());
            match outcome {
                Ok(token) => {
                    self.won(candidate);
                    return Ok(token);
                }
                Err(SourceError::Absent(failure) | SourceError::Declined(failure)) => attempts.made(failure),
                Err(SourceError::Blocked(failure)) => {
                    attempts.made(failure);
                    attempts.is_here = true;
                    break;
                }
                Err(SourceError::Failed(error)) => return Err(error),
                Err(SourceError::Retry(failure, _)) => return Err(Error::Transient(failure)),
            }
        }
        Err(Error::Unavailable(attempts.told()))
    }

    /// Look again for what was not here.
    pub(crate) fn forget(&self) {
        for candidate in &self.0 {
            candidate.forget();
        }
    }

    fn won(&self, winner: &SourceSlot) {
        for candidate in &self.0 {
            candidate.won(std::ptr::eq(candidate, winner));
        }
    }

    /// How every source stands. `request` is what a token would be asked for.
    pub(crate) fn explain(&self, request: &AdmittedRequest, names: &SettingNames) -> Vec<SourceReport> {
        self.0.iter().map(|candidate| candidate.report(request, names)).collect()
    }
}

/// The sources that gave no token, in order.
#[derive(Default)]
struct Attempts {
    /// Whether it is told in any case, and the attempt.
    all: Vec<(bool, Failure)>,
    /// One of them is this platform's.
    is_here: bool,
}

impl Attempts {
    fn made(&mut self, failure: Failure) {
        self.is_here |= failure.status.is_some();
        self.all.push((true, failure));
    }

    fn missed(&mut self, failure: Failure) {
        self.all.push((false, failure));
    }

    /// What is told of them: of sources that are not configured only where no source is here at all.
    fn told(self) -> Vec<Failure> {
        let is_told = |&(always, _): &(bool, Failure)| always || !self.is_here;
        let mut told: Vec<_> = self.all.into_iter().filter(is_told).map(|(_, failure)| failure).collect();
        if let Some(last) = told.last_mut() {
            last.remedy.get_or_insert_with(|| NOT_CONFIGURED.to_owned());
        }
        told
    }
}

const NOT_CONFIGURED: &str =
    "set the variables of the source that this platform has; `token-broker explain` shows them all";
