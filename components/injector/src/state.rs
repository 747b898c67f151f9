//! The state that an instance keeps between requests.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use crate::credentials::{TokenHeader, TokenSpec};
use crate::destination::Destination;

/// Three maps, each of at most [`MAX`] entries.
#[derive(Default)]
pub(crate) struct InstanceState {
    /// By authority, as requests spell it.
    destinations: RefCell<BTreeMap<String, Rc<Destination>>>,
    tokens: RefCell<BTreeMap<Rc<TokenSpec>, Rc<TokenHeader>>>,
    /// The last renewal of each token that a service refused.
    renewals: RefCell<BTreeMap<Rc<TokenSpec>, Renewal>>,
}

struct Renewal {
    /// In nanoseconds.
    began: u64,
    /// The requested claims, until the new token has come.
    claims: Weak<Option<String>>,
}

impl InstanceState {
    pub(crate) fn destination(&self, authority: &str) -> Option<Rc<Destination>> {
        self.destinations.borrow().get(authority).cloned()
    }

    pub(crate) fn keep_destination(&self, authority: String, destination: Destination) -> Rc<Destination> {
        let destination = Rc::new(destination);
        put(&mut self.destinations.borrow_mut(), authority, Rc::clone(&destination));
        destination
    }

    /// A token for which the broker need not be asked at this time, in Unix seconds.
    pub(crate) fn token(&self, spec: &TokenSpec, now: u64) -> Option<Rc<TokenHeader>> {
        self.tokens.borrow().get(spec).filter(|token| token.valid.contains(&now)).cloned()
    }

    pub(crate) fn keep_token(&self, spec: &Rc<TokenSpec>, token: TokenHeader) -> Rc<TokenHeader> {
        let token = Rc::new(token);
        put(&mut self.tokens.borrow_mut(), Rc::clone(spec), Rc::clone(&token));
        token
    }

    pub(crate) fn forget_tokens(&self, scope: &str) {
        self.tokens.borrow_mut().retain(|spec, _| spec.scope != scope);
    }

    /// Permission to renew a token with these claims. The caller keeps it until the new token has come.
    ///
    /// None within [`PAUSE`] of the last renewal, with one exception: a request for the same claims as a renewal that is
    /// under way gets that one's permission, since the broker makes one fetch of both.
    pub(crate) fn renewal(
        &self,
        spec: &Rc<TokenSpec>,
        claims: Option<String>,
        now: u64,
    ) -> Option<Rc<Option<String>>> {
        let mut renewals = self.renewals.borrow_mut();
        if let Some(last) = renewals.get(spec) {
            let same = last.claims.upgrade().filter(|requested| claims.is_some() && **requested == claims);
            if same.is_some() || now.saturating_sub(last.began) < PAUSE {
                return same;
            }
        }
        let claims = Rc::new(claims);
        let renewal = Renewal { began: now, claims: Rc::downgrade(&claims) };
        put(&mut renewals, Rc::clone(spec), renewal);
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
/// The time between two renewals of a token, in nanoseconds. A service that refuses every token would otherwise cost a
/// fetch for each request.
pub(crate) const PAUSE: u64 = 30_000_000_000;
