//! What is known of a host, worked out at the first request that goes there.

use std::cell::RefCell;
use std::rc::Rc;

use token_broker::{Access, Error, Guard, Rule, Rules, Target};

use crate::credentials::Demand;
use crate::draft::Head;

/// A host that requests may be sent to.
pub(crate) struct Place {
    scheme: Option<String>,
    pub(crate) access: Access,
    /// None: requests pass as they are.
    pub(crate) way: Option<Rc<Way>>,
}

/// How requests to a host get their tokens.
pub(crate) struct Way {
    pub(crate) target: Target,
    pub(crate) rule: Rule,
    demand: RefCell<Rc<Demand>>,
}

impl Place {
    /// # Errors
    /// [`Error::Denied`] if nothing may be sent there.
    pub(crate) fn find(head: &Head, authority: &str, guard: &Guard, rules: &Rules) -> Result<Self, Error> {
        let target = Target::parse(head.scheme(), authority)?;
        let access = guard.access(&target)?;
        let way = rules.find(&target)?.and_then(|rule| Way::of(target, rule.into_owned()));
        Ok(Self { scheme: head.scheme().map(str::to_owned), access, way })
    }

    /// Whether a request with the same authority goes there too.
    pub(crate) fn is_for(&self, head: &Head) -> bool {
        self.scheme.as_deref() == head.scheme()
    }
}

impl Way {
    fn of(target: Target, rule: Rule) -> Option<Rc<Self>> {
        let scope = rule.scope()?.to_owned();
        let demand = Demand { scope, identity: rule.identity().clone(), tenant: None, form: rule.form() };
        Some(Rc::new(Self { target, rule, demand: RefCell::new(Rc::new(demand)) }))
    }

    /// Which token its rule says, or the host itself if it has said another.
    pub(crate) fn demand(&self) -> Rc<Demand> {
        Rc::clone(&self.demand.borrow())
    }

    pub(crate) fn learn(&self, demand: &Rc<Demand>) {
        self.demand.replace(Rc::clone(demand));
    }
}
