//! What an instance remembers from one request to the next.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use crate::credentials::{Demand, Held};
use crate::place::Place;

/// Three maps, each of at most [`MAX`] entries.
#[derive(Default)]
pub(crate) struct Memory {
    /// By the authority as requests have it.
    places: RefCell<BTreeMap<String, Rc<Place>>>,
    /// Tokens that need not be asked for again yet.
    held: RefCell<BTreeMap<Rc<Demand>, Rc<Held>>>,
    /// The last time that a token was asked for anew because a service refused one.
    renewals: RefCell<BTreeMap<Rc<Demand>, Renewal>>,
}

struct Renewal {
    /// In nanoseconds.
    began: u64,
    /// The claims that are asked for, while they are.
    under_way: Weak<Option<String>>,
}

impl Memory {
    pub(crate) fn place(&self, authority: &str) -> Option<Rc<Place>> {
        self.places.borrow().get(authority).cloned()
    }

    pub(crate) fn keep(&self, authority: String, place: Place) -> Rc<Place> {
        let place = Rc::new(place);
        put(&mut self.places.borrow_mut(), authority, Rc::clone(&place));
        place
    }

    pub(crate) fn held(&self, demand: &Demand, now: u64) -> Option<Rc<Held>> {
        self.held.borrow().get(demand).filter(|held| held.good.contains(&now)).cloned()
    }

    pub(crate) fn hold(&self, demand: &Rc<Demand>, held: Held) -> Rc<Held> {
        let held = Rc::new(held);
        put(&mut self.held.borrow_mut(), Rc::clone(demand), Rc::clone(&held));
        held
    }

    /// Let go of the tokens for a scope.
    pub(crate) fn forget(&self, scope: &str) {
        self.held.borrow_mut().retain(|demand, _| demand.scope != scope);
    }

    /// Leave to ask for a token anew, with these claims, to be held until it is there. None so soon after the last time;
    /// but whoever lacks the same claims while they are asked for has leave too, since the broker makes one fetch of both.
    pub(crate) fn renewal(
        &self,
        demand: &Rc<Demand>,
        claims: Option<String>,
        now: u64,
    ) -> Option<Rc<Option<String>>> {
        let mut renewals = self.renewals.borrow_mut();
        if let Some(last) = renewals.get(demand) {
            let same = last.under_way.upgrade().filter(|asked| claims.is_some() && **asked == claims);
            if same.is_some() || now.saturating_sub(last.began) < PAUSE {
                return same;
            }
        }
        let claims = Rc::new(claims);
        let renewal = Renewal { began: now, under_way: Rc::downgrade(&claims) };
        put(&mut renewals, Rc::clone(demand), renewal);
        Some(claims)
    }
}

fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: V) {
    if map.len() >= MAX && !map.contains_key(&key) {
        map.pop_first();
    }
    map.insert(key, value);
}

const MAX: usize = 256;
/// Nanoseconds between two tokens that are asked for anew for one demand. A service that refuses every token would
/// otherwise cost a fetch for each request.
pub(crate) const PAUSE: u64 = 30_000_000_000;
