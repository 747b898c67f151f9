//! Copies of Fresh tokens outside the instance: a cached call does not enter the broker's wasmtime store.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::contract::wire::WireToken;

/// Tokens of the default identity by scope, as the consumers spell it.
///
/// A copy lasts a minute at most, so the broker, which knows the jitter, still decides when a refresh is due. The
/// generation keeps out answers that were pending when the copies were dropped.
#[derive(Default)]
pub(crate) struct TokenCopies {
    copies: RwLock<Copies>,
    answered: AtomicU64,
}

#[derive(Default)]
struct Copies {
    generation: u64,
    by_scope: HashMap<String, Entry>,
}

struct Entry {
    token: Arc<WireToken>,
    from: u64,
    until: u64,
}

/// Counts the times that copies were dropped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Generation(u64);

impl TokenCopies {
    /// The copy for a scope at `now`, in Unix seconds.
    pub(crate) fn get(&self, scope: &str, now: u64) -> Option<Arc<WireToken>> {
        let copies = self.copies.read().unwrap_or_else(PoisonError::into_inner);
        let copy = copies.by_scope.get(scope).filter(|copy| copy.from <= now && now < copy.until)?;
        self.answered.fetch_add(1, Ordering::Relaxed);
        Some(Arc::clone(&copy.token))
    }

    pub(crate) fn generation(&self) -> Generation {
        Generation(self.copies.read().unwrap_or_else(PoisonError::into_inner).generation)
    }

    /// Keep a copy of a token that the broker gave at `now`.
    pub(crate) fn put(&self, scope: &str, token: &Arc<WireToken>, now: u64, since: Generation) {
        let Some(refresh_on) = token.refresh_on else { return };
        let until = refresh_on.min(now.saturating_add(LONGEST_SECONDS));
        let mut copies = self.copies.write().unwrap_or_else(PoisonError::into_inner);
        if until <= now || Generation(copies.generation) != since {
            return;
        }
        if copies.by_scope.len() >= MAX_COPIES && !copies.by_scope.contains_key(scope) {
            copies.by_scope.clear();
        }
        copies.by_scope.insert(scope.to_owned(), Entry { token: Arc::clone(token), from: now, until });
    }

    /// Drop every copy: scopes have several spellings, and a copy is cheap to get again.
    pub(crate) fn clear(&self) {
        let mut copies = self.copies.write().unwrap_or_else(PoisonError::into_inner);
        copies.generation += 1;
        copies.by_scope.clear();
    }

    /// How many calls were answered from copies.
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }
}

const LONGEST_SECONDS: u64 = 60;
const MAX_COPIES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_760_000_000;

    fn token(refresh_on: Option<u64>) -> Arc<WireToken> {
        Arc::new(WireToken {
            token: "t".to_owned(),
            token_type: "Bearer".to_owned(),
            expires_on: NOW + 3600,
            refresh_on,
        })
    }

    fn with_token(refresh_on: Option<u64>) -> TokenCopies {
        let copies = TokenCopies::default();
        copies.put("s", &token(refresh_on), NOW, copies.generation());
        copies
    }

    #[test]
    fn a_copy_lasts_a_minute_or_until_the_refresh_is_due() {
        let copies = with_token(Some(NOW + 1800));
        assert!(copies.get("s", NOW + 59).is_some() && copies.get("s", NOW + 60).is_none());
        let copies = with_token(Some(NOW + 10));
        assert!(copies.get("s", NOW + 9).is_some() && copies.get("s", NOW + 10).is_none());
    }

    #[test]
    fn a_token_without_a_refresh_or_past_it_is_not_copied() {
        assert!(with_token(None).get("s", NOW).is_none());
        assert!(with_token(Some(NOW)).get("s", NOW).is_none());
    }

    #[test]
    fn a_copy_is_not_used_when_the_clock_was_set_back() {
        assert!(with_token(Some(NOW + 1800)).get("s", NOW - 1).is_none());
    }

    #[test]
    fn an_answer_from_before_a_clear_does_not_come_back() {
        let copies = TokenCopies::default();
        let since = copies.generation();
        copies.clear();
        copies.put("s", &token(Some(NOW + 1800)), NOW, since);
        assert!(copies.get("s", NOW).is_none());
    }

    #[test]
    fn the_number_of_copies_is_bounded() {
        let copies = TokenCopies::default();
        for n in 0..=MAX_COPIES {
            copies.put(&n.to_string(), &token(Some(NOW + 1800)), NOW, copies.generation());
        }
        assert!(copies.copies.read().unwrap().by_scope.len() <= MAX_COPIES);
    }
}
