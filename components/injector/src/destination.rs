//! A host that requests go to, as the guard and the rules see it.

use std::cell::RefCell;
use std::rc::Rc;

use token_broker::Error;
use token_broker_egress::{Access, Guard, Rule, Rules, Target};

use crate::credentials::TokenSpec;
use crate::request_head::RequestHead;
use crate::state::PAUSE;

/// A host that requests may be sent to. It is worked out at the first request.
pub(crate) struct Destination {
    scheme: Option<String>,
    pub(crate) access: Access,
    /// None: requests are sent without a token.
    pub(crate) route: Option<Rc<Route>>,
}

/// The rule by which the requests to a host get their tokens.
pub(crate) struct Route {
    pub(crate) target: Target,
    pub(crate) rule: Rule,
    token: RefCell<Rc<TokenSpec>>,
    /// The other token that the host last asked for in a challenge, and the time of that, in nanoseconds.
    last_challenge: RefCell<Option<(Rc<TokenSpec>, u64)>>,
}

impl Destination {
    pub(crate) fn find(
        head: &RequestHead,
        authority: &str,
        guard: &Guard,
        rules: &Rules,
    ) -> Result<Self, Error> {
        let target = Target::parse(head.scheme(), authority)?;
        let access = guard.access(&target)?;
        let route = rules.find(&target)?.and_then(|rule| Route::new(target, rule.into_owned()));
        Ok(Self { scheme: head.scheme().map(str::to_owned), access, route })
    }

    /// Whether a request with the same authority has this destination: whether its scheme is the same too.
    pub(crate) fn is_for(&self, head: &RequestHead) -> bool {
        self.scheme.as_deref() == head.scheme()
    }
}

impl Route {
    fn new(target: Target, rule: Rule) -> Option<Rc<Self>> {
        let scope = rule.scope()?.to_owned();
        let token = TokenSpec { scope, identity: rule.identity().clone(), tenant: None, form: rule.form() };
        Some(Rc::new(Self {
            target,
            rule,
            token: RefCell::new(Rc::new(token)),
            last_challenge: RefCell::default(),
        }))
    }

    /// The token for requests: the one that the host accepted after a challenge, else the rule's.
    pub(crate) fn token(&self) -> Rc<TokenSpec> {
        Rc::clone(&self.token.borrow())
    }

    /// Whether the broker may be asked for the other token that a challenge names. A second one has to wait for
    /// [`PAUSE`]: a host that names a new tenant each time would otherwise cost a fetch for each request.
    pub(crate) fn may_answer(&self, challenged: &Rc<TokenSpec>, now: u64) -> bool {
        let mut last_challenge = self.last_challenge.borrow_mut();
        match &*last_challenge {
            Some((last, _)) if last == challenged => true,
            Some((_, when)) if now.saturating_sub(*when) < PAUSE => false,
            _ => {
                *last_challenge = Some((Rc::clone(challenged), now));
                true
            }
        }
    }

    /// Makes this the token for later requests.
    pub(crate) fn set_token(&self, token: &Rc<TokenSpec>) {
        self.token.replace(Rc::clone(token));
    }
}
