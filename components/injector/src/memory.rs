//! What an instance remembers from one request to the next.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::credentials::{Demand, Held};
use crate::place::Place;

/// Three maps, each of at most [`MAX`] entries.
#[derive(Default)]
pub(crate) struct Memory {
    /// By the authority as requests have it.
    places: RefCell<BTreeMap<String, Rc<Place>>>,
    /// Tokens that need not be asked for again yet.
    held: RefCell<BTreeMap<Rc<Demand>, Rc<Held>>>,
    /// When tokens were last asked for anew because a service refused one, in nanoseconds.
    renewals: RefCell<BTreeMap<Rc<Demand>, u64>>,
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

    /// Whether a token may be asked for anew, which is then taken to happen.
    pub(crate) fn may_renew(&self, demand: &Rc<Demand>, now: u64) -> bool {
        let mut renewals = self.renewals.borrow_mut();
        let is_due = renewals.get(demand).is_none_or(|last| now.saturating_sub(*last) >= PAUSE);
        if is_due {
            put(&mut renewals, Rc::clone(demand), now);
        }
        is_due
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
const PAUSE: u64 = 30_000_000_000;
