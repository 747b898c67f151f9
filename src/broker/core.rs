//! The core of a broker: its instance, store, configuration and sources.

use std::cell::RefCell;
use std::rc::Rc;

use super::config::Config;
use crate::acquire::{Chain, Instance};
use crate::model::{Error, Host, Identity, Level, Store, TokenRequest};
use crate::policy::AdmittedRequest;
use crate::settings::Settings;

/// The state that the calls and fetches of a broker share.
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
        let instance = Instance::new(host, settings.names(), log);
        Self { instance, store, config, chain: Chain::detect(settings), recent: RefCell::default() }
    }

    /// The admitted request for a scope and the default identity. The last few are cached, because consumers repeat
    /// them and the policy does not change.
    pub(super) fn admit_scope(&self, scope: &str) -> Result<Rc<AdmittedRequest>, Error> {
        if let Some((_, admitted)) = self.recent.borrow().iter().find(|(text, _)| text == scope) {
            return Ok(Rc::clone(admitted));
        }
        let admitted = Rc::new(self.admit(&TokenRequest::for_scope(scope)?)?);
        let mut recent = self.recent.borrow_mut();
        if recent.len() >= RECENT {
            recent.remove(0);
        }
        recent.push((scope.to_owned(), Rc::clone(&admitted)));
        Ok(admitted)
    }

    pub(super) fn admit(&self, request: &TokenRequest) -> Result<AdmittedRequest, Error> {
        let config = self.config.as_ref().map_err(Clone::clone)?;
        let tenant = |identity: &Identity| {
            config.tenants.resolve(request.tenant_id.as_deref(), self.chain.tenant_of(identity))
        };
        let admitted = config.policy.admit(request, &config.default_identity, tenant)?;
        self.chain.check(&admitted, &self.instance.names)?;
        Ok(admitted)
    }
}

/// The number of cached requests: more than the scopes that a consumer uses in turn.
const RECENT: usize = 16;
