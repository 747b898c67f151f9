//! The inside of a broker: the instance, its store, its configuration and its sources.

use std::cell::RefCell;
use std::rc::Rc;

use super::config::Config;
use crate::acquire::{Chain, Instance};
use crate::model::{Error, Host, Identity, Level, Store, TokenRequest};
use crate::policy::AdmittedRequest;
use crate::settings::Settings;

/// What a broker's calls and its fetches share.
#[derive(Debug)]
pub(super) struct Core<H, S> {
    pub(super) instance: Instance<H>,
    pub(super) store: S,
    pub(super) config: Result<Config, Error>,
    pub(super) chain: Chain,
    recent: RefCell<Vec<(String, Rc<AdmittedRequest>)>>,
}

impl<H: Host, S: Store> Core<H, S> {
    pub(super) fn new(host: H, store: S, settings: &Settings) -> Self {
        let config = Config::parse(settings);
        let log = config.as_ref().map_or(Level::Off, |config| config.log);
        let instance = Instance::new(host, settings.names().clone(), log);
        Self { instance, store, config, chain: Chain::detect(settings), recent: RefCell::default() }
    }

    /// What a scope and the default identity demand. The last few are kept: consumers ask for the same ones again and
    /// again, and what is allowed does not change.
    pub(super) fn demand_for(&self, scope: &str) -> Result<Rc<AdmittedRequest>, Error> {
        if let Some((_, demand)) = self.recent.borrow().iter().find(|(text, _)| text == scope) {
            return Ok(Rc::clone(demand));
        }
        let demand = Rc::new(self.admit(&TokenRequest::for_scope(scope)?)?);
        let mut recent = self.recent.borrow_mut();
        if recent.len() >= RECENT {
            recent.remove(0);
        }
        recent.push((scope.to_owned(), Rc::clone(&demand)));
        Ok(demand)
    }

    pub(super) fn admit(&self, request: &TokenRequest) -> Result<AdmittedRequest, Error> {
        let config = self.config.as_ref().map_err(Clone::clone)?;
        let tenant = |identity: &Identity| {
            config.tenants.resolve(request.tenant_id.as_deref(), self.chain.tenant_of(identity))
        };
        let demand = config.policy.admit(request, &config.default_identity, tenant)?;
        self.chain.check(&demand, &self.instance.names)?;
        Ok(demand)
    }
}

/// More scopes than a consumer asks for in turn.
const RECENT: usize = 16;
