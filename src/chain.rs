//! Which source answers here: the first that is configured. A source that declines lets the next one try; a source
//! that fails stops the chain, so that a throttled or broken identity is never replaced by another one.
//!
//! Which sources are configured is known from the variables, before anything is sent. Of the two that show only when
//! they are looked for, Arc costs the look at a file, and the absence of IMDS is remembered for a while.

use std::rc::Rc;

use crate::asking::Asking;
use crate::broker::Core;
use crate::candidate::{Candidate, SourceReport, State};
use crate::config::Settings;
use crate::error::Error;
use crate::fetch::Fetch;
use crate::host::{Host, Store};
use crate::policy::Demand;
use crate::request::Identity;
use crate::selection::Selection;
use crate::source::{
    AppService, Arc, Ask, CloudShell, Imds, MachineLearning, ServiceFabric, Source, Stop, app_service, arc,
    cloud_shell, entra, imds, machine_learning, service_fabric,
};
use crate::token::Token;

/// The sources in the order in which they are tried, each as its variables left it.
#[derive(Debug)]
pub(crate) struct Chain(Vec<Candidate>);

impl Chain {
    pub(crate) fn detect(settings: &Settings) -> Self {
        // A selection that cannot be read is told with the rest of the configuration.
        let read = (settings, Selection::parse(settings).unwrap_or(Selection::All));
        Self(vec![
            Candidate::detect(read, &entra::FEDERATED_IDENTITY, entra::federated_identity, Source::Entra),
            Candidate::detect(read, &entra::SECRET, entra::client_secret, Source::Entra),
            Candidate::detect(read, &entra::CERTIFICATE, entra::client_certificate, Source::Entra),
            Candidate::detect(read, &entra::WORKLOAD_IDENTITY, entra::workload_identity, Source::Entra),
            Candidate::detect(read, &service_fabric::SOURCE, ServiceFabric::detect, Source::ServiceFabric),
            Candidate::detect(read, &app_service::SOURCE, AppService::detect, Source::AppService),
            Candidate::detect(
                read,
                &machine_learning::SOURCE,
                MachineLearning::detect,
                Source::MachineLearning,
            ),
            Candidate::detect(read, &cloud_shell::SOURCE, CloudShell::detect, Source::CloudShell),
            Candidate::detect(read, &arc::SOURCE, Arc::detect, Source::Arc),
            Candidate::detect(read, &imds::SOURCE, Imds::detect, Source::Imds),
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

    /// The tenant of the app registration that is asked for an identity, if one is.
    pub(crate) fn tenant_of(&self, identity: &Identity) -> Option<&str> {
        self.0.iter().filter_map(Candidate::ready).find_map(|source| match source {
            Source::Entra(entra) if entra.is_for(identity) => Some(entra.tenant()),
            _ => None,
        })
    }

    /// Ask the sources in order.
    ///
    /// # Errors
    /// That of the first source that fails; [`Error::Unavailable`] with every attempt if all decline, or if one cannot
    /// be asked.
    pub(crate) async fn fetch<H: Host, S: Store>(
        &self,
        broker: &Rc<Core<H, S>>,
        fetch: &Fetch<'_>,
    ) -> Result<Token, Error> {
        let mut attempts = Vec::new();
        for candidate in self.0.iter().filter(|candidate| candidate.is_for(fetch.demand)) {
            let source = match (&candidate.state, candidate.absence(broker.host.now())) {
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
            let asking = Asking { source, broker, fetch, has_answered: &candidate.has_answered };
            let outcome = asking.run().await;
            candidate.remember(&outcome, broker.host.now());
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
            candidate.forget();
        }
    }

    fn won(&self, winner: &Candidate) {
        for candidate in &self.0 {
            candidate.won(std::ptr::eq(candidate, winner));
        }
    }

    /// How every source stands. `demand` is what a token would be asked for.
    pub(crate) fn explain(&self, demand: &Demand) -> Vec<SourceReport> {
        self.0.iter().map(|candidate| candidate.report(demand)).collect()
    }
}
