//! What is known of a host, worked out at the first request that goes there.

use std::cell::RefCell;
use std::rc::Rc;

use token_broker::Error;
use token_broker_egress::{Access, Guard, Rule, Rules, Target};

use crate::credentials::Demand;
use crate::draft::Head;
use crate::memory::PAUSE;

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
    /// What the host last said that it wants instead, and when, in nanoseconds.
    lesson: RefCell<Option<(Rc<Demand>, u64)>>,
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
        Some(Rc::new(Self {
            target,
            rule,
            demand: RefCell::new(Rc::new(demand)),
            lesson: RefCell::default(),
        }))
    }

    /// Which token its rule says, or the host itself if it has said another.
    pub(crate) fn demand(&self) -> Rc<Demand> {
        Rc::clone(&self.demand.borrow())
    }

    /// Whether a token may be asked for that the host wants instead. Another one than the last only after a while: a host
    /// that names a new tenant each time would otherwise cost a fetch for each request.
    pub(crate) fn may_learn(&self, wanted: &Rc<Demand>, now: u64) -> bool {
        let mut lesson = self.lesson.borrow_mut();
        match &*lesson {
            Some((last, _)) if last == wanted => true,
            Some((_, when)) if now.saturating_sub(*when) < PAUSE => false,
            _ => {
                *lesson = Some((Rc::clone(wanted), now));
                true
            }
        }
    }

    pub(crate) fn learn(&self, demand: &Rc<Demand>) {
        self.demand.replace(Rc::clone(demand));
    }
}
